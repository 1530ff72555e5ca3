"""The one instant: everything that can go wrong in it leaves live as it was."""

import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from migrator import promotion, rebuild
from migrator.connect import opened
from migrator.errors import NotOnlineError, PromotionError
from migrator.one_transaction import in_one_transaction
from migrator.promotion import promote
from tests.notes import AFTER, NOTES, TARGET_COLUMNS, change, make_notes, migration, notes_application
from tests.runs import (
    PLENTY_MS,
    columns,
    holds,
    is_sound,
    migrate,
    promoted,
    rehearsed,
    rows,
    run_sql,
    stored,
    with_plan,
)
from tests.unit.generating import application
from tests.unit.made_up import CHAT, MADE_UP, TASKS


def test_a_promotion_makes_live_what_was_rehearsed(database):
    candidate = rehearsed(database)
    notes = holds(candidate.path)["notes"]
    done = promote(candidate, PLENTY_MS)
    assert columns(database) == TARGET_COLUMNS
    assert holds(database)["notes"] == notes
    assert (done.strategy, done.rows, done.findings) == ("one_transaction", 100, ())
    assert 0 < done.lock_ms < PLENTY_MS
    assert rows(database, "SELECT migration_set, name FROM _sqlite_migrations") == [("notes", "0001_stars")]
    assert is_sound(database)


def test_what_the_migration_does_not_name_stays(database):
    run_sql(database, "ANALYZE")
    before, mode = holds(database), rows(database, "PRAGMA journal_mode")
    promoted(database)
    after = holds(database)
    assert {name: after[name] for name in ("tags", "sqlite_sequence")} == {
        name: before[name] for name in ("tags", "sqlite_sequence")
    }
    assert set(before["schema"]) - set(after["schema"]) == {
        r for r in before["schema"] if r[:2] == (b"table", b"notes")
    }
    assert rows(database, "PRAGMA journal_mode") == mode
    run_sql(database, "INSERT INTO notes (body, mood) VALUES ('tag me', 'good')")
    assert rows(database, "SELECT note_id FROM tags WHERE tag = 'automatic'") == [(102,)]


def test_rows_written_since_the_backup_are_in(database):
    candidate = rehearsed(database)
    run_sql(
        database,
        "INSERT INTO notes (body, mood, place) VALUES ('late', 'HAPPY', 'home')",
        "UPDATE notes SET body = 'changed' WHERE id = 1",
        "DELETE FROM notes WHERE id = 2",
    )
    promote(candidate, PLENTY_MS)
    assert rows(database, "SELECT body, mood FROM notes WHERE id = 102") == [("late", "good")]
    assert rows(database, "SELECT mood, place FROM notes_legacy WHERE id = 102") == [("HAPPY", "home")]
    assert rows(database, "SELECT body FROM notes WHERE id < 3") == [("changed",)]


def stops(database, candidate, why):
    before = holds(database)
    with pytest.raises(PromotionError, match=why):
        promote(candidate, PLENTY_MS)
    assert holds(database) == before and is_sound(database)


MEANWHILE = {
    "an index of the table": "CREATE INDEX mine ON notes (body)",
    "a trigger of the table": "CREATE TRIGGER mine AFTER DELETE ON notes BEGIN SELECT 1; END",
    "a view that names it": "CREATE VIEW mine AS SELECT id FROM notes",
    "a child of it": "CREATE TABLE mine (id INTEGER REFERENCES notes(id))",
    "a column of it": "ALTER TABLE notes ADD COLUMN stars INTEGER",
    "an object named like ours": "CREATE TABLE _mig_notes (x)",
    "a table for its originals": "CREATE TABLE notes_legacy (id)",
    "the table itself": "ALTER TABLE notes RENAME TO remarks",
}


@pytest.mark.parametrize("what", MEANWHILE)
def test_a_schema_that_changed_since_the_backup_stops_the_promotion(database, what):
    candidate = rehearsed(database)
    run_sql(database, MEANWHILE[what])
    stops(database, candidate, r"(the application .*|named like this tool's own.*); live was left as it is")


@pytest.mark.parametrize(
    ("made", "way_out"),
    {
        ("CREATE TABLE _mig_mine (x)",): "rename or drop them, then start again",
        (
            "CREATE TABLE _mig_mine (x)",
            "CREATE TRIGGER _mig_more AFTER DELETE ON tags BEGIN DELETE FROM _mig_mine; END",
        ): "drop the triggers first, then the tables, in one transaction: a trigger without its table makes every "
        "write fail, then start again",
    }.items(),
)
def test_objects_named_like_ours_are_told_to_have_come_during_the_run(database, made, way_out):
    candidate = rehearsed(database)
    run_sql(database, *made)
    with pytest.raises(PromotionError) as raised:
        promote(candidate, PLENTY_MS)
    names = ", ".join(("_mig_mine", "_mig_more")[: len(made)])
    assert raised.value.fault == (
        f"since this run began somebody made objects named like this tool's own: {names}; live was left as it is"
    )
    assert raised.value.way_out == way_out


def test_an_unrelated_table_made_since_is_a_finding(database):
    candidate = rehearsed(database)
    run_sql(database, "CREATE TABLE mine (x)", "INSERT INTO mine VALUES (1)")
    (found,) = promote(candidate, PLENTY_MS).findings
    assert (found.code, found.message) == ("schema_changed_meanwhile", "the application made, changed or dropped mine")
    assert rows(database, "SELECT * FROM mine") == [(1,)]


