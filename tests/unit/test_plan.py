"""Planning: made-up migrations of several tables, forth and back, and what is refused before anything runs."""

import pytest

from migrator.errors import RefusedError
from migrator.migration import Answers, Back, Change, Mapped, Switch
from tests.unit.migrating import (
    back,
    cells,
    database,
    everything,
    forward,
    migration,
    plan_for,
    promote,
    read_schema,
    rehearse,
    tables,
)

# One table gets a column in the middle, one is new, of one only some rows change.
TASKS = """CREATE TABLE tasks (id INTEGER PRIMARY KEY, title TEXT NOT NULL, done BOOLEAN DEFAULT 0)"""
TASKS_WITH_STATE = """CREATE TABLE tasks (id INTEGER PRIMARY KEY, state TEXT CHECK (state IN ('open', 'closed')),
    title TEXT NOT NULL, done BOOLEAN DEFAULT 0)"""
STEPS = (
    "CREATE TABLE steps (id INTEGER PRIMARY KEY AUTOINCREMENT, task INTEGER REFERENCES tasks (id), name TEXT UNIQUE)"
)
CHAT = "CREATE TABLE chat (id INTEGER PRIMARY KEY, who TEXT, role TEXT, said TEXT)"
MADE_UP = migration(
    Change(
        "tasks",
        TASKS,
        TASKS_WITH_STATE,
        values={"state": "CASE done WHEN 1 THEN 'closed' ELSE coalesce(state, 'open') END"},
        indexes=("CREATE INDEX by_state ON tasks (state)",),
    ),
    Change("steps", after=STEPS, indexes=("CREATE INDEX by_task ON steps (task)",)),
    Change("chat", values={"who": "role", "role": "said", "said": "who"}, where="said IN ('user', 'bot')"),
)


def made_up():
    return database(
        TASKS,
        CHAT,
        "CREATE TABLE other (x)",
        "INSERT INTO tasks VALUES (1, 'one', 0), (2, 'two', 1), (3, '', NULL)",
        "INSERT INTO chat VALUES (1, 'hello', 's1', 'user'), (2, 's1', 'bot', 'hi')",
        "INSERT INTO chat VALUES (3, 'x', 's2', 'bot'), (4, NULL, NULL, NULL)",
    )


@pytest.mark.parametrize("carry_out", [promote, rehearse])
def test_three_kinds_of_change_go_forth_and_back(carry_out):
    connection = made_up()
    before = everything(connection)
    carry_out(connection, plan_for(connection, [MADE_UP]))
    # Read by position, as an application may.
    assert connection.execute("SELECT * FROM tasks").fetchall() == [
        (1, "open", "one", 0),
        (2, "closed", "two", 1),
        (3, "open", "", None),
    ]
    assert connection.execute("SELECT * FROM chat").fetchall() == [
        (1, "s1", "user", "hello"),
        (2, "s1", "bot", "hi"),
        (3, "s2", "bot", "x"),
        (4, None, None, None),
    ]
    assert connection.execute("SELECT * FROM chat_legacy").fetchall() == [
        (1, "hello", "s1", "user"),
        (3, "x", "s2", "bot"),
    ]
    assert tables(connection) == {"tasks", "steps", "chat", "other", "chat_legacy"}
    names = "SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY name"
    assert connection.execute(names).fetchall() == [("by_state",), ("by_task",)]
    carry_out(connection, plan_for(connection, [MADE_UP], reverse=True))
    del before[""]
    after = everything(connection)
    assert {name: after[name] for name in before} == before
    assert tables(connection) == {"tasks", "chat", "other"}


def test_a_repaired_row_that_changed_since_is_not_spoilt_again():
    connection = made_up()
    forward(connection, MADE_UP)
    connection.execute("UPDATE chat SET said = 'edited' WHERE id = 3")
    back(connection, MADE_UP)
    assert connection.execute("SELECT * FROM chat WHERE id IN (1, 3)").fetchall() == [
        (1, "hello", "s1", "user"),
        (3, "x", "s2", "edited"),
    ]


def test_a_repair_may_spell_a_column_in_another_case_and_names_none_that_is_not_there():
    connection = made_up()
    forward(connection, migration(Change("CHAT", values={"Said": "upper(said)"}, where="id = 2")))
    assert connection.execute("SELECT said FROM chat WHERE id IN (1, 2)").fetchall() == [("user",), ("HI",)]
    with pytest.raises(RefusedError, match="table chat has no column 'sayd'"):
        plan_for(made_up(), [migration(Change("chat", values={"sayd": "upper(said)"}))])


