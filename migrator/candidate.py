"""The rehearsal: every step of the migration on a copy that nobody misses."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from sqlite_utils import Database

from migrator import rebuild
from migrator.backup import Progress, copy_database, no_progress
from migrator.comparison import compare_schema
from migrator.connect import count_rows, opened, set_pragma
from migrator.ddl import quote, words
from migrator.errors import RehearsalError
from migrator.files import make_directory, remove_tree
from migrator.findings import Finding
from migrator.inspection import Inspection, refuse_what_does_not_fit
from migrator.originals import originals_kept
from migrator.plan import Plan, TablePlan
from migrator.row_comparison import compare_rows, compare_way_back
from migrator.schema import Column, index_name

CANDIDATE_NAME = "candidate.db"
_COMPARED_LATER = "SELECT 0"
"""Reading a million rows takes a second: here they are compared once, at the end, and with those of the backup."""


@dataclass(frozen=True)
class Candidate:
    """The copy under work. `rebuild_s` is what the promotion's statements have taken on it so far, for `rows` rows
    (also those that only an index is made of); `fingerprints` is the schema that live must have afterwards, known when
    all steps are done."""

    inspection: Inspection
    path: Path
    rebuild_s: float = 0.0
    rows: int = 0
    findings: tuple[Finding, ...] = ()
    fingerprints: str = ""

    @property
    def plan(self) -> Plan:
        return self.inspection.plan


def stage(inspection: Inspection, on_progress: Progress = no_progress) -> Candidate:
    """Copies the backup to a candidate in the run's scratch folder, from which whatever an earlier try left is gone."""
    backup = inspection.backup
    remove_tree(backup.scratch)
    make_directory(backup.scratch, backup.live.database)
    path = backup.scratch / CANDIDATE_NAME
    copy_file(backup.path, path, on_progress)
    return Candidate(inspection, path)


def copy_file(source: Path, target: Path, on_progress: Progress = no_progress) -> None:
    """Copies a database that nobody writes to a new file, mode 0600."""
    target.touch(mode=0o600, exist_ok=False)
    with opened(source, read_only=True) as reading, opened(target) as writing:
        set_pragma(writing, "synchronous", 0)
        reading.execute("BEGIN")
        copy_database(reading, writing, on_progress)


def add_column(candidate: Candidate, table: str, column: Column) -> Candidate:
    """Afterwards `table` has `column` with its type; one that was there already is kept.

    Raises RehearsalError where it is there with another type; sqlite3.OperationalError while the file is locked.
    """
    with _working(candidate.path) as connection:
        library = Database(connection, recursive_triggers=False, execute_plugins=False)[table]
        found = next((c for c in library.columns if c.name.casefold() == column.name.casefold()), None)
        if found is None:
            type_ = f" {column.type}" if column.type else ""
            default = "" if column.default is None else f" DEFAULT {column.default}"
            connection.execute(f"ALTER TABLE {quote(table)} ADD COLUMN {quote(column.name)}{type_}{default}")
        elif found.type.casefold() != column.type.casefold():
            raise RehearsalError(
                f"column {column.name!r} already exists in table {table!r} as {found.type}, expected {column.type}; "
                "live unchanged",
                "rename the column in live first",
            )
    return candidate


def convert_data(candidate: Candidate, table: TablePlan) -> Candidate:
    """Fills the added columns and keeps the originals, with the projection that the rebuild and the promotion use.

    Raises RefusedError as `inspect` does, for rows that an earlier migration of the same run made.
    """
    first = next(t for t in candidate.plan.tables if t.table == table.table)
    started = time.perf_counter()
    with _working(candidate.path) as connection:
        if table != first:
            refuse_what_does_not_fit(connection, table)
        kept = rebuild.convert_data(connection, table)
    found = originals_kept(table, kept)
    took_s = time.perf_counter() - started
    return replace(candidate, rebuild_s=candidate.rebuild_s + took_s, findings=(*candidate.findings, *found))


