"""A hash over every value: what integrity_check does not notice."""

import sqlite3
from contextlib import closing

import pytest

from migrator.content import difference, read_contents
from migrator.schema import read_schema
from tests.unit.migrating import database

TABLE = "CREATE TABLE t (a, b)"
ROWS = "INSERT INTO t VALUES (1, 'hello world'), (x'00ff', NULL), (2.5, '')"


def contents(*statements: str):
    connection = database(*statements)
    return read_contents(connection, read_schema(connection))


SAME = contents(TABLE, ROWS)["t"]


def test_a_table_is_equal_to_its_copy_and_counted():
    assert contents(TABLE, ROWS)["t"] == SAME
    assert SAME.rows == 3
    assert len(SAME.sha256) == 64


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE t SET b = 'hello wOrld' WHERE a = 1",
        "UPDATE t SET b = 'hello world ' WHERE a = 1",
        "UPDATE t SET b = CAST(b AS BLOB) WHERE a = 1",
        "UPDATE t SET a = 1.0 WHERE a = 1",
        "UPDATE t SET a = '1' WHERE a = 1",
        "UPDATE t SET a = x'31' WHERE a = 1",
        "UPDATE t SET b = '' WHERE b IS NULL",
        "UPDATE t SET a = 0 WHERE a = 1",
        "UPDATE t SET rowid = 9 WHERE rowid = 3",
        "UPDATE t SET rowid = 0 WHERE rowid = 1",
        "UPDATE t SET b = CAST(x'68656c6c6ffe' AS TEXT) WHERE a = 1",
        "UPDATE t SET a = b, b = a",
        "UPDATE t SET rowid = CASE rowid WHEN 1 THEN -1 ELSE rowid END",
        "DELETE FROM t WHERE rowid = 3",
        "INSERT INTO t VALUES (NULL, NULL)",
    ],
)
def test_every_change_of_a_value_its_type_or_its_row_is_noticed(change):
    assert contents(TABLE, ROWS, change)["t"] != SAME


def test_rows_that_changed_places_are_noticed():
    swapped = contents(TABLE, "INSERT INTO t VALUES (x'00ff', NULL), (1, 'hello world'), (2.5, '')")
    assert swapped["t"] != SAME


def test_bytes_that_moved_from_one_cell_to_the_next_are_noticed():
    assert contents(TABLE, "INSERT INTO t VALUES ('ab', 'c')") != contents(TABLE, "INSERT INTO t VALUES ('a', 'bc')")


def test_text_that_is_not_utf_8_is_content_too():
    one, other = (f"INSERT INTO t VALUES (CAST(x'{byte}' AS TEXT), 1)" for byte in ("fe", "ff"))
    assert contents(TABLE, one) == contents(TABLE, one)
    assert contents(TABLE, one) != contents(TABLE, other)


def test_a_blob_is_told_from_text_in_every_column_of_a_wide_table():
    columns = [f"c{n}" for n in range(130)]
    table = f"CREATE TABLE t ({', '.join(columns)})"
    found = set()
    for blob in columns:
        values = ", ".join("x'61'" if c == blob else "'a'" for c in columns)
        found.add(contents(table, f"INSERT INTO t VALUES ({values})")["t"])
    assert len(found) == 130


def test_the_layout_of_the_file_is_no_content(tmp_path):
    def file(name, page_size, *more):
        with closing(sqlite3.connect(tmp_path / name, isolation_level=None)) as connection:
            for statement in (f"PRAGMA page_size={page_size}", TABLE, ROWS, *more):
                connection.execute(statement)
            return read_contents(connection, read_schema(connection))

    filler = ("INSERT INTO t (a) WITH r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 500) SELECT n FROM r",)
    emptied = (*filler, "DELETE FROM t WHERE rowid > 3", "CREATE INDEX i ON t (b, a)", "ANALYZE")
    assert file("a", 512)["t"] == file("b", 4096, *emptied)["t"] == file("c", 4096, *emptied, "VACUUM")["t"] == SAME


def test_more_rows_than_are_read_at_once_are_all_read():
    rows = "INSERT INTO t (a) WITH r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 401) SELECT n FROM r"
    before, after = contents(TABLE, rows), contents(TABLE, rows, "UPDATE t SET a = -1 WHERE rowid = 401")
    assert before["t"].rows == after["t"].rows == 401
    assert before["t"] != after["t"]


def test_every_ordinary_table_has_a_content():
    found = contents(
        "CREATE TABLE mark (id INTEGER PRIMARY KEY AUTOINCREMENT)",
        'CREATE TABLE \'odd "name\' ("a""b" TEXT)',
        "CREATE TABLE hidden (rowid, _rowid_, oid)",
        "CREATE TABLE key (a TEXT, b INTEGER, c, PRIMARY KEY (b, a)) WITHOUT ROWID",
        "CREATE VIRTUAL TABLE words USING fts5(word)",
        "CREATE VIEW v AS SELECT 1",
        "INSERT INTO mark DEFAULT VALUES",
    )
    assert {t for t in found if not t.startswith("words_")} == {"mark", 'odd "name', "hidden", "key", "sqlite_sequence"}
    assert (found["mark"].rows, found["sqlite_sequence"].rows, found["key"].rows) == (1, 1, 0)
    assert "words_data" in found


@pytest.mark.parametrize(
    "table", ["hidden (rowid, _rowid_, oid)", "t (a TEXT, b TEXT, c, PRIMARY KEY (b, a)) WITHOUT ROWID"]
)
def test_an_index_that_holds_all_columns_leaves_the_order_of_the_rows(table):
    name, rows = table.partition(" ")[0], "VALUES ('b', 'x', 1), ('a', 'y', 0), ('c', 'w', 2)"
    made = (f"CREATE TABLE {table}", f"INSERT INTO {name} {rows}")
    column = "rowid" if name == "hidden" else "a"
    index = f"CREATE INDEX i ON {name} ({column}{', _rowid_, oid' if name == 'hidden' else ', b, c'})"
    assert contents(*made) == contents(*made, index, "ANALYZE")


def test_a_mark_of_autoincrement_is_content():
    made = ("CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT)", "INSERT INTO t VALUES (5)", "DELETE FROM t")
    used, unused = contents(*made), contents(made[0])
    assert difference(used, unused) == ("sqlite_sequence",)


def test_the_order_of_the_marks_is_no_content():
    made = [f"CREATE TABLE {t} (id INTEGER PRIMARY KEY AUTOINCREMENT)" for t in "ab"]
    marks = [f"INSERT INTO {t} DEFAULT VALUES" for t in "ab"]
    assert contents(*made, *marks) == contents(*made, *reversed(marks))


def test_a_difference_names_the_tables_that_differ_or_are_on_one_side_only():
    one = contents(TABLE, ROWS, "CREATE TABLE gone (x)", "CREATE TABLE same (x)")
    other = contents(TABLE, "CREATE TABLE same (x)", "CREATE TABLE made (x)")
    assert difference(one, other) == ("gone", "made", "t")


def test_the_connection_reads_text_as_before():
    connection = database(TABLE, ROWS)
    read_contents(connection, read_schema(connection), ["t"])
    assert connection.execute("SELECT b FROM t WHERE a = 1").fetchone() == ("hello world",)
