"""The instant of the swap: names change places, and everybody goes on with what he had."""

import sqlite3
from contextlib import closing

import pytest

from migrator import swap
from migrator.connect import opened
from migrator.errors import PromotionError
from migrator.migration import Change
from tests.unit.going_online import (
    LEDGER,
    application_of,
    applied,
    cleaned,
    in_one,
    made,
    online,
    planned,
    twin_of,
    whole,
)
from tests.unit.migrating import migration

BEFORE = "CREATE TABLE notes (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT, mood TEXT UNIQUE)"
AFTER = "CREATE TABLE notes (id INTEGER PRIMARY KEY AUTOINCREMENT, stars INTEGER, body TEXT, mood TEXT UNIQUE)"
STARS = migration(
    Change("notes", BEFORE, AFTER, values={"body": "upper(body)"}, indexes=("CREATE INDEX by_stars ON notes (stars)",))
)
ROWS = "INSERT INTO notes (body, mood) VALUES ('a', 'x'), ('b', 'y'), ('c', NULL)"


def notes(folder, *statements, journal_mode="wal"):
    return made(folder / "live.db", BEFORE, ROWS, *statements, journal_mode=journal_mode)


def master(path, kind="index"):
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT name, tbl_name, sql FROM sqlite_master WHERE type = ? AND sql IS NOT NULL"
        found = connection.execute(query, (kind,)).fetchall()
    return {name: (table, sql) for name, table, sql in found if table not in LEDGER}


@pytest.mark.parametrize("journal_mode", ["wal", "delete"])
def test_an_index_name_that_the_old_table_holds_changes_hands(folder, journal_mode):
    path = notes(folder, "CREATE INDEX mine ON notes (body)", journal_mode=journal_mode)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        by_index = "SELECT id FROM notes INDEXED BY mine WHERE body = ?"
        assert other.execute(by_index, ("a",)).fetchall() == [(1,)]
        online(path, STARS)
        assert master(path)["mine"] == ("notes", "CREATE INDEX mine ON notes (body)")
        assert master(path)["_mig_mine.old"][0] == "_mig_notes.old"
        # On a connection that was opened before, and then on what is made anew.
        assert other.execute(by_index, ("A",)).fetchall() == [(1,)]
        (plan,) = other.execute(f"EXPLAIN QUERY PLAN {by_index}", ("A",)).fetchall()
        assert "USING COVERING INDEX mine" in plan[3]
        other.execute("INSERT INTO notes (body) VALUES ('new')")
        assert other.execute(by_index, ("new",)).fetchall() == [(4,)]
        other.execute("REINDEX mine")
        other.execute("DROP INDEX mine")
        other.execute("CREATE INDEX mine ON notes (body)")
        assert other.execute(by_index, ("new",)).fetchall() == [(4,)]
        assert other.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    cleaned(path, STARS)
    assert set(master(path)) == {"mine", "by_stars"}
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute(by_index, ("new",)).fetchall() == [(4,)]
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE INDEX mine ON notes (body)",
        "create  unique\n index IF NOT EXISTS main.mine on NOTES(body COLLATE NOCASE DESC) -- remark",
        'CREATE INDEX "mi""ne on t" ON "notes" (body) WHERE mood = \'on\'',
        "CREATE INDEX [on] ON [notes] (lower(body), mood)",
        "CREATE INDEX 'quoted' ON 'notes' (body)",
        "CREATE UNIQUE INDEX /* on */ mine ON/* here */notes(body)",
        "CREATE INDEX Größe ON notes (body, mood) WHERE body IS NOT NULL",
        "CREATE INDEX mine ON notes (body)  ",
    ],
)
@pytest.mark.parametrize("declared", [False, True])
def test_an_index_has_the_text_that_sqlite_would_store(folder, sql, declared):
    change = migration(Change("notes", BEFORE, AFTER, indexes=(sql,))) if declared else STARS
    if not declared and "WHERE" in sql and "UNIQUE" in sql.upper():
        pytest.skip("not online")
    path = notes(folder, *(() if declared else (sql,)))
    twin = twin_of(path)
    in_one(twin, change)
    online(path, change)
    assert whole(cleaned(path, change)) == whole(twin)
    in_one(twin, change, reverse=True)
    online(path, change, reverse=True)
    assert whole(cleaned(path, change)) == whole(twin)


