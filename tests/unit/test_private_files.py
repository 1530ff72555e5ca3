"""Everything that a run writes is for the database's owner only, and goes nowhere else, whatever was planted."""

import os
import signal
import sqlite3
import stat
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from migrator import rehearsal
from migrator.errors import MigratorError, RefusedError
from migrator.files import make_directory, remove_tree, write_private
from migrator.journal import Journal, journal_path, read_journal, write_journal
from migrator.lock import lock_path, locked
from migrator.preflight import preflight
from migrator.promotion import promote
from migrator.removal import remove_old
from migrator.report import Report
from migrator.restoration import discard, finish_promoted, recover
from migrator.return_to_backup import return_to_backup
from migrator.tools import copy_for_tools
from tests.children import in_child
from tests.notes import NOTES, make_notes
from tests.runs import backed_up, live_of, rehearse, stored

OF_A_RUN = ("manifest.json", "report.json", "report.html", "backup.db", "before-restore.db")
OF_SCRATCH = ("candidate.db", "before.db", "schema.db")
PLANTED = (
    *OF_A_RUN,
    *OF_SCRATCH,
    *(f"{name}.new" for name in OF_A_RUN[:3]),
    *("scratch", "before-restore.db.unfinished", "backup.db-journal", "before.db-journal"),
)
REPLANTED = [name for name in PLANTED if name.endswith((".db", ".new", ".unfinished"))]
REPLANTED.remove("before-restore.db")


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "live" / "notes.db"
    path.parent.mkdir()
    make_notes(path, rows=5)
    return path


def mode_and_owner(path):
    found = path.lstat()
    return stat.S_IMODE(found.st_mode), found.st_uid


def whole_life(database, look=lambda: None):
    """A run online with all that it writes, then the order to go back; `look` is called whenever more is there."""
    with locked(database):
        backup = backed_up(database)
        look()
        candidate = rehearse(backup)
        copy_for_tools(candidate)
        report = Report(str(database))
        report.describe(backup.live)
        report.write(backup.live.directory)
        look()
        done = promote(candidate, 0.0)
        remove_old(done)
        finish_promoted(live_of(done))
        return_to_backup(database, backup.path, discard_later_writes=True)
        look()


@contextmanager
def umask(value):
    before = os.umask(value)
    try:
        yield
    finally:
        os.umask(before)


def test_every_file_of_a_run_is_for_the_owner_only_without_a_umask_too(database, monkeypatch):
    database.chmod(0o664)
    owner = 1234 if os.geteuid() == 0 else os.geteuid()
    os.chown(database, owner, -1)
    seen = {}

    def look():
        for path in database.parent.rglob("*"):
            seen[path.name if path.is_file() else f"{path.name}/"] = mode_and_owner(path)

    promote_online = rehearsal.promote_online
    # Only now is schema.db there.
    monkeypatch.setattr(rehearsal, "promote_online", lambda *given: (look(), promote_online(*given))[1])
    with umask(0):
        whole_life(database, look)
    beside = {path.name for path in (database, lock_path(database), journal_path(database))}
    assert {seen.pop(name) for name in beside} == {(0o664, owner)}
    folders = {name for name in seen if name.endswith("/")}
    assert {seen.pop(name) for name in folders} == {(0o700, owner)} and {"notes.db.backups/", "scratch/"} < folders
    assert {mode for mode, _ in seen.values()} == {0o600}
    assert set(seen) == {*OF_A_RUN, *OF_SCRATCH}
    # The rest is gone when the run ends.
    assert {seen[name][1] for name in OF_A_RUN} == {owner}


