"""The backups on a disk of their own that runs full, or is taken away, in the middle of a run: live is old or new, the
application notices nothing, and the next run succeeds."""

import ctypes
import os
import sqlite3

import pytest

from migrator.backup import back_up
from migrator.errors import MigratorError
from migrator.journal import read_journal
from migrator.preflight import preflight
from migrator.promotion import promote
from migrator.removal import remove_old
from migrator.restoration import finish_promoted, restore
from tests.children import await_more, committed, errors, in_child, lost, writing
from tests.faults.test_online_disk_full import can_mount, fill, mount_small_disk
from tests.notes import NOTES, SOURCE_COLUMNS, TARGET_COLUMNS, make_notes
from tests.runs import PLENTY_MS, beside, columns, is_sound, migrate, prove, rehearse, rows

WAYS = {"one transaction": PLENTY_MS, "online": 0.0}
BEFORE, AFTER = ("back up", "the rest of the backup", "rehearse", "prove"), ("promote", "finish")
_LAZILY = 2


def taken_away(place):
    """What has files open there can go on with them; by their names nobody finds them any more."""
    umount = ctypes.CDLL(None, use_errno=True).umount2
    assert umount(os.fsencode(place), _LAZILY) == 0, os.strerror(ctypes.get_errno())


def full(place):
    fill(place, 0)


def run_that_meets(database, place, way, step, happens):
    """What became of it: None, or the error after which live was brought back as the flow does it."""
    waiting = [step]

    def at(said):
        if waiting == [said]:
            waiting.clear()
            happens(place)

    def in_the_middle_of(said):
        return lambda done, total: at(said) if done else None

    live = preflight(database, NOTES, backup_dir=place)
    try:
        at("back up")
        backup = back_up(live, in_the_middle_of("the rest of the backup"), max_lock_ms=way)
        at("rehearse")
        candidate = rehearse(backup)
        at("prove")
        prove(candidate)
        at("promote")
        done = promote(candidate, way, in_the_middle_of("the rest of the promotion"))
        if done.strategy == "online":
            remove_old(done)
        at("finish")
        finish_promoted(live)
    except (sqlite3.Error, OSError, MigratorError) as error:
        restore(database, NOTES, live.run_id, live.directory)
        return f"{type(error).__name__}: {error}"
    finally:
        assert not waiting, f"there was no {step!r}"
    return None


def attempt(tmp_path, way, step, happens):
    """The error, the columns and what else a database holds after it, what lies about, and what a second run makes."""
    place, database = tmp_path / "disk", tmp_path / "live" / "notes.db"
    database.parent.mkdir()
    make_notes(database, rows=400)
    mount_small_disk(place)
    with writing(database, tmp_path / "written") as lines:
        error = run_that_meets(database, place, WAYS[way], step, happens)
        ours = rows(database, "SELECT name FROM sqlite_master WHERE name LIKE '\\_mig\\_%' ESCAPE '\\'")
        found = columns(database), ours, is_sound(database), read_journal(database)
        await_more(lines, 10)
        if happens is full:
            (place / "filler").unlink()
        left = sorted(path.name for path in place.rglob("*") if path.is_file())
        again = error is not None and migrate(database, backup_dir=place, max_lock_ms=WAYS[way]).candidate is not None
    return error, found, left, again, columns(database), lines(), lost(database, lines()), beside(database)


CASES = [
    *((full, "one transaction", step) for step in (*BEFORE, *AFTER)),
    # Before anything was written there it is a folder like any other.
    *((taken_away, "one transaction", step) for step in (*BEFORE[1:], *AFTER)),
    *((happens, "online", step) for happens in (full, taken_away) for step in (*AFTER, "the rest of the promotion")),
]


@pytest.mark.parametrize(("happens", "way", "step"), CASES)
def test_a_disk_of_backups_that_fails_in_the_middle_costs_no_row_and_leaves_old_or_new(tmp_path, happens, way, step):
    (tmp_path / "disk").mkdir()
    can_mount(tmp_path / "disk")
    error, found, left, again, at_last, written, missing, files = in_child(
        lambda: attempt(tmp_path, way, step, happens)
    )
    assert errors(written) == [] and missing == [] and len(committed(written)) > 5
    assert found == (SOURCE_COLUMNS if error else TARGET_COLUMNS, [], True, None)
    assert again is (error is not None) and at_last == TARGET_COLUMNS
    assert files - {"notes.db-journal"} == set()
    # Once the backup is made a full disk hinders only the rehearsal; without any nothing is promoted.
    assert (error is None) is (step == "finish" or (happens is full and step not in BEFORE)), error
    if error is not None and step not in BEFORE:
        assert "is gone, and nothing is promoted without it; live unchanged" in error
    if happens is taken_away and step == "the rest of the backup":
        assert error.startswith(f"BackupGoneError: {tmp_path / 'disk'}/")
        assert "is gone, removed or with what the backups are kept on" in error and "live unchanged" in error
    assert left == ([] if happens is taken_away or step in BEFORE[:2] else ["backup.db", "manifest.json"])
