"""Rebuilding a table: what the migration does not name stays as it was."""

import sqlite3
from dataclasses import replace

import pytest

from migrator.connect import PragmaError
from migrator.ddl import quote
from migrator.errors import RefusedError, RehearsalError
from migrator.migration import Back, Change
from migrator.plan import TablePlan
from migrator.rebuild import SETTINGS, convert_data, keep_originals, rebuild_settings, rebuild_table
from tests.unit.migrating import back, cells, database, everything, forward, migration, one, plan_for, promote, tables

BEFORE = "CREATE TABLE notes (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL, mood TEXT, place TEXT)"
AFTER = "CREATE TABLE notes (id INTEGER PRIMARY KEY AUTOINCREMENT, stars INTEGER, body TEXT NOT NULL, mood TEXT)"
NOTES = migration(Change("notes", BEFORE, AFTER, values={"mood": "lower(mood)"}))
ROWS = "INSERT INTO notes (body, mood, place) VALUES ('a', 'GOOD', 'x'), ('b', 'bad', NULL), ('c', NULL, 'z')"


def notes(*statements: str, table: str = BEFORE) -> sqlite3.Connection:
    return database(table, ROWS, *statements)


def pragmas(connection: sqlite3.Connection) -> list[object]:
    return [one(connection, f"PRAGMA {name}") for name, _ in SETTINGS]


def test_the_settings_hold_inside_and_the_old_ones_afterwards():
    connection = notes("PRAGMA foreign_keys=ON", "PRAGMA secure_delete=ON")
    before = pragmas(connection)
    assert before == [1, 0, 1]
    with rebuild_settings(connection):
        assert pragmas(connection) == [0, 1, 0]
    assert pragmas(connection) == before
    with pytest.raises(ZeroDivisionError), rebuild_settings(connection):
        _ = 1 / 0
    assert pragmas(connection) == before


def test_a_transaction_that_is_open_already_is_an_error_and_nothing_is_rebuilt():
    connection = notes("PRAGMA foreign_keys=ON", "BEGIN")
    before = everything(connection)
    entered = False
    with pytest.raises(PragmaError, match="inside an open transaction would be ignored"), rebuild_settings(connection):
        entered = True
    assert (entered, connection.in_transaction) == (False, True)
    assert everything(connection) == before
    connection.execute("ROLLBACK")


@pytest.mark.parametrize(
    ("statements", "mark"),
    [
        ((), 3),
        (("DELETE FROM notes WHERE id = 3",), 3),
        (("DELETE FROM notes",), 3),
        (("UPDATE sqlite_sequence SET seq = 90",), 90),
    ],
)
def test_an_id_that_was_ever_given_is_not_given_again(statements, mark):
    connection = notes(*statements)
    forward(connection, NOTES)
    assert connection.execute("SELECT * FROM sqlite_sequence").fetchall() == [("notes", mark)]
    connection.execute("INSERT INTO notes (body) VALUES ('new')")
    assert one(connection, "SELECT max(id) FROM notes") == mark + 1
    back(connection, NOTES)
    assert one(connection, "SELECT seq FROM sqlite_sequence WHERE name = 'notes'") == mark + 1


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


CHILDREN = (
    "CREATE TABLE gone (note INTEGER REFERENCES notes (id) ON DELETE CASCADE)",
    "CREATE TABLE emptied (note INTEGER REFERENCES notes ON DELETE SET NULL ON UPDATE CASCADE)",
    "CREATE TABLE firm (note INTEGER REFERENCES notes (id))",
    *(f"INSERT INTO {child} VALUES (1), (2), (NULL)" for child in ("gone", "emptied", "firm")),
)


def test_child_rows_stay_with_foreign_keys_on_and_their_keys_still_mean_the_table():
    connection = notes(*CHILDREN, "PRAGMA foreign_keys=ON")
    before = {child: cells(connection, child) for child in ("gone", "emptied", "firm")}
    texts = connection.execute("SELECT sql FROM sqlite_master WHERE name IN ('gone', 'emptied', 'firm')").fetchall()
    for way in (forward, back):
        way(connection, NOTES)
        assert {child: cells(connection, child) for child in before} == before
        assert (
            connection.execute("SELECT sql FROM sqlite_master WHERE name IN ('gone', 'emptied', 'firm')").fetchall()
            == texts
        )
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute("INSERT INTO gone VALUES (99)")
    connection.execute("DELETE FROM firm")
    connection.execute("DELETE FROM notes WHERE id = 1")
    assert connection.execute("SELECT note FROM gone").fetchall() == [(2,), (None,)]
    assert connection.execute("SELECT note FROM emptied").fetchall() == [(None,), (2,), (None,)]


