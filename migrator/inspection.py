"""What only the rows can tell: whether they fit the schema to be. Read on the backup, so live waits for nothing."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from migrator.backup import Backup
from migrator.connect import opened
from migrator.errors import RefusedError
from migrator.findings import Finding
from migrator.plan import Plan, TablePlan

_SHOWN = 10


@dataclass(frozen=True)
class Inspection:
    """The backup is sound and every row fits; `violations` are the foreign key violations as they are, by key."""

    backup: Backup
    plan: Plan
    violations: Mapping[str, int]
    findings: tuple[Finding, ...]


def inspect(backup: Backup) -> Inspection:
    """Reads every row of the backup once; writes nothing.

    Raises RefusedError for a damaged page, for values that the migration has no answer to, for duplicates and
    missing values that the new constraints would refuse, each with values and counts.
    """
    plan = backup.live.plan
    if plan is None:
        raise RefusedError(f"nothing is pending in {backup.live.database}")
    with opened(backup.path, read_only=True) as connection:
        damage = integrity_faults(connection)
        if damage:
            raise RefusedError(
                f"{backup.live.database} is damaged: {damage[0]} ({len(damage)} faults)",
                "repair it first: sqlite3's .recover, or a backup of the application",
            )
        for table in plan.tables:
            if table.kind == "rebuild" and _exists(connection, table.table):
                refuse_what_does_not_fit(connection, table)
        violations = foreign_key_violations(connection)
    return Inspection(backup, plan, violations, tuple(_violations_found(violations)))


def refuse_what_does_not_fit(connection: sqlite3.Connection, table: TablePlan) -> None:
    """Raises RefusedError where a row of the table holds what the new one cannot, and nothing says what to do."""
    for column, query in table.unmapped:
        values = connection.execute(query).fetchall()
        if values:
            shown = ", ".join(f"{value!r} ({count} rows)" for value, count in values[:_SHOWN])
            raise RefusedError(
                f"column {column} of {table.table} holds {len(values)} values that the migration does not map: {shown}",
                f"say what each becomes, e.g. --map-{column} {values[0][0]!r}=...; null drops it",
            )
    for columns, query in table.duplicates:
        found = connection.execute(query).fetchall()
        if found:
            shown = ", ".join(f"{row[0] if len(row) == 2 else row[:-1]!r} ({row[-1]} rows)" for row in found[:_SHOWN])
            name = " and ".join(columns)
            raise RefusedError(
                f"{name} of {table.table} must be unique, but {len(found)} values stand in several rows: {shown}",
                f"make them differ, or keep the lowest id's with --null-duplicate-{name.replace('_', '-')}s where it exists",
            )
    for column, query in table.missing:
        count = connection.execute(query).fetchone()[0]
        if count:
            raise RefusedError(f"{count} rows of {table.table} have no {column}, which the new table requires", "fill it first")


def integrity_faults(connection: sqlite3.Connection) -> list[str]:
    """What `PRAGMA integrity_check` reports; empty for a sound file. sqlite.org/pragma.html#pragma_integrity_check."""
    try:
        lines = [str(line) for (line,) in connection.execute("PRAGMA integrity_check")]
    except sqlite3.DatabaseError as error:
        return [str(error)]
    return [] if lines == ["ok"] else lines


def foreign_key_violations(connection: sqlite3.Connection) -> dict[str, int]:
    """How many rows break each foreign key, by "child -> parent"."""
    try:
        return dict(Counter(f"{child} -> {parent}" for child, _, parent, _ in connection.execute("PRAGMA foreign_key_check")))
    except sqlite3.OperationalError as error:
        # "foreign key mismatch": a key on columns that are not unique cannot be checked at all.
        return {str(error): 1}


def _violations_found(violations: Mapping[str, int]) -> Iterator[Finding]:
    for key, count in violations.items():
        yield Finding("foreign_key_violations", f"rows already break the foreign key {key}", count)


def _exists(connection: sqlite3.Connection, table: str) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ? COLLATE NOCASE", (table,)).fetchone() is not None