class Somebody:
    """Puts a symlink called `name` into every folder that a run makes, and with `again` whenever it was removed."""

    def __init__(self, monkeypatch, name, target, again):
        self.name, self.target, self.planted = name, target, 0
        mkdir, unlink = Path.mkdir, Path.unlink

        def made(path, *given, **options):
            mkdir(path, *given, **options)
            self.plant(path / name)

        def unlinked(path, *given, **options):
            unlink(path, *given, **options)
            if again and path.name == name:
                self.plant(path)

        monkeypatch.setattr(Path, "mkdir", made)
        monkeypatch.setattr(Path, "unlink", unlinked)

    def plant(self, path):
        folder = "scratch" if self.name.removesuffix("-journal") in OF_SCRATCH else ""
        if (path.parent.name == folder or (not folder and path.parent.parent.suffix == ".backups")) and not (
            path.is_symlink() or path.exists()
        ):
            os.symlink(self.target, path)
            self.planted += 1


@pytest.mark.parametrize(
    ("name", "target"),
    [
        *((name, "a file") for name in PLANTED),
        *((name, "a folder") for name in ("scratch", "report.json", "before.db", "manifest.json.new")),
        *((name, "nothing") for name in (*OF_SCRATCH, "scratch", "manifest.json", "backup.db-journal")),
    ],
)
def test_a_symlink_in_the_place_of_any_file_of_a_run_is_refused_or_replaced(
    database, tmp_path, monkeypatch, name, target
):
    precious, check = precious_at(tmp_path, target)
    somebody = Somebody(monkeypatch, name, precious, again=False)
    try:
        whole_life(database)
    except (OSError, MigratorError, sqlite3.OperationalError) as error:
        assert name in str(error) or "unable to open" in str(error)
    assert somebody.planted
    check()


@pytest.mark.parametrize(
    ("name", "target"), [*((name, "a file") for name in REPLANTED), ("before.db", "nothing"), ("schema.db", "nothing")]
)
def test_a_symlink_that_is_back_when_the_file_is_made_is_not_followed(database, tmp_path, monkeypatch, name, target):
    precious, check = precious_at(tmp_path, target)
    somebody = Somebody(monkeypatch, name, precious, again=True)
    with pytest.raises((FileExistsError, MigratorError), match=f"{name}|File exists"):
        whole_life(database)
    assert somebody.planted
    check()


def precious_at(tmp_path, kind):
    """What a planted symlink leads to, and the check that it is as it was."""
    precious = tmp_path / "precious"
    if kind == "nothing":
        return precious, lambda: no_such(precious)
    if kind == "a folder":
        precious.mkdir()
    held = precious / "held" if kind == "a folder" else precious
    held.write_text("precious")
    held.chmod(0o644)
    before = mode_and_owner(held), mode_and_owner(precious)

    def check():
        assert held.read_text() == "precious" and (mode_and_owner(held), mode_and_owner(precious)) == before
        assert not precious.is_dir() or os.listdir(precious) == ["held"]

    return precious, check


def no_such(path):
    assert not os.path.lexists(path)


def test_a_scratch_folder_that_became_a_symlink_is_neither_filled_nor_emptied(database, tmp_path):
    backup = backed_up(database)
    precious, check = precious_at(tmp_path, "a folder")
    backup.scratch.symlink_to(precious)
    with pytest.raises(FileExistsError):
        rehearse(backup)
    remove_tree(backup.scratch)
    with pytest.raises(FileExistsError):
        make_directory(backup.scratch, database)
    check()


def test_a_folder_of_backups_that_leads_nowhere_is_refused_and_not_made(database, tmp_path):
    database.with_name("notes.db.backups").symlink_to(tmp_path / "precious")
    with pytest.raises(RefusedError, match=r"notes.db.backups takes no backup: it is no directory"):
        preflight(database, NOTES)
    with pytest.raises(FileExistsError):
        make_directory(database.with_name("notes.db.backups") / "run", database)
    no_such(tmp_path / "precious")


def test_a_refused_run_ends_where_the_backups_lie_in_a_folder_through_a_symlink(database, tmp_path):
    (tmp_path / "disk").mkdir()
    database.with_name("notes.db.backups").symlink_to(tmp_path / "disk")
    live = backed_up(database).live
    discard(database, live.directory)
    assert read_journal(database) is None and os.listdir(tmp_path / "disk") == []
    assert database.with_name("notes.db.backups").is_symlink()


