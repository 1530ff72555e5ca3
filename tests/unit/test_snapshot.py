"""A snapshot of a database in use: one state of it, and not a byte of it changed."""

import os
import sqlite3
import threading
from contextlib import closing

import pytest

import migrator.health.snapshot
from migrator.health.snapshot import SnapshotError, take_snapshot
from tests.children import holding
from tests.notes import make_notes
from tests.runs import holds, is_sound, rows, run_sql, stored

ALL = 60_000.0
PIECES = 0.000001
"""Writers may wait for so short that every copy outside WAL mode is made in pieces."""


@pytest.fixture
def target(folder):
    return folder / "snapshot.db"


def fill(database, megabytes=4):
    """So much that a copy in pieces has several."""
    run_sql(database, "CREATE TABLE big (x)", *["INSERT INTO big VALUES (randomblob(1000000))"] * megabytes)


@pytest.mark.parametrize("max_lock_ms", [ALL, PIECES])
def test_it_holds_what_live_holds_in_one_file_and_live_is_the_same_to_the_byte(database, target, max_lock_ms):
    fill(database)
    with closing(sqlite3.connect(database, isolation_level=None)) as application:
        application.execute("INSERT INTO notes (body, mood) VALUES ('in the log, where there is one', 'good')")
        before, mode = stored(database), rows(database, "PRAGMA journal_mode")
        take_snapshot(database, target, max_lock_ms)
        assert stored(database) == before
    assert holds(target) == holds(database)
    assert rows(target, "SELECT count(*) FROM notes") == [(101,)]
    assert rows(target, "PRAGMA journal_mode") == [("delete",)] and rows(database, "PRAGMA journal_mode") == mode
    assert [name for name in os.listdir(target.parent) if name.startswith("snapshot")] == ["snapshot.db"]
    assert target.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("max_lock_ms", [ALL, PIECES])
def test_a_writer_in_the_middle_of_a_transaction_is_not_seen_and_not_disturbed(database, target, max_lock_ms):
    fill(database)
    with closing(sqlite3.connect(database, isolation_level=None)) as application:
        application.execute("BEGIN IMMEDIATE")
        application.execute("DELETE FROM notes")
        take_snapshot(database, target, max_lock_ms)
        application.execute("COMMIT")
    assert rows(target, "SELECT count(*) FROM notes") == [(100,)]
    assert rows(database, "SELECT count(*) FROM notes") == [(0,)]


ACCOUNTS = "CREATE TABLE accounts (id INTEGER PRIMARY KEY, amount INTEGER, filler BLOB)"


@pytest.fixture
def moving(database):
    """`database` with accounts on many pages, and a thread that moves amounts between them until the test ends."""
    run_sql(
        database,
        ACCOUNTS,
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 2000) "
        "INSERT INTO accounts SELECT x, 10, zeroblob(3000) FROM n",
    )
    end, paused = threading.Event(), threading.Event()

    def move():
        with closing(sqlite3.connect(database, timeout=30, isolation_level=None)) as connection:
            step = 0
            while not end.is_set():
                step += 1
                give, take = 1 + step * 7919 % 2000, 1 + step * 104729 % 2000
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("UPDATE accounts SET amount = amount - 1 WHERE id = ?", (give,))
                connection.execute("UPDATE accounts SET amount = amount + 1 WHERE id = ?", (take,))
                connection.execute("COMMIT")
                end.wait(0.2 if paused.is_set() else 0)

    thread = threading.Thread(target=move)
    thread.start()
    yield paused
    end.set()
    thread.join()


@pytest.mark.parametrize("max_lock_ms", [ALL, PIECES])
def test_beside_a_writer_it_is_one_state(database, target, moving, max_lock_ms):
    moving.set()
    for _ in range(3):
        target.unlink(missing_ok=True)
        take_snapshot(database, target, max_lock_ms)
        assert is_sound(target)
        assert rows(target, "SELECT count(*), sum(amount) FROM accounts") == [(2000, 20_000)]


