"""What is compared of the whole when all steps are done; tests/faults/defects seeds far more of what must be found."""

import time
from dataclasses import replace
from itertools import count

import pytest

from migrator import candidate as candidates
from migrator.candidate import add_column, convert_data, create_indexes, rebuild_table, stage
from migrator.errors import RehearsalError
from migrator.inspection import inspect
from migrator.migration import Change
from tests.notes import AFTER, BEFORE, NOTES, change, make_notes, migration, notes_application
from tests.runs import backed_up, migrate, rehearsed, rows, run_sql, stored
from tests.unit.test_candidate import TWICE

IDEAS = "CREATE TABLE ideas (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT)"
WITH_IDEAS = notes_application(migration(), migration(Change("ideas", after=IDEAS), version=2, tools=()))


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "notes.db"
    make_notes(path)
    return path


def before_indexes(database, application=NOTES, **options):
    """The candidate, with all steps done but the last."""
    candidate = stage(inspect(backed_up(database, application, **options)))
    for table in candidate.plan.tables:
        for column in table.added:
            candidate = add_column(candidate, table.table, column)
        candidate = rebuild_table(convert_data(candidate, table), table)
    return candidate


def fault_of(candidate, *statements):
    run_sql(candidate.path, *statements)
    with pytest.raises(RehearsalError) as caught:
        create_indexes(candidate)
    return str(caught.value)


def test_the_schema_that_is_returned_is_the_candidates_and_nothing_is_written(database):
    candidate = rehearsed(database)
    backup = candidate.inspection.backup
    before = stored(candidate.path), stored(backup.path)
    schema = candidates.compare_schema(candidate.path, backup, candidate.plan)
    candidates.compare_rows(candidate.path, backup, candidate.plan)
    candidates.compare_way_back(candidate.path, backup, candidate.plan)
    assert schema.fingerprints_of(["notes"]) == candidate.fingerprints
    assert (stored(candidate.path), stored(backup.path)) == before


def test_a_suffix_that_an_operator_gave_is_no_difference(tmp_path):
    path = tmp_path / "notes.db"
    run_sql(path, f"{BEFORE} STRICT", "INSERT INTO notes (body, mood) VALUES ('b', 'good')")
    migrate(path)
    migrate(path, to_version=0)
    assert rows(path, "SELECT sql LIKE '% STRICT' FROM sqlite_master WHERE name = 'notes'") == [(1,)]


def test_statistics_of_an_index_that_goes_are_not_missed(database):
    migrate(database)
    run_sql(database, "CREATE INDEX own ON notes (body)", "ANALYZE")
    migrate(database, to_version=0)
    assert {idx for (idx,) in rows(database, "SELECT idx FROM sqlite_stat1 WHERE tbl = 'notes'")} == {"own"}


def test_a_mark_that_the_declared_table_does_not_have_is_not_missed(database):
    plain = change(after=AFTER.replace(" AUTOINCREMENT", ""))
    migrate(database, notes_application(migration(plain)))
    assert rows(database, "SELECT * FROM sqlite_sequence") == []


@pytest.mark.parametrize(
    ("table", "statement"),
    [
        ("_migration_history", "UPDATE _migration_history SET answers = '{}'"),
        ("_sqlite_migrations", "DELETE FROM _sqlite_migrations"),
        ("notes_legacy", "UPDATE notes_legacy SET place = 'x' WHERE id = 2"),
    ],
)
def test_what_this_tool_keeps_of_an_earlier_migration_is_no_table_to_change(database, table, statement):
    migrate(database, WITH_IDEAS, to_version=1)
    said = fault_of(before_indexes(database, WITH_IDEAS), statement)
    assert said == f"the migration changed tables whose rows it does not name: {table}; live unchanged"


def test_a_row_of_a_table_that_is_new_is_named(database):
    said = fault_of(before_indexes(database, WITH_IDEAS), "INSERT INTO ideas (body) VALUES ('mine')")
    assert said.startswith("the rows of ideas are not what the migration makes of the backup's (1 rows in place of 0)")


def test_rows_that_are_put_aside_with_their_table_and_come_back_are_compared(database):
    migrate(database, WITH_IDEAS)
    run_sql(database, "INSERT INTO ideas (body) VALUES ('one'), ('two')")
    kept = before_indexes(database, WITH_IDEAS, to_version=1)
    assert "the rows of ideas are not what" in fault_of(kept, "UPDATE ideas_ahead SET body = 'x' WHERE id = 2")
    migrate(database, WITH_IDEAS, to_version=1)
    back = before_indexes(database, WITH_IDEAS)
    assert "the rows of ideas are not what" in fault_of(back, "UPDATE ideas SET body = 'x' WHERE id = 2")
    migrate(database, WITH_IDEAS)
    assert rows(database, "SELECT * FROM ideas") == [(1, "one"), (2, "two")]


def test_rows_that_go_through_two_migrations_are_compared_with_those_of_the_backup(database, monkeypatch):
    monkeypatch.setattr(candidates, "compare_way_back", lambda *_: None)
    create_indexes(before_indexes(database, TWICE))
    said = fault_of(before_indexes(database, TWICE), "UPDATE notes SET stars = 'few' WHERE id = 7")
    assert said.startswith("the rows of notes are not what the migration makes of the backup's (1 with another stars)")


def test_rows_without_a_key_of_their_own_are_compared_by_rowid(tmp_path):
    path = tmp_path / "notes.db"
    loose = "CREATE TABLE notes (rowid TEXT, body TEXT)"
    run_sql(
        path,
        loose,
        "INSERT INTO notes VALUES ('x', 'one'), ('y', 'two'), ('z', 'three')",
        "DELETE FROM notes WHERE body = 'one'",
    )
    application = notes_application(
        migration(
            change(
                before=loose,
                after=loose.replace("body TEXT", "body TEXT, stars INTEGER"),
                values={},
                indexes=(),
                behaviours=(),
            )
        ),
        probes=(),
    )
    said = fault_of(before_indexes(path, application), "UPDATE notes SET rowid = 'y' WHERE body = 'three'")
    assert "(1 with another rowid)" in said
    migrate(path, application)
    assert rows(path, "SELECT _rowid_, * FROM notes") == [(2, "y", "two", None), (3, "z", "three", None)]


def test_a_migration_that_could_not_be_reversed_is_said_before_the_promotion(database):
    said = fault_of(before_indexes(database), "CREATE TABLE notes_ahead (id)")
    assert said == (
        "the migration could not be reversed: table notes_ahead already exists, and the migration of notes would keep "
        "values under that name; live unchanged; rename it"
    )


def test_the_way_back_is_the_one_of_a_restore_to_the_table_that_was_there(database, monkeypatch):
    run_sql(database, "ALTER TABLE notes ADD COLUMN stars INTEGER", "UPDATE notes SET stars = id % 5")
    monkeypatch.setattr(candidates, "compare_rows", lambda *_: None)
    said = fault_of(before_indexes(database), "UPDATE notes SET stars = 9 WHERE id = 3")
    assert (
        said == "the way back would not give the rows of notes that were there (1 with another stars); live unchanged"
    )


def test_the_comparison_counts_for_the_predicted_lock(database, monkeypatch):
    candidate = before_indexes(database)
    monkeypatch.setattr(time, "perf_counter", count().__next__)
    # A tick for the indexes and one for the rows, which the promotion compares under the lock; none for the way back.
    assert create_indexes(replace(candidate, rebuild_s=0.0)).rebuild_s == 2
