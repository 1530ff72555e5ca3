"""A run at work, a killed one, or none: told without getting in the way."""

import os
from pathlib import Path

import pytest

from migrator.check.under_way import Run, run_on
from migrator.errors import RefusedError
from migrator.journal import Journal, journal_path, write_journal
from migrator.lock import lock_path, locked
from tests.children import running
from tests.notes import make_notes

LOCK = """
import sys
from pathlib import Path
from migrator.lock import locked
with locked(Path(sys.argv[1])):
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def database(folder):
    make_notes(folder / "notes.db", rows=1)
    return folder / "notes.db"


def begun(database):
    write_journal(database, Journal("0a1b2c3d", str(database.parent / "20260101T000000Z-0a1b2c3d")))


def test_without_journal_and_lock_there_is_none_and_nothing_is_made(database):
    assert run_on(database) is Run.NONE
    assert os.listdir(database.parent) == ["notes.db"]


@pytest.mark.parametrize("has_journal", [True, False])
def test_one_that_holds_the_lock_is_under_way(database, has_journal):
    with running(LOCK, database):
        if has_journal:
            begun(database)
        assert run_on(database) is Run.UNDER_WAY


def test_one_of_this_program_is_under_way_too(database):
    with locked(database):
        assert run_on(database) is Run.UNDER_WAY


def test_a_journal_without_a_lock_is_of_a_killed_run(database):
    with running(LOCK, database):
        begun(database)
    assert run_on(database) is Run.KILLED
    lock_path(database).unlink()
    assert run_on(database) is Run.KILLED


def test_a_lock_file_without_a_holder_means_nothing(database):
    with locked(database):
        pass
    assert lock_path(database).read_text() == f"{os.getpid()}\n"
    assert run_on(database) is Run.NONE


@pytest.mark.parametrize("text", ["", "who knows\n", "99999999999999999999999\n", "-5\n"])
def test_a_lock_file_that_names_nobody_means_nothing(database, text):
    lock_path(database).write_text(text)
    assert run_on(database) is Run.NONE


def test_looking_changes_nothing_and_keeps_no_lock(database):
    begun(database)
    with locked(database):
        pass
    before = {path.name: path.read_bytes() for path in database.parent.iterdir()}
    assert run_on(database) is Run.KILLED
    assert {path.name: path.read_bytes() for path in database.parent.iterdir()} == before
    with locked(database):
        pass


def test_a_journal_that_nobody_wrote_is_refused(database):
    journal_path(database).write_text("{}")
    with pytest.raises(RefusedError, match="is not the journal of a run"):
        run_on(database)


def test_a_run_that_ended_while_one_looked_was_not_killed(database, monkeypatch):
    """Its journal was there at the first look, and is gone when the lock is to be had."""
    with locked(database):
        pass
    looks = iter([Journal("0a1b2c3d", "somewhere"), None])
    monkeypatch.setattr("migrator.check.under_way.read_journal", lambda path: next(looks))
    assert run_on(Path(database)) is Run.NONE
