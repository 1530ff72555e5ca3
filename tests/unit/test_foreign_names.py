"""What somebody else made under a name of this tool's is theirs: it is refused or left alone, never read or dropped."""

import pytest

from migrator.promotion import promote
from migrator.restoration import recover
from migrator.verification import verify_live
from tests.notes import NOTES, change, migration, notes_application
from tests.runs import (
    PLENTY_MS,
    columns,
    holds,
    live_of,
    migrate,
    promoted,
    refusal,
    rehearsed,
    restored,
    rows,
    run_sql,
)

OURS = ["notes_legacy", "notes_ahead", "NOTES_legacy", "Notes_Ahead"]


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("columns_", ["a, b", "id INTEGER PRIMARY KEY, stars, place, mood"])
def test_a_table_in_the_place_of_this_tools_own_is_refused_whatever_its_case(database, name, columns_):
    run_sql(database, f"CREATE TABLE {name} ({columns_})", f"INSERT INTO {name} DEFAULT VALUES")
    before = holds(database)
    assert "already exists, and migration 0001_stars would keep values under that name" in str(refusal(database))
    assert holds(database) == before


def test_a_view_in_the_place_of_this_tools_own_is_refused(database):
    run_sql(database, "CREATE VIEW notes_ahead AS SELECT id, body AS stars FROM notes")
    assert "table notes_ahead already exists" in str(refusal(database))


@pytest.mark.parametrize("table", ["_migration_history (a)", "_Sqlite_Migrations (a)", "_sqlite_migrations (name)"])
def test_a_table_in_the_place_of_the_ledger_is_refused(database, table):
    run_sql(database, f"CREATE TABLE {table}")
    assert "exists and is not this tool's ledger; rename it" in str(refusal(database))


def test_an_empty_ledger_of_sqlite_utils_stays_after_a_restore(database):
    run_sql(
        database,
        "CREATE TABLE _sqlite_migrations (id INTEGER PRIMARY KEY, migration_set TEXT, name TEXT, applied_at TEXT)",
        "CREATE UNIQUE INDEX idx__sqlite_migrations_migration_set_name ON _sqlite_migrations (migration_set, name)",
    )
    before = holds(database)
    assert restored(database, live_of(promoted(database))).how == "reversed"
    assert holds(database) == before


def test_what_a_restore_put_aside_is_this_tools_own_the_next_time(database):
    live = live_of(promoted(database))
    run_sql(database, "UPDATE notes SET stars = 3 WHERE id = 1")
    assert restored(database, live).how == "reversed"
    assert rows(database, "SELECT stars FROM notes_ahead") == [(3,)]
    assert restored(database, live).how == "unchanged"
    migrate(database)
    assert rows(database, "SELECT stars FROM notes WHERE id = 1") == [(3,)]


def test_a_row_that_got_the_key_of_another_gets_nothing_of_it(database):
    told_apart = notes_application(migration(change(identity=("body",))))
    migrate(database, told_apart)
    run_sql(database, "UPDATE notes SET stars = id")
    migrate(database, told_apart, to_version=0)
    run_sql(
        database,
        "DELETE FROM notes WHERE id IN (1, 2)",
        "INSERT INTO notes (id, body, mood) VALUES (1, 'another', 'good')",
        "INSERT INTO notes (id, body, mood) VALUES (2, 'note 1', 'good')",
    )
    migrate(database, told_apart)
    assert rows(database, "SELECT id, stars FROM notes WHERE id < 4") == [(1, None), (2, 2), (3, 3)]


def test_a_promotion_that_the_application_has_built_on_and_that_cannot_be_reversed_stands(database):
    candidate = promoted(database).candidate
    run_sql(database, "ALTER TABLE notes ADD COLUMN since TEXT", "UPDATE notes SET since = 'later'")
    found = recover(database, NOTES)
    assert (found.how, found.findings[-1].code) == ("finished", "promotion_kept")
    assert "since" in columns(database)
    assert not (database.parent / "notes.db.migrating").exists()
    assert candidate.inspection.backup.path.exists()


def test_a_column_added_to_an_unrelated_table_is_a_finding(database):
    run_sql(database, "CREATE TABLE unrelated (x)")
    candidate = rehearsed(database)
    run_sql(database, "ALTER TABLE unrelated ADD COLUMN y")
    done = promote(candidate, PLENTY_MS)
    assert [(f.code, f.message) for f in done.findings] == [
        ("schema_changed_meanwhile", "the application made, changed or dropped unrelated")
    ]
    verify_live(done)
