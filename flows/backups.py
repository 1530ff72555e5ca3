"""An order of an operator or a schedule: which backups stay, with a copy off the machine. Runs without Prefect."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from textwrap import fill
from typing import Any

from flows.arguments import UsageError, parse
from flows.listing import backup_row
from flows.request import BackupsRequest
from flows.stream import Stream
from migrator.backups.listing import (
    StoredBackup,
    checked,
    folders_of,
    is_of,
    list_backups,
    read_needs,
    remove_backup,
    remove_partial,
)
from migrator.backups.off_machine import upload
from migrator.backups.retention import Decision, Rules, decide_reading
from migrator.commands import own_command
from migrator.errors import MigratorError, RefusedError
from migrator.journal import read_journal
from migrator.lock import locked
from migrator.report import PLANNED, REFUSED
from migrator.signals import end_as_ctrl_c_does
from migrator.sizes import size_text

DONE, FAILED = "done", "failed"
_EXIT_CODES = {DONE: 0, PLANNED: 0, FAILED: 1, REFUSED: 2}


def main(arguments: Sequence[str]) -> int:
    """Carries out the order and prints what was done; returns 0, 1 where it stopped halfway, 2 refused."""
    out, err = Stream(sys.stdout), Stream(sys.stderr)
    end_as_ctrl_c_does()
    try:
        request, _ = parse(BackupsRequest, "flows.backups", arguments, demo=False)
        result = prune_backups(request)
    except UsageError as error:
        result = _result("", outcome=REFUSED, error=str(error))
    except KeyboardInterrupt:
        result = _result("", outcome=REFUSED, error="interrupted before anything was done")
    if "--json" in arguments:
        print(json.dumps(result, indent=2), file=out)
    else:
        for line in _lines(result):
            print(line, file=out if result["error"] is None else err)
    out.flush()
    return _EXIT_CODES[result["outcome"]]


def prune_backups(request: BackupsRequest) -> dict[str, Any]:
    """Copies what stays, where the request names a URL, then removes what goes; never raises what it foresees.

    Afterwards `outcome` is done, planned (a dry run, which reads and changes nothing), refused (nothing was done) or
    failed: `copied`, `removed` and `error` say how far it came, and calling it again goes on from there. While it
    works no run begins, and none that was killed is waiting for its backup. Nothing goes before every copy was made.
    """
    database = request.real_database
    result = _result(str(database))
    try:
        with locked(database):
            own, decision = _decided(request, database)
            result["backups"] = [_row(stored, decision) for stored in own]
            if request.dry_run:
                return result | {"outcome": PLANNED}
            result["outcome"] = FAILED
            if request.copy_to is not None:
                for stored in own:
                    stays = stored.verified and stored.location in decision.stays
                    if stays and upload(Path(stored.location), request.copy_to):
                        result["copied"].append(stored.name)
            for folder in folders_of(database, request.backup_dir):
                remove_partial(folder)
            for stored in own:
                if stored.location in decision.goes:
                    remove_backup(stored)
                    result["removed"].append(stored.name)
            result["outcome"] = DONE
    except (MigratorError, OSError) as error:
        result.update(outcome=result["outcome"] or REFUSED, error=str(error))
    except sqlite3.Error as error:
        fault = f"{database} cannot be read now ({error}), so which it needs is not known"
        result.update(outcome=REFUSED, error=fault)
    except KeyboardInterrupt:
        result.update(outcome=result["outcome"] or REFUSED, error="interrupted; start it again, which goes on")
    return result


def _decided(request: BackupsRequest, database: Path) -> tuple[list[StoredBackup], Decision]:
    """The backups that are this database's own, and what becomes of them; reads those that stay."""
    if request.rules == Rules() and request.copy_to is None:
        raise RefusedError("nothing says what to keep", "give --keep-last, --keep-daily, --keep-weekly or --max-bytes")
    if read_journal(database) is not None:
        raise RefusedError(
            f"a run on {database} was killed and may need its backup",
            f"end it first: {own_command('flows.migrate', '--database', database)}",
        )
    own = [
        stored
        for stored in list_backups(database, request.backup_dir, read_needs(database))
        if stored.manifest is None or is_of(stored, database)
    ]
    known = {stored.location: stored for stored in own}

    def check(stored: StoredBackup) -> StoredBackup:
        known[stored.location] = checked(stored)
        return known[stored.location]

    decision = decide_reading(own, request.rules, datetime.now(UTC), check)
    return list(known.values()), decision


def _result(database: str, outcome: str = "", error: str | None = None) -> dict[str, Any]:
    """The stable form; scripts rely on its keys. What `backups` says of each is what was decided, `removed` what was
    done."""
    return {"database": database, "outcome": outcome, "error": error, "backups": [], "copied": [], "removed": []}


def _row(stored: StoredBackup, decision: Decision) -> dict[str, Any]:
    stays = stored.location in decision.stays
    why = [*decision.stays[stored.location]] if stays else [decision.goes[stored.location]]
    return backup_row(stored, "local") | {"stays": stays, "why": why}


def _lines(result: dict[str, Any]) -> Iterator[str]:
    """What was done, or would be, for people: 80 columns wide but for paths."""
    headline = {
        DONE: "{} removed, {} copied",
        PLANNED: "nothing was changed",
        FAILED: "stopped halfway, {} removed, {} copied",
        REFUSED: "refused, nothing changed",
    }[result["outcome"]].format(len(result["removed"]), len(result["copied"]))
    yield f"{result['database'] or 'python -m flows.backups'}: {headline}"
    if result["error"] is not None:
        yield result["error"]
    for row in result["backups"]:
        fate = "stays" if row["stays"] else "gone" if row["name"] in result["removed"] else "goes"
        facts = f"{row['name']:<25}  {size_text(row['size_bytes']):>8}  {fate:<5}  "
        yield fill("; ".join(row["why"]), 80, initial_indent=facts, subsequent_indent=" " * len(facts))
    for stays, verb in ((True, "stay"), (False, "go")):
        chosen = [row for row in result["backups"] if row["stays"] == stays]
        if chosen:
            yield f"{len(chosen)} {verb}, {size_text(sum(row['size_bytes'] for row in chosen))}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
