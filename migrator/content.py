"""What a table holds, as a row count and a hash over every value's type and bytes.

integrity_check passes with ten flipped bytes inside a text cell; only a hash of the content notices.
"""

from __future__ import annotations

import hashlib
import marshal
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from sqlite_utils import Database

from migrator.ddl import parse_create_table, quote
from migrator.schema import Schema, columns_of, rowid_name

_ROWS_AT_A_TIME = 200
_COLUMNS_AT_A_TIME = 1000
_MARSHAL_VERSION = 2
"""Fixed, and the last version without references: equal rows give equal bytes on every Python."""
_BITS = 62
"""Of an SQLite integer, whose sum of all bits must not overflow."""


@dataclass(frozen=True)
class Content:
    """`sha256` covers rowid (or the primary key's order), type and bytes of every value, in the order of the rowid;
    of sqlite_sequence each name's mark."""

    rows: int
    sha256: str


def read_contents(
    connection: sqlite3.Connection, schema: Schema, tables: Iterable[str] | None = None
) -> Mapping[str, Content]:
    """The content of every ordinary table (or of `tables`), and of sqlite_sequence where there is one.

    Memory does not grow with rows. Read inside one transaction of the caller's for one state of all tables.
    Raises sqlite3.DatabaseError on a damaged page.
    """
    wanted = list(schema.tables if tables is None else tables)
    if tables is None and columns_of(connection, "sqlite_sequence"):
        wanted.append("sqlite_sequence")
    queries = {table: _selects(connection, table, schema) for table in wanted}
    text_factory = connection.text_factory
    # Text that is not valid UTF-8 is content too.
    connection.text_factory = bytes
    try:
        return {table: _content(connection, selects) for table, selects in queries.items()}
    finally:
        connection.text_factory = text_factory


def difference(before: Mapping[str, Content], after: Mapping[str, Content]) -> tuple[str, ...]:
    """The tables whose content differs, or that only one side has."""
    return tuple(sorted(t for t in before.keys() | after.keys() if before.get(t) != after.get(t)))


def _content(connection: sqlite3.Connection, selects: Iterable[str]) -> Content:
    digest, rows = hashlib.sha256(), 0
    for select in selects:
        cursor, rows = connection.execute(select), 0
        while batch := cursor.fetchmany(_ROWS_AT_A_TIME):
            digest.update(marshal.dumps(batch, _MARSHAL_VERSION))
            rows += len(batch)
    return Content(rows, digest.hexdigest())


def _selects(connection: sqlite3.Connection, table: str, schema: Schema) -> list[str]:
    """Each for as many columns as a result may have besides rowid and masks (sqlite.org/limits.html)."""
    names, text = columns_of(connection, table), schema.table(table)
    rowid = rowid_name(names)
    first: tuple[str, ...] = ()
    if table == "sqlite_sequence":
        # A rebuilt table's mark is a new row: its place means nothing.
        end = "ORDER BY name, seq"
    elif text is not None and parse_create_table(text.sql).without_rowid:
        # Even NOT INDEXED would allow an index that holds every column, and its order.
        primary = Database(connection, recursive_triggers=False, execute_plugins=False).table(table).pks
        end = f"ORDER BY {', '.join(map(quote, primary))}"
    elif rowid is not None:
        first, end = (rowid,), f"ORDER BY {rowid}"
    else:
        # Its columns hide the rowid, in whose order SQLite reads a table that it may use no index for.
        end = "NOT INDEXED"
    slices = [names[start : start + _COLUMNS_AT_A_TIME] for start in range(0, len(names), _COLUMNS_AT_A_TIME)]
    listed = [", ".join([*first, *map(quote, columns), *_blob_masks(columns)]) for columns in slices]
    return [f"SELECT {columns} FROM {quote(table)} {end}" for columns in listed]


def _blob_masks(names: tuple[str, ...]) -> Iterator[str]:
    """Text arrives as bytes, like a blob: one number for every 62 columns says which are blobs.

    Only a blob is as large as the empty one (sqlite.org/datatype3.html, section 4.1); a call of typeof() for each value
    took a quarter of the time.
    """
    for start in range(0, len(names), _BITS):
        columns = [f"{quote(c)} COLLATE BINARY >= x''" for c in names[start : start + _BITS]]
        bits = " + ".join(f"(({is_blob}) IS TRUE) * {2**bit}" for bit, is_blob in enumerate(columns))
        yield f"CASE WHEN {' OR '.join(columns)} THEN {bits} ELSE 0 END"
