"""How long a promotion would hold the write lock, estimated without a rehearsal: on a few rows, in memory."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Literal

from migrator import rebuild
from migrator.connect import is_passing, pragma
from migrator.ddl import folded, parse_create_table, quote
from migrator.errors import MigratorError
from migrator.findings import Finding
from migrator.plan import Plan
from migrator.schema import OWN_PREFIX, columns_of, rowid_name

_SAMPLE_ROWS, _SAMPLE_BYTES = 500, 4 << 20
_TIMES = 3
"""The shortest counts: what disturbs a measurement only makes it longer."""
_COUNTED_ROWS = 100_000
"""count(*) of a million rows takes 8 to 190 ms, depending on the indexes."""
_LEAST_ROW_BYTES = 5
"""Pointer, size, rowid, header, each as short as it gets (sqlite.org/fileformat.html, section 1.6)."""
_SCANS = 3
"""Where only some rows change they are looked for to be put aside, to be copied and to be compared."""
_COMMIT_FACTOR = 2.0
"""A COMMIT takes up to as long as the statements before it: of 30,000 rows 92 ms after 119 (see one_transaction.py)."""


class RowsNotKnownError(MigratorError):
    """A table has too many rows to be counted, and its rowids do not say how many."""


@dataclass(frozen=True)
class _Rows:
    """The rows of one table that are read: `only` those, `counted` or at most so many; `scan_s`: what looking took."""

    number: int
    counted: bool
    only: str = ""
    scan_s: float = 0.0


@dataclass(frozen=True)
class Forecast:
    """An estimate. `rows`: those that change, or all of a table that is made anew, `counted` or, from the rowids, at
    most so many.

    `lock_ms` is for one transaction; `way` is what `promote` would choose for it.
    """

    rows: int
    counted: bool
    sample: int
    lock_ms: float
    way: Literal["one_transaction", "online"]


def forecast(connection: sqlite3.Connection, plan: Plan, max_lock_ms: float) -> Forecast:
    """Carries out `plan` on the newest rows of its tables, in memory, and extends the time to all rows.

    Reads some 500 rows and 4 MB of each table, and counts those of small ones. Raises sqlite3.Error where the rows, or
    the schema of a table, are not such that they can be migrated alone, or the database is locked; RowsNotKnownError.
    """
    read = {table: _count(connection, table, only) for table, only in _rebuilt(connection, plan).items()}
    rows = sum(found.number for found in read.values())
    text_factory = connection.text_factory
    # Text that is not UTF-8 is only measured here.
    connection.text_factory = lambda data: data.decode(errors="replace")
    try:
        empty_s, _ = min(_timed(connection, plan, read, 0) for _ in range(_TIMES))
        took_s, sample = min(_timed(connection, plan, read, _SAMPLE_ROWS) for _ in range(_TIMES))
    finally:
        connection.text_factory = text_factory
    per_row_s = max(took_s - empty_s, 0.0) / max(sample, 1)
    scans_s = _SCANS * sum(found.scan_s for found in read.values())
    lock_ms = 1000 * (_COMMIT_FACTOR * (empty_s + per_row_s * rows) + scans_s)
    way: Literal["one_transaction", "online"] = "one_transaction" if lock_ms <= max_lock_ms else "online"
    return Forecast(rows, all(found.counted for found in read.values()), sample, lock_ms, way)


def try_forecast(connection: sqlite3.Connection, plan: Plan, max_lock_ms: float) -> Forecast | Finding:
    """The forecast, or the finding that says why there is none. Raises sqlite3.Error where the database is locked."""
    try:
        return forecast(connection, plan, max_lock_ms)
    except (sqlite3.Error, MigratorError) as error:
        if isinstance(error, sqlite3.Error) and is_passing(error):
            raise
        why = str(error) if isinstance(error, RowsNotKnownError) else f"a few rows cannot be migrated alone ({error})"
        return Finding("no_forecast", f"no lock time can be estimated, because {why}")


def _rebuilt(connection: sqlite3.Connection, plan: Plan) -> dict[str, str]:
    """The tables that are there and are read, with the condition on the rows that are ("": on none).

    One that an earlier migration of the plan makes is empty.
    """
    found: dict[str, list[str]] = {}
    for table in plan.tables:
        if table.projection is not None and columns_of(connection, table.table):
            found.setdefault(table.table, []).append(table.projection.concerned if table.update else "")
    return {table: " OR ".join(only) if all(only) else "" for table, only in found.items()}


def _count(connection: sqlite3.Connection, table: str, only: str) -> _Rows:
    """The rows of `table` for which `only` holds; of many, the span of the rowids is the most there can be."""
    rowid = _rowid(connection, table)
    if rowid is not None:
        # Each by itself is found at an end of the table; both together would read all of it.
        (first,) = connection.execute(f"SELECT min({rowid}) FROM {quote(table)}").fetchone()
        (last,) = connection.execute(f"SELECT max({rowid}) FROM {quote(table)}").fetchone()
        span = 0 if first is None else last - first + 1
        if span > _most(connection):
            _refuse_many(connection, table)
        elif span > _COUNTED_ROWS:
            return _Rows(span, False)
    started = time.perf_counter()
    (number,) = connection.execute(f"SELECT count(*) FROM {quote(table)} WHERE {only or 'true'}").fetchone()
    return _Rows(number, True, only, time.perf_counter() - started if only else 0.0)


def _most(connection: sqlite3.Connection) -> int:
    """No table of the database has more rows."""
    return int(str(pragma(connection, "page_count"))) * int(str(pragma(connection, "page_size"))) // _LEAST_ROW_BYTES


def _refuse_many(connection: sqlite3.Connection, table: str) -> None:
    """One rowid far from the others says nothing of how many there are."""
    query = f"SELECT count(*) FROM (SELECT 1 FROM {quote(table)} LIMIT {_COUNTED_ROWS})"
    if connection.execute(query).fetchone()[0] == _COUNTED_ROWS:
        raise RowsNotKnownError(
            f"how many rows {table} has is not known: they are not counted beyond {_COUNTED_ROWS:,}, and its rowids "
            "lie further apart than the file has room for"
        )


def _rowid(connection: sqlite3.Connection, table: str) -> str | None:
    query = "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ? COLLATE NOCASE"
    text = parse_create_table(connection.execute(query, (table,)).fetchone()[0])
    return None if text.without_rowid else rowid_name(text.columns)


def _timed(connection: sqlite3.Connection, plan: Plan, read: Mapping[str, _Rows], rows: int) -> tuple[float, int]:
    """The seconds that the promotion's statements take for up to `rows` rows of each table, and how many there were."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as memory:
        sample = _copy(connection, memory, plan, read, rows)
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


