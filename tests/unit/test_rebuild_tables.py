"""Rebuilding tables whose values change, and what of a stored text is refused; see also rebuilds/."""

import pytest

from migrator.ddl import quote
from migrator.errors import RefusedError
from migrator.migration import Change
from tests.unit.migrating import back, cells, database, everything, forward, migration, one, plan_for
from tests.unit.notes_in_memory import AFTER, BEFORE, NOTES, ROWS, notes


@pytest.mark.parametrize("statements", [(), (ROWS, "DELETE FROM sqlite_sequence")])
def test_a_table_without_a_mark_is_rebuilt(statements):
    connection = database(BEFORE, *statements)
    rows = len(cells(connection, "notes"))
    forward(connection, NOTES)
    assert len(cells(connection, "notes")) == rows
    connection.execute("INSERT INTO notes (body) VALUES ('new')")
    assert one(connection, "SELECT max(id) FROM notes") == rows + 1


def test_a_column_that_is_called_autoincrement_makes_no_mark():
    table = 'CREATE TABLE notes (id INTEGER PRIMARY KEY, "autoincrement" TEXT)'
    connection = database(table, "INSERT INTO notes VALUES (4, 'x')")
    forward(
        connection,
        migration(Change("notes", table, 'CREATE TABLE notes (id INTEGER PRIMARY KEY, "autoincrement" TEXT, b)')),
    )
    assert cells(connection, "notes") == [(4, 4, ("text", b"x"), None)]


@pytest.mark.parametrize(
    "columns",
    [
        "a TEXT PRIMARY KEY, b INTEGER, c TEXT",
        "a TEXT, b INTEGER, c TEXT, PRIMARY KEY (b, a)",
        "a COLLATE NOCASE PRIMARY KEY, b, c TEXT",
    ],
)
def test_tables_without_rowid_are_rebuilt_by_their_keys(columns):
    text = f"CREATE TABLE t ({columns}) WITHOUT ROWID"
    after = text.replace("c TEXT", "d INTEGER, c TEXT")
    changed = migration(Change("t", text, after, values={"c": "upper(c)", "d": "b * 2"}))
    connection = database(
        text, "INSERT INTO t (a, b, c) VALUES ('x', 2, 'low'), ('Y', 1, NULL), ('z', 1, 'UP'), ('', 3, x'00')"
    )
    was = everything(connection)
    forward(connection, changed)
    assert connection.execute("SELECT a, b, c, d FROM t ORDER BY b, a").fetchall() == [
        ("Y", 1, None, 2), ("z", 1, "UP", 2), ("x", 2, "LOW", 4), ("", 3, "\x00", 6),
    ]  # fmt: skip
    connection.execute("UPDATE t SET d = 99 WHERE a = 'z'")
    back(connection, changed)
    assert {name: rows for name, rows in everything(connection).items() if name not in ("", "t_ahead")} == {
        "t": was["t"]
    }
    forward(connection, changed)
    assert connection.execute("SELECT d FROM t ORDER BY b, a").fetchall() == [(2,), (99,), (4,), (6,)]


STORED = """CREATE TABLE "notes" (
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- never reused
    body TEXT NOT NULL ON CONFLICT REPLACE DEFAULT '-' COLLATE NOCASE /* what was said */,
    mood TEXT,
    place TEXT, -- goes
    CHECK (length(body) < 100), -- short ones
    CONSTRAINT once UNIQUE (body, mood)
) STRICT"""


def test_what_nobody_names_stays_letter_by_letter_with_its_remarks():
    connection = notes(table=STORED)
    forward(connection, NOTES)
    assert one(connection, "SELECT sql FROM sqlite_master WHERE name = 'notes'") == (
        'CREATE TABLE "notes" (\n'
        "    id INTEGER PRIMARY KEY AUTOINCREMENT, -- never reused\n"
        " stars INTEGER,"
        "    body TEXT NOT NULL ON CONFLICT REPLACE DEFAULT '-' COLLATE NOCASE, /* what was said */"
        "\n    mood TEXT,"
        "    CHECK (length(body) < 100), -- short ones\n"
        "    CONSTRAINT once UNIQUE (body, mood)) STRICT"
    )


