"""Changes of some rows: the table stays as it is, and with it every row that they are not about."""

import sqlite3
from dataclasses import replace

import pytest

from migrator.errors import NotOnlineError, RehearsalError
from migrator.migration import Change
from tests.notes import change as notes_change
from tests.notes import make_notes, notes_application
from tests.notes import migration as notes_migration
from tests.runs import migrate, rows, run_sql
from tests.unit.going_online import check_forth, cleaned, made, online
from tests.unit.migrating import (
    back,
    database,
    everything,
    forward,
    migration,
    one,
    plan_for,
    promote,
    rehearse,
    tables,
)

# Odd layout: a table of which only rows change keeps its text letter by letter.
CHAT = "CREATE TABLE chat(id INTEGER PRIMARY KEY AUTOINCREMENT,who TEXT, -- a name\n role TEXT UNIQUE)"
ROWS = "INSERT INTO chat VALUES (1, 'user', 'ann'), (2, 'ann b', 'user'), (3, 'bob', 'bot'), (5, NULL, NULL)"
LOUD = migration(Change("chat", values={"who": "upper(who)"}, where="id = 3"))


def chat(*statements):
    return database(CHAT, ROWS, *statements)


@pytest.mark.parametrize("carry_out", [promote, rehearse])
def test_only_the_rows_that_the_change_is_about_are_written(carry_out):
    connection = chat("CREATE INDEX whos ON chat (who)", "ANALYZE")
    before, known = everything(connection), connection.execute("SELECT * FROM sqlite_stat1").fetchall()
    written = connection.total_changes
    plan = plan_for(connection, [LOUD])
    carry_out(connection, plan)
    # Original, shadow, old row, new row, and what SQLite counts of a dropped table's mark.
    assert connection.total_changes - written < 8
    after = everything(connection, LOUD.own_tables)
    assert connection.execute("SELECT id, who FROM chat ORDER BY id").fetchall() == [
        (1, "user"),
        (2, "ann b"),
        (3, "BOB"),
        (5, None),
    ]
    assert connection.execute("SELECT * FROM chat_legacy").fetchall() == [(3, "bob")]
    assert one(connection, "SELECT sql FROM sqlite_master WHERE name = 'chat'") == CHAT
    assert connection.execute("SELECT * FROM sqlite_stat1").fetchall() == known != []
    assert {k: v for k, v in after.items() if k != "chat"} == {k: v for k, v in before.items() if k != "chat"}
    carry_out(connection, plan_for(connection, [LOUD], reverse=True))
    assert everything(connection) == before
    assert tables(connection) == {"chat"}


def test_the_plan_shows_what_runs():
    plan = plan_for(
        chat("CREATE INDEX whos ON chat (who)", "CREATE TRIGGER t AFTER DELETE ON chat BEGIN SELECT 1; END"), [LOUD]
    )
    (table,) = plan.tables
    assert (table.kind, len(table.update), table.is_filled_online) == ("rebuild", 2, True)
    assert [*table.update, "CREATE TRIGGER t AFTER DELETE ON chat BEGIN SELECT 1; END"] == list(plan.statements[-3:])
    assert not any("INDEX" in statement for statement in plan.statements)


def test_no_trigger_of_the_table_fires_and_all_are_there_again():
    noted = "CREATE TRIGGER noted AFTER {} ON chat BEGIN INSERT INTO log VALUES ('{}'); END"
    events = [noted.replace("noted", f"on_{e}").format(e, e) for e in ("INSERT", "DELETE", "UPDATE")]
    connection = chat("CREATE TABLE log (event)", *events)
    for carry_out in (forward, back):
        carry_out(connection, LOUD)
        assert connection.execute("SELECT * FROM log").fetchall() == []
    connection.execute("UPDATE chat SET who = 'x' WHERE id = 1")
    assert connection.execute("SELECT * FROM log").fetchall() == [("UPDATE",)]


@pytest.mark.parametrize("carry_out", [promote, rehearse])
def test_unique_values_may_change_places(carry_out):
    other = "CASE role WHEN 'ann' THEN 'bot' ELSE 'ann' END"
    swap = migration(Change("chat", values={"role": other}, where="role IN ('ann', 'bot') AND who <> 'done'"))
    connection = chat()
    carry_out(connection, plan_for(connection, [swap]))
    assert connection.execute("SELECT id, role FROM chat ORDER BY id").fetchall() == [
        (1, "bot"),
        (2, "user"),
        (3, "ann"),
        (5, None),
    ]


def test_a_table_whose_rows_replace_each_other_loses_none():
    connection = database(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, code TEXT UNIQUE ON CONFLICT REPLACE)",
        "INSERT INTO t VALUES (1, 'a'), (2, 'b')",
    )
    change = migration(Change("t", values={"code": "'a'"}, where="id = 2"))
    with pytest.raises(sqlite3.IntegrityError, match=r"UNIQUE constraint failed: t\.code"):
        forward(connection, change)
    connection.execute("ROLLBACK")
    assert connection.execute("SELECT * FROM t").fetchall() == [(1, "a"), (2, "b")]


