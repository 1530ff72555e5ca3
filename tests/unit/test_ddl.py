"""CREATE statements as text: what is split comes together again, and what nobody names stays."""

import sqlite3
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrator.ddl import (
    DdlError,
    canonical,
    folded,
    parse_create_table,
    quote,
    tokens,
    without_foreign_keys,
    words,
)

ODD_NAMES = [
    'x"; DROP TABLE y; --',
    "two words",
    "größe",
    "名前",
    "🚀",
    "a'b",
    "a`b",
    "a[b",
    "it's",
    "select",
    "1st",
    "",
]


def shape(sql: str, name: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(":memory:")
    connection.execute(sql)
    found = connection.execute(f"PRAGMA table_xinfo({quote(name)})").fetchall()
    found += connection.execute("SELECT type, wr, strict FROM pragma_table_list WHERE name = ?", (name,)).fetchall()
    connection.close()
    return found


def test_a_list_is_split_at_its_outer_commas():
    text = parse_create_table(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, price DECIMAL(10, 2) DEFAULT (max(1, 2)), "
        "note TEXT DEFAULT 'a, (b' CHECK (note NOT IN (')', ',')), UNIQUE (price, note))"
    )
    assert text.columns == ("id", "price", "note")
    assert [d.text.strip() for d in text.definitions] == [
        "id INTEGER PRIMARY KEY",
        "price DECIMAL(10, 2) DEFAULT (max(1, 2))",
        "note TEXT DEFAULT 'a, (b' CHECK (note NOT IN (')', ','))",
        "UNIQUE (price, note)",
    ]
    assert [d.text.strip() for d in text.constraints] == ["UNIQUE (price, note)"]


@pytest.mark.parametrize("written", ['"a ""b"', '`a "b`', '[a "b]', "'a \"b'"])
def test_a_name_is_read_in_all_four_kinds_of_quotes(written):
    text = parse_create_table(f"CREATE TABLE {written} ({written} TEXT, x)")
    assert (text.name, text.columns) == ('a "b', ('a "b', "x"))
    assert shape(text.sql, 'a "b') == shape(f"CREATE TABLE {written} ({written} TEXT, x)", 'a "b')


@pytest.mark.parametrize("name", ODD_NAMES)
def test_an_odd_name_is_found_and_written_back(name):
    text = parse_create_table(f"CREATE TABLE {quote(name)} ({quote(name)} TEXT, other)")
    assert (text.name, text.columns) == (name, (name, "other"))
    assert [row[1] for row in shape(text.sql, name)[:2]] == [name, "other"]


@pytest.mark.parametrize("name", ["virtual", "temp", "key", "desc", "🚀", "größe", "_", "a$1", "\u2003x"])
def test_a_name_without_quotes_may_be_what_sqlite_takes_for_one(name):
    text = parse_create_table(f"CREATE TABLE {name}({name} TEXT)")
    assert (text.name, text.columns) == (name, (name,))
    assert shape(text.sql, name) == shape(f"CREATE TABLE {name}({name} TEXT)", name)


@pytest.mark.parametrize("column", ['"check"', '"primary"', "[unique]", "`constraint`", "'foreign'"])
def test_a_quoted_keyword_is_a_column_and_no_constraint(column):
    text = parse_create_table(f"CREATE TABLE t ({column} TEXT)")
    assert (text.columns, text.constraints) == ((column[1:-1],), ())


@pytest.mark.parametrize(
    "entry", ["CHECK (a > 0)", "unique(a)", "CONSTRAINT c CHECK (a > 0)", "FOREIGN KEY (a) REFERENCES u"]
)
def test_a_constraint_is_no_column(entry):
    assert parse_create_table(f"CREATE TABLE t (a, {entry})").columns == ("a",)


@pytest.mark.parametrize(
    ("suffix", "without_rowid"),
    [("", False), ("STRICT", False), ("WITHOUT ROWID", True), ("without /* x */ rowid, STRICT", True)],
)
def test_what_stands_after_the_list_stays(suffix, without_rowid):
    text = parse_create_table(f"CREATE TABLE t (a TEXT PRIMARY KEY) {suffix};")
    assert text.without_rowid is without_rowid
    assert shape(text.sql, "t") == shape(f"CREATE TABLE t (a TEXT PRIMARY KEY) {suffix}", "t")


@pytest.mark.parametrize(
    "head", ["CREATE TABLE IF NOT EXISTS t", "create table main.t", 'CREATE TABLE"t"', "CREATE /**/ TABLE t"]
)
def test_the_name_is_the_last_of_the_head(head):
    assert parse_create_table(f"{head} (a)").name == "t"


COMMENTED = """CREATE TABLE t (
    id INTEGER PRIMARY KEY, -- one number, never reused
    -- what was said
    body TEXT /* utf-8, please */ NOT NULL,  /* up
    to here */
    mood TEXT -- the last one
)"""


def test_every_comment_stays_with_its_column():
    text = parse_create_table(COMMENTED)
    assert [(d.text, d.remark) for d in text.definitions] == [
        ("\n    id INTEGER PRIMARY KEY", " -- one number, never reused\n"),
        ("    -- what was said\n    body TEXT /* utf-8, please */ NOT NULL", "  /* up\n    to here */\n"),
        ("    mood TEXT", " -- the last one\n"),
    ]
    assert text.sql == COMMENTED.replace("TABLE t", 'TABLE "t"')


def test_no_comment_swallows_a_comma_when_the_last_column_is_no_longer_the_last():
    text = parse_create_table(COMMENTED)
    turned = type(text)("t", text.definitions[::-1])
    assert [row[1] for row in shape(turned.sql, "t")[:3]] == ["mood", "body", "id"]


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE VIRTUAL TABLE t USING fts5(a)",
        'CREATE VIRTUAL TABLE "table" USING fts5(a)',
        "CREATE TABLE t AS SELECT (1)",
        "CREATE INDEX i ON t (a)",
        "CREATE VIEW v (a) AS SELECT 1",
        "CREATE TEMP TABLE t (a)",
        "CREATE TABLE t",
        "CREATE TABLE t (a",
        "CREATE TABLE t (a,, b)",
        "CREATE TABLE t ()",
        "CREATE TABLE t (a, (b))",
        "",
    ],
)
def test_anything_else_is_refused(sql):
    with pytest.raises(DdlError):
        parse_create_table(sql)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT)", True),
        ("CREATE TABLE t (id INTEGER, PRIMARY KEY (id autoincrement))", True),
        ('CREATE TABLE t (id INTEGER PRIMARY KEY, "autoincrement" TEXT)', False),
        ("CREATE TABLE t (id INTEGER PRIMARY KEY, a DEFAULT 'autoincrement' /* autoincrement */)", False),
    ],
)
def test_autoincrement_is_the_keyword_and_nothing_that_looks_like_it(sql, expected):
    assert parse_create_table(sql).autoincrement is expected


