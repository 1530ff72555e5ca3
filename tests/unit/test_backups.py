"""The list shows every backup and nothing else, and what is removed is removed whole."""

import json
import os
import shutil
import sqlite3
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from migrator.backups import listing as backups
from migrator.backups.listing import (
    Manifest,
    checked,
    list_backups,
    parse_manifest,
    parse_name,
    read_needs,
    remove_backup,
    remove_partial,
)
from migrator.errors import BackupError, RefusedError
from migrator.files import sha256_of
from migrator.journal import Journal, write_journal
from migrator.migration import Change, Migration
from migrator.return_to_backup import return_to_backup
from tests.children import as_nobody, holding, in_child, killed_after
from tests.notes import make_notes, migration, notes_application
from tests.runs import backed_up, migrate, run_sql, stored
from tests.unit.syncing import synced


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "notes.db"
    make_notes(path)
    return path


@pytest.fixture
def reachable():
    """The backup of a database in folders that every user may look into, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "notes.db"
        make_notes(path)
        backup = backed_up(path).path
        for directory in (path.parent, backup.parents[1], backup.parent):
            directory.chmod(0o755)
        backup.with_name("manifest.json").chmod(0o644)
        yield path, backup


SECOND = Migration(
    (Change("weights", after="CREATE TABLE weights (note_id INTEGER, weight REAL)"),), version=2, name="w"
)


def made(folder: Path, name: str, database: Path | None = None, **files: str | bytes) -> Path:
    """A directory as a run leaves it, with a manifest for `database`, and whatever `files` say instead."""
    directory = folder / name
    directory.mkdir(parents=True)
    (directory / "backup.db").write_bytes(b"pages")
    if database is not None:
        manifest = {
            "database": str(database),
            "version": 0,
            "sha256": sha256_of(directory / "backup.db"),
            "tables": {"notes": {"rows": 7}, "tags": {"rows": 3}, "sqlite_sequence": {"rows": 1}},
        }
        (directory / "manifest.json").write_text(json.dumps(manifest))
    for file, content in files.items():
        path = directory / file.replace("__", ".")
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return directory


def facts(found) -> list[tuple]:
    return [(entry.name, entry.kind, entry.verified) for entry in found]


def test_the_backup_of_a_run_is_listed_with_what_its_manifest_says(database):
    backup = backed_up(database)
    (found,) = list_backups(database)
    assert found.location == str(backup.path.parent) and found.file == str(backup.path)
    assert found.manifest == Manifest(str(database), 0, backup.rows, backup.sha256)
    assert (found.run_id, found.kind, found.verified) == (backup.live.run_id, "backup", None)
    assert found.size_bytes == sum(path.stat().st_size for path in backup.path.parent.iterdir())
    age = datetime.now(UTC) - found.at
    assert 0 <= age.total_seconds() < 60
    assert checked(found).verified is True


def test_the_newest_one_comes_first_whatever_the_disk_says(database):
    folder = database.with_name("notes.db.backups")
    for name in ("20260102T000000Z-00000000", "20260101T000000Z-ffffffff", "20260101T000001Z-00000000"):
        made(folder, name, database)
    assert [entry.name for entry in list_backups(database)] == [
        "20260102T000000Z-00000000",
        "20260101T000001Z-00000000",
        "20260101T000000Z-ffffffff",
    ]


def test_a_database_that_was_never_backed_up_has_an_empty_list(database):
    assert list_backups(database) == []
    assert not database.with_name("notes.db.backups").exists()


def test_the_list_outlives_the_database(database):
    backed_up(database)
    database.unlink()
    assert len(list_backups(database)) == 1


@pytest.mark.parametrize(
    "name",
    [
        *("20261122T215633Z-2a9f0eaf.partial", "20261122T215633Z-2a9f0eaff", "20261122T215633Z-2a9f0ea"),
        *("20261322T215633Z-2a9f0eaf", "20261122T215633Z-2A9F0EAF", "20261122T215633Z-2a9f0eaf\n", "keep"),
        *("20261122T215633-2a9f0eaf", " 20261122T215633Z-2a9f0eaf", "\uff120261122T215633Z-2a9f0eaf"),
    ],
)
def test_a_name_that_no_run_gives_is_not_listed(database, name):
    made(database.with_name("notes.db.backups"), name, database)
    assert parse_name(name) is None
    assert list_backups(database) == []


def test_what_is_behind_a_symlink_is_not_listed(database, tmp_path):
    folder = database.with_name("notes.db.backups")
    elsewhere = made(tmp_path / "elsewhere", "20261122T215633Z-2a9f0eaf", database)
    folder.mkdir()
    (folder / elsewhere.name).symlink_to(elsewhere)
    linked = made(folder, "20261123T215633Z-2a9f0eaf")
    (linked / "manifest.json").symlink_to(elsewhere / "manifest.json")
    (linked / "before-restore.db").symlink_to(elsewhere / "backup.db")
    assert facts(list_backups(database)) == [(linked.name, "unfinished", None)]


def test_a_backup_that_is_a_symlink_is_not_what_its_manifest_says(database, tmp_path):
    directory = made(database.with_name("notes.db.backups"), "20261122T215633Z-2a9f0eaf", database)
    shutil.move(directory / "backup.db", tmp_path / "moved.db")
    (directory / "backup.db").symlink_to(tmp_path / "moved.db")
    assert checked(list_backups(database)[0]).verified is False


def test_a_directory_without_manifest_is_no_backup(database):
    made(database.with_name("notes.db.backups"), "20261122T215633Z-2a9f0eaf")
    (found,) = list_backups(database)
    assert (found.kind, found.file, found.manifest) == ("unfinished", None, None)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", "null", b"\xff", '{"tables": {}, "sha256": "00", "database": "", "version": 0}'],
)
def test_a_manifest_that_cannot_be_read_makes_no_sound_backup(database, text):
    made(database.with_name("notes.db.backups"), "20261122T215633Z-2a9f0eaf", database, manifest__json=text)
    (found,) = map(checked, list_backups(database))
    assert (found.kind, found.verified, found.manifest) == ("backup", False, None)
    with pytest.raises(ValueError):
        parse_manifest(text)


@pytest.mark.parametrize("damage", ["changed", "shorter", "gone"])
def test_only_a_file_with_the_hash_of_its_manifest_is_verified(database, damage):
    path = backed_up(database).path
    assert checked(list_backups(database)[0]).verified is True
    if damage == "changed":
        with path.open("r+b") as file:
            file.seek(5000)
            file.write(b"\xff")
    elif damage == "shorter":
        os.truncate(path, path.stat().st_size - 1)
    else:
        path.unlink()
    (found,) = list_backups(database)
    assert found.verified is None
    assert checked(found).verified is False


def test_a_file_that_may_not_be_read_is_no_damage(reachable):
    database, backup = reachable
    backup.chmod(0o000)
    with pytest.raises(PermissionError):
        in_child(lambda: checked(list_backups(database)[0]), before=as_nobody)


def test_a_folder_that_may_not_be_read_is_refused_and_not_empty(reachable):
    database, backup = reachable
    backup.parents[1].chmod(0o000)
    with pytest.raises(RefusedError, match=r"notes.db.backups cannot be read \(Permission denied\); make it readable"):
        in_child(lambda: list_backups(database), before=as_nobody)
    backup.parents[1].chmod(0o755)


def test_a_state_that_a_restore_saved_is_listed_as_one(database):
    backup = backed_up(database).path
    run_sql(database, "DELETE FROM notes WHERE id = 1")
    present = return_to_backup(database, backup, discard_later_writes=True).present
    found = {entry.kind: entry for entry in list_backups(database)}
    assert set(found) == {"backup", "present"}
    assert found["present"].file == str(present)
    assert checked(found["present"]).verified is None
    age = datetime.now(UTC) - found["present"].present_at
    assert 0 <= age.total_seconds() < 60 and found["backup"].present_at is None


def test_a_backup_beside_which_a_state_was_saved_is_both(database):
    directory = made(database.with_name("notes.db.backups"), "20261122T215633Z-2a9f0eaf", database)
    (directory / "before-restore.db").write_bytes(b"x")
    os.utime(directory / "before-restore.db", (1_700_000_000, 1_700_000_000))
    (found,) = list_backups(database)
    assert (found.kind, found.present_at) == ("backup", datetime.fromtimestamp(1_700_000_000, UTC))


def test_the_folder_of_the_operator_is_listed_too_but_only_what_is_of_this_database(database, tmp_path):
    shared = tmp_path / "shared"
    beside = backed_up(database)
    ours = backed_up(database, backup_dir=shared)
    other = tmp_path / "other.db"
    make_notes(other)
    theirs = backed_up(other, backup_dir=shared)
    made(shared, "20200101T000000Z-00000000")
    made(shared, "20200101T000000Z-00000001", database, manifest__json="{")
    assert {entry.run_id for entry in list_backups(database, shared)} == {beside.live.run_id, ours.live.run_id}
    assert {entry.run_id for entry in list_backups(other, shared)} == {theirs.live.run_id}
    assert {entry.run_id for entry in list_backups(database)} == {beside.live.run_id}


def test_what_a_moved_database_brought_along_is_listed_under_the_old_name(database, tmp_path):
    backed_up(database)
    moved = tmp_path / "moved.db"
    database.rename(moved)
    database.with_name("notes.db.backups").rename(moved.with_name("moved.db.backups"))
    (found,) = list_backups(moved)
    assert found.manifest.database == str(database)


def test_size_is_that_of_all_files_and_follows_no_symlink(database, tmp_path):
    directory = made(database.with_name("notes.db.backups"), "20261122T215633Z-2a9f0eaf")
    (tmp_path / "large").write_bytes(b"x" * 5000)
    (directory / "scratch").mkdir()
    (directory / "scratch" / "candidate.db").write_bytes(b"x" * 100)
    (directory / "scratch" / "link").symlink_to(tmp_path / "large")
    assert list_backups(database)[0].size_bytes == len(b"pages") + 100


def test_the_ledger_says_which_backup_is_from_before_which_migration(database):
    two = notes_application(migration(), SECOND)
    first, second = migrate(database), migrate(database, two)
    ids = [done.candidate.inspection.backup.live.run_id for done in (first, second)]
    needs = read_needs(database)
    assert (needs.applied, needs.newest) == ({ids[0]: (1,), ids[1]: (2,)}, {ids[1]})
    found = {entry.run_id: (entry.applied, entry.is_newest) for entry in list_backups(database, needs=needs)}
    assert found == {ids[0]: ((1,), False), ids[1]: ((2,), True)}
    migrate(database, two, to_version=1)
    assert (read_needs(database).applied, read_needs(database).newest) == ({ids[0]: (1,)}, {ids[0]})
    migrate(database, two, to_version=0)
    assert read_needs(database).applied == {} and len(list_backups(database)) == 4


def test_a_table_of_that_name_that_is_no_ledger_names_nothing(database):
    run_sql(database, "CREATE TABLE _migration_history (version)", "INSERT INTO _migration_history VALUES (1)")
    assert read_needs(database).applied == {}


def test_what_a_killed_run_needs_is_marked(database):
    directory = made(database.with_name("notes.db.backups"), "20261122T215633Z-2a9f0eaf", database)
    made(directory.parent, "20261123T215633Z-2a9f0eaf", database)
    write_journal(database, Journal("2a9f0eaf", str(directory)))
    found = list_backups(database, needs=read_needs(database))
    assert {entry.name for entry in found if entry.is_needed} == {directory.name}


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_reading_what_is_needed_writes_nothing_and_waits_for_no_writer_for_ever(tmp_path, mode):
    database = tmp_path / "notes.db"
    make_notes(database, journal_mode=mode)
    migrate(database)
    with holding(database, "BEGIN IMMEDIATE", "DELETE FROM tags"):
        before = stored(database)
        assert len(read_needs(database).applied) == 1
        assert stored(database) == before
    with pytest.raises(sqlite3.OperationalError):
        read_needs(tmp_path / "none.db")


def test_a_removed_backup_is_gone_whole_and_nothing_else_is(database):
    backup = backed_up(database)
    kept = backed_up(database)
    before = stored(database)
    (backup.path.parent / "scratch").mkdir()
    (backup.path.parent / "scratch" / "candidate.db").write_bytes(b"x")
    for entry in list_backups(database):
        if entry.run_id == backup.live.run_id:
            remove_backup(entry)
    assert os.listdir(kept.path.parents[1]) == [kept.path.parent.name]
    assert stored(database) == before and checked(list_backups(database)[0]).verified


def test_a_directory_loses_its_name_for_good_before_anything_in_it_goes(database, monkeypatch):
    directory = backed_up(database).path.parent
    events, remove_tree = synced(monkeypatch), backups.remove_tree
    rename = os.rename
    monkeypatch.setattr(os, "rename", lambda *names: (rename(*names), events.append("renamed")))
    monkeypatch.setattr(backups, "remove_tree", lambda path: (events.append(f"remove {path.name}"), remove_tree(path)))
    remove_backup(list_backups(database)[0])
    assert events == ["renamed", "fsync notes.db.backups", f"remove {directory.name}.partial"]


def test_a_removal_that_is_killed_leaves_no_backup_by_name_and_is_ended_by_the_next(database, monkeypatch):
    folder = backed_up(database).path.parents[1]
    (found,) = list_backups(database)

    def removal():
        monkeypatch.setattr(backups, "remove_tree", lambda path: os.kill(os.getpid(), 9))
        remove_backup(found)

    killed_after(30, removal)
    assert os.listdir(folder) == [f"{found.name}.partial"]
    assert list_backups(database) == []
    remove_partial(folder)
    assert os.listdir(folder) == []


def test_only_what_a_program_left_halfway_is_ended(database, tmp_path):
    folder = database.with_name("notes.db.backups")
    elsewhere = made(tmp_path / "elsewhere", "20261122T215633Z-2a9f0eaf.partial")
    for name in ("20261122T215633Z-2a9f0ea0.partial", "mine.partial", "20261122T215633Z-2a9f0ea1"):
        made(folder, name)
    (folder / elsewhere.name).symlink_to(elsewhere)
    (folder / "20261122T215633Z-2a9f0ea2.partial").write_bytes(b"a file")
    remove_partial(folder)
    remove_partial(folder / "never there")
    assert sorted(os.listdir(folder)) == [
        "20261122T215633Z-2a9f0ea1",
        "20261122T215633Z-2a9f0ea2.partial",
        "20261122T215633Z-2a9f0eaf.partial",
        "mine.partial",
    ]
    assert (elsewhere / "backup.db").exists()


def test_what_this_user_may_not_remove_is_said_and_stays_a_backup(reachable):
    database, _ = reachable
    (found,) = list_backups(database)
    with pytest.raises(BackupError, match=rf"{found.name} cannot be removed \(Permission denied\)"):
        in_child(lambda: remove_backup(found), before=as_nobody)
    assert checked(list_backups(database)[0]).verified


def test_what_this_user_may_not_remove_whole_is_said_and_is_no_backup_any_more(reachable):
    database, backup = reachable
    (found,) = list_backups(database)
    backup.parents[1].chmod(0o777)
    with pytest.raises(BackupError, match=rf"{found.name}.partial cannot be removed whole; remove it by hand"):
        in_child(lambda: remove_backup(found), before=as_nobody)
    assert list_backups(database) == []


def test_no_other_directory_is_ever_removed(database, tmp_path):
    (found,) = [backed_up(database)] and list_backups(database)
    precious = tmp_path / "precious"
    precious.mkdir()
    with pytest.raises(ValueError, match="is no directory of a run"):
        remove_backup(type(found)(str(precious), "backup", found.at, found.run_id, 0))
    assert precious.exists()
