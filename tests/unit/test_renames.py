"""A renamed column where somebody, or the application, renamed it before the migration: what it holds stays."""

from pathlib import Path

import pytest

from migrator.migration import Back, Change
from migrator.plan import State
from migrator.planning import make_plan
from migrator.schema import read_schema
from tests.runs import migrate, rows, run_sql
from tests.unit.generating import application, generated
from tests.unit.migrating import NO_ANSWERS, back, database, everything, forward, migration, one

OLD, NEW = (f"CREATE TABLE t (id INTEGER PRIMARY KEY, {name} TEXT DEFAULT 'none')" for name in ("a", "b"))
RENAMED = generated([OLD], [NEW], {"t.a": "t.b"}).migration
ROWS = "INSERT INTO t VALUES (1, 'x'), (2, NULL), (3, ''), (4, 'none')"


def test_it_is_applied_twice_as_it_is_applied_once():
    connection = database(OLD, ROWS)
    forward(connection, RENAMED)
    (again,) = make_plan([RENAMED], State(read_schema(connection, RENAMED.own_tables)), {1: NO_ANSWERS}).tables
    assert one(connection, again.projection.differing_from("t")) == 0


def test_what_it_holds_stays_there_and_back():
    connection = database(NEW, ROWS)
    forward(connection, RENAMED)
    assert connection.execute("SELECT * FROM t").fetchall() == [(1, "x"), (2, None), (3, ""), (4, "none")]
    back(connection, RENAMED)
    expected = database(OLD, ROWS)
    assert everything(connection) == everything(expected)


def test_where_both_are_there_the_old_one_counts():
    connection = database(OLD, ROWS, "ALTER TABLE t ADD COLUMN b TEXT DEFAULT 'none'")
    forward(connection, RENAMED)
    assert connection.execute("SELECT b FROM t").fetchall() == [("x",), (None,), ("",), ("none",)]


def test_a_value_that_is_made_of_a_column_that_stays_is_made_also_where_that_one_lacks():
    before = "CREATE TABLE t (id INTEGER PRIMARY KEY, done INTEGER DEFAULT 1)"
    after = before.replace(")", ", state TEXT)")
    change = Change(
        "t", before, after, values={"state": "coalesce(state, 'done')"}, back={"done": Back(of="state", sql="1")}
    )
    connection = database("CREATE TABLE t (id INTEGER PRIMARY KEY, state TEXT)", "INSERT INTO t VALUES (1, NULL)")
    forward(connection, migration(change))
    assert connection.execute("SELECT * FROM t").fetchall() == [(1, 1, "done")]


@pytest.mark.parametrize("max_lock_ms", [60_000.0, 0.0])
def test_a_database_in_which_it_has_its_name_already_is_adopted_and_migrated(folder: Path, max_lock_ms: float):
    path = folder / "live.db"
    run_sql(path, NEW, ROWS)
    held = rows(path, "SELECT * FROM t")
    migrate(path, application(RENAMED), baseline=True)
    assert rows(path, "SELECT * FROM t") == held
    run_sql(path, "DROP TABLE _sqlite_migrations", "DROP TABLE _migration_history")
    migrate(path, application(RENAMED), max_lock_ms=max_lock_ms)
    assert rows(path, "SELECT * FROM t") == held
