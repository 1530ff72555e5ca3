"""Short write transactions, one after the other, between which the application gets its turn."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import TypeVar

from migrator.connect import Connection, is_passing, pragma
from migrator.errors import PromotionError
from migrator.pace import Pace

T = TypeVar("T")

_POLL_S = 0.001
"""SQLite's own handler sleeps up to 100 ms between tries and would miss the gaps that the application leaves."""
_PATIENCE_S = 60.0
"""Nothing is held while we wait for a lock, so there is no hurry."""
_COMMIT_PATIENCE_S = 0.05
"""A COMMIT that waits for a reader keeps every new reader out (in delete mode): better roll back and try again."""


class Paced:
    """Work on one connection in short holds of the write lock. `longest_s` is the longest hold so far."""

    def __init__(self, connection: Connection, pace: Pace) -> None:
        self.connection, self.pace = connection, pace
        self.longest_s = 0.0
        self._has_wal = str(pragma(connection, "journal_mode")) == "wal"
        if self._has_wal:
            # Otherwise a COMMIT of ours, under the lock, would carry a thousand pages into the database.
            connection.execute("PRAGMA wal_autocheckpoint=0")

    def hold(self, work: Callable[[], int]) -> int:
        """Does `work` in one write transaction and commits it; returns what it returns, the rows that it took.

        Where a reader keeps the COMMIT waiting, all of it is done again. Raises what `work` raises, with nothing
        committed; PromotionError where the lock or the COMMIT is not to be had for a minute.
        """
        given_up = time.monotonic() + _PATIENCE_S
        while True:
            self._begin(given_up)
            started = time.monotonic()
            try:
                rows = work()
                committed = self._commit()
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise
            held_s = time.monotonic() - started
            self.longest_s = max(self.longest_s, held_s)
            self.pace.held(held_s, rows)
            if committed:
                return rows
            if time.monotonic() > given_up:
                raise _not_to_be_had("a reader keeps every COMMIT from ending")
            self.pace.pause()

    def look(self, read: Callable[[], T]) -> T:
        """What `read` returns, which takes no lock that others wait for; again, while somebody keeps readers out."""
        given_up = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return read()
            except sqlite3.OperationalError as error:
                if not is_passing(error) or self.connection.arrived is not None:
                    raise
                if time.monotonic() > given_up:
                    raise _not_to_be_had(f"another connection keeps readers out ({error})") from error
            time.sleep(_POLL_S)

    def rest(self) -> None:
        """What may be done without the lock is done, and the application gets its turn."""
        if self._has_wal:
            # By and by, so that no connection of the application finds a long log to carry over in its own COMMIT.
            self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        self.pace.pause()

    def _begin(self, given_up: float) -> None:
        error = self._polled("BEGIN IMMEDIATE", given_up)
        if error is not None:
            raise _not_to_be_had(f"another connection keeps the write lock ({error})") from error

    def _commit(self) -> bool:
        """Whether it is committed; otherwise everything is rolled back."""
        if self._polled("COMMIT", time.monotonic() + _COMMIT_PATIENCE_S) is None:
            return True
        self.connection.execute("ROLLBACK")
        return False

    def _polled(self, statement: str, until: float) -> sqlite3.OperationalError | None:
        """Tries a statement until SQLite takes it (None) or the time is over (the last error)."""
        timeout_ms = pragma(self.connection, "busy_timeout")
        self.connection.execute("PRAGMA busy_timeout=0")
        try:
            while True:
                try:
                    self.connection.execute(statement)
                    return None
                except sqlite3.OperationalError as error:
                    if not is_passing(error) or self.connection.arrived is not None:
                        raise
                    if time.monotonic() > until:
                        return error
                time.sleep(_POLL_S)
        finally:
            self.connection.execute(f"PRAGMA busy_timeout={timeout_ms}")


def _not_to_be_had(why: str) -> PromotionError:
    return PromotionError(f"{why} for {_PATIENCE_S:g} s; live unchanged", "end its transaction, then start again")
