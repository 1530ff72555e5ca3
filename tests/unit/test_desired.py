"""A desired schema is read as data: what makes a schema is taken, anything else is refused with its file and line."""

import sqlite3
from contextlib import closing

import pytest

from migrator.authoring.desired import DesiredError, read_desired
from migrator.ddl import canonical
from migrator.schema import read_schema
from tests.notes import make_notes
from tests.unit.migrating import database


@pytest.fixture
def file(tmp_path):
    return tmp_path / "schema.sql"


def _read(file, text):
    file.write_text(text, encoding="utf-8")
    return [(o.kind, o.name, o.table, o.sql) for o in read_desired(file).objects]


def test_every_kind_of_statement_is_read_with_remarks_between(file):
    text = """-- the schema; as it shall be
CREATE TABLE IF NOT EXISTS main.notes (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT CHECK (length(body) > 1)
  DEFAULT (lower('X;')), loud TEXT AS (upper(body)) STORED); /* no; end */
create unique index by_body on notes(lower(body)) where body > '';;
CREATE TRIGGER logged AFTER INSERT ON notes WHEN new.body = ';' BEGIN
  DELETE FROM notes WHERE id = 1; SELECT CASE 1 WHEN 1 THEN 2 END;
END;
CREATE VIEW bodies AS SELECT body FROM notes
"""
    assert _read(file, text) == [
        (
            "table", "notes", "notes",
            "CREATE TABLE notes (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT CHECK (length(body) > 1)\n"
            "  DEFAULT (lower('X;')), loud TEXT AS (upper(body)) STORED)",
        ),
        ("index", "by_body", "notes", "CREATE UNIQUE INDEX by_body on notes(lower(body)) where body > ''"),
        (
            "trigger", "logged", "notes",
            "CREATE TRIGGER logged AFTER INSERT ON notes WHEN new.body = ';' BEGIN\n"
            "  DELETE FROM notes WHERE id = 1; SELECT CASE 1 WHEN 1 THEN 2 END;\nEND",
        ),
        ("view", "bodies", "bodies", "CREATE VIEW bodies AS SELECT body FROM notes"),
    ]  # fmt: skip


def test_what_sqlites_shell_lists_of_a_database_is_read_as_its_schema(file, tmp_path):
    make_notes(tmp_path / "notes.db")
    with closing(sqlite3.connect(tmp_path / "notes.db")) as connection:
        listed = [sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")]
        schema = read_schema(connection)
    assert "CREATE TABLE sqlite_sequence(name,seq)" in listed
    file.write_text(";\n".join(listed))
    assert read_desired(file) == schema
    assert [o.name for o in read_desired(file, own=["tags"]).objects] == ["notes", "bodies", "tagged"]


@pytest.mark.parametrize(
    "statement",
    [
        "ATTACH '{}' AS other",
        "INSERT INTO t VALUES (1)",
        "SELECT load_extension('libx')",
        "PRAGMA user_version = 7",
        "EXPLAIN CREATE TABLE u (a)",
        "BEGIN",
        "VACUUM INTO '{}'",
        "ANALYZE",
        "REINDEX",
        "DROP TABLE t",
        "ALTER TABLE t ADD COLUMN b",
        "WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x",
        "CREATE TEMP TABLE u (a)",
        "CREATE TEMPORARY VIEW v AS SELECT 1",
        "CREATE",
        "'CREATE TABLE u (a)'",
        "garbage",
    ],
)
def test_any_other_statement_is_refused_with_its_line(file, tmp_path, statement):
    text = f"CREATE TABLE t (a);\n\n-- next\n{statement.format(tmp_path / 'made.db')};\nCREATE TABLE u (b);"
    with pytest.raises(DesiredError, match=r"schema\.sql:4: .*only CREATE TABLE, INDEX, TRIGGER and VIEW"):
        _read(file, text)
    assert [path.name for path in tmp_path.iterdir()] == ["schema.sql"]


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE u AS SELECT * FROM t",
        "CREATE TABLE temp.u (a)",
        "CREATE VIEW temp.v AS SELECT 1",
        "CREATE TRIGGER temp.x AFTER INSERT ON t BEGIN SELECT 1; END",
    ],
)
def test_a_create_statement_that_does_more_is_refused_by_the_authorizer(file, statement):
    with pytest.raises(DesiredError, match=r"schema\.sql:2: .*it does more than make a table, index, trigger or view"):
        _read(file, f"CREATE TABLE t (a);\n{statement}")


def test_what_a_view_or_a_default_would_do_is_not_done(file):
    called = "load_extension('libx')"
    text = f"CREATE TABLE t (a DEFAULT ({called}) CHECK ({called}));CREATE VIEW v AS SELECT {called}"
    assert [kind for kind, *_ in _read(file, text)] == ["table", "view"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "CREATE TABLE t (a);\nCREATE INDEX i ON u (a)",
            r":2: .*SQLite refuses it \(no such table: main.u\); correct it",
        ),
        ("\nCREATE TABLE t (a", r":2: .*SQLite refuses it \(incomplete input\)"),
        ("CREATE TABLE t (a);CREATE TABLE IF NOT EXISTS T (b)", ":1: .*the name 'T' is taken by a statement above"),
        ("CREATE TABLE _mig_t (a)", ":1: .*names that begin with _mig_ are this tool's own"),
        ("-- nothing\n;", "makes no table"),
        ("CREATE TABLE t (a\x00)", "holds a NUL"),
    ],
)
def test_a_file_that_makes_no_schema_says_why(file, text, message):
    with pytest.raises(DesiredError, match=message):
        _read(file, text)


def test_a_file_that_cannot_be_read_is_refused(file):
    with pytest.raises(DesiredError, match="cannot be read"):
        read_desired(file)
    file.write_bytes(b"CREATE TABLE t (\xff)")
    with pytest.raises(DesiredError, match="cannot be read"):
        read_desired(file)


def test_a_mark_of_the_encoding_at_the_start_is_no_part_of_the_first_statement(file):
    file.write_text("CREATE TABLE größe (a)", encoding="utf-8-sig")
    assert [o.name for o in read_desired(file).objects] == ["größe"]


@pytest.mark.parametrize("name", ["found", '"found"', "'found'", "main.found", "IF NOT EXISTS [found]"])
def test_a_virtual_table_is_taken_as_it_is_written_and_never_made(file, name):
    text = f"CREATE TABLE notes (body);\nCREATE VIRTUAL TABLE {name} USING made_up(body, content='notes');"
    assert _read(file, text)[1] == (
        "table", "found", "found", "CREATE VIRTUAL TABLE \"found\" USING made_up(body, content='notes')"
    )  # fmt: skip


def test_a_virtual_table_means_what_sqlite_stores_of_it(file):
    with closing(database("CREATE VIRTUAL TABLE IF NOT EXISTS main.found USING fts5 (body)")) as connection:
        stored = read_schema(connection).table("found")
    read = _read(file, "CREATE TABLE t (a); CREATE VIRTUAL TABLE found USING fts5 (body);")[1]
    assert canonical(read[3]) == canonical(stored.sql)
