"""What a database's schema says: by meaning, and without what belongs to SQLite or to this tool."""

import sqlite3

import pytest

from migrator.ddl import DdlError, parse_create_table
from migrator.schema import (
    Unique,
    columns_of,
    index_name,
    own_objects,
    read_schema,
    rowid_name,
    shape_of,
    unique_index,
)
from tests.unit.migrating import database


def key(sql: str) -> tuple[str, ...]:
    return shape_of(parse_create_table(sql)).key


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ("id INTEGER PRIMARY KEY, a", ("id",)),
        ("id INTEGER PRIMARY KEY AUTOINCREMENT", ("id",)),
        ("a, id INTEGER, PRIMARY KEY (id DESC)", ("id",)),
        ("desc INTEGER PRIMARY KEY", ("desc",)),
        ("rowid INTEGER PRIMARY KEY", ("rowid",)),
        ("id INTEGER PRIMARY KEY DESC", ("rowid",)),
        ("id INT PRIMARY KEY", ("rowid",)),
        ("id TEXT PRIMARY KEY", ("rowid",)),
        ("a, b, PRIMARY KEY (b, a)", ("rowid",)),
        ("a, ROWID TEXT", ("_rowid_",)),
        ("oid, rowid, _ROWID_x", ("_rowid_",)),
        ("rowid, _rowid_", ("oid",)),
    ],
)
def test_a_rowid_table_is_identified_by_its_rowid_under_a_name_that_reads_it(columns, expected):
    assert key(f"CREATE TABLE t ({columns})") == expected


def test_a_table_without_rowid_is_identified_by_its_primary_key_in_the_order_of_the_key():
    assert key("CREATE TABLE t (a TEXT, b INTEGER, c, PRIMARY KEY (c, a)) WITHOUT ROWID") == ("c", "a")


def test_a_table_whose_columns_hide_the_rowid_is_refused():
    assert rowid_name(["rowid", "OID", "_rowid_"]) is None
    with pytest.raises(DdlError, match="columns of table t hide its rowid"):
        key("CREATE TABLE t (rowid, oid, _rowid_)")


def test_the_shape_has_types_defaults_and_what_must_be_there_or_unique():
    shape = shape_of(
        parse_create_table(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, a VARCHAR(5) NOT NULL DEFAULT 'x''y', b DEFAULT (1+1) UNIQUE, "
            "c AS (b * 2), d TEXT, UNIQUE (d, b))"
        )
    )
    assert [(c.name, c.type, c.default) for c in shape.columns] == [
        ("id", "INTEGER", None),
        ("a", "VARCHAR(5)", "('x''y')"),
        ("b", "", "(2)"),
        ("d", "TEXT", None),
    ]
    assert (shape.generated, shape.not_null) == (("c",), ("a",))
    assert set(shape.unique) == {("b",), ("d", "b")}
    assert shape.column("A").name == "a"
    assert shape.column("c") is None


def test_a_text_that_sqlite_refuses_is_refused_with_its_reason():
    with pytest.raises(DdlError, match="SQLite refuses the definition of table t: no such column: b"):
        shape_of(parse_create_table("CREATE TABLE t (a, CHECK (b > 0))"))


OBJECTS = (
    "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, a UNIQUE)",
    "CREATE TABLE child (t_id REFERENCES T (id))",
    "CREATE TABLE other (x)",
    "CREATE INDEX t_a ON t (a)",
    "CREATE VIEW v AS SELECT * FROM 'other', T",
    "CREATE VIEW w AS SELECT 't' FROM other -- t",
    "CREATE TRIGGER g AFTER INSERT ON other BEGIN DELETE FROM t; END",
    "CREATE VIRTUAL TABLE words USING fts5(word)",
    "CREATE TABLE t_legacy (id)",
    "CREATE TABLE _mig_t (id)",
    "CREATE INDEX _mig_i ON other (x)",
    "CREATE TRIGGER _mig_g AFTER DELETE ON t BEGIN SELECT 1; END",
    "ANALYZE",
)


