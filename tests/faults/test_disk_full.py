"""No room in the middle of a run: live goes on as it was, and nothing of ours takes its last space."""

import os
import resource
import sqlite3

import pytest

from migrator.errors import MigratorError
from migrator.journal import read_journal
from migrator.promotion import promote
from migrator.restoration import recover
from tests.children import in_child
from tests.notes import NOTES, SOURCE_COLUMNS, make_notes
from tests.runs import PLENTY_MS, beside, columns, holds, is_sound, migrate, rehearsed, rows


def limited_to(size_bytes):
    """No file of this process may grow beyond that; works for every user, without a file system of its own."""

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, resource.RLIM_INFINITY))

    return limit


@pytest.mark.parametrize("journal_mode", ["delete", "wal"])
def test_a_file_that_cannot_grow_leaves_live_as_it_was_wherever_it_happens(tmp_path, journal_mode):
    database = tmp_path / "notes.db"
    make_notes(database, rows=400, journal_mode=journal_mode)
    before, size = holds(database), database.stat().st_size
    outcomes = set()

    def attempt():
        try:
            migrate(database)
            return "migrated"
        except (sqlite3.Error, OSError, MigratorError) as error:
            return type(error).__name__

    for percent in (1, 30, 60, 99, 101, 105, 110, 120, 150, 170, 200):
        outcome = in_child(attempt, before=limited_to(size * percent // 100))
        outcomes.add(outcome)
        if outcome == "migrated":
            break
        assert holds(database) == before and is_sound(database)
        if read_journal(database) is not None:
            assert recover(database, NOTES).how == "unchanged"
        assert beside(database) <= {"notes.db.backups"}
    assert len(outcomes) > 1
    if columns(database) != SOURCE_COLUMNS:
        migrate(database, to_version=0)
    assert columns(database) == SOURCE_COLUMNS


def test_a_full_disk_under_live_during_the_promotion_leaves_live_as_it_was(tmp_path):
    database = tmp_path / "notes.db"
    make_notes(database, rows=400)
    candidate = rehearsed(database)
    before = holds(database)

    def attempt():
        try:
            promote(candidate, PLENTY_MS)
        except sqlite3.OperationalError as error:
            return str(error)

    said = in_child(attempt, before=limited_to(database.stat().st_size + 4096))
    assert said in ("disk I/O error", "database or disk is full")
    assert holds(database) == before and is_sound(database)
    assert not database.with_name("notes.db-journal").exists() or os.path.getsize(f"{database}-journal") == 0
    promote(candidate, PLENTY_MS)
    assert rows(database, "SELECT count(*) FROM notes") == [(400,)]
