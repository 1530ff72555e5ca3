"""The backup equals live or the run stops; live is only read."""

import json
import os
import sqlite3
import stat
import time
from contextlib import closing

import pytest

from migrator import backup as backups
from migrator.backup import back_up
from migrator.errors import BackupError
from migrator.files import sha256_of
from migrator.journal import read_journal
from migrator.preflight import preflight
from tests.children import holding
from tests.notes import NOTES, make_notes
from tests.runs import backed_up, holds, migrate, run_sql, stored
from tests.unit.syncing import synced

COPY = backups._copy


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "notes.db"
    make_notes(path)
    return path


def test_a_backup_is_live_in_content_and_for_its_owner_only(database):
    before = stored(database)
    backup = backed_up(database)
    assert holds(backup.path) == holds(database)
    assert stored(database) == before
    assert stat.S_IMODE(backup.path.stat().st_mode) == 0o600
    assert backup.rows == 150
    assert sorted(os.listdir(backup.path.parent)) == ["backup.db", "manifest.json"]
    assert read_journal(database).run_id == backup.live.run_id


def test_rows_that_are_only_in_the_log_are_in_the_backup(tmp_path):
    path = tmp_path / "wal.db"
    make_notes(path, journal_mode="wal")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_autocheckpoint=0")
        connection.execute("INSERT INTO notes (body, mood) VALUES ('in the log', 'good')")
        before = holds(path)
        backup = backed_up(path)
        assert holds(path) == before
        with closing(sqlite3.connect(backup.path)) as copy:
            assert copy.execute("SELECT count(*) FROM notes WHERE body = 'in the log'").fetchone() == (1,)
            assert copy.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_the_manifest_says_what_the_backup_holds(database):
    backup = backed_up(database)
    manifest = json.loads(backup.path.with_name("manifest.json").read_text())
    assert manifest["sha256"] == backup.sha256 == sha256_of(backup.path)
    assert manifest["run_id"] == backup.live.run_id
    assert manifest["database"] == str(database)
    assert (manifest["version"], manifest["journal_mode"]) == (0, "delete")
    assert {name: table["rows"] for name, table in manifest["tables"].items()} == {
        "notes": 100,
        "tags": 50,
        "sqlite_sequence": 1,
    }


@pytest.mark.parametrize("offset", [-100, -4096, 0])
def test_a_byte_of_the_copy_that_flips_on_its_way_to_the_disk_is_noticed(database, monkeypatch, offset):
    live = preflight(database, NOTES)
    path = live.directory / "backup.db"

    def copy_and_flip(*arguments):
        copied = COPY(*arguments)
        content = bytearray(path.read_bytes())
        content[offset] ^= 1
        path.write_bytes(content)
        return copied

    monkeypatch.setattr(backups, "_copy", copy_and_flip)
    with pytest.raises(BackupError, match=r"the backup (differs from live in \w+|cannot be read .*); live unchanged"):
        back_up(live)
    assert not path.with_name("manifest.json").exists()


def test_a_write_during_the_copy_is_not_in_it_and_does_not_disturb_it(tmp_path):
    path = tmp_path / "wal.db"
    make_notes(path, rows=2000, journal_mode="wal")
    before = holds(path)
    written = []

    def write(done, total):
        if not written:
            run_sql(path, "INSERT INTO notes (body, mood) VALUES ('late', 'good')")
            written.append(done)

    backup = back_up(preflight(path, NOTES), write)
    assert written
    assert holds(backup.path) == before != holds(path)


def test_progress_reaches_the_end(database):
    seen = []
    back_up(preflight(database, NOTES), lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] > 0


def test_a_locked_source_raises_within_its_timeout(database):
    live = preflight(database, NOTES)
    with holding(database, "BEGIN EXCLUSIVE"):
        started = time.monotonic()
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            back_up(live, timeout_s=0.2)
        assert 0.2 <= time.monotonic() - started < 2
    assert back_up(live).rows == 150


def test_a_schema_that_changed_since_preflight_stops_the_run(database):
    live = preflight(database, NOTES)
    run_sql(database, "CREATE TABLE later (x)")
    with pytest.raises(BackupError, match="changed the schema while the run began; live unchanged; start again"):
        back_up(live)


def test_a_migration_made_by_somebody_else_since_preflight_stops_the_run(database):
    live = preflight(database, NOTES)
    migrate(database)
    with pytest.raises(BackupError, match="changed the schema"):
        back_up(live)


def test_a_symlink_in_the_place_of_the_backup_is_not_followed(database, tmp_path):
    live = preflight(database, NOTES)
    live.directory.mkdir(parents=True)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (live.directory / "backup.db").symlink_to(victim)
    back_up(live)
    assert victim.read_text() == "precious"
    assert not (live.directory / "backup.db").is_symlink()


def test_a_second_try_of_the_same_run_begins_anew(database):
    live = preflight(database, NOTES)
    first = back_up(live)
    run_sql(database, "INSERT INTO notes (body, mood) VALUES ('late', 'good')")
    second = back_up(live)
    assert (first.rows, second.rows) == (150, 151)
    assert holds(second.path) == holds(database)


def test_originals_that_are_nowhere_else_are_compared_too(database):
    migrate(database)
    backup = backed_up(database, to_version=0)
    assert {"notes_legacy", "_migration_history", "_sqlite_migrations"} <= backup.contents.keys()


def test_journal_backup_and_manifest_are_on_the_disk_before_anything_relies_on_them(database, monkeypatch):
    live = preflight(database, NOTES)
    events, copy = synced(monkeypatch), backups._copy
    monkeypatch.setattr(backups, "_copy", lambda *arguments: (events.append("copy"), copy(*arguments))[1])
    back_up(live)
    beside, folder, run = database.parent.name, live.directory.parent.name, live.directory.name
    assert events == [
        "fsync notes.db.migrating.new",
        "replace notes.db.migrating.new notes.db.migrating",
        f"fsync {beside}",
        # The new folders' names.
        f"fsync {beside}",
        f"fsync {folder}",
        "copy",
        "fsync backup.db",
        "fsync manifest.json.new",
        "replace manifest.json.new manifest.json",
        f"fsync {run}",
        f"fsync {run}",
        f"fsync {folder}",
    ]


def test_a_callback_that_raises_ends_the_copy(database):
    class Stopped(Exception):
        pass

    def stop(done, total):
        raise Stopped

    with pytest.raises(Stopped):
        back_up(preflight(database, NOTES), stop)
    assert holds(backed_up(database).path) == holds(database)


def test_a_copy_is_on_the_disk_piece_by_piece_and_not_all_at_its_end(database, monkeypatch):
    synced, fdatasync = [], os.fdatasync

    def noting(descriptor):
        synced.append(os.fstat(descriptor).st_size)
        fdatasync(descriptor)

    monkeypatch.setattr(os, "fdatasync", noting)
    monkeypatch.setattr(backups, "_PAGES_AT_A_TIME", 1)
    backed_up(database)
    assert len(synced) >= database.stat().st_size // 4096 > 1
