"""Any table made of many things at once, whatever is asked of it: after a migration it answers as it did before."""

import os
import tempfile
from contextlib import closing
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.unit.going_online import twin_of
from tests.unit.rebuilds.case import answer, connected
from tests.unit.rebuilds.ways import CHANGES, WAYS, forth_and_back

FOLDER = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
# The key's definition, what stands after the table, and what identifies a row.
KEYS = {
    "an id": ("id INTEGER PRIMARY KEY", "", "id"),
    "never reused": ("id INTEGER PRIMARY KEY AUTOINCREMENT", "", "id"),
    "hidden": ("id INTEGER UNIQUE", "", "rowid"),
    "a text": ("id TEXT COLLATE NOCASE PRIMARY KEY", "", "rowid"),
    "no rowid": ("id TEXT NOT NULL PRIMARY KEY DESC", "WITHOUT ROWID", "id"),
}
# As a column is defined, and as it is named elsewhere.
NAMES = {"a": "A", '"b--"': "[b--]", "[c(]": '"C("', "'d'": "d", "`e,f`": '"e,f"', "größe": "größe"}
TYPES = ("", "TEXT", "INTEGER", "REAL", "BLOB", "DECIMAL(5, 2)")
STRICT_TYPES = ("ANY", "TEXT", "INTEGER", "REAL")
RULES = (
    "COLLATE NOCASE",
    "COLLATE RTRIM UNIQUE",
    "UNIQUE",
    "UNIQUE ON CONFLICT REPLACE",
    "UNIQUE ON CONFLICT IGNORE",
    "NOT NULL DEFAULT 1",
    "NOT NULL ON CONFLICT REPLACE DEFAULT '2'",
    "DEFAULT (1 + 1)",
    "DEFAULT -3",
    "CHECK ({c} <> 'a') /* it's (all, */",
    "CHECK (length({c}) < 3 OR {c} < 5) -- here, (\n",
    "REFERENCES p (id)",
    "REFERENCES p ON DELETE CASCADE ON UPDATE SET NULL",
    "REFERENCES p ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED",
)
COMPUTED = ("AS (length({c}))", "AS ({c} || '!') STORED UNIQUE", "AS ({c} IS NULL) VIRTUAL CHECK (g >= 0)")
TABLE_RULES = (
    "CHECK ({c} IS NOT 1)",
    "UNIQUE ({c} COLLATE NOCASE, id)",
    "UNIQUE (id, {c}) ON CONFLICT REPLACE",
    "FOREIGN KEY ({c}) REFERENCES p ON DELETE RESTRICT",
    "FOREIGN KEY ({c}) REFERENCES t (id) ON DELETE CASCADE",
)
AROUND = (
    "CREATE INDEX i ON t ({c} COLLATE NOCASE DESC, id)",
    "CREATE INDEX j ON t (id, {c}) WHERE {c} IS NOT NULL /* on (t",
    "CREATE INDEX k ON t (lower({c}) DESC)",
    "CREATE UNIQUE INDEX l ON t ({c})",
    "CREATE TRIGGER t AFTER INSERT ON T BEGIN INSERT INTO log VALUES ('new', new.id, new.{c}); END",
    "CREATE TRIGGER u AFTER UPDATE OF {c} ON t WHEN old.{c} IS NOT new.{c} "
    "BEGIN INSERT INTO log VALUES ('changed', old.{c}, new.{c}); END",
    "CREATE TRIGGER v BEFORE DELETE ON t BEGIN SELECT RAISE(ABORT, 'stays') WHERE old.{c} = '1'; END",
    "CREATE TRIGGER w AFTER INSERT ON log WHEN new.what = 'new' BEGIN UPDATE t SET {c} = NULL WHERE {c} = 'aa'; END",
    "CREATE VIEW seen AS SELECT id AS i, {c} AS x FROM t WHERE {c} >= ''",
    "CREATE TRIGGER x INSTEAD OF INSERT ON written BEGIN INSERT INTO t (id, {c}) VALUES (new.i, new.x); END",
    "CREATE TABLE child (of REFERENCES t (id) ON DELETE CASCADE ON UPDATE SET NULL)",
    "CREATE TABLE child (of REFERENCES t (id) ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED)",
)
BESIDE = (
    "CREATE TABLE p (id PRIMARY KEY)",
    "INSERT INTO p VALUES (1), (2), ('a'), ('1')",
    "CREATE TABLE log (what, x, y)",
    "CREATE VIEW written AS SELECT 1 AS i, 1 AS x",
)
ASKED = (
    "INSERT INTO t (id, {c}) VALUES ({i}, {x}), ({j}, {y})",
    "INSERT OR IGNORE INTO t (id, {c}, {d}) VALUES ({i}, {x}, {y})",
    "REPLACE INTO t ({c}) VALUES ({x})",
    "INSERT OR FAIL INTO t (id, {d}) VALUES ({i}, {x}), ({j}, {x})",
    "UPDATE t SET {c} = {x}, {d} = {y} WHERE id IS {i}",
    "UPDATE OR REPLACE t SET {c} = {x} WHERE {d} = {y}",
    "UPDATE t SET id = {j} WHERE id = {i}",
    "DELETE FROM t WHERE {c} = {x} OR id = {i}",
    "DELETE FROM p WHERE id = {x}",
    "UPDATE p SET id = 7 WHERE id = {x}",
    "INSERT INTO child VALUES ({i})",
    "INSERT INTO written VALUES ({i}, {x})",
    "SELECT i FROM seen WHERE x = {x} ORDER BY i",
    "SELECT {key} FROM t WHERE {c} >= {x} ORDER BY {d}, {key}",
    "SELECT {key}, {c} FROM t INDEXED BY j WHERE {c} = {x} ORDER BY {key}",
    "BEGIN",
    "COMMIT",
)
IDS = st.sampled_from(["1", "2", "3", "-5", "9000000000000000000", "'x'", "'X'", "NULL"])
VALUES = st.sampled_from(["NULL", "0", "1", "2", "1.5", "'1'", "'a'", "'A'", "'a '", "'aa'", "'long'", "''", "x'61'"])


