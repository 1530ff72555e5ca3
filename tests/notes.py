"""A small application of its own: notes, one migration, three tools."""

import sqlite3
from contextlib import closing
from pathlib import Path

from migrator.application import Application
from migrator.errors import ProbeError
from migrator.migration import Behaviour, Change, Mapped, Migration
from migrator.probes import Probe

BEFORE = """CREATE TABLE notes (
    id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL, mood TEXT NOT NULL, place TEXT)"""
AFTER = """CREATE TABLE notes (
    id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL, mood TEXT CHECK(mood IN ('good', 'bad')),
    stars INTEGER, code INTEGER UNIQUE)"""
TAGS = "CREATE TABLE tags (note_id INTEGER REFERENCES notes(id) ON DELETE CASCADE, tag TEXT)"
TARGET_COLUMNS = ["id", "body", "mood", "stars", "code"]
SOURCE_COLUMNS = ["id", "body", "mood", "place"]


def change(**fields) -> Change:
    """The change of the notes table, with other `fields` where a test needs them."""
    declared = {
        "before": BEFORE,
        "after": AFTER,
        "values": {"mood": Mapped("lower(mood)", {"good": ("good", "happy"), "bad": ("bad", "sad")})},
        "indexes": ("CREATE INDEX notes_mood ON notes(mood)",),
        "behaviours": (
            Behaviour(
                "a code is given once",
                tuple("INSERT INTO notes (body, mood, code) VALUES ('b', 'good', -1)" for _ in range(2)),
                refused="UNIQUE constraint failed: notes.code",
            ),
        ),
    }
    return Change("notes", **declared | fields)


def migration(*changes: Change, version: int = 1, tools: tuple[str, ...] = ("add_note",)) -> Migration:
    return Migration(changes or (change(),), tools=tools, version=version, name="stars")


def _read_notes(connection: sqlite3.Connection) -> object:
    return connection.execute("SELECT id, body FROM notes WHERE id < 50 ORDER BY id").fetchall()


def _add_note(connection: sqlite3.Connection) -> object:
    connection.execute("INSERT INTO notes (body, mood, stars) VALUES ('new', 'good', 5)")
    query = "SELECT stars FROM notes WHERE id = last_insert_rowid()"
    if connection.execute(query).fetchone() != (5,):
        raise ProbeError("notes.stars of the new row is not 5")
    return None


def _count_good(connection: sqlite3.Connection) -> object:
    connection.execute("SELECT count(*) FROM notes WHERE mood = 'good'").fetchone()
    return None


READ_NOTES = Probe("read_notes", _read_notes)
ADD_NOTE = Probe("add_note", _add_note)
COUNT_GOOD = Probe("count_good", _count_good)
PING = Probe("ping", None, "asks a server, not the database")


def make_notes(path: Path, rows: int = 100, journal_mode: str = "delete") -> None:
    """`rows` notes, the newest deleted again; tags on every second; a view and a trigger that survive the migration."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA journal_mode={journal_mode}")
        connection.execute("BEGIN")
        for statement in (BEFORE, TAGS):
            connection.execute(statement)
        moods = ("good", "Happy", "bad", "SAD")
        connection.executemany(
            "INSERT INTO notes (body, mood, place) VALUES (?, ?, ?)",
            ((f"note {n}", moods[n % 4], f"place {n}" if n % 3 else None) for n in range(rows + 1)),
        )
        connection.execute("DELETE FROM notes WHERE id = (SELECT max(id) FROM notes)")
        connection.execute("INSERT INTO tags SELECT id, 'tag ' || id FROM notes WHERE id % 2")
        connection.execute("CREATE VIEW bodies AS SELECT id, body FROM notes")
        connection.execute(
            "CREATE TRIGGER tagged AFTER INSERT ON notes WHEN new.body = 'tag me' "
            "BEGIN INSERT INTO tags VALUES (new.id, 'automatic'); END"
        )
        connection.execute("COMMIT")


def notes_application(*migrations: Migration, probes: tuple[Probe, ...] | None = None) -> Application:
    return Application(
        "notes",
        migrations or (migration(),),
        (READ_NOTES, ADD_NOTE, COUNT_GOOD, PING) if probes is None else probes,
        make_notes,
    )


NOTES = notes_application()
