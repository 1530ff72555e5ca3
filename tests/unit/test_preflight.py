"""Bad input is refused in one line, in no time, and leaves every byte as it was."""

import os
import re
import shutil
import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path

import pytest

from migrator.errors import RefusedError
from migrator.journal import Journal, write_journal
from migrator.migration import Switch
from migrator.preflight import preflight
from tests.children import as_nobody, holding, in_child
from tests.notes import NOTES, change, make_notes, migration, notes_application
from tests.runs import beside, migrate, refusal, run_sql, stored


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "notes.db"
    make_notes(path, rows=20)
    return path


@pytest.fixture
def reachable():
    """A database where every user may look: pytest's own folders are closed to others."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "notes.db"
        make_notes(path, rows=20)
        path.parent.chmod(0o777)
        path.chmod(0o666)
        yield path
        path.parent.chmod(0o777)


def refused(database, pattern, application=NOTES, **options):
    """The refusal names what `pattern` says; every byte stays, nothing is left, and no time is lost."""
    before = stored(database) if database.is_file() else {}
    around = beside(database) if database.parent.exists() else set()
    started = time.monotonic()
    error = refusal(database, application, **options)
    assert time.monotonic() - started < 1
    message = str(error)
    assert "\n" not in message and error.way_out and error.way_out in message
    assert re.search(pattern, message), message
    if database.is_file():
        assert stored(database) == before
    if database.parent.exists():
        assert beside(database) == around
    return error


def test_a_missing_file_is_refused(tmp_path):
    refused(tmp_path / "none.db", "no database at .*none.db; give its path with --database")


def test_a_file_in_a_missing_directory_is_refused(tmp_path):
    refused(tmp_path / "gone" / "none.db", "no database at")


def test_a_directory_is_refused(tmp_path):
    (tmp_path / "folder").mkdir()
    refused(tmp_path / "folder", "folder is a directory")


def test_a_pipe_is_refused_without_waiting_for_its_other_end(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "pipe is no ordinary file")


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "empty.db").touch()
    refused(tmp_path / "empty.db", "empty.db is empty; start the application once")


def test_what_is_no_database_is_refused(tmp_path):
    (tmp_path / "noise.db").write_bytes(os.urandom(8192))
    refused(tmp_path / "noise.db", "no SQLite database, or an encrypted one")


def test_a_good_header_before_nonsense_is_refused(database):
    database.write_bytes(database.read_bytes()[:16] + bytes(range(256)) * 64)
    refused(database, "notes.db is damaged|cannot be used")


def test_a_truncated_file_is_refused(database):
    size = database.stat().st_size
    os.truncate(database, size - 5000)
    refused(database, f"truncated: {size - 5000} bytes of {size}; restore it from a backup")


def test_a_damaged_schema_page_is_refused(database):
    with database.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 200)
    refused(database, "damaged")


def test_a_damaged_page_of_rows_is_refused_once_the_rows_are_read(database):
    run_sql(database, "UPDATE notes SET place = hex(zeroblob(2000))")
    with database.open("r+b") as file:
        file.seek(database.stat().st_size - 4096)
        file.write(b"\xff" * 4096)
    refused(database, "notes.db is damaged.*; repair it first")


def test_a_damaged_index_is_refused_once_the_rows_are_read(database):
    run_sql(database, "CREATE TABLE other (a TEXT, b TEXT)", "CREATE INDEX other_a ON other (a)")
    run_sql(database, "INSERT INTO other VALUES ('x', 'y')", "PRAGMA writable_schema=1",
            "UPDATE sqlite_master SET sql = 'CREATE INDEX other_a ON other (b)' WHERE name = 'other_a'")  # fmt: skip
    refused(database, "damaged: row 1 missing from index other_a")


@pytest.mark.parametrize("target", ["file", "directory", "both"])
def test_what_an_ordinary_user_may_not_write_is_refused(reachable, target):
    if target != "directory":
        reachable.chmod(0o444)
    if target != "file":
        reachable.parent.chmod(0o555)
    before = stored(reachable)
    message = in_child(lambda: str(refusal(reachable)), before=as_nobody)
    assert "cannot be written" in message and "make both writable" in message
    assert stored(reachable) == before
    assert beside(reachable) == set()


def test_an_unreadable_file_is_refused(reachable):
    reachable.chmod(0o000)
    message = in_child(lambda: str(refusal(reachable)), before=as_nobody)
    assert "cannot be read (Permission denied); run as a user who may read it" in message


def test_looking_asks_for_no_permission_to_write(reachable):
    reachable.chmod(0o444)
    reachable.parent.chmod(0o555)
    assert in_child(lambda: preflight(reachable, NOTES, only_look=True).to_version, before=as_nobody) == 1


def test_a_backup_folder_that_takes_no_file_is_refused(reachable, tmp_path):
    closed = reachable.parent / "closed"
    closed.mkdir(mode=0o555)
    message = in_child(lambda: str(refusal(reachable, backup_dir=closed / "deep" / "deeper")), before=as_nobody)
    assert "closed takes no backup" in message and "--backup-dir" in message
    (tmp_path / "plain").touch()
    refused(reachable, "plain takes no backup: it is no directory", backup_dir=tmp_path / "plain")


def test_a_second_hard_link_is_refused(database, tmp_path):
    os.link(database, tmp_path / "twin.db")
    refused(database, "has 2 hard links: two names would use two locks")


def test_a_database_of_another_application_is_refused(tmp_path):
    path = tmp_path / "other.db"
    run_sql(path, "CREATE TABLE unrelated (x)")
    refused(path, "table notes does not exist")


def test_an_unknown_column_is_refused_by_name(database):
    run_sql(database, "ALTER TABLE notes ADD COLUMN colour TEXT")
    refused(database, "column 'colour' of table notes is in neither schema")


def test_a_column_of_another_type_is_refused_with_both_types(database):
    run_sql(database, "ALTER TABLE notes ADD COLUMN stars BLOB")
    refused(database, "column 'stars' already exists in table 'notes' as BLOB, expected INTEGER")


def test_an_object_named_like_ours_is_refused(database):
    run_sql(database, "CREATE TABLE _mig_notes (x)")
    refused(database, "objects named like this tool's own: _mig_notes")


def test_what_a_killed_run_left_is_for_the_next_run_to_remove(database):
    write_journal(database, Journal("0a1b2c3d", str(database.parent / "20260101T000000Z-0a1b2c3d")))
    (found,) = preflight(database, NOTES, only_look=True).findings
    assert (found.code, found.message) == ("killed_run", "a migration first ends what run 0a1b2c3d left")
    run_sql(database, "CREATE TABLE _mig_notes (x)")
    (found,) = preflight(database, NOTES, only_look=True).findings
    assert found.message.endswith("first ends what run 0a1b2c3d left: _mig_notes; do not drop them by hand")
    refused(
        database,
        "^run 0a1b2c3d left _mig_notes in the database; start the migration again, which removes them; "
        "do not drop them by hand$",
    )


def test_an_unknown_version_is_refused(database):
    refused(database, "there is no version 0002; versions go from 0000 to 0001", to_version=2)


def test_too_little_space_is_refused(database):
    # A file with a hole as large as what is free: nothing is written to it.
    with database.open("r+b") as file:
        size = shutil.disk_usage(database.parent).free // 4096 * 4096
        file.truncate(size)
        counter = file.seek(24) and file.read(4)
        file.seek(28)
        file.write((size // 4096).to_bytes(4, "big"))
        file.seek(92)
        file.write(counter)
    started = time.monotonic()
    with pytest.raises(RefusedError, match=r"bytes free, the migration of notes.db needs [\d,]+; make room"):
        preflight(database, NOTES)
    assert time.monotonic() - started < 1
    assert beside(database) == set()
    assert preflight(database, NOTES, only_look=True).plan is not None


def free_on(monkeypatch, **free):
    """Each directory so named has that much room; the one named `elsewhere` is a file system of its own."""
    usage, stat = shutil.disk_usage, os.stat

    def stat_of(path, *arguments, **options):
        found = stat(path, *arguments, **options)
        if isinstance(path, Path) and path.name == "elsewhere":
            return os.stat_result((*found[:2], found.st_dev + 1, *found[3:]))
        return found

    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(path)._replace(free=free[Path(path).name]))
    monkeypatch.setattr(os, "stat", stat_of)


@pytest.mark.parametrize(
    ("chosen", "beside", "elsewhere", "short"),
    [
        (False, 6, 0, None),
        (True, 2, 4, None),
        (False, 6, 0, "beside"),
        (True, 2, 4, "beside"),
        (True, 2, 4, "elsewhere"),
    ],
)
def test_room_for_four_copies_and_twice_the_database_is_just_enough(
    tmp_path, monkeypatch, chosen, beside, elsewhere, short
):
    for folder in ("beside", "elsewhere"):
        (tmp_path / folder).mkdir()
    database = tmp_path / "beside" / "notes.db"
    make_notes(database, rows=20)
    size = database.stat().st_size
    free = {"beside": beside * size, "elsewhere": elsewhere * size}
    options = {"backup_dir": tmp_path / "elsewhere" / "new"} if chosen else {}
    if short is None:
        free_on(monkeypatch, **free)
        assert preflight(database, NOTES, **options).plan is not None
        return
    needed = free[short]
    free_on(monkeypatch, **{**free, short: needed - 1})
    with pytest.raises(
        RefusedError, match=f"{short} has {needed - 1:,} bytes free, the migration of .* needs {needed:,};"
    ):
        preflight(database, NOTES, **options)


def test_what_a_log_holds_counts_as_size(tmp_path):
    path = tmp_path / "wal.db"
    make_notes(path, journal_mode="wal")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_autocheckpoint=0")
        connection.execute("UPDATE notes SET place = hex(zeroblob(20000))")
        assert preflight(path, NOTES).size_bytes > 3_000_000 > path.stat().st_size


def test_a_locked_database_is_refused_after_the_timeout(database):
    with holding(database, "BEGIN EXCLUSIVE"):
        refused(database, "notes.db is locked by another process for more than 0.2 s", timeout_s=0.2)


def test_a_writer_at_work_is_waited_for_no_longer_than_the_timeout(database):
    with holding(database, "BEGIN IMMEDIATE"):
        refused(database, "is locked by another process", timeout_s=0.2)
        assert preflight(database, NOTES, only_look=True, timeout_s=0.2).plan is not None


def test_a_database_at_its_target_is_left_to_the_byte(database):
    migrate(database)
    shutil.rmtree(database.parent / "notes.db.backups")
    before, around = stored(database), beside(database)
    live = preflight(database, NOTES)
    assert live.plan is None and (live.from_version, live.to_version) == (1, 1)
    assert stored(database) == before
    assert beside(database) == around


@pytest.mark.parametrize("only_look", [True, False])
def test_a_database_with_a_log_is_left_to_the_byte(tmp_path, only_look):
    path = tmp_path / "wal.db"
    make_notes(path, journal_mode="wal")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE notes SET place = 'in the log'")
        before = stored(path)
        assert len(before) == 2
        preflight(path, NOTES, only_look=only_look)
        assert stored(path) == before
    # Also as the last one to close it, which would move the log into the main file.
    copied = tmp_path / "copied.db"
    for name, content in before.items():
        copied.with_name(os.path.basename(name).replace("wal.db", "copied.db")).write_bytes(content)
    before = stored(copied)
    preflight(copied, NOTES, only_look=only_look)
    assert stored(copied) == before and len(before) == 2


def test_looking_at_a_closed_database_leaves_an_empty_log_and_every_byte(tmp_path):
    path = tmp_path / "wal.db"
    make_notes(path, journal_mode="wal")
    before = path.read_bytes()
    assert os.listdir(tmp_path) == ["wal.db"]
    preflight(path, NOTES, only_look=True)
    assert path.read_bytes() == before
    assert path.with_name("wal.db-wal").read_bytes() == b""


def test_values_without_an_answer_are_named_with_their_counts(database):
    run_sql(database, "UPDATE notes SET mood = 'odd' WHERE id < 4", "UPDATE notes SET mood = x'ff' WHERE id = 5")
    run_sql(database, "UPDATE notes SET mood = CAST(x'fe61' AS TEXT) WHERE id = 6")
    error = refused(database, "column mood of notes holds 3 values that the migration does not map")
    for shown in ("'odd' (3 rows)", "b'\\xff' (1 row)", "'\\\\xfea' (1 row)"):
        assert shown in str(error)


def test_a_huge_value_without_an_answer_does_not_fill_the_terminal(database):
    run_sql(database, "UPDATE notes SET mood = hex(zeroblob(100000)) WHERE id = 1")
    assert len(str(refused(database, "mood of notes holds 1 values"))) < 600


def test_values_that_stand_twice_are_named_with_their_counts(database):
    run_sql(database, "ALTER TABLE notes ADD COLUMN code INTEGER", "UPDATE notes SET code = id / 3 WHERE id < 7")
    error = refused(database, "code of notes must be unique, but 2 values stand in several rows")
    assert "0 (2 rows), 1 (3 rows)" in str(error) and error.way_out == "make them differ"


def test_the_option_for_values_that_stand_twice_is_offered_only_where_the_migration_has_one(database):
    run_sql(database, "ALTER TABLE notes ADD COLUMN code INTEGER", "UPDATE notes SET code = id / 3 WHERE id < 7")
    lowest = "CASE WHEN id IN (SELECT min(id) FROM {rows} GROUP BY code) THEN code END"
    values = {**change().values, "CODE": Switch("null_duplicate_codes", on=lowest)}
    error = refused(database, "code of notes must be unique", notes_application(migration(change(values=values))))
    assert error.way_out == "make them differ, or leave it to --null-duplicate-codes"
    values = {**values, "mood": Switch("shout", on="upper(mood)"), "CODE": "code"}
    error = refused(database, "code of notes must be unique", notes_application(migration(change(values=values))))
    assert error.way_out == "make them differ"


def test_rows_without_a_value_that_becomes_required_are_counted(database):
    required = change(after="""CREATE TABLE notes (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL,
        mood TEXT, place TEXT NOT NULL)""", values={}, behaviours=())  # fmt: skip
    refused(
        database, "7 rows of notes have no place, which the new table requires", notes_application(migration(required))
    )
