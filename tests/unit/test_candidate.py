"""The rehearsal: what it refuses by name, and that live is never touched by it."""

import sqlite3
from functools import partial

import pytest

from migrator import candidate as candidates
from migrator.candidate import add_column, convert_data, create_indexes, predicted_lock_ms, stage
from migrator.connect import opened
from migrator.ddl import canonical
from migrator.errors import RefusedError, RehearsalError
from migrator.inspection import inspect
from migrator.migration import Change, Mapped
from migrator.schema import Column
from tests.children import holding
from tests.notes import AFTER, BEFORE, NOTES, TARGET_COLUMNS, change, make_notes, migration, notes_application
from tests.runs import (
    PLENTY_MS,
    backed_up,
    columns,
    end_of_run,
    holds,
    is_sound,
    migrate,
    prove,
    rehearse,
    rehearsed,
    rows,
    run_sql,
    stored,
)


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "notes.db"
    make_notes(path)
    return path


@pytest.fixture
def staged(database):
    return stage(inspect(backed_up(database)))


def test_a_rehearsal_has_the_target_and_leaves_live_to_the_byte(database):
    before = stored(database)
    candidate = rehearsed(database)
    assert columns(candidate.path) == TARGET_COLUMNS
    assert rows(candidate.path, "SELECT mood, count(*) FROM notes GROUP BY mood") == [("bad", 50), ("good", 50)]
    assert rows(candidate.path, "SELECT * FROM notes_legacy WHERE id = 2") == [(2, "Happy", "place 1")]
    assert is_sound(candidate.path)
    assert stored(database) == before
    assert candidate.rows == 100 and candidate.rebuild_s > 0


def test_a_column_that_is_there_with_its_type_is_kept(staged):
    run_sql(staged.path, "ALTER TABLE notes ADD COLUMN stars integer", "UPDATE notes SET stars = 4")
    add_column(staged, "notes", Column("Stars", "INTEGER", None))
    assert rows(staged.path, "SELECT DISTINCT stars FROM notes") == [(4,)]


def test_a_column_that_is_there_with_another_type_is_refused_with_both(staged):
    run_sql(staged.path, "ALTER TABLE notes ADD COLUMN stars REAL")
    message = "column 'stars' already exists in table 'notes' as REAL, expected INTEGER; live unchanged"
    with pytest.raises(RehearsalError, match=message):
        add_column(staged, "notes", Column("stars", "INTEGER", None))


def test_a_column_gets_its_default(staged):
    add_column(staged, "notes", Column("stars", "INTEGER", "3"))
    assert rows(staged.path, "SELECT DISTINCT stars FROM notes") == [(3,)]


def test_a_locked_candidate_says_locked(staged, monkeypatch):
    monkeypatch.setattr(candidates, "opened", partial(opened, timeout_s=0.1))
    with holding(staged.path, "BEGIN EXCLUSIVE"), pytest.raises(sqlite3.OperationalError, match="locked"):
        add_column(staged, "notes", Column("stars", "INTEGER", None))
    add_column(staged, "notes", Column("stars", "INTEGER", None))


def test_a_second_staging_begins_anew(database):
    inspection = inspect(backed_up(database))
    first = stage(inspection)
    run_sql(first.path, "DROP TABLE notes")
    assert holds(stage(inspection).path) == holds(database)


def test_another_table_that_changed_is_named(staged):
    run_sql(staged.path, "UPDATE tags SET tag = upper(tag) WHERE note_id = 1")
    with pytest.raises(RehearsalError, match="changed tables whose rows it does not name: tags; live unchanged"):
        create_indexes(staged)


def test_another_table_that_is_gone_is_named(staged):
    run_sql(staged.path, "DROP TABLE tags")
    with pytest.raises(RehearsalError, match="changed tables whose rows it does not name: tags; live unchanged"):
        create_indexes(staged)


BREAKS = {
    "view places": "CREATE VIEW places AS SELECT place FROM notes",
    "trigger moved": "CREATE TRIGGER moved AFTER DELETE ON tags BEGIN UPDATE notes SET place = 'x'; END",
    "trigger seen": "CREATE TRIGGER seen AFTER UPDATE OF mood ON notes BEGIN UPDATE tags SET tag = old.place; END",
    "trigger born": "CREATE TRIGGER born AFTER INSERT ON notes BEGIN INSERT INTO tags VALUES (1, new.place); END",
}


@pytest.mark.parametrize("name", BREAKS)
def test_what_the_migrated_schema_breaks_is_named_and_live_is_untouched(database, name):
    run_sql(database, BREAKS[name])
    before = stored(database)
    with pytest.raises(RehearsalError, match=rf"breaks {name} \(no such column: .*place\); live unchanged"):
        rehearsed(database)
    assert stored(database) == before