def test_a_declared_index_may_end_in_a_semicolon(folder):
    change = migration(Change("notes", BEFORE, AFTER, indexes=("CREATE INDEX mine ON notes (body);",)))
    path = notes(folder)
    twin = twin_of(path)
    in_one(twin, change)
    online(path, change)
    assert whole(cleaned(path, change)) == whole(twin)


def test_an_index_that_takes_a_dropped_indexs_name_is_the_new_one(folder):
    """On the way back an index of the same name may go while another comes."""
    change = migration(Change("notes", BEFORE, AFTER, indexes=("CREATE INDEX by_stars ON notes (stars, body)",)))
    path = notes(folder)
    online(path, change)
    cleaned(path, change)
    assert set(master(path)) == {"by_stars"}
    online(path, change, reverse=True)
    # The name is free at once: the application, or another table of the run, may take it.
    assert {name: table for name, (table, _) in master(path).items()} == {"_mig_by_stars.old": "_mig_notes.old"}
    cleaned(path, change)
    assert master(path) == {}
    online(path, change)
    assert master(cleaned(path, change)) == {"by_stars": ("notes", "CREATE INDEX by_stars ON notes (stars, body)")}


def test_user_triggers_and_views_stay_and_fire(folder):
    path = notes(
        folder,
        "CREATE TABLE log (what)",
        "CREATE TRIGGER own AFTER INSERT ON Notes BEGIN INSERT INTO log VALUES ('own ' || new.body); END",
        "CREATE VIEW bodies AS SELECT id, body FROM notes",
        "CREATE TRIGGER through INSTEAD OF INSERT ON bodies BEGIN INSERT INTO notes (body) VALUES (new.body); END",
        "CREATE TRIGGER elsewhere AFTER DELETE ON log BEGIN DELETE FROM notes WHERE body = 'via'; END",
    )
    before = master(path, "trigger"), master(path, "view")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("INSERT INTO bodies (body) VALUES ('first')")
        online(path, STARS)
        assert (master(path, "trigger"), master(path, "view")) == before
        other.execute("INSERT INTO bodies (body) VALUES ('via')")
        assert other.execute("SELECT what FROM log").fetchall() == [("own first",), ("own via",)]
        other.execute("DELETE FROM log")
        assert other.execute("SELECT body FROM notes ORDER BY id").fetchall() == [("A",), ("B",), ("C",), ("FIRST",)]


def test_a_childs_foreign_key_means_the_new_table(folder):
    child = "CREATE TABLE child (note INTEGER REFERENCES notes (id) ON DELETE CASCADE, up REFERENCES notes)"
    path = notes(folder, child, "INSERT INTO child VALUES (1, 2), (2, NULL), (NULL, 1), (99, NULL)")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA foreign_keys=ON")
        online(path, STARS)
        assert master(path, "table")["child"][1] == child
        assert other.execute("SELECT * FROM child").fetchall() == [(1, 2), (2, None), (None, 1), (99, None)]
        cleaned(path, STARS)
        assert other.execute("SELECT * FROM child").fetchall() == [(1, 2), (2, None), (None, 1), (99, None)]
        with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
            other.execute("INSERT INTO child VALUES (77, NULL)")
        other.execute("DELETE FROM notes WHERE id = 2 AND NOT EXISTS (SELECT 1 FROM child WHERE up = 2)")
        other.execute("UPDATE child SET up = NULL")
        other.execute("DELETE FROM notes WHERE id = 2")
        assert other.execute("SELECT note FROM child").fetchall() == [(1,), (None,), (99,)]


def test_a_table_that_names_itself_goes_on_naming_itself(folder):
    before = "CREATE TABLE tree (id INTEGER PRIMARY KEY, up INTEGER REFERENCES tree (id) ON DELETE CASCADE)"
    after = "CREATE TABLE tree (id INTEGER PRIMARY KEY, x, up INTEGER REFERENCES tree (id) ON DELETE CASCADE)"
    change = migration(Change("tree", before, after))
    path = made(folder / "live.db", before, "INSERT INTO tree VALUES (1, NULL), (2, 1), (3, 2), (4, NULL)")
    online(path, change)
    cleaned(path, change)
    applied(path, ("PRAGMA foreign_keys=ON", "DELETE FROM tree WHERE id = 1"))
    assert whole(path)["tree"] == [(4, 4, None, None)]