def _copy(
    connection: sqlite3.Connection, memory: sqlite3.Connection, plan: Plan, read: Mapping[str, _Rows], rows: int
) -> int:
    """Makes every table that the plan names, with up to `rows` rows each, then what is on them; returns how many rows
    are in those that are `read`."""
    only = {folded(table): found.only for table, found in read.items()}
    query = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type <> 'table', rowid"
    copied = 0
    for kind, name, table, sql in connection.execute(query).fetchall():
        # The triggers that a killed run left note changes in a log that is not copied.
        if kind != "view" and plan.names(table) and not folded(name).startswith(("sqlite_", OWN_PREFIX)):
            memory.execute(sql)
            if kind == "table":
                held = _copy_rows(connection, memory, name, rows, only.get(folded(name), ""))
                copied += held if folded(name) in only else 0
    return copied


def _copy_rows(connection: sqlite3.Connection, memory: sqlite3.Connection, table: str, rows: int, only: str) -> int:
    names, rowid = columns_of(connection, table), _rowid(connection, table)
    listed = ", ".join([*([rowid] if rowid else []), *map(quote, names)])
    newest = f"ORDER BY {rowid} DESC" if rowid else ""
    found = connection.execute(f"SELECT {listed} FROM {quote(table)} WHERE {only or 'true'} {newest} LIMIT ?", (rows,))
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
