"""Waiting for another connection's lock in small steps."""

import sqlite3

import pytest

from migrator.connect import opened, polling, pragma
from tests.runs import run_sql


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "a.db"
    run_sql(path, "CREATE TABLE t (x)")
    return path


def locked(code=sqlite3.SQLITE_BUSY):
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode = code
    return error


def test_it_tries_until_the_lock_is_free(database):
    tries = []

    def attempt():
        tries.append(1)
        if len(tries) < 40:
            raise locked()
        return "done"

    with opened(database, timeout_s=5) as connection:
        assert polling(connection, attempt, timeout_s=60) == "done"


def test_sqlite_itself_does_not_wait_meanwhile_and_waits_as_before_afterwards(database):
    with opened(database, timeout_s=1.25) as connection:
        assert polling(connection, lambda: pragma(connection, "busy_timeout")) == 0
        assert pragma(connection, "busy_timeout") == 1250


@pytest.mark.parametrize("timeout_s", [None, 0.02])
def test_when_the_time_is_over_the_last_refusal_is_raised(database, timeout_s):
    with (
        opened(database, timeout_s=0.02) as connection,
        opened(database) as other,
        pytest.raises(sqlite3.OperationalError, match="locked"),
    ):
        other.execute("BEGIN IMMEDIATE")
        polling(connection, lambda: connection.execute("BEGIN IMMEDIATE"), timeout_s)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), locked(sqlite3.SQLITE_FULL), sqlite3.IntegrityError("no")])
def test_whatever_is_no_lock_is_raised_at_once(database, error):
    tries = []

    def attempt():
        tries.append(1)
        raise error

    with opened(database) as connection, pytest.raises(type(error)):
        polling(connection, attempt, timeout_s=60)
    assert tries == [1]


def test_a_signal_that_came_meanwhile_ends_it(database):
    with opened(database) as connection, pytest.raises(sqlite3.OperationalError):
        connection.arrived = KeyboardInterrupt()
        polling(connection, lambda: (_ for _ in ()).throw(locked()), timeout_s=60)
    connection.arrived = None
