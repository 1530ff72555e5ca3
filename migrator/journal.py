"""The note beside the database that a run is under way: what it made and where, never what state live is in."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from migrator.errors import RefusedError
from migrator.files import mode_of, read_regular, sync_directory, write_private


@dataclass(frozen=True)
class Journal:
    """`directory` holds the run's backup, candidate and report; `run_id` is what the ledger knows it by.

    `journal_mode` is what the database goes back to at the end; None: the run leaves it alone.
    """

    run_id: str
    directory: str
    journal_mode: str | None = None


def journal_path(database: Path) -> Path:
    """Where the note on `database` (a real path) lies while a run is under way."""
    return database.with_name(database.name + ".migrating")


def write_journal(database: Path, journal: Journal) -> None:
    """Afterwards the note is on the disk, with the database's owner and mode."""
    write_private(journal_path(database), json.dumps(asdict(journal)), database, mode_of(database))


def read_journal(database: Path) -> Journal | None:
    """The note of a run that has not ended; None where there is none.

    Raises RefusedError for one that is not ours or that cannot be read.
    """
    path = journal_path(database)
    try:
        stored = json.loads(read_regular(path))
        journal = Journal(str(stored["run_id"]), str(stored["directory"]), _mode(stored.get("journal_mode")))
    except FileNotFoundError:
        return None
    except OSError as error:
        fault = f"{path} cannot be read as the journal of a run ({error.strerror or error})"
        raise RefusedError(fault, "make it readable; if no run made it, move it away") from error
    except (ValueError, KeyError, TypeError) as error:
        fault = f"{path} is not the journal of a run ({type(error).__name__})"
        raise RefusedError(fault, "look at it, and move it away") from error
    # What follows removes this directory: it must be one that a run of that name made.
    named = rf"[0-9]{{8}}T[0-9]{{6}}Z-(?=[0-9a-f]+$){re.escape(journal.run_id)}"
    if not re.fullmatch(named, Path(journal.directory).name):
        raise RefusedError(
            f"{path} names a directory that no run made: {journal.directory}", "look at it, and move it away"
        )
    return journal


def _mode(stored: object) -> str | None:
    if stored not in (None, "delete", "truncate", "persist"):
        raise ValueError(f"journal mode {stored!r}")
    return None if stored is None else str(stored)


def remove_journal(database: Path) -> None:
    """Afterwards no run is under way; the last thing a run does."""
    journal_path(database).unlink(missing_ok=True)
    sync_directory(database.parent)