def test_ids_that_were_ever_given_stay_given(folder):
    path = notes(folder, "UPDATE sqlite_sequence SET seq = 70")
    between = ["INSERT INTO notes (body) VALUES ('71')", "DELETE FROM notes WHERE id = 71"]
    twin = twin_of(path)
    applied(twin, *between)
    in_one(twin, STARS)
    online(path, STARS, between=between)
    assert whole(path)["sqlite_sequence"] == [("notes", 71)]
    assert whole(cleaned(path, STARS)) == whole(twin)
    applied(path, "INSERT INTO notes (body) VALUES ('72')")
    assert whole(path)["notes"][-1][:2] == (72, 72)


def test_statistics_stay_for_what_still_exists(folder):
    path = notes(folder, "CREATE INDEX mine ON notes (body, mood)", "CREATE TABLE other (x)", "ANALYZE")
    before = whole(path)["sqlite_stat1"]
    assert len(before) == 2
    online(path, STARS)
    assert whole(path)["sqlite_stat1"] == before
    assert whole(cleaned(path, STARS))["sqlite_stat1"] == before


def test_after_the_swap_only_old_things_are_ours(folder):
    path = notes(folder, "CREATE INDEX mine ON notes (body)")
    online(path, STARS)
    held = {name for name, *_ in whole(path)[""]}
    names = {row[1] for row in whole(path)[""] if row[1].startswith("_mig_")}
    assert held == {"index", "table"} and names == {"_mig_notes.old", "_mig_mine.old"}
    online_back = {row[1] for row in whole(cleaned(path, STARS))[""] if "_mig_" in row[1]}
    assert online_back == set()
    online(path, STARS, reverse=True)
    names = {row[1] for row in whole(path)[""] if row[1].startswith("_mig_")}
    assert names == {"_mig_notes.old", "_mig_mine.old", "_mig_by_stars.old", "_mig_notes_legacy.old"}


def test_the_schema_is_not_writable_afterwards(folder):
    path = notes(folder, "CREATE INDEX mine ON notes (body)")
    with planned(path, [STARS]) as (connection, _, plan, _state):
        (table,) = plan.tables
        connection.execute("BEGIN IMMEDIATE")
        swap.create_shadow(connection, table)
        swap.swap_table(connection, [table])
        assert connection.execute("PRAGMA writable_schema").fetchone() == (0,)
        with pytest.raises(sqlite3.OperationalError, match="may not be modified"):
            connection.execute("DELETE FROM sqlite_master")
        connection.execute("ROLLBACK")
    assert [row[1] for row in whole(path)[""] if "_mig_" in row[1]] == []


def test_an_index_that_cannot_get_its_name_stops_the_swap(folder):
    path = notes(folder)
    with planned(path, [STARS]) as (connection, _, plan, _state):
        (table,) = plan.tables
        connection.execute("BEGIN IMMEDIATE")
        swap.create_shadow(connection, table)
        connection.execute("DROP INDEX _mig_by_stars")
        with pytest.raises(PromotionError, match=r"index _mig_by_stars could not be .*by_stars; live unchanged"):
            swap.swap_table(connection, [table])
        assert connection.execute("PRAGMA writable_schema").fetchone() == (0,)
        connection.execute("ROLLBACK")
    assert application_of(STARS).own_tables >= {"notes_legacy"}


def test_the_shadow_table_has_no_name_of_the_applications(folder):
    path = notes(folder, "CREATE INDEX mine ON notes (body)")
    with planned(path, [STARS]) as (connection, _, plan, _state):
        (table,) = plan.tables
        before = set(master(path)) | set(master(path, "table"))
        connection.execute("BEGIN")
        swap.create_shadow(connection, table)
        connection.execute("COMMIT")
        made_ = (set(master(path)) | set(master(path, "table"))) - before
    assert made_ == {"_mig_notes", "_mig_mine", "_mig_by_stars", "_mig_notes_legacy"}
    with opened(path) as connection:
        assert connection.execute("SELECT count(*) FROM _mig_notes").fetchone() == (0,)
