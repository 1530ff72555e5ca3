"""SIGKILL at any moment of a run, with the application writing to every table all the time."""

import os
import random
import shutil
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from migrator.journal import read_journal
from migrator.restoration import recover, restore
from tests.children import killed_after, lost
from tests.faults.kills.drawing import MODES, NEWEST, SWITCH, draw
from tests.faults.sweep import PHASES, carry_out, new_folder
from tests.notes import NOTES, SOURCE_COLUMNS, TARGET_COLUMNS, make_notes
from tests.runs import beside, columns, is_sound, promoted, rehearsed, rows, run_sql

KILLS = 3
"""Of each kind in every run; `make faults` makes hundreds and counts."""


@pytest.fixture
def folder():
    place = new_folder()
    yield place
    shutil.rmtree(place)


@pytest.mark.parametrize(
    ("promotion", "journal_mode", "start", "goal"),
    [
        ("one transaction", "delete", 0, NEWEST),
        ("one transaction", "wal", NEWEST, 0),
        ("online", "wal", 0, NEWEST),
        ("online", "delete", NEWEST, 0),
        (SWITCH, "delete", 0, NEWEST),
    ],
)
def test_a_killed_run_leaves_old_or_new_and_the_next_start_ends_it(folder, promotion, journal_mode, start, goal):
    drawn = draw(random.randrange(10**6))
    case = replace(drawn, promotion=promotion, journal_mode=journal_mode, start=start, goal=goal, rows=300)
    outcome = carry_out(case, folder, KILLS)
    assert outcome.faults == [], outcome
    assert len(outcome.kills) == KILLS and outcome.writes > 50, outcome


def test_a_number_draws_the_same_case_and_all_of_them_every_kind():
    drawn = [draw(seed) for seed in range(400)]
    assert drawn == [draw(seed) for seed in range(400)]
    assert {(case.promotion, case.journal_mode) for case in drawn} == {
        *((promotion, mode) for promotion in PHASES if promotion != SWITCH for mode in MODES), (SWITCH, "delete"),
    }  # fmt: skip
    ways = Counter((case.start, case.goal) for case in drawn)
    assert len(ways) == NEWEST * (NEWEST + 1)
    assert min(ways[0, NEWEST], ways[NEWEST, 0]) > 80
    assert {case.writers for case in drawn} == {1, 2, 3}


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
def test_a_killed_restore_is_ended_by_the_next(folder, monkeypatch, journal_mode, rows_at_once):
    monkeypatch.setattr("migrator.restoration._ROWS_AT_ONCE", rows_at_once)
    database = folder / "notes.db"
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
