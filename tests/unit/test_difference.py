"""Two schemas compared by meaning: every difference is named, none is made up, and no rename is guessed."""

import pytest

from migrator.authoring.clauses import column_text
from migrator.authoring.difference import compare_schemas
from migrator.ddl import parse_create_table
from migrator.errors import RefusedError
from migrator.schema import Schema, SchemaObject
from tests.unit.generating import schema_of


def _items(now, desired, renames=None):
    found = compare_schemas(schema_of(*now), schema_of(*desired), renames)
    return [(item.kind, item.text) for item in found.items]


@pytest.mark.parametrize(
    ("now", "desired"),
    [
        ("CREATE TABLE t (a TEXT, b)", 'create table "T"\n(\n  A text -- x\n, [b])'),
        ("CREATE TABLE t (a TEXT NOT NULL DEFAULT 'x' UNIQUE)", "CREATE TABLE t (a TEXT UNIQUE DEFAULT 'x' NOT NULL)"),
        ("CREATE TABLE t (a, UNIQUE (a), CHECK (a > 0))", "CREATE TABLE t (a, CHECK (a > 0), UNIQUE (a))"),
        ("CREATE TABLE t (a TEXT NULL)", "CREATE TABLE t (a TEXT)"),
        ("CREATE TABLE t (a INT PRIMARY KEY) STRICT, WITHOUT ROWID",
         "CREATE TABLE t (a INT PRIMARY KEY) without rowid, strict"),
        ('CREATE TABLE t ("a" CHECK ("A" > \'x\'))', "CREATE TABLE t (a CHECK (a > 'x'))"),
    ],
)  # fmt: skip
def test_layout_and_order_of_clauses_are_no_difference(now, desired):
    assert _items([now], [desired]) == []


def test_an_index_in_another_layout_is_no_difference():
    desired = schema_of("CREATE TABLE t (a, b)", 'CREATE UNIQUE INDEX "i" ON "t" ("a", b DESC) WHERE a is not null')
    # As a migration declares it that is still pending.
    declared = "create unique index if not exists i ON t(a,b DESC) WHERE a IS NOT NULL;"
    now = Schema((desired.table("t"), SchemaObject("index", "i", "t", declared)))
    assert compare_schemas(now, desired).items == ()


@pytest.mark.parametrize(
    ("now", "desired", "expected"),
    [
        ("a", "a, b", [("column_added", "column b of t is new")]),
        ("a, b", "a", [("column_dropped", "column b of t goes")]),
        ("a TEXT", "b TEXT", [("column_added", "column b of t is new"), ("column_dropped", "column a of t goes")]),
        ("a, b", "b, a", [("columns_reordered", "the columns of t are in another order")]),
        ("a, b, c", "a, x, c, b", [
            ("column_added", "column x of t is new"),
            ("columns_reordered", "the columns of t are in another order")]),
        ("a TEXT", "a INTEGER", [("column_changed", "column a of t changes: TEXT becomes INTEGER")]),
        ("a", "a DEFAULT 1", [("column_changed", "column a of t changes: no type becomes DEFAULT 1")]),
        ("a DEFAULT 'x'", "a DEFAULT 'X'", [
            ("column_changed", "column a of t changes: DEFAULT 'x' becomes DEFAULT 'X'")]),
        ('a DEFAULT "x"', 'a DEFAULT "X"', [
            ("column_changed", "column a of t changes: DEFAULT \"x\" becomes DEFAULT \"X\"")]),
        ("a TEXT", "a TEXT NOT NULL", [("column_changed", "column a of t changes: TEXT becomes TEXT NOT NULL")]),
        ("a TEXT", "a TEXT COLLATE NOCASE", [
            ("column_changed", "column a of t changes: TEXT becomes TEXT COLLATE NOCASE")]),
        ("a, b", "a, b AS (1)", [("column_changed", "column b of t changes: no type becomes AS (1)")]),
        ("a REFERENCES u", "a REFERENCES u ON DELETE CASCADE", [
            ("column_changed", "column a of t changes: REFERENCES u becomes REFERENCES u ON DELETE CASCADE")]),
        ("a, CHECK (a > 0)", "a, CHECK (a >= 0)", [
            ("constraint_added", "table t gets CHECK (a >= 0)"),
            ("constraint_dropped", "table t loses CHECK (a > 0)")]),
        ("a, b", "a, b, UNIQUE (a, b)", [("constraint_added", "table t gets UNIQUE (a, b)")]),
    ],
)  # fmt: skip
def test_every_difference_of_a_table_is_named(now, desired, expected):
    assert _items([f"CREATE TABLE t ({now})"], [f"CREATE TABLE t ({desired})"]) == expected


