"""The lock, the journal and the backup's folder: whose they are, and what stands in their place."""

import os
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest

from migrator.errors import RefusedError
from migrator.files import make_directory, write_private
from migrator.journal import Journal, journal_path, read_journal, remove_journal, write_journal
from migrator.lock import lock_path, locked
from migrator.preflight import preflight
from migrator.restoration import discard
from tests.children import as_nobody, in_child, running
from tests.notes import NOTES, make_notes
from tests.runs import backed_up, beside, promoted

LOCK = """
import sys
from pathlib import Path
from migrator.lock import locked
with locked(Path(sys.argv[1])):
    print("ready", flush=True)
    sys.stdin.read()
"""
JOURNAL = Journal("abcd1234", "/nowhere/20260101T000000Z-abcd1234")


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "notes.db"
    make_notes(path, rows=5)
    return path


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_run_under_way_elsewhere_is_refused_with_its_process(database):
    with (
        running(LOCK, database) as child,
        pytest.raises(RefusedError, match=f"already under way in process {child.pid}; wait for it to end"),
        locked(database),
    ):
        pass
    with locked(database):
        pass


def test_the_lock_is_taken_once_and_held_to_the_end_of_the_outer_block(database):
    def is_free():
        with locked(database):
            return True

    with locked(database):
        with locked(database):
            pass
        with pytest.raises(RefusedError):
            in_child(is_free)
    assert in_child(is_free)


def test_a_refused_run_leaves_no_file_open(database):
    with running(LOCK, database):
        before = os.listdir("/dev/fd")
        with pytest.raises(RefusedError), locked(database):
            pass
        assert os.listdir("/dev/fd") == before


FORKS = """
import os, sys
from pathlib import Path
from migrator.lock import locked
reading, writing = os.pipe()
with locked(Path(sys.argv[1])):
    if os.fork() == 0:
        os.write(writing, b"forked")
        sys.stdin.read()
        os._exit(0)
    os.read(reading, 6)
    os.write(1, b"ready\\n")
    os._exit(0)
"""


def test_a_forked_child_keeps_no_lock_alive(database):
    with running(FORKS, database) as parent:
        assert parent.wait() == 0
        # The child reads its stdin still.
        with locked(database):
            pass
        parent.stdin.close()


def test_a_copy_of_the_lock_file_that_is_not_closed_yet_holds_no_lock(database, monkeypatch):
    # As between the fork and the exec of a program that is being started.
    copies = []
    plain = os.close

    def close(descriptor):
        copies.append(os.dup(descriptor))
        plain(descriptor)

    with locked(database):
        monkeypatch.setattr("migrator.lock.os.close", close)
    monkeypatch.undo()
    assert len(copies) == 1
    with running(LOCK, database):
        plain(copies.pop())


def test_a_forked_child_does_not_take_the_lock_for_its_own(database):
    def take():
        with locked(database):
            return "taken"

    with locked(database), pytest.raises(RefusedError, match="already under way"):
        in_child(take)


def test_lock_and_journal_have_the_mode_and_owner_of_the_database(database):
    database.chmod(0o660)
    owner = (1234, 2345) if os.geteuid() == 0 else (os.geteuid(), database.stat().st_gid)
    os.chown(database, *owner)
    with locked(database):
        write_journal(database, JOURNAL)
    for path in (lock_path(database), journal_path(database)):
        found = path.stat()
        assert (mode(path), found.st_uid, found.st_gid) == (0o660, *owner)