def test_a_value_of_another_type_than_its_column_stores_is_noticed():
    with pytest.raises(RehearsalError, match=r"table chat: 1 rows, 1 copied, 1 of them differ .* give it a CAST"):
        forward(chat(), migration(Change("chat", values={"who": "7"}, where="id = 3")))


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("CREATE TABLE t (a TEXT)", "rowid"),
        ("CREATE TABLE t (rowid TEXT, a TEXT)", "_rowid_"),
        ("CREATE TABLE t (k TEXT, l TEXT, a TEXT, PRIMARY KEY (k, l)) WITHOUT ROWID", "k, l"),
    ],
)
def test_rows_are_told_apart_by_whatever_identifies_them(text, key):
    connection = database(text)
    columns = text.count("TEXT") - 1
    for n, a in enumerate("xyz", 1):
        row = ", ".join([f"'k{n}'"] * columns + [f"'{a}'"])
        connection.execute(f"INSERT INTO t VALUES ({row})")
    connection.execute("DELETE FROM t WHERE a = 'x'")
    before = everything(connection)
    change = migration(Change("t", values={"a": "'Z'"}, where="a = 'z'"))
    forward(connection, change)
    assert connection.execute(f"SELECT a FROM t ORDER BY {key}").fetchall() == [("y",), ("Z",)]
    back(connection, change)
    assert everything(connection) == before


# What the highest id of another table decides: a sequence that has to fit the ids in use.
SEQUENCE = "CREATE TABLE sequence (id INTEGER PRIMARY KEY, last INTEGER)"
ITEMS = "CREATE TABLE items (number INTEGER UNIQUE)"
FIT = "max(coalesce(last, 0), (SELECT coalesce(max(number), 0) FROM items))"
FITTED = migration(Change("sequence", values={"last": FIT}, where="id = 1"))


def items(folder):
    return made(
        folder / "live.db", SEQUENCE, ITEMS, "INSERT INTO sequence VALUES (1, 0), (2, NULL)",
        "INSERT INTO items VALUES (7), (12)",
    )  # fmt: skip


def test_a_value_that_another_table_decides_follows_what_is_written_until_the_swap(folder):
    notes = "CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT)"
    bodies = Change("notes", notes, notes.replace("body", "stars INTEGER, body"))
    both = migration(bodies, *FITTED.changes)
    path = made(
        folder / "live.db", SEQUENCE, ITEMS, notes, "INSERT INTO sequence VALUES (1, 0), (2, NULL)",
        "INSERT INTO notes (body) VALUES ('a'), ('b'), ('c'), ('d')",
    )  # fmt: skip
    more = [f"INSERT INTO items VALUES ({n})" for n in (20, 21)]
    twin = check_forth(path, both, between=more, last="INSERT INTO items VALUES (30)", rows=1)
    query = "SELECT * FROM sequence"
    for found in (path, twin):
        with sqlite3.connect(found) as connection:
            assert connection.execute(query).fetchall() == [(1, 30), (2, None)]


def test_and_goes_back_online(folder):
    path = items(folder)
    online(path, FITTED)
    online(path, FITTED, reverse=True)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT * FROM sequence").fetchall() == [(1, 0), (2, None)]


@pytest.mark.parametrize(
    "change",
    [
        Change("sequence", values={"last": FIT}),
        Change("sequence", SEQUENCE, SEQUENCE.replace("last", "more, last"), values={"last": FIT}),
        Change(
            "sequence", SEQUENCE, SEQUENCE.replace("last", "more, last"), values={"last": "7"},
            where="id IN (SELECT number FROM items)",
        ),
    ],
    ids=["every row", "a rebuilt table", "a condition"],
)  # fmt: skip
def test_what_cannot_be_done_in_the_swap_is_refused_online(folder, change):
    path = items(folder)
    with pytest.raises(NotOnlineError, match="a value of sequence depends on other rows"):
        online(path, migration(change))


def test_which_rows_change_may_depend_on_another_table(folder):
    path = items(folder)
    chosen = migration(Change("sequence", values={"last": "7"}, where="id IN (SELECT number - 6 FROM items)"))
    online(path, chosen, last="INSERT INTO items VALUES (8)")
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT * FROM sequence").fetchall() == [(1, 7), (2, 7)]


def test_a_table_that_is_made_and_changed_by_two_pending_migrations_is_refused_online(folder):
    new = migration(Change("new", after="CREATE TABLE new (id INTEGER PRIMARY KEY, a)"))
    more = Change(
        "new", "CREATE TABLE new (id INTEGER PRIMARY KEY, a)", "CREATE TABLE new (id INTEGER PRIMARY KEY, b, a)"
    )
    more = replace(more, originals="new_2", ahead="new_2_ahead")
    with pytest.raises(NotOnlineError, match="several pending migrations change new"):
        online(items(folder), new, migration(more, version=2))


