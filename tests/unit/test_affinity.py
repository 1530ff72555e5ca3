"""What a column makes of a value, as SQL: the same as SQLite makes of it, and the same when it is done twice."""

import sqlite3
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrator.authoring.affinity import affinity, stored_as
from migrator.ddl import parse_create_table
from migrator.schema import shape_of

DECLARED = {"INTEGER": "INT", "TEXT": "VARCHAR(5)", "BLOB": "", "REAL": "DOUBLE", "NUMERIC": "DECIMAL(5, 2)"}
WRITTEN = st.one_of(
    st.floats(allow_nan=False).map(repr),
    st.integers().map(str),
    st.integers(-(2**70), 2**70).map(lambda n: f"{n}.0"),
    st.tuples(st.integers(-999, 999), st.integers(-5, 25)).map(lambda pair: f"{pair[0]}e{pair[1]}"),
    st.text("0123456789.e+- x\x00\t٣", max_size=6),
)
VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.integers(-(2**70), 2**70).map(float),
    WRITTEN,
    WRITTEN.map(str.encode),
)
AT_THE_EDGES = [
    2**63 - 1, -(2**63), 2**53 + 1, 1.0, -0.0, 9223372036854774784.0, float(2**63), -float(2**63), float("inf"),
    "1", "007", "1.0", " 12 ", "12 x", "1e18", "1e19", "9223372036854775807", "9223372036854775808",
    "-9223372036854775808", "-9223372036854775809", "0x1F", "1e999", "1_000", "1\x00", "9007199254740993.0", b"1", "",
]  # fmt: skip


@pytest.mark.parametrize("before", DECLARED)
@pytest.mark.parametrize("after", DECLARED)
def test_the_sql_of_a_changed_type_gives_what_the_column_stores(before, after):
    sql = stored_as("c", before, after) or "c"

    @settings(deadline=None, max_examples=25, database=None)
    @given(st.lists(VALUES, min_size=1, max_size=20))
    def check(values):
        _check_stored(before, after, sql, values)

    _check_stored(before, after, sql, AT_THE_EDGES)
    check()


def _check_stored(before, after, sql, values):
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(f"CREATE TABLE was (id INTEGER PRIMARY KEY, c {DECLARED[before]})")
        connection.execute(f"CREATE TABLE shall (id INTEGER PRIMARY KEY, c {DECLARED[after]})")
        connection.executemany("INSERT INTO was (c) VALUES (?)", ((value,) for value in values))
        connection.execute("INSERT INTO shall SELECT * FROM was")
        stored = connection.execute("SELECT id, typeof(c), c FROM shall").fetchall()
        once = f"SELECT id, {sql} AS c FROM (SELECT * FROM was)"
        assert connection.execute(f"SELECT id, typeof(c), c FROM ({once})").fetchall() == stored
        twice = f"SELECT id, {sql} AS c FROM ({once})"
        assert connection.execute(f"SELECT id, typeof(c), c FROM ({twice})").fetchall() == stored


@pytest.mark.parametrize(
    ("before", "after"),
    [("TEXT", "TEXT"), ("TEXT", "BLOB"), ("INTEGER", "NUMERIC"), ("NUMERIC", "INTEGER"), ("REAL", "BLOB")],
)
def test_what_is_stored_as_it_is_needs_no_sql(before, after):
    assert stored_as("c", before, after) is None


@pytest.mark.parametrize(
    ("type_", "kind"),
    [
        ("INT", "INTEGER"), ("BIGINT", "INTEGER"), ("FLOATING POINT", "INTEGER"), ("CHARINT", "INTEGER"),
        ("VARCHAR(255)", "TEXT"), ("clob", "TEXT"), ("text", "TEXT"), ("", "BLOB"), ("BLOB", "BLOB"),
        ("REAL", "REAL"), ("double", "REAL"), ("Float", "REAL"), ("STRING", "NUMERIC"), ("DATETIME", "NUMERIC"),
        ("DECIMAL(10, 2)", "NUMERIC"), ("ANY", "NUMERIC"),
    ],
)  # fmt: skip
def test_the_affinity_of_a_declared_type_is_sqlites(type_, kind):
    assert affinity(type_) == kind
    stored = {"INTEGER": "integer", "NUMERIC": "integer", "REAL": "real", "TEXT": "text", "BLOB": "text"}
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(f"CREATE TABLE t (c {type_}, n {type_})")
        connection.execute("INSERT INTO t VALUES ('1', 1)")
        found = connection.execute("SELECT typeof(c), typeof(n) FROM t").fetchone()
    assert found == (stored[kind], "integer" if kind == "BLOB" else stored[kind])


def test_any_has_an_affinity_only_in_a_table_that_is_not_strict():
    assert (affinity("ANY"), affinity("ANY", strict=True), affinity("INT", strict=True)) == (
        "NUMERIC",
        "BLOB",
        "INTEGER",
    )


@pytest.mark.parametrize(
    ("type_", "default", "strict", "stored"),
    [
        ("REAL", "(0)", False, "0.0"),
        ("TEXT", "(7)", False, "'7'"),
        ("INTEGER", "('1')", False, "1"),
        ("", "('1')", False, "'1'"),
        ("ANY", "('1')", True, "'1'"),
        ("INTEGER", "(NULL)", False, "NULL"),
        ("TEXT", "('it''s')", True, "'it''s'"),
        ("TEXT", '"it"', False, "'it'"),
        ("TEXT", "(CAST(7 AS TEXT))", False, "'7'"),
        ("INTEGER", "('x')", True, None),
        ("TEXT", "(CURRENT_TIMESTAMP)", False, None),
        ("REAL", "(1 + 1)", False, "2.0"),
        ("INTEGER", "(random())", False, None),
        ("TEXT", "(datetime('now'))", False, None),
        ("TEXT", "(lower('X'))", True, "'x'"),
        ("TEXT", None, False, None),
    ],
)
def test_a_default_is_what_the_column_stores_of_it(type_, default, strict, stored):
    said = f" DEFAULT {default}" if default else ""
    text = parse_create_table(f"CREATE TABLE t (k INT, c {type_}{said}){' STRICT' if strict else ''}")
    assert shape_of(text).column("c").default == (stored and f"({stored})")
