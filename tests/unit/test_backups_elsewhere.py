"""The backups on another file system than the database: there and back, and what holds when they are gone."""

import json
import os
import shutil
import sqlite3
import tempfile
from pathlib import Path

import pytest

from migrator import restoration
from migrator.backup import back_up
from migrator.errors import MigratorError, PromotionError, RestoreError
from migrator.journal import read_journal
from migrator.preflight import preflight
from migrator.promotion import promote
from migrator.restoration import recover
from migrator.return_to_backup import return_to_backup
from tests.notes import NOTES, SOURCE_COLUMNS, TARGET_COLUMNS, make_notes
from tests.runs import (
    PLENTY_MS,
    beside,
    columns,
    end_of_run,
    holds,
    is_sound,
    live_of,
    migrate,
    prove,
    rehearse,
    rehearsed,
    restored,
    rows,
    run_sql,
)

WAYS = {"one transaction": PLENTY_MS, "online": 0.0}


@pytest.fixture(params=WAYS)
def way(request, monkeypatch):
    """Forth and back; the lock that is allowed."""
    monkeypatch.setattr(restoration, "_ROWS_AT_ONCE", 0 if request.param == "online" else 10_000)
    return WAYS[request.param]


@pytest.fixture
def elsewhere(tmp_path):
    """A folder on another file system than `tmp_path`."""
    here = tmp_path.stat().st_dev
    others = (Path("/dev/shm"), Path("/run/shm"), Path.home(), Path("/var/tmp"), Path("/run/user", str(os.geteuid())))
    for other in others:
        if os.access(other, os.W_OK | os.X_OK) and other.stat().st_dev != here:
            with tempfile.TemporaryDirectory(dir=other) as name:
                yield Path(name) / "backups"
            return
    pytest.skip(f"no other file system than that of {tmp_path} to write to")


@pytest.fixture(params=["delete", "wal"])
def database(tmp_path, request):
    (tmp_path / "live").mkdir()
    path = tmp_path / "live" / "notes.db"
    make_notes(path, journal_mode=request.param)
    return path


def kept_in(folder):
    """The files of the runs there, by name; of directories their content alone counts."""
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_whole_run_there_and_back_leaves_its_backups_there_and_nothing_beside_the_database(database, elsewhere, way):
    before, mode = holds(database), rows(database, "PRAGMA journal_mode")
    done = migrate(database, max_lock_ms=way, backup_dir=elsewhere)
    backup = done.candidate.inspection.backup.path
    assert backup.parent.parent == elsewhere and backup.stat().st_dev != database.stat().st_dev
    assert columns(database) == TARGET_COLUMNS and is_sound(database)
    assert holds(backup) == before
    assert kept_in(elsewhere) == ["backup.db", "manifest.json"]
    assert [path.stat().st_mode & 0o777 for path in (backup, backup.parent, elsewhere)] == [0o600, 0o700, 0o700]
    migrate(database, max_lock_ms=way, backup_dir=elsewhere, to_version=0)
    assert columns(database) == SOURCE_COLUMNS and holds(database)["notes"] == before["notes"]
    assert kept_in(elsewhere) == ["backup.db", "backup.db", "manifest.json", "manifest.json"]
    assert beside(database) == set() and rows(database, "PRAGMA journal_mode") == mode


def test_a_promotion_is_reversed_with_the_help_of_a_backup_that_is_elsewhere(database, elsewhere, way):
    before = holds(database)
    done = promote(rehearsed(database, backup_dir=elsewhere), way)
    run_sql(database, "INSERT INTO notes (body, mood) VALUES ('since', 'good')")
    assert restored(database, live_of(done)).how == "reversed"
    assert rows(database, "SELECT id, body FROM notes WHERE id > 101") == [(102, "since")]
    run_sql(database, "DELETE FROM notes WHERE id = 102", "UPDATE sqlite_sequence SET seq = 101 WHERE name = 'notes'")
    assert holds(database) == before and beside(database) == set()
    assert kept_in(elsewhere) == ["backup.db", "manifest.json"]


def test_a_killed_run_is_ended_by_what_its_journal_says_of_a_folder_elsewhere(database, elsewhere, way):
    before = holds(database)
    rehearsed(database, backup_dir=elsewhere)
    assert recover(database, NOTES).how == "unchanged"
    assert holds(database) == before and kept_in(elsewhere) == ["backup.db", "manifest.json"]
    promote(rehearsed(database, backup_dir=elsewhere), way)
    assert recover(database, NOTES).how == "finished"
    assert columns(database) == TARGET_COLUMNS and beside(database) == set()


