"""A killed run is ended, a damaged live gets its backup's pages."""

import os
import signal
import sqlite3
from contextlib import closing
from functools import partial

import pytest

from migrator import pages, restoration
from migrator.connect import opened
from migrator.errors import RestoreError
from migrator.pages import copy_back
from migrator.restoration import recover
from tests.children import holding, killed_after
from tests.notes import NOTES, SOURCE_COLUMNS, TARGET_COLUMNS, make_notes
from tests.runs import (
    backed_up,
    beside,
    columns,
    holds,
    is_sound,
    live_of,
    migrate,
    promoted,
    rehearsed,
    restored,
    rows,
    run_sql,
    stored,
)

COPY = pages.copy_database
REVERSE = restoration._reverse


def damage(database):
    """Spoils the last pages, which hold rows of `big`."""
    run_sql(database, "CREATE TABLE big (x)", "INSERT INTO big VALUES (hex(zeroblob(20000)))")
    run_sql(database, "PRAGMA wal_checkpoint(TRUNCATE)")
    with database.open("r+b") as file:
        file.seek(-8192, 2)
        file.write(b"\xff" * 8192)


def test_a_reverse_that_leaves_damage_is_followed_by_the_backups_pages(database, monkeypatch):
    before = holds(database)

    def reverse_and_damage(connection, *arguments):
        REVERSE(connection, *arguments)
        connection.execute("CREATE INDEX wrong ON tags (tag)")
        connection.execute("PRAGMA writable_schema=1")
        connection.execute("UPDATE sqlite_master SET sql = replace(sql, '(tag)', '(note_id)') WHERE name = 'wrong'")
        connection.execute("PRAGMA writable_schema=RESET")

    live = live_of(promoted(database))
    monkeypatch.setattr(restoration, "_reverse", reverse_and_damage)
    assert restored(database, live).how == "pages_copied"
    assert holds(database) == before and is_sound(database)


def test_a_damaged_live_gets_the_backups_pages_after_its_present_state_was_saved(database):
    before = holds(database)
    live = live_of(promoted(database))
    damage(database)
    result = restored(database, live)
    assert result.how == "pages_copied"
    assert [f.code for f in result.findings] == ["pages_copied"]
    assert holds(database) == before and is_sound(database)
    present = live.directory / "before-restore.db"
    assert rows(present, "SELECT count(*) FROM notes") == [(100,)] and columns(present) == TARGET_COLUMNS
    assert present.stat().st_mode & 0o777 == 0o600
    assert beside(database) == {"notes.db.backups"}
    assert restored(database, live).how == "unchanged"
    assert present.exists()


def test_pages_are_not_copied_from_a_backup_that_changed(database):
    live = live_of(promoted(database))
    damage(database)
    with (live.directory / "backup.db").open("r+b") as file:
        file.seek(-50, 2)
        file.write(b"\x01")
    damaged = stored(database)
    with pytest.raises(RestoreError, match=r"is damaged .* is not what .*manifest.json says"):
        restored(database, live)
    assert stored(database) == damaged


def test_a_damaged_live_without_a_verified_backup_is_an_operators_case(database):
    live = live_of(promoted(database))
    (live.directory / "manifest.json").unlink()
    damage(database)
    with pytest.raises(RestoreError, match="this run has no verified backup of it"):
        restored(database, live)
    assert (live.directory / "backup.db").exists()


def test_a_live_in_which_nothing_was_promoted_is_not_checked_page_by_page(database, monkeypatch):
    live = rehearsed(database).inspection.backup.live
    monkeypatch.setattr(restoration, "integrity_faults", lambda connection: pytest.fail("live was checked"))
    assert restored(database, live).how == "unchanged"


def test_damage_that_shows_before_the_promotion_is_mended_from_the_backup(database):
    before = holds(database)
    live = rehearsed(database).inspection.backup.live
    page = rows(database, "SELECT rootpage FROM sqlite_master WHERE name = 'notes'")[0][0]
    run_sql(database, "PRAGMA wal_checkpoint(TRUNCATE)")
    with database.open("r+b") as file:
        file.seek(4096 * (page - 1))
        file.write(b"\xff" * 4096)
    assert restored(database, live).how == "pages_copied"
    assert holds(database) == before


