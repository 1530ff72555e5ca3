"""A database in use: a log that was not checkpointed, a writer that died, writers and readers that go on."""

import os
import sqlite3
import threading
from contextlib import closing
from itertools import groupby

import pytest

import migrator.preflight
from migrator.errors import RefusedError
from migrator.preflight import preflight
from migrator.promotion import promote
from migrator.restoration import finish, restore
from migrator.verification import verify_live
from tests.children import await_more, committed, errors, holding, killed_after, lost, reading, running, writing
from tests.notes import NOTES, SOURCE_COLUMNS, TARGET_COLUMNS, make_notes
from tests.runs import PLENTY_MS, beside, columns, is_sound, migrate, rehearsed, rows, run_sql, stored

DIE = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size=2")
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE notes SET body = 'half', place = hex(randomblob(2000))")
print("ready", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def hot(tmp_path):
    """A database whose writer died in a transaction of which a part is in the main file."""
    path = tmp_path / "notes.db"
    make_notes(path)
    with running(DIE, path) as child:
        child.wait()
    assert path.with_name("notes.db-journal").stat().st_size > 0
    return path


def test_a_writer_that_died_is_rolled_back_with_a_finding(hot):
    live = preflight(hot, NOTES)
    assert [(f.code, f.message) for f in live.findings] == [
        ("hot_journal_rolled_back", "a writer of notes.db had died; its transaction was rolled back")
    ]
    assert rows(hot, "SELECT count(*) FROM notes WHERE body = 'half'") == [(0,)]
    migrate(hot)
    assert columns(hot) == TARGET_COLUMNS and rows(hot, "SELECT count(*) FROM notes") == [(100,)] and is_sound(hot)


def test_whoever_only_looks_leaves_the_dead_writers_journal(hot):
    before, journal = stored(hot), hot.with_name("notes.db-journal").read_bytes()
    with pytest.raises(RefusedError, match="has a hot journal: a writer died in a transaction; start a migration"):
        preflight(hot, NOTES, only_look=True)
    assert stored(hot) == before and hot.with_name("notes.db-journal").read_bytes() == journal


def test_a_journal_of_a_writer_at_work_is_not_hot(tmp_path):
    path = tmp_path / "notes.db"
    make_notes(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM tags")
        assert path.with_name("notes.db-journal").exists()
        assert preflight(path, NOTES, only_look=True, timeout_s=0.1).findings == ()
        writer.execute("COMMIT")


def test_rows_that_are_only_in_the_log_are_migrated(tmp_path):
    path = tmp_path / "notes.db"
    make_notes(path, journal_mode="wal")
    with closing(sqlite3.connect(path, isolation_level=None)) as application:
        application.execute("PRAGMA wal_autocheckpoint=0")
        application.executemany("INSERT INTO notes (body, mood) VALUES (?, 'good')", [("in the log",)] * 50)
        migrate(path)
        assert application.execute("SELECT count(*), count(stars) FROM notes").fetchone() == (150, 0)
    assert rows(path, "PRAGMA journal_mode") == [("wal",)]


@pytest.mark.parametrize("journal_mode", ["delete", "wal"])
@pytest.mark.parametrize(
    ("change", "before"), [("UPDATE notes SET place = hex(randomblob(5000))", True), ("VACUUM", False)]
)
def test_a_file_that_grows_or_shrinks_under_the_look_is_not_taken_for_truncated(
    tmp_path, monkeypatch, journal_mode, change, before
):
    path = tmp_path / "notes.db"
    make_notes(path, journal_mode=journal_mode)
    if not before:
        run_sql(path, "UPDATE notes SET place = hex(randomblob(5000))", "UPDATE notes SET place = NULL")
    read_header, size, changes = migrator.preflight._read_header, path.stat().st_size, [change]

    def while_the_application_writes(real):
        header = read_header(real)
        if changes:
            run_sql(path, changes.pop())
            return read_header(real) if before else header
        return header

    monkeypatch.setattr("migrator.preflight._read_header", while_the_application_writes)
    assert preflight(path, NOTES).plan is not None
    assert path.stat().st_size != size


@pytest.mark.parametrize("journal_mode", ["delete", "wal"])
def test_no_write_is_lost_and_nobody_is_turned_away_while_live_is_promoted_and_restored(tmp_path, journal_mode):
    path = tmp_path / "notes.db"
    make_notes(path, journal_mode=journal_mode)
    with writing(path, tmp_path / "written") as lines, reading(path, tmp_path / "seen") as seen:
        for direction in (1, 0, 1):
            candidate = rehearsed(path, to_version=direction)
            live = candidate.inspection.backup.live
            await_more(lines)
            await_more(seen)
            verify_live(_promote(candidate))
            finish(live.database, live.directory)
            await_more(lines)
        candidate = rehearsed(path, to_version=0)
        live = candidate.inspection.backup.live
        await_more(seen)
        _promote(candidate)
        await_more(lines)
        await_more(seen)
        _again(lambda: restore(path, NOTES, live.run_id, live.directory))
        await_more(lines)
        await_more(seen)
        states = seen()
    written = lines()
    assert errors(written) == [] and errors(states) == []
    assert len(committed(written)) > 50 and lost(path, written) == []
    assert [state for state, _ in groupby(states)] == [" ".join(SOURCE_COLUMNS), " ".join(TARGET_COLUMNS)] * 3
    assert columns(path) == TARGET_COLUMNS and is_sound(path)
    assert rows(path, "PRAGMA journal_mode") == [(journal_mode,)]


def _promote(candidate):
    return _again(lambda: promote(candidate, PLENTY_MS))


def _again(attempt):
    """As the steps do it: a whole new try where a reader or writer was in the way."""
    for _ in range(50):
        try:
            return attempt()
        except sqlite3.OperationalError as error:
            assert "locked" in str(error)
    raise AssertionError("always locked")


def test_a_new_reader_waits_no_longer_than_the_commit_does(tmp_path):
    path = tmp_path / "notes.db"
    make_notes(path)
    candidate = rehearsed(path)
    with holding(path, "BEGIN", "SELECT * FROM notes"), reading(path, tmp_path / "seen", timeout_s=1) as seen:
        for _ in range(3):
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                promote(candidate, PLENTY_MS)
            await_more(seen)
        assert set(seen()) == {" ".join(SOURCE_COLUMNS)}


def test_the_runs_own_directory_may_vanish_at_any_time(tmp_path):
    path = tmp_path / "notes.db"
    make_notes(path)
    live = rehearsed(path).inspection.backup.live
    os.rename(live.directory.parent, tmp_path / "moved")
    assert restore(path, NOTES, live.run_id, live.directory).how == "unchanged"
    assert beside(path) == {"moved"}
    migrate(path)
    assert columns(path) == TARGET_COLUMNS


def test_a_killed_child_is_told_from_one_that_ended():
    assert killed_after(30, lambda: None) is False
    assert killed_after(0, threading.Event().wait) is True
    with pytest.raises(AssertionError, match="failed by itself"):
        killed_after(30, lambda: run_sql(None))
