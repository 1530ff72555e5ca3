"""Which state a database is in: wholly at one version, and nothing in between."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from migrator.ddl import canonical
from migrator.ltmc import LTMC
from migrator.schema import OWN_PREFIX
from tests.faults.kills.drawing import Case, quiet
from tests.faults.kills.writer import version_of
from tests.faults.kills.written import Fault
from tests.runs import beside

HALF, DAMAGE, LEFT = "half state", "damage", "left behind"
# What nobody else writes to: messages whose values the demo has in the wrong order.
_SWAPPED = "SELECT count(*) FROM ChatHistory WHERE id IN (75, 225) AND content IN ('user', 'assistant')"
_OF_OTHERS = {"ltmc.db-journal", "ltmc.db.backups", "ltmc.db.migration-lock"}
_HALF_A_JOURNAL = "ltmc.db.migrating.new"
"""What is left where the kill met the writing of the note itself; the next run's note replaces it."""


@dataclass(frozen=True)
class State:
    """Version by the ledger, the tool's own objects, journal mode, and what contradicts it."""

    version: int
    ours: bool
    journal_mode: str
    faults: tuple[Fault, ...]


def look(database: Path, case: Case) -> State:
    """Reads everything in one transaction."""
    with _reader(database) as connection:
        version = version_of(connection)
        faults = (
            *((HALF, what) for what in _contradictions(connection, version, case)),
            *((DAMAGE, fault) for (fault,) in connection.execute("PRAGMA integrity_check") if fault != "ok"),
            *((DAMAGE, what) for what in _orphans(connection, case)),
        )
        ours = _ours(connection)
        mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    return State(version, bool(ours), mode, faults)


def _contradictions(connection: sqlite3.Connection, version: int, case: Case) -> Iterator[str]:
    """What the ledger says of itself, of the schema and of the rows that only change with a version."""
    if version not in (case.start, case.goal):
        yield f"at version {version}"
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = '_migration_history'").fetchone():
        applied = "SELECT version FROM _migration_history WHERE reversed_at IS NULL ORDER BY version"
        labels = "SELECT name FROM _sqlite_migrations ORDER BY name"
        by_history = [v for (v,) in connection.execute(applied)]
        by_name = [label for (label,) in connection.execute(labels)]
        if by_history != [*range(1, version + 1)] or by_name != [m.label for m in LTMC.migrations[:version]]:
            yield f"the ledger has {by_history} and {by_name}"
    elif version:
        yield f"version {version} without a history"
    elif connection.execute("SELECT last_vector_id FROM VectorIdSequence WHERE id = 1").fetchone() != (0,):
        yield "row 1 of VectorIdSequence counts, and no version was ever applied"
    there, wanted = _schema(connection), _schema_at(version)
    if there != wanted:
        yield f"at version {version} differs: {sorted(there ^ wanted)[:3]}"
    if connection.execute(_SWAPPED).fetchone() != (0 if version >= 5 else 2,):
        yield f"at version {version} the messages of 0005 are not as they are then"


def _schema(connection: sqlite3.Connection) -> frozenset[tuple[str, str, str]]:
    """What is in the schema but for the tool's own objects; the text of each by its meaning."""
    return frozenset(
        (kind, name, canonical(sql))
        for kind, name, on, sql in connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master")
        if sql and on not in LTMC.own_tables and not name.startswith(OWN_PREFIX) and not on.startswith(OWN_PREFIX)
    )


@cache
def _schema_at(version: int) -> frozenset[tuple[str, str, str]]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.deserialize(quiet(300, version))
        return _schema(connection)


def _ours(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    """The tool's own objects, by a rule of this judge's own: whatever begins like them."""
    objects = connection.execute("SELECT type, name FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    return [(kind, name) for kind, name in objects if name.startswith(OWN_PREFIX)]


def _orphans(connection: sqlite3.Connection, case: Case) -> list[str]:
    """Rows without their parent; the application itself breaks one foreign key, which names the wrong table."""
    return [
        f"row {row} of {table} has no parent in {parent}"
        for table, row, parent, _ in connection.execute("PRAGMA foreign_key_check")
        if not table.startswith(OWN_PREFIX)
        and ((table, parent) != ("CodePatterns", "ResourceChunks") or case.foreign_keys)
    ]


def left_behind(database: Path, case: Case) -> Iterator[Fault]:
    """What of a run is there after the next start has ended it."""
    with _reader(database) as connection:
        ours = _ours(connection)
        mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    others = beside(database) - _OF_OTHERS - {_HALF_A_JOURNAL}
    scratch = list(database.parent.glob("ltmc.db.backups/*/scratch"))
    if ours or others or scratch or mode != case.journal_mode:
        yield LEFT, f"{ours} {others} {mode} {scratch}"


@contextmanager
def _reader(database: Path) -> Iterator[sqlite3.Connection]:
    """One connection in one read transaction."""
    connection = sqlite3.connect(database, isolation_level=None)
    try:
        connection.execute("BEGIN")
        yield connection
        connection.execute("COMMIT")
    finally:
        connection.close()
