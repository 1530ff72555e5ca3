"""In one transaction: how long live is held, by whom, and what may be written meanwhile."""

import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from functools import partial

import pytest

from migrator import one_transaction, promotion
from migrator.connect import opened
from migrator.errors import LockTooLongError
from migrator.one_transaction import in_one_transaction
from migrator.preflight import read_state
from migrator.promotion import promote
from tests.children import holding
from tests.notes import NOTES, make_notes
from tests.runs import PLENTY_MS, holds, is_sound, promoted, rehearsed, run_sql, stored, with_plan

COMMIT = one_transaction._commit
CHECK_UNCHANGED = one_transaction.check_unchanged
BUSY = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"


def test_a_lock_that_lasts_too_long_is_given_up_within_its_time(database):
    candidate = with_plan(rehearsed(database), compare=BUSY)
    live, before = candidate.inspection.backup.live, holds(database)
    started = time.monotonic()
    with opened(database) as connection, pytest.raises(LockTooLongError, match="more than 200 ms and was rolled back"):
        in_one_transaction(connection, NOTES, candidate.plan, live.state, lambda *_: None, 200)
    assert time.monotonic() - started < 2
    assert holds(database) == before and is_sound(database)
    assert promote(rehearsed(database), PLENTY_MS).rows == 100


def test_a_deadline_inside_a_write_leaves_no_statement_in_autocommit(database):
    candidate = rehearsed(database)
    endless = "INSERT INTO _mig_notes (body, mood) " + BUSY.replace("count(*)", "x, 'good'")
    candidate = replace(with_plan(candidate, copy=endless), rebuild_s=0.0)
    live, before = candidate.inspection.backup.live, holds(database)
    statements = []
    with opened(database) as connection:
        connection.set_trace_callback(statements.append)
        with pytest.raises(LockTooLongError):
            in_one_transaction(connection, NOTES, candidate.plan, live.state, lambda *_: None, 100)
        assert not connection.in_transaction
        assert not [s for s in statements[statements.index(endless) + 1 :] if not s.startswith("PRAGMA")]
    assert holds(database) == before and is_sound(database)


def test_a_deadline_that_passes_between_statements_counts_before_commit(database):
    candidate = rehearsed(database)
    live, before = candidate.inspection.backup.live, holds(database)

    def slow(connection, seconds, count):
        while time.monotonic() - started < 0.2:
            pass

    with opened(database) as connection:
        started = time.monotonic()
        with pytest.raises(LockTooLongError):
            in_one_transaction(connection, NOTES, candidate.plan, live.state, slow, 300)
        assert not connection.in_transaction
    assert holds(database) == before and is_sound(database)


OUTSIDE = {
    "insert": "INSERT INTO tags VALUES (1, 'x')",
    "update": "UPDATE tags SET tag = 'x'",
    "delete": "DELETE FROM tags",
    "drop": "DROP TABLE tags",
    "drop view": "DROP VIEW bodies",
    "create view": "CREATE VIEW mine AS SELECT 1",
    "create": "CREATE TABLE mine (x)",
    "index": "CREATE INDEX mine ON tags (tag)",
    "trigger": "CREATE TRIGGER mine AFTER DELETE ON tags BEGIN SELECT 1; END",
    "alter": "ALTER TABLE tags ADD COLUMN x",
    "rename": "ALTER TABLE tags RENAME TO mine",
    "attach": "ATTACH ':memory:' AS other",
    "ledger": "INSERT INTO _sqlite_migrations (name) VALUES ('x')",
    "commit": "COMMIT",
    "savepoint of ours": "ROLLBACK",
}


@pytest.mark.parametrize("what", OUTSIDE)
def test_a_statement_outside_the_plans_tables_is_denied(database, what):
    run_sql(database, "CREATE TABLE _sqlite_migrations (id INTEGER PRIMARY KEY, migration_set, name, applied_at)")
    candidate = with_plan(rehearsed(database), originals=(OUTSIDE[what],))
    before = holds(database)
    with pytest.raises(sqlite3.DatabaseError, match=r"not authorized|prohibited"):
        promote(candidate, PLENTY_MS)
    assert holds(database) == before and is_sound(database)


