"""What stops an online promotion leaves live with its old schema and every write."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from types import SimpleNamespace

import pytest

from migrator import online as module
from migrator.errors import NotOnlineError, PromotionError, RehearsalError
from migrator.migration import Change
from migrator.preflight import read_state
from migrator.schema import own_objects
from tests.unit.going_online import (
    BURST,
    MOODS,
    NOTES,
    NOTES_AFTER,
    NUMBERS,
    STARS,
    WRITES,
    Reader,
    Steady,
    application_of,
    applied,
    check_forth,
    cleaned,
    made,
    notes,
    online,
    planned,
    twin_of,
    whole,
)
from tests.unit.migrating import migration


def refused(folder, writes, turn=3, **options):
    """The error that a value written in that turn ends it with; live has its old schema and every write."""
    path = notes(folder)
    twin = twin_of(path)
    between = [*([()] * turn), writes]
    with pytest.raises(PromotionError) as caught:
        online(path, STARS, **({"between": between} if turn >= 0 else {"last": writes}), **options)
    assert "live unchanged" in str(caught.value)
    applied(twin, writes)
    assert whole(cleaned(path, STARS)) == whole(twin)
    return str(caught.value)


TURNS = pytest.mark.parametrize("turn", [0, 3, 9, -1])


@TURNS
@pytest.mark.parametrize("id_", [-1, 5, 75])
def test_a_value_without_an_answer_stops_it(folder, turn, id_):
    writes = f"REPLACE INTO notes (id, body, mood) VALUES ({id_}, 'new', 'odd')"
    assert "written since the backup: column mood of notes holds 1 values" in refused(folder, writes, turn)


@TURNS
def test_a_value_that_the_new_constraints_refuse_stops_it(folder, turn):
    strict = NOTES_AFTER.replace("code INTEGER UNIQUE", "place TEXT NOT NULL, code INTEGER UNIQUE")
    change = migration(Change("notes", NOTES, strict, values={"mood": MOODS}))
    path = notes(folder, "UPDATE notes SET place = 'here'")
    twin = twin_of(path)
    writes = "UPDATE notes SET place = NULL WHERE id = 40"
    with pytest.raises(PromotionError, match=r"do not fit .*NOT NULL constraint failed.*; live unchanged"):
        online(path, change, **({"between": [*([()] * turn), writes]} if turn >= 0 else {"last": writes}))
    applied(twin, writes)
    assert whole(cleaned(path, change)) == whole(twin)


ONCE = migration(Change("notes", NOTES, NOTES_AFTER.replace("body TEXT NOT NULL", "body TEXT UNIQUE NOT NULL")))
DUPLICATES = {
    "of a row that is copied": "UPDATE notes SET body = 'note 2' WHERE id = 1",
    "of a row that is to come": "UPDATE notes SET body = 'note 97' WHERE id = 1",
    "of a row that is new": "INSERT INTO notes (id, body) VALUES (-1, 'x'), (-2, 'x')",
    "of a row far away": "UPDATE notes SET body = 'note 2' WHERE id = 99",
}


def stopped_by_a_duplicate(folder, writes, **options):
    path = notes(folder, "UPDATE notes SET mood = 'good'")
    twin = twin_of(path)
    with pytest.raises(PromotionError, match=r"(UNIQUE constraint failed|must be unique).*; live unchanged"):
        online(path, ONCE, **options)
    applied(twin, *writes)
    assert whole(cleaned(path, ONCE)) == whole(twin)


@pytest.mark.parametrize("turn", [0, 3, 9])
@pytest.mark.parametrize("what", DUPLICATES)
def test_a_duplicate_stops_it(folder, what, turn):
    stopped_by_a_duplicate(folder, [DUPLICATES[what]], between=[*([()] * turn), DUPLICATES[what]])


@pytest.mark.parametrize("what", DUPLICATES)
def test_a_duplicate_in_a_burst_stops_it(folder, what):
    writes = ("UPDATE notes SET place = 'x'", DUPLICATES[what])
    stopped_by_a_duplicate(folder, writes, between=[*([()] * 10), writes])


@pytest.mark.parametrize("turn", [0, 9, -1])
def test_a_missing_value_is_not_filled_with_a_default(folder, turn):
    strict = NOTES_AFTER.replace("code INTEGER UNIQUE", "place TEXT NOT NULL DEFAULT 'nowhere', code INTEGER UNIQUE")
    change = migration(Change("notes", NOTES, strict, values={"mood": MOODS}))
    path = notes(folder, "UPDATE notes SET place = 'here'")
    twin = twin_of(path)
    writes = "UPDATE notes SET place = NULL WHERE id = 40"
    with pytest.raises(PromotionError, match=r"(NOT NULL constraint failed|1 rows of notes have no place).*unchanged"):
        online(path, change, **({"between": [*([()] * turn), writes]} if turn >= 0 else {"last": writes}))
    applied(twin, writes)
    assert whole(cleaned(path, change)) == whole(twin)


def test_a_duplicate_in_a_burst_after_all_was_counted_stops_it(folder):
    writes = (DUPLICATES["of a row that is copied"], "UPDATE notes SET place = 'x' WHERE id > 3")
    stopped_by_a_duplicate(folder, [writes], last=writes)


@pytest.mark.parametrize("what", DUPLICATES)
def test_a_duplicate_just_before_the_swap_stops_it(folder, what):
    stopped_by_a_duplicate(folder, [DUPLICATES[what]], last=DUPLICATES[what])


def stopped(folder, error, why, schema=(), change=STARS, **options):
    """Live has its old schema but for what the application changed, and every row."""
    path = notes(folder)
    twin = twin_of(path)
    with pytest.raises(error, match=why):
        online(path, change, **options)
    applied(twin, schema)
    assert whole(cleaned(path, change)) == whole(twin)
    return path


SCHEMA = {
    "made index mine": "CREATE INDEX mine ON notes (body)",
    "dropped index by_body": "DROP INDEX by_body",
    "made trigger mine": "CREATE TRIGGER mine AFTER DELETE ON notes BEGIN SELECT 1; END",
    "dropped trigger tagged": "DROP TRIGGER tagged",
    "made view mine": "CREATE VIEW mine AS SELECT id FROM notes",
    "dropped view bodies": "DROP VIEW bodies",
    "changed view bodies": ("DROP VIEW bodies", "CREATE VIEW bodies AS SELECT id FROM tags"),
    "made table mine": "CREATE TABLE mine (id INTEGER REFERENCES notes (id))",
    "changed table notes": "ALTER TABLE notes ADD COLUMN stars INTEGER",
    "made table notes_legacy, which is a name of this tool's": "CREATE TABLE notes_legacy (id)",
}


@pytest.mark.parametrize("turn", [0, 5, -1])
@pytest.mark.parametrize("what", SCHEMA)
def test_a_schema_of_the_table_that_changes_meanwhile_stops_it(folder, what, turn):
    options = {"between": [*([()] * turn), SCHEMA[what]]} if turn >= 0 else {"last": SCHEMA[what]}
    why = f"changed since the backup: the application .*{what}.*; live was left as it is; start again"
    stopped(folder, PromotionError, why, SCHEMA[what], **options)


OURS = {
    "a trigger": 'DROP TRIGGER "_mig_notes.after update"',
    "an index": "DROP INDEX _mig_by_mood",
}


@pytest.mark.parametrize("turn", [0, -1])
@pytest.mark.parametrize("what", OURS)
def test_an_object_of_ours_that_somebody_dropped_stops_it(folder, what, turn):
    between = [*([()] * turn), OURS[what]] if turn >= 0 else ()
    last = OURS[what] if turn < 0 else "UPDATE notes SET body = 'unnoted' WHERE id = 1"
    path = notes(folder)
    twin = twin_of(path)
    with pytest.raises(PromotionError, match="the application dropped or changed what this run has in live: _mig_"):
        online(path, STARS, between=between, last=last)
    applied(twin, last if turn >= 0 else ())
    assert whole(cleaned(path, STARS)) == whole(twin)


def test_a_trigger_that_was_made_again_differently_stops_it(folder):
    changed = (
        'DROP TRIGGER "_mig_notes.after update"',
        'CREATE TRIGGER "_mig_notes.after update" AFTER UPDATE ON notes BEGIN SELECT 1; END',
    )
    stopped(
        folder, PromotionError, "dropped or changed what this run has in live: _mig_notes.after u", between=[changed]
    )


def test_what_is_named_like_ours_before_it_begins_stops_it(folder):
    path = notes(folder, "CREATE TABLE _mig_theirs (x)")
    before = whole(path)
    with pytest.raises(PromotionError, match="own: _mig_theirs; live was left as it is; rename or"):
        online(path, STARS)
    assert whole(path) == before


TAMPERED = {
    "a value": "UPDATE _mig_notes SET body = 'wrong' WHERE id = new.id",
    "a type": "UPDATE _mig_notes SET body = CAST(body AS BLOB) WHERE id = new.id",
    "case": "UPDATE _mig_notes SET body = upper(body) WHERE id = new.id",
    "a row that is lost": "DELETE FROM _mig_notes WHERE id = new.id",
}


def tamper(what):
    """A trigger of the test's own on the shadow table, so that a row is wrong before it is committed."""
    return f"CREATE TRIGGER wrong AFTER INSERT ON _mig_notes WHEN new.id = 33 BEGIN {TAMPERED[what]}; END"


