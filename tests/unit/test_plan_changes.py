"""Planning the changes of several tables, forth and back, and what is refused before anything runs."""

import pytest

from migrator.errors import RefusedError
from migrator.migration import Back, Change
from migrator.schema import read_schema
from tests.unit.made_up import MADE_UP, made_up
from tests.unit.migrating import (
    back,
    cells,
    database,
    everything,
    forward,
    migration,
    plan_for,
    promote,
    rehearse,
    tables,
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


@pytest.mark.parametrize(("reverse", "name"), [(False, "tasks_legacy"), (False, "chat_legacy"), (True, "steps_ahead")])
def test_a_table_that_somebody_made_under_a_name_for_what_is_put_aside_is_refused_and_stays(reverse, name):
    connection = made_up()
    forward(connection, MADE_UP)
    if not reverse:
        back(connection, MADE_UP)
    connection.execute(f"CREATE TABLE {name} (id, mine)")
    table = name.partition("_")[0]
    with pytest.raises(RefusedError) as refused:
        plan_for(connection, [MADE_UP], reverse=reverse)
    assert str(refused.value) == (
        f"table {name} already exists, and the migration of {table} would keep values under that name; rename it"
    )


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


T = "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT)"
READS = {
    "in its condition": ({"where": "b IS NULL"}, "b"),
    "in a value": ({"values": {"a": "upper(b)"}}, "b"),
    "of another table": ({"values": {"a": "(SELECT max(b) FROM u)"}}, "b"),
    "of a view": ({"values": {"a": "(SELECT max(c) FROM v)"}}, "c"),
    "a column that is there": ({"where": "a IS NULL"}, None),
    "one that another table has": ({"values": {"a": "(SELECT max(c) FROM u)"}}, None),
    "one of a view": ({"values": {"a": "(SELECT max(d) FROM v)"}}, None),
    "through what only the application has": ({"values": {"a": "ours(a)"}}, None),
}


@pytest.mark.parametrize(("fields", "lacking"), READS.values(), ids=READS)
def test_a_column_that_a_migration_reads_and_nobody_has_is_refused_with_a_way_out(fields, lacking):
    connection = database(T, "CREATE TABLE u (c)", "CREATE VIEW v AS SELECT c AS d FROM u")
    change = migration(Change("t", **{"values": {"a": "lower(a)"}} | fields), version=3)
    if lacking is None:
        assert len(plan_for(connection, [change]).tables) == 1
        return
    with pytest.raises(RefusedError) as raised:
        plan_for(connection, [change])
    assert raised.value.fault == f"migration 0003_made_up of t reads column {lacking}, which is not there"
    assert raised.value.way_out == (
        "start the application once, so that it adds what its tables lack, or stop before it with --to 0002"
    )


def test_a_column_that_an_earlier_migration_of_the_run_adds_may_be_read():
    added = migration(Change("t", T, T.replace("a TEXT", "a TEXT, b TEXT")), version=1)
    reading = migration(Change("t", values={"a": "coalesce(b, a)"}), version=2)
    assert len(plan_for(database(T), [added, reading]).tables) == 2


def test_a_column_that_only_the_way_back_reads_is_missed_on_either_way():
    renamed = Change("t", T, T.replace("a TEXT", "b TEXT"), values={"b": "a"}, back={"a": Back("b", "b || c")})
    for kept in ((), ("CREATE TABLE t_legacy (id INTEGER, a, PRIMARY KEY (id))",)):
        connection = database(T.replace("a TEXT", "b TEXT"), *kept)
        with pytest.raises(RefusedError, match=r"reads column c, which is not there; start the .* lack$"):
            plan_for(connection, [migration(renamed)], reverse=True)
    # The way forth asks what the way back would make of the rows.
    with pytest.raises(RefusedError, match=r"reads column c, which is not there; .* with --to 0000$"):
        plan_for(database(T), [migration(renamed)])


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


@pytest.mark.parametrize(
    ("change", "first", "then"),
    [
        (Change("t", after="CREATE TABLE t (id INTEGER PRIMARY KEY, a)"), forward, back),
        (Change("t", before="CREATE TABLE t (id INTEGER PRIMARY KEY, a)"), back, forward),
    ],
    ids=["a new one", "one that goes"],
)
def test_rows_of_a_table_that_was_made_anew_while_they_waited_are_not_lost(change, first, then):
    made = migration(change)
    connection = database()
    first(connection, made)
    connection.execute("INSERT INTO t VALUES (1, 'x'), (2, 'y')")
    new = everything(connection)
    then(connection, made)
    # Whoever still runs the other version of the application: CREATE TABLE IF NOT EXISTS.
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a, more)")
    connection.execute("INSERT INTO t (a) VALUES ('z')")
    held = everything(connection)
    with pytest.raises(
        RefusedError, match=r"table t_(ahead|legacy) keeps what was in table t, and the application has"
    ):
        first(connection, made)
    assert everything(connection) == held
    connection.execute("DROP TABLE t")
    first(connection, made)
    assert everything(connection) == new


