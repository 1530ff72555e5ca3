"""A table that the application drops, renames or makes again in the middle ends the promotion with a sentence, and live
is what the application made of it."""

import sqlite3

import pytest

from migrator.errors import PromotionError
from migrator.guard import naming_what_changed
from migrator.migration import Change
from migrator.one_transaction import in_one_transaction
from migrator.promotion import promote
from tests.notes import migration as notes_migration
from tests.notes import notes_application
from tests.runs import PLENTY_MS, beside, holds, is_sound, rehearsed, restored, rows, run_sql
from tests.unit.going_online import (
    NOTES,
    STARS,
    applied,
    cleaned,
    made,
    notes,
    online,
    planned,
    twin_of,
    whole,
)
from tests.unit.migrating import migration

BRING_IT_BACK = "if that was not meant, bring the {} back{}; then start again"
TABLE_BACK = BRING_IT_BACK.format("table", " (the backup has its rows)")
NAME_BACK = "if that was not meant, give the table its name back; then start again"
GONE = {
    "dropped": ("DROP TABLE notes", "dropped table notes", TABLE_BACK),
    "renamed": ("ALTER TABLE notes RENAME TO remarks", "renamed table notes to remarks", NAME_BACK),
    "dropped beside a table that was made": (
        ("DROP TABLE notes", "CREATE TABLE scraps (x)"),
        "dropped or renamed table notes",
        TABLE_BACK,
    ),
    "replaced with a view": (
        ("ALTER TABLE notes RENAME TO stored", "CREATE VIEW notes AS SELECT * FROM stored"),
        "renamed table notes to stored",
        NAME_BACK,
    ),
    "made again with another column": (
        ("DROP TABLE notes", NOTES.replace("mood TEXT", "mood TEXT, pages INTEGER")),
        'dropped index by_body, dropped index od;d "one, changed table notes, dropped trigger tagged, dropped trigger '
        "untagged",
        "start again",
    ),
}
AGAIN = ("DROP TABLE notes", NOTES, "INSERT INTO notes (id, body) VALUES (7, 'another life')")
TURNS = pytest.mark.parametrize("turn", [0, 1, 3, 9, -1])
EACH_THAT_GOES = pytest.mark.parametrize(("statements", "did", "way_out"), GONE.values(), ids=GONE)


def around_it(did, way_out):
    what = "the schema of notes or of what names it changed since the backup"
    return f"{what}: the application {did}; live was left as it is; {way_out}"


def at(turn, statements):
    """What the application does in that turn of an online promotion; -1: just before the swap."""
    return {"between": [*([()] * turn), statements]} if turn >= 0 else {"last": statements}


def stopped(path, statements, *migrations, **options):
    """The message of an online promotion that ends so; live is what the application's statements made of it."""
    twin = twin_of(path)
    with pytest.raises(PromotionError) as caught:
        online(path, *migrations, **options)
    applied(twin, statements)
    assert whole(cleaned(path, *migrations)) == whole(twin)
    return str(caught.value)


def stopped_in_one_transaction(path, statements, *migrations):
    """The same where the application was between the plan and the lock."""
    twin = twin_of(path)
    with planned(path, migrations) as (connection, application, plan, state):
        applied(path, statements)
        with pytest.raises(PromotionError) as caught:
            in_one_transaction(connection, application, plan, state, lambda *_: None)
        assert not connection.in_transaction
    applied(twin, statements)
    assert whole(path) == whole(twin)
    return str(caught.value)


@TURNS
@EACH_THAT_GOES
def test_a_table_that_goes_in_the_middle_of_an_online_promotion_ends_it(folder, statements, did, way_out, turn):
    assert stopped(notes(folder), statements, STARS, **at(turn, statements)) == around_it(did, way_out)


@EACH_THAT_GOES
def test_a_table_that_goes_before_one_transaction_ends_it(folder, statements, did, way_out):
    assert stopped_in_one_transaction(notes(folder), statements, STARS) == around_it(did, way_out)


NOTHING_ON_IT = ("DROP INDEX by_body", 'DROP INDEX "od;d ""one"', "DROP TRIGGER tagged", "DROP TRIGGER untagged")
LOST = "the application dropped or changed what this run has in live: {}; live was left as it is; start again"