DEPENDENTS = (
    "CREATE TABLE log (what TEXT)",
    "CREATE TRIGGER own AFTER INSERT ON notes BEGIN INSERT INTO log VALUES ('own ' || new.body); END",
    "CREATE TRIGGER own_update AFTER UPDATE OF body ON notes WHEN new.body <> old.body "
    "BEGIN INSERT INTO log VALUES ('up'); END",
    "CREATE TRIGGER foreign_one AFTER DELETE ON log BEGIN INSERT INTO notes (body) VALUES ('from log'); END",
    "CREATE VIEW bodies AS SELECT id, body FROM notes",
    "CREATE TRIGGER through INSTEAD OF INSERT ON bodies BEGIN INSERT INTO notes (body) VALUES (new.body); END",
)


def test_triggers_and_views_stay_and_still_work():
    connection = notes(*DEPENDENTS)
    query = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE type IN ('trigger', 'view') ORDER BY name"
    before = connection.execute(query).fetchall()
    for way in (forward, back):
        way(connection, NOTES)
        assert connection.execute(query).fetchall() == before
        assert connection.execute("SELECT * FROM log").fetchall() == []
        connection.execute("INSERT INTO bodies (body) VALUES ('via view')")
        connection.execute("UPDATE notes SET body = 'B' WHERE id = 2")
        assert connection.execute("SELECT what FROM log").fetchall() == [("own via view",), ("up",)]
        connection.execute("DELETE FROM log WHERE what = 'up'")
        assert connection.execute("SELECT body FROM notes ORDER BY id DESC LIMIT 1").fetchall() == [("from log",)]
        connection.execute("DELETE FROM log")
        connection.execute("DELETE FROM log")
        connection.execute("UPDATE notes SET body = 'b' WHERE id = 2")
        connection.execute("DROP TRIGGER foreign_one")
        connection.execute("DELETE FROM log")
        connection.execute(next(sql for *_, sql in before if "foreign_one" in sql))


USER_INDEXES = (
    "CREATE INDEX part ON notes (mood) WHERE mood IS NOT NULL",
    'CREATE UNIQUE INDEX "odd ""name" ON notes (lower(body), id DESC)',
    "CREATE INDEX sorted ON NOTES (body COLLATE NOCASE DESC, mood)",
)


def test_indexes_of_every_kind_stay():
    connection = notes(*USER_INDEXES, "ANALYZE")
    query = "SELECT name, sql FROM sqlite_master WHERE type = 'index' ORDER BY name"
    before = connection.execute(query).fetchall()
    for way in (forward, back):
        way(connection, NOTES)
        assert connection.execute(query).fetchall() == before
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute("INSERT INTO notes (id, body) VALUES (4, 'd'), (4, 'e')")


@pytest.mark.parametrize(
    "index", ["i ON notes (place)", 'i ON notes (body, "Place")', "i ON notes (body) WHERE place > 'x'"]
)
def test_an_index_on_a_column_that_goes_is_refused(index):
    with pytest.raises(
        RefusedError, match="index i of table notes names column 'place', which the migration removes; drop"
    ):
        plan_for(notes(f"CREATE INDEX {index}"), [NOTES])


def test_an_index_that_only_has_the_name_of_such_a_column_stays():
    connection = notes("CREATE INDEX place ON notes (body)")
    forward(connection, NOTES)
    assert one(connection, "SELECT sql FROM sqlite_master WHERE name = 'place'") == "CREATE INDEX place ON notes (body)"