@pytest.mark.parametrize("path_of", [lock_path, journal_path])
def test_a_symlink_to_nothing_in_the_place_of_lock_or_journal_makes_nothing(database, tmp_path, path_of):
    path_of(database).symlink_to(tmp_path / "precious")
    if path_of is lock_path:
        with pytest.raises(RefusedError, match="cannot be opened"), locked(database):
            pass
    else:
        write_journal(database, Journal("abcd1234", "/nowhere/20260101T000000Z-abcd1234"))
        assert not journal_path(database).is_symlink()
    no_such(tmp_path / "precious")


def test_a_symlink_in_the_place_of_the_journals_next_text_is_replaced(database, tmp_path):
    precious, check = precious_at(tmp_path, "a file")
    path = journal_path(database).with_name("notes.db.migrating.new")
    path.symlink_to(precious)
    write_journal(database, Journal("abcd1234", "/nowhere/20260101T000000Z-abcd1234"))
    check()
    assert not path.is_symlink()


def test_a_folder_in_the_place_of_the_lock_is_refused(database):
    lock_path(database).mkdir()
    with pytest.raises(RefusedError, match="cannot be opened"), locked(database):
        pass


@pytest.mark.parametrize("moment", ["before", "after it was looked for"])
def test_a_lock_file_that_is_another_files_second_name_is_refused(database, tmp_path, monkeypatch, moment):
    precious, _ = precious_at(tmp_path, "a file")
    if moment == "before":
        os.link(precious, lock_path(database))
    else:
        real = os.open

        def late(path, *given, **options):
            if path == lock_path(database) and not path.exists():
                os.link(precious, path)
            return real(path, *given, **options)

        monkeypatch.setattr(os, "open", late)
    database.chmod(0o666)
    with pytest.raises(RefusedError, match="lock file"), locked(database):
        pass
    assert precious.read_text() == "precious"
    assert stat.S_IMODE(precious.stat().st_mode) == 0o644


def test_a_journal_removes_no_folder_that_only_ends_like_a_run(database, tmp_path):
    precious = tmp_path / "my-precious"
    precious.mkdir()
    (precious / "held").write_text("precious")
    write_journal(database, Journal("precious", str(precious)))
    with pytest.raises(RefusedError):
        recover(database, NOTES)
    assert (precious / "held").read_text() == "precious"


def test_a_journal_removes_no_folder_that_the_runs_folder_leads_to(database, tmp_path):
    precious, check = precious_at(tmp_path, "a folder")
    backup = backed_up(database)
    moved = replace(read_journal(database), directory=str(tmp_path / backup.live.directory.name))
    write_journal(database, moved)
    Path(moved.directory).symlink_to(precious)
    recover(database, NOTES)
    check()


def test_what_is_no_journal_is_refused_without_its_content(database):
    journal_path(database).write_bytes(b"\xff secret")
    with pytest.raises(RefusedError) as caught:
        read_journal(database)
    assert "secret" not in str(caught.value)


def test_what_is_no_manifest_is_refused_without_its_content(database):
    backup = backed_up(database)
    backup.path.with_name("manifest.json").write_bytes(b"\xff secret")
    before = stored(database)
    with pytest.raises(RefusedError) as caught:
        return_to_backup(database, backup.path)
    assert "secret" not in str(caught.value) and stored(database) == before


def test_a_pipe_in_the_place_of_the_journal_is_refused_without_waiting(database):
    os.mkfifo(journal_path(database))

    def late(*_):
        raise AssertionError("it waits for a writer")

    def read():
        signal.signal(signal.SIGALRM, late)
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        return read_journal(database)

    with pytest.raises(RefusedError):
        in_child(read)


def test_a_text_never_takes_the_place_of_a_pipe_or_a_directory(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(FileExistsError, match="no ordinary file"):
            write_private(tmp_path / name, "text")
    assert sorted(os.listdir(tmp_path)) == ["folder", "pipe"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
