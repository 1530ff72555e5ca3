"""Back to where a run began, with everything that the application wrote since."""

import os
import shutil
import sqlite3
from functools import partial

import pytest

from migrator import restoration
from migrator.connect import opened
from migrator.errors import PromotionError, RestoreError
from migrator.ltmc import LTMC
from migrator.migration import Change
from migrator.promotion import promote
from tests.children import holding
from tests.notes import NOTES, SOURCE_COLUMNS, TARGET_COLUMNS, change, make_notes, migration, notes_application
from tests.runs import (
    PLENTY_MS,
    backed_up,
    beside,
    columns,
    holds,
    live_of,
    migrate,
    promoted,
    rehearsed,
    restored,
    rows,
    run_sql,
    stored,
)


def test_before_the_promotion_nothing_changes_and_only_the_backup_stays(database):
    before = holds(database)
    live = rehearsed(database).inspection.backup.live
    assert restored(database, live).how == "unchanged"
    assert holds(database) == before
    assert beside(database) == {"notes.db.backups"}
    assert sorted(os.listdir(live.directory)) == ["backup.db", "manifest.json"]


def test_a_promotion_tells_how_much_of_the_file_it_leaves_free(database):
    run_sql(database, "UPDATE notes SET body = hex(zeroblob(10000))")
    found = restoration.finish_promoted(live_of(promoted(database)))
    free, pages = (rows(database, f"PRAGMA {count}")[0][0] for count in ("freelist_count", "page_count"))
    assert free > pages / 3
    assert [(f.code, f.text) for f in found] == [
        (
            "free_pages",
            f"{free * 4096 / 1e6:.1f} MB of the file, {100 * free / pages:.0f}%, are free pages: SQLite fills them "
            "before the file grows; VACUUM would give them back to the disk, and keep every writer waiting meanwhile",
        )
    ]


def test_a_run_that_left_something_in_live_keeps_its_journal_for_the_next_start(database):
    live = live_of(promoted(database))
    run_sql(database, 'CREATE TABLE "_mig_notes.old" (x)')
    found = restoration.finish_promoted(live)
    assert [(f.code, f.message) for f in found] == [
        ("leftovers", "the next start removes _mig_notes.old from notes.db")
    ]
    assert restoration.recover(database, NOTES).how == "finished"
    assert rows(database, "SELECT name FROM sqlite_master WHERE name GLOB '_mig_*'") == []
    assert beside(database) == {"notes.db.backups"}


def test_a_backup_that_was_never_finished_goes_too(database):
    backup = backed_up(database)
    backup.path.with_name("manifest.json").unlink()
    assert restored(database, backup.live).how == "unchanged"
    assert beside(database) == set()


def test_a_run_that_had_only_written_its_journal_leaves_nothing(database):
    backup = backed_up(database)
    shutil.rmtree(backup.path.parent.parent)
    assert restored(database, backup.live).how == "unchanged"
    assert beside(database) == set()


def test_after_the_promotion_schema_and_rows_are_those_of_before(database):
    before = holds(database)
    assert restored(database, live_of(promoted(database))).how == "reversed"
    assert holds(database) == before
    assert beside(database) == {"notes.db.backups"}


def test_rows_written_since_the_promotion_are_kept_also_what_only_the_new_table_can_hold(database):
    before = holds(database)["schema"]
    live = live_of(promoted(database))
    run_sql(
        database,
        "INSERT INTO notes (body, mood, stars) VALUES ('since', 'good', 5)",
        "INSERT INTO notes (body, mood) VALUES ('nothing new', 'bad')",
        "UPDATE notes SET body = 'changed' WHERE id = 1",
        "DELETE FROM notes WHERE id = 2",
    )
    result = restored(database, live)
    assert [(f.code, f.message) for f in result.findings] == [
        ("rows_written_since", "table notes has 101 rows, the backup 100")
    ]
    assert rows(database, "SELECT id, body, mood, place FROM notes WHERE id > 101") == [
        (102, "since", "good", None),
        (103, "nothing new", "bad", None),
    ]
    assert rows(database, "SELECT body, place FROM notes WHERE id < 3") == [("changed", None)]
    assert rows(database, "SELECT id, stars FROM notes_ahead") == [(102, 5)]
    assert set(before) <= set(holds(database)["schema"])
    migrate(database)
    assert rows(database, "SELECT stars FROM notes WHERE id = 102") == [(5,)]


