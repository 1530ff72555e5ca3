"""A dry run is refused for what the run itself would be refused for, in the same words, and writes nothing."""

import pytest

from migrator.dry_run import look_ahead
from migrator.errors import RefusedError, RehearsalError
from migrator.ltmc import LTMC
from migrator.migration import Answers, Change
from migrator.preflight import preflight
from tests.notes import AFTER, BEFORE, NOTES, change, migration, notes_application
from tests.runs import beside, migrate, refusal, rehearsed, run_sql, stored

REQUIRED = notes_application(migration(change(after=BEFORE.replace("place TEXT", "place TEXT NOT NULL"), values={})))
ONLY_UNIQUE = notes_application(migration(Change("notes", indexes=("CREATE UNIQUE INDEX u ON notes (mood)",))))
REPAIRED = notes_application(
    migration(), migration(Change("tags", values={"tag": "trim(tag)"}, where="tag GLOB ' *'"), version=2, tools=())
)
ODD = "UPDATE notes SET mood = 'odd' WHERE id = 1"
REFUSED = {
    "a value without an answer": (
        NOTES, (ODD,), {}, "column mood of notes holds 1 values that the migration does not map: 'odd'",
    ),
    "a missing value": (REQUIRED, (), {}, "rows of notes have no place, which the new table requires"),
    "duplicates": (ONLY_UNIQUE, (), {}, "mood of notes must be unique (index u), but 4 values stand in several rows"),
    "rows of an adopted table": (
        REPAIRED,
        ("DROP TABLE notes", AFTER, "CREATE INDEX notes_mood ON notes(mood)",
         "UPDATE tags SET tag = ' x' WHERE note_id = 1"),
        {"baseline": True},
        "1 rows of tags are not as migration 0002_stars would leave them",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_inspect_refuses_in_the_rows_a_dry_run_refuses_in_the_same_words(database, name):
    app, statements, options, message = REFUSED[name]
    run_sql(database, *statements)
    before = stored(database)
    with pytest.raises(RefusedError) as refused:
        look_ahead(preflight(database, app, only_look=True, **options))
    assert stored(database) == before
    assert message in str(refused.value)
    assert str(refused.value) == str(refusal(database, app, **options))


BROKEN = {
    "a view": "CREATE VIEW places AS SELECT place, count(*) FROM notes GROUP BY place",
    "a view of a view": "CREATE VIEW places AS SELECT x FROM (SELECT place AS x FROM notes)",
    "a trigger of another table": "CREATE TRIGGER t AFTER INSERT ON tags BEGIN UPDATE notes SET place = 1 WHERE 0; END",
    "a trigger of its own": "CREATE TRIGGER t AFTER INSERT ON notes BEGIN INSERT INTO tags VALUES (1, new.place); END",
    "a string now": 'CREATE VIEW places AS SELECT "place" FROM notes',
}


@pytest.mark.parametrize("statement", BROKEN.values(), ids=BROKEN)
def test_what_the_rehearsal_finds_broken_a_dry_run_refuses_in_the_same_words(database, statement):
    run_sql(database, statement)
    before, there = stored(database), beside(database)
    with pytest.raises(RefusedError, match="; change or drop them before the migration") as refused:
        look_ahead(preflight(database, NOTES, only_look=True))
    assert (stored(database), beside(database)) == (before, there)
    with pytest.raises(RehearsalError) as failed:
        rehearsed(database)
    assert str(refused.value) == str(failed.value)


@pytest.mark.parametrize(
    "statements",
    [
        ("CREATE VIEW broken AS SELECT absent FROM notes",),
        ("CREATE VIRTUAL TABLE found USING fts5 (body, content='notes', content_rowid='id')",),
        ("CREATE TABLE mark (x CHECK (x > 0))", "CREATE VIEW moods AS SELECT mood FROM notes"),
    ],
)
def test_what_no_rehearsal_minds_no_dry_run_minds(database, statements):
    run_sql(database, *statements)
    rehearsed(database)
    assert [finding.code for finding in look_ahead(preflight(database, NOTES, only_look=True))] == ["originals_kept"]


def test_on_the_way_back_a_view_of_a_column_that_goes_is_refused(database):
    migrate(database)
    run_sql(database, "CREATE VIEW starred AS SELECT id FROM notes WHERE stars > 3")
    with pytest.raises(RefusedError, match=r"the migrated schema breaks view starred \(no such column: stars\)"):
        look_ahead(preflight(database, NOTES, only_look=True, to_version=0))


def test_the_answer_that_the_refusal_names_is_heard(folder):
    database = folder / "ltmc.db"
    LTMC.make_demo(database, 10)
    run_sql(database, "UPDATE CodePatterns SET result = 'timeout' WHERE id = 1")
    with pytest.raises(RefusedError, match="--map-result 'timeout'="):
        look_ahead(preflight(database, LTMC, only_look=True))
    mapped = preflight(database, LTMC, only_look=True, answers=Answers({"timeout": "fail"}))
    assert {finding.code for finding in look_ahead(mapped)} <= {"originals_kept", "originals_not_counted"}


def test_where_nothing_is_pending_no_row_is_read(database):
    migrate(database)
    assert look_ahead(preflight(database, NOTES, only_look=True)) == ()