def test_a_live_that_is_no_database_any_more_is_saved_byte_by_byte_and_the_commands_named(tmp_path):
    database = tmp_path / "notes.db"
    make_notes(database)
    live = live_of(promoted(database))
    with database.open("r+b") as file:
        file.write(b"\xff" * 100)
    spoilt = database.read_bytes()
    with pytest.raises(RestoreError, match=r"is no database any more, .*; stop the application, then: cp "):
        restored(database, live)
    assert (live.directory / "before-restore.db").read_bytes() == spoilt == database.read_bytes()


def test_pages_are_copied_into_the_open_file_and_its_readers_see_them(tmp_path):
    database = tmp_path / "notes.db"
    make_notes(database)
    backup = backed_up(database)
    before = holds(database)
    with closing(sqlite3.connect(database, isolation_level=None)) as reader:
        reader.execute("DELETE FROM notes")
        inode = database.stat().st_ino
        copy_back(backup.path, database, backup.path.with_name("present.db"))
        assert reader.execute("SELECT count(*) FROM notes").fetchone() == (100,)
        reader.execute("INSERT INTO notes (body, mood) VALUES ('after', 'good')")
    assert database.stat().st_ino == inode
    assert rows(backup.path.with_name("present.db"), "SELECT count(*) FROM notes") == [(0,)]
    run_sql(database, "DELETE FROM notes WHERE body = 'after'", "UPDATE sqlite_sequence SET seq = 101")
    assert holds(database) == before and is_sound(database)


def test_pages_are_not_copied_while_an_application_has_a_log_open(tmp_path, monkeypatch):
    database = tmp_path / "notes.db"
    make_notes(database, journal_mode="wal")
    backup = backed_up(database)
    present = backup.path.with_name("present.db")
    monkeypatch.setattr(pages, "opened", partial(opened, timeout_s=0.1))
    with holding(database, "DELETE FROM notes"), pytest.raises(sqlite3.OperationalError, match="locked"):
        copy_back(backup.path, database, present)
    assert rows(database, "SELECT count(*) FROM notes") == [(0,)]
    assert not present.exists()
    copy_back(backup.path, database, present)
    assert rows(database, "SELECT count(*) FROM notes") == [(100,)]
    assert rows(database, "PRAGMA journal_mode") == [("wal",)]


def test_no_write_comes_between_the_saved_state_and_the_copied_pages(database, monkeypatch):
    backup = backed_up(database)
    tried = []

    def copy_and_write(source, target, *rest):
        with closing(sqlite3.connect(database, timeout=0.05, isolation_level=None)) as other:
            try:
                other.execute("INSERT INTO notes (body, mood) VALUES ('between', 'good')")
                tried.append("written")
            except sqlite3.OperationalError as error:
                tried.append(str(error))
        COPY(source, target, *rest)

    monkeypatch.setattr(pages, "copy_database", copy_and_write)
    copy_back(backup.path, database, backup.path.with_name("present.db"))
    assert tried == ["database is locked"] * 2


def killing_at(number, when):
    """Copies pages, and is killed `before` or `after` the copy of that number."""
    copies = []

    def copy(source, target):
        copies.append(target)
        if len(copies) == number and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        COPY(source, target)
        if len(copies) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return copy


@pytest.mark.parametrize(("number", "when", "saved"), [(1, "after", False), (2, "before", True), (2, "after", True)])
def test_a_kill_leaves_a_saved_state_that_is_complete_or_has_another_name(database, monkeypatch, number, when, saved):
    backup = backed_up(database)
    run_sql(database, "DELETE FROM notes")
    before = holds(database)
    present = backup.path.with_name("present.db")
    monkeypatch.setattr(pages, "copy_database", killing_at(number, when))
    killed_after(60, lambda: copy_back(backup.path, database, present))
    assert present.exists() == saved
    assert present.with_name("present.db.unfinished").exists() == (not saved)
    assert holds(database) == (holds(backup.path) if (number, when) == (2, "after") else before)
    if saved:
        assert holds(present) == before
    monkeypatch.undo()
    present.unlink(missing_ok=True)
    copy_back(backup.path, database, present)
    assert holds(database) == holds(backup.path)
    assert not present.with_name("present.db.unfinished").exists()