@pytest.fixture
def somebodys():
    """A database of an ordinary user, where he may look: pytest's own folders are closed to others."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "no tes.db"
        make_notes(path, rows=5)
        if os.geteuid() == 0:
            for owned in (path, path.parent):
                os.chown(owned, 65534, 65534)
        yield path


def takes(database):
    def take():
        with locked(database):
            return "taken"

    return take


def test_a_database_that_was_read_only_does_not_leave_a_lock_that_nobody_can_take(somebodys):
    somebodys.chmod(0o444)
    assert in_child(takes(somebodys), before=as_nobody) == "taken"
    assert mode(lock_path(somebodys)) == 0o644
    somebodys.chmod(0o644)
    assert in_child(takes(somebodys), before=as_nobody) == "taken"


def test_a_lock_file_that_cannot_be_opened_is_named_with_the_command_that_helps(somebodys):
    lock_path(somebodys).touch()
    lock_path(somebodys).chmod(0o444)
    with pytest.raises(RefusedError) as caught:
        in_child(takes(somebodys), before=as_nobody)
    fault, _, way_out = str(caught.value).partition("; ")
    assert fault == f"lock file {lock_path(somebodys)} cannot be opened (Permission denied)"
    command = way_out.removeprefix("as the owner of that file: ")
    subprocess.run(command, shell=True, check=True)
    if os.geteuid() == 0:
        os.chown(lock_path(somebodys), 65534, 65534)
    assert in_child(takes(somebodys), before=as_nobody) == "taken"


def test_backup_and_folders_are_for_the_owner_of_the_database_only(database):
    database.chmod(0o644)
    owner = 1234 if os.geteuid() == 0 else os.geteuid()
    os.chown(database, owner, -1)
    backup = backed_up(database)
    manifest = backup.path.with_name("manifest.json")
    assert {(mode(p), p.stat().st_uid) for p in (backup.path, manifest)} == {(0o600, owner)}
    assert {(mode(p), p.stat().st_uid) for p in (backup.path.parent, backup.path.parent.parent)} == {(0o700, owner)}


def test_a_backup_folder_that_was_there_keeps_its_mode(database):
    folder = database.with_name("notes.db.backups")
    folder.mkdir()
    folder.chmod(0o775)
    backed_up(database)
    assert mode(folder) == 0o775


@pytest.mark.parametrize("path_of", [lock_path, journal_path])
def test_a_symlink_in_the_place_of_ours_is_not_followed(database, tmp_path, path_of):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    victim.chmod(0o640)
    path_of(database).symlink_to(victim)
    try:
        with locked(database):
            write_journal(database, JOURNAL)
    except RefusedError as error:
        assert "lock file" in str(error)
    assert victim.read_text() == "precious" and mode(victim) == 0o640


def test_a_symlink_in_the_place_of_the_runs_directory_is_not_followed(database, tmp_path):
    live = preflight(database, NOTES)
    (tmp_path / "victim").mkdir()
    live.directory.parent.mkdir()
    live.directory.symlink_to(tmp_path / "victim")
    with pytest.raises(FileExistsError):
        make_directory(live.directory, database)
    assert os.listdir(tmp_path / "victim") == []


def test_a_failed_write_leaves_the_old_text_and_nothing_else(tmp_path):
    path = tmp_path / "note"
    write_private(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_private(path, "new \udcff")
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["note"]
    assert mode(path) == 0o600


def test_a_journal_is_read_back_and_removed(database):
    assert read_journal(database) is None
    write_journal(database, JOURNAL)
    assert read_journal(database) == JOURNAL
    remove_journal(database)
    remove_journal(database)
    assert read_journal(database) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', '{"run_id": "a"}', "\xff"])
def test_a_file_that_is_no_journal_is_refused(database, text):
    journal_path(database).write_bytes(text.encode("latin-1"))
    with pytest.raises(RefusedError, match=r"is not the journal of a run .*; look at it, and move it away"):
        read_journal(database)


def test_a_directory_in_the_place_of_the_journal_is_refused(database):
    journal_path(database).mkdir()
    with pytest.raises(RefusedError, match=r"cannot be read as the journal of a run \(Is a directory\)"):
        read_journal(database)


def test_a_journal_that_may_not_be_read_is_not_called_a_strangers(database, monkeypatch):
    write_journal(database, JOURNAL)

    def denied(path):
        # What the kernel says to anybody but root.
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("migrator.journal.read_regular", denied)
    with pytest.raises(RefusedError, match=r"cannot be read .*; make it readable"):
        read_journal(database)


@pytest.mark.parametrize("run_id", ["", "abcd1234"])
def test_a_journal_that_names_a_strangers_directory_is_refused(database, tmp_path, run_id):
    write_journal(database, Journal(run_id, str(tmp_path / "precious-")))
    with pytest.raises(RefusedError, match="names a directory that no run made"):
        read_journal(database)


def test_a_refused_run_leaves_nothing_but_a_folder_that_the_operator_chose(database, tmp_path):
    for chosen in (None, tmp_path / "chosen"):
        if chosen:
            chosen.mkdir()
        live = backed_up(database, backup_dir=chosen).live
        discard(live.database, live.directory)
        discard(live.database, live.directory)
    assert beside(database) == {"chosen"} and os.listdir(tmp_path / "chosen") == []


def test_backups_may_lie_in_a_folder_of_the_operator_through_a_symlink(database, tmp_path):
    (tmp_path / "disk").mkdir()
    database.with_name("notes.db.backups").symlink_to(tmp_path / "disk")
    assert promoted(database).candidate.inspection.backup.path.is_file()
    assert len(os.listdir(tmp_path / "disk")) == 1
