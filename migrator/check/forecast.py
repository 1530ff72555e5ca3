"""How long a promotion would hold the write lock, estimated without a rehearsal: on a few rows, in memory."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Literal

from migrator import rebuild
from migrator.connect import count_rows, is_passing
from migrator.ddl import folded, parse_create_table, quote
from migrator.errors import MigratorError
from migrator.findings import Finding
from migrator.plan import Plan
from migrator.schema import columns_of, rowid_name

_SAMPLE_ROWS, _SAMPLE_BYTES = 500, 4 << 20
_TIMES = 3
"""The shortest counts: what disturbs a measurement only makes it longer."""
_COUNTED_ROWS = 100_000
"""count(*) of a million rows takes 8 to 190 ms, depending on the indexes."""
_COMMIT_FACTOR = 2.0
"""A COMMIT takes up to as long as the statements before it: of 30,000 rows 92 ms after 119 (see one_transaction.py)."""


@dataclass(frozen=True)
class Forecast:
    """An estimate. `rows`: of the tables that are rebuilt, `counted` or, from their rowids, at most so many.

    `lock_ms` is for one transaction; `way` is what `promote` would choose for it.
    """

    rows: int
    counted: bool
    sample: int
    lock_ms: float
    way: Literal["one_transaction", "online"]


def forecast(connection: sqlite3.Connection, plan: Plan, max_lock_ms: float) -> Forecast:
    """Carries out `plan` on the newest rows of its tables, in memory, and extends the time to all rows.

    Reads some 500 rows and 4 MB of each table. Raises sqlite3.Error where the rows, or the schema of a table, are not
    such that they can be migrated alone, or the database is locked.
    """
    counts = [_count(connection, table) for table in _rebuilt(connection, plan)]
    rows = sum(count for count, _ in counts)
    text_factory = connection.text_factory
    # Text that is not UTF-8 is only measured here.
    connection.text_factory = lambda data: data.decode(errors="replace")
    try:
        empty_s, _ = min(_timed(connection, plan, 0) for _ in range(_TIMES))
        took_s, sample = min(_timed(connection, plan, _SAMPLE_ROWS) for _ in range(_TIMES))
    finally:
        connection.text_factory = text_factory
    per_row_s = max(took_s - empty_s, 0.0) / max(sample, 1)
    lock_ms = 1000 * _COMMIT_FACTOR * (empty_s + per_row_s * rows)
    way: Literal["one_transaction", "online"] = "one_transaction" if lock_ms <= max_lock_ms else "online"
    return Forecast(rows, all(counted for _, counted in counts), sample, lock_ms, way)


def try_forecast(connection: sqlite3.Connection, plan: Plan, max_lock_ms: float) -> Forecast | Finding:
    """The forecast, or the finding that says why there is none. Raises sqlite3.Error where the database is locked."""
    try:
        return forecast(connection, plan, max_lock_ms)
    except (sqlite3.Error, MigratorError) as error:
        if isinstance(error, sqlite3.Error) and is_passing(error):
            raise
        message = f"no lock time can be estimated, because a few rows cannot be migrated alone ({error})"
        return Finding("no_forecast", message)


def _rebuilt(connection: sqlite3.Connection, plan: Plan) -> list[str]:
    """The tables that are there and are read whole: one that an earlier migration of the plan makes is empty."""
    rebuilt = dict.fromkeys(t.table for t in plan.tables if t.projection is not None)
    return [table for table in rebuilt if columns_of(connection, table)]


def _count(connection: sqlite3.Connection, table: str) -> tuple[int, bool]:
    """The rows of `table`, and whether they were counted: of many, the span of the rowids is the most there can be."""
    rowid = _rowid(connection, table)
    if rowid is not None:
        # Each by itself is found at an end of the table; both together would read all of it.
        (first,) = connection.execute(f"SELECT min({rowid}) FROM {quote(table)}").fetchone()
        (last,) = connection.execute(f"SELECT max({rowid}) FROM {quote(table)}").fetchone()
        if first is not None and last - first >= _COUNTED_ROWS:
            return last - first + 1, False
    return count_rows(connection, table), True


def _rowid(connection: sqlite3.Connection, table: str) -> str | None:
    query = "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ? COLLATE NOCASE"
    text = parse_create_table(connection.execute(query, (table,)).fetchone()[0])
    return None if text.without_rowid else rowid_name(text.columns)


def _timed(connection: sqlite3.Connection, plan: Plan, rows: int) -> tuple[float, int]:
    """The seconds that the promotion's statements take for up to `rows` rows of each table, and how many there were."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as memory:
        sample = _copy(connection, memory, plan, rows)
        with rebuild.rebuild_settings(memory):
            started = time.perf_counter()
            memory.execute("BEGIN")
            for table in plan.tables:
                rebuild.keep_originals(memory, table)
                # Values without an answer are for `inspect` to name: here comparing only takes its time.
                rebuild.rebuild_table(memory, replace(table, compare=f"SELECT 0 * ({table.compare})"))
                rebuild.create_indexes(memory, table)
            memory.execute("COMMIT")
            return time.perf_counter() - started, sample


def _copy(connection: sqlite3.Connection, memory: sqlite3.Connection, plan: Plan, rows: int) -> int:
    """Makes every table that the plan names, with up to `rows` rows each, then what is on them; returns how many rows
    are in those that are rebuilt."""
    rebuilt = {folded(table) for table in _rebuilt(connection, plan)}
    query = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type <> 'table', rowid"
    copied = 0
    for kind, name, table, sql in connection.execute(query).fetchall():
        if kind != "view" and plan.names(table) and not table.startswith("sqlite_"):
            memory.execute(sql)
            if kind == "table":
                held = _copy_rows(connection, memory, name, rows)
                copied += held if folded(name) in rebuilt else 0
    return copied


def _copy_rows(connection: sqlite3.Connection, memory: sqlite3.Connection, table: str, rows: int) -> int:
    names, rowid = columns_of(connection, table), _rowid(connection, table)
    listed = ", ".join([*([rowid] if rowid else []), *map(quote, names)])
    newest = f"ORDER BY {rowid} DESC" if rowid else ""
    found = connection.execute(f"SELECT {listed} FROM {quote(table)} {newest} LIMIT ?", (rows,))
    marks = ", ".join("?" * len(found.description))
    copied = memory.executemany(f"INSERT INTO {quote(table)} ({listed}) VALUES ({marks})", _up_to_size(found))
    return copied.rowcount


def _up_to_size(rows: Iterable[tuple[object, ...]]) -> Iterator[tuple[object, ...]]:
    size = 0
    for row in rows:
        yield row
        size += sum(len(value) for value in row if isinstance(value, str | bytes))
        if size > _SAMPLE_BYTES:
            return
