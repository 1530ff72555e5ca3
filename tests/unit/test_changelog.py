"""The log of changed keys: whatever way a row changes, its key is noted, and the application notices nothing."""

import sqlite3

import pytest

from migrator.changelog import change_log
from migrator.ddl import parse_create_table, quote
from migrator.errors import NotOnlineError
from migrator.schema import shape_of
from tests.unit.migrating import database

UNIQUE = "a TEXT UNIQUE COLLATE NOCASE, b, c INTEGER, UNIQUE (b, c)"
TABLES = {
    "an id": f"CREATE TABLE t (id INTEGER PRIMARY KEY, {UNIQUE})",
    "an id that is never reused": f"CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, {UNIQUE})",
    "a text for a key": f"CREATE TABLE t (id TEXT PRIMARY KEY, {UNIQUE})",
    "a rowid that is no column": f"CREATE TABLE t (id INTEGER, {UNIQUE})",
    "a column called rowid": f"CREATE TABLE t (id INTEGER, rowid TEXT DEFAULT 'r', {UNIQUE})",
    "no rowid": f"CREATE TABLE t (id TEXT PRIMARY KEY, {UNIQUE}) WITHOUT ROWID",
    "no rowid and a key of two columns": "CREATE TABLE t (id INTEGER, k TEXT COLLATE NOCASE DEFAULT 'K', "
    f"{UNIQUE}, PRIMARY KEY (k, id DESC)) WITHOUT ROWID",
    "constraints that replace by themselves": "CREATE TABLE t (id INTEGER PRIMARY KEY ON CONFLICT REPLACE, "
    "a TEXT UNIQUE ON CONFLICT REPLACE COLLATE NOCASE, b, c INTEGER, UNIQUE (b, c) ON CONFLICT REPLACE)",
}
ROWS = "INSERT INTO t (id, a, b, c) VALUES (1, 'a', 1, 1), (2, 'b', 1, 2), (3, 'c', 2, 1), (4, NULL, NULL, 2)"
AROUND = (
    "CREATE VIEW v AS SELECT id, a FROM t",
    "CREATE TRIGGER through INSTEAD OF UPDATE ON v BEGIN UPDATE t SET a = new.a WHERE id = old.id; END",
    "CREATE TRIGGER out INSTEAD OF DELETE ON v BEGIN DELETE FROM t WHERE id = old.id; END",
    "CREATE TABLE other (x)",
    "CREATE TRIGGER spread AFTER INSERT ON other BEGIN UPDATE t SET b = new.x, c = id; END",
    "CREATE TRIGGER spread_out AFTER DELETE ON other BEGIN REPLACE INTO t (id, a, b, c) VALUES (8, 'A', 8, 8); END",
    "INSERT INTO other VALUES (1)",
    "CREATE TRIGGER chain AFTER INSERT ON t WHEN new.b = 'chain' BEGIN DELETE FROM t WHERE b = 1; END",
    "CREATE TRIGGER before BEFORE UPDATE ON t WHEN new.b = 'before' BEGIN UPDATE t SET c = 77 WHERE id = 4; END",
)
WRITES = {
    "insert": "INSERT INTO t (id, a, b, c) VALUES (9, 'z', 9, 9)",
    "insert of several": "INSERT INTO t (id, a, b, c) VALUES (9, 'z', 9, 9), (-5, 'y', 8, 9), (10, NULL, NULL, NULL)",
    "insert with defaults": "INSERT INTO t (id) VALUES (9)",
    "insert from a query": "INSERT INTO t (id, a) SELECT id + 100, a || '!' FROM t",
    "update": "UPDATE t SET b = 5 WHERE id = 2",
    "update of all": "UPDATE t SET b = coalesce(b, 0) + 10",
    "update from a query": "UPDATE t SET b = o.id FROM (SELECT id + 50 AS id, c FROM t) AS o WHERE o.c = 2 AND t.c = 2",
    "update of the key": "UPDATE t SET id = id + 10",
    "update of the key onto another": "UPDATE OR REPLACE t SET id = 2 WHERE id = 1",
    "update that takes a value away": "UPDATE OR REPLACE t SET a = 'B' WHERE id = 1",
    "update that takes two values away": "UPDATE OR REPLACE t SET b = 1, c = 2 WHERE id = 3",
    "update of all that replaces": "UPDATE OR REPLACE t SET a = 'same'",
    "update that ignores": "UPDATE OR IGNORE t SET a = CASE id WHEN 4 THEN 'new' ELSE 'b' END",
    "delete": "DELETE FROM t WHERE id = 2",
    "delete of all": "DELETE FROM t",
    "replace by key": "REPLACE INTO t (id, a, b, c) VALUES (1, 'y', 7, 7)",
    "replace by a unique value": "REPLACE INTO t (id, a, b, c) VALUES (9, 'A', 9, 9)",
    "replace by a unique pair": "INSERT OR REPLACE INTO t (id, a, b, c) VALUES (9, 'z', 1, 2)",
    "replace of another type": "INSERT OR REPLACE INTO t (id, a, b, c) VALUES (9, 'z', 1.0, '2')",
    "replace of three rows by one": "REPLACE INTO t (id, a, b, c) VALUES (2, 'A', 2, 1)",
    "replace of each other": "REPLACE INTO t (id, a) VALUES (9, 'q'), (10, 'Q'), (11, 'q'), (12, 'b')",
    "replace from a query": "INSERT OR REPLACE INTO t (id, a) SELECT id + 20, upper(a) FROM t",
    "insert that ignores": "INSERT OR IGNORE INTO t (id, a) VALUES (9, 'A'), (10, 'new')",
    "upsert": "INSERT INTO t (id, a) VALUES (9, 'A'), (10, 'new') ON CONFLICT (a) DO UPDATE SET b = 8",
    "upsert of the key": "INSERT INTO t (id, a) VALUES (9, 'A') ON CONFLICT (a) DO UPDATE SET id = 30",
    "through a view": "UPDATE v SET a = 'viewed' WHERE id = 3",
    "out of a view": "DELETE FROM v WHERE id > 2",
    "by a trigger of another table": "INSERT INTO other VALUES (5)",
    "replace by a trigger of another table": "DELETE FROM other",
    "by a trigger of its own": "INSERT INTO t (id, a, b) VALUES (9, 'z', 'chain')",
    "by a trigger that comes first": "UPDATE t SET b = 'before' WHERE id = 1",
}
REFUSED_BY = {"constraints that replace by themselves": "ON CONFLICT (a)"}