WRONG = "a row of the new notes is not what the migration says; live unchanged"


@pytest.mark.parametrize("what", TAMPERED)
def test_a_row_that_was_copied_wrongly_is_noticed(folder, what):
    stopped(folder, RehearsalError, WRONG, between=[(), tamper(what)])


@pytest.mark.parametrize("what", TAMPERED)
def test_a_row_that_was_caught_up_wrongly_is_noticed(folder, what):
    noted = "UPDATE notes SET place = 'x'"
    stopped(folder, RehearsalError, WRONG, noted, between=[*([()] * 11), (noted, tamper(what))])


@pytest.mark.parametrize("turn", range(2, 12, 3))
def test_a_row_that_is_lost_from_the_shadow_table_is_noticed(folder, turn):
    lost = "DELETE FROM _mig_notes WHERE id = 3"
    stopped(folder, RehearsalError, WRONG, between=[*([()] * turn), lost])


@pytest.mark.parametrize("turn", range(2, 12, 3))
def test_a_row_that_is_in_the_shadow_table_alone_is_noticed(folder, turn):
    more = "INSERT INTO _mig_notes (id, body) VALUES (-3, 'nobody wrote this')"
    stopped(folder, RehearsalError, WRONG, between=[*([()] * turn), more])


@pytest.mark.parametrize("turn", [0, 5, 10])
def test_what_the_progress_raises_leaves_live_and_every_write(folder, turn):
    path = notes(folder)
    twin = twin_of(path)
    between = [*([()] * turn), WRITES[0], lambda c: [][1]]
    with pytest.raises(IndexError):
        online(path, STARS, between=[*between, WRITES[1]] if turn < 10 else between[1:])
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        assert "_mig_notes" in own_objects(connection)
        connection.execute(WRITES[2])
    applied(twin, WRITES[0], WRITES[2])
    assert whole(cleaned(path, STARS)) == whole(twin)
    # Nothing of the first try is in the way of a second.
    check_forth(path, STARS)


