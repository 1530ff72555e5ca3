"""What only the rows can tell: whether they fit the schema to be. Read on the backup, so live waits for nothing."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from migrator.adoption import refuse_other_rows
from migrator.backup import Backup
from migrator.connect import is_damage, opened
from migrator.errors import PromotionError, RefusedError
from migrator.findings import Finding
from migrator.plan import Plan, TablePlan

_SHOWN = 10
_SHOWN_CHARACTERS = 60
_NOT_OURS = ("no such collation sequence", "no such function", "unknown function")
_MISMATCH = "foreign key mismatch"
_ABOUT_ROWS = ("NULL value in ", "CHECK constraint failed in ")


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
    missing values that the new constraints would refuse, each with values and counts; for rows of an adopted table
    that are not as the migration would leave them.
    """
    plan = backup.live.plan
    if plan is None:
        raise RefusedError(f"nothing is pending in {backup.live.database}")
    with opened(backup.path, read_only=True) as connection:
        damage = _damage(connection, backup)
        if damage:
            raise RefusedError(
                f"{backup.live.database} is damaged: {damage[0]} ({len(damage)} faults)",
                "repair it first: sqlite3's .recover, or a backup of the application",
            )
        refuse_rows(connection, plan)
        violations = foreign_key_violations(connection)
    return Inspection(backup, plan, violations, tuple(_violations_found(violations)))


def _damage(connection: sqlite3.Connection, backup: Backup) -> list[str]:
    """`integrity_faults`; RefusedError where that needs what only the application's own connections have."""
    try:
        return integrity_faults(connection)
    except sqlite3.OperationalError as error:
        if not str(error).startswith(_NOT_OURS):
            raise
        raise RefusedError(
            f"{backup.live.database} has an index or a constraint that only the application's own connections can read "
            f"({error})",
            "drop it before the migration and make it again afterwards",
        ) from error


def refuse_rows(connection: sqlite3.Connection, plan: Plan) -> None:
    """Raises RefusedError for rows that the migration has no answer to, and for rows of an adopted table that are not
    as the migration would leave them.

    What an earlier migration of the same run makes of a table is only on the candidate: see convert_data.
    """
    read: set[str] = set()
    for table in plan.tables:
        if table.projection is not None and table.table not in read and _exists(connection, table.table):
            refuse_what_does_not_fit(connection, table)
        read.add(table.table)
    for adopted in plan.adopted:
        refuse_other_rows(connection, adopted)


def refuse_what_does_not_fit(connection: sqlite3.Connection, table: TablePlan) -> None:
    """Raises RefusedError where a row of the table holds what the new one cannot, and nothing says what to do."""
    text_factory = connection.text_factory
    # Text that is not UTF-8 is only shown here, never stored again.
    connection.text_factory = lambda data: data.decode(errors="backslashreplace")
    try:
        _refuse_unmapped(connection, table)
        _refuse_duplicates(connection, table)
        _refuse_missing(connection, table)
    finally:
        connection.text_factory = text_factory


def name_what_does_not_fit(connection: sqlite3.Connection, table: TablePlan) -> None:
    """Raises PromotionError for a value that came since the backup and that nothing says what to do with."""
    try:
        refuse_what_does_not_fit(connection, table)
    except RefusedError as error:
        raise PromotionError(f"written since the backup: {error.fault}; live unchanged", error.way_out) from error


def _refuse_unmapped(connection: sqlite3.Connection, table: TablePlan) -> None:
    for column, query in table.unmapped:
        values = connection.execute(query).fetchall()
        if values:
            shown = ", ".join(f"{_shown(value)} ({count} row{'s' * (count != 1)})" for value, count in values[:_SHOWN])
            option = table.option(column)
            raise RefusedError(
                f"column {column} of {table.table} holds {len(values)} values that the migration does not map: {shown}",
                f"say what each becomes, e.g. {option} {_shown(values[0][0])}=...; null drops it"
                if option
                else "change them in the database, or give them a spelling in the migration",
            )


def _refuse_duplicates(connection: sqlite3.Connection, table: TablePlan) -> None:
    for unique, query in table.duplicates:
        found = connection.execute(query).fetchall()
        if found:
            values = [(row[0] if len(row) == 2 else row[:-1], row[-1]) for row in found[:_SHOWN]]
            shown = ", ".join(f"{_shown(value)} ({count} rows)" for value, count in values)
            option = table.option(unique.name)
            by_option = f", or leave it to {option}" * bool(option)
            wanted = f"{unique.name} of {table.table} must be unique" + f" (index {unique.index})" * bool(unique.index)
            raise RefusedError(
                f"{wanted}, but {len(found)} values stand in several rows: {shown}", f"make them differ{by_option}"
            )


def _refuse_missing(connection: sqlite3.Connection, table: TablePlan) -> None:
    for column, query in table.missing:
        count = connection.execute(query).fetchone()[0]
        if count:
            raise RefusedError(
                f"{count} rows of {table.table} have no {column}, which the new table requires", "fill it first"
            )


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def integrity_faults(connection: sqlite3.Connection) -> list[str]:
    """What `PRAGMA integrity_check` reports of the file; empty for a sound one.

    Rows that break a constraint of their own table are the application's, and no damage. Raises sqlite3.Error where
    the check itself could not be made, e.g. while the file is locked. sqlite.org/pragma.html#pragma_integrity_check.
    """
    try:
        lines = [" ".join(str(line).split()) for (line,) in connection.execute("PRAGMA integrity_check")]
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        return [str(error)]
    return [line for line in lines if line != "ok" and not line.startswith(_ABOUT_ROWS)]


def foreign_key_violations(connection: sqlite3.Connection) -> dict[str, int]:
    """How many rows break each foreign key, by "child -> parent"."""
    try:
        return dict(
            Counter(f"{child} -> {parent}" for child, _, parent, _ in connection.execute("PRAGMA foreign_key_check"))
        )
    except sqlite3.OperationalError as error:
        # A key on columns that are not unique cannot be checked at all.
        if not str(error).startswith(_MISMATCH):
            raise
        return {str(error): 1}


def _violations_found(violations: Mapping[str, int]) -> Iterator[Finding]:
    for key, count in violations.items():
        yield Finding("foreign_key_violations", violation_text(key, "rows already break the foreign key"), count)


def violation_text(key: str, broken: str) -> str:
    """What is to be said of a key of `foreign_key_violations`: that it is `broken`, or that none can be checked."""
    return f"the foreign keys cannot be checked: {key}" if key.startswith(_MISMATCH) else f"{broken} {key}"


def _exists(connection: sqlite3.Connection, table: str) -> bool:
    return (
        connection.execute(
            "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ? COLLATE NOCASE", (table,)
        ).fetchone()
        is not None
    )