def test_ids_of_an_emptied_table_are_not_given_again_when_it_comes_back():
    connection = made_up()
    forward(connection, MADE_UP)
    connection.execute("INSERT INTO steps VALUES (5, 1, 'a')")
    connection.execute("DELETE FROM steps")
    new = everything(connection)
    back(connection, MADE_UP)
    forward(connection, MADE_UP)
    assert everything(connection) == new
    assert connection.execute("INSERT INTO steps (name) VALUES ('b') RETURNING id").fetchone() == (6,)


def test_an_empty_table_goes_where_nothing_counts_ids():
    made = migration(Change("t", after="CREATE TABLE t (a)"))
    connection = database()
    forward(connection, made)
    back(connection, made)
    assert tables(connection) == set()


def test_what_the_applications_own_form_of_a_new_table_could_not_hold_comes_back_into_it():
    connection = made_up()
    connection.execute("CREATE TABLE steps (id INTEGER PRIMARY KEY AUTOINCREMENT, task INTEGER)")
    schema = read_schema(connection)
    forward(connection, MADE_UP)
    connection.execute("INSERT INTO steps VALUES (5, 1, 'a')")
    new = everything(connection)
    back(connection, MADE_UP, exactly=schema)
    assert connection.execute("SELECT id, name FROM steps_ahead").fetchall() == [(5, "a")]
    forward(connection, MADE_UP)
    assert everything(connection) == new


def test_rows_that_wait_keep_no_parent_from_being_deleted():
    connection = made_up()
    forward(connection, MADE_UP)
    connection.execute("INSERT INTO steps VALUES (5, 1, 'a'), (9, 2, 'b')")
    new = everything(connection)
    back(connection, MADE_UP)
    assert connection.execute("PRAGMA foreign_key_list(steps_ahead)").fetchall() == []
    connection.execute("PRAGMA foreign_keys=1")
    connection.execute("DELETE FROM tasks WHERE id = 1")
    connection.execute("INSERT INTO tasks (id, title, done) VALUES (1, 'one', 0)")
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    forward(connection, MADE_UP)
    assert everything(connection) == new


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


@pytest.mark.parametrize("carry_out", [promote, rehearse])
def test_a_column_that_somebody_added_by_hand_is_a_step_all_the_same(carry_out):
    connection = made_up()
    connection.execute("ALTER TABLE tasks ADD COLUMN state TEXT")
    plan = plan_for(connection, [MADE_UP])
    assert [column.name for column in plan.tables[0].added] == ["state"]
    carry_out(connection, plan)
    assert connection.execute("SELECT state FROM tasks ORDER BY id").fetchall() == [("open",), ("closed",), ("open",)]


@pytest.mark.parametrize("columns", ["id, mine", "id, task, label", "id, name, task", "id, task, name, more"])
def test_a_table_that_waits_under_our_name_with_other_columns_is_refused(columns):
    connection = made_up()
    connection.execute(f"CREATE TABLE steps_ahead ({columns})")
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
