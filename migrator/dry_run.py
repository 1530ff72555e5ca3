"""What can be said of a run before it: of the rows as they are now, and of the schema alone. Nothing is written."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress

from migrator import rebuild
from migrator.comparison import refuse_broken
from migrator.connect import Connection, opened
from migrator.errors import RefusedError, RehearsalError
from migrator.findings import Finding
from migrator.inspection import refuse_rows
from migrator.originals import count_originals
from migrator.plan import Plan
from migrator.preflight import Live
from migrator.schema import read_schema


def look_ahead(live: Live) -> tuple[Finding, ...]:
    """What the run would put aside; none where nothing is pending. Reads every row of the tables of the plan.

    Raises RefusedError as `inspect` would for the rows, and for a view or trigger that the rehearsal would find broken.
    Damage is not looked for, which reads every page, nor what only an extension of the application's can read.
    """
    if live.plan is None:
        return ()
    with opened(live.database, read_only=True) as connection:
        connection.execute("BEGIN")
        refuse_rows(connection, live.plan)
        kept = count_originals(connection, live.plan)
        statements = _schema_of(connection)
    return (*kept, *_breaks(live, live.plan, statements))


def _schema_of(connection: sqlite3.Connection) -> list[str]:
    """Every statement of the schema, tables first; this tool's own tables are among them."""
    query = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type <> 'table', rowid"
    return [sql for (sql,) in connection.execute(query)]


def _breaks(live: Live, plan: Plan, statements: list[str]) -> Iterator[Finding]:
    """Carries out the plan on the schema without rows, in memory; a finding where that cannot be done.

    Raises RefusedError where a view or trigger, or a foreign key, would not outlive it.
    """
    own = live.application.own_tables
    with closing(_made(statements)) as before, closing(_made(statements)) as after:
        try:
            with rebuild.rebuild_settings(after):
                for table in plan.tables:
                    rebuild.keep_originals(after, table)
                    rebuild.rebuild_table(after, table)
                    rebuild.create_indexes(after, table)
            refuse_broken(before, read_schema(before, own), after, read_schema(after, own))
        except RehearsalError as error:
            raise RefusedError(error.fault, error.way_out) from error
        except sqlite3.Error as error:
            message = f"whether every view and trigger would still work could not be tried without rows ({error})"
            yield Finding("not_tried", message)


def _made(statements: list[str]) -> Connection:
    """A database in memory with all of the schema that can be made there."""
    memory = sqlite3.connect(":memory:", isolation_level=None, factory=Connection)
    for sql in statements:
        # What cannot be made, e.g. by a module that only the application has, is missing before and after.
        with suppress(sqlite3.Error):
            memory.execute(sql)
    return memory