def test_the_schema_is_without_sqlites_and_this_tools_own_objects():
    schema = read_schema(database(*OBJECTS), ["T_Legacy"])
    names = [o.name for o in schema.objects]
    assert names[:8] == ["t", "child", "other", "t_a", "v", "w", "g", "words"]
    assert {n.partition("_")[0] for n in names[8:]} == {"words"}
    assert schema.tables[:3] == ("t", "child", "other")
    assert "words" not in schema.tables
    assert "words_data" in schema.tables


def test_what_names_a_table_is_known_however_it_spells_it():
    schema = read_schema(database(*OBJECTS), ["t_legacy"])
    assert {name for _, name, _, _ in schema.naming(["T"])} == {"t", "child", "t_a", "v", "g"}
    assert schema.fingerprints_of(["t"]) != schema.without(["child"]).fingerprints_of(["t"])
    assert schema.fingerprints_of(["t"]) == schema.without(["w"]).fingerprints_of(["T"])


def test_objects_are_found_without_regard_to_case():
    schema = read_schema(database(*OBJECTS))
    assert schema.table("CHILD").name == "child"
    assert schema.table("t_a") is None
    assert schema.named("T_A").kind == "index"
    assert schema.text("nowhere") is None
    assert [o.name for o in schema.on_table("T", "index", "trigger")] == ["t_a"]
    assert {o.name for o in schema.without(["T"]).objects} & {"t", "t_a", "v"} == {"v"}


def test_a_fingerprint_knows_meaning_and_not_layout():
    one = read_schema(database("CREATE TABLE t (a TEXT)", "CREATE INDEX i ON t (a)"))
    same = read_schema(database('CREATE TABLE "T" ([a] TEXT -- x\n)', "CREATE INDEX I ON T(a)"))
    other = read_schema(database("CREATE TABLE t (a TEXT)", "CREATE INDEX i ON t (a DESC)"))
    assert one.fingerprint == same.fingerprint != other.fingerprint


def test_leftovers_are_this_tools_objects_and_no_others():
    assert set(own_objects(database(*OBJECTS, "CREATE TABLE xmig_t (a)"))) == {"_mig_t", "_mig_i", "_mig_g"}


@pytest.mark.parametrize("name", ["i", '"on"', "[a b]", "'q'", 'main."x"'])
def test_the_name_of_an_index_is_what_stands_before_its_table(name):
    sql = f'CREATE UNIQUE INDEX IF NOT EXISTS {name} ON t (a) WHERE "on" > 0'
    expected = {"i": "i", '"on"': "on", "[a b]": "a b", "'q'": "q", 'main."x"': "x"}[name]
    assert index_name(sql) == expected


def test_columns_come_in_their_order_and_a_table_that_is_not_there_has_none():
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (b, a, c AS (a))")
    assert columns_of(connection, "t") == ("b", "a")
    assert columns_of(connection, "u") == ()


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("CREATE INDEX i ON t (a)", None),
        ("CREATE UNIQUE INDEX i ON t (a)", Unique("t", "a", ("a",), "", "i")),
        (
            'create unique index if not exists "x y" on "t t"(a COLLATE RTRIM DESC, max(b, \'x,y\') asc) WHERE a > 0;',
            Unique("t t", "a COLLATE RTRIM and max(b, 'x,y')", ("a COLLATE RTRIM", "max(b, 'x,y')"), "a > 0", "x y"),
        ),
        (
            'CREATE UNIQUE INDEX i ON t ("asc", -- one\n [desc] /* two */ desc -- three\n)',
            Unique("t", '"asc" and [desc]', ('"asc"', "[desc]"), "", "i"),
        ),
    ],
)
def test_what_a_unique_index_keeps_apart_is_told_by_its_statement(sql, expected):
    assert unique_index(sql) == expected