def test_a_trigger_of_the_application_cannot_make_the_promotion_write_elsewhere(database):
    candidate = with_plan(rehearsed(database), originals=("UPDATE notes SET body = body",))
    trigger = "CREATE TRIGGER spread AFTER UPDATE ON notes BEGIN INSERT INTO tags VALUES (new.id, 'x'); END"
    run_sql(database, trigger)
    with opened(database) as connection:
        state = read_state(connection, NOTES)
        with pytest.raises(sqlite3.DatabaseError, match="not authorized"):
            in_one_transaction(connection, NOTES, candidate.plan, state, lambda *_: None)
        assert not connection.in_transaction
        connection.execute("INSERT INTO tags VALUES (1, 'free again')")


def test_live_locked_by_a_writer_raises_locked_and_a_second_try_succeeds(database, monkeypatch):
    candidate = rehearsed(database)
    monkeypatch.setattr(promotion, "opened", partial(opened, timeout_s=0.1))
    before = stored(database)
    with holding(database, "BEGIN IMMEDIATE"), pytest.raises(sqlite3.OperationalError, match="locked"):
        promote(candidate, PLENTY_MS)
    assert stored(database) == before
    assert promote(candidate, PLENTY_MS).rows == 100


def test_a_reader_that_blocks_the_commit_is_not_waited_for_long(tmp_path):
    database = tmp_path / "notes.db"
    make_notes(database)
    candidate = rehearsed(database)
    before = holds(database)
    with holding(database, "BEGIN", "SELECT * FROM notes"):
        started = time.monotonic()
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            promote(candidate, PLENTY_MS)
        assert time.monotonic() - started < 1
        # A COMMIT that went on waiting would keep this reader out.
        assert holds(database) == before and is_sound(database)
    assert promote(candidate, PLENTY_MS).rows == 100


@pytest.mark.parametrize("max_lock_ms", [PLENTY_MS, 0.0])
def test_a_wait_for_the_write_lock_of_live_is_told(tmp_path, monkeypatch, max_lock_ms):
    monkeypatch.setattr("migrator.pace._LOCK_TOLD_AFTER_S", 0.0)
    database, told = tmp_path / "notes.db", []
    make_notes(database, journal_mode="wal")
    candidate = rehearsed(database)
    with holding(database, "BEGIN IMMEDIATE") as holder:

        def tell(message):
            told.append(message)
            holder.kill()

        promote(candidate, max_lock_ms, tell=tell)
    assert told == [f"waiting for the write lock of {database}; another connection has it"]


def test_a_connection_has_its_settings_and_its_patience_back(database):
    candidate = rehearsed(database)
    live = candidate.inspection.backup.live
    names = ("foreign_keys", "legacy_alter_table", "secure_delete", "busy_timeout")
    with opened(database) as connection:
        before = [connection.execute(f"PRAGMA {name}").fetchone() for name in names]
        in_one_transaction(connection, NOTES, candidate.plan, live.state, lambda *_: None)
        assert [connection.execute(f"PRAGMA {name}").fetchone() for name in names] == before
        connection.execute("INSERT INTO tags VALUES (1, 'authorized again')")


def test_a_commit_is_on_the_disk_before_it_counts(database, monkeypatch):
    seen = []

    def note(connection):
        seen.append(connection.execute("PRAGMA synchronous").fetchone())
        COMMIT(connection)

    monkeypatch.setattr(one_transaction, "_commit", note)
    promoted(database)
    assert seen == [(3,)]


def test_no_write_comes_between_the_checks_and_the_commit(database, monkeypatch):
    tried = []

    def check_and_write(*arguments):
        found = CHECK_UNCHANGED(*arguments)
        with closing(sqlite3.connect(database, timeout=0, isolation_level=None)) as other:
            try:
                other.execute("INSERT INTO notes (body, mood) VALUES ('between', 'odd')")
            except sqlite3.OperationalError as error:
                tried.append(str(error))
        return found

    monkeypatch.setattr(one_transaction, "check_unchanged", check_and_write)
    promoted(database)
    assert tried == ["database is locked"]
