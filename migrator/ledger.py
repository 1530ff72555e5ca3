"""Which migrations a database has: rows in the database itself, written in the promotion's transaction.

`_sqlite_migrations` has the layout of sqlite-utils, so `sqlite-utils migrate --list` reads it;
`_migration_history` holds what that layout has no room for.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from migrator.errors import RefusedError
from migrator.migration import Answers, Migration
from migrator.schema import columns_of

LEDGER_TABLES = ("_sqlite_migrations", "_migration_history")

_CREATE = (
    """CREATE TABLE IF NOT EXISTS "_sqlite_migrations" (
   "id" INTEGER PRIMARY KEY,
   "migration_set" TEXT,
   "name" TEXT,
   "applied_at" TEXT
)""",
    """CREATE UNIQUE INDEX IF NOT EXISTS "idx__sqlite_migrations_migration_set_name"
    ON "_sqlite_migrations" ("migration_set", "name")""",
    """CREATE TABLE IF NOT EXISTS "_migration_history" (
   id INTEGER PRIMARY KEY,
   migration_set TEXT NOT NULL,
   version INTEGER NOT NULL,
   name TEXT NOT NULL,
   checksum TEXT NOT NULL,
   answers TEXT NOT NULL,
   schema_before TEXT NOT NULL,
   schema_after TEXT NOT NULL,
   run_id TEXT NOT NULL,
   backup TEXT NOT NULL,
   seconds REAL NOT NULL,
   rows INTEGER NOT NULL,
   applied_at TEXT NOT NULL,
   reversed_at TEXT,
   reversed_by TEXT,
   schema_reversed TEXT
)""",
)


_NEEDED = {
    "_sqlite_migrations": {"id", "migration_set", "name", "applied_at"},
    "_migration_history": {
        "id",
        "migration_set",
        "version",
        "checksum",
        "run_id",
        "answers",
        "reversed_by",
        "schema_reversed",
    },
}

WriteLedger = Callable[[sqlite3.Connection, float, int], None]
"""Writes the ledger's rows in the promotion's transaction, given the seconds and rows that it took so far."""


@dataclass(frozen=True)
class Applied:
    """A migration that the database has."""

    version: int
    name: str
    checksum: str | None
    answers: Answers


@dataclass(frozen=True)
class Entry:
    """What the ledger keeps of one promotion."""

    run_id: str
    backup: str
    schema_before: str
    schema_after: str
    seconds: float
    rows: int


def read_ledger(connection: sqlite3.Connection, migration_set: str, known: Sequence[Migration]) -> tuple[Applied, ...]:
    """The applied migrations in the order of versions; empty for a database without a ledger.

    Raises RefusedError where the database has a migration that `known` has not, or one whose declaration was edited,
    or where versions are missing in between.
    """
    for table, needed in _NEEDED.items():
        there = set(columns_of(connection, table))
        if there and not there >= needed:
            raise RefusedError(f"table {table} exists and is not this tool's ledger", "rename it")
    if not columns_of(connection, "_sqlite_migrations"):
        return ()
    query = "SELECT name FROM _sqlite_migrations WHERE migration_set = ?"
    names = {name for (name,) in connection.execute(query, (migration_set,))}
    unknown = sorted(names - {m.label for m in known})
    if unknown:
        raise RefusedError(
            f"the database has migration {unknown[0]}, which this program does not know", "update this program"
        )
    applied = tuple(_applied(connection, migration_set, m) for m in known if m.label in names)
    if [a.version for a in applied] != list(range(1, len(applied) + 1)):
        raise RefusedError(
            f"the ledger has versions {[a.version for a in applied]}, with gaps", "repair _sqlite_migrations"
        )
    return applied


def versions_ever_applied(connection: sqlite3.Connection, migration_set: str) -> frozenset[int]:
    """The versions that this tool applied to the database at any time, also where they were undone since."""
    if not columns_of(connection, "_migration_history"):
        return frozenset()
    query = "SELECT DISTINCT version FROM _migration_history WHERE migration_set = ?"
    return frozenset(version for (version,) in connection.execute(query, (migration_set,)))


def _applied(connection: sqlite3.Connection, migration_set: str, migration: Migration) -> Applied:
    query = (
        "SELECT checksum, answers FROM _migration_history "
        "WHERE migration_set = ? AND version = ? AND reversed_at IS NULL ORDER BY id DESC LIMIT 1"
    )
    has_history = columns_of(connection, "_migration_history")
    found = connection.execute(query, (migration_set, migration.version)).fetchone() if has_history else None
    if found is None:
        return Applied(migration.version, migration.name, None, Answers())
    if found[0] != migration.checksum:
        raise RefusedError(
            f"migration {migration.label} was edited after it was applied "
            f"(applied as {found[0][:12]}, declared now as {migration.checksum[:12]})",
            "undo the edit and put the change into a new migration",
        )
    return Applied(migration.version, migration.name, found[0], Answers.from_json(found[1]))


def record_applied(
    connection: sqlite3.Connection,
    migration_set: str,
    migrations: Sequence[Migration],
    answers: Mapping[int, Answers],
    entry: Entry,
) -> None:
    """Notes `migrations` as applied with their answers by version, in the caller's transaction."""
    for statement in _CREATE:
        connection.execute(statement)
    now = str(datetime.now(UTC))
    for m in migrations:
        connection.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES (?, ?, ?)",
            (migration_set, m.label, now),
        )
        connection.execute(
            "INSERT INTO _migration_history (migration_set, version, name, checksum, answers, schema_before, "
            "schema_after, run_id, backup, seconds, rows, applied_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (migration_set, m.version, m.name, m.checksum, answers[m.version].as_json(), entry.schema_before,
             entry.schema_after, entry.run_id, entry.backup, entry.seconds, entry.rows, now),
        )  # fmt: skip


