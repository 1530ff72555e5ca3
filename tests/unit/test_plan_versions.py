"""Planning over versions: two pending migrations of one table, the plan's direction, the state that it leaves."""

import pytest

from migrator.migration import Back, Change
from migrator.schema import read_schema
from tests.unit.made_up import MADE_UP, made_up
from tests.unit.migrating import back, database, everything, forward, migration, plan_for, promote, rehearse

# Two migrations of one table: the second builds on what the first leaves.
V0 = "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, a TEXT, b REAL)"
V1 = "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, a TEXT, ms INTEGER)"
V2 = "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, ms INTEGER, name TEXT UNIQUE)"
FIRST = migration(
    Change(
        "t",
        V0,
        V1,
        values={"a": "lower(a)", "ms": "coalesce(ms, CAST(round(b * 1000) AS INTEGER))"},
        back={"b": Back("ms", "ms / 1000.0")},
        indexes=("CREATE INDEX t_ms ON t (ms)", "CREATE INDEX t_id ON t (id, ms)"),
    )
)
SECOND = migration(
    Change(
        "t",
        V1,
        V2,
        values={"name": "coalesce(name, a || '-' || id)"},
        back={"a": Back("name", "substr(name, 1, instr(name, '-') - 1)")},
        originals="t_second_legacy",
        ahead="t_second_ahead",
        indexes=("CREATE INDEX t_name ON t (name, ms)",),
    ),
    version=2,
)


def two_versions():
    connection = database(
        V0, "INSERT INTO t VALUES (1, 'One', 0.25), (2, 'two', 1.0004), (3, NULL, NULL), (9, 'x-y', 2.0)"
    )
    connection.execute("DELETE FROM t WHERE id = 9")
    connection.execute("INSERT INTO t VALUES (7, 'x-y', 2.0)")
    return connection


@pytest.mark.parametrize("carry_out", [promote, rehearse])
def test_two_pending_migrations_of_one_table_are_planned_in_one_go(carry_out):
    connection, in_steps = two_versions(), two_versions()
    before = everything(connection)
    carry_out(connection, plan_for(connection, [SECOND, FIRST]))
    assert connection.execute("SELECT * FROM t").fetchall() == [
        (1, 250, "one-1"),
        (2, 1000, "two-2"),
        (3, None, None),
        (7, 2000, "x-y-7"),
    ]
    forward(in_steps, FIRST)
    forward(in_steps, SECOND)
    assert everything(connection) == everything(in_steps)
    carry_out(connection, plan_for(connection, [FIRST, SECOND], reverse=True))
    assert everything(connection) == before
    back(in_steps, SECOND)
    back(in_steps, FIRST)
    assert everything(in_steps) == before


def test_of_two_plans_for_one_table_the_last_makes_the_indexes():
    plan = plan_for(two_versions(), [FIRST, SECOND])
    assert [p.indexes for p in plan.tables] == [
        (),
        (
            "CREATE INDEX t_ms ON t (ms)",
            "CREATE INDEX t_id ON t (id, ms)",
            "CREATE INDEX t_name ON t (name, ms)",
        ),
    ]
    assert [p.recreate for p in plan.tables] == [(), ()]
    assert [(p.version, p.kind) for p in plan.tables] == [(1, "rebuild"), (2, "rebuild")]


def test_a_plan_knows_its_direction_versions_tables_and_tools():
    plan = plan_for(made_up(), [MADE_UP])
    assert (plan.to_version, plan.reverse, plan.touched) == (1, False, {"tasks", "steps", "chat"})
    assert [p.table for p in plan.tables] == ["tasks", "steps", "chat"]
    assert [p.kind for p in plan.tables] == ["rebuild", "new", "rebuild"]
    assert {o.name for o in plan.after.schema.objects} == {"tasks", "chat", "other", "steps", "by_state", "by_task"}
    assert any(s.startswith('CREATE TABLE "_mig_tasks"') for s in plan.statements)
    assert "" not in plan.statements
    connection = two_versions()
    forward(connection, FIRST, SECOND)
    undone = plan_for(connection, [FIRST, SECOND], reverse=True)
    assert (undone.to_version, [p.version for p in undone.tables]) == (0, [2, 1])
    assert plan_for(connection, [SECOND], reverse=True).to_version == 1
    connection = made_up()
    forward(connection, MADE_UP)
    assert [p.table for p in plan_for(connection, [MADE_UP], reverse=True).tables] == ["chat", "steps", "tasks"]


def test_the_state_after_a_plan_is_the_state_that_it_leaves():
    for make, migrations in ((made_up, [MADE_UP]), (two_versions, [FIRST, SECOND])):
        connection = make()
        own = set().union(*(m.own_tables for m in migrations))
        for reverse in (False, True):
            plan = plan_for(connection, migrations, reverse=reverse)
            promote(connection, plan)
            assert read_schema(connection, own).fingerprint == plan.after.schema.fingerprint
            assert plan.after.own == {}
