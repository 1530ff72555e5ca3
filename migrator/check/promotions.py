"""What the ledger says, without judging it: `read_ledger` refuses an odd one, here it is read to be shown."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from migrator.errors import RefusedError
from migrator.schema import columns_of

_LIST, _HISTORY = "_sqlite_migrations", "_migration_history"
_COLUMNS = (
    "version", "name", "checksum", "run_id", "backup", "seconds", "rows", "applied_at", "schema_before",
    "schema_after", "reversed_at", "reversed_by", "schema_reversed",
)  # fmt: skip


@dataclass(frozen=True)
class Promotion:
    """One migration that a run applied, and who undid it, where it was undone.

    `before`, `after` and `back` (None: not undone) are the fingerprints of the objects that name the run's tables, by
    "kind name". Times are UTC, as the ledger writes them.
    """

    version: int
    name: str
    checksum: str
    run_id: str
    backup: str
    seconds: float
    rows: int
    applied_at: str
    before: Mapping[str, str]
    after: Mapping[str, str]
    reversed_at: str | None
    reversed_by: str | None
    back: Mapping[str, str] | None


@dataclass(frozen=True)
class Ledger:
    """`labels`: the names of the migrations that count as applied; `promotions`: every one ever made, oldest first."""

    labels: frozenset[str] = frozenset()
    promotions: tuple[Promotion, ...] = ()

    def standing(self, version: int) -> Promotion | None:
        """The promotion by which `version` is applied; None where the history has none."""
        return next((p for p in reversed(self.promotions) if p.version == version and p.reversed_at is None), None)

    def knows(self, run_id: str) -> bool:
        """Whether what run `run_id` committed, be it a promotion or a way back, is in force."""
        return any(run_id == (p.run_id if p.reversed_at is None else p.reversed_by) for p in self.promotions)

    @property
    def last_change(self) -> datetime | None:
        """When a migration was last applied or undone."""
        return max((_time(p.reversed_at or p.applied_at) for p in self.promotions), default=None)


def read_promotions(connection: sqlite3.Connection, migration_set: str) -> Ledger:
    """The ledger of `migration_set`; empty where the database has none.

    Raises RefusedError where its tables, or their rows, are not as this tool writes them.
    """
    labels: frozenset[str] = frozenset()
    if _has(connection, _LIST, ("migration_set", "name")):
        query = f"SELECT name FROM {_LIST} WHERE migration_set = ?"
        labels = frozenset(str(name) for (name,) in connection.execute(query, (migration_set,)))
    if not _has(connection, _HISTORY, ("id", "migration_set", *_COLUMNS)):
        return Ledger(labels)
    query = f"SELECT {', '.join(_COLUMNS)} FROM {_HISTORY} WHERE migration_set = ? ORDER BY id"
    return Ledger(labels, tuple(_promotion(row) for row in connection.execute(query, (migration_set,))))


def _has(connection: sqlite3.Connection, table: str, needed: tuple[str, ...]) -> bool:
    there = columns_of(connection, table)
    if there and not set(there) >= set(needed):
        raise RefusedError(f"table {table} exists and is not this tool's ledger", "rename it")
    return bool(there)


def _promotion(row: tuple[object, ...]) -> Promotion:
    found = dict(zip(_COLUMNS, row, strict=True))
    before, after, back = (found.pop(name) for name in ("schema_before", "schema_after", "schema_reversed"))
    try:
        made = Promotion(
            **found,  # type: ignore[arg-type]
            before=_fingerprints(before),
            after=_fingerprints(after),
            back=None if back is None else _fingerprints(back),
        )
        _time(made.applied_at), made.reversed_at and _time(made.reversed_at)
        return made
    except (ValueError, TypeError) as error:
        raise RefusedError(
            f"the ledger's row of version {found['version']} is not as this tool writes it ({error})",
            f"repair {_HISTORY}",
        ) from error


def _time(stored: str) -> datetime:
    time = datetime.fromisoformat(stored)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _fingerprints(stored: object) -> Mapping[str, str]:
    read = json.loads(str(stored))
    if not isinstance(read, dict):
        raise ValueError(f"{type(read).__name__} instead of an object")
    return read
