"""Any table, any rows, any declared change: forth and back is what a model in Python says."""

import sqlite3
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from migrator.ddl import quote
from migrator.migration import Change, Migration
from tests.unit.migrating import back, database, everything, forward, migration

KEYS = {
    "id": ("id INTEGER PRIMARY KEY", ""),
    "mark": ("id INTEGER PRIMARY KEY AUTOINCREMENT", ""),
    "text": ("id TEXT PRIMARY KEY NOT NULL", " WITHOUT ROWID"),
    "none": ("id INTEGER NOT NULL", ""),
}
COLUMNS = ("a", "B", "select", "größe", 'd"e')
TYPES = ("", "TEXT", "INTEGER", "REAL", "BLOB", "DECIMAL(5, 2)")
RULES = ("", " DEFAULT 7", " DEFAULT 'x, (y'", " COLLATE NOCASE", " CHECK (1)")
# SQL over a column, and the same in Python.
RULES_OF_VALUES = {
    "as it is": ("{c}", lambda value: value),
    "no minus": (
        "CASE WHEN typeof({c}) = 'integer' AND {c} < 0 THEN -{c} ELSE {c} END",
        lambda v: abs(v) if type(v) is int else v,
    ),
    "no empty text": (
        "CASE WHEN typeof({c}) = 'text' AND {c} = '' THEN NULL ELSE {c} END",
        lambda v: None if v == "" else v,
    ),
    "no blob": ("CASE typeof({c}) WHEN 'blob' THEN NULL ELSE {c} END", lambda v: None if isinstance(v, bytes) else v),
}
VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63) + 1, 2**63 - 1),
    st.sampled_from([0, 1, -1, 1.0, -0.5, 1e300, "", "1", "1.0", "a", "A", "a\x00b", b"", b"a", b"1"]),
    st.floats(allow_nan=False, allow_infinity=True),
    st.text("aB1. \x00größe", max_size=4),
    st.binary(max_size=3),
)
DEFAULTS = {" DEFAULT 7": 7, " DEFAULT 'x, (y'": "x, (y"}


@dataclass
class Case:
    """A declared change of table t; `rules` says for each column of both texts what its value becomes."""

    change: Migration
    before: str
    shared: dict[str, str]
    dropped: list[str]
    rows: list[tuple[object, ...]]
    edits: list[tuple[int, str, object]]


@st.composite
def cases(draw):
    key, suffix = KEYS[draw(st.sampled_from(sorted(KEYS)))]
    columns = draw(st.lists(st.sampled_from(COLUMNS), min_size=1, max_size=4, unique=True))
    texts = {c: f"{quote(c)} {draw(st.sampled_from(TYPES))}{draw(st.sampled_from(RULES))}" for c in columns}
    kept = [c for c in columns if draw(st.booleans())]
    added = [f"n{n} {draw(st.sampled_from(TYPES))}" for n in range(draw(st.integers(0, 2)))]
    order = draw(st.permutations([key, *(texts[c] for c in kept), *added]))
    before = f"CREATE TABLE t ({', '.join([key, *texts.values()])}){suffix}"
    after = f"CREATE TABLE t ({', '.join(order)}){suffix}"
    shared = {c: draw(st.sampled_from(sorted(RULES_OF_VALUES))) for c in kept}
    values = {c: RULES_OF_VALUES[rule][0].format(c=quote(c)) for c, rule in shared.items() if rule != "as it is"}
    count = draw(st.integers(0, 5))
    ids = draw(st.lists(st.integers(-3, 2**40), min_size=count, max_size=count, unique=True))
    rows = [(i, *(draw(VALUES) for _ in columns)) for i in ids]
    edits = (
        draw(st.lists(st.tuples(st.sampled_from(ids), st.sampled_from(kept), VALUES), max_size=3))
        if ids and kept
        else []
    )
    dropped = [c for c in columns if c not in kept]
    return Case(migration(Change("t", before, after, values=values)), before, shared, dropped, rows, edits)


def filled(case: Case) -> sqlite3.Connection:
    connection = database(case.before, "CREATE TABLE other (t REFERENCES t)", "INSERT INTO other VALUES (1)")
    for row in case.rows:
        connection.execute(f"INSERT INTO t VALUES ({', '.join('?' * len(row))})", row)
    return connection


def rows_by_id(connection: sqlite3.Connection, columns: list[str]) -> dict[object, dict[str, object]]:
    listed = ", ".join(["id", *map(quote, columns)])
    return {row[0]: dict(zip(columns, row[1:], strict=True)) for row in connection.execute(f"SELECT {listed} FROM t")}


def converted(case: Case, row: dict[str, object]) -> dict[str, object]:
    return {c: RULES_OF_VALUES[rule][1](row[c]) for c, rule in case.shared.items()}


def same(one: object, other: object) -> bool:
    return type(one) is type(other) and one == other


def as_typed(rows: dict[object, dict[str, object]]) -> dict[object, dict[str, tuple[type, object]]]:
    return {i: {c: (type(v), v) for c, v in row.items()} for i, row in rows.items()}


@settings(deadline=None, max_examples=120)
@given(cases())
def test_forth_and_back_is_what_the_model_says(case: Case):
    connection = filled(case)
    old, shared = everything(connection), list(case.shared)
    originals = rows_by_id(connection, [*shared, *case.dropped])

    forward(connection, case.change)
    expected = {i: converted(case, row) for i, row in originals.items()}
    assert as_typed(rows_by_id(connection, shared)) == as_typed(expected)
    new = everything(connection)
    assert new["other"] == old["other"]

    back(connection, case.change)
    assert everything(connection) == old

    forward(connection, case.change)
    assert everything(connection) == new

    for id_, column, value in case.edits:
        connection.execute(
            f"UPDATE t SET {quote(column)} = ? WHERE id = ?",
            (value, str(id_) if "TEXT PRIMARY" in case.before else id_),
        )
    edited, now = everything(connection), rows_by_id(connection, shared)

    back(connection, case.change)
    changing = [c for c, rule in case.shared.items() if rule != "as it is"]
    for id_, row in rows_by_id(connection, [*shared, *case.dropped]).items():
        again = converted(case, now[id_] | {c: originals[id_][c] for c in changing})
        for column in shared:
            given_back = column in changing and same(again[column], now[id_][column])
            assert same(row[column], originals[id_][column] if given_back else now[id_][column])
        for column in case.dropped:
            assert same(row[column], originals[id_][column])

    forward(connection, case.change)
    assert everything(connection)["t"] == edited["t"]
