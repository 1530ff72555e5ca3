"""Short holds of the lock: what a COMMIT of ours leaves in the log, and who carries it over."""

import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from migrator.connect import opened, pragma
from migrator.paced import Paced
from tests.children import holding
from tests.unit.going_online import Steady, made

MANY_PAGES = "INSERT INTO t (body) VALUES (zeroblob(6000000))"
"""More than the thousand at which SQLite carries the log over in a COMMIT by itself (sqlite.org/wal.html)."""


class Noting(Steady):
    """Notes what the database file held whenever the application had its turn."""

    def __init__(self, path):
        super().__init__()
        self.path, self.seen = path, []

    def pause(self):
        self.seen.append(in_the_file(self.path))


def in_the_file(path):
    """How many rows the database file alone has, without its log."""
    copy = shutil.copyfile(path, path.with_name("without its log.db"))
    with closing(sqlite3.connect(copy)) as connection:
        (count,) = connection.execute("SELECT count(*) FROM t").fetchone()
    return count


def database(folder, journal_mode="wal"):
    return made(folder / "live.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, body)", journal_mode=journal_mode)


def insert(connection, statement="INSERT INTO t (body) VALUES ('one')"):
    return lambda: connection.execute(statement).rowcount


def test_a_commit_of_ours_carries_no_log_over_however_long_it_is(folder):
    path = database(folder)
    with opened(path) as connection:
        paced = Paced(connection, Steady())
        for _ in range(2):
            assert paced.hold(insert(connection, MANY_PAGES)) == 1
            assert in_the_file(path) == 0


def test_before_the_application_has_its_turn_the_log_is_carried_over(folder):
    path = database(folder)
    pace = Noting(path)
    with opened(path) as connection:
        paced = Paced(connection, pace)
        for _ in range(3):
            paced.hold(insert(connection))
            paced.rest()
    assert pace.seen == [1, 2, 3]


def test_a_reader_that_holds_the_log_open_neither_ends_the_rest_nor_is_waited_for(folder):
    path = database(folder)
    pace = Noting(path)

    def hold_and_rest():
        # Whoever waited for the reader would do so for longer than this test does.
        with opened(path, timeout_s=600) as connection:
            paced = Paced(connection, pace)
            paced.hold(insert(connection))
            paced.rest()

    with closing(sqlite3.connect(path, isolation_level=None)) as reader, ThreadPoolExecutor(1) as pool:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM t").fetchone() == (0,)
        resting = pool.submit(hold_and_rest)
        try:
            resting.result(timeout=30)
            assert reader.execute("SELECT count(*) FROM t").fetchone() == (0,)
        finally:
            reader.execute("COMMIT")
        pool.submit(hold_and_rest).result()
    assert pace.seen == [0, 2]


@pytest.mark.parametrize(("journal_mode", "pages"), [("wal", 0), ("delete", 1000)])
def test_only_a_connection_that_has_a_log_is_told_to_leave_it(folder, journal_mode, pages):
    with opened(database(folder, journal_mode)) as connection:
        Paced(connection, Steady())
        assert pragma(connection, "wal_autocheckpoint") == pages


def test_without_a_log_what_is_committed_is_in_the_file(folder):
    path = database(folder, "delete")
    pace = Noting(path)
    with opened(path) as connection:
        paced = Paced(connection, pace)
        paced.hold(insert(connection))
        assert in_the_file(path) == 1
        paced.rest()
    assert pace.seen == [1]


@pytest.mark.parametrize(
    ("journal_mode", "lock", "said"),
    [
        ("wal", "BEGIN IMMEDIATE", "waiting for the write lock of {}; another connection has it"),
        ("delete", "BEGIN; SELECT * FROM t", "waiting for readers of {}, which keep a COMMIT from ending"),
    ],
)
def test_a_wait_for_another_connection_is_told_while_it_lasts(folder, monkeypatch, journal_mode, lock, said):
    monkeypatch.setattr("migrator.pace._LOCK_TOLD_AFTER_S", 0.0)
    path, told = database(folder, journal_mode), []
    with opened(path) as connection, holding(path, *lock.split("; ")) as holder:

        def tell(message):
            told.append(message)
            holder.kill()

        pace = Steady()
        pace.tell = tell
        Paced(connection, pace).hold(insert(connection))
    assert told == [said.format(path)]
    with closing(sqlite3.connect(path)) as reader:
        assert reader.execute("SELECT count(*) FROM t").fetchone() == (1,)