def test_the_ledger_knows_nothing_of_a_run_that_was_undone(database):
    migrate(database)
    before = holds(database)
    live = live_of(promoted(database, to_version=0))
    assert columns(database) == SOURCE_COLUMNS
    assert restored(database, live).how == "reversed"
    assert columns(database) == TARGET_COLUMNS
    assert holds(database)["_migration_history"] == before["_migration_history"]
    assert holds(database)["notes"] == before["notes"]


def test_a_second_restore_finds_nothing_to_do(database):
    live = live_of(promoted(database))
    restored(database, live)
    before = stored(database)
    again = restored(database, live)
    assert (again.how, again.findings) == ("unchanged", ())
    assert stored(database) == before
    assert beside(database) == {"notes.db.backups"}


def test_what_a_killed_run_left_in_live_is_removed(database):
    before = holds(database)
    live = rehearsed(database).inspection.backup.live
    run_sql(
        database,
        "CREATE TABLE _mig_notes (id INTEGER PRIMARY KEY, body)",
        "CREATE INDEX _mig_body ON _mig_notes (body)",
        'CREATE TABLE "_mig_notes.log" (x)',
        'CREATE TRIGGER "_mig_notes.after insert" AFTER INSERT ON notes '
        "BEGIN INSERT INTO _mig_notes (body) VALUES ('x'); END",
    )
    assert restored(database, live).how == "unchanged"
    assert holds(database) == before


def test_what_cannot_be_removed_for_a_lock_waits_for_the_next_start(database, monkeypatch):
    before = holds(database)
    live = rehearsed(database).inspection.backup.live
    run_sql(database, "CREATE TABLE _mig_notes (id INTEGER PRIMARY KEY, body)")
    monkeypatch.setattr("migrator.paced._PATIENCE_S", 0.02)
    with (
        holding(database, "BEGIN IMMEDIATE"),
        pytest.raises(RestoreError, match=r"what the run left in .*notes.db cannot be removed \(another connection"),
    ):
        restored(database, live)
    assert restoration.recover(database, NOTES).how == "unchanged"
    assert holds(database) == before


def test_what_is_only_named_like_this_tools_own_stays(database):
    live = rehearsed(database).inspection.backup.live
    run_sql(database, "CREATE TABLE _mig_zz (x)", "INSERT INTO _mig_zz VALUES (1)")
    before = holds(database)
    assert restored(database, live).how == "unchanged"
    assert holds(database) == before


def test_a_schema_that_the_application_changed_meanwhile_is_a_finding_and_no_failure(database):
    candidate = rehearsed(database)
    run_sql(database, "CREATE INDEX mine ON notes (body)")
    with pytest.raises(PromotionError):
        promote(candidate, PLENTY_MS)
    before = holds(database)
    result = restored(database, candidate.inspection.backup.live)
    assert [(f.code, f.message) for f in result.findings] == [
        ("schema_changed_meanwhile", "the application changed index mine")
    ]
    assert holds(database) == before


def test_what_the_application_dropped_meanwhile_is_a_finding_and_no_failure(database):
    live = rehearsed(database).inspection.backup.live
    run_sql(database, "DROP TRIGGER tagged")
    result = restored(database, live)
    assert (result.how, [f.message for f in result.findings]) == (
        "unchanged",
        ["the application changed trigger tagged"],
    )


def test_what_a_reverse_does_not_bring_back_is_an_operators_case(database):
    live = live_of(promoted(database))
    run_sql(database, "DROP TRIGGER tagged")
    with pytest.raises(RestoreError, match=r"has not the schema that it had before .* python -m flows.restore"):
        restored(database, live)


def test_a_reversed_run_keeps_its_backup_even_without_a_manifest(database):
    live = live_of(promoted(database))
    (live.directory / "manifest.json").unlink()
    assert restored(database, live).how == "reversed"
    assert os.listdir(live.directory) == ["backup.db"]


def test_an_index_made_since_the_promotion_is_kept(database):
    live = live_of(promoted(database))
    run_sql(database, "CREATE INDEX mine ON notes (body)")
    result = restored(database, live)
    assert [f.code for f in result.findings] == ["schema_changed_meanwhile"]
    assert rows(database, "SELECT tbl_name FROM sqlite_master WHERE name = 'mine'") == [("notes",)]
    assert columns(database) == SOURCE_COLUMNS


