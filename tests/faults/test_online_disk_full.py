"""A small disk that runs full while a table is promoted online, and an application that goes on writing to it."""

import ctypes
import os
import sqlite3
from contextlib import suppress
from pathlib import Path

import pytest

from migrator.errors import MigratorError
from migrator.journal import read_journal
from migrator.restoration import recover, restore
from tests.children import await_more, committed, errors, in_child, lost, writing
from tests.faults.sweep import run
from tests.notes import NOTES, SOURCE_COLUMNS, TARGET_COLUMNS, make_notes
from tests.runs import beside, columns, is_sound, rows

ONLINE = 0.0
DISK_BYTES = 24 << 20
BELOW_THE_RESERVE = 3 << 20
PHASES = ("back up", "rehearse", "set up", "backfill", "catch up", "swap", "verify", "remove the old table", "finish")
BEFORE_THE_SWAP = PHASES[:4]
_NEW_MOUNTS, _NEW_USERS, _RECURSIVE, _PRIVATE = 0x20000, 0x10000000, 0x4000, 0x40000


def mount_small_disk(place):
    """Puts a file system of its own at `place`, which only this process and its children see."""
    libc, user, group = ctypes.CDLL(None, use_errno=True), os.geteuid(), os.getegid()

    def call(function, *arguments):
        if function(*arguments) != 0:
            raise OSError(ctypes.get_errno(), f"{function.__name__} is not allowed here")

    call(libc.unshare, _NEW_MOUNTS | (_NEW_USERS if user else 0))
    if user:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    call(libc.mount, b"none", b"/", None, ctypes.c_ulong(_RECURSIVE | _PRIVATE), None)
    options = f"size={DISK_BYTES},mode=0700".encode()
    call(libc.mount, b"tmpfs", os.fsencode(place), b"tmpfs", ctypes.c_ulong(0), options)


def can_mount(place):
    try:
        in_child(lambda: mount_small_disk(place))
    except OSError as error:
        pytest.skip(f"no file system of its own: {error}")


def fill(place, leave_bytes):
    """A file that takes all of the disk but that."""
    with (place / "filler").open("wb") as file:
        while True:
            disk = os.statvfs(place)
            # The application may take a page in between.
            with suppress(OSError):
                os.posix_fallocate(file.fileno(), 0, max(1, disk.f_bavail * disk.f_frsize - leave_bytes))
                return


def run_that_meets(database, phase, leave_bytes):
    """What became of it: None, or the error after which live was brought back as the flow does it."""
    done = []

    def at(said):
        if said == phase and not done:
            done.append(said)
            fill(database.parent, leave_bytes)

    try:
        run(database, 1, ONLINE, at)
    except (sqlite3.Error, OSError, MigratorError) as error:
        journal = read_journal(database)
        if journal is not None:
            try:
                restore(database, NOTES, journal.run_id, Path(journal.directory))
            except (sqlite3.Error, OSError, MigratorError) as second:
                return f"{error}; then {second}"
        return str(error)
    finally:
        assert done, f"there was no {phase!r}"
    return None


def held(database):
    """Columns, this tool's own objects, journal mode, soundness."""
    ours = rows(database, "SELECT name FROM sqlite_master WHERE name LIKE '\\_mig\\_%' ESCAPE '\\'")
    return columns(database), ours, rows(database, "PRAGMA journal_mode"), is_sound(database)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("journal_mode", ["delete", "wal"])
def test_where_space_runs_low_the_promotion_undoes_itself_and_no_write_of_the_application_fails(
    tmp_path, journal_mode, phase
):
    place, log = tmp_path / "disk", tmp_path / "written"
    place.mkdir()
    can_mount(place)

    def attempt():
        mount_small_disk(place)
        database = place / "notes.db"
        make_notes(database, rows=800, journal_mode=journal_mode)
        with writing(database, log) as lines:
            error = run_that_meets(database, phase, BELOW_THE_RESERVE)
            await_more(lines, 20)
        written = lines()
        return error, held(database), read_journal(database), lost(database, written), written, beside(database)

    error, found, journal, missing, written, files = in_child(attempt)
    assert errors(written) == [] and missing == [] and len(committed(written)) > 5
    if phase in BEFORE_THE_SWAP:
        assert "bytes left, and the application needs some; live unchanged" in error
    else:
        assert error is None or phase == "catch up"
    assert found == (TARGET_COLUMNS if error is None else SOURCE_COLUMNS, [], [(journal_mode,)], True)
    assert journal is None
    assert files <= {"notes.db.backups", "notes.db.migration-lock", "notes.db-journal", "filler"}


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("journal_mode", ["delete", "wal"])
def test_a_disk_that_somebody_fills_to_the_last_byte_costs_no_row(tmp_path, journal_mode, phase):
    place, log = tmp_path / "disk", tmp_path / "written"
    place.mkdir()
    can_mount(place)

    def attempt():
        mount_small_disk(place)
        database = place / "notes.db"
        make_notes(database, rows=800, journal_mode=journal_mode)
        with writing(database, log) as lines:
            error = run_that_meets(database, phase, 0)
            os.unlink(place / "filler")
            is_new = columns(database) == TARGET_COLUMNS
            how = recover(database, NOTES).how if read_journal(database) is not None else None
            await_more(lines, 20)
        written = lines()
        return error, is_new, how, held(database), lost(database, written), written, beside(database)

    error, is_new, how, found, missing, written, files = in_child(attempt)
    assert {line for line in errors(written) if "full" not in line and "disk I/O" not in line} == set()
    assert missing == [] and len(committed(written)) > 5
    assert is_new or error is not None
    assert how in (None, "finished" if is_new else "unchanged"), error
    assert found == (TARGET_COLUMNS if is_new else SOURCE_COLUMNS, [], [(journal_mode,)], True)
    assert files <= {"notes.db.backups", "notes.db.migration-lock", "notes.db-journal", "notes.db.migrating.new"}