def rebuild_table(candidate: Candidate, table: TablePlan) -> Candidate:
    """Rebuilds one table with the function that the promotion uses on live; `create_indexes` compares the rows.

    Raises RehearsalError where a constraint or a unique index refuses a row, and where one is missing.
    """
    started = time.perf_counter()
    with (
        _working(candidate.path) as connection,
        rebuild.rebuild_settings(connection),
        _naming_what_refuses(connection, table),
    ):
        connection.execute("BEGIN")
        rows = rebuild.rebuild_table(connection, replace(table, compare=_COMPARED_LATER))
        connection.execute("COMMIT")
    found = originals_kept(table, rows) if table.kind == "drop" else ()
    took_s = candidate.rebuild_s + time.perf_counter() - started
    return replace(candidate, rows=candidate.rows + rows, rebuild_s=took_s, findings=(*candidate.findings, *found))


def drop_indexes(candidate: Candidate, table: TablePlan) -> Candidate:
    """Drops what goes of a table that keeps its rows, as the promotion does; `create_indexes` makes what comes."""
    started = time.perf_counter()
    with _working(candidate.path) as connection:
        rebuild.drop_indexes(connection, table)
    return replace(candidate, rebuild_s=candidate.rebuild_s + time.perf_counter() - started)


def create_indexes(candidate: Candidate) -> Candidate:
    """Makes every planned index: the last step. Then the whole is compared with the plan and with the backup.

    Raises RefusedError as `inspect` does, for rows that an earlier migration of the same run made; RehearsalError where
    the schema is another one, where anything else changed, where a row is not what the migration says, and where the
    way back would not give the row that was there.
    """
    started = time.perf_counter()
    with _working(candidate.path) as connection:
        for table in candidate.plan.tables:
            with _naming_what_refuses(connection, table):
                rebuild.create_indexes(connection, table)
        took_s = time.perf_counter() - started
        read = sum(count_rows(connection, table.table) for table in candidate.plan.tables if table.kind == "indexes")
    compared = candidate.path, candidate.inspection.backup, candidate.plan
    schema = compare_schema(*compared)
    started = time.perf_counter()
    compare_rows(*compared)
    took_s += time.perf_counter() - started
    compare_way_back(*compared)
    fingerprints = schema.fingerprints_of(candidate.plan.touched)
    took_s += candidate.rebuild_s
    return replace(candidate, rebuild_s=took_s, rows=candidate.rows + read, fingerprints=fingerprints)


def predicted_lock_ms(candidate: Candidate, rows_now: int) -> float:
    """How long the same statements would hold live's write lock, at the rehearsal's rate."""
    per_row_s = candidate.rebuild_s / max(candidate.rows, 1)
    return 1000 * max(per_row_s * rows_now, candidate.rebuild_s if rows_now >= candidate.rows else 0.0)


@contextmanager
def _working(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that trades durability for speed: a candidate that a crash breaks is thrown away anyway."""
    with opened(path) as connection:
        set_pragma(connection, "journal_mode", "off")
        set_pragma(connection, "synchronous", 0)
        set_pragma(connection, "cache_size", -rebuild.CACHE_KIB)
        yield connection


@contextmanager
def _naming_what_refuses(connection: sqlite3.Connection, table: TablePlan) -> Iterator[None]:
    """Raises RehearsalError where a row that fits its own table does not fit the new one, naming what refuses it."""
    statements = [""]
    # The last statement sent: SQLite's message does not name the index that could not be made.
    connection.set_trace_callback(lambda statement: statements.__setitem__(0, statement))
    try:
        yield
    except sqlite3.IntegrityError as error:
        if table.kind == "indexes":
            refuse_what_does_not_fit(connection, table)
        head = words(statements[0])[:3]
        what = f"index {index_name(statements[0])}" if "index" in head else "the constraints"
        said = str(error).replace(table.shadow, table.table)
        raise RehearsalError(
            f"rows of {table.table}, as the migration converts them, do not fit {what} ({said}); live unchanged",
            f"change the rows, or {what.replace('the constraints', 'that constraint')}, before the migration",
        ) from error
    finally:
        connection.set_trace_callback(None)