# The application before the migration takes the row id of a new row of the sequence for the next number.
GIVEN = "CREATE TABLE given (id INTEGER PRIMARY KEY AUTOINCREMENT, last INTEGER)"
HIGHEST = "SELECT max(number) FROM items"
MARKED = Change("given", values={"last": f"max(last, ({HIGHEST}))"}, where="id = 1", mark=HIGHEST)
REBUILT = Change("given", GIVEN, GIVEN.replace("last", "since TEXT, last"), mark=HIGHEST)
MARK = "SELECT seq FROM sqlite_sequence WHERE name = 'given'"


@pytest.mark.parametrize("change", [MARKED, REBUILT])
@pytest.mark.parametrize("carry_out", [promote, rehearse])
def test_autoincrement_goes_on_above_ids_that_were_given_elsewhere(change, carry_out):
    connection = database(ITEMS, GIVEN, "INSERT INTO given VALUES (1, 0), (2, 1)")
    carry_out(connection, plan_for(connection, [migration(change)]))
    assert one(connection, MARK) == 2
    connection.execute("INSERT INTO items VALUES (7), (12)")
    carry_out(connection, plan_for(connection, [migration(change)], reverse=True))
    assert (one(connection, "INSERT INTO given (last) VALUES (2) RETURNING id"), one(connection, MARK)) == (13, 13)


def test_a_mark_that_is_higher_stays_and_a_table_without_one_gets_it_only_where_there_are_ids():
    connection = database(ITEMS, GIVEN, "INSERT INTO given VALUES (40, 1)", "DELETE FROM given")
    connection.execute("INSERT INTO items VALUES (7)")
    forward(connection, migration(REBUILT))
    assert one(connection, MARK) == 40
    for items, marks in (("NULL", []), ("5", [(5,)])):
        connection = database(ITEMS, GIVEN, f"INSERT INTO items VALUES ({items})")
        forward(connection, migration(REBUILT))
        assert connection.execute(MARK).fetchall() == marks


def test_a_table_that_somebody_made_without_autoincrement_has_no_mark():
    connection = database(ITEMS, GIVEN.replace(" AUTOINCREMENT", ""), "INSERT INTO items VALUES (7)")
    forward(connection, migration(MARKED))
    assert tables(connection) == {"given", "items"}


def test_the_mark_is_raised_online_too(folder):
    for change in (MARKED, REBUILT):
        path = made(folder / f"{len(change.values)}.db", ITEMS, GIVEN, "INSERT INTO given VALUES (1, 0), (2, 1)")
        online(path, migration(change))
        with sqlite3.connect(path) as connection:
            connection.execute("INSERT INTO items VALUES (30)")
        online(cleaned(path, migration(change)), migration(change), reverse=True)
        with sqlite3.connect(path) as connection:
            assert connection.execute(MARK).fetchall() == [(30,)]


def test_the_tables_that_decide_a_value_are_rehearsed_with_the_swap(tmp_path):
    path = tmp_path / "notes.db"
    make_notes(path)
    run_sql(path, SEQUENCE, ITEMS, "INSERT INTO sequence VALUES (1, 0)", "INSERT INTO items VALUES (99)")
    fit = Change("sequence", values={"last": FIT}, where="id = 1")
    application = notes_application(notes_migration(notes_change(), fit))
    assert migrate(path, application, max_lock_ms=0.0).strategy == "online"
    assert rows(path, "SELECT * FROM sequence") == [(1, 99)]


@pytest.mark.parametrize(
    "highest",
    [
        "(SELECT max(number) FROM odd)",
        "(SELECT max(number) FROM everything)",
        "(SELECT count(*) FROM words WHERE words MATCH 'one')",
    ],
    ids=["a view", "a view of views", "a virtual table"],
)
def test_the_views_and_virtual_tables_that_decide_a_value_are_rehearsed_with_the_swap(tmp_path, highest):
    path = tmp_path / "notes.db"
    make_notes(path)
    run_sql(
        path, SEQUENCE, ITEMS, "INSERT INTO sequence VALUES (1, 0)", "INSERT INTO items VALUES (1), (2)",
        "CREATE VIEW everything AS SELECT number FROM odd UNION SELECT number FROM EVEN",
        "CREATE VIEW even AS SELECT number FROM items WHERE number % 2 = 0",
        "CREATE VIEW odd AS SELECT number FROM items WHERE number % 2",
        "CREATE VIRTUAL TABLE words USING fts5 (word)", "INSERT INTO words VALUES ('one'), ('one two'), ('three')",
    )  # fmt: skip
    fit = Change("sequence", values={"last": highest}, where="id = 1")
    application = notes_application(notes_migration(notes_change(), fit))
    assert migrate(path, application, max_lock_ms=0.0).strategy == "online"
    assert rows(path, "SELECT last FROM sequence") == [(1 if "odd" in highest else 2,)]
    migrate(path, application, to_version=0, max_lock_ms=0.0)
    assert rows(path, "SELECT last FROM sequence") == [(0,)]