TRIPS = "CREATE TABLE trips (note_id INTEGER, place TEXT)"
SILENT = {
    "view quoted": ['CREATE VIEW quoted AS SELECT id, "place" FROM notes'],
    "view sorted": ['CREATE VIEW sorted AS SELECT id FROM notes ORDER BY "Place"'],
    "view grouped": ['CREATE VIEW grouped (n) AS WITH w AS (SELECT 1 FROM notes GROUP BY "place") SELECT * FROM w'],
    "view second": ["CREATE VIEW first AS SELECT * FROM notes", 'CREATE VIEW second AS SELECT "place" FROM first'],
    "view captured": ["CREATE VIEW captured AS SELECT (SELECT place FROM notes WHERE id = note_id) AS p FROM trips"],
    "trigger quoted": [
        "CREATE TRIGGER other AFTER INSERT ON tags BEGIN SELECT 1; END",
        'CREATE TRIGGER quoted AFTER INSERT ON tags BEGIN INSERT INTO trips SELECT id, "place" FROM notes; END',
    ],
}


@pytest.mark.parametrize("name", SILENT)
def test_what_would_still_compile_but_read_something_else_is_named_and_live_is_untouched(database, name):
    run_sql(database, TRIPS, *SILENT[name])
    before = stored(database)
    table = "first" if name == "view second" else "notes"
    with pytest.raises(RehearsalError, match=rf"breaks {name} \(it names column place of {table}, which is gone"):
        rehearsed(database)
    assert stored(database) == before


@pytest.mark.parametrize("stars", ['"stars"', "stars"])
def test_the_way_back_names_what_it_would_break(database, stars):
    migrate(database)
    run_sql(database, f"CREATE VIEW rated AS SELECT id, {stars} FROM notes", "CREATE VIEW whole AS SELECT * FROM notes")
    with pytest.raises(RehearsalError, match=r"breaks view rated \(.*stars"):
        rehearsed(database, to_version=0)


HARMLESS = (
    "CREATE VIEW v AS SELECT * FROM notes",
    "CREATE VIEW place AS SELECT * FROM notes",
    "CREATE VIEW v AS SELECT notes.*, trips.place AS went FROM notes JOIN trips ON note_id = id",
    'CREATE VIEW v AS SELECT "place" FROM trips WHERE note_id IN (SELECT id FROM notes)',
    'CREATE VIEW v AS SELECT "place" FROM trips WHERE note_id IN (SELECT id FROM seen)',
    'CREATE VIEW v AS SELECT *, mood AS "place" FROM notes',
    'CREATE VIEW v AS SELECT id, \'place\' AS "kind", "nowhere" FROM notes -- place',
    'CREATE TRIGGER t AFTER UPDATE ON notes BEGIN INSERT INTO trips (note_id, "place") VALUES (new.id, "here"); END',
)


@pytest.mark.parametrize("statement", HARMLESS)
def test_what_does_not_name_the_column_that_goes_raises_no_false_alarm(database, statement):
    run_sql(database, TRIPS, "CREATE VIEW seen AS SELECT * FROM notes", statement)
    migrate(database)
    migrate(database, to_version=0)


def test_a_unique_index_that_converted_values_break_is_named_with_the_way_out(database):
    run_sql(database, "CREATE UNIQUE INDEX once ON notes (mood) WHERE id < 3")
    before = stored(database)
    message = (
        r"rows of notes, as the migration converts them, do not fit index once "
        r"\(UNIQUE constraint failed: notes.mood\); live unchanged; change the rows, or index once, before the migr"
    )
    with pytest.raises(RehearsalError, match=message):
        rehearsed(database)
    assert stored(database) == before


def test_a_declared_unique_index_that_rows_break_is_refused_with_their_count(database):
    unique = change(indexes=("CREATE UNIQUE INDEX one_mood ON notes(mood)",))
    message = r"mood of notes must be unique \(index one_mood\), .* 'bad' \(50 rows\), 'good' \(50 rows\); make them"
    with pytest.raises(RefusedError, match=message):
        rehearsed(database, notes_application(migration(unique)))


def test_a_constraint_of_the_tables_own_that_converted_values_break_is_named(tmp_path):
    path = tmp_path / "strict.db"
    table = BEFORE.replace("place TEXT)", "place TEXT, CONSTRAINT loud CHECK (mood <> 'good'))")
    run_sql(path, table, "CREATE TABLE tags (x)", "INSERT INTO notes (body, mood) VALUES ('b', 'Happy')")
    with pytest.raises(
        RehearsalError, match=r"do not fit the constraints \(CHECK constraint failed: loud\); live unch"
    ):
        rehearsed(path)


def test_what_was_broken_before_does_not_stop_a_migration(database):
    run_sql(
        database,
        "CREATE TABLE gone (a, b)",
        "CREATE VIEW dead AS SELECT a, place FROM gone, notes",
        "CREATE TRIGGER into_dead INSTEAD OF INSERT ON dead BEGIN SELECT 1; END",
        "CREATE TRIGGER of_gone AFTER INSERT ON tags BEGIN INSERT INTO gone VALUES (1, 2); END",
        "DROP TABLE gone",
    )
    assert columns(rehearsed(database).path) == TARGET_COLUMNS


