"""What stands around a table that is rebuilt stays: child rows, triggers, views, indexes, statistics."""

import sqlite3

import pytest

from migrator.errors import RefusedError
from migrator.migration import Change
from tests.unit.migrating import back, cells, database, forward, migration, one, plan_for
from tests.unit.notes_in_memory import AFTER, BEFORE, NOTES, ROWS, notes

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


@pytest.mark.parametrize("columns", ["place", 'mood, "Place"'])
def test_a_trigger_that_waits_for_a_column_that_goes_is_refused(columns):
    waiting = f"CREATE TRIGGER moved AFTER UPDATE OF {columns} ON notes BEGIN SELECT 1; END"
    with pytest.raises(
        RefusedError, match="trigger moved of table notes names column 'place', which the migration rem"
    ):
        plan_for(notes(waiting), [NOTES])


def test_a_trigger_that_waits_for_a_new_column_is_refused_on_the_way_back():
    connection = notes()
    forward(connection, NOTES)
    connection.execute("CREATE TRIGGER rated UPDATE OF stars ON notes BEGIN SELECT 1; END")
    with pytest.raises(RefusedError, match="trigger rated of table notes names column 'stars'"):
        plan_for(connection, [NOTES], reverse=True)


def test_a_trigger_that_writes_a_table_called_of_stays():
    connection = notes(
        "CREATE TABLE of (place)",
        "CREATE TRIGGER t DELETE ON notes BEGIN UPDATE of SET place = 1; END",
        "CREATE TRIGGER u AFTER UPDATE OF body ON notes BEGIN UPDATE of SET place = 1; END",
    )
    for way in (forward, back):
        way(connection, NOTES)
        assert one(connection, "SELECT count(*) FROM sqlite_master WHERE type = 'trigger'") == 2


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
