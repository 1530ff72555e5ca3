"""What the rows say before anything is tried."""

import sqlite3
from contextlib import closing

import pytest

from migrator.backup import back_up
from migrator.connect import opened
from migrator.errors import RefusedError
from migrator.inspection import foreign_key_violations, inspect, integrity_faults
from migrator.migration import Mapped
from migrator.preflight import preflight
from tests.children import holding
from tests.notes import NOTES, change, make_notes, migration, notes_application
from tests.runs import backed_up, rows, run_sql


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "notes.db"
    make_notes(path)
    return path


def test_foreign_keys_that_rows_break_already_are_a_finding_with_their_count(database):
    run_sql(database, "DELETE FROM notes WHERE id IN (1, 3)")
    inspection = inspect(backed_up(database))
    assert inspection.violations == {"tags -> notes": 2}
    assert [(f.code, f.text) for f in inspection.findings] == [
        ("foreign_key_violations", "2 rows already break the foreign key tags -> notes")
    ]


def test_a_key_on_columns_that_are_not_unique_is_a_finding(database):
    run_sql(database, "CREATE TABLE child (tag TEXT REFERENCES tags(tag))", "INSERT INTO child VALUES ('x')")
    inspection = inspect(backed_up(database))
    assert list(inspection.violations) == ['foreign key mismatch - "child" referencing "tags"']
    assert [f.text for f in inspection.findings] == [
        'the foreign keys cannot be checked: foreign key mismatch - "child" referencing "tags"'
    ]


def test_rows_that_break_a_constraint_of_another_table_are_no_damage(database):
    run_sql(
        database,
        "CREATE TABLE other (x CHECK (x > 0), y)",
        "PRAGMA ignore_check_constraints=1",
        "INSERT INTO other VALUES (-1, NULL)",
        "PRAGMA writable_schema=1",
        "UPDATE sqlite_master SET sql = replace(sql, 'y', 'y NOT NULL') WHERE name = 'other'",
    )
    assert len(rows(database, "PRAGMA integrity_check")) == 2
    with opened(database) as connection:
        assert integrity_faults(connection) == []
    assert inspect(back_up(preflight(database, NOTES))).findings == ()


@pytest.mark.parametrize(
    ("option", "way_out"),
    [
        ("map_result", "say what each becomes, e.g. --map-result 'grim'=...; null drops it"),
        ("", "change them in the database, or give them a spelling in the migration"),
    ],
)
def test_an_option_is_offered_for_unmapped_values_only_where_the_migration_names_one(database, option, way_out):
    run_sql(database, "UPDATE notes SET mood = 'grim' WHERE id = 2")
    moods = Mapped("lower(mood)", {"good": ("good", "happy"), "bad": ("bad", "sad")}, option)
    notes = notes_application(migration(change(values={"mood": moods})))
    with pytest.raises(RefusedError) as raised:
        inspect(back_up(preflight(database, notes)))
    assert raised.value.fault == ("column mood of notes holds 1 values that the migration does not map: 'grim' (1 row)")
    assert raised.value.way_out == way_out


@pytest.mark.parametrize(
    ("indexed", "lacking"),
    [("body COLLATE german", "collation sequence: german"), ("turned(body)", "function: turned")],
)
def test_an_index_that_only_the_application_can_read_is_refused(database, indexed, lacking):
    with closing(sqlite3.connect(database)) as connection:
        connection.create_collation("german", lambda one, other: (one > other) - (one < other))
        connection.create_function("turned", 1, lambda text: text[::-1], deterministic=True)
        connection.execute(f"CREATE INDEX i ON notes ({indexed})")
    backup = backed_up(database)
    with pytest.raises(RefusedError, match=f"only the application's own connections can read .*{lacking}.*; drop it"):
        inspect(backup)


def test_a_lock_is_no_damage(database):
    with (
        holding(database, "BEGIN EXCLUSIVE"),
        opened(database, timeout_s=0.05) as connection,
        pytest.raises(sqlite3.OperationalError, match="locked"),
    ):
        integrity_faults(connection)


def test_a_lock_is_no_foreign_key_violation(database):
    with (
        holding(database, "BEGIN EXCLUSIVE"),
        opened(database, timeout_s=0.05) as connection,
        pytest.raises(sqlite3.OperationalError, match="locked"),
    ):
        foreign_key_violations(connection)


def test_faults_are_one_line_each(database):
    run_sql(database, "UPDATE notes SET place = hex(zeroblob(9000))")
    with database.open("r+b") as file:
        file.seek(4096 * 6)
        file.write(b"\xff" * 4096)
    with opened(database) as connection:
        faults = integrity_faults(connection)
    assert faults and not any("\n" in fault for fault in faults)
