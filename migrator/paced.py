"""Short write transactions, one after the other, between which the application gets its turn."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import TypeVar

from migrator.connect import Connection, is_passing, path_of, polling, pragma
from migrator.errors import PromotionError
from migrator.pace import Pace, telling, waiting_for_lock

T = TypeVar("T")

_PATIENCE_S = 60.0
"""Nothing is held while we wait for a lock, so there is no hurry."""
_COMMIT_PATIENCE_S = 0.05
"""A COMMIT that waits for a reader keeps every new reader out (in delete mode): better roll back and try again."""


class Paced:
    """Work on one connection in short holds of the write lock. `longest_s` is the longest hold so far.

    In WAL mode this connection carries the log over only in `rest`, from now on and for as long as it is open.
    """

    def __init__(self, connection: Connection, pace: Pace) -> None:
        self.connection, self.pace = connection, pace
        self.longest_s = 0.0
        self._database = path_of(connection)
        self._has_wal = str(pragma(connection, "journal_mode")) == "wal"
        if self._has_wal:
            # Otherwise a COMMIT of ours would go on, the lock given back, to carry a thousand pages into the database,
            # and that time would count as held: 103 ms, where another writer had the lock after 33.
            connection.execute("PRAGMA wal_autocheckpoint=0")

    def hold(self, work: Callable[[], int]) -> int:
        """Does `work` in one write transaction and commits it; returns what it returns, the rows that it took.

        Where a reader keeps the COMMIT waiting, all of it is done again. Raises what `work` raises, with nothing
        committed; PromotionError where the lock or the COMMIT is not to be had for a minute.
        """
        began = time.monotonic()
        waited = telling(self.pace.tell, f"waiting for readers of {self._database}, which keep a COMMIT from ending")
        while True:
            self._begin()
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
            if time.monotonic() > began + _PATIENCE_S:
                raise _not_to_be_had("a reader keeps every COMMIT from ending")
            waited(time.monotonic() - began)
            self.pace.pause()

    def look(self, read: Callable[[], T]) -> T:
        """What `read` returns, which takes no lock that others wait for; again, while somebody keeps readers out."""
        said = f"waiting to read {self._database}; another connection keeps readers out"
        return self._patiently(read, "another connection keeps readers out", telling(self.pace.tell, said))

    def rest(self) -> None:
        """What may be done without the lock is done, and the application gets its turn."""
        if self._has_wal:
            # By and by, so that no connection of the application finds a long log to carry over in its own COMMIT.
            self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        self.pace.pause()

    def _begin(self) -> None:
        self._patiently(
            lambda: self.connection.execute("BEGIN IMMEDIATE"),
            "another connection keeps the write lock",
            waiting_for_lock(self._database, self.pace.tell),
        )

    def _commit(self) -> bool:
        """Whether it is committed; otherwise everything is rolled back."""
        try:
            polling(self.connection, lambda: self.connection.execute("COMMIT"), _COMMIT_PATIENCE_S)
        except sqlite3.OperationalError as error:
            if not is_passing(error) or self.connection.arrived is not None:
                raise
            self.connection.execute("ROLLBACK")
            return False
        return True

    def _patiently(self, attempt: Callable[[], T], why: str, waited: Callable[[float], None]) -> T:
        try:
            return polling(self.connection, attempt, _PATIENCE_S, waited)
        except sqlite3.OperationalError as error:
            if not is_passing(error) or self.connection.arrived is not None:
                raise
            raise _not_to_be_had(f"{why} ({error})") from error


def _not_to_be_had(why: str) -> PromotionError:
    return PromotionError(f"{why} for {_PATIENCE_S:g} s", "end its transaction, then start again")