def test_a_new_table_with_rows_waits_and_comes_back_whole():
    connection = made_up()
    forward(connection, MADE_UP)
    connection.execute("INSERT INTO steps VALUES (5, 1, 'a'), (9, 2, 'b'), (12, NULL, NULL)")
    connection.execute("DELETE FROM steps WHERE id = 12")
    new = everything(connection)
    back(connection, MADE_UP)
    assert tables(connection) == {"tasks", "chat", "other", "steps_ahead"}
    assert connection.execute("SELECT * FROM steps_ahead").fetchall() == [(5, 1, "a"), (9, 2, "b")]
    forward(connection, MADE_UP)
    assert everything(connection) == new
    connection.execute("INSERT INTO steps (name) VALUES ('c')")
    assert cells(connection, "steps")[-1][:2] == (13, 13)


def test_rows_of_a_new_table_without_a_key_come_back_with_their_rowids():
    made = migration(Change("t", after="CREATE TABLE t (a)"))
    connection = database()
    forward(connection, made)
    connection.execute("INSERT INTO t (rowid, a) VALUES (-3, 'x'), (40, NULL)")
    new = everything(connection)
    back(connection, made)
    forward(connection, made)
    assert everything(connection) == new


def test_a_new_table_that_the_application_made_already_is_brought_to_the_declared_one():
    connection = made_up()
    connection.execute("CREATE TABLE steps (id INTEGER PRIMARY KEY AUTOINCREMENT, task INTEGER, name TEXT)")
    connection.execute("INSERT INTO steps VALUES (5, 1, 'a')")
    before, schema = everything(connection), read_schema(connection)
    forward(connection, MADE_UP)
    assert connection.execute("SELECT * FROM steps").fetchall() == [(5, 1, "a")]
    assert connection.execute("PRAGMA foreign_key_list(steps)").fetchall() != []
    back(connection, MADE_UP, exactly=schema)
    assert everything(connection) == before


def test_a_table_that_waits_under_our_name_with_other_columns_is_refused():
    connection = made_up()
    connection.execute("CREATE TABLE steps_ahead (id, mine)")
    with pytest.raises(RefusedError, match="table steps_ahead has not the columns of steps"):
        plan_for(connection, [MADE_UP])


def test_a_table_that_somebody_dropped_is_refused_on_the_way_back():
    connection = made_up()
    forward(connection, MADE_UP)
    connection.execute("DROP TABLE steps")
    with pytest.raises(RefusedError, match="table steps does not exist"):
        plan_for(connection, [MADE_UP], reverse=True)


@pytest.mark.parametrize(
    "object_",
    [
        "CREATE INDEX By_State ON other (x)",
        "CREATE TABLE by_state (x)",
        "CREATE UNIQUE INDEX by_state ON tasks (title)",
    ],
)
def test_an_index_name_that_is_taken_is_refused_with_both_texts(object_):
    connection = made_up()
    connection.execute(object_)
    with pytest.raises(RefusedError, match=r"already exists as .* expected 'CREATE INDEX by_state ON tasks \(state\)'"):
        plan_for(connection, [MADE_UP])


def test_an_index_that_is_there_already_is_not_made_twice():
    connection = made_up()
    connection.execute("ALTER TABLE tasks ADD COLUMN state TEXT")
    connection.execute("create index BY_STATE on tasks(state)")
    plan = plan_for(connection, [MADE_UP])
    assert plan.tables[0].indexes == ()
    promote(connection, plan)
    assert [o.name for o in read_schema(connection).on_table("tasks", "index")] == ["BY_STATE"]
    back(connection, MADE_UP)
    assert read_schema(connection).on_table("tasks", "index") == ()


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


def test_a_value_read_through_spellings_may_be_of_a_new_column():
    before = "CREATE TABLE t (id INTEGER PRIMARY KEY, mood TEXT)"
    after = "CREATE TABLE t (id INTEGER PRIMARY KEY, mood TEXT, good BOOLEAN)"
    mapped = Mapped("coalesce(good, lower(mood))", {"yes": ("yes", "good"), "no": ("no", "bad")})
    change = migration(Change("t", before, after, values={"good": mapped}))
    connection = database(before, "INSERT INTO t (mood) VALUES ('Good'), ('BAD'), ('So So'), ('so so'), (NULL)")
    ((column, query),) = plan_for(connection, [change]).tables[0].unmapped
    assert (column, connection.execute(query).fetchall()) == ("good", [("so so", 2)])
    answers = Answers({"So so": None})
    plan = plan_for(connection, [change], answers)
    assert connection.execute(plan.tables[0].unmapped[0][1]).fetchall() == []
    promote(connection, plan)
    assert connection.execute("SELECT good FROM t").fetchall() == [("yes",), ("no",), (None,), (None,), (None,)]


