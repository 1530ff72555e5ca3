"""SIGKILL at any moment of a run, with the application writing all the time."""

import os
import random
import shutil
import signal
from pathlib import Path

import pytest

from migrator.journal import read_journal
from migrator.restoration import recover, restore
from tests.children import killed_after, lost
from tests.faults.sweep import MODES, WAYS, new_folder, sweep, sweep_switch
from tests.notes import NOTES, SOURCE_COLUMNS, TARGET_COLUMNS, make_notes
from tests.runs import beside, columns, is_sound, promoted, rehearsed, rows, run_sql

KILLS = int(os.environ.get("KILLS", "12"))
"""Of each way in each journal mode; `make faults` kills many times as often and counts."""


@pytest.fixture
def folder():
    place = new_folder()
    yield place
    shutil.rmtree(place)


@pytest.mark.parametrize("journal_mode", MODES)
@pytest.mark.parametrize("way", WAYS)
def test_a_killed_run_leaves_old_or_new_and_the_next_start_ends_it(folder, way, journal_mode):
    tally = sweep(way, journal_mode, KILLS, folder, random.randrange(10**6))
    assert tally.faults == [], tally
    assert tally.kills >= KILLS and tally.writes > KILLS
    assert len(tally.in_phase) >= 5


def test_a_kill_while_the_journal_mode_is_switched_loses_nothing_and_the_mode_comes_back(folder):
    tally = sweep_switch(KILLS, folder, random.randrange(10**6))
    assert tally.faults == [], tally
    assert tally.kills >= KILLS and tally.writes > 0


@pytest.mark.parametrize(
    ("kept", "lines", "faults"),
    [
        (["1 wrote 1"], ["? 1 wrote 1", "1 wrote 1"], 0),
        ([], ["? 1 wrote 1", "1 wrote 1"], 1),
        ([], ["? 1 wrote 1"], 0),
        (["1 wrote 1", "1 wrote 1"], ["? 1 wrote 1", "1 wrote 1"], 1),
        (["1 wrote 1"], ["? 1 wrote 1", "1 wrote 1", "? 1 wrote 1!", "1 wrote 1!"], 1),
        (["1 wrote 1"], ["? 1 wrote 1", "1 wrote 1", "? 1 wrote 1!"], 0),
        (["1 wrote 1"], ["? 1 wrote 1", "1 wrote 1", "? -1 wrote 1", "-1 wrote 1"], 1),
        ([], ["? 1 wrote 1", "1 wrote 1", "? -1 wrote 1"], 0),
        ([], ["? 1 wrote 1", "1 wrote 1", "? -1 wrote 1", "ERROR locked"], 1),
        ([], ["? batch 7", "batch 7"], 1),
    ],
)
def test_a_write_that_is_lost_stale_or_back_again_is_found(tmp_path, kept, lines, faults):
    database = tmp_path / "notes.db"
    make_notes(database)
    for body in kept:
        run_sql(database, f"INSERT INTO notes (body, mood) VALUES ('{body}', 'good')")
    assert len(lost(database, lines)) == faults


@pytest.mark.parametrize("rows_at_once", [10_000, 100])
@pytest.mark.parametrize("journal_mode", ["delete", "wal"])
def test_a_killed_restore_is_ended_by_the_next(tmp_path, monkeypatch, journal_mode, rows_at_once):
    monkeypatch.setattr("migrator.restoration._ROWS_AT_ONCE", rows_at_once)
    database = tmp_path / "notes.db"
    make_notes(database, rows=1000, journal_mode=journal_mode)
    chance = random.Random(7)
    for _ in range(5):
        live = promoted(database).candidate.inspection.backup.live
        run_sql(database, "INSERT INTO notes (body, mood, stars) VALUES ('since', 'good', 5)")
        count = rows(database, "SELECT count(*) FROM notes")
        killed_after(chance.uniform(0, 0.1), lambda live=live: restore(database, NOTES, live.run_id, live.directory))
        assert is_sound(database)
        assert restore(database, NOTES, live.run_id, live.directory).how in ("reversed", "unchanged")
        assert columns(database) == SOURCE_COLUMNS
        assert rows(database, "SELECT count(*) FROM notes") == count
        assert read_journal(database) is None


def test_a_run_killed_right_after_its_commit_is_finished_with_its_backup(tmp_path):
    database = tmp_path / "notes.db"
    make_notes(database)
    killed_after(30, lambda: (promoted(database), os.kill(os.getpid(), signal.SIGKILL)))
    directory = Path(read_journal(database).directory)
    assert recover(database, NOTES).how == "finished"
    assert columns(database) == TARGET_COLUMNS and is_sound(database)
    assert sorted(os.listdir(directory)) == ["backup.db", "manifest.json"]


def test_a_run_killed_in_its_rehearsal_leaves_live_to_the_byte(tmp_path):
    database = tmp_path / "notes.db"
    make_notes(database)
    before = database.read_bytes()
    killed_after(0.03, lambda: rehearsed(database))
    assert database.read_bytes() == before
    if read_journal(database) is not None:
        assert recover(database, NOTES).how == "unchanged"
    assert database.read_bytes() == before
    assert beside(database) <= {"notes.db.backups"}
