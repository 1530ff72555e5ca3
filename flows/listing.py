"""`python -m flows.restore --list`: what there is to go back to, here and off the machine. Only looks."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from flows.arguments import UsageError, parse
from flows.request import ListRequest
from flows.stream import Stream
from migrator.backup import BACKUP_NAME
from migrator.backups.listing import Needs, StoredBackup, checked, folders_of, list_backups, read_needs
from migrator.backups.off_machine import list_copies
from migrator.commands import own_command
from migrator.errors import MigratorError
from migrator.pages import PRESENT_NAME
from migrator.report import REFUSED
from migrator.sizes import size_text

LISTED = "listed"
_ROW = "{name:<25}  {version:<4}  {rows:>11}  {size:>8}  {state:<8}  {what}"


def main(arguments: Sequence[str]) -> int:
    """Prints the list; returns 0, or 2 where a part of it could not be had."""
    out, err = Stream(sys.stdout), Stream(sys.stderr)
    try:
        own = [argument for argument in arguments if argument != "--list"]
        request, _ = parse(ListRequest, "flows.restore --list", own, demo=False)
        result = list_all(request)
    except UsageError as error:
        result = _result("", error=str(error))
    if "--json" in arguments:
        print(json.dumps(result, indent=2), file=out)
    else:
        for line in _lines(result):
            print(line, file=out if result["error"] is None else err)
    out.flush()
    return 0 if result["error"] is None else 2


def list_all(request: ListRequest) -> dict[str, Any]:
    """Every backup of the request's database, newest first, then every copy under its URL; with what it could not tell
    in `notes`. A database that is gone or damaged hides no backup."""
    database, notes = request.real_database, []
    try:
        needs = read_needs(database)
    except (sqlite3.Error, MigratorError) as error:
        needs = Needs()
        notes.append(f"which migrations in force the backups are from is not known: {error}")
    try:
        found = list_backups(database, request.backup_dir, needs)
        here = [checked(stored) for stored in found] if request.verify else found
        there = list_copies(request.remote, request.verify) if request.remote else []
    except (MigratorError, OSError) as error:
        return _result(str(database), error=str(error), notes=notes)
    rows = [*(backup_row(stored, "local") for stored in here), *(backup_row(stored, "remote") for stored in there)]
    folders = [
        *map(str, folders_of(database, request.backup_dir)),
        *([request.remote.rstrip("/")] if request.remote else []),
    ]
    return _result(str(database), notes=notes) | {"folders": folders, "backups": rows}


def _result(database: str, error: str | None = None, notes: Sequence[str] = ()) -> dict[str, Any]:
    """The stable form; scripts rely on its keys."""
    outcome = LISTED if error is None else REFUSED
    told = {"database": database, "outcome": outcome, "error": error, "notes": list(notes)}
    return {**told, "folders": [], "backups": []}


def backup_row(stored: StoredBackup, place: str) -> dict[str, Any]:
    """One backup in JSON. `file` is what `--backup` takes, None where there is nothing to go back to; `verified` is
    None where nobody read it; `applied` are the versions in force that its run applied."""
    manifest = stored.manifest
    return {
        "name": stored.name,
        "place": place,
        "location": stored.location,
        "file": stored.file,
        "kind": stored.kind,
        "time": _time(stored.at),
        "run_id": stored.run_id,
        "size_bytes": stored.size_bytes,
        "database": None if manifest is None else manifest.database,
        "version": None if manifest is None else manifest.version,
        "rows": None if manifest is None else manifest.rows,
        "verified": stored.verified,
        "present_since": None if stored.present_at is None else _time(stored.present_at),
        "applied": list(stored.applied),
        "needed_by_killed_run": stored.is_needed,
    }


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def _lines(result: dict[str, Any]) -> Iterator[str]:
    """The list for people, 80 columns wide but for paths."""
    if result["error"] is not None:
        yield f"{result['database'] or 'python -m flows.restore --list'}: {result['error']}"
    for folder in result["folders"]:
        rows = [row for row in result["backups"] if row["location"].rpartition("/")[0] == folder]
        yield f"{folder}: {len(rows)}, {size_text(sum(row['size_bytes'] for row in rows))}"
        if rows:
            yield _ROW.format(name="name", version="from", rows="rows", size="size", state="checked", what="what")
        for row in rows:
            yield _line(row, result["database"])
    if result["backups"]:
        order = own_command("flows.restore", "--database", result["database"], "--backup")
        yield f"to go back: {order} FOLDER/NAME/{BACKUP_NAME}"
        if any(row["kind"] == "present" for row in result["backups"]):
            yield f"of a saved state it is {PRESENT_NAME}"
    for note in result["notes"]:
        yield f"note: {note}"


def _line(row: dict[str, Any], database: str) -> str:
    state = {None: "-", True: "verified", False: "damaged"}[row["verified"]]
    facts = {
        "killed run": row["needed_by_killed_run"],
        "saved state": row["kind"] == "present",
        "unfinished": row["kind"] == "unfinished",
        "not its own": row["database"] not in (None, database),
        f"before {row['applied'][-1]:04d}" if row["applied"] else "": row["applied"],
    }
    return _ROW.format(
        name=row["name"],
        version="-" if row["version"] is None else f"{row['version']:04d}",
        rows="-" if row["rows"] is None else f"{row['rows']:,}",
        size=size_text(row["size_bytes"]),
        state=state,
        what=next((what for what, holds in facts.items() if holds), ""),
    ).rstrip()
