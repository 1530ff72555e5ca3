"""A dry run is refused for what the run itself would be refused for, in the same words, and writes nothing."""

import pytest

from migrator.dry_run import look_ahead
from migrator.errors import RefusedError
from migrator.ltmc import LTMC
from migrator.migration import Answers, Change
from migrator.preflight import preflight
from tests.notes import AFTER, BEFORE, NOTES, change, migration, notes_application
from tests.runs import migrate, refusal, run_sql, stored

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