def test_statistics_stay_for_what_still_exists():
    table = BEFORE.replace("body TEXT NOT NULL", "body TEXT NOT NULL UNIQUE")
    after = AFTER.replace("stars INTEGER", "stars INTEGER UNIQUE").replace(
        "body TEXT NOT NULL", "body TEXT NOT NULL UNIQUE"
    )
    changed = migration(Change("notes", table, after))
    connection = database(table, ROWS, "CREATE TABLE other (x)", "INSERT INTO other VALUES (1)")
    connection.execute("CREATE INDEX mine ON notes (mood, body)")
    connection.execute("ANALYZE")
    query = "SELECT tbl, idx, stat FROM sqlite_stat1 ORDER BY 1, 2"
    before = connection.execute(query).fetchall()
    assert before == [
        ("notes", "mine", "3 1 1"),
        ("notes", "sqlite_autoindex_notes_1", "3 1"),
        ("other", None, "1"),
    ]
    forward(connection, changed)
    # Number 1 is the index on stars now, of which nothing is known.
    assert connection.execute(query).fetchall() == [("notes", "mine", "3 1 1"), ("other", None, "1")]
    connection.execute("ANALYZE")
    back(connection, changed)
    assert connection.execute(query).fetchall() == [("notes", "mine", "3 1 1"), ("other", None, "1")]


def test_statistics_of_a_table_whose_indexes_stay_are_the_same():
    connection = notes(*USER_INDEXES, "ANALYZE")
    query = "SELECT * FROM sqlite_stat1 ORDER BY 1, 2"
    before = connection.execute(query).fetchall()
    assert len(before) == 3
    for way in (forward, back):
        way(connection, NOTES)
        assert connection.execute(query).fetchall() == before


@pytest.mark.parametrize(
    ("before", "after", "rows"),
    [
        ("a TEXT, b", "b, n INTEGER, a TEXT", "(rowid, a) VALUES (-5, 'x'), (7, 'y'), (9007199254740993, 'z')"),
        ("a TEXT PRIMARY KEY, b", "a TEXT PRIMARY KEY, n, b", "(rowid, a) VALUES (7, 'y'), (3, 'x')"),
        ("rowid TEXT, b", "b, n, rowid TEXT", "(_rowid_, rowid) VALUES (7, 'y'), (3, NULL)"),
        ("rowid, _rowid_, b", "_rowid_, rowid, n, b", "(oid, rowid, _rowid_) VALUES (7, 'y', 2), (3, NULL, x'00')"),
    ],
)
def test_rows_without_a_key_of_their_own_keep_their_rowids(before, after, rows):
    connection = database(f"CREATE TABLE t ({before})", f"INSERT INTO t {rows}")
    was = everything(connection)
    changed = migration(
        Change("t", f"CREATE TABLE t ({before})", f"CREATE TABLE t ({after})", values={"b": "coalesce(b, 'B')"})
    )
    rowids = [row[0] for row in cells(connection, "t")]
    forward(connection, changed)
    assert [row[0] for row in cells(connection, "t")] == rowids
    assert connection.execute("SELECT DISTINCT b, n FROM t").fetchall() == [("B", None)]
    back(connection, changed)
    assert everything(connection) == was


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


def test_collations_checks_conflict_clauses_and_comments_that_nobody_names_stay():
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
    connection.execute("INSERT INTO notes (body, mood) VALUES (NULL, 'x')")
    assert connection.execute("SELECT count(*) FROM notes WHERE body = 'A' OR body = '-'").fetchall() == [(2,)]
    for statement in (
        "INSERT INTO notes (body, mood) VALUES (hex(zeroblob(50)), 'x')",
        "INSERT INTO notes (body, mood) VALUES ('A', 'good')",
        "INSERT INTO notes (body, stars) VALUES ('q', 'many')",
    ):
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute(statement)


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


def test_a_virtual_table_is_refused():
    with pytest.raises(RefusedError, match="not a CREATE TABLE statement"):
        plan_for(database("CREATE VIRTUAL TABLE notes USING fts5(body)"), [NOTES])


def test_another_key_is_refused():
    after = "CREATE TABLE notes (id TEXT PRIMARY KEY, body TEXT NOT NULL, mood TEXT) WITHOUT ROWID"
    before = BEFORE.replace("id INTEGER PRIMARY KEY AUTOINCREMENT", "id TEXT PRIMARY KEY")
    connection = database(before)
    with pytest.raises(RefusedError, match="identifies its rows by"):
        plan_for(connection, [migration(Change("notes", before, after))])