def test_a_migration_made_by_somebody_else_since_stops_the_promotion(database):
    candidate = rehearsed(database)
    migrate(database)
    stops(database, candidate, "live is at version 0001 now, not where this run began; live unchanged")


def test_a_value_without_an_answer_written_since_stops_the_promotion(database):
    candidate = rehearsed(database)
    run_sql(database, "INSERT INTO notes (body, mood) VALUES ('late', 'odd')")
    stops(database, candidate, r"written since the backup: column mood .* 'odd' \(1 row\)")


def test_a_row_that_the_new_constraints_refuse_written_since_stops_the_promotion(database):
    application = notes_application(
        migration(change(after=AFTER.replace("stars", "place TEXT NOT NULL, stars"), values={}))
    )
    run_sql(database, "UPDATE notes SET place = 'here', mood = 'good'")
    candidate = rehearsed(database, application)
    run_sql(database, "INSERT INTO notes (body, mood) VALUES ('late', 'good')")
    stops(
        database,
        candidate,
        "written since the backup: 1 rows of notes have no place.*; live unchanged",
    )


def test_an_error_in_the_ledger_takes_the_tables_back(database):
    candidate = rehearsed(database)
    live, before = candidate.inspection.backup.live, holds(database)

    def fail(*_):
        raise KeyboardInterrupt

    with opened(database) as connection:
        with pytest.raises(KeyboardInterrupt):
            in_one_transaction(connection, NOTES, candidate.plan, live.state, fail)
        assert not connection.in_transaction
    assert holds(database) == before and is_sound(database)


def test_a_full_database_takes_the_tables_back(database):
    run_sql(database, "UPDATE notes SET place = hex(zeroblob(2000))")
    candidate = rehearsed(database)
    live, before = candidate.inspection.backup.live, holds(database)
    with opened(database) as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages + 2}").fetchall()
        with pytest.raises(sqlite3.OperationalError, match="full"):
            in_one_transaction(connection, NOTES, candidate.plan, live.state, lambda *_: None)
        assert not connection.in_transaction
    assert holds(database) == before and is_sound(database)


def test_other_connections_see_old_until_the_commit(tmp_path):
    database = tmp_path / "notes.db"
    make_notes(database, journal_mode="wal")
    candidate = rehearsed(database)
    live = candidate.inspection.backup.live
    seen = []

    def look(*_):
        with closing(sqlite3.connect(database)) as other:
            seen.append([row[1] for row in other.execute("PRAGMA table_info(notes)")])

    with opened(database) as connection:
        in_one_transaction(connection, NOTES, candidate.plan, live.state, look)
    assert seen == [["id", "body", "mood", "place"]]
    assert columns(database) == TARGET_COLUMNS


def test_a_row_that_was_copied_wrongly_is_noticed_before_the_commit(database):
    candidate = rehearsed(database)
    (table,) = candidate.plan.tables
    before = holds(database)
    with pytest.raises(rebuild.RehearsalError, match="of them differ"):
        promote(with_plan(candidate, copy=table.copy + " LIMIT 3"), PLENTY_MS)
    assert holds(database) == before and is_sound(database)


def test_rows_that_come_back_in_the_swap_need_a_lock_that_is_allowed(folder):
    database, app = folder / "live.db", application(MADE_UP)
    run_sql(database, TASKS, CHAT)
    migrate(database, app)
    run_sql(database, "INSERT INTO steps VALUES (5, 1, 'a'), (6, 1, 'b')")
    migrate(database, app, to_version=0)
    # As slow as a machine, or a table, may be: 100 s a row.
    candidate = replace(rehearsed(database, app), rebuild_s=200.0, rows=2)
    before = stored(database)
    with pytest.raises(NotOnlineError, match="2 rows of steps come back at once"):
        promote(candidate, 300)
    assert stored(database) == before
    promote(candidate, 300_000)
    assert rows(database, "SELECT id, name FROM steps") == [(5, "a"), (6, "b")]


@pytest.mark.parametrize("max_lock_ms", [0.0, PLENTY_MS])
def test_what_was_put_aside_and_is_gone_when_it_should_come_back_is_named(folder, max_lock_ms):
    database, app = folder / "live.db", application(MADE_UP)
    run_sql(database, TASKS, CHAT)
    migrate(database, app)
    run_sql(database, "INSERT INTO steps VALUES (5, 1, 'a')")
    migrate(database, app, to_version=0)
    candidate = rehearsed(database, app)
    run_sql(database, "DROP TABLE steps_ahead")
    with pytest.raises(PromotionError) as caught:
        promote(candidate, max_lock_ms)
    assert str(caught.value) == (
        "the schema of chat, steps, tasks or of what names it changed since the backup: the application dropped table "
        "steps_ahead, which is a name of this tool's; live was left as it is; start again"
    )


@pytest.mark.parametrize(("max_lock_ms", "way"), [(PLENTY_MS, "in_one_transaction"), (0.0, "promote_online")])
def test_the_copies_are_gone_before_live_sees_the_first_statement(database, monkeypatch, max_lock_ms, way):
    candidate, left = rehearsed(database), []
    scratch, do = candidate.inspection.backup.scratch, getattr(promotion, way)

    def look(*arguments):
        left.append([path.name for path in scratch.rglob("*")])
        return do(*arguments)

    assert candidate.path.exists()
    monkeypatch.setattr(promotion, way, look)
    promote(candidate, max_lock_ms)
    assert left == [[]]
    assert candidate.inspection.backup.path.exists()
