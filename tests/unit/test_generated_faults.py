"""What a generated migration needs of the pipeline, each as small as it gets."""

import pytest

from migrator.migration import Change
from tests.runs import migrate, run_sql
from tests.unit.generating import application
from tests.unit.migrating import back, database, everything, forward, migration, one, plan_for, rehearse

T = "CREATE TABLE t (id INTEGER PRIMARY KEY, a)"
ROW = "INSERT INTO t VALUES (1, 'x')"


def test_two_tables_of_which_one_has_no_key_go_online_together(folder):
    tables = {name: f"CREATE TABLE {name} (a)" for name in ("t", "u")}
    changes = [Change(name, sql, sql.replace("(a)", "(a, b)")) for name, sql in tables.items()]
    path = folder / "live.db"
    run_sql(path, *tables.values())
    assert migrate(path, application(migration(*changes)), max_lock_ms=0.0).strategy == "online"


def test_a_new_column_holds_its_default_as_the_column_stores_it():
    connection = database(T, ROW)
    forward(connection, migration(Change("t", T, T.replace("a)", "a, price REAL DEFAULT 0)"))))
    assert one(connection, "SELECT quote(price) FROM t") == "0.0"


def test_a_new_column_whose_default_is_not_constant_takes_its_declared_value():
    connection = database(T, ROW)
    after = T.replace("a)", "a, made TEXT DEFAULT CURRENT_TIMESTAMP)")
    rehearse(
        connection, plan_for(connection, [migration(Change("t", T, after, values={"made": "coalesce(made, 'then')"}))])
    )
    assert one(connection, "SELECT made FROM t") == "then"


STRICT = f"{T} STRICT"


@pytest.mark.parametrize(
    ("before", "listed", "values", "stored"),
    [
        (STRICT, "price DECIMAL(5, 2) DEFAULT 1", {}, "1"),
        (STRICT, "n INTEGER", {"n": "coalesce(n, 'one')"}, "'one'"),
    ],
)
def test_a_column_comes_while_a_table_stops_to_be_strict(before, listed, values, stored):
    before = before.replace("a)", "a TEXT)")
    connection = database(before, ROW)
    after = before.replace("a TEXT)", f"a TEXT, {listed})").removesuffix(" STRICT")
    rehearse(connection, plan_for(connection, [migration(Change("t", before, after, values=values))]))
    assert one(connection, f"SELECT quote({listed.split()[0]}) FROM t") == stored


@pytest.mark.parametrize("after", [T, T.replace("a)", "b)")])
def test_an_index_goes_and_comes_back(after):
    connection = database(T, "CREATE INDEX i ON t (a)", ROW)
    before = everything(connection)
    change = migration(Change("t", T, after, drops=("CREATE INDEX i ON t (a)",)))
    forward(connection, change)
    assert one(connection, "SELECT count(*) FROM sqlite_master WHERE type = 'index'") == 0
    back(connection, change)
    assert everything(connection) == before


@pytest.mark.parametrize("rows", [[ROW], []])
def test_a_table_goes_and_comes_back_with_its_rows(rows):
    connection = database(T, *rows)
    before = everything(connection)
    change = migration(Change("t", T))
    forward(connection, change)
    assert one(connection, "SELECT count(*) FROM sqlite_master WHERE name = 't'") == 0
    back(connection, change)
    assert everything(connection) == before