@TURNS
def test_a_table_that_was_dropped_and_made_again_alike_is_not_taken_for_the_one_that_was_there(folder, turn):
    """Its triggers went with it, so nobody noted what was written to it since."""
    events = ("after delete", "after insert", "after update", "before insert", "before update")
    message = stopped(notes(folder, *NOTHING_ON_IT), AGAIN, STARS, **at(turn, AGAIN))
    assert message == LOST.format(", ".join(f"_mig_notes.{event}" for event in events))


OURS = {
    "the shadow table": ("DROP TABLE _mig_notes", '_mig_by_body, _mig_by_mood, _mig_notes, _mig_od;d "one'),
    "the log": ('DROP TABLE "_mig_notes.log"', "_mig_notes.log"),
}


@TURNS
@pytest.mark.parametrize("what", OURS)
def test_a_table_of_ours_that_goes_in_the_middle_is_named(folder, what, turn):
    statement, names = OURS[what]
    path = notes(folder)
    before = whole(path)
    with pytest.raises(PromotionError) as caught:
        online(path, STARS, **at(turn, statement))
    assert str(caught.value) == LOST.format(names)
    assert whole(cleaned(path, STARS)) == before


BEST = "CREATE TABLE best (id INTEGER PRIMARY KEY, stars INTEGER)"
TOP = "CREATE VIEW top AS SELECT max(given) AS stars FROM grades"
GRADES = "CREATE TABLE grades (given INTEGER)"
READING = migration(Change("best", values={"stars": "(SELECT stars FROM top)"}, where="id = 1"))
READ = {
    "a view that is read": ("DROP VIEW top", "dropped view top"),
    "a table that a view that is read reads": ("DROP TABLE grades", "dropped table grades"),
    "its name": ("ALTER TABLE grades RENAME TO marks", "renamed table grades to marks"),
    "its column": ("ALTER TABLE grades RENAME COLUMN given TO points", "changed table grades, changed view top"),
    "the view itself": (
        ("DROP VIEW top", "CREATE VIEW top AS SELECT min(given) AS stars FROM grades"),
        "changed view top",
    ),
}
WAY_OUT = {
    "dropped view top": BRING_IT_BACK.format("view", ""),
    "dropped table grades": TABLE_BACK,
    "renamed table grades to marks": NAME_BACK,
}


def best(folder):
    return made(
        folder / "live.db", BEST, GRADES, TOP, "INSERT INTO best VALUES (1, 0), (2, 9)", "INSERT INTO grades VALUES (4)"
    )


def reads(did):
    what = "what the migration of best reads changed since the backup"
    return f"{what}: the application {did}; live was left as it is; {WAY_OUT.get(did, 'start again')}"


@pytest.mark.parametrize(("statements", "did"), READ.values(), ids=READ)
def test_what_the_migration_only_reads_and_goes_before_one_transaction_is_named(folder, statements, did):
    assert stopped_in_one_transaction(best(folder), statements, READING) == reads(did)


@pytest.mark.parametrize("turn", [0, -1])
@pytest.mark.parametrize(("statements", "did"), READ.values(), ids=READ)
def test_what_the_swap_reads_and_goes_in_the_middle_is_named(folder, statements, did, turn):
    assert stopped(best(folder), statements, READING, **at(turn, statements)) == reads(did)


def test_a_virtual_table_that_is_read_and_goes_is_named(folder):
    reading = migration(Change("best", values={"stars": "(SELECT max(given) FROM words)"}, where="id = 1"))
    path = made(
        folder / "live.db", BEST, "INSERT INTO best VALUES (1, 0)", "CREATE VIRTUAL TABLE words USING fts5 (given)"
    )
    message = stopped_in_one_transaction(path, ("DROP TABLE words", "CREATE TABLE scraps (x)"), reading)
    assert message == reads("dropped or renamed table words").replace("start again", TABLE_BACK)


def test_a_virtual_table_that_was_made_meanwhile_is_none_that_was_renamed(folder):
    path = best(folder)
    with planned(path, [READING]) as (connection, application, plan, state):
        applied(path, ("DROP TABLE grades", "CREATE VIRTUAL TABLE words USING fts5 (given)"))
        with pytest.raises(
            PromotionError, match="the application dropped or renamed table grades; live was left as it"
        ):
            in_one_transaction(connection, application, plan, state, lambda *_: None)