def test_a_switch_turns_a_rule_on_and_is_off_otherwise():
    before = "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT)"
    change = migration(Change("t", before, before, values={"a": Switch("shout", on="upper(a)")}))
    for answers, expected in ((Answers(), "Hi"), (Answers(switches=frozenset({"shout"})), "HI")):
        connection = database(before, "INSERT INTO t VALUES (1, 'Hi')")
        forward(connection, change, answers=answers)
        assert connection.execute("SELECT a FROM t").fetchall() == [(expected,)]


def test_missing_values_are_counted_where_the_new_table_requires_them():
    before = "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT)"
    after = "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT NOT NULL, b INTEGER NOT NULL DEFAULT 7)"
    connection = database(before, "INSERT INTO t (a) VALUES ('x'), (NULL), (NULL)")
    missing = plan_for(connection, [migration(Change("t", before, after))]).tables[0].missing
    assert [(column, connection.execute(query).fetchone()) for column, query in missing] == [("a", (2,)), ("b", (0,))]


def test_a_column_with_a_default_has_it_in_the_rows_that_are_there():
    before = "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT DEFAULT 'old')"
    after = "CREATE TABLE t (id INTEGER PRIMARY KEY, b TEXT DEFAULT (1 || 'x''y'), c INTEGER NOT NULL DEFAULT -3)"
    connection = database(before, "INSERT INTO t (a) VALUES ('old'), (NULL), ('other')")
    was = everything(connection)
    change = migration(Change("t", before, after))
    forward(connection, change)
    assert connection.execute("SELECT b, c FROM t").fetchall() == [("1x'y", -3)] * 3
    assert connection.execute("SELECT * FROM t_legacy").fetchall() == [(2, None), (3, "other")]
    back(connection, change)
    assert everything(connection) == was


def test_an_original_is_given_back_beside_a_column_that_never_changed():
    before = "CREATE TABLE t (id INTEGER PRIMARY KEY, total INTEGER, rest INTEGER)"
    after = "CREATE TABLE t (id INTEGER PRIMARY KEY, total INTEGER)"
    change = migration(Change("t", before, after, back={"rest": Back("total", "total % 60")}))
    connection = database(before, "INSERT INTO t VALUES (1, 65, 5), (2, 65, 65), (3, 65, 65)")
    forward(connection, change)
    connection.execute("UPDATE t SET total = 3 WHERE id = 1")
    back(connection, change)
    assert connection.execute("SELECT * FROM t").fetchall() == [(1, 3, 3), (2, 65, 65), (3, 65, 65)]


def test_an_original_is_given_back_by_the_row_as_it_is_now():
    """Two old columns are made of one new one, with the help of a column that is in both tables."""
    before = "CREATE TABLE t (id INTEGER PRIMARY KEY, unit TEXT, whole INTEGER, rest INTEGER)"
    after = "CREATE TABLE t (id INTEGER PRIMARY KEY, unit TEXT, total INTEGER)"
    factor = "CASE unit WHEN 'min' THEN 60 ELSE 100 END"
    change = migration(
        Change(
            "t",
            before,
            after,
            values={"total": f"coalesce(total, whole * {factor} + rest)"},
            back={"whole": Back("total", f"total / ({factor})"), "rest": Back("total", f"total % ({factor})")},
        )
    )
    connection = database(
        before, "INSERT INTO t VALUES (1, 'min', 1, 5), (2, 'min', 0, 65), (3, 'eur', 0, 165), (4, 'eur', 0, 165)"
    )
    was = cells(connection, "t")
    forward(connection, change)
    assert connection.execute("SELECT total FROM t").fetchall() == [(65,), (65,), (165,), (165,)]
    assert connection.execute("SELECT id FROM t_legacy").fetchall() == [(2,), (3,), (4,)]
    connection.execute("UPDATE t SET total = 777 WHERE id = 4")
    back(connection, change)
    assert cells(connection, "t")[:3] == was[:3]
    assert connection.execute("SELECT * FROM t WHERE id = 4").fetchall() == [(4, "eur", 7, 77)]
    assert tables(connection) == {"t"}
    connection.execute("UPDATE t SET whole = 9 WHERE id = 4")
    forward(connection, change)
    assert connection.execute("SELECT total FROM t").fetchall() == [(65,), (65,), (165,), (977,)]