@dataclass(frozen=True)
class Drawn:
    """A database, whose first table t is migrated, and what is asked of it."""

    made: list[str]
    asked: list[str]


@st.composite
def drawn(draw) -> Drawn:
    key, option, row = KEYS[draw(st.sampled_from(sorted(KEYS)))]
    strict = draw(st.booleans())
    columns = {c: NAMES[c] for c in draw(st.lists(st.sampled_from(sorted(NAMES)), min_size=1, max_size=3, unique=True))}
    any_column = st.sampled_from(sorted(columns.values()))

    def some(texts, most):
        chosen = draw(
            st.lists(st.sampled_from(texts), max_size=most, unique_by=lambda text: " ".join(text.split()[:3]))
        )
        return [text.format(c=draw(any_column)) for text in chosen]

    entries = [key, "gone TEXT"]
    for defined, named in columns.items():
        rules = draw(st.lists(st.sampled_from(RULES), max_size=2, unique=True))
        type_ = draw(st.sampled_from(STRICT_TYPES if strict else TYPES))
        entries.append(" ".join([defined, type_, *(rule.format(c=named) for rule in rules)]))
    entries += [f"g {'ANY ' if strict else ''}{computed}" for computed in some(COMPUTED, 1)]
    listed = ", ".join([*draw(st.permutations(entries)), *some(TABLE_RULES, 1)])
    options = ", ".join(filter(None, [option, "STRICT" if strict else ""]))

    def asked(count):
        texts = draw(st.lists(st.sampled_from(ASKED), min_size=count, max_size=2 * count))
        return [
            text.format(
                c=draw(any_column),
                d=draw(any_column),
                i=draw(IDS),
                j=draw(IDS),
                x=draw(VALUES),
                y=draw(VALUES),
                key=row,
            )
            for text in texts
        ]

    made = [f"CREATE TABLE t ({listed}) {options}", *BESIDE, *some(AROUND, 4), *asked(4), "COMMIT"]
    everything = ", ".join([row, "id", *columns.values()])
    last = ["SELECT * FROM log", "SELECT * FROM child", "SELECT * FROM p", f"SELECT {everything} FROM t ORDER BY {row}"]
    return Drawn([*made, *draw(st.sampled_from([[], ["ANALYZE"]]))], [*asked(8), *last])


def told(path: Path, asked: list[str]) -> list[object]:
    with closing(connected(twin_of(path))) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return [(statement, answer(connection, statement)) for statement in asked]


def check(case: Drawn) -> None:
    with tempfile.TemporaryDirectory(dir=FOLDER) as name:
        made = Path(name, "made.db")
        with closing(connected(made)) as connection:
            connection.execute("PRAGMA journal_mode=wal")
            # What a constraint refuses, and what names something that was not drawn, has no effect.
            said = [answer(connection, statement) for statement in case.made]
        assume(said[0] == [])
        expected = told(made, case.asked)
        for changed, way in product(CHANGES, WAYS):
            for state in forth_and_back(twin_of(made), changed, way):
                assert told(state, case.asked) == expected


@settings(deadline=None, max_examples=40, derandomize=True)
@given(drawn())
def test_any_table_answers_as_before(case: Drawn):
    check(case)