def test_what_cannot_be_reversed_leaves_the_new_schema_and_names_the_commands(database):
    live = live_of(promoted(database))
    run_sql(database, "CREATE TABLE mine (x)", "CREATE INDEX of_new ON notes (stars)")
    before = holds(database)
    with pytest.raises(RestoreError) as caught:
        restored(database, live)
    message = str(caught.value)
    assert "could not be reversed (" in message and "of_new" in message
    assert "live holds the new schema and every row" in message
    backup = live.directory / "backup.db"
    assert f"python -m flows.restore --database {database} --backup {backup} --discard-later-writes" in message
    assert holds(database) == before
    assert (database.with_name("notes.db.migrating")).exists()


def test_a_backup_that_is_gone_makes_a_reverse_an_operators_case(database):
    live = live_of(promoted(database))
    (live.directory / "backup.db").unlink()
    before = holds(database)
    with pytest.raises(RestoreError, match=r"could not be reversed .*python -m flows.restore"):
        restored(database, live)
    assert holds(database) == before


def test_a_locked_live_is_neither_damaged_nor_restored(tmp_path, monkeypatch):
    database = tmp_path / "notes.db"
    make_notes(database)
    live = live_of(promoted(database))
    monkeypatch.setattr(restoration, "opened", partial(opened, timeout_s=0.1))
    with holding(database, "BEGIN EXCLUSIVE"), pytest.raises(sqlite3.OperationalError, match="locked"):
        restored(database, live)
    assert columns(database) == TARGET_COLUMNS
    assert restored(database, live).how == "reversed"


def test_a_reader_in_the_way_of_a_reverse_says_locked_and_the_next_try_succeeds(tmp_path):
    database = tmp_path / "notes.db"
    make_notes(database)
    live = live_of(promoted(database))
    with (
        holding(database, "BEGIN", "SELECT * FROM notes"),
        pytest.raises(sqlite3.OperationalError, match="locked"),
    ):
        restored(database, live)
    assert restored(database, live).how == "reversed"


@pytest.mark.parametrize("start", ["original", "hand_altered"])
def test_the_applications_own_database_is_given_back_as_it_was(tmp_path, start):
    database = tmp_path / "ltmc.db"
    LTMC.make_demo(database, 100)
    if start == "hand_altered":
        run_sql(database, "ALTER TABLE CodePatterns ADD COLUMN tags TEXT", "UPDATE CodePatterns SET tags = '[1]'")
    before = holds(database)
    live = live_of(promoted(database, LTMC))
    assert restored(database, live).how == "reversed"
    assert holds(database) == before


QUIET = Change("notes", values={"place": "lower(place)"}, where="place GLOB 'P*'", originals="quiet", ahead="loud")


def test_rows_first_and_then_the_table_go_back_to_the_text_that_was_there(database):
    """A column that somebody added by hand is in no declared text of before."""
    run_sql(database, "UPDATE notes SET place = upper(place)", "ALTER TABLE notes ADD COLUMN stars INTEGER")
    before = holds(database)
    application = notes_application(migration(QUIET, tools=()), migration(change(), version=2))
    done = promoted(database, application)
    assert restored(database, live_of(done)).how == "reversed"
    assert holds(database) == before


@pytest.mark.parametrize("rows_at_once", [10_000, 10])
def test_a_table_that_was_changed_and_then_went_comes_back_as_it_was(database, monkeypatch, rows_at_once):
    monkeypatch.setattr(restoration, "_ROWS_AT_ONCE", rows_at_once)
    old, new = (f"CREATE TABLE old (id INTEGER PRIMARY KEY, word TEXT{more})" for more in ("", ", loud TEXT"))
    run_sql(database, old, "INSERT INTO old VALUES (1, 'one'), (7, NULL)")
    application = notes_application(
        migration(Change("old", old, new, values={"loud": "upper(word)"}), tools=()),
        migration(change(), Change("old", before=new, originals="old_gone", ahead="old_back"), version=2),
    )
    before = holds(database)
    done = promoted(database, application)
    assert columns(database, "old") == []
    assert restored(database, live_of(done)).how == "reversed"
    assert holds(database) == before
