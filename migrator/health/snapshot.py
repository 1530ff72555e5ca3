"""A consistent copy of a database in use, for which nobody who writes to it waits long."""

from __future__ import annotations

import math
import shutil
import sqlite3
import time
from pathlib import Path

from migrator.backup import MAX_LOCK_MS, copy_database
from migrator.connect import LOCK_TIMEOUT_S, Connection, opened, polling, pragma, set_pragma
from migrator.errors import MigratorError
from migrator.files import create_private
from migrator.pace import pause_after

_SLOW_BYTES_PER_MS, _FAST_BYTES_PER_MS = 150_000, 600_000
"""A rate to count on, and the best that was measured: what could not be done in time even so is not begun."""
_PIECE_MS = 12
"""Aimed at, as in pace.py: a writer that finds the file locked is at its latest at the door when the piece is over."""
_PATIENCE_S, _POLL_S = 60.0, 0.001


class SnapshotError(MigratorError):
    """No consistent copy could be made; the database is as it was."""


class _TookTooLong(Exception):
    """The copy held its lock for as long as writers may wait."""


def take_snapshot(
    database: Path,
    target: Path,
    max_lock_ms: float = MAX_LOCK_MS,
    timeout_s: float = LOCK_TIMEOUT_S,
    patience_s: float = _PATIENCE_S,
) -> None:
    """Copies `database` to the new file `target`: one state of it, in one file without a log.

    Reads in mode=ro: neither the main file nor the -wal changes by a byte, and the journal mode stays what it is.
    In WAL mode one read transaction serves, and nobody waits for it. In the other modes whoever reads keeps writers
    out: a copy that is not done within `max_lock_ms` is made in pieces of some milliseconds each, from the start
    again whenever somebody has written in between (sqlite.org/backup.html), until one comes through.
    Raises SnapshotError where none does within `patience_s` and where there is no room; sqlite3.Error where the
    database cannot be read (SQLITE_READONLY_ROLLBACK: it has a hot journal).
    """
    with opened(database, read_only=True, timeout_s=timeout_s) as source:
        started = time.monotonic()
        source.execute("BEGIN")
        # Of the state that this first read pins; outside WAL mode writers wait from here on.
        polling(source, lambda: source.execute("SELECT count(*) FROM sqlite_master").fetchone())
        size = int(str(pragma(source, "page_count"))) * int(str(pragma(source, "page_size")))
        free = shutil.disk_usage(target.parent).free
        if free < size:
            raise SnapshotError(
                f"{target.parent} has {free:,} bytes free, a snapshot of {database.name} needs {size:,}",
                "make room, or put it elsewhere with --backup-dir",
            )
        create_private(target, database)
        with opened(target) as copy:
            set_pragma(copy, "synchronous", 0)
            until = math.inf if pragma(source, "journal_mode") == "wal" else started + max_lock_ms / 1000
            done = started + size / _FAST_BYTES_PER_MS / 1000 < until and _at_once(source, copy, until)
            source.execute("ROLLBACK")
            if not done:
                _in_pieces(source, copy, database, patience_s, size)
            # A copy of a WAL database says WAL in its header.
            set_pragma(copy, "journal_mode", "delete")


def _at_once(source: Connection, copy: sqlite3.Connection, until: float) -> bool:
    """Whether the copy, in the transaction that `source` has open, was done in time (of the monotonic clock)."""

    def progress(done: int, total: int) -> None:
        if time.monotonic() > until and done < total:
            raise _TookTooLong

    try:
        copy_database(source, copy, progress)
    except _TookTooLong:
        return False
    return True


def _in_pieces(
    source: Connection, copy: sqlite3.Connection, database: Path, patience_s: float, size_bytes: int
) -> None:
    """SQLite begins again by itself where somebody wrote since the last piece; between two the file is free."""
    pages = max(1, int(_PIECE_MS * _SLOW_BYTES_PER_MS) // int(str(pragma(source, "page_size"))))
    # Else SQLite would sleep up to 100 ms between its tries, and miss the gaps that a busy writer leaves.
    source.execute("PRAGMA busy_timeout=0")
    until = time.monotonic() + patience_s
    began = time.monotonic()

    def progress(status: int, remaining: int, total: int) -> None:
        nonlocal began
        now = time.monotonic()
        if status == sqlite3.SQLITE_DONE:
            return
        if now > until:
            raise SnapshotError(
                f"{database} was written to whenever it could be copied, for {patience_s:g} s: outside WAL mode a copy "
                "at once would make its writers wait",
                "check at a quieter hour, let the application use WAL mode (PRAGMA journal_mode=WAL), or let its "
                f"writers wait with --max-lock-ms {size_bytes // _SLOW_BYTES_PER_MS + 1}",
            )
        if status == sqlite3.SQLITE_OK:
            time.sleep(pause_after(now - began))
        began = time.monotonic()

    source.backup(copy, pages=pages, progress=progress, sleep=_POLL_S)