def only_table(connection: sqlite3.Connection) -> TablePlan:
    return plan_for(connection, [NOTES]).tables[0]


@pytest.mark.parametrize(
    "copied",
    [
        "(id, body, mood) SELECT id, body, lower(mood) FROM notes WHERE id < 3",
        "(id, body, mood) SELECT id, body, lower(mood) FROM notes UNION SELECT 9, '9', '9'",
        "(id, body, mood) SELECT id, body, mood FROM notes",
        "(id, body, mood, stars) SELECT id, body, lower(mood), 0 FROM notes",
        "(id, body, mood) SELECT id, CAST(body AS BLOB), lower(mood) FROM notes",
        "(id, body, mood) SELECT id + 10, body, lower(mood) FROM notes",
    ],
)
def test_a_copy_that_is_not_the_projection_is_refused_and_rolled_back(copied: str):
    connection = notes()
    plan = plan_for(connection, [NOTES])
    before = everything(connection)
    broken = replace(plan, tables=(replace(plan.tables[0], copy=f'INSERT INTO "_mig_notes" {copied}'),))
    with pytest.raises(RehearsalError, match="table notes: 3 rows, "), connection:
        promote(connection, broken)
    assert everything(connection) == before


def test_a_value_that_its_column_would_store_as_another_is_refused():
    connection = notes()
    wrong = migration(Change("notes", BEFORE, AFTER, values={"stars": "'5'"}))
    with pytest.raises(RehearsalError, match=r"3 of them differ .* give it a CAST"), connection:
        promote(connection, plan_for(connection, [wrong]))


def test_the_number_of_rows_is_what_was_copied_kept_and_filled():
    connection = notes()
    plan = only_table(connection)
    connection.execute("ALTER TABLE notes ADD COLUMN stars INTEGER")
    assert convert_data(connection, plan) == 2
    assert keep_originals(connection, plan) == 2
    with rebuild_settings(connection):
        assert rebuild_table(connection, plan) == 3
    assert tables(connection) == {"notes", "notes_legacy"}


def test_what_waited_is_filled_into_the_added_columns():
    connection = notes()
    forward(connection, NOTES)
    connection.execute("UPDATE notes SET stars = 5 WHERE id = 2")
    back(connection, NOTES)
    plan = only_table(connection)
    connection.execute("ALTER TABLE notes ADD COLUMN stars INTEGER")
    convert_data(connection, plan)
    assert connection.execute("SELECT stars FROM notes").fetchall() == [(None,), (5,), (None,)]


def test_the_added_columns_are_filled_before_the_table_is_rebuilt():
    connection = notes()
    starred = Change(
        "notes", BEFORE, AFTER, values={"stars": "CAST(length(place) AS INTEGER)"}, back={"mood": Back("mood", "mood")}
    )
    plan = plan_for(connection, [migration(starred)]).tables[0]
    assert [(c.name, c.type) for c in plan.added] == [("stars", "INTEGER")]
    connection.execute("ALTER TABLE notes ADD COLUMN stars INTEGER")
    convert_data(connection, plan)
    assert connection.execute("SELECT stars FROM notes").fetchall() == [(1,), (None,), (1,)]


def test_filling_the_added_columns_is_no_event_for_the_tables_own_triggers():
    connection = notes()
    connection.execute("CREATE TABLE seen (event TEXT)")
    for event in ("INSERT", "UPDATE", "DELETE"):
        connection.execute(
            f"CREATE TRIGGER see_{event} AFTER {event} ON notes BEGIN INSERT INTO seen VALUES ('{event}'); END"
        )
    made = connection.execute("SELECT sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name").fetchall()
    starred = Change("notes", BEFORE, AFTER, values={"stars": "1"}, back={"mood": Back("mood", "mood")})
    plan = plan_for(connection, [migration(starred)]).tables[0]
    connection.execute("ALTER TABLE notes ADD COLUMN stars INTEGER")
    convert_data(connection, plan)
    with rebuild_settings(connection):
        rebuild_table(connection, plan)
    assert connection.execute("SELECT * FROM seen").fetchall() == []
    assert connection.execute("SELECT sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name").fetchall() == made
    connection.execute("UPDATE notes SET stars = 2 WHERE id = 2")
    assert connection.execute("SELECT * FROM seen").fetchall() == [("UPDATE",)]
