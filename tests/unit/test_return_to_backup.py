"""An operator's order that is refused changes nothing, whoever holds the database and however."""

import json
import os
import shlex
import shutil
import sqlite3
import subprocess
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from migrator import pages
from migrator.commands import restore_by_shell, restore_order
from migrator.connect import opened
from migrator.errors import RefusedError, RestoreError
from migrator.return_to_backup import return_to_backup
from tests.children import holding, killed_after
from tests.notes import SOURCE_COLUMNS, make_notes
from tests.runs import beside, columns, holds, migrate, rows, stored
from tests.unit.syncing import synced


def migrated(database):
    """The backup of the migration that `database` has had."""
    return migrate(database).candidate.inspection.backup.path


@pytest.mark.parametrize(("mode", "statement"), [("wal", "SELECT count(*) FROM notes"), ("delete", "BEGIN IMMEDIATE")])
def test_an_order_on_a_database_in_use_is_refused_and_leaves_nothing(tmp_path, monkeypatch, mode, statement):
    database = tmp_path / "notes.db"
    make_notes(database, journal_mode=mode)
    backup = migrated(database)
    monkeypatch.setattr(pages, "opened", partial(opened, timeout_s=0.1))
    with holding(database, statement):
        before = stored(database)
        with pytest.raises(RefusedError, match=r"nothing was changed; stop the application or end what holds"):
            return_to_backup(database, backup, discard_later_writes=True)
        assert stored(database) == before
        assert os.listdir(backup.parents[1]) == [backup.parent.name]
    assert return_to_backup(database, backup, discard_later_writes=True).present is not None
    assert columns(database) == SOURCE_COLUMNS


def test_a_saved_state_is_named_only_where_it_is_complete(database, monkeypatch):
    backup = migrated(database)
    before, copy, copies = holds(database), pages.copy_database, []

    def full_at(number, source, target):
        copies.append(number)
        if len(copies) == number:
            raise OSError(28, "No space left on device")
        copy(source, target)

    monkeypatch.setattr(pages, "copy_database", partial(full_at, 1))
    with pytest.raises(RestoreError, match="No space left") as caught:
        return_to_backup(database, backup, discard_later_writes=True)
    assert "the state before" not in str(caught.value)
    assert os.listdir(backup.parents[1]) == [backup.parent.name]
    copies.clear()
    monkeypatch.setattr(pages, "copy_database", partial(full_at, 2))
    with pytest.raises(RestoreError, match=r"the state before this order is in .*before-restore.db"):
        return_to_backup(database, backup, discard_later_writes=True)
    assert holds(database) == before


