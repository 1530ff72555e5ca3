"""An application that writes nearly all the time while its table is promoted online, and a replica that nobody used:
afterwards both hold the same."""

import json
import random
import shutil
import sqlite3
from contextlib import closing
from itertools import groupby

import pytest

from tests.children import await_more, running
from tests.notes import TARGET_COLUMNS, make_notes
from tests.runs import columns, holds, is_sound, migrate, rows

ONLINE = 0.0

TRAFFIC = """
import json, os, random, select, sqlite3, sys
database, log, seed = sys.argv[1:]
chance = random.Random(seed)
written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
connection = sqlite3.connect(database, timeout=30, isolation_level=None)
NEWEST = "(SELECT max(id) FROM notes)"
OPERATIONS = [
    ("INSERT INTO notes (body, mood) VALUES (?, 'Happy')", "t"),
    ("INSERT INTO notes (body, mood) VALUES ('tag me', ?)", "m"),
    ("INSERT INTO notes (id, body, mood) VALUES (?, 'chosen', 'sad')", "i"),
    ("REPLACE INTO notes (id, body, mood) VALUES (?, ?, 'SAD')", "it"),
    ("INSERT INTO notes (id, body, mood) VALUES (?, ?, 'good') ON CONFLICT(id) DO UPDATE SET body = 'met'", "it"),
    ("UPDATE notes SET body = ? WHERE id BETWEEN ? AND ? + 40", "tij"),
    ("UPDATE notes SET mood = ? WHERE id % 17 = 3", "m"),
    ("UPDATE notes SET id = id + 5000 WHERE id = ?", "i"),
    ("UPDATE OR REPLACE notes SET id = ? WHERE id = ?", "ij"),
    ("UPDATE OR IGNORE notes SET id = id + 1 WHERE id BETWEEN ? AND ? + 5", "ij"),
    ("UPDATE OR REPLACE notes SET id = -id WHERE id = ?", "i"),
    (f"DELETE FROM notes WHERE id = {NEWEST}", ""),
    (f"DELETE FROM notes WHERE id = {NEWEST}", ""),
    ("DELETE FROM notes WHERE id BETWEEN ? AND ? + 3", "ij"),
    ("UPDATE notes SET code = ? WHERE id = ?", "ci"),
    ("INSERT OR REPLACE INTO notes (body, mood, code) VALUES (?, 'bad', ?)", "tc"),
    ("UPDATE OR REPLACE notes SET code = ? WHERE id IN (?, ?)", "cij"),
]
first = True
while True:
    done = []
    connection.execute("BEGIN IMMEDIATE")
    is_new = connection.execute("SELECT count(*) FROM pragma_table_info('notes') WHERE name = 'code'").fetchone()[0]
    for _ in range(chance.choice((1, 1, 1, 5))):
        statement, kinds = chance.choice(OPERATIONS)
        near = chance.randint(-20, 900)
        values = {
            "t": f"text {chance.random()}", "m": chance.choice(("good", "bad", "happy")), "i": near,
            "j": near if chance.random() < 0.7 else chance.randint(1, 6000), "c": chance.randint(1, 40),
        }
        arguments = [values[kind] for kind in kinds]
        try:
            cursor = connection.execute(statement, arguments)
            done.append([statement, arguments, cursor.rowcount, cursor.lastrowid])
        except (sqlite3.IntegrityError, sqlite3.OperationalError) as error:
            # A key that is taken, a mood that the new table refuses, a column that is not there, or not any more.
            assert "locked" not in str(error), error
    end = chance.choice(("COMMIT", "COMMIT", "COMMIT", "ROLLBACK"))
    connection.execute(end)
    if end == "COMMIT":
        os.write(written, (json.dumps([is_new, done]) + "\\n").encode())
    if first:
        print("ready", flush=True)
    first = False
    # A writer that left no gap would keep every other connection out, and a run would be refused.
    if select.select([sys.stdin], [], [], 0.002)[0]:
        break
"""


@pytest.mark.parametrize("journal_mode", ["delete", "wal"])
def test_what_the_application_did_meanwhile_is_what_it_would_have_been_without_a_migration(tmp_path, journal_mode):
    database, replica, log = tmp_path / "notes.db", tmp_path / "replica.db", tmp_path / "log"
    make_notes(database, rows=800, journal_mode=journal_mode)
    shutil.copyfile(database, replica)
    seed = random.randrange(10**6)
    print("seed", seed)

    def lines():
        return log.read_text().splitlines()

    with running(TRAFFIC, database, log, seed) as child:
        for version in (1, 0, 1):
            await_more(lines, 20)
            assert migrate(database, to_version=version, max_lock_ms=ONLINE).strategy == "online"
        await_more(lines, 20)
        # It ends after a transaction that is in its log.
        child.stdin.close()
        assert child.wait(30) == 0
    done = [json.loads(line) for line in lines()]
    assert [is_new for is_new, _ in groupby(is_new for is_new, _ in done)] == [0, 1, 0, 1] and len(done) > 100
    in_use = 0
    for is_new, same in groupby(done, key=lambda line: line[0]):
        if is_new != in_use:
            migrate(replica, to_version=is_new)
            in_use = is_new
        with closing(sqlite3.connect(replica, isolation_level=None)) as connection:
            connection.execute("BEGIN")
            for statement, arguments, rowcount, lastrowid in (made for _, transaction in same for made in transaction):
                cursor = connection.execute(statement, arguments)
                assert cursor.rowcount == rowcount, (statement, arguments)
                if statement.startswith("INSERT INTO notes (body"):
                    assert cursor.lastrowid == lastrowid, (statement, arguments)
            connection.execute("COMMIT")
    assert columns(database) == TARGET_COLUMNS and is_sound(database)
    assert _held(database) == _held(replica)
    # Its connection was open all the time, and SQLite leaves WAL only for the last.
    assert rows(database, "PRAGMA journal_mode") == [("wal",)]


def _held(database):
    """Everything but the ledger, which says when and how long."""
    ledger = ("_sqlite_migrations", "_migration_history")
    held = {name: found for name, found in holds(database).items() if name not in ledger}
    held["sqlite_sequence"] = [row for row in held["sqlite_sequence"] if row[0].decode() not in ledger]
    return held
