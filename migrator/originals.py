"""What a plan puts aside, counted before anything is done."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from migrator.connect import count_rows
from migrator.findings import Finding
from migrator.plan import Plan, TablePlan

ORIGINALS_KEPT = "originals_kept"


def originals_kept(table: TablePlan, rows: int) -> tuple[Finding, ...]:
    """The finding that so many rows of the table are put aside; none where it is none."""
    return (Finding(ORIGINALS_KEPT, table.kept, rows),) if rows else ()


def count_originals(connection: sqlite3.Connection, plan: Plan) -> tuple[Finding, ...]:
    """What the rehearsal of `plan` would find to be put aside; reads every row of the tables, and writes nothing.

    What starts from what an earlier change of `plan` makes is not counted, and said.
    """
    return tuple(_counted(connection, plan))


def _counted(connection: sqlite3.Connection, plan: Plan) -> Iterator[Finding]:
    changed: set[str] = set()
    for table in plan.tables:
        from_changed = any(map(table.names, changed))
        changed.add(table.table)
        if table.kind != "drop" and not table.originals:
            continue
        if from_changed:
            message = f"not counted, because an earlier change of this run comes first: {table.kept}"
            yield Finding("originals_not_counted", message)
        elif table.kind == "drop":
            yield from originals_kept(table, count_rows(connection, table.table))
        elif table.projection is not None:
            count = table.projection.originals_count(table.projection.concerned if table.update else "")
            yield from originals_kept(table, int(connection.execute(count).fetchone()[0]))
