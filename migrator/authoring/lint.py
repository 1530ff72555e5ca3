"""What a planned migration would do to the rows that are there, and what is doubtful about it; read, never written."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Literal

from migrator.authoring.clauses import all_clauses
from migrator.authoring.keywords import KEYWORDS
from migrator.authoring.lint_rows import misfits
from migrator.authoring.lint_schema import foreign_keys, twin_indexes
from migrator.authoring.proof import in_memory
from migrator.backup import MAX_LOCK_MS
from migrator.changelog import change_log
from migrator.comparison import orphaned
from migrator.connect import Connection, count_rows
from migrator.ddl import TableText, folded, quote, words
from migrator.errors import NotOnlineError
from migrator.migration import Answers, value_sql
from migrator.plan import Plan, State, TablePlan
from migrator.readings import broken_objects
from migrator.schema import columns_of

LOCK_US_PER_ROW = 25.0
"""README.md: some 10,000 rows are promoted in 250 ms, half of it for the statements and half for the COMMIT."""

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Lint:
    """One thing found. `error`: the run would be refused, or would fail and restore; `warning`: it would go through
    and do harm, or nobody knows; `note`: worth knowing. `code` is stable, `way_out` what to do, `count` how often."""

    severity: Severity
    code: str
    message: str
    way_out: str
    count: int = 1


def lint(
    connection: sqlite3.Connection,
    plan: Plan,
    state: State,
    *,
    max_lock_ms: float = MAX_LOCK_MS,
    us_per_row: float = LOCK_US_PER_ROW,
) -> tuple[Lint, ...]:
    """What there is to say of `plan` on the rows that `connection` reads; `state` is what is there now.

    Each check reads a table once. Values that a constraint names are copied into a temporary table, which is no part
    of the database. Raises RefusedError where SQLite cannot make the planned schema, sqlite3.Error where a table
    cannot be read.
    """
    found: list[Lint] = []
    for number, table in enumerate(plan.tables):
        present = state.schema.text(table.table)
        if present is None:
            found += _of_names(table, ())
            continue
        if not _is_as_planned(connection, table) or any(p.table == table.table for p in plan.tables[:number]):
            found.append(_not_looked_at(table))
            continue
        found += _of_losses(connection, table, present)
        indexes = [o.sql for o in state.schema.on_table(table.table, "index")]
        found += [Lint(*misfit) for misfit in misfits(connection, table, present, indexes)]
        if table.target is not None:
            found += [*_of_names(table, present.columns), *_of_tables(table, present, table.target)]
    found += _of_lock(connection, plan, state, max_lock_ms, us_per_row)
    with closing(in_memory(plan.after.schema)) as after:
        found += _of_readers(state, plan, after)
        found += [Lint(*each) for each in (*foreign_keys(after, plan.touched), *twin_indexes(after, plan.touched))]
    return tuple(found)


def _is_as_planned(connection: sqlite3.Connection, table: TablePlan) -> bool:
    """Whether the table has the columns from which the plan starts."""
    there = [folded(c) for c in columns_of(connection, table.table)]
    return table.projection is None or there == [folded(c) for c in table.projection.present]


def _not_looked_at(table: TablePlan) -> Lint:
    return Lint(
        "warning",
        "not_looked_at",
        f"an earlier migration that is still pending changes {table.table}: its rows were not looked at",
        "migrate to the version before, then ask again",
    )


def _of_losses(connection: sqlite3.Connection, table: TablePlan, present: TableText) -> Iterator[Lint]:
    """Columns and tables with values that go."""
    if table.kind == "drop":
        rows = count_rows(connection, table.table)
        if rows:
            kept = f"they stay in {table.writes}, which the way back reads"
            yield Lint("warning", "table_dropped", f"table {table.table} goes with {rows:,} rows", kept, rows)
        return
    if table.projection is None or table.target is None:
        return
    read = {name for value in table.projection.values.values() for name in words(value_sql(value, "", Answers(), ""))}
    gone = [c for c in table.projection.present if table.target.definition(c) is None]
    lost = [c for c in gone if folded(c) not in read]
    if not lost:
        return
    counted = ", ".join(f"count({quote(c)})" for c in lost)
    counts = connection.execute(f"SELECT {counted} FROM {quote(table.table)}").fetchone()
    added = [c.name for c in table.added if c.name not in table.projection.values]
    for column, count in zip(lost, counts, strict=True):
        kept = f"they stay in {table.writes}, which the way back reads"
        if count:
            yield Lint(
                "warning", "column_dropped", f"column {column} of {table.table} goes with {count:,} values", kept, count
            )
        if added:
            yield Lint(
                "note", "maybe_renamed",
                f"column {column} of {table.table} goes and {', '.join(added)} comes: nobody said that it is renamed",
                f"if it is, say so: {table.table}.{column}={table.table}.{added[0]}",
            )  # fmt: skip


def _of_names(table: TablePlan, present: tuple[str, ...]) -> Iterator[Lint]:
    if table.target is None:
        return
    old = {folded(c) for c in present}
    for column in table.target.columns:
        if folded(column) in KEYWORDS and folded(column) not in old:
            yield Lint(
                "note", "keyword", f"column {column} of {table.table} is named like a keyword of SQL",
                "give it another name, or quote it in every statement",
            )  # fmt: skip


def _of_tables(table: TablePlan, present: TableText, target: TableText) -> Iterator[Lint]:
    if present.autoincrement and not target.autoincrement:
        yield Lint(
            "warning", "autoincrement_lost",
            f"table {table.table} is no more AUTOINCREMENT: the ids of deleted rows are given again, and the way back "
            "does not know which were given",
            "keep AUTOINCREMENT if anything remembers ids",
        )  # fmt: skip
    shall = {clause.meaning(target.columns) for clause in all_clauses(target)}
    for clause in all_clauses(present):
        if clause.kind in ("UNIQUE", "CHECK") and clause.meaning(present.columns) not in shall:
            yield Lint(
                "note", "way_back",
                f"table {table.table} loses {' '.join(clause.text.split())}: rows written since may break it, and then "
                "the way back is refused",
                "go back soon, or not at all",
            )  # fmt: skip


def _of_readers(state: State, plan: Plan, after: Connection) -> Iterator[Lint]:
    """Views, triggers and child tables that the rehearsal would find broken."""
    with closing(in_memory(state.schema)) as now:
        broken_ones = broken_objects(now, state.schema, after, plan.after.schema)
        for broken in sorted([*broken_ones, *orphaned(after, state.schema, plan.after.schema)]):
            yield Lint("error", "breaks", f"the migration breaks {broken}", "change or drop it before the migration")


def _of_lock(
    connection: sqlite3.Connection, plan: Plan, state: State, max_lock_ms: float, us_per_row: float
) -> Iterator[Lint]:
    """Whether the tables together go in one transaction."""
    rebuilt = {p.table: p for p in plan.tables if p.kind == "rebuild" and state.schema.table(p.table)}
    rows = sum(count_rows(connection, table) for table in rebuilt)
    lock_ms = rows * us_per_row / 1000
    if lock_ms <= max_lock_ms:
        return
    message = (
        f"{rows:,} rows of {', '.join(rebuilt)} would take some {lock_ms:,.0f} ms of write lock in one transaction"
    )
    way_out = f"allow it at a quiet hour: --max-lock-ms {2 * lock_ms:.0f}"
    for table in rebuilt.values():
        why = _why_not_online(connection, table)
        if why is not None:
            yield Lint("warning", "long_lock", f"{message}: {why}", way_out, rows)
            return
    yield Lint("note", "online", f"{message}: they are promoted online", "nothing to do", rows)


def _why_not_online(connection: sqlite3.Connection, table: TablePlan) -> str | None:
    if table.projection is None:
        return None
    if not table.projection.is_local:
        return f"a value of {table.table} depends on other rows, which the online promotion cannot follow"
    try:
        change_log(connection, table.table, table.projection.key)
    except NotOnlineError as error:
        return error.fault
    return None