def watched(*statements: str, table: str = "t"):
    """A database, its twin with the log of `table`, and that log."""
    twin, connection = (database(*statements) for _ in range(2))
    text = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()[0]
    log = change_log(connection, table, shape_of(parse_create_table(text)).key)
    for statement in log.statements.values():
        connection.execute(statement)
    return twin, connection, log


def by_key(connection, log):
    keys = ", ".join(map(quote, log.key))
    query = f"SELECT {keys}, * FROM {quote(log.table)} NOT INDEXED"
    return {row[: len(log.key)]: [(type(v), v) for v in row] for row in connection.execute(query)}


def noted(connection, log):
    newest = connection.execute(f"SELECT max(entry) FROM {quote(log.name)}").fetchone()[0]
    return set(connection.execute(log.listed, {"entry": newest}))


def seen_by_the_application(connection, statement):
    cursor = connection.execute(statement)
    returned = cursor.fetchall()
    return returned, cursor.rowcount, *connection.execute("SELECT changes(), last_insert_rowid()").fetchone()


def check(twin, connection, log, statement):
    """Every row that the statement changed is noted, and all else is as without the log."""
    before = by_key(connection, log)
    assert seen_by_the_application(connection, statement) == seen_by_the_application(twin, statement)
    after = by_key(connection, log)
    assert after == by_key(twin, log)
    changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    assert changed, "the statement changes nothing, so it shows nothing"
    assert changed <= noted(connection, log)


