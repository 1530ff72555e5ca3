"""Whether the database has what a migration reads: SQLite's answer, asked of the schema without rows."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing, suppress

from migrator.ddl import quote
from migrator.errors import RefusedError
from migrator.migration import Migration
from migrator.plan import State, TablePlan

_NO_COLUMN = re.compile(r"no such column: (.+)")


def refuse_missing_columns(plan: TablePlan, state: State, migration: Migration, reverse: bool) -> None:
    """Raises RefusedError where a value or a condition reads a column that nothing in `state` has."""
    projection = plan.projection
    if projection is None or not (projection.values or projection.opposite or projection.where):
        return
    with closing(_without_rows(state)) as memory:
        for query in (projection.sql(), projection.originals_count()):
            try:
                memory.execute(f"EXPLAIN {query}")
            except sqlite3.OperationalError as error:
                # What else fails here may be there in the database: a function, a virtual table.
                if not (missing := _NO_COLUMN.match(str(error))):
                    continue
                earlier = "" if reverse else f", or stop before it with --to {migration.version - 1:04d}"
                raise RefusedError(
                    f"migration {migration.label} of {plan.table} reads column {missing[1]}, which is not there",
                    f"start the application once, so that it adds what its tables lack{earlier}",
                ) from error


def _without_rows(state: State) -> sqlite3.Connection:
    """A database in memory with every table and view of `state` that can be made there."""
    memory = sqlite3.connect(":memory:", isolation_level=None)
    made = [found.sql for kind in ("table", "view") for found in state.schema.objects if found.kind == kind]
    own = [f"CREATE TABLE {quote(name)} ({', '.join(map(quote, columns))})" for name, columns in state.own.items()]
    for sql in (*made, *own):
        with suppress(sqlite3.Error):
            memory.execute(sql)
    return memory
