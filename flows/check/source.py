"""What `python -m flows.check` says of an application's source: `--source`, `--sarif` and `--write-schema`."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from migrator.application import Application
from migrator.check.marked_file import write_marked
from migrator.check.status import Status
from migrator.errors import RefusedError
from migrator.schema import Schema
from migrator.source.check import SourceCheck, check_source
from migrator.source.findings import SourceFinding
from migrator.source.rewriting import apply, rewritten
from migrator.source.sarif import to_sarif


def source(
    folder: Path, sarif: Path | None, exclude: Collection[str], status: Status, application: Application
) -> dict[str, Any]:
    """The source in `folder` against the schema as it is and, where a run would be let in, as it will be."""
    planned = None if status.plan is None else status.plan.after.schema
    migrated = {change.table for m, _ in status.applied for change in m.changes if change.after is not None}
    found = check_source(folder, _schema(status), planned, application.own_tables, migrated, exclude)
    if sarif is not None:
        write_marked(sarif.parent, sarif.name, _sarif(found))
    return _as_json(found) | {
        "against": ["now"] if planned is None else ["before", "after"],
        "sarif": None if sarif is None else str(sarif),
    }


def write_schema(file: Path, to_apply: bool, status: Status) -> dict[str, Any]:
    """The CREATE TABLE statements of `file` against the schema as it will be; changed where that is `to_apply`."""
    if status.pending and status.plan is None:
        raise RefusedError(f"what the tables will be is not known: {status.refusal or 'a migration is under way'}")
    schema = _schema(status) if status.plan is None else status.plan.after.schema
    found = rewritten(file, schema)
    if found.tables and to_apply:
        apply(found)
    return {
        "file": str(file),
        "made": list(found.made),
        "changed": list(found.tables),
        "applied": bool(found.tables) and to_apply,
        "diff": found.diff,
    }


def _schema(status: Status) -> Schema:
    if status.schema is None:
        raise RefusedError(f"the schema of {status.database} could not be read, so nothing was compared with it")
    return status.schema


def _sarif(found: SourceCheck) -> str:
    """The first line tells what may be replaced next time."""
    log = to_sarif(found, "flows.check", Path())
    runs = json.dumps(log.pop("runs"), indent=1)
    return f'{json.dumps(log)[:-1]}, "runs":\n{runs}}}\n'


def _as_json(found: SourceCheck) -> dict[str, Any]:
    mismatches = set(found.mismatches)
    return {
        "folder": str(found.folder),
        "files": found.files,
        "statements": found.statements,
        "compiled": found.compiled,
        "assumed": found.assumed,
        "unconcerned": found.unconcerned,
        "mismatches": len(mismatches),
        "mended": sum(finding.is_mended for finding in found.findings),
        "findings": [_finding(finding, mismatches) for finding in found.findings],
        "not_checked": [
            {"file": n.place.file, "line": n.place.line, "statement": n.shown, "why": n.why} for n in found.not_checked
        ],
        "unread": len(found.unread),
        "skipped": [{"name": s.name, "why": s.why, "unread": s.is_fault} for s in found.skipped],
        "tables": [
            {"name": table.name, "owner": table.owner, "places": list(map(str, table.places))} for table in found.tables
        ],
    }


def _finding(finding: SourceFinding, mismatches: Collection[SourceFinding]) -> dict[str, Any]:
    return {
        "code": finding.code,
        "level": finding.level,
        "mismatch": finding in mismatches,
        "mended": finding.is_mended,
        "file": finding.place.file,
        "line": finding.place.line,
        "column": finding.place.column,
        "end_line": finding.place.end_line,
        "end_column": finding.end_column or None,
        "message": finding.message,
        "sides": list(finding.sides),
        "statement": finding.statement,
        "run_at": list(map(str, finding.run_at)),
    }