def test_a_disk_that_is_nearly_full_stops_it(folder, monkeypatch):
    usage = {"total": 10**9, "used": 0, "free": 10**9}
    monkeypatch.setattr(module, "shutil", SimpleNamespace(disk_usage=lambda path: SimpleNamespace(**usage)))

    def fill(connection):
        usage["free"] = 19_000_000

    stopped(folder, PromotionError, r"has only 19,000,000 bytes left.*; live unchanged; make room", between=[(), fill])


@pytest.mark.parametrize(
    ("total", "free", "goes"),
    [
        (10**8, 4 << 20, True),
        (10**8, (4 << 20) - 1, False),
        (10**9, 20_000_000, True),
        (10**12, 64 << 20, True),
        (10**12, (64 << 20) - 1, False),
    ],
)
def test_a_fiftieth_of_the_disk_within_limits_is_left_to_the_application(folder, monkeypatch, total, free, goes):
    asked = []

    def disk_usage(path):
        asked.append(path)
        return SimpleNamespace(total=total, free=free)

    path = notes(folder, rows=1)
    monkeypatch.setattr(module, "shutil", SimpleNamespace(disk_usage=disk_usage))
    if goes:
        online(path, STARS)
    else:
        with pytest.raises(PromotionError, match="bytes left"):
            online(path, STARS)
    assert set(asked) == {folder}


def not_online(path, why, *migrations):
    before = whole(path)
    with pytest.raises(NotOnlineError, match=why):
        online(path, *migrations)
    assert whole(path) == before


def test_a_value_that_depends_on_other_rows_needs_one_transaction(folder):
    change = Change("notes", NOTES, NOTES_AFTER, values={"stars": "(SELECT count(*) FROM {rows} AS r WHERE r.id < id)"})
    not_online(notes(folder), "a value of notes depends on other rows.*--max-lock-ms", migration(change))


@pytest.mark.parametrize(
    "stars", ["id IN tags", 'id IN "tags"', "row_number() OVER (ORDER BY id)", "id IN json_each('[1]')"]
)
def test_so_does_one_that_reads_other_rows_without_a_select(folder, stars):
    change = Change("notes", NOTES, NOTES_AFTER, values={"stars": stars})
    not_online(notes(folder), "a value of notes depends on other rows", migration(change))


def test_a_list_of_constants_reads_no_other_row(folder):
    change = Change("notes", NOTES, NOTES_AFTER, values={"stars": "id IN (1, 2)", "mood": "'good'"})
    check_forth(notes(folder), migration(change), last="INSERT INTO notes (id, body) VALUES (0, 'more')")


