"""--baseline: a database that has the schema already gets a ledger and nothing else, once everything was compared."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from migrator.backup import back_up
from migrator.errors import LockTooLongError, PromotionError, RefusedError, ValidationError
from migrator.ltmc import LTMC
from migrator.migration import Change
from migrator.preflight import preflight
from migrator.promotion import promote
from migrator.restoration import recover
from tests.notes import AFTER, change, make_notes, migration, notes_application
from tests.runs import (
    PLENTY_MS,
    end_of_run,
    holds,
    live_of,
    migrate,
    prove,
    refusal,
    rehearse,
    rehearsed,
    restored,
    rows,
    run_sql,
    stored,
)

LEDGER = ("_sqlite_migrations", "_migration_history")
SECOND = Change(
    "notes",
    AFTER,
    AFTER.replace("body TEXT", "author TEXT DEFAULT 'nobody', body TEXT"),
    values={"author": "coalesce(nullif(author, ''), 'nobody')"},
    originals="notes_2",
    ahead="notes_2_ahead",
    indexes=("CREATE INDEX authors ON notes(author, body)",),
)
MARKS = Change("marks", after="CREATE TABLE marks (id INTEGER PRIMARY KEY AUTOINCREMENT, note INTEGER, CHECK (id > 0))")
REPAIR = Change("tags", values={"tag": "trim(tag)"}, where="tag GLOB ' *'")
THREE = notes_application(
    migration(), migration(SECOND, MARKS, version=2, tools=()), migration(REPAIR, version=3, tools=())
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Databases with the schema of every migration, as if their applications had made them; nothing is this tool's."""
    folder = tmp_path_factory.mktemp("made")
    for application in (THREE, LTMC):
        path = folder / f"{application.name}.db"
        application.make_demo(path, 100)
        migrate(path, application)
        forget(path)
    return folder


@pytest.fixture
def database(made, tmp_path):
    return Path(shutil.copy(made / "notes.db", tmp_path))


def forget(path):
    own = [name for (name,) in rows(path, "SELECT name FROM sqlite_master WHERE type = 'table'")]
    run_sql(path, *(f"DROP TABLE {name}" for name in own if name in LEDGER or name.endswith("_legacy")))


def without_ledger(path):
    held = holds(path)
    schema = [row for row in held.pop("schema") if row[2].decode() not in LEDGER]
    return {"schema": schema, **{table: cells for table, cells in held.items() if table not in LEDGER}}


def test_the_ledger_is_written_and_nothing_else(database):
    before = holds(database)
    done = migrate(database, THREE, baseline=True)
    assert (done.rows, done.candidate.plan.tables, done.candidate.plan.statements) == (0, (), ())
    assert without_ledger(database) == before
    names = "SELECT name FROM _sqlite_migrations ORDER BY name"
    assert rows(database, names) == [("0001_stars",), ("0002_stars",), ("0003_stars",)]
    answers = rows(database, "SELECT DISTINCT answers FROM _migration_history")
    assert [json.loads(given) for (given,) in answers] == [{"map": {}, "switches": ["baseline"]}]
    assert preflight(database, THREE).plan is None
    assert preflight(database, THREE, baseline=True).plan is None


def test_a_run_says_what_it_will_not_do(database):
    live = preflight(database, THREE, baseline=True)
    assert [(f.code, f.message) for f in live.findings] == [
        ("baseline", "notes.db has the schema of 0003 already: only the ledger is written")
    ]
    assert (live.from_version, live.to_version) == (0, 3)


def test_an_adopted_database_goes_back_and_forth_like_any_other(database):
    before = without_ledger(database)
    migrate(database, THREE, baseline=True)
    migrate(database, THREE, to_version=0)
    assert [name for _, name, *_ in rows(database, "PRAGMA table_info(notes)")] == ["id", "body", "mood", "place"]
    migrate(database, THREE)
    assert {t: cells for t, cells in without_ledger(database).items() if t in before} == before