def test_a_column_is_split_at_its_clauses():
    definition = (
        "a DECIMAL(10, 2) CONSTRAINT unique UNIQUE ON CONFLICT IGNORE NOT NULL DEFAULT (max(1, 2)) CHECK (a > 'not (') "
        "COLLATE nocase REFERENCES u (x) ON DELETE SET NULL ON UPDATE SET DEFAULT NOT DEFERRABLE INITIALLY DEFERRED"
    )
    found = column_text(parse_create_table(f"CREATE TABLE t ({definition})").definitions[0])
    assert (found.name, found.type) == ("a", "DECIMAL(10, 2)")
    assert [(clause.kind, clause.text) for clause in found.clauses] == [
        ("UNIQUE", "CONSTRAINT unique UNIQUE ON CONFLICT IGNORE"),
        ("NOT NULL", "NOT NULL"),
        ("DEFAULT", "DEFAULT (max(1, 2))"),
        ("CHECK", "CHECK (a > 'not (')"),
        ("COLLATE", "COLLATE nocase"),
        (
            "REFERENCES",
            "REFERENCES u (x) ON DELETE SET NULL ON UPDATE SET DEFAULT NOT DEFERRABLE INITIALLY DEFERRED",
        ),
    ]
    assert [clause.expression for clause in found.of("CHECK")] == ["a > 'not ('"]


@pytest.mark.parametrize(
    ("definition", "type_", "kinds"),
    [
        ("a GENERATED ALWAYS AS (1) STORED NOT NULL", "", ["GENERATED", "NOT NULL"]),
        ("a TEXT AS (1)", "TEXT", ["GENERATED"]),
        ("a long integer PRIMARY KEY AUTOINCREMENT", "long integer", ["PRIMARY KEY"]),
        ("a INT DEFAULT NULL NULL CONSTRAINT c CHECK (1)", "INT", ["DEFAULT", "NULL", "CHECK"]),
        ('a "not" DEFAULT -1 NOT NULL', '"not"', ["DEFAULT", "NOT NULL"]),
    ],
)
def test_a_clause_begins_where_sqlites_grammar_says(definition, type_, kinds):
    found = column_text(parse_create_table(f"CREATE TABLE t (b, {definition})").definitions[1])
    assert (found.type, [clause.kind for clause in found.clauses]) == (type_, kinds)


def test_tables_options_indexes_views_and_triggers_are_compared():
    now = [
        "CREATE TABLE t (a INT PRIMARY KEY)", "CREATE TABLE gone (a)", "CREATE INDEX same ON t (a)",
        "CREATE INDEX other ON t (a)", "CREATE INDEX goes ON t (a)", "CREATE VIEW v AS SELECT 1",
        "CREATE VIEW w AS SELECT 1",
        "CREATE TRIGGER x AFTER INSERT ON t BEGIN SELECT 1; END",
    ]  # fmt: skip
    desired = [
        "CREATE TABLE t (a INT PRIMARY KEY) STRICT", "CREATE TABLE made (a)", "CREATE INDEX same ON t(A)",
        "CREATE INDEX other ON t (a DESC)", "CREATE INDEX comes ON made (a)", "CREATE VIEW v AS SELECT 2",
        "CREATE TRIGGER y AFTER INSERT ON t BEGIN SELECT 1; END",
    ]  # fmt: skip
    assert _items(now, desired) == [
        ("table_option", "table t becomes STRICT"),
        ("index_changed", "index other of t changes"),
        ("index_dropped", "index goes of t goes"),
        ("table_added", "table made is new"),
        ("index_added", "index comes of made is new"),
        ("table_dropped", "table gone goes"),
        ("view_changed", "view v changes"),
        ("view_dropped", "view w goes"),
        ("trigger_dropped", "trigger x goes"),
        ("trigger_added", "trigger y is new"),
    ]


def test_a_virtual_table_is_compared_and_the_tables_that_it_keeps_are_not():
    made = "CREATE VIRTUAL TABLE found USING fts5 (body)"
    assert _items([made], [made]) == []
    assert _items([made], ["CREATE TABLE t (a)"]) == [
        ("table_added", "table t is new"),
        ("virtual_table_dropped", "virtual table found goes"),
    ]


def test_a_rename_that_is_told_is_one():
    now, desired = ["CREATE TABLE t (a TEXT, b, UNIQUE (b))"], ["CREATE TABLE t (c INTEGER, b, UNIQUE (b))"]
    assert _items(now, desired, {"T.a": "t.C"}) == [
        ("column_renamed", "column a of t becomes c"),
        ("column_changed", "column c of t changes: TEXT becomes INTEGER"),
    ]


@pytest.mark.parametrize(
    ("renames", "message"),
    [
        ({"t.x": "t.c"}, r"there is no column 't\.x' to rename"),
        ({"t.a": "t.x"}, r"there is no column 't\.x' to rename"),
        ({"a": "c"}, r"there is no column 'a' to rename; write table\.column"),
        ({"t": "s"}, "column .t. to rename; write table.column on both sides; a table is renamed by two migrations"),
        ({"t.b": "t.c"}, r"the rename t\.b=t\.c is none: 'b' must be only in the database"),
        ({"t.a": "t.b"}, r"the rename t\.a=t\.b is none"),
        ({"t.a": "u.d"}, "leads to another table"),
    ],
)
def test_a_rename_of_what_is_not_there_is_refused(renames, message):
    other = "CREATE TABLE u (d)"
    with pytest.raises(RefusedError, match=message):
        _items(["CREATE TABLE t (a, b)", other], ["CREATE TABLE t (c, b)", other], renames)


def test_a_dot_in_a_name_ends_nothing():
    assert _items(['CREATE TABLE "a.b" ("c.d", x)'], ['CREATE TABLE "a.b" (e, x)'], {"a.b.c.d": "a.b.e"}) == [
        ("column_renamed", "column c.d of a.b becomes e")
    ]