def test_a_definition_is_found_without_regard_to_ascii_case_only():
    text = parse_create_table('CREATE TABLE t (Result TEXT, "É" INTEGER, "é" REAL)')
    assert text.definition("RESULT").text.strip() == "Result TEXT"
    assert text.definition("é").text.strip() == '"é" REAL'
    assert text.definition("nowhere") is None
    assert folded("ÄB c") == "Äb c"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("CREATE TABLE t (a TEXT)", 'create  table "T"(\n[A] text -- x\n)'),
        ("x = 'a' AND y", "X='a' /* and */ and `y`"),
        ('"größe"', "größe"),
    ],
)
def test_layout_case_and_needless_quotes_do_not_count(one, other):
    assert canonical(one) == canonical(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x = 'a'", "x = 'A'"),
        ("x = 'a b'", "x = 'a  b'"),
        ('CREATE TABLE t ("a TEXT")', "CREATE TABLE t (a TEXT)"),
        ("CREATE TABLE t (\"'a'\")", "CREATE TABLE t ('a')"),
        ('"É"', '"é"'),
        ("SELECT 1e5", "SELECT 1 e5"),
        ("DEFAULT 12", "DEFAULT 1"),
    ],
)
def test_what_sqlite_tells_apart_counts(one, other):
    assert canonical(one) != canonical(other)