def test_no_collation_hides_what_a_value_was():
    connection = notes(table=BEFORE.replace("mood TEXT", "mood TEXT COLLATE NOCASE"))
    before = everything(connection)
    changed = migration(Change("notes", BEFORE, BEFORE, values={"mood": "lower(mood)"}))
    forward(connection, changed)
    assert connection.execute("SELECT mood FROM notes WHERE mood = 'GOOD'").fetchall() == [("good",)]
    back(connection, changed)
    assert everything(connection) == before


def test_a_constraint_on_a_column_that_goes_is_refused():
    with pytest.raises(RefusedError, match=r"constraint 'CHECK \(place <> 1\)' of table notes names column 'place'"):
        plan_for(notes(table=BEFORE.replace("place TEXT)", "place TEXT, CHECK (place <> 1))")), [NOTES])


@pytest.mark.parametrize("check", ["body <> place", 'length(body) > 2 OR body <> "Place"', "length([place]) < 9"])
def test_a_stored_definition_that_names_a_column_that_goes_is_refused(check):
    table = BEFORE.replace("body TEXT NOT NULL", f"body TEXT NOT NULL CHECK ({check})")
    with pytest.raises(RefusedError, match=r"the definition 'body TEXT NOT NULL CHECK .* names column 'place'"):
        plan_for(database(table), [NOTES])


def test_a_computed_column_that_names_a_column_that_goes_is_refused():
    before = "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, gone TEXT, size AS (length(a)))"
    changed = migration(Change("t", before, before.replace(", gone TEXT", "")))
    stored = before.replace("AS (length(a))", 'AS (length(a) + length("gone"))')
    with pytest.raises(
        RefusedError, match=r"the definition 'size AS .* names column 'gone', which the migration removes"
    ):
        plan_for(database(stored), [changed])


def test_what_only_has_the_name_of_a_column_that_goes_stays():
    columns = "body TEXT NOT NULL CONSTRAINT place CHECK (body <> 'place') REFERENCES places (place)"
    table = BEFORE.replace("body TEXT NOT NULL", columns).replace("place TEXT)", (
        "place TEXT, CONSTRAINT place UNIQUE (body), FOREIGN KEY (mood) REFERENCES places (place))"
    ))  # fmt: skip
    connection = notes("CREATE TABLE places (place TEXT)", table=table)
    forward(connection, NOTES)
    text = one(connection, "SELECT sql FROM sqlite_master WHERE name = 'notes'")
    assert columns in text and "CONSTRAINT place UNIQUE (body), FOREIGN KEY (mood) REFERENCES places (place)" in text


@pytest.mark.parametrize(
    "table",
    [
        BEFORE.replace("place TEXT)", "place TEXT, CHECK (notes.id > 0))"),
        BEFORE.replace("body TEXT NOT NULL", 'body TEXT NOT NULL CHECK (length("Notes".body) > 0)'),
    ],
)
@pytest.mark.parametrize(
    "changed", [NOTES, migration(Change("notes", values={"body": "upper(body)"}))], ids=["rebuilt", "rows only"]
)
def test_a_column_with_the_tables_own_name_before_it_is_refused(table, changed):
    message = "of table notes names a column as notes.column, .*; make the table again without 'notes' and the dot"
    with pytest.raises(RefusedError, match=message):
        plan_for(notes(table=table), [changed])


@pytest.mark.parametrize(
    ("declared", "wanted", "stored", "expected"),
    [
        ("", "", " STRICT", True),
        ("", " STRICT", "", True),
        (" STRICT", "", " STRICT", False),
        (" STRICT", " STRICT", "", False),
    ],
)
def test_what_stands_after_the_list_changes_where_the_migration_changes_it(declared, wanted, stored, expected):
    connection = notes(table=BEFORE + stored)
    forward(connection, migration(Change("notes", BEFORE + declared, AFTER + wanted)))
    assert one(connection, "SELECT strict FROM pragma_table_list WHERE name = 'notes'") == expected


def test_columns_named_like_keywords_are_columns():
    before = 'CREATE TABLE "order" ("select" INTEGER PRIMARY KEY, "from" TEXT, [where] TEXT, "group" TEXT)'
    after = 'CREATE TABLE "order" ("select" INTEGER PRIMARY KEY, "table" INTEGER, "from" TEXT, "where" TEXT)'
    changed = migration(Change("order", before, after, values={"from": 'upper("from")', "table": 'length("from")'}))
    connection = database(before, "INSERT INTO \"order\" VALUES (1, 'a', 'b', 'c'), (2, NULL, NULL, NULL)")
    was = everything(connection)
    forward(connection, changed)
    assert connection.execute('SELECT * FROM "order"').fetchall() == [(1, 1, "A", "b"), (2, None, None, None)]
    back(connection, changed)
    assert everything(connection) == was


