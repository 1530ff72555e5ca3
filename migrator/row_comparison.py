"""The rows of the candidate when all steps are done: the backup's, converted, and nothing lost that cannot come back.

That each step did what it should proves nothing of the whole: what comes after it may change its rows again, and
what a step reads may have changed before.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from migrator.backup import Backup
from migrator.connect import count_rows, opened
from migrator.content import read_contents
from migrator.ddl import quote
from migrator.errors import RefusedError, RehearsalError
from migrator.migration import UNMAPPED
from migrator.plan import Plan, TablePlan
from migrator.planning import make_plan
from migrator.preflight import read_state
from migrator.projection import Projection
from migrator.schema import OWN_PREFIX, columns_of, read_schema


def compare_rows(candidate: Path, backup: Backup, plan: Plan) -> None:
    """Raises RehearsalError unless every row of the migrated tables is what the migration makes of the backup's row.

    The comparison is the promotion's own, and takes as long as that. Writes nothing.
    """
    _check(
        backup.path,
        candidate,
        plan,
        "the rows of {} are not what the migration makes of the backup's",
        "a declared value may be of another type than its column stores: give it a CAST",
    )


def compare_way_back(candidate: Path, backup: Backup, plan: Plan) -> None:
    """Raises RehearsalError unless the way back, as a restore would take it, makes the backup's row of every row.

    It reads what was put aside too, and shares no value's text with the way forth: whatever that lost or mixed up is
    missed here. Writes nothing.
    """
    live = backup.live
    if plan.adopted:
        # A restore takes back the ledger alone.
        return
    try:
        with opened(candidate, read_only=True) as connection:
            state = read_state(connection, live.application)
        back = make_plan(plan.migrations, state, plan.answers, reverse=not plan.reverse, exactly=live.state.schema)
    except RefusedError as error:
        fault = f"the migration could not be reversed: {error.fault}; live unchanged"
        raise RehearsalError(fault, error.way_out) from error
    _check(candidate, backup.path, back, "the way back would not give the rows of {} that were there")


def _check(source: Path, target: Path, plan: Plan, fault: str, way_out: str = "") -> None:
    """Raises RehearsalError where the rows of a migrated table in `target` are not what `plan` makes of `source`'s."""
    # Where only indexes change the rows were compared with the backup's by their hash.
    plan = replace(plan, tables=tuple(p for p in plan.tables if p.kind != "indexes"))
    for table in dict.fromkeys(p.table for p in plan.tables):
        # A connection each: its temporary views are of this table alone.
        with opened(source, read_only=True) as connection, opened(target, read_only=True) as other:
            connection.execute("ATTACH DATABASE ? AS target", (f"{target.absolute().as_uri()}?mode=ro",))
            _read_others_as_migrated(connection, other, plan, table)
            differences = _row_differences(connection, other, [p for p in plan.tables if p.table == table])
        if differences:
            raise RehearsalError(f"{fault.format(table)} ({', '.join(differences)}); live unchanged", way_out)


def _read_others_as_migrated(connection: sqlite3.Connection, other: sqlite3.Connection, plan: Plan, table: str) -> None:
    """Afterwards the values of `table` that other tables decide are read from those as they were when it had its turn.

    What was migrated before it is read from the target, where it is compared itself. If it changes once more after
    `table` had its turn, it is read as it is at the end.
    """
    last = max(place for place, p in enumerate(plan.tables) if p.table == table)
    for earlier in dict.fromkeys(p.table for p in plan.tables[:last] if p.table != table):
        if columns_of(other, earlier):
            # A temporary view is found before a table of the same name (sqlite.org/lang_naming.html).
            connection.execute(f"CREATE TEMP VIEW {quote(earlier)} AS SELECT * FROM target.{quote(earlier)}")


def _row_differences(
    connection: sqlite3.Connection, other: sqlite3.Connection, plans: Sequence[TablePlan]
) -> tuple[str, ...]:
    """What is different; `plans` are those of one table in their order, `other` reads what is attached as target."""
    first, last = plans[0], plans[-1]
    start = (first.reads or "") if first.kind == "new" else first.table
    end = last.writes if last.kind == "drop" else last.table
    projections = [p.projection for p in plans if p.projection is not None]
    there = columns_of(connection, start), columns_of(other, end)
    if not all(there) or not projections:
        # Nothing is converted: rows that were put aside, or come back, or none at all.
        was, now = _content(connection, start), _content(other, end)
        return () if was == now else (f"{now[0]} rows in place of {was[0]}",)
    for number, projection in enumerate(projections[:-1]):
        view = f"{OWN_PREFIX}{number}"
        connection.execute(f"CREATE TEMP VIEW {quote(view)} AS {replace(projection, table=start).sql()}")
        start = view
    return _projected_differences(connection, replace(projections[-1], table=start), end)


def _content(connection: sqlite3.Connection, table: str) -> tuple[int, str]:
    """Rows and hash, the same for an empty table as for none at all."""
    schema = read_schema(connection)
    found = read_contents(connection, schema, [table])[table] if schema.table(table) else None
    return (found.rows, found.sha256) if found is not None and found.rows else (0, "")


def _projected_differences(connection: sqlite3.Connection, projection: Projection, end: str) -> tuple[str, ...]:
    shadow = f"{OWN_PREFIX}{end}"
    columns = tuple(dict.fromkeys((*projection.key, *projection.target)))
    # SQLite itself would call a column rowid whatever name of the rowid is selected.
    listed = ", ".join(f"{quote(c)} AS {quote(c)}" for c in columns)
    connection.execute(f"CREATE TEMP VIEW {quote(shadow)} AS SELECT {listed} FROM target.{quote(end)}")
    projected, there = count_rows(connection, projection.table), count_rows(connection, shadow)
    (differing,) = connection.execute(projection.differing_from(shadow, UNMAPPED)).fetchone()
    if projected == there and not differing:
        return ()
    # Only now: to tell which columns differ takes a comparison more for each.
    missing, *by_column = connection.execute(_counts(projection, columns, shadow)).fetchone()
    told = {"missing": missing, "too many": there - (projected - missing)}
    told |= {f"with another {column}": count for column, count in zip(columns, by_column, strict=True)}
    return tuple(f"{count} {what}" for what, count in told.items() if count)


def _counts(projection: Projection, columns: Sequence[str], shadow: str) -> str:
    """SELECT of how many projected rows are missing from `shadow`, and of how many each column differs there."""
    absent = f"t.{quote(projection.key[0])} IS NULL"
    differ = [f"typeof(p.{c}) <> typeof(t.{c}) OR p.{c} IS NOT t.{c} COLLATE BINARY" for c in map(quote, columns)]
    counts = [f"count(*) FILTER (WHERE {absent})", *(f"count(*) FILTER (WHERE NOT {absent} AND ({d}))" for d in differ)]
    join = " AND ".join(f"t.{k} = p.{k}" for k in map(quote, projection.key))
    rows = f"({projection.sql(UNMAPPED)}) AS p LEFT JOIN {quote(shadow)} AS t ON {join}"
    return f"SELECT {', '.join(counts)} FROM {rows}"