def test_a_live_that_is_damaged_after_the_copy_too_is_an_operators_case(database, monkeypatch):
    live = live_of(promoted(database))
    damage(database)
    monkeypatch.setattr(restoration, "copy_back", lambda backup, database, present: present.touch())
    with pytest.raises(
        RestoreError, match=r"notes.db is still damaged \(.*; stop the application, then: cp "
    ) as caught:
        restored(database, live)
    assert f"what it held is in {live.directory / 'before-restore.db'}" in str(caught.value)
    assert database.with_name("notes.db.migrating").exists()


def test_a_committed_promotion_whose_run_was_killed_is_finished(database):
    live = live_of(promoted(database))
    found = recover(database, NOTES)
    said = ("recovered", f"the promotion of killed run {live.run_id} was verified and stands")
    assert (found.run_id, found.how) == (live.run_id, "finished")
    assert [(f.code, f.message) for f in found.findings] == [said]
    assert columns(database) == TARGET_COLUMNS
    assert beside(database) == {"notes.db.backups"}
    assert sorted(os.listdir(live.directory)) == ["backup.db", "manifest.json"]
    with pytest.raises(RestoreError, match="no run was under way"):
        recover(database, NOTES)


def test_a_killed_run_that_had_promoted_nothing_is_undone(database):
    before = holds(database)
    live = rehearsed(database).inspection.backup.live
    found = recover(database, NOTES)
    said = ("recovered", f"killed run {live.run_id} had promoted nothing; what it left was removed")
    assert found.how == "unchanged"
    assert [(f.code, f.message) for f in found.findings] == [said]
    assert holds(database) == before


def test_a_promotion_that_the_application_has_built_on_is_finished(database):
    promoted(database)
    run_sql(database, "CREATE VIEW recent AS SELECT id, stars FROM notes")
    found = recover(database, NOTES)
    assert (found.how, [f.code for f in found.findings]) == ("finished", ["recovered", "schema_changed_since"])
    assert rows(database, "SELECT count(*), max(stars) FROM recent") == [(100, None)]


def test_a_committed_way_back_whose_run_was_killed_is_finished(database):
    migrate(database)
    run_sql(database, "CREATE INDEX mine ON notes (body)")
    promoted(database, to_version=0)
    assert recover(database, NOTES).how == "finished"
    assert columns(database) == SOURCE_COLUMNS


def test_a_promotion_that_does_not_verify_is_reversed(database):
    before = holds(database)
    live = live_of(promoted(database))
    run_sql(database, "DROP INDEX notes_mood")
    found = recover(database, NOTES)
    why = f"the schema of notes in {database} is not the promoted one: index notes_mood missing or changed"
    assert found.how == "reversed"
    assert [(f.code, f.message) for f in found.findings] == [
        ("recovered", f"the promotion of killed run {live.run_id} was reversed"),
        ("promotion_reversed", why),
    ]
    assert holds(database) == before


def test_a_recovery_that_can_neither_verify_nor_reverse_says_both(database):
    live = live_of(promoted(database))
    run_sql(database, "DROP INDEX notes_mood")
    (live.directory / "backup.db").unlink()
    with pytest.raises(RestoreError, match=r"is not the promoted one: index notes_mood .*; then: .* not be reversed"):
        recover(database, NOTES)


def test_a_killed_run_on_a_live_that_is_damaged_now_is_recovered_from_its_backup(database):
    before = holds(database)
    promoted(database)
    damage(database)
    assert recover(database, NOTES).how == "pages_copied"
    assert holds(database) == before


def test_a_finished_run_keeps_its_backup_even_without_a_manifest(database):
    live = live_of(promoted(database))
    (live.directory / "manifest.json").unlink()
    recover(database, NOTES)
    assert os.listdir(live.directory) == ["backup.db"]