def test_values_that_may_be_read_between_two_changes_of_a_table_need_one_transaction(folder):
    """Both changes of a table take place at once, in the swap: what reads it has to read it before or after both."""
    path = notes(folder, "CREATE TABLE best (id INTEGER PRIMARY KEY, stars INTEGER)", "INSERT INTO best VALUES (1, 0)")
    best = Change("best", values={"stars": "(SELECT max(stars) FROM notes)"}, where="id = 1")
    again = Change(
        "notes", NOTES_AFTER, NOTES_AFTER.replace("stars", "more TEXT, stars"), originals="n_2", ahead="n_2_ahead"
    )
    first, second = STARS, migration(again, version=2)
    not_online(
        path, "values of best may be read .* --to", first, migration(best, version=2), replace(second, version=3)
    )
    check_forth(path, first, second, migration(best, version=3))


def test_a_second_migration_of_one_table_that_depends_on_other_rows_needs_one_transaction(folder):
    counted = Change(
        "notes", values={"stars": "(SELECT count(*) FROM tags)"}, where="id = 1", originals="later", ahead="later_ahead"
    )
    not_online(notes(folder), "several pending migrations change notes, one of", STARS, migration(counted, version=2))


def test_a_unique_index_with_a_condition_needs_one_transaction(folder):
    path = notes(folder, "CREATE UNIQUE INDEX partial ON notes (body) WHERE id > 5")
    not_online(path, "unique index partial of notes has a condition", STARS)


def test_a_writer_that_never_lets_go_stops_it(folder, monkeypatch):
    monkeypatch.setattr("migrator.paced._PATIENCE_S", 0.05)
    path = notes(folder)
    twin = twin_of(path)
    with pytest.raises(PromotionError, match=r"another connection keeps the write lock .*"):
        online(path, STARS, between=[(), "BEGIN IMMEDIATE"])
    assert whole(cleaned(path, STARS)) == whole(twin)


def test_a_reader_that_never_ends_stops_it_with_nothing_done(folder, monkeypatch):
    monkeypatch.setattr("migrator.paced._PATIENCE_S", 0.05)
    path = notes(folder, journal_mode="delete")
    twin = twin_of(path)
    reader = Reader(path, 10**9)
    with (
        closing(reader.connection),
        pytest.raises(PromotionError, match=r"a reader keeps every COMMIT from ending "),
    ):
        online(path, STARS, pace=reader, last=reader.begin)
    assert whole(cleaned(path, STARS)) == whole(twin)


def test_a_log_that_does_not_shrink_stops_it(folder, monkeypatch):
    monkeypatch.setattr(module, "_CATCH_UP_S", 0.0)
    path = notes(folder)
    with pytest.raises(PromotionError, match=r"changes notes faster than the promotion follows \(300 notes"):
        online(path, STARS, between=[*([()] * 11), BURST])
    assert [name for name, *_ in whole(cleaned(path, STARS))[""] if name.startswith("_mig_")] == []


def test_the_backups_state_is_checked_before_anything_is_made(folder):
    path = notes(folder)
    with planned(path, [STARS]) as (connection, application, plan, state):
        applied(path, "CREATE INDEX mine ON notes (body)")
        before = whole(path)
        with pytest.raises(PromotionError, match="changed since the backup"):
            module.promote_online(connection, application, plan, state, lambda *_: None, Steady(), 0)
        assert read_state(connection, application_of(STARS)).schema.named("mine")
    assert whole(path) == before


def test_an_error_in_the_ledger_takes_the_swap_back(folder):
    path = notes(folder)
    twin = twin_of(path)

    def fail(*_):
        raise KeyboardInterrupt

    with planned(path, [STARS]) as (connection, application, plan, state):
        with pytest.raises(KeyboardInterrupt):
            module.promote_online(connection, application, plan, state, fail, Steady(), 0)
        assert not connection.in_transaction
    assert whole(cleaned(path, STARS)) == whole(twin)


@pytest.mark.parametrize("turn", [0, 2, 4, -1])
def test_a_vacuum_meanwhile_stops_it_where_it_gives_rows_other_ids(folder, turn):
    before, after = "CREATE TABLE t (a, b)", "CREATE TABLE t (n, a UNIQUE, b)"
    change = migration(Change("t", before, after))
    path = made(folder / "live.db", before, NUMBERS + "INSERT INTO t SELECT x, x FROM n", "DELETE FROM t WHERE a < 11")
    writes = ("VACUUM", "UPDATE t SET b = 'changed' WHERE a = 30")
    with pytest.raises(PromotionError, match="VACUUM gave the rows of t other rowids; live unchanged"):
        online(path, change, **({"between": [*([()] * turn), writes]} if turn >= 0 else {"last": writes}))
    with closing(sqlite3.connect(cleaned(path, change))) as connection:
        assert connection.execute("SELECT a FROM t ORDER BY a").fetchall() == [(a,) for a in range(11, 46)]
        assert connection.execute("SELECT a FROM t WHERE b = 'changed'").fetchall() == [(30,)]