def test_a_view_with_its_own_trigger_that_breaks_is_named(database):
    run_sql(
        database,
        "CREATE VIEW places AS SELECT place FROM notes",
        "CREATE TRIGGER on_places INSTEAD OF UPDATE ON places BEGIN SELECT 1; END",
    )
    with pytest.raises(RehearsalError, match=r"breaks trigger on_places \(.*\), view places \("):
        rehearsed(database)


def test_triggers_of_tables_with_generated_columns_are_tried_too(database):
    run_sql(
        database,
        "CREATE TABLE made (a, b AS (a + 1), c)",
        "CREATE TRIGGER on_made AFTER UPDATE OF c ON made BEGIN UPDATE notes SET place = 'x'; END",
    )
    with pytest.raises(RehearsalError, match="breaks trigger on_made"):
        rehearsed(database)


def test_the_predicted_lock_grows_with_the_rows(database):
    candidate = rehearsed(database)
    assert predicted_lock_ms(candidate, 100) == pytest.approx(1000 * candidate.rebuild_s)
    assert predicted_lock_ms(candidate, 200) == pytest.approx(2000 * candidate.rebuild_s)


MADE = "SELECT sql FROM sqlite_master WHERE name LIKE '{}%'"
SECOND = change(
    before=AFTER,
    after=AFTER.replace("stars INTEGER", "stars TEXT CHECK(stars IN ('few', 'many'))"),
    values={"stars": Mapped("stars", {"few": ("1", "2"), "many": ("3", "4", "5")})},
    indexes=(),
    behaviours=(),
    originals="notes_legacy_2",
)
TWICE = notes_application(migration(), migration(SECOND, version=2, tools=()), probes=NOTES.probes[:1])


def test_two_migrations_of_one_table_go_in_one_run(database):
    before = rows(database, "SELECT * FROM notes ORDER BY id")
    migrate(database, TWICE)
    assert "'few'" in rows(database, "SELECT sql FROM sqlite_master WHERE name = 'notes'")[0][0]
    migrate(database, TWICE, to_version=0)
    assert columns(database) == ["id", "body", "mood", "place"]
    assert rows(database, "SELECT * FROM notes ORDER BY id") == before


def test_a_value_that_only_the_second_migration_does_not_know_is_refused_with_live_untouched(database):
    run_sql(database, "ALTER TABLE notes ADD COLUMN stars INTEGER", "UPDATE notes SET stars = 9 WHERE id < 3")
    before = stored(database)
    with pytest.raises(RefusedError, match=r"stars of notes holds 1 values .* 9 \(2 rows\)"):
        rehearsed(database, TWICE)
    assert stored(database) == before


def test_convert_data_says_what_it_took(staged):
    for column in staged.plan.tables[0].added:
        add_column(staged, "notes", column)
    assert convert_data(staged, staged.plan.tables[0]).rebuild_s > 0


def test_the_copies_for_the_tools_are_the_backup_and_the_candidate(database):
    candidate = rehearse(backed_up(database))
    scratch = prove(candidate)
    assert holds(scratch.before) == holds(database)
    assert holds(scratch.after) == holds(candidate.path)


@pytest.mark.parametrize("max_lock_ms", [PLENTY_MS, 0.0])
def test_rows_of_a_table_that_goes_are_told_before_the_promotion_and_come_back(database, max_lock_ms):
    text = "CREATE TABLE marks (id INTEGER PRIMARY KEY AUTOINCREMENT, note INTEGER REFERENCES notes (id))"
    with_marks = notes_application(migration(change(), Change("marks", after=text)))
    migrate(database, with_marks, max_lock_ms=max_lock_ms)
    run_sql(database, "INSERT INTO marks VALUES (4, 1), (9, 2)")
    candidate = rehearsed(database, with_marks, to_version=0)
    assert [(f.code, f.message, f.count) for f in candidate.findings if "marks" in f.message] == [
        ("originals_kept", "rows of marks, which the schema to be does not have; marks_ahead keeps them", 2)
    ]
    prove(candidate)
    end_of_run(candidate, max_lock_ms)
    assert rows(database, "SELECT * FROM marks_ahead") == [(4, 1), (9, 2)]
    assert rows(database, "PRAGMA foreign_key_list(marks_ahead)") == []
    run_sql(database, "PRAGMA foreign_keys=1", "DELETE FROM notes WHERE id = 2")
    migrate(database, with_marks, max_lock_ms=max_lock_ms)
    assert rows(database, "SELECT * FROM marks") == [(4, 1), (9, 2)]
    assert [canonical(sql) for (sql,) in rows(database, MADE.format("marks"))] == [canonical(text)]