@pytest.mark.parametrize("recursive", ["OFF", "ON"])
@pytest.mark.parametrize("table", TABLES)
def test_every_kind_of_write_is_noted_and_the_application_sees_none_of_it(table, recursive):
    for what, statement in WRITES.items():
        if REFUSED_BY.get(table, ";") in statement:
            continue
        twin, connection, log = watched(TABLES[table], ROWS, *AROUND)
        for each in (twin, connection):
            each.execute(f"PRAGMA recursive_triggers={recursive}")
        try:
            check(twin, connection, log, statement)
        except (AssertionError, sqlite3.Error) as error:
            raise AssertionError(f"{what}: {error}") from error


def test_a_row_that_nobody_changed_is_not_noted():
    _, connection, log = watched(TABLES["an id"], ROWS)
    connection.execute("UPDATE t SET b = 5 WHERE id = 2")
    connection.execute("INSERT INTO t (id, a) VALUES (9, 'z')")
    connection.execute("DELETE FROM t WHERE id = 3")
    assert noted(connection, log) == {(2,), (9,), (3,)}


def test_a_refused_write_is_not_noted():
    _, connection, log = watched(TABLES["an id"], ROWS)
    for statement in ("INSERT INTO t (id, a) VALUES (9, 'A')", "UPDATE t SET a = 'B' WHERE id = 1"):
        with pytest.raises(sqlite3.IntegrityError, match=r"UNIQUE constraint failed: t\.a"):
            connection.execute(statement)
    assert noted(connection, log) == set()


def test_a_statement_that_returns_rows_returns_the_same():
    twin, connection, log = watched(TABLES["an id"], ROWS)
    check(twin, connection, log, "REPLACE INTO t (a, b) VALUES ('A', 1), ('z', NULL) RETURNING id, a, b")
    check(twin, connection, log, "UPDATE t SET b = 9 WHERE id > 3 RETURNING *")


@pytest.mark.parametrize("table", ["an id", "a text for a key", "a rowid that is no column"])
@pytest.mark.parametrize(
    "statement", ["UPDATE t SET rowid = rowid + 50", "UPDATE OR REPLACE t SET rowid = 3 WHERE rowid = 1"]
)
def test_a_rowid_that_moves_is_noted_where_it_was_and_where_it_is(table, statement):
    check(*watched(TABLES[table], ROWS), statement)


FAMILY = "CREATE TABLE t (id INTEGER PRIMARY KEY, p INTEGER DEFAULT 2 REFERENCES parents (id) {rule})"
PARENTS = (
    "PRAGMA foreign_keys=ON",
    "CREATE TABLE parents (id INTEGER PRIMARY KEY)",
    "INSERT INTO parents VALUES (1), (2), (3)",
)
CHILDREN = "INSERT INTO t VALUES (1, 1), (2, 2), (3, 1), (4, NULL), (5, 3)"


@pytest.mark.parametrize("recursive", ["OFF", "ON"])
@pytest.mark.parametrize(
    ("rule", "statement"),
    [
        ("ON DELETE CASCADE", "DELETE FROM parents WHERE id <> 2"),
        ("ON DELETE SET NULL", "DELETE FROM parents WHERE id = 1"),
        ("ON DELETE SET DEFAULT", "DELETE FROM parents WHERE id = 1"),
        ("ON UPDATE CASCADE", "UPDATE parents SET id = id + 10"),
        ("ON DELETE CASCADE", "REPLACE INTO parents VALUES (1)"),
    ],
)
def test_what_a_foreign_key_does_to_the_table_is_noted(rule, statement, recursive):
    twin, connection, log = watched(*PARENTS, FAMILY.format(rule=rule), CHILDREN)
    for each in (twin, connection):
        each.execute(f"PRAGMA recursive_triggers={recursive}")
    check(twin, connection, log, statement)


def test_rows_that_go_with_their_own_tables_rows_are_noted():
    tree = "CREATE TABLE t (id INTEGER PRIMARY KEY, up INTEGER REFERENCES t (id) ON DELETE CASCADE)"
    rows = "INSERT INTO t VALUES (1, NULL), (2, 1), (3, 2), (4, 3), (5, NULL)"
    twin, connection, log = watched("PRAGMA foreign_keys=ON", tree, rows)
    check(twin, connection, log, "DELETE FROM t WHERE id = 1")
    assert connection.execute("SELECT id FROM t").fetchall() == [(5,)]


