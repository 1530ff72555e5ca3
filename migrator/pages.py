"""A backup's pages over a live database that stays open: the way back where its rows cannot be kept."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

from migrator.backup import copy_database
from migrator.commands import replace_file
from migrator.connect import is_damage, opened, set_pragma, transaction
from migrator.errors import RestoreError
from migrator.files import create_private, sync_directory, sync_file

PRESENT_NAME = "before-restore.db"


def copy_back(backup: Path, database: Path, present: Path, before_change: Callable[[], object] = lambda: None) -> None:
    """Copies the backup's pages over live, after saving live's present state at `present`.

    Every other connection waits or sees the old or the new content; no write comes between the two copies. Wherever
    it ends, also by SIGKILL or a power cut, `present` is there only if it is complete and on the disk; without it
    live was not touched. `before_change` is called when `present` is about to appear. Raises RestoreError where live
    is no database any more, with its bytes saved; sqlite3.OperationalError while others use live, in WAL mode while
    they merely have it open. sqlite.org/backup.html.
    """
    unfinished = present.with_name(present.name + ".unfinished")
    # What a killed one left.
    unfinished.unlink(missing_ok=True)
    create_private(unfinished, database)
    saved = False
    try:
        with opened(backup, read_only=True) as source, opened(database) as live:
            # A backup into an open transaction is refused; this keeps the lock of a committed one.
            set_pragma(live, "locking_mode", "exclusive")
            with transaction(live, "EXCLUSIVE"):
                pass
            with opened(unfinished) as copy:
                copy_database(live, copy)
                set_pragma(copy, "journal_mode", "delete")
            _keep(unfinished, present, before_change)
            saved = True
            source.execute("BEGIN")
            copy_database(source, live)
            return
    except BaseException as error:
        if saved or not (isinstance(error, sqlite3.DatabaseError) and is_damage(error)):
            unfinished.unlink(missing_ok=True)
            raise
    # Only now: opening the file otherwise would have dropped this process's locks on it.
    try:
        shutil.copyfile(database, unfinished)
        _keep(unfinished, present, before_change)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    raise RestoreError(
        f"{database} is no database any more, so SQLite cannot write to it; its bytes are in {present}",
        f"stop the application, then: {replace_file(database, backup)}",
    )


def _keep(unfinished: Path, present: Path, before_change: Callable[[], object]) -> None:
    """Afterwards what was saved has its name, and both are on the disk."""
    sync_file(unfinished)
    before_change()
    os.replace(unfinished, present)
    sync_directory(present.parent)