def spoil(database):
    """Damages a table that the migration does not touch."""
    run_sql(database, "PRAGMA wal_checkpoint(TRUNCATE)")
    ((page,),) = rows(database, "SELECT rootpage FROM sqlite_master WHERE name = 'tags'")
    with database.open("r+b") as file:
        file.seek(4096 * (page - 1))
        file.write(b"\xff" * 4096)


def test_pages_come_back_from_a_backup_elsewhere_and_the_present_state_is_saved_beside_it(database, elsewhere):
    before = holds(database)
    live = live_of(promote(rehearsed(database, backup_dir=elsewhere), PLENTY_MS))
    spoil(database)
    damaged = rows(database, "SELECT * FROM notes")
    assert restored(database, live).how == "pages_copied"
    assert holds(database) == before and is_sound(database) and beside(database) == set()
    assert kept_in(elsewhere) == ["backup.db", "before-restore.db", "manifest.json"]
    assert rows(live.directory / "before-restore.db", "SELECT * FROM notes") == damaged


def test_an_order_to_go_back_takes_a_backup_from_elsewhere(database, elsewhere, way):
    before = holds(database)
    backup = migrate(database, max_lock_ms=way, backup_dir=elsewhere).candidate.inspection.backup.path
    migrated = holds(database)
    present = return_to_backup(database, backup, discard_later_writes=True).present
    assert holds(database) == before and holds(present) == migrated
    assert present.is_relative_to(database.parent) and kept_in(elsewhere) == ["backup.db", "manifest.json"]


def steps(database, elsewhere, way, gone_before):
    """A run by hand, in which the folder of the backups goes before the step of that name."""

    def before(step):
        if step == gone_before:
            shutil.rmtree(elsewhere)

    live = preflight(database, NOTES, backup_dir=elsewhere)
    backup = back_up(live, lambda done, total: before("the rest of the backup"), max_lock_ms=way)
    before("the rehearsal")
    candidate = rehearse(backup)
    before("the proof")
    prove(candidate)
    before("the promotion")
    end_of_run(candidate, way)


UNTIL_THE_PROMOTION = ("the rest of the backup", "the rehearsal", "the proof", "the promotion")


@pytest.mark.parametrize("step", UNTIL_THE_PROMOTION)
def test_without_its_backup_nothing_is_promoted(database, elsewhere, way, step):
    before, mode = holds(database), rows(database, "PRAGMA journal_mode")
    with pytest.raises((MigratorError, OSError, sqlite3.Error)) as caught:
        steps(database, elsewhere, way, step)
    assert holds(database) == before
    if step == "the promotion":
        assert isinstance(caught.value, PromotionError)
        assert "is gone, and nothing is promoted without it; live unchanged; bring back what" in str(caught.value)
    assert recover(database, NOTES).how == "unchanged"
    assert holds(database) == before and is_sound(database)
    assert beside(database) == set() and rows(database, "PRAGMA journal_mode") == mode


@pytest.mark.parametrize("what", ["backup.db", "manifest.json"])
def test_a_backup_of_which_a_part_is_gone_is_none(database, elsewhere, way, what):
    candidate = rehearsed(database, backup_dir=elsewhere)
    before = holds(database)
    (candidate.inspection.backup.path.parent / what).unlink()
    with pytest.raises(PromotionError, match="is gone, and nothing is promoted without it"):
        promote(candidate, way)
    assert holds(database) == before


def test_a_backup_that_goes_while_a_promotion_goes_online_ends_it_before_the_swap(database, elsewhere):
    candidate, before = rehearsed(database, backup_dir=elsewhere), holds(database)

    def on_progress(done, total):
        if done:
            shutil.rmtree(elsewhere, ignore_errors=True)

    with pytest.raises(PromotionError, match="is gone, and nothing is promoted without it"):
        promote(candidate, 0.0, on_progress)
    assert columns(database) == SOURCE_COLUMNS
    assert recover(database, NOTES).how == "unchanged"
    assert holds(database) == before and beside(database) == set()


def test_after_the_promotion_a_backup_that_is_gone_takes_nothing_back(database, elsewhere, way):
    candidate = rehearsed(database, backup_dir=elsewhere)
    done = promote(candidate, way)
    shutil.rmtree(elsewhere)
    assert recover(database, NOTES).how == "finished"
    assert columns(database) == TARGET_COLUMNS and is_sound(database)
    assert read_journal(database) is None and done.rows == 100


def test_a_promotion_that_cannot_stand_and_has_no_backup_is_an_operators_case_that_loses_nothing(database, elsewhere):
    live = live_of(promote(rehearsed(database, backup_dir=elsewhere), PLENTY_MS))
    shutil.rmtree(elsewhere)
    before = holds(database)
    with pytest.raises(RestoreError, match="live holds the new schema and every row"):
        restored(database, live)
    assert holds(database) == before
    assert json.loads((database.parent / "notes.db.migrating").read_text())["run_id"] == live.run_id