def test_a_row_replaced_by_a_computed_value_is_noted():
    table = "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, size AS (length(a)) UNIQUE, z AS (a || '!') STORED UNIQUE)"
    rows = "INSERT INTO t (id, a) VALUES (1, 'a'), (2, 'bb')"
    check(*watched(table, rows), "REPLACE INTO t (id, a) VALUES (9, 'cc')")
    check(*watched(table, rows), "UPDATE OR REPLACE t SET a = 'bb' WHERE id = 1")


def test_a_row_replaced_by_an_index_that_was_made_later_is_noted():
    index = "CREATE UNIQUE INDEX once ON t (x COLLATE RTRIM DESC, y)"
    rows = "INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 1)"
    check(
        *watched("CREATE TABLE t (id INTEGER PRIMARY KEY, x, y)", index, rows),
        "REPLACE INTO t VALUES (9, 'a  ', 1)",
    )


@pytest.mark.parametrize(
    "statement",
    [
        "REPLACE INTO t (id, a) VALUES (9, NULL)",
        "INSERT OR REPLACE INTO t (id, a) SELECT id + 10, nullif(a, 'x') FROM t WHERE id = 2",
        "UPDATE OR REPLACE t SET a = NULL WHERE id = 2",
    ],
)
@pytest.mark.parametrize("default", ["'-'", "-5", "('' || '-')", "x'2d'", "NULL"])
def test_a_row_replaced_by_the_default_of_a_missing_value_is_noted(statement, default):
    table = f"CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT NOT NULL DEFAULT {default} UNIQUE)"
    rows = ("INSERT INTO t VALUES (2, 'x')", f"INSERT OR IGNORE INTO t (id, a) VALUES (1, {default})")
    if default == "NULL":
        with pytest.raises(sqlite3.IntegrityError, match="NOT NULL"):
            database(table, *rows, statement)
        return
    check(*watched(table, *rows), statement)


@pytest.mark.parametrize(
    "index",
    [
        "CREATE UNIQUE INDEX odd ON t (a) WHERE b > 1",
        "CREATE UNIQUE INDEX odd ON t (lower(a))",
        "CREATE UNIQUE INDEX odd ON t (a, b + 1)",
    ],
)
def test_a_table_whose_replaced_rows_cannot_be_looked_up_is_refused(index):
    connection = database("CREATE TABLE t (id INTEGER PRIMARY KEY, a, b)", index)
    with pytest.raises(
        NotOnlineError, match=r"unique index odd of t has a condition .* live unchanged; allow a longer"
    ):
        change_log(connection, "t", ("id",))


def test_an_index_that_is_not_unique_may_have_a_condition_or_an_expression():
    twin, connection, log = watched(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a, b)",
        "CREATE INDEX one ON t (lower(a)) WHERE b > 1",
        "INSERT INTO t VALUES (1, 'a', 2)",
    )
    assert log.unique == ()
    check(twin, connection, log, "UPDATE t SET a = 'A'")


@pytest.mark.parametrize("name", ['x"; DROP TABLE y; --', "two words", "größe", "a'b", "[x", "`", "select", ";"])
def test_odd_names_are_only_names(name):
    q = quote(name)
    statements = (
        "CREATE TABLE y (a)",
        f"CREATE TABLE {q} ({q} TEXT COLLATE NOCASE, {quote(name + '2')} UNIQUE, PRIMARY KEY ({q})) WITHOUT ROWID",
        f"INSERT INTO {q} VALUES ('a', 1), ('b', 2)",
    )
    for statement in (f"REPLACE INTO {q} VALUES ('c', 2)", f"UPDATE {q} SET {q} = {q} || 'x'", f"DELETE FROM {q}"):
        check(*watched(*statements, table=name), statement)


def test_sqlite_stores_the_texts_as_they_are_said():
    _, connection, log = watched(TABLES["no rowid and a key of two columns"], ROWS)
    stored = connection.execute("SELECT name, sql FROM sqlite_master WHERE name LIKE '_mig_%'").fetchall()
    assert dict(stored) == dict(log.statements)
