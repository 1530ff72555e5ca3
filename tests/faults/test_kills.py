"""SIGKILL at any moment of a run, with the application writing all the time."""

import os
import random
import signal
import sqlite3
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from migrator.errors import RestoreError
from migrator.journal import read_journal
from migrator.lock import locked
from migrator.promotion import promote
from migrator.restoration import finish, recover, restore
from migrator.verification import verify_live
from tests.children import killed_after, lost, writing
from tests.notes import NOTES, SOURCE_COLUMNS, TARGET_COLUMNS, make_notes
from tests.runs import PLENTY_MS, beside, columns, is_sound, migrate, promoted, rehearsed, rows, run_sql

KILLS = int(os.environ.get("KILLS", "20"))
"""In each journal mode; more of them with `KILLS=500 make test TESTS=tests/faults/test_kills.py`."""
OF_OTHERS = {"written", "notes.db-journal"}
HALF_A_JOURNAL = "notes.db.migrating.new"
"""What is left where the kill met the writing of the note itself; the next run's note replaces it."""
OURS = "SELECT name FROM sqlite_master WHERE name LIKE '\\_mig\\_%' ESCAPE '\\'"


def whole_run(database, to_version):
    with locked(database):
        while True:
            try:
                return migrate(database, to_version=to_version)
            except Exception as error:
                # The writer was in the way: the next try is a new run, as the flow's would be.
                assert "locked" in str(error), error
                if read_journal(database) is not None:
                    recovered(database)


def end_of_run(candidate):
    live = candidate.inspection.backup.live
    with suppress(sqlite3.OperationalError):
        verify_live(promote(candidate, PLENTY_MS))
        finish(live.database, live.directory)


def recovered(database):
    while True:
        try:
            return recover(database, NOTES)
        except Exception as error:
            assert "locked" in str(error), error


def is_whole(database):
    """Old or new, with its indexes and triggers; returns which."""
    names = columns(database)
    made = {
        name for (name,) in rows(database, "SELECT name FROM sqlite_master WHERE type IN ('index', 'trigger', 'view')")
    }
    applied = rows(database, "SELECT count(*) FROM sqlite_master WHERE name = '_sqlite_migrations'") == [(1,)] and rows(
        database, "SELECT count(*) FROM _sqlite_migrations"
    ) == [(1,)]
    assert {"tagged", "bodies"} <= made
    assert (names, "notes_mood" in made, applied) in ((SOURCE_COLUMNS, False, False), (TARGET_COLUMNS, True, True))
    assert is_sound(database)
    return names == TARGET_COLUMNS


@pytest.mark.parametrize("journal_mode", ["delete", "wal"])
def test_a_killed_run_leaves_old_or_new_and_the_next_start_ends_it(tmp_path, journal_mode):
    database = tmp_path / "notes.db"
    make_notes(database, journal_mode=journal_mode)
    seed = random.randrange(10**6)
    print("seed", seed)
    chance = random.Random(seed)
    killed, hows = 0, set()
    with writing(database, tmp_path / "written") as lines:
        started = time.monotonic()
        whole_run(database, 1)
        duration_s = time.monotonic() - started
        for number in range(KILLS):
            wanted = 0 if is_whole(database) else 1
            run = number, wanted
            if number % 2:
                moment, under_way = chance.uniform(0, duration_s), partial(whole_run, database, wanted)
            else:
                # Half of the kills meet the promotion and what follows it.
                candidate = rehearsed(database, to_version=wanted)
                moment, under_way = chance.uniform(0, 0.03), partial(end_of_run, candidate)
            killed += killed_after(moment, under_way)
            before = is_whole(database)
            if read_journal(database) is not None:
                # Every third time the recovery is killed as well.
                if number % 3 == 0:
                    killed_after(chance.uniform(0, 0.03), lambda: recovered(database))
                    is_whole(database)
                if read_journal(database) is not None:
                    found = recovered(database)
                    hows.add(found.how)
                    assert is_whole(database) == before, (run, found)
            assert rows(database, OURS) == []
            assert beside(database) <= {"notes.db.backups", "notes.db.migration-lock", *OF_OTHERS, HALF_A_JOURNAL}
            with pytest.raises(RestoreError, match="no run was under way"):
                recover(database, NOTES)
        written = lines()
    assert [line for line in written if line.startswith("ERROR")] == []
    assert lost(database, written) == []
    assert killed > KILLS / 3 and len(written) > KILLS
    assert hows <= {"finished", "unchanged"} and "unchanged" in hows
    whole_run(database, 0 if is_whole(database) else 1)
    assert beside(database) == {"notes.db.backups", "notes.db.migration-lock", "written"}


@pytest.mark.parametrize("journal_mode", ["delete", "wal"])
def test_a_killed_restore_is_ended_by_the_next(tmp_path, journal_mode):
    database = tmp_path / "notes.db"
    make_notes(database, rows=1000, journal_mode=journal_mode)
    chance = random.Random(7)
    for _ in range(5):
        live = promoted(database).candidate.inspection.backup.live
        run_sql(database, "INSERT INTO notes (body, mood, stars) VALUES ('since', 'good', 5)")
        count = rows(database, "SELECT count(*) FROM notes")
        killed_after(chance.uniform(0, 0.05), lambda live=live: restore(database, NOTES, live.run_id, live.directory))
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
    assert is_whole(database) is True
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
