"""A whole run whose promotion goes online: what one transaction gives, and back."""

from types import SimpleNamespace

import pytest

from migrator import online, restoration
from migrator.connect import opened
from migrator.errors import PromotionError
from migrator.promotion import promote
from migrator.removal import remove_old
from migrator.verification import verify_live
from tests.notes import NOTES, SOURCE_COLUMNS, TARGET_COLUMNS
from tests.runs import PLENTY_MS, beside, columns, holds, is_sound, live_of, rehearsed, restored, rows, run_sql

TINY_MS = 0.001


def free_only(low, folder):
    """What `shutil` says of room: hardly any in that folder, plenty elsewhere."""

    def disk_usage(path):
        return SimpleNamespace(total=10**9, free=low if path == folder else 10**9)

    return SimpleNamespace(disk_usage=disk_usage)


def content(database):
    """All but the ledger, which knows the time."""
    return {
        name: found
        for name, found in holds(database).items()
        if name not in ("_sqlite_migrations", "_migration_history")
    }


def promoted(database, **options):
    done = promote(rehearsed(database, NOTES, **options), TINY_MS)
    assert done.strategy == "online"
    return done


def test_what_would_hold_the_lock_too_long_goes_online(database):
    mode, seen = rows(database, "PRAGMA journal_mode"), []
    done = promote(rehearsed(database), TINY_MS, lambda *progress: seen.append(progress))
    assert (done.strategy, done.rows, done.findings) == ("online", 100, ())
    assert 0 < done.lock_ms < PLENTY_MS
    assert columns(database) == TARGET_COLUMNS
    assert seen[0] == (0, 100) and seen[-1] == (100, 100)
    assert rows(database, "PRAGMA journal_mode") == [("wal",)]
    verify_live(done)
    remove_old(done)
    assert rows(database, "SELECT name FROM sqlite_master WHERE name LIKE '!_mig!_%' ESCAPE '!'") == []
    live = live_of(done)
    assert restoration.finish(database, live.directory) == ()
    assert rows(database, "PRAGMA journal_mode") == mode
    assert is_sound(database) and beside(database) == {"notes.db.backups"}


def test_what_is_kept_free_is_for_the_application_and_not_on_the_disk_of_the_backups(database, monkeypatch):
    candidate = rehearsed(database)
    monkeypatch.setattr(online, "shutil", free_only(1000, candidate.inspection.backup.scratch))
    assert promote(candidate, TINY_MS).strategy == "online"


def test_where_the_application_would_have_no_room_nothing_is_promoted(database, monkeypatch):
    candidate, before = rehearsed(database), holds(database)
    monkeypatch.setattr(online, "shutil", free_only(1000, database.parent))
    with pytest.raises(PromotionError, match=f"{database.parent} has only 1,000 bytes left"):
        promote(candidate, TINY_MS)
    assert restored(database, candidate.inspection.backup.live).how == "unchanged"
    assert holds(database) == before


def test_live_holds_the_same_by_either_way(tmp_path, database):
    (tmp_path / "twin").mkdir()
    run_sql(database, "PRAGMA wal_checkpoint(TRUNCATE)")
    twin = tmp_path / "twin" / "notes.db"
    twin.write_bytes(database.read_bytes())
    candidates = rehearsed(database), rehearsed(twin)
    late = "INSERT INTO notes (body, mood, place) VALUES ('late', 'HAPPY', 'home')"
    run_sql(database, late)
    run_sql(twin, late)
    remove_old(promote(candidates[0], TINY_MS))
    assert promote(candidates[1], PLENTY_MS).strategy == "one_transaction"
    assert content(database) == content(twin)
    # The order of columns and rows as well, which `content` does not look at.
    assert rows(database, "SELECT * FROM notes") == rows(twin, "SELECT * FROM notes")
    assert rows(database, "SELECT sql FROM sqlite_master WHERE name LIKE 'notes%' ORDER BY name") == rows(
        twin, "SELECT sql FROM sqlite_master WHERE name LIKE 'notes%' ORDER BY name"
    )


@pytest.mark.parametrize("back_online", [True, False])
def test_a_restore_gives_all_back_after_an_online_promotion(database, monkeypatch, back_online):
    monkeypatch.setattr(restoration, "_ROWS_AT_ONCE", 0 if back_online else 1000)
    before = holds(database)
    live = live_of(promoted(database))
    assert restored(database, live).how == "reversed"
    assert holds(database) == before and is_sound(database)
    assert beside(database) == {"notes.db.backups"}
    assert restored(database, live).how == "unchanged"


def test_a_restore_that_goes_online_keeps_what_was_written_since(database, monkeypatch):
    monkeypatch.setattr(restoration, "_ROWS_AT_ONCE", 0)
    live = live_of(promoted(database))
    run_sql(
        database,
        "INSERT INTO notes (body, mood, stars) VALUES ('since', 'good', 5)",
        "UPDATE notes SET body = 'changed' WHERE id = 1",
        "DELETE FROM notes WHERE id = 2",
    )
    result = restored(database, live)
    assert (result.how, [f.code for f in result.findings]) == ("reversed", [])
    assert columns(database) == SOURCE_COLUMNS
    assert rows(database, "SELECT id, body, mood, place FROM notes WHERE id > 101") == [(102, "since", "good", None)]
    assert rows(database, "SELECT body, mood FROM notes WHERE id < 4") == [("changed", "good"), ("note 2", "bad")]
    assert rows(database, "SELECT id, stars FROM notes_ahead") == [(102, 5)]
    remove_old(promoted(database))
    assert rows(database, "SELECT stars FROM notes WHERE id = 102") == [(5,)]


def test_a_restore_after_a_stopped_promotion_leaves_the_table_and_every_write(database):
    before, late = holds(database), ["INSERT INTO notes (body, mood) VALUES ('late', 'odd')"]

    def on_progress(done, total):
        if late and done:
            run_sql(database, late.pop())

    candidate = rehearsed(database)
    with pytest.raises(PromotionError, match=r"written since the backup: column mood .* 'odd'"):
        promote(candidate, TINY_MS, on_progress)
    assert rows(database, "SELECT count(*) FROM sqlite_master WHERE name LIKE '!_mig!_%' ESCAPE '!'") != [(0,)]
    result = restored(database, candidate.inspection.backup.live)
    assert (result.how, [f.code for f in result.findings]) == ("unchanged", ["rows_written_since"])
    after = holds(database)
    assert after["schema"] == before["schema"] and after["tags"] == before["tags"]
    assert set(after["notes"]) - set(before["notes"]) == {(102, b"late", b"odd", None)}
    assert set(before["notes"]) <= set(after["notes"])


def test_a_killed_promotion_is_recovered_whether_it_was_committed_or_not(database):
    before = holds(database)

    class Killed(BaseException):
        pass

    def on_progress(done, total):
        if done:
            raise Killed

    candidate = rehearsed(database)
    with pytest.raises(Killed):
        promote(candidate, TINY_MS, on_progress)
    assert restoration.recover(database, NOTES).how == "unchanged"
    assert holds(database) == before
    promoted(database)
    assert restoration.recover(database, NOTES).how == "finished"
    assert columns(database) == TARGET_COLUMNS and is_sound(database)
    assert beside(database) == {"notes.db.backups"}
    with opened(database, read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name LIKE '%.old'").fetchone() == (0,)
