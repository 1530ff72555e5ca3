"""An operator's order: the database becomes what a backup holds. Runs without Prefect, which may be what is broken."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Sequence

from flows.arguments import UsageError, parse
from flows.request import RestoreRequest
from migrator.errors import RefusedError, RestoreError
from migrator.lock import locked
from migrator.report import REFUSED, RESTORE_FAILED
from migrator.return_to_backup import return_to_backup

_DONE, _SAME = "restored", "same"
_EXIT_CODES = {_DONE: 0, _SAME: 0, REFUSED: 2, RESTORE_FAILED: 3}


def main(arguments: Sequence[str]) -> int:
    """Restores; prints what was done; returns 0 restored, 2 refused with nothing changed, 3 failed."""
    try:
        request, _ = parse(RestoreRequest, "flows.restore", arguments, demo=False)
        result = restore(request)
    except UsageError as error:
        result = _result("", "", outcome=REFUSED, error=str(error))
    if "--json" in arguments:
        sys.stdout.write(json.dumps(result, indent=2) + "\n")
    else:
        _say(result)
    return _EXIT_CODES[str(result["outcome"])]


def restore(request: RestoreRequest) -> dict[str, object]:
    """Carries out the order; returns database, backup, error, present, and outcome: restored, same, refused or
    restore_failed."""
    database = request.real_database
    result = _result(str(database), str(request.backup))
    try:
        with locked(database):
            returned = return_to_backup(database, request.backup, request.discard_later_writes)
        result["outcome"] = _SAME if returned.present is None else _DONE
        result["present"] = None if returned.present is None else str(returned.present)
    except RefusedError as error:
        result.update(outcome=REFUSED, error=str(error))
    except (sqlite3.Error, OSError) as error:
        result.update(outcome=REFUSED, error=f"{database} cannot be read now ({error}); nothing was changed; try again")
    except RestoreError as error:
        result.update(outcome=RESTORE_FAILED, error=str(error))
    return result


def _result(database: str, backup: str, outcome: str = "", error: str | None = None) -> dict[str, object]:
    """The stable form; scripts rely on its keys."""
    return {"database": database, "backup": backup, "outcome": outcome, "error": error, "present": None}


def _say(result: dict[str, object]) -> None:
    stream = sys.stdout if result["error"] is None else sys.stderr
    headline = {
        _DONE: "restored from the backup",
        _SAME: "holds what the backup holds already; nothing changed",
        REFUSED: "refused, nothing changed",
        RESTORE_FAILED: "the restore failed: you must act",
    }
    print(f"{result['database'] or 'python -m flows.restore'}: {headline[str(result['outcome'])]}", file=stream)
    if result["error"] is not None:
        print(result["error"], file=stream)
    if result["present"] is not None:
        print(f"what it held before is in {result['present']}", file=stream)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