def test_the_words_are_names_and_keywords_without_strings_and_comments():
    sql = """CREATE TRIGGER "My T" AFTER INSERT ON [Notes] -- Hidden
        BEGIN SELECT 'Text' FROM `b``c`; END"""
    assert words(sql) == (
        "create",
        "trigger",
        "my t",
        "after",
        "insert",
        "on",
        "notes",
        "begin",
        "select",
        "from",
        "b`c",
        "end",
    )


@pytest.mark.parametrize(
    "column",
    [
        "a REFERENCES p",
        "a TEXT NOT NULL REFERENCES p (id) ON DELETE SET NULL ON UPDATE NO ACTION DEFAULT 'x' CHECK (a <> 'MATCH')",
        "a INTEGER CONSTRAINT c REFERENCES 'p'(\"i)\") MATCH FULL NOT DEFERRABLE INITIALLY DEFERRED NOT NULL UNIQUE",
        "a REFERENCES p ON DELETE CASCADE DEFERRABLE INITIALLY IMMEDIATE /* ends */ COLLATE NOCASE",
        "a REFERENCES p REFERENCES q (x) ON UPDATE SET DEFAULT DEFAULT 7",
        'a INTEGER PRIMARY KEY CONSTRAINT "references" NOT NULL ON CONFLICT REPLACE REFERENCES p ON DELETE RESTRICT',
        'a "references" DEFAULT 5',
        "a TEXT, FOREIGN KEY (a) REFERENCES p",
        "a TEXT, UNIQUE (a), CONSTRAINT f FOREIGN KEY (a) REFERENCES p (id) ON DELETE CASCADE, CHECK (a <> 'ON')",
    ],
)
def test_without_its_foreign_keys_a_table_is_the_same_table(column):
    sql = f"CREATE TABLE t (k INTEGER, {column}) /* t */"
    bare = without_foreign_keys(parse_create_table(sql))
    assert "references" not in [token.keyword for token in tokens(bare.sql)]
    with closing(sqlite3.connect(":memory:")) as connection:
        found = []
        for text in (sql, bare.sql):
            connection.execute(text)
            indexes = connection.execute("PRAGMA index_list(t)").fetchall()
            found.append((connection.execute("PRAGMA table_xinfo(t)").fetchall(), indexes))
            keys = connection.execute("PRAGMA foreign_key_list(t)").fetchall()
            connection.execute("DROP TABLE t")
        assert found[0] == found[1]
        assert keys == []
    assert [d.canonical for d in bare.constraints] == [
        d.canonical for d in parse_create_table(sql).constraints if "foreign" not in d.canonical
    ]


NAMES = st.one_of(st.sampled_from(ODD_NAMES), st.text("abcdeXYZ_\"'`[], -/*()", min_size=1, max_size=8))
TYPES = st.sampled_from(["", " TEXT", " INTEGER", " DECIMAL(10, 2)", " VARCHAR ( 5 )", ' "my type"'])
RULES = st.sampled_from(
    ["", " NOT NULL", " DEFAULT 'a, (b'", " DEFAULT (max(1, 2))", " COLLATE NOCASE", " CHECK (1 IN (1, 2))"]
)
GAPS = st.sampled_from(["", " ", "\n  ", " /* a, (b */ ", " -- a ' \" )\n"])


@st.composite
def created_tables(draw):
    name = draw(NAMES)
    columns = draw(st.lists(NAMES, min_size=1, max_size=5, unique_by=folded))
    entries = [quote(c) + draw(TYPES) + draw(RULES) + draw(RULES) for c in columns]
    if draw(st.booleans()):
        entries.append(f"UNIQUE ({quote(columns[0])}, {quote(columns[-1])})" if len(columns) > 1 else "CHECK (1)")
    body = ",".join(draw(GAPS) + entry + draw(GAPS) for entry in entries)
    return name, f"CREATE TABLE {quote(name)}{draw(GAPS)}({body}){draw(st.sampled_from(['', ' /* x */', ' STRICT']))}"


@settings(deadline=None, max_examples=150)
@given(created_tables())
def test_any_table_is_the_same_table_after_it_was_split(created):
    name, sql = created
    try:
        expected = shape(sql, name)
    except sqlite3.OperationalError:
        return
    text = parse_create_table(sql)
    assert shape(text.sql, name) == expected
    assert parse_create_table(text.sql).sql == text.sql
    assert canonical(text.sql) == canonical(sql)
