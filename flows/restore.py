"""An operator's order: the database becomes what a backup holds. Runs without Prefect, which may be what is broken."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from flows import listing
from flows.arguments import UsageError, parse
from flows.request import RestoreRequest
from flows.stream import Stream
from migrator.backups.off_machine import download
from migrator.backups.store import CopyError
from migrator.errors import RefusedError, RestoreError
from migrator.lock import locked
from migrator.report import REFUSED, RESTORE_FAILED
from migrator.return_to_backup import return_to_backup
from migrator.signals import end_as_ctrl_c_does, undisturbed

_INTERRUPTED = "interrupted before anything was changed"
_DONE, _SAME = "restored", "same"
_EXIT_CODES = {_DONE: 0, _SAME: 0, REFUSED: 2, RESTORE_FAILED: 3}


def main(arguments: Sequence[str]) -> int:
    """Restores; prints what was done; returns 0 restored, 2 refused with nothing changed, 3 failed. Or lists.

    Ctrl-C and SIGTERM refuse the order until the database is changed; from then on they are only noted.
    """
    if "--list" in arguments:
        return listing.main(arguments)
    out, err = Stream(sys.stdout), Stream(sys.stderr)
    end_as_ctrl_c_does()
    with ExitStack() as to_the_end:

        def only_note_signals() -> None:
            note = "{} waits: the database is being restored"
            to_the_end.enter_context(undisturbed(lambda name: print(note.format(name), file=err)))

        result = _carry_out(arguments, only_note_signals)
        to_the_end.enter_context(undisturbed(lambda name: None))
        if "--json" in arguments:
            print(json.dumps(result, indent=2), file=out, flush=True)
        else:
            _say(result, out if result["error"] is None else err)
        if out.fault is not None:
            _say(result, err)
            print(f"stdout took no report of it ({out.fault})", file=err)
    return _EXIT_CODES[str(result["outcome"])]


def _carry_out(arguments: Sequence[str], before_change: Callable[[], None]) -> dict[str, object]:
    try:
        request, _ = parse(RestoreRequest, "flows.restore", arguments, demo=False)
        return restore(request, before_change)
    except UsageError as error:
        return _result("", "", outcome=REFUSED, error=str(error))
    except KeyboardInterrupt:
        return _result("", "", outcome=REFUSED, error=_INTERRUPTED)


def restore(request: RestoreRequest, before_change: Callable[[], object] = lambda: None) -> dict[str, object]:
    """Carries out the order; returns database, backup, error, present, and outcome: restored, same, refused or
    restore_failed. `before_change` is called before the database is changed, and must keep signals out from then on."""
    database = request.real_database
    result = _result(str(database), str(request.backup))
    try:
        with locked(database):
            backup = request.backup if isinstance(request.backup, Path) else download(request.backup, database)
            returned = return_to_backup(database, backup, request.discard_later_writes, before_change)
        result["outcome"] = _SAME if returned.present is None else _DONE
        result["present"] = None if returned.present is None else str(returned.present)
    except (RefusedError, CopyError) as error:
        result.update(outcome=REFUSED, error=str(error))
    except (sqlite3.Error, OSError) as error:
        result.update(outcome=REFUSED, error=f"{database} cannot be read now ({error}); nothing was changed; try again")
    except RestoreError as error:
        result.update(outcome=RESTORE_FAILED, error=str(error))
    except KeyboardInterrupt:
        result.update(outcome=REFUSED, error=_INTERRUPTED)
    return result


def _result(database: str, backup: str, outcome: str = "", error: str | None = None) -> dict[str, object]:
    """The stable form; scripts rely on its keys."""
    return {"database": database, "backup": backup, "outcome": outcome, "error": error, "present": None}


def _say(result: dict[str, object], stream: Stream) -> None:
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
    stream.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
