"""Any two definitions of a table, any rows: what is generated does what SQLite does, and lint knows where it cannot."""

import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from migrator.authoring.lint import lint
from migrator.ddl import quote
from migrator.errors import MigratorError
from migrator.inspection import refuse_what_does_not_fit
from migrator.migration import Answers
from migrator.planning import make_plan
from tests.unit.generating import as_sqlite_stores, generated, meaning
from tests.unit.migrating import back, cells, database, everything, promote, rehearse, state_of

KEYS = {
    "id": ("id INTEGER PRIMARY KEY", ""),
    "mark": ("id INTEGER PRIMARY KEY AUTOINCREMENT", ""),
    "text": ("id TEXT NOT NULL PRIMARY KEY", "WITHOUT ROWID"),
    "none": ("id INT NOT NULL DEFAULT 0", ""),
}
NAMES = ("a", "B", "select", "größe", 'd"e')
NEW_NAMES = ("n", "CHECK", "a b")
TYPES = ("", "TEXT", "INTEGER", "REAL", "NUMERIC", "BLOB", "VARCHAR(5)", "DECIMAL(5, 2)", "FLOATING POINT")
STRICT_TYPES = ("TEXT", "INTEGER", "INT", "REAL", "BLOB", "ANY")
DEFAULTS = ("7", "'x, (y'", "-1.5", "''", "x'00'", "('1')")
# What a STRICT table does not refuse.
FITTING = {"TEXT": DEFAULTS[:4], "INTEGER": ("7", "('1')"), "INT": ("-7",), "REAL": ("7", "-1.5"), "BLOB": ("x'00'",)}
RULES = ("UNIQUE", "COLLATE NOCASE", "REFERENCES p (id)", "CHECK ({c} <> 'a')", "CHECK (typeof({c}) <> 'blob')",
         "CHECK ({c} IS NOT 1)", "CHECK (length({c}) < 3)")  # fmt: skip
TABLE_RULES = (
    "CHECK ({c} IS NOT 1)",
    "UNIQUE ({c} COLLATE NOCASE)",
    "UNIQUE (id, {c})",
    "FOREIGN KEY ({c}) REFERENCES p",
)
INDEXES = ("INDEX i ON t ({c})", "UNIQUE INDEX i ON t (lower({c}))", "UNIQUE INDEX i ON t ({c} COLLATE NOCASE DESC)")
VALUES = st.one_of(
    st.none(),
    st.integers(-3, 3),
    st.sampled_from(
        [2**53 + 1, 2**63 - 1, -(2**63), 1.0, -0.5, 1e18, "", "1", "1.0", " 1", "1e18", "a", "A", b"", b"1"]
    ),
    st.floats(allow_nan=False),
    st.text("aB1.e+- größe", max_size=4),
)
PARENT = "CREATE TABLE p (id INTEGER PRIMARY KEY, x)"


@dataclass
class Case:
    """`renames` of columns of t; of the `rows` those that do not fit the first schema are left out.

    `in_steps`: carried out as on the candidate, where columns are added before the table is rebuilt.
    """

    now: str
    desired: list[str]
    renames: dict[str, str]
    rows: list[tuple[object, ...]]
    in_steps: bool


@st.composite
def definitions(draw, name: str, strict: bool) -> str:
    type_ = draw(st.sampled_from(STRICT_TYPES if strict else TYPES))
    default = draw(st.sampled_from(FITTING.get(type_, DEFAULTS) if strict else DEFAULTS))
    # What a person would have to decide is another test's affair: a required column has a DEFAULT.
    said = draw(st.sampled_from(["", "", f"DEFAULT {default}", f"NOT NULL DEFAULT {default}"]))
    rules = draw(st.lists(st.sampled_from(RULES), max_size=1))
    return " ".join([quote(name), type_, said, *(rule.format(c=quote(name)) for rule in rules)])


@st.composite
def cases(draw):
    key, suffix = KEYS[draw(st.sampled_from(sorted(KEYS)))]
    stricts = draw(st.sampled_from([(False, False), (False, False), (False, True), (True, False), (True, True)]))
    old = {
        c: draw(definitions(c, any(stricts))) for c in draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True))
    }
    fresh, new, renames = list(draw(st.permutations(NEW_NAMES))), {}, {}
    for column, text in old.items():
        what = draw(st.sampled_from(["same", "same", "changed", "dropped", "renamed"]))
        if what == "same":
            new[column] = text
        elif what == "changed":
            new[column] = draw(definitions(column, any(stricts)))
        elif what == "renamed" and fresh:
            name = fresh.pop()
            renames[f"t.{column}"] = f"t.{name}"
            new[name] = draw(definitions(name, any(stricts)))
    new |= {name: draw(definitions(name, any(stricts))) for name in fresh[: draw(st.integers(0, 2))]}
    order = draw(st.permutations(list(new)))
    rules = draw(st.lists(st.sampled_from(TABLE_RULES), max_size=1)) if order else []
    indexes = draw(st.lists(st.sampled_from(INDEXES), max_size=1)) if order else []
    column = quote(draw(st.sampled_from(order))) if order else ""
    listed = [[key, *old.values()], [key, *(new[c] for c in order), *(rule.format(c=column) for rule in rules)]]
    now, desired = (
        f"CREATE TABLE t ({', '.join(entries)}){', '.join(filter(None, [suffix, 'STRICT' if strict else '']))}"
        for entries, strict in zip(listed, stricts, strict=True)
    )
    ids = draw(st.lists(st.integers(-3, 2**40), max_size=5, unique=True))
    rows = [(i, *(draw(VALUES) for _ in old)) for i in ids]
    made = [desired, *(f"CREATE {index.format(c=column)}" for index in indexes)]
    return Case(now, made, renames, rows, draw(st.booleans()))


def _filled(case: Case) -> sqlite3.Connection:
    connection = database(PARENT, case.now, "INSERT INTO p VALUES (1, 'x'), (2, NULL)")
    for row in case.rows:
        with suppress(sqlite3.IntegrityError):
            connection.execute(f"INSERT INTO t VALUES ({', '.join('?' * len(row))})", row)
    return connection


@settings(deadline=None, max_examples=200)
@given(cases())
def test_what_is_generated_does_what_sqlite_does(case: Case):
    desired = (PARENT, *case.desired)
    made = generated((PARENT, case.now), desired, case.renames)
    assert made.undecided == ()
    with closing(_filled(case)) as connection:
        before, own = everything(connection), made.migration.own_tables
        if not made.migration.changes:
            assert meaning(connection) == meaning(database(*desired))
            return
        state = state_of(connection, [made.migration])
        plan = make_plan([made.migration], state, {1: Answers()})
        errors = [found for found in lint(connection, plan, state) if found.severity == "error"]
        try:
            expected = as_sqlite_stores(connection, desired, case.renames)
        except sqlite3.IntegrityError as error:
            event("a row does not fit")
            assert errors, error
            with pytest.raises((MigratorError, sqlite3.IntegrityError)):
                for table in plan.tables:
                    refuse_what_does_not_fit(connection, table)
                promote(connection, plan)
            return
        assert errors == []
        (rehearse if case.in_steps else promote)(connection, plan)
        assert meaning(connection, own) == meaning(database(*desired))
        assert cells(connection, "t") == cells(expected, "t")
        assert cells(connection, "p") == [(1, 1, ("text", b"x")), (2, 2, None)]
        back(connection, made.migration)
        assert everything(connection, own) == before