def test_a_copy_that_takes_longer_than_writers_may_wait_is_made_in_pieces(database, target, monkeypatch):
    fill(database, 20)
    monkeypatch.setattr("migrator.health.snapshot._FAST_BYTES_PER_MS", 10**9)
    pieces = []
    monkeypatch.setattr("migrator.health.snapshot.pause_after", lambda hold_s: pieces.append(hold_s) or 0.0)
    monkeypatch.setattr("migrator.health.snapshot._PIECE_MS", 1)
    take_snapshot(database, target, max_lock_ms=0.5)
    assert holds(target) == holds(database)
    in_wal_mode = rows(database, "PRAGMA journal_mode") == [("wal",)]
    assert bool(pieces) != in_wal_mode


def test_a_write_between_two_pieces_begins_the_copy_again(tmp_path, target, monkeypatch):
    path = tmp_path / "notes.db"
    make_notes(path)
    fill(path)
    # On the first page and on the last ones: a copy that went on would hold the one and not the other.
    writes = iter(["CREATE TABLE late (x)", "INSERT INTO big VALUES (zeroblob(3000000))", "DELETE FROM tags"])
    pauses = []

    def write(hold_s):
        pauses.append(hold_s)
        statement = next(writes, None)
        if statement is not None:
            run_sql(path, statement)
        return 0.0

    monkeypatch.setattr("migrator.health.snapshot.pause_after", write)
    take_snapshot(path, target, PIECES)
    assert is_sound(target) and holds(target) == holds(path)
    assert rows(target, "SELECT count(*) FROM tags") == [(0,)]
    # Three beginnings, and then the three to five pieces of 7 MB.
    assert len(pauses) >= 6


def test_where_somebody_writes_all_the_time_it_gives_up_in_time_and_says_what_to_do(tmp_path, target, monkeypatch):
    path = tmp_path / "notes.db"
    make_notes(path)
    fill(path)
    monkeypatch.setattr("migrator.health.snapshot._PIECE_MS", 1)

    def write(hold_s):
        run_sql(path, "INSERT INTO tags VALUES (1, 'again')")
        return 0.0

    monkeypatch.setattr("migrator.health.snapshot.pause_after", write)
    with pytest.raises(
        SnapshotError, match=r"was written to whenever .* for 0\.3 s.*; check at a quieter hour, "
    ) as raised:
        take_snapshot(path, target, PIECES, patience_s=0.3)
    assert "PRAGMA journal_mode=WAL" in raised.value.way_out and "--max-lock-ms 27" in raised.value.way_out


def test_one_that_is_locked_when_the_pieces_begin_is_given_up_in_time(tmp_path, target, monkeypatch):
    path = tmp_path / "notes.db"
    make_notes(path)
    fill(path)
    real = migrator.health.snapshot._in_pieces

    def late(*arguments):
        with holding(path, "BEGIN EXCLUSIVE"):
            real(*arguments)

    monkeypatch.setattr("migrator.health.snapshot._in_pieces", late)
    with pytest.raises(SnapshotError, match="was written to whenever"):
        take_snapshot(path, target, PIECES, timeout_s=600, patience_s=0.1)


def test_without_room_nothing_is_made(database, target, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10})())
    with pytest.raises(SnapshotError, match=r"has 10 bytes free, a snapshot of notes.db needs [\d,]+; make room, or"):
        take_snapshot(database, target)
    assert not target.exists()


@pytest.mark.parametrize("max_lock_ms", [ALL, PIECES])
def test_a_database_that_stays_locked_is_named_busy(tmp_path, target, max_lock_ms):
    path = tmp_path / "notes.db"
    make_notes(path)
    with (
        holding(path, "BEGIN EXCLUSIVE", "DELETE FROM tags"),
        pytest.raises(sqlite3.OperationalError, match="locked"),
    ):
        take_snapshot(path, target, max_lock_ms, timeout_s=0.05)


def test_what_is_there_already_is_not_overwritten(database, target):
    target.write_text("precious")
    with pytest.raises(FileExistsError):
        take_snapshot(database, target)
    assert target.read_text() == "precious"
