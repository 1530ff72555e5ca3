"""Any table, any rows, any writes at any time: online is what one transaction makes of the same rows."""

import os
import sqlite3
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from migrator.migration import Change, Migration
from tests.unit.going_online import Steady, applied, cleaned, in_one, made, online, twin_of, whole
from tests.unit.migrating import migration

FOLDER = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
KEYS = {
    "an id": ("id INTEGER PRIMARY KEY", "", ""),
    "never reused": ("id INTEGER PRIMARY KEY AUTOINCREMENT", "", ""),
    "a text": ("id TEXT PRIMARY KEY", "", ""),
    "hidden": ("id INTEGER", ", UNIQUE (id)", ""),
    "no rowid": ("id TEXT COLLATE NOCASE PRIMARY KEY", "", " WITHOUT ROWID"),
    "two columns": ("id INTEGER", ", PRIMARY KEY (a DESC, id)", " WITHOUT ROWID"),
}
TYPES = ("", "TEXT", "INTEGER", "REAL", "BLOB", "TEXT COLLATE NOCASE")
UNIQUE = ("", ", UNIQUE (b)", ", UNIQUE (a, b)", ", UNIQUE (b) ON CONFLICT REPLACE", ", UNIQUE (b), UNIQUE (c, a)")
VALUES = {"b": "CASE typeof(b) WHEN 'text' THEN b || '.' ELSE b END", "n": "length(c)"}
IDS = st.integers(-4, 12)
CELLS = st.sampled_from(["NULL", "0", "1", "2", "1.5", "'1'", "'a'", "'A'", "'b'", "''", "x'61'", "x''", "-1"])
COLUMNS = st.sampled_from(["a", "b", "c"])
CONFLICT = st.sampled_from(["", " OR REPLACE", " OR REPLACE", " OR IGNORE"])
ROW = st.tuples(IDS, CELLS, CELLS, CELLS)


@dataclass
class Case:
    change: Migration
    before: str
    rows: list[tuple[object, ...]]
    recursive: bool
    between: list[list[str]]
    last: list[str]
    at_once: int


def listed(row):
    # A key has a value, whatever the row says.
    return f"({row[0]}, coalesce({row[1]}, 7), {row[2]}, {row[3]})"


@st.composite
def statements(draw):
    conflict, column, cell, id_, other = (draw(s) for s in (CONFLICT, COLUMNS, CELLS, IDS, IDS))
    return draw(
        st.sampled_from(
            [
                f"INSERT{conflict} INTO t (id, a, b, c) VALUES {', '.join(map(listed, draw(st.lists(ROW, min_size=1, max_size=3))))}",  # noqa: E501
                f"INSERT{conflict} INTO t (id, a, b, c) SELECT id + 20, a, b, c FROM t WHERE id > {id_}",
                f"UPDATE{conflict} t SET {column} = coalesce({cell}, 5) WHERE id = {id_}",
                f"UPDATE{conflict} t SET b = (SELECT b FROM t WHERE id = {other}), c = {cell} WHERE id = {id_}",
                f"UPDATE{conflict} t SET c = c || {cell}",
                f"UPDATE{conflict} t SET id = {other} WHERE id = {id_}",
                "UPDATE OR REPLACE t SET id = -id",
                f"DELETE FROM t WHERE id IN ({id_}, {other})",
                f"DELETE FROM t WHERE a = {cell}",
                "DELETE FROM t",
            ]
        )
    )


@st.composite
def cases(draw):
    key, table_key, suffix = KEYS[draw(st.sampled_from(sorted(KEYS)))]
    a, b, c = (f"{name} {draw(st.sampled_from(TYPES))}" for name in "abc")
    if "(a" in table_key:
        a += " NOT NULL"
    unique = draw(st.sampled_from(UNIQUE))
    kept = draw(st.sampled_from([unique, ""]))
    order = draw(st.permutations([key, a, b, "n INTEGER", *([c] if ("c" in kept or draw(st.booleans())) else [])]))
    before = f"CREATE TABLE t ({key}, {a}, {b}, {c}{table_key}{unique}){suffix}"
    after = f"CREATE TABLE t ({', '.join(order)}{table_key}{kept}){suffix}"
    values = {column: VALUES[column] for column in draw(st.lists(st.sampled_from(sorted(VALUES)), unique=True))}
    indexes = draw(st.sampled_from([(), ("CREATE INDEX i ON t (b, n)",)]))
    batches = st.lists(statements(), max_size=3)
    return Case(
        migration(Change("t", before, after, values=values, indexes=indexes)),
        before,
        draw(st.lists(ROW, max_size=14)),
        draw(st.booleans()),
        draw(st.lists(batches, max_size=12)),
        draw(batches),
        draw(st.integers(1, 4)),
    )


def all_of(case, batch):
    """A batch of the application's writes; one that a constraint refuses has no effect."""

    def write(connection):
        connection.execute(f"PRAGMA recursive_triggers={int(case.recursive)}")
        for statement in batch:
            with suppress(sqlite3.IntegrityError):
                connection.execute(statement)

    return write


def check(case: Case) -> None:
    with tempfile.TemporaryDirectory(dir=FOLDER) as name:
        fill = [f"INSERT OR IGNORE INTO t (id, a, b, c) VALUES {listed(row)}" for row in case.rows]
        path = made(Path(name, "live.db"), case.before, *fill, "CREATE INDEX kept ON t (a)")
        twin = twin_of(path)
        # The writes for which the rows are too few to give them a turn come last.
        turns = 2 + len(case.rows) // (case.at_once + 1) // 2
        between, rest = case.between[:turns], [s for batch in case.between[turns:] for s in batch]
        applied(twin, *(all_of(case, batch) for batch in (*between, rest + case.last)))
        in_one(twin, case.change)
        online(
            path,
            case.change,
            between=[all_of(case, batch) for batch in between],
            last=all_of(case, rest + case.last),
            pace=Steady(case.at_once),
        )
        assert whole(cleaned(path, case.change)) == whole(twin)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(cases())
def test_any_writes_at_any_time_are_in(case: Case):
    check(case)