def test_a_part_of_the_versions_may_be_adopted_and_the_rest_migrated(database):
    run_sql(database, "DROP TABLE marks", "UPDATE tags SET tag = '  odd' WHERE note_id = 1")
    assert "table marks does not exist" in str(refusal(database, THREE, baseline=True))
    run_sql(database, "DROP INDEX authors", "ALTER TABLE notes DROP COLUMN author")
    migrate(database, THREE, baseline=True, to_version=1)
    migrate(database, THREE)
    assert rows(database, "SELECT tag FROM tags WHERE note_id = 1") == [("odd",)]
    assert preflight(database, THREE).from_version == 3


def test_what_an_operator_made_besides_is_no_difference(database):
    run_sql(
        database,
        "CREATE INDEX mine ON notes (body)",
        "CREATE VIEW moods AS SELECT DISTINCT mood FROM notes",
        "CREATE TABLE mine_too (x)",
    )
    remade(database, "marks", "CHECK (id > 0)", "CHECK (id > 0), UNIQUE (note)")
    migrate(database, THREE, baseline=True)
    assert preflight(database, THREE).from_version == 3


def remade(path, table, old, new):
    """The table with another text and the same rows."""
    ((text,),) = rows(path, f"SELECT sql FROM sqlite_master WHERE name = '{table}'")
    assert old in text
    on_it = rows(path, f"SELECT sql FROM sqlite_master WHERE tbl_name = '{table}' AND type <> 'table'")
    run_sql(
        path,
        "PRAGMA legacy_alter_table=1",
        f"ALTER TABLE {table} RENAME TO was",
        text.replace('"', "").replace(old, new),
        f"INSERT INTO {table} SELECT * FROM was",
        "DROP TABLE was",
        *(sql for (sql,) in on_it if sql),
    )


DIFFERENCES = {
    "a column is missing": (
        ("DROP INDEX authors", "ALTER TABLE notes DROP COLUMN author"),
        "the schema of version 0003: table notes lacks author; index authors is missing;",
    ),
    "a column too many": (("ALTER TABLE notes ADD COLUMN mine",), "column 'mine' of table notes is in neither schema"),
    "an index is missing": (("DROP INDEX notes_mood",), "the schema of version 0003: index notes_mood is missing;"),
    "an index is another": (
        ("DROP INDEX notes_mood", "CREATE UNIQUE INDEX notes_mood ON notes(mood, body)"),
        "index notes_mood is 'CREATE UNIQUE INDEX notes_mood ON notes(mood, body)', declared 'CREATE INDEX notes_mood",
    ),
    "an index's name is a table's": (
        ("DROP INDEX notes_mood", "CREATE TABLE notes_mood (x)"),
        "table notes_mood is 'CREATE TABLE notes_mood (x)', declared",
    ),
    "a table is missing": (("DROP TABLE marks",), "table marks does not exist"),
    "a repaired table is missing": (("DROP TABLE tags",), "table tags does not exist in the database"),
}
ID = "id INTEGER PRIMARY KEY AUTOINCREMENT"
TEXTS = {
    "a type": ("notes", "stars INTEGER", "stars TEXT", "column 'stars' already exists in table 'notes' as TEXT,"),
    "a default": ("notes", "'nobody'", "'me'", "column author of notes is \"author TEXT DEFAULT 'me'\", declared"),
    "a check": ("marks", ", CHECK (id > 0)", "", "table marks lacks 'CHECK (id > 0)'"),
    "AUTOINCREMENT": ("marks", " AUTOINCREMENT", "", "column id of marks is 'id INTEGER PRIMARY KEY', declared 'id"),
    "the order": (
        "marks",
        f"{ID}, note INTEGER",
        f"note INTEGER, {ID}",
        "table marks has the columns in the order note, id, declared id, note",
    ),
    "the end": ("marks", "(id > 0))", "(id > 0)) STRICT", "table marks ends with 'STRICT', declared ''"),
}


BY_HAND, WITHOUT = "mend by hand what differs, then give --baseline again", "migrate without --baseline"


def adopting(version):
    return f"adopt what is there with --baseline --to {version}, then migrate without --baseline"


def assert_refused(database, message, way_out=BY_HAND):
    before = stored(database)
    said = str(refusal(database, THREE, baseline=True))
    assert message in said
    assert said.endswith(f"; {way_out}")
    assert stored(database) == before