def test_bytes_that_could_not_all_be_saved_are_not_named(tmp_path, monkeypatch):
    database = tmp_path / "notes.db"
    make_notes(database)
    backup = migrated(database)
    with database.open("r+b") as file:
        file.write(b"\xff" * 100)

    def full(source, target):
        target.write_bytes(source.read_bytes()[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(RestoreError, match="No space left") as caught:
        return_to_backup(database, backup, discard_later_writes=True)
    assert "the state before" not in str(caught.value)
    assert os.listdir(backup.parents[1]) == [backup.parent.name]


def test_a_refused_order_leaves_file_and_log_to_the_byte(tmp_path):
    database = tmp_path / "notes.db"
    make_notes(database, journal_mode="wal")
    backup = migrated(database)
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("INSERT INTO notes (body, mood) VALUES ('since', 'good')")
        with_log = stored(database)
    for path, content in with_log.items():
        with open(path, "wb") as file:
            file.write(content)
    assert len(with_log) == 2
    with pytest.raises(RefusedError, match=r"differs from the backup in the schema, .*notes"):
        return_to_backup(database, backup)
    assert stored(database) == with_log
    assert rows(database, "SELECT count(*) FROM notes") == [(101,)]


def test_what_a_dead_writer_left_is_rolled_back_before_it_is_compared(tmp_path):
    database = tmp_path / "notes.db"
    make_notes(database)
    backup = migrated(database)
    before = holds(database)

    def die_writing():
        connection = sqlite3.connect(database, isolation_level=None)
        connection.execute("PRAGMA cache_size=1")
        connection.execute("BEGIN")
        connection.execute("UPDATE notes SET body = body || hex(zeroblob(2000))")
        os.kill(os.getpid(), 9)

    killed_after(30, die_writing)
    assert "notes.db-journal" in beside(database)
    with pytest.raises(RefusedError, match="differs from the backup in the schema"):
        return_to_backup(database, backup)
    assert holds(database) == before


def test_the_backup_of_another_database_is_refused(database, tmp_path):
    backup = migrated(database)
    other = tmp_path / "other.db"
    make_notes(other)
    before = stored(other)
    with pytest.raises(RefusedError, match=f"is a backup of {database}, not of {other}; "):
        return_to_backup(other, backup, discard_later_writes=True)
    assert stored(other) == before


def test_a_manifest_that_names_no_database_is_damaged(database):
    backup = migrated(database)
    backup.with_name("manifest.json").write_text(json.dumps({"sha256": "x"}))
    with pytest.raises(RefusedError, match=r"manifest.json is damaged"):
        return_to_backup(database, backup, discard_later_writes=True)


def test_the_saved_state_is_for_the_owner_of_the_database_only(database):
    owner = 1234 if os.geteuid() == 0 else os.geteuid()
    folder = migrated(database).parent
    moved = shutil.move(folder, database.with_name("moved"))
    folder.parent.rmdir()
    os.chown(database, owner, -1)
    present = return_to_backup(database, moved / "backup.db", discard_later_writes=True).present
    found = [path.stat() for path in (present, present.parent, present.parents[1])]
    assert [(s.st_mode & 0o777, s.st_uid) for s in found] == [(0o600, owner), (0o700, owner), (0o700, owner)]


def test_an_order_that_did_not_arrive_names_the_saved_state_and_the_command(database, monkeypatch):
    backup = migrated(database)
    before = holds(database)
    monkeypatch.setattr("migrator.return_to_backup.copy_back", lambda backup, database, present, *_: present.touch())
    with pytest.raises(RestoreError, match=r"still differs from .*backup.db in the schema, .*notes") as caught:
        return_to_backup(database, backup, discard_later_writes=True)
    assert "before-restore.db; stop the application, then: sqlite3 " in str(caught.value)
    assert holds(database) == before


def test_what_is_no_database_any_more_is_answered_with_one_command_that_helps(tmp_path):
    folder = tmp_path / 'it\'s a "bad" $dir'
    folder.mkdir()
    database = folder / "no tes.db"
    make_notes(database)
    before = holds(database)
    backup = migrated(database)
    # What an unquoted path would name as well.
    (tmp_path / "it").touch()
    with database.open("r+b") as file:
        file.write(b"\xff" * 100)
    spoilt = database.read_bytes()
    (folder / "no tes.db-wal").touch()
    with pytest.raises(RestoreError) as caught:
        return_to_backup(database, backup, discard_later_writes=True)
    message = str(caught.value)
    assert "is no database any more" in message and "sqlite3 " not in message and message.count("then: ") == 1
    (present,) = folder.rglob("before-restore.db")
    assert f"its bytes are in {present};" in message and present.read_bytes() == spoilt
    subprocess.run(message.partition("then: ")[2], shell=True, check=True, cwd=tmp_path)
    assert holds(database) == before
    assert "no tes.db-wal" not in os.listdir(folder)


@pytest.mark.system("sqlite3")
def test_the_command_to_restore_by_hand_can_be_pasted_whatever_the_names(tmp_path):
    folder = tmp_path / 'it\'s a "bad" $dir\\n'
    folder.mkdir()
    database = folder / "no tes.db"
    make_notes(database)
    before = holds(database)
    backup = migrated(database)
    subprocess.run(restore_by_shell(database, backup), shell=True, check=True, cwd=tmp_path)
    assert holds(database) == before


def test_the_order_that_is_printed_can_be_pasted_whatever_the_names():
    order = restore_order(Path("/a b/it's.db"), Path("/a b/$x/backup.db"))
    assert shlex.split(order) == [
        *("python", "-m", "flows.restore", "--database", "/a b/it's.db", "--backup", "/a b/$x/backup.db"),
        "--discard-later-writes",
    ]


def test_what_a_killed_run_left_and_nobody_can_remove_does_not_hide_that_the_database_was_changed(
    database, monkeypatch
):
    before = holds(database)
    backup = migrated(database)

    def denied(*arguments):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("migrator.return_to_backup._forget_run", denied)
    with pytest.raises(RestoreError, match=r"notes.db holds what .* holds, and its state before this order is in "):
        return_to_backup(database, backup, discard_later_writes=True)
    assert holds(database) == before


def test_nothing_is_changed_before_it_is_said_and_the_saved_state_is_on_the_disk_then(tmp_path, monkeypatch):
    database = tmp_path / "notes.db"
    make_notes(database)
    backup = migrated(database)
    events = synced(monkeypatch)
    copy = pages.copy_database
    monkeypatch.setattr(pages, "copy_database", lambda source, target: (copy(source, target), events.append("copied")))
    return_to_backup(database, backup, True, before_change=lambda: events.append("from here on"))
    named = "before-restore.db"
    (run,) = (path.name for path in backup.parents[1].iterdir() if (path / named).exists())
    assert events == [
        "fsync notes.db.backups",
        "copied",
        f"fsync {named}.unfinished",
        "from here on",
        f"replace {named}.unfinished {named}",
        f"fsync {run}",
        "copied",
    ]
