"""WAL for the time of a run, where the database is in another mode: in WAL nobody who reads makes a writer wait."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from migrator.commands import command
from migrator.connect import LOCK_TIMEOUT_S, is_passing, opened, pragma
from migrator.findings import Finding
from migrator.journal import read_journal, write_journal

_POLL_S = 0.001
_PATIENCE_S = 5.0


def use_wal(database: Path, patience_s: float = _PATIENCE_S) -> tuple[Finding, ...]:
    """Afterwards `database` is in WAL mode, and the journal beside it names the mode to go back to.

    A finding where somebody held it for longer than `patience_s`: then it is in the mode in which it was.
    """
    with opened(database) as connection:
        before = str(pragma(connection, "journal_mode"))
        if before == "wal":
            return ()
        journal = read_journal(database)
        if journal is not None:
            write_journal(database, replace(journal, journal_mode=before))
        if _set(connection, "wal", patience_s):
            return ()
    message = f"{database.name} stays in journal mode {before}, because somebody holds it; its writers may wait longer"
    return (Finding("wal_refused", message),)


@contextmanager
def kept_open(database: Path, timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[None]:
    """While this lasts, no connection of the application is the last one to close a database in WAL mode.

    The last one carries the whole log into the database and keeps every reader out meanwhile (sqlite.org/wal.html):
    with the disk busy that took 530 to 630 ms, and 7 to 12 ms with this. Afterwards the log is carried over as far as
    readers let it be, so that little is left for the application's next last close. It ends before `give_back`, and
    meanwhile nothing here may open the file but through SQLite: to close it would drop the process's locks on it
    (sqlite.org/howtocorrupt.html, section 2.2).
    """
    # Not read-only: such a connection, when it is the last one after all, leaves the log behind.
    with opened(database, timeout_s=timeout_s) as connection:
        # SQLite opens the log at the first read.
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        yield
        # PASSIVE keeps nobody out. What it could not do is not lost: every later checkpoint begins where it ended.
        with suppress(sqlite3.OperationalError):
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()


def give_back(database: Path, patience_s: float = _PATIENCE_S) -> tuple[Finding, ...]:
    """Afterwards `database` is in the journal mode that the journal beside it names, where it names one.

    A finding, and WAL, where somebody has it open: SQLite leaves WAL only for the last connection.
    """
    journal = read_journal(database)
    if journal is None or journal.journal_mode is None:
        return ()
    with opened(database) as connection:
        if _set(connection, journal.journal_mode, patience_s):
            return ()
    return (
        Finding(
            "journal_mode_left",
            f"{database.name} stays in WAL mode, because somebody has it open; to go back when nobody has: "
            + command("sqlite3", database, f"PRAGMA journal_mode={journal.journal_mode}"),
        ),
    )


def _set(connection: sqlite3.Connection, mode: str, patience_s: float) -> bool:
    """Whether SQLite took the mode. Its busy handler would wait for readers with a lock that keeps new ones out."""
    connection.execute("PRAGMA busy_timeout=0")
    until = time.monotonic() + patience_s
    while True:
        try:
            if connection.execute(f"PRAGMA journal_mode={mode}").fetchone()[0] == mode:
                return True
        except sqlite3.OperationalError as error:
            if not is_passing(error):
                raise
        if time.monotonic() > until:
            return False
        time.sleep(_POLL_S)