def test_what_is_only_named_like_a_column_of_the_migration_may_come_and_go(folder):
    path = best(folder)
    *_, found = online(path, READING, last="CREATE TABLE stars (x)")
    assert [f.message for f in found] == ["the application made, changed or dropped stars"]


BESIDE = (
    "CREATE VIEW lowest AS SELECT min(given) FROM grades",
    "CREATE TRIGGER graded AFTER INSERT ON grades BEGIN SELECT 1; END",
    "CREATE INDEX by_grade ON grades (given)",
)


@pytest.mark.parametrize("way", ["online", "one transaction"])
def test_what_names_a_table_that_is_only_read_is_a_finding_and_stops_nothing(folder, way):
    path = best(folder)
    if way == "online":
        *_, found = online(path, READING, last=BESIDE)
    else:
        with planned(path, [READING]) as (connection, application, plan, state):
            applied(path, BESIDE)
            *_, found = in_one_transaction(connection, application, plan, state, lambda *_: None)
    assert [f.message for f in found] == [
        f"the application made, changed or dropped {name}" for name in ("by_grade", "graded", "lowest")
    ]
    assert rows(path, "SELECT id, stars FROM best") == [(1, 4), (2, 9)]


@pytest.mark.parametrize("statement", ["DROP TABLE notes", "ALTER TABLE notes RENAME TO remarks"])
@pytest.mark.parametrize("max_lock_ms", [0.0, PLENTY_MS])
def test_a_run_whose_table_goes_before_the_promotion_leaves_what_the_application_made(database, statement, max_lock_ms):
    candidate = rehearsed(database)
    run_sql(database, statement)
    wanted = holds(database)
    with pytest.raises(PromotionError, match=r"the application (dropped|renamed) table notes"):
        promote(candidate, max_lock_ms)
    assert restored(database, candidate.inspection.backup.live).how == "unchanged"
    assert holds(database) == wanted and is_sound(database)
    assert beside(database) <= {"notes.db.backups", "notes.db.migration-lock"}


def test_a_run_whose_table_goes_in_the_middle_leaves_what_the_application_made(database):
    candidate, goes = rehearsed(database), ["DROP TABLE notes"]

    def on_progress(done, total):
        if done and goes:
            run_sql(database, goes.pop())

    with pytest.raises(PromotionError, match="the application dropped table notes; live was left as it is"):
        promote(candidate, 0.0, on_progress)
    result = restored(database, candidate.inspection.backup.live)
    assert result.how == "unchanged"
    assert "the application changed table notes" in [f.message for f in result.findings]
    assert rows(database, "SELECT name FROM sqlite_master WHERE name LIKE '\\_mig\\_%' ESCAPE '\\'") == []
    assert beside(database) == {"notes.db.backups"}


def test_a_table_that_is_read_to_adopt_another_and_goes_is_named(database):
    tagged = Change("tags", values={"tag": "(SELECT max(word) FROM words)"}, where="note_id = 1")
    run_sql(database, "CREATE TABLE words (word TEXT)", "INSERT INTO words VALUES ('tag 1')")
    candidate = rehearsed(database, notes_application(notes_migration(tagged, tools=())), baseline=True)
    run_sql(database, "DROP TABLE words")
    before = holds(database)
    with pytest.raises(PromotionError) as caught:
        promote(candidate, PLENTY_MS)
    assert str(caught.value) == reads("dropped table words").replace("best", "tags").replace("start again", TABLE_BACK)
    assert holds(database) == before


@pytest.mark.parametrize("error", [sqlite3.OperationalError("of sqlite3 itself, without a code"), KeyError("other")])
def test_what_fails_for_another_reason_is_raised_as_it_is(folder, error):
    with planned(best(folder), [READING]) as (connection, application, plan, state):
        with pytest.raises(type(error)) as caught, naming_what_changed(connection, application, plan, state):
            raise error
        assert caught.value is error
        applied(folder / "live.db", "DROP TABLE grades")
        with pytest.raises(type(error)) as caught, naming_what_changed(connection, application, plan, state):
            raise error
        assert caught.value is error