@pytest.mark.parametrize("name", ['x"; DROP TABLE y; --', "two words", "größe", "rowid", "a'b", "[x", "`"])
def test_odd_names_are_only_names(name):
    before = f"CREATE TABLE {quote(name)} (id INTEGER PRIMARY KEY, {quote(name)} TEXT)"
    after = f"CREATE TABLE {quote(name)} (id INTEGER PRIMARY KEY, new, {quote(name)} TEXT)"
    changed = migration(Change(name, before, after, values={name: f"upper({quote(name)})"}))
    connection = database("CREATE TABLE y (a)", before, f"INSERT INTO {quote(name)} VALUES (1, 'low')")
    was = everything(connection)
    forward(connection, changed)
    assert connection.execute(f"SELECT * FROM {quote(name)}").fetchall() == [(1, None, "LOW")]
    back(connection, changed)
    assert everything(connection) == was


def test_a_table_with_a_computed_column_is_rebuilt_and_computes_on():
    before = "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, size AS (length(a)) STORED)"
    after = "CREATE TABLE t (id INTEGER PRIMARY KEY, b, a TEXT, size AS (length(a)) STORED)"
    connection = database(before, "INSERT INTO t (a) VALUES ('abc')")
    was = everything(connection)
    changed = migration(Change("t", before, after, values={"a": "a || 'd'"}))
    forward(connection, migration(*changed.changes))
    assert connection.execute("SELECT * FROM t").fetchall() == [(1, None, "abcd", 4)]
    back(connection, changed)
    assert everything(connection) == was


@pytest.mark.parametrize("name", ["_was_place", "_AGAIN_mood", "_left_body", "_same_id", "_new_stars", "_mig_there"])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_column_that_is_called_what_the_statements_call_a_value_is_refused(name, reverse):
    named = [text.replace("mood TEXT", f"mood TEXT, {name} TEXT") for text in (BEFORE, AFTER)]
    changed = migration(Change("notes", *named, values={"mood": "lower(mood)"}))
    with pytest.raises(RefusedError, match=f"column '{name}' of table notes is called what this tool calls .*; rename"):
        plan_for(database(named[reverse]), [changed], reverse=reverse)


@pytest.mark.parametrize("written", ["word", '"word"', "[word]", "`word`", "'word'"])
def test_a_new_column_holds_a_default_that_is_a_name(written):
    connection = notes()
    forward(
        connection,
        migration(Change("notes", BEFORE, BEFORE.replace("mood TEXT", f"mood TEXT, n TEXT DEFAULT {written}"))),
    )
    connection.execute("INSERT INTO notes (body) VALUES ('new')")
    assert connection.execute("SELECT DISTINCT n FROM notes").fetchall() == [("word",)]


@pytest.mark.parametrize(("written", "held"), [("TRUE", 1), ("null", None), ("CURRENT_DATE", None)])
def test_a_default_that_only_looks_like_a_name_is_its_value(written, held):
    connection = notes()
    forward(
        connection,
        migration(Change("notes", BEFORE, BEFORE.replace("mood TEXT", f"mood TEXT, n INT DEFAULT {written}"))),
    )
    assert connection.execute("SELECT DISTINCT n FROM notes").fetchall() == [(held,)]


def test_a_virtual_table_is_refused():
    with pytest.raises(RefusedError, match="not a CREATE TABLE statement"):
        plan_for(database("CREATE VIRTUAL TABLE notes USING fts5(body)"), [NOTES])


def test_another_key_is_refused():
    after = "CREATE TABLE notes (id TEXT PRIMARY KEY, body TEXT NOT NULL, mood TEXT) WITHOUT ROWID"
    before = BEFORE.replace("id INTEGER PRIMARY KEY AUTOINCREMENT", "id TEXT PRIMARY KEY")
    connection = database(before)
    with pytest.raises(RefusedError, match="identifies its rows by"):
        plan_for(connection, [migration(Change("notes", before, after))])
