"""A table of notes in memory and the migration that rebuilds it."""

import sqlite3

from migrator.migration import Change
from tests.unit.migrating import database, migration

BEFORE = "CREATE TABLE notes (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL, mood TEXT, place TEXT)"
AFTER = "CREATE TABLE notes (id INTEGER PRIMARY KEY AUTOINCREMENT, stars INTEGER, body TEXT NOT NULL, mood TEXT)"
NOTES = migration(Change("notes", BEFORE, AFTER, values={"mood": "lower(mood)"}))
ROWS = "INSERT INTO notes (body, mood, place) VALUES ('a', 'GOOD', 'x'), ('b', 'bad', NULL), ('c', NULL, 'z')"


def notes(*statements: str, table: str = BEFORE) -> sqlite3.Connection:
    return database(table, ROWS, *statements)
