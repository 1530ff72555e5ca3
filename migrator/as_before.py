"""What a database that was restored has of the state before the run, and what it has not."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from migrator.application import Application
from migrator.backup import MANIFEST_NAME
from migrator.commands import restore_order
from migrator.connect import count_rows, opened
from migrator.errors import RestoreError
from migrator.findings import Finding
from migrator.ledger import Run
from migrator.preflight import read_state
from migrator.schema import columns_of


def check_as_before(
    connection: sqlite3.Connection, application: Application, database: Path, backup: Path, run: Run | None
) -> tuple[Finding, ...]:
    """Live has what the backup's schema has; what the application changed since, in schema or rows, are findings.

    So is an AUTOINCREMENT mark that stays where the promotion raised it (`Change.mark`). To raise it was to write over
    the only trace of ids that were given since the backup for rows that are gone, so nobody knows how low it may go.
    AUTOINCREMENT promises that no id comes again, not that none is left out (sqlite.org/autoinc.html).
    `run` is what was promoted and reversed; None: nothing was. Raises RestoreError where its reverse left another
    schema.
    """
    if not backup.with_name(MANIFEST_NAME).exists():
        return ()
    touched = {change.table for m in application.migrations for change in m.changes}
    with opened(backup, read_only=True) as original:
        before, now = read_state(original, application).schema, read_state(connection, application).schema
        counts = {t: (count_rows(original, t), count_rows(connection, t)) for t in before.tables if now.table(t)}
        marks = () if run is None else tuple(_raised_marks(original, connection, application, run))
    if run is not None and before.naming(touched) - now.naming(touched):
        raise RestoreError(
            f"{database} has not the schema that it had before the run; the state before the run is in {backup}",
            way_back(database, backup),
        )
    made = now.naming(touched) ^ before.naming(touched)
    schema = [
        Finding("schema_changed_meanwhile", f"the application changed {kind} {name}")
        for kind, name in sorted({(o[0], o[1]) for o in made})
    ]
    rows = [
        Finding("rows_written_since", f"table {table} has {now_} rows, the backup {then}", abs(now_ - then))
        for table, (then, now_) in counts.items()
        if then != now_
    ]
    raised = [
        Finding(
            "mark_stays_raised",
            f"the AUTOINCREMENT mark of {table} stays at {now_}, the backup's is {then}: which of the ids between were "
            "given is not known, so none of them is given again; only going back to the whole backup lowers it: "
            f"{restore_order(database, backup)}",
            now_ - then,
        )
        for table, then, now_ in marks
    ]
    return (*schema, *rows, *raised)


def way_back(database: Path, backup: Path) -> str:
    """What an operator does where the program could not."""
    return f"to go back to that state: {restore_order(database, backup)}"


def _raised_marks(
    original: sqlite3.Connection, connection: sqlite3.Connection, application: Application, run: Run
) -> Iterator[tuple[str, int, int]]:
    """The tables whose mark the run may have raised and that is above the backup's, with both."""
    for migration in application.migrations:
        for change in migration.changes if migration.version in run.versions else ():
            then, now = (_mark(c, change.table) for c in (original, connection))
            if change.mark and now > then:
                yield change.table, then, now


def _mark(connection: sqlite3.Connection, table: str) -> int:
    """The highest id that AUTOINCREMENT gave in `table`; 0 where it gave none."""
    if not columns_of(connection, "sqlite_sequence"):
        return 0
    found = connection.execute("SELECT max(seq) FROM sqlite_sequence WHERE name = ? COLLATE NOCASE", (table,))
    return int(found.fetchone()[0] or 0)
