"""The steps of a rebuild: the settings that hold in it, the copy and what is wrong with one, the added columns."""

import sqlite3
from dataclasses import replace

import pytest

from migrator.connect import PragmaError
from migrator.errors import RehearsalError
from migrator.migration import Back, Change, Value
from migrator.plan import TablePlan
from migrator.rebuild import SETTINGS, convert_data, rebuild_settings, rebuild_table
from tests.unit.migrating import back, everything, forward, migration, one, plan_for, promote, tables
from tests.unit.notes_in_memory import AFTER, BEFORE, NOTES, notes


def pragmas(connection: sqlite3.Connection) -> list[object]:
    return [one(connection, f"PRAGMA {name}") for name, _ in SETTINGS]


def test_the_settings_hold_inside_and_the_old_ones_afterwards():
    connection = notes("PRAGMA foreign_keys=ON", "PRAGMA secure_delete=ON")
    before = pragmas(connection)
    assert before == [1, 0, 1]
    with rebuild_settings(connection):
        assert pragmas(connection) == [0, 1, 0]
    assert pragmas(connection) == before
    with pytest.raises(ZeroDivisionError), rebuild_settings(connection):
        _ = 1 / 0
    assert pragmas(connection) == before


def test_a_transaction_that_is_open_already_is_an_error_and_nothing_is_rebuilt():
    connection = notes("PRAGMA foreign_keys=ON", "BEGIN")
    before = everything(connection)
    entered = False
    with pytest.raises(PragmaError, match="inside an open transaction would be ignored"), rebuild_settings(connection):
        entered = True
    assert (entered, connection.in_transaction) == (False, True)
    assert everything(connection) == before
    connection.execute("ROLLBACK")


def only_table(connection: sqlite3.Connection) -> TablePlan:
    return plan_for(connection, [NOTES]).tables[0]


@pytest.mark.parametrize(
    "copied",
    [
        "(id, body, mood) SELECT id, body, lower(mood) FROM notes WHERE id < 3",
        "(id, body, mood) SELECT id, body, lower(mood) FROM notes UNION SELECT 9, '9', '9'",
        "(id, body, mood) SELECT id, body, mood FROM notes",
        "(id, body, mood, stars) SELECT id, body, lower(mood), 0 FROM notes",
        "(id, body, mood) SELECT id, CAST(body AS BLOB), lower(mood) FROM notes",
        "(id, body, mood) SELECT id + 10, body, lower(mood) FROM notes",
    ],
)
def test_a_copy_that_is_not_the_projection_is_refused_and_rolled_back(copied: str):
    connection = notes()
    plan = plan_for(connection, [NOTES])
    before = everything(connection)
    broken = replace(plan, tables=(replace(plan.tables[0], copy=f'INSERT INTO "_mig_notes" {copied}'),))
    with pytest.raises(RehearsalError, match="table notes: 3 rows, "), connection:
        promote(connection, broken)
    assert everything(connection) == before


@pytest.mark.parametrize("values", [{"stars": "'5'"}, {"body": "id"}])
def test_a_value_that_its_column_would_store_as_another_is_refused(values: dict[str, Value]):
    connection = notes()
    wrong = migration(Change("notes", BEFORE, AFTER, values=values))
    with pytest.raises(RehearsalError, match=r"3 of them differ .* give it a CAST"), connection:
        promote(connection, plan_for(connection, [wrong]))


def test_the_number_of_rows_is_what_was_copied_kept_and_filled():
    connection = notes()
    plan = only_table(connection)
    connection.execute("ALTER TABLE notes ADD COLUMN stars INTEGER")
    assert convert_data(connection, plan) == 2
    with rebuild_settings(connection):
        assert rebuild_table(connection, plan) == 3
    assert tables(connection) == {"notes", "notes_legacy"}


def test_what_waited_is_filled_into_the_added_columns():
    connection = notes()
    forward(connection, NOTES)
    connection.execute("UPDATE notes SET stars = 5 WHERE id = 2")
    back(connection, NOTES)
    plan = only_table(connection)
    connection.execute("ALTER TABLE notes ADD COLUMN stars INTEGER")
    convert_data(connection, plan)
    assert connection.execute("SELECT stars FROM notes").fetchall() == [(None,), (5,), (None,)]


def test_the_added_columns_are_filled_before_the_table_is_rebuilt():
    connection = notes()
    starred = Change(
        "notes", BEFORE, AFTER, values={"stars": "CAST(length(place) AS INTEGER)"}, back={"mood": Back("mood", "mood")}
    )
    plan = plan_for(connection, [migration(starred)]).tables[0]
    assert [(c.name, c.type) for c in plan.added] == [("stars", "INTEGER")]
    connection.execute("ALTER TABLE notes ADD COLUMN stars INTEGER")
    convert_data(connection, plan)
    assert connection.execute("SELECT stars FROM notes").fetchall() == [(1,), (None,), (1,)]


def test_filling_the_added_columns_is_no_event_for_the_tables_own_triggers():
    connection = notes()
    connection.execute("CREATE TABLE seen (event TEXT)")
    for event in ("INSERT", "UPDATE", "DELETE"):
        connection.execute(
            f"CREATE TRIGGER see_{event} AFTER {event} ON notes BEGIN INSERT INTO seen VALUES ('{event}'); END"
        )
    made = connection.execute("SELECT sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name").fetchall()
    starred = Change("notes", BEFORE, AFTER, values={"stars": "1"}, back={"mood": Back("mood", "mood")})
    plan = plan_for(connection, [migration(starred)]).tables[0]
    connection.execute("ALTER TABLE notes ADD COLUMN stars INTEGER")
    convert_data(connection, plan)
    with rebuild_settings(connection):
        rebuild_table(connection, plan)
    assert connection.execute("SELECT * FROM seen").fetchall() == []
    assert connection.execute("SELECT sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name").fetchall() == made
    connection.execute("UPDATE notes SET stars = 2 WHERE id = 2")
    assert connection.execute("SELECT * FROM seen").fetchall() == [("UPDATE",)]
