"""A migration generated from two schemas leads exactly to the second, with every row, and back to the first."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass, field, replace

import pytest

from migrator.authoring.desired import read_desired
from migrator.authoring.difference import compare_schemas
from migrator.authoring.generate import generate, write_migration
from migrator.authoring.lint import lint
from migrator.connect import opened
from migrator.loading import load_migrations
from migrator.ltmc import LTMC
from migrator.migration import Answers
from migrator.planning import make_plan
from migrator.preflight import preflight, read_state
from tests.runs import PLENTY_MS, migrate
from tests.unit.generating import application, as_sqlite_stores, decided, generated, meaning
from tests.unit.migrating import cells, database, everything


@dataclass(frozen=True)
class Pair:
    """Two schemas, the rows of the first, and the renames that are told; `rule` is why it cannot be done online."""

    now: tuple[str, ...]
    rows: tuple[str, ...]
    desired: tuple[str, ...]
    renames: dict[str, str] = field(default_factory=dict)
    rule: str = ""


def _t(before: str, after: str, *rows: str, **renames: str) -> Pair:
    """A pair of definitions of one table t with an INTEGER key; `rows` are the values beside it."""
    now, desired = (f"CREATE TABLE t (id INTEGER PRIMARY KEY, {listed})" for listed in (before, after))
    inserts = [f"INSERT INTO t VALUES ({number * 3}, {values})" for number, values in enumerate(rows, 1)]
    return Pair((now,), tuple(inserts), (desired,), {f"t.{old}": f"t.{new}" for old, new in renames.items()})


NUMBERS = ("1, 'a'", "-2, 'b'", "2.5, 'c'", "'x', 'd'", "NULL, 'e'", "x'3132', 'f'", "9007199254740993, 'g'")
TEXTS = ("'1'", "'007'", "'1.0'", "'1e3'", "' 5 '", "'abc'", "''", "NULL", "x'31'", "'9223372036854775808'", "'1e18'")
NOTES = "CREATE TABLE notes (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL, place TEXT)"
TAGS = "CREATE TABLE tags (note INTEGER REFERENCES notes (id) ON DELETE CASCADE, tag TEXT)"
NOTED = (
    "INSERT INTO notes VALUES (1, 'one', 'here'), (5, 'five', NULL), (9, 'nine', 'there'), (12, 'gone', '')",
    "DELETE FROM notes WHERE id = 12",
)

PAIRS = {
    "a column at the end": _t("a", "a, b TEXT", "1", "NULL"),
    "a column in the middle": _t("a, c", "a, b INTEGER, c", "1, 'x'", "NULL, 2.5"),
    "a column at the front of the others": _t("a TEXT", "n INTEGER DEFAULT -7, a TEXT", "'x'", "NULL"),
    "a required column with a default": _t("a", "a, b TEXT NOT NULL DEFAULT 'it''s (b), '", "1", "2"),
    "a default that is a blob": _t("a", "a, b BLOB DEFAULT x'00ff'", "1"),
    "a default in parentheses": _t("a", "a, b INTEGER DEFAULT (12) CHECK (b > 0)", "1"),
    "a column without a type": _t("a", "a, b", "1"),
    "a dropped column": _t("a, b TEXT", "a", "1, 'kept'", "2, NULL"),
    "a dropped column that had a default": _t("a, b TEXT NOT NULL DEFAULT 'd'", "a", "1, 'kept'", "2, 'd'"),
    "all columns but the key replaced": _t("a, b", "c TEXT, d REAL DEFAULT 1.5", "1, 2", "3, 4"),
    "a renamed column": _t("a TEXT, b", "c TEXT, b", "'x', 1", "NULL, 2", a="c"),
    "two renamed columns in another order": _t("a TEXT, b REAL", "y REAL, x TEXT", "'x', 1", "NULL, 2.5", a="x", b="y"),
    "a renamed column of another type": _t("a TEXT", "n INTEGER", *TEXTS, a="n"),
    "a renamed column that is required and checked": _t(
        "a TEXT NOT NULL CHECK (a <> '')", "b TEXT NOT NULL CHECK (b <> '')", "'x'", a="b"
    ),
    "a column in quotes renamed to a keyword": Pair(
        ('CREATE TABLE "t t" (id INTEGER PRIMARY KEY, "a ""b" TEXT, größe TEXT)',),
        ("INSERT INTO \"t t\" VALUES (1, 'x', 'y')",),
        ('CREATE TABLE "t t" (id INTEGER PRIMARY KEY, "select" TEXT, größe INTEGER, "end" TEXT)',),
        {'t t.a "b': "t t.select"},
    ),
    "text becomes integer": _t("a TEXT", "a INTEGER", *TEXTS),
    "text becomes numeric": _t("a VARCHAR(10)", "a DECIMAL(10, 2)", *TEXTS),
    "text becomes real": _t("a TEXT", "a DOUBLE", *TEXTS),
    "text becomes anything": _t("a TEXT", "a", *TEXTS),
    "anything becomes text": _t("a, b", "a TEXT, b", *NUMBERS),
    "anything becomes integer": _t("a, b", "a INT, b", *NUMBERS),
    "anything becomes real": _t("a, b", "a REAL, b", *NUMBERS),
    "integer becomes text": _t("a INTEGER, b", "a TEXT, b", *NUMBERS),
    "integer becomes real": _t("a INTEGER, b", "a REAL, b", *NUMBERS),
    "real becomes integer": _t("a REAL, b", "a INTEGER, b", *NUMBERS, "1e18, 'h'", "-9223372036854775808.0, 'i'"),
    "real becomes text": _t("a REAL, b", "a TEXT, b", *NUMBERS, "0.1, 'h'"),
    "integer becomes numeric": _t("a BIGINT, b", "a NUMERIC, b", *NUMBERS),
    "another default": _t("a TEXT DEFAULT 'x', b DEFAULT 1", "a TEXT DEFAULT 'y', b", "'x', 1", "NULL, 2"),
    "required from now on": _t("a TEXT", "a TEXT NOT NULL", "'x'", "''"),
    "required no more, with a default": _t("a TEXT NOT NULL DEFAULT 'x'", "a TEXT DEFAULT 'x'", "'x'", "''"),
    "a collation": _t("a TEXT", "a TEXT COLLATE NOCASE UNIQUE", "'x'", "'Y'"),
    "a CHECK on a column": _t("a INTEGER", "a INTEGER CHECK (a > 0 OR a IS NULL)", "1", "NULL"),
    "a CHECK no more": _t("a INTEGER CHECK (a > 0)", "a INTEGER", "1", "NULL"),
    "another CHECK of the table": _t(
        "a INTEGER, b, CONSTRAINT c CHECK (a > 0)", "a INTEGER, b, CONSTRAINT c CHECK (a > 0 AND b > 0)", "1, 2"
    ),
    "a UNIQUE column": _t("a INTEGER, b", "a INTEGER UNIQUE, b", "1, 1", "NULL, 1", "NULL, 1"),
    "UNIQUE over two columns": _t("a, b", "a, b, UNIQUE (b, a)", "1, 1", "1, 2", "NULL, 1"),
    "UNIQUE no more": _t("a TEXT UNIQUE, b, UNIQUE (a, b)", "a TEXT, b", "'x', 1", "'y', 1"),
    "columns in another order": _t("a TEXT, b INTEGER, c", "c, a TEXT, b INTEGER", "'x', 1, 2.5"),
    "a conflict clause": _t("a INTEGER", "a INTEGER UNIQUE ON CONFLICT REPLACE", "1", "2"),
    "a computed column": _t("a INTEGER", "a INTEGER, b INTEGER AS (a * 2) STORED, c TEXT AS (a || '!')", "1", "NULL"),
    "a computed column no more": _t("a INTEGER, b INTEGER GENERATED ALWAYS AS (a * 2)", "a INTEGER", "1"),
    "JSON in a CHECK, a computed column and an index": Pair(
        ("CREATE TABLE t (id INTEGER PRIMARY KEY, j TEXT CHECK (json_valid(j)), a AS (json_extract(j, '$[0]')))",
         "CREATE INDEX i ON t (json_extract(j, '$[1]'))"),
        ("INSERT INTO t (j) VALUES ('[1, 2]'), ('{}')",),
        ("CREATE TABLE t (id INTEGER PRIMARY KEY, j TEXT CHECK (json_valid(j)), a AS (json_extract(j, '$[0]')),"
         " b AS (j ->> '$[1]'), c DEFAULT 'c')",
         "CREATE INDEX i ON t (json_extract(j, '$[1]'))"),
    ),
    "a table with a name of one letter, and a renamed column": Pair(
        ("CREATE TABLE p (id INTEGER PRIMARY KEY, a TEXT)",),
        ("INSERT INTO p VALUES (1, 'x')",),
        ("CREATE TABLE p (id INTEGER PRIMARY KEY, b TEXT)",),
        {"p.a": "p.b"},
    ),
    "STRICT from now on": Pair(
        ("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b ANY)",),
        ("INSERT INTO t VALUES (1, 'x', '12'), (2, NULL, 'y')",),
        ("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b ANY, c REAL) STRICT",),
    ),
    "STRICT no more": Pair(
        ("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b ANY) STRICT",),
        ("INSERT INTO t VALUES (1, 'x', '12'), (2, NULL, 12)",),
        ("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b ANY)",),
    ),
    "STRICT with other types": Pair(
        ("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b)",),
        ("INSERT INTO t VALUES (1, '12', 1.0), (2, NULL, '7'), (3, '-1', 2)",),
        ("CREATE TABLE t (id INTEGER PRIMARY KEY, a INTEGER, b INT) STRICT",),
    ),
    "a table WITHOUT ROWID": Pair(
        ("CREATE TABLE t (code TEXT, n INTEGER, a TEXT, PRIMARY KEY (code, n)) WITHOUT ROWID",),
        ("INSERT INTO t VALUES ('x', 1, '5'), ('x', 2, 'five')",),
        ("CREATE TABLE t (a INTEGER, n INTEGER, code TEXT, b DEFAULT 'b', PRIMARY KEY (code, n)) WITHOUT ROWID",),
    ),
    "a table whose rows have no key": Pair(
        ("CREATE TABLE t (a, b TEXT)",),
        ("INSERT INTO t (rowid, a, b) VALUES (-3, 1, '2'), (70, NULL, 'x'), (71, NULL, 'x')",),
        ("CREATE TABLE t (b INTEGER, c TEXT)",),
    ),
    "a table with a column named rowid": Pair(
        ("CREATE TABLE t (rowid TEXT, a TEXT)",),
        ("INSERT INTO t (oid, rowid, a) VALUES (9, 'r', '1')",),
        ("CREATE TABLE t (rowid TEXT, a INTEGER, b TEXT)",),
    ),
    "a primary key that is no rowid": Pair(
        ("CREATE TABLE t (code TEXT, a)",),
        ("INSERT INTO t VALUES ('x', 1), ('y', 2)",),
        ("CREATE TABLE t (code TEXT PRIMARY KEY, a)",),
    ),
    "AUTOINCREMENT from now on": Pair(
        ("CREATE TABLE t (id INTEGER PRIMARY KEY, a)",),
        ("INSERT INTO t VALUES (4, 'x')",),
        ("CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, a, b)",),
    ),
    "a parent with children, AUTOINCREMENT, a view and a trigger": Pair(
        (NOTES, TAGS, "CREATE VIEW bodies AS SELECT id, body FROM notes",
         "CREATE TRIGGER tagged AFTER INSERT ON notes BEGIN INSERT INTO tags VALUES (new.id, 'new'); END"),
        (*NOTED, "DELETE FROM tags", "INSERT INTO tags VALUES (5, 'x'), (9, 'y')"),
        (NOTES.replace("place TEXT", "stars INTEGER NOT NULL DEFAULT 3"), TAGS,
         "CREATE VIEW bodies AS SELECT id, body FROM notes",
         "CREATE TRIGGER tagged AFTER INSERT ON notes BEGIN INSERT INTO tags VALUES (new.id, 'new'); END"),
    ),
    "another foreign key": Pair(
        (NOTES, TAGS),
        (*NOTED, "INSERT INTO tags VALUES (5, 'x'), (NULL, 'y')"),
        (NOTES, "CREATE TABLE tags (note INTEGER, tag TEXT, FOREIGN KEY (note) REFERENCES notes (id) "
         "ON UPDATE SET NULL DEFERRABLE INITIALLY DEFERRED)"),
    ),
    "no foreign key": Pair(
        (NOTES, TAGS), ("INSERT INTO tags VALUES (5, 'x')",), (NOTES, "CREATE TABLE tags (note, tag TEXT)")
    ),
    "a foreign key of a table to itself, and over two columns": Pair(
        ("CREATE TABLE t (a, b, up, UNIQUE (a, b))", "CREATE TABLE u (a, b)"),
        ("INSERT INTO t VALUES (1, 2, NULL), (3, 4, 1)", "INSERT INTO u VALUES (1, 2), (NULL, 4)"),
        ("CREATE TABLE t (a, b, up REFERENCES t (rowid), UNIQUE (a, b))",
         "CREATE TABLE u (a, b, FOREIGN KEY (a, b) REFERENCES t (a, b) MATCH SIMPLE)"),
    ),
    "new tables that point to each other": Pair(
        (NOTES,),
        NOTED,
        (NOTES, "CREATE TABLE people (id INTEGER PRIMARY KEY AUTOINCREMENT, best REFERENCES teams (name))",
         "CREATE TABLE teams (name TEXT PRIMARY KEY, head INTEGER REFERENCES people (id)) WITHOUT ROWID",
         "CREATE INDEX by_head ON teams (head)"),
    ),
    "an index": Pair((NOTES,), NOTED, (NOTES, "CREATE INDEX by_place ON notes (place COLLATE NOCASE DESC, body)")),
    "indexes of every kind on a table that changes too": Pair(
        (NOTES, "CREATE INDEX by_body ON notes (body)"),
        NOTED,
        (NOTES.replace("place TEXT", "place TEXT, n INTEGER DEFAULT 0"), "CREATE INDEX by_body ON notes(body)",
         "CREATE UNIQUE INDEX once ON notes (lower(body), n) WHERE place IS NOT NULL",
         'CREATE INDEX "by n" ON "notes" ("n")'),
        rule="on the way back the table has a unique index with a condition",
    ),
    "several tables at once": Pair(
        (NOTES, TAGS, "CREATE TABLE other (x TEXT)"),
        (*NOTED, "INSERT INTO tags VALUES (5, 'x')", "INSERT INTO other VALUES ('7'), ('seven')"),
        ("CREATE TABLE other (x INTEGER, y)", "CREATE TABLE more (z)",
         TAGS.replace("tag TEXT", "tag TEXT, weight REAL"), NOTES.replace("place", "spot")),
        {"notes.place": "notes.spot"},
    ),
    "an index goes": Pair((NOTES, "CREATE INDEX i ON notes (body)"), NOTED, (NOTES,)),
    "an index changes": Pair(
        (NOTES, "CREATE INDEX i ON notes (body)"), NOTED, (NOTES, "CREATE UNIQUE INDEX i ON notes (body DESC)")
    ),
    "an index gives its name to another table's": Pair(
        (TAGS, NOTES, "CREATE INDEX i ON notes (body)"), (*NOTED, "INSERT INTO tags VALUES (5, 'x')"),
        (TAGS, NOTES, "CREATE INDEX i ON tags (note)"),
    ),
    "an index gets the name of a table that goes, and a table that of an index": Pair(
        (NOTES, TAGS, "CREATE INDEX more ON notes (place)"), (*NOTED, "INSERT INTO tags VALUES (5, 'x')"),
        (NOTES, "CREATE INDEX tags ON notes (body)", "CREATE TABLE more (z)"),
    ),
    "an indexed column goes, and one is renamed": Pair(
        (NOTES.replace("place", "n INTEGER, place"), "CREATE INDEX i ON notes (n, body)",
         "CREATE INDEX j ON notes (place)"),
        ("INSERT INTO notes VALUES (1, 'one', 7, 'here'), (5, 'five', NULL, NULL)",),
        (NOTES.replace("place", "spot"), "CREATE INDEX j ON notes (spot)", "CREATE INDEX i ON notes (spot, body)"),
        {"notes.place": "notes.spot"},
    ),
    "tables go, one with rows, a mark and indexes, one without": Pair(
        (NOTES, TAGS, "CREATE INDEX i ON notes (body)", "CREATE UNIQUE INDEX j ON notes (body, place)",
         "CREATE TABLE empty (a TEXT PRIMARY KEY, b) WITHOUT ROWID", "CREATE INDEX k ON empty (b)"),
        (*NOTED, "INSERT INTO tags VALUES (5, 'x')"),
        (TAGS.replace("REFERENCES notes (id) ON DELETE CASCADE", ""),),
    ),
    "remarks and layout": Pair(
        ("CREATE TABLE t (\n  id INTEGER PRIMARY KEY, -- the \"key\"\n  a TEXT /* what, (else */ , b\n)",),
        ("INSERT INTO t VALUES (1, 'x', 2)",),
        ("CREATE TABLE t (\n  id INTEGER PRIMARY KEY,\n  a TEXT, -- 100 % \\n sure, \"\"\"quoted\"\"\"\n"
         "  c TEXT DEFAULT '--\\',\n  b\n)",),
    ),
    "very long definitions": _t(
        "a TEXT", f"a TEXT, b TEXT DEFAULT '{'long, long ' * 20}', c TEXT CHECK (c <> '{'x ' * 80}')", "'x'"
    ),
}  # fmt: skip


def _ways():
    for name, pair in PAIRS.items():
        yield pytest.param(pair, PLENTY_MS, id=f"{name}, at once")
        if not pair.rule:
            yield pytest.param(pair, 0.0, id=f"{name}, online")


@pytest.mark.parametrize(("pair", "max_lock_ms"), list(_ways()))
def test_a_generated_migration_leads_exactly_to_the_desired_schema_and_back(folder, pair: Pair, max_lock_ms: float):
    migrations, path = folder / "migrations", folder / "live.db"
    migrations.mkdir()
    made = generated(pair.now, pair.desired, pair.renames)
    assert {open_.what.split(",")[0] for open_ in made.undecided} == {
        item.text for item in made.difference.items if item.kind == "table_dropped"
    }
    write_migration(decided(made), migrations)
    app = application(*load_migrations(migrations))
    with closing(_opened(path)) as connection:
        for statement in (*pair.now, *pair.rows):
            connection.execute(statement)
        before = {name: held for name, held in everything(connection).items() if name != "sqlite_sequence" or held}
        expected = as_sqlite_stores(connection, pair.desired, pair.renames)

    migrate(path, app, max_lock_ms=max_lock_ms)
    with closing(_opened(path)) as connection, closing(expected):
        assert meaning(connection, app.own_tables) == meaning(database(*pair.desired))
        for table in meaning(expected):
            kind, _, name = table.partition(" ")
            if kind == "table":
                assert cells(connection, name) == cells(expected, name)

    migrate(path, app, to_version=0, max_lock_ms=max_lock_ms)
    with closing(_opened(path)) as connection:
        after = everything(connection, app.own_tables)
        # SQLite never drops it.
        assert {name: held for name, held in after.items() if name != "sqlite_sequence" or held} == before


def test_the_next_migration_starts_from_what_the_pending_ones_lead_to(folder):
    path, file = folder / "ltmc.db", folder / "schema.sql"
    LTMC.make_demo(path, 20)
    live = preflight(path, LTMC, only_look=True)
    start = live.plan.after
    text = ";\n".join(o.sql for o in start.schema.objects)
    last = "completed_at TEXT\n)"
    assert text.count(last) == 1
    file.write_text(text.replace(last, "completed_at TEXT,\n    due TEXT NOT NULL DEFAULT 'someday'\n)"))
    desired = read_desired(file, LTMC.own_tables)
    made = generate(start.schema, desired, "todo_due", LTMC.migrations)
    assert (made.undecided, made.migration.label) == ((), f"{len(LTMC.migrations) + 1:04d}_todo_due")
    assert [item.text for item in made.difference.items] == ["column due of Todos is new"]
    plan = make_plan((made.migration,), start, {made.migration.version: Answers()})
    with opened(path, read_only=True) as connection:
        told = [found.code for found in lint(connection, plan, live.state) if found.severity != "note"]
    # 0002 changes Todos too, and is pending.
    assert told == ["not_looked_at"]

    app = replace(LTMC, migrations=(*LTMC.migrations, made.migration))
    migrate(path, app)
    with opened(path, read_only=True) as connection:
        reached = read_state(connection, app).schema
        due = connection.execute("SELECT DISTINCT due FROM Todos").fetchall()
    assert due == [("someday",)]
    assert compare_schemas(reached, desired).items == ()


def _opened(path):
    return sqlite3.connect(path, isolation_level=None)
