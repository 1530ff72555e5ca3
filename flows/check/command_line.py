"""What a database is, what a run would do to it, and what is not as it should be. Only reads, and needs no Prefect."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from flows.application import LTMC
from flows.arguments import UsageError, parse
from flows.check.request import CheckRequest
from flows.check.text import lines_of
from flows.stream import Stream
from migrator.check.application_logs import count_missing
from migrator.check.description import describe
from migrator.check.documentation import document
from migrator.check.marked_file import write_marked
from migrator.check.promotions import Ledger
from migrator.check.status import Status, look
from migrator.connect import opened
from migrator.errors import MigratorError
from migrator.script import promotion_steps
from migrator.signals import end_as_ctrl_c_does

CLEAN, DRIFT, ERROR = "clean", "drift", "error"
EXIT_CODES = {CLEAN: 0, DRIFT: 2, ERROR: 1}
DOCUMENT = "schema.md"


def main(arguments: Sequence[str]) -> int:
    """Prints what was found; returns 0 clean, also where something is pending, 2 drift or a mismatch, 1 an error."""
    out, err = Stream(sys.stdout), Stream(sys.stderr)
    end_as_ctrl_c_does()
    result = _answer(arguments)
    if "--json" in arguments:
        print(json.dumps(result, indent=2), file=out)
    else:
        print(*lines_of(result), sep="\n", file=err if result["outcome"] == ERROR else out)
    out.flush()
    if out.fault is not None:
        print(f"{result['outcome']}; stdout took no report of it ({out.fault})", file=err)
    return EXIT_CODES[result["outcome"]]


def _answer(arguments: Sequence[str]) -> dict[str, Any]:
    try:
        request, _ = parse(CheckRequest, "flows.check", arguments, demo=False)
    except UsageError as error:
        return _result(None, ERROR, str(error))
    try:
        return check(request)
    except KeyboardInterrupt:
        return _result(str(request.real_database), ERROR, "interrupted before the check was over")


def check(request: CheckRequest) -> dict[str, Any]:
    """Looks at the request's database, then at what else was asked for; returns the object that `--json` prints.

    What was found before an error is in it.
    """
    result = _result(str(request.real_database), CLEAN)
    try:
        status = look(request.database, LTMC, request.max_lock_ms)
        result |= _status(status, request.max_lock_ms)
        for name, part in _PARTS.items():
            result[name] = part(request, status)
    except (MigratorError, sqlite3.Error, OSError) as error:
        return result | {"outcome": ERROR, "error": str(error)}
    return result | {"outcome": CLEAN if _is_clean(result) else DRIFT}


def _is_clean(result: dict[str, Any]) -> bool:
    """What the pending migration mends is as it should be."""
    logs, source, written = result["logs"], result["source"], result["write_schema"]
    differs = written is not None and written["changed"] and not written["applied"]
    misfits = source is not None and (source["mismatches"] or source["unread"])
    mismatches = result["drift"] or (logs and logs["missing"]) or misfits or differs
    return not mismatches and is_ready(result["new"])


def is_ready(new: dict[str, Any] | None) -> bool:
    """Whether a new migration, if any, is decided and would go through."""
    return new is None or not (new["undecided"] or any(each["severity"] == "error" for each in new["lint"]))


def _documentation(request: CheckRequest, status: Status) -> dict[str, Any] | None:
    if request.docs is None:
        return None
    with opened(status.database, read_only=True) as connection:
        facts = describe(connection, LTMC.own_tables)
    page = document(status.database.name, facts, LTMC.migrations, status.ledger)
    changed = write_marked(request.docs, DOCUMENT, page)
    return {"path": str(request.docs / DOCUMENT), "changed": changed}


def _logs(request: CheckRequest, status: Status) -> dict[str, Any] | None:
    if not request.logs:
        return None
    report = count_missing(request.logs, status.ledger.last_change)
    times = {"since": _time(report.since)}
    missing = [asdict(m) | {"first": _time(m.first), "last": _time(m.last)} for m in report.missing]
    counted = {"files": list(map(str, report.files)), "lines": report.lines, "earlier": report.earlier}
    return times | counted | {"missing": missing}


def _time(at: Any) -> str | None:
    return None if at is None else at.isoformat(sep=" ")


def _source(request: CheckRequest, status: Status) -> dict[str, Any] | None:
    if request.source is None:
        return None
    # Reading source costs an import that only this needs.
    from flows.check.source import source

    return source(request.source, request.sarif, request.exclude, status, LTMC)


def _write_schema(request: CheckRequest, status: Status) -> dict[str, Any] | None:
    if request.write_schema is None:
        return None
    from flows.check.source import write_schema

    return write_schema(request.write_schema, request.apply, status)


def _new(request: CheckRequest, status: Status) -> dict[str, Any] | None:
    if request.new is None or request.desired is None:
        return None
    from flows.check.new import new_migration

    return new_migration(request.new, request.desired, request.renames, status, LTMC, request.max_lock_ms)


# In this order, so that the source is checked with the statements that were just written.
_PARTS: dict[str, Callable[[CheckRequest, Status], Any]] = {
    "docs": _documentation,
    "logs": _logs,
    "write_schema": _write_schema,
    "source": _source,
    "new": _new,
}


def _result(database: str | None, outcome: str, error: str | None = None) -> dict[str, Any]:
    """The stable form; scripts rely on its keys."""
    return {
        "database": database,
        "outcome": outcome,
        "error": error,
        "version": None,
        "newest_version": len(LTMC.migrations),
        "applied": [],
        "pending": [],
        "undone": [],
        "drift": [],
        "findings": [],
        "refusal": None,
        "plan": None,
        **dict.fromkeys(_PARTS),
    }


def _status(status: Status, max_lock_ms: float) -> dict[str, Any]:
    return {
        "version": status.version,
        "applied": [_promotion(m.version, m.name, m.checksum, status.ledger) for m, _ in status.applied],
        "pending": [{"version": m.version, "name": m.name} for m in status.pending],
        "undone": [
            {"version": p.version, "name": p.name, "applied_at": p.applied_at, "run_id": p.run_id,
             "reversed_at": p.reversed_at, "reversed_by": p.reversed_by}
            for p in status.ledger.promotions if p.reversed_at is not None
        ],
        "drift": [asdict(d) | {"message": str(d)} for d in status.drift],
        "findings": [asdict(f) for f in status.findings],
        "refusal": status.refusal,
        "plan": _plan(status, max_lock_ms),
    }  # fmt: skip


def _promotion(version: int, name: str, declared: str, ledger: Ledger) -> dict[str, Any]:
    made = ledger.standing(version)
    kept = ("applied_at", "run_id", "backup", "rows", "seconds", "checksum")
    stored = {key: None if made is None else getattr(made, key) for key in kept}
    return {"version": version, "name": name, **stored, "declared_checksum": declared}


def _plan(status: Status, max_lock_ms: float) -> dict[str, Any] | None:
    if status.plan is None:
        return None
    lock = None if status.forecast is None else asdict(status.forecast) | {"max_lock_ms": max_lock_ms}
    return {
        "to_version": status.plan.to_version,
        "lock_estimate": lock,
        "tables": [asdict(e) for e in status.explanations],
        "statements": [
            {"heading": heading, **asdict(step)} for heading, step in promotion_steps(status.plan, LTMC.name)
        ],
    }