def record_reversed(
    connection: sqlite3.Connection,
    migration_set: str,
    migrations: Sequence[Migration],
    run_id: str,
    schema_after: str,
) -> None:
    """Notes `migrations` as undone by `run_id`, in the caller's transaction.

    `schema_after` are the fingerprints that the way back leads to. They are not always those before the way forth: a
    table may have been altered by hand, and a run may undo a part of what another did.
    """
    for m in migrations:
        connection.execute(
            "DELETE FROM _sqlite_migrations WHERE migration_set = ? AND name = ?", (migration_set, m.label)
        )
        connection.execute(
            "UPDATE _migration_history SET reversed_at = ?, reversed_by = ?, schema_reversed = ? "
            "WHERE migration_set = ? AND version = ? AND reversed_at IS NULL",
            (str(datetime.now(UTC)), run_id, schema_after, migration_set, m.version),
        )


def undo_run(
    connection: sqlite3.Connection,
    migration_set: str,
    known: Sequence[Migration],
    run_id: str,
    there_before: Collection[str] = (),
) -> None:
    """Afterwards the ledger says what it said before run `run_id`, in the caller's transaction.

    The ledger's tables go with their last row, but for those that were `there_before` the run.
    """
    labels = {m.version: m.label for m in known}
    made = "SELECT version FROM _migration_history WHERE run_id = ? AND reversed_at IS NULL"
    for (version,) in connection.execute(made, (run_id,)).fetchall():
        query = "DELETE FROM _sqlite_migrations WHERE migration_set = ? AND name = ?"
        connection.execute(query, (migration_set, labels[version]))
    connection.execute("DELETE FROM _migration_history WHERE run_id = ?", (run_id,))
    undone = "SELECT version, applied_at FROM _migration_history WHERE reversed_by = ? ORDER BY version"
    for version, applied_at in connection.execute(undone, (run_id,)).fetchall():
        query = "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES (?, ?, ?)"
        connection.execute(query, (migration_set, labels[version], applied_at))
    clear = (
        "UPDATE _migration_history SET reversed_at = NULL, reversed_by = NULL, schema_reversed = NULL "
        "WHERE reversed_by = ?"
    )
    connection.execute(clear, (run_id,))
    for table in reversed(LEDGER_TABLES):
        if table in there_before or connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() is not None:
            break
        connection.execute(f"DROP TABLE {table}")


@dataclass(frozen=True)
class Run:
    """What a run promoted: `answers` by version in ascending order, in which direction, and the resulting schema."""

    answers: Mapping[int, Answers]
    reverse: bool
    schema_before: str
    schema_after: str

    @property
    def versions(self) -> tuple[int, ...]:
        return tuple(self.answers)


def read_run(connection: sqlite3.Connection, run_id: str) -> Run | None:
    """What run `run_id` committed; None where it committed nothing: live is old. The only judge of old or new."""
    if not {"run_id", "reversed_by"} <= set(columns_of(connection, "_migration_history")):
        return None
    query = (
        "SELECT version, reversed_by IS ?1, answers, schema_before, schema_after, schema_reversed "
        "FROM _migration_history "
        "WHERE (run_id = ?1 AND reversed_at IS NULL) OR reversed_by = ?1 ORDER BY version"
    )
    rows = connection.execute(query, (run_id,)).fetchall()
    if not rows:
        return None
    _, reverse, _, before, after, back = rows[0]
    answers = {version: Answers.from_json(given) for version, _, given, *_ in rows}
    return Run(answers, bool(reverse), *((after, back) if reverse else (before, after)))