@pytest.mark.parametrize("name", DIFFERENCES)
def test_a_schema_that_differs_is_refused_with_the_difference(database, name):
    statements, message = DIFFERENCES[name]
    run_sql(database, *statements)
    older = {"a column is missing": "0001", "a repaired table is missing": "0002"}
    assert_refused(database, message, adopting(older[name]) if name in older else BY_HAND)


@pytest.mark.parametrize(("table", "old", "new", "message"), TEXTS.values(), ids=TEXTS)
def test_a_table_of_another_text_is_refused_with_the_difference(database, table, old, new, message):
    remade(database, table, old, new)
    assert_refused(database, message)


def test_all_differences_are_told_at_once(database):
    run_sql(database, "DROP INDEX notes_mood", "DROP TABLE marks", "DROP INDEX authors")
    assert_refused(database, "0003: table marks does not exist; indexes notes_mood, authors are missing;")


@pytest.mark.parametrize(
    ("statement", "message", "way_out"),
    [
        ("UPDATE notes SET author = '' WHERE id < 4", "3 rows of notes are not as migration 0002_stars", BY_HAND),
        (
            "UPDATE tags SET tag = ' x' WHERE note_id = 1",
            "1 rows of tags are not as migration 0003_stars",
            adopting("0002"),
        ),
    ],
)
def test_rows_that_the_migration_would_change_are_refused(database, statement, message, way_out):
    run_sql(database, statement)
    assert_refused(database, message, way_out)
    assert not database.with_name("notes.db.backups").exists()


def test_values_that_wait_for_the_way_forth_are_refused(database):
    migrate(database, THREE, baseline=True)
    run_sql(database, "INSERT INTO marks VALUES (7, 1)")
    migrate(database, THREE, to_version=1)
    assert_refused(database, "table marks_ahead keeps values for the next migration forward", WITHOUT)


def test_a_way_back_is_no_baseline(database):
    migrate(database, THREE, baseline=True)
    error = refusal(database, THREE, baseline=True, to_version=1)
    assert str(error) == "the database has version 0003, and --baseline only leads forward; leave --baseline out"


def test_an_untouched_database_is_refused_and_sent_to_a_migration(tmp_path):
    make_notes(tmp_path / "old.db")
    said = "column 'place' of table notes is in neither schema of the migration; table marks does not exist; indexes"
    assert_refused(tmp_path / "old.db", said, WITHOUT)


def test_the_way_out_of_a_database_that_is_behind_leads_to_the_newest_version(database):
    run_sql(database, "UPDATE tags SET tag = '  odd' WHERE note_id = 1", "DROP TABLE marks", "DROP INDEX authors")
    run_sql(database, "ALTER TABLE notes DROP COLUMN author")
    assert_refused(database, "table notes lacks author; table marks does not exist; index authors", adopting("0001"))
    migrate(database, THREE, baseline=True, to_version=1)
    migrate(database, THREE)
    assert preflight(database, THREE).from_version == 3


def test_a_tool_that_a_migration_repairs_has_to_work_on_what_is_adopted(database):
    run_sql(database, "CREATE TRIGGER no AFTER INSERT ON notes BEGIN UPDATE notes SET stars = 0 WHERE id = new.id; END")
    before = stored(database)
    with pytest.raises(ValidationError, match="tool add_note still fails on the migrated copy"):
        prove(rehearsed(database, THREE, baseline=True))
    assert stored(database) == before


def test_what_changes_after_the_comparison_is_noticed_under_the_lock(database):
    candidate = rehearsed(database, THREE, baseline=True)
    run_sql(database, "DROP INDEX authors")
    with pytest.raises(PromotionError, match="the schema of marks, notes, tags or of what names it changed since"):
        promote(candidate, PLENTY_MS)


def test_a_row_that_is_written_since_the_comparison_is_looked_at_under_the_lock(database):
    candidate = rehearsed(database, THREE, baseline=True)
    run_sql(database, "UPDATE notes SET author = '' WHERE id = 4")
    before = holds(database)
    with pytest.raises(PromotionError, match="1 rows of notes are not as migration 0002_stars would leave them; live"):
        promote(candidate, PLENTY_MS)
    assert holds(database) == before


def test_an_adoption_whose_look_takes_too_long_is_given_up_and_never_done_online(database):
    candidate = rehearsed(database, THREE, baseline=True)
    before = holds(database)
    with pytest.raises(
        LockTooLongError, match="for more than 1e-06 ms and was rolled back; live unchanged; allow a lo"
    ):
        promote(candidate, 0.000001)
    assert holds(database) == before


def test_an_adoption_that_has_to_be_restored_takes_back_the_ledger_and_no_value(database):
    run_sql(database, "UPDATE notes SET mood = NULL WHERE id = 5")
    before = without_ledger(database)
    live = live_of(promote(rehearsed(database, THREE, baseline=True), PLENTY_MS))
    run_sql(database, "INSERT INTO marks VALUES (9, 9)")
    assert restored(database, live).how == "reversed"
    now = without_ledger(database)
    assert now.pop("marks") == [(9, 9)] and before.pop("marks") == []
    del now["sqlite_sequence"], before["sqlite_sequence"]
    assert now == before
    assert rows(database, "SELECT name FROM sqlite_master WHERE name LIKE '%migration%'") == []


def test_a_restored_adoption_converts_nothing_back(ltmc):
    # The way back of 0001 has an empty text for a result that is missing, that of 0005 would swap what looks sound.
    run_sql(ltmc, "UPDATE CodePatterns SET result = NULL, tags = '[]' WHERE id = 5")
    before = without_ledger(ltmc)
    live = live_of(promote(rehearsed(ltmc, LTMC, baseline=True), PLENTY_MS))
    assert restored(ltmc, live).how == "reversed"
    assert without_ledger(ltmc) == before


def test_a_way_back_of_an_adopted_database_is_restored_like_any_other(database):
    migrate(database, THREE, baseline=True)
    before = without_ledger(database)
    live = live_of(promote(rehearsed(database, THREE, to_version=0), PLENTY_MS))
    assert restored(database, live).how == "reversed"
    assert without_ledger(database) == before
    assert preflight(database, THREE).from_version == 3


def test_a_killed_adoption_is_finished_by_the_next_start(database):
    before = without_ledger(database)
    candidate = rehearse(back_up(preflight(database, THREE, baseline=True)))
    promote(candidate, PLENTY_MS)
    assert recover(database, THREE).how == "finished"
    assert without_ledger(database) == before
    assert preflight(database, THREE).from_version == 3


@pytest.fixture
def ltmc(made, tmp_path):
    return Path(shutil.copy(made / "ltmc.db", tmp_path))


def test_a_database_of_the_new_application_is_adopted_with_its_tools_proven(ltmc):
    before = without_ledger(ltmc)
    candidate = rehearsed(ltmc, LTMC, baseline=True)
    prove(candidate)
    end_of_run(candidate)
    assert without_ledger(ltmc) == before
    assert preflight(ltmc, LTMC).from_version == len(LTMC.migrations)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE Todos SET status = 'pending'", "rows of Todos are not as migration 0002_todo_status would leave"),
        ("UPDATE VectorIdSequence SET last_vector_id = 3 WHERE id = 1", "1 rows of VectorIdSequence are not as"),
        (
            "UPDATE ChatHistory SET conversation_id = content, role = conversation_id, content = role WHERE id = 75",
            "1 rows of ChatHistory are not as migration 0005_swapped_messages would leave them",
        ),
    ],
)
def test_data_that_only_a_migration_would_repair_is_not_adopted(ltmc, statement, message):
    run_sql(ltmc, statement)
    assert message in str(refusal(ltmc, LTMC, baseline=True))


def test_an_edited_migration_is_noticed_on_an_adopted_database_too(database):
    migrate(database, THREE, baseline=True)
    edited = notes_application(migration(change(where="id > 5")), *THREE.migrations[1:])
    with pytest.raises(RefusedError, match=r"0001_stars was edited after it was applied \(applied as \w{12}, declared"):
        preflight(database, edited)


def test_the_order_of_definitions_after_the_columns_does_not_count(database):
    twice = replace(MARKS, after=MARKS.after.replace("CHECK (id > 0)", "CHECK (note > 0 OR 1), CHECK (id > 0)"))
    application = notes_application(migration(twice, tools=()), probes=())
    remade(database, "marks", "CHECK (id > 0)", "CHECK (id > 0), CHECK (note > 0 OR 1)")
    migrate(database, application, baseline=True)
