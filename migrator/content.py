"""What a table holds, as a row count and a hash over every value's type and bytes.

integrity_check passes with ten flipped bytes inside a text cell; only a hash of the content notices.
"""

from __future__ import annotations

import hashlib
import marshal
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from migrator.ddl import parse_create_table, quote
from migrator.schema import Schema, columns_of

_ROWS_AT_A_TIME = 200
_MARSHAL_VERSION = 2
"""Fixed, and the last version without references: equal rows give equal bytes on every Python."""


@dataclass(frozen=True)
class Content:
    """`sha256` covers rowid (or the primary key's order), type and bytes of every value, in the order of the rowid."""

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
    queries = {table: _select(connection, table, schema) for table in wanted}
    text_factory = connection.text_factory
    # Text that is not valid UTF-8 is content too.
    connection.text_factory = bytes
    try:
        return {table: _content(connection.execute(query)) for table, query in queries.items()}
    finally:
        connection.text_factory = text_factory


def difference(before: Mapping[str, Content], after: Mapping[str, Content]) -> tuple[str, ...]:
    """The tables whose content differs, or that only one side has."""
    return tuple(sorted(t for t in before.keys() | after.keys() if before.get(t) != after.get(t)))


def _content(cursor: sqlite3.Cursor) -> Content:
    digest, rows = hashlib.sha256(), 0
    while batch := cursor.fetchmany(_ROWS_AT_A_TIME):
        for row in batch:
            digest.update(marshal.dumps(row, _MARSHAL_VERSION))
        rows += len(batch)
    return Content(rows, digest.hexdigest())


def _select(connection: sqlite3.Connection, table: str, schema: Schema) -> str:
    text = schema.table(table)
    names = columns_of(connection, table)
    listed = ", ".join(quote(c) for c in names)
    # Text arrives as bytes, like a blob: one number says which columns are blobs.
    blobs = " + ".join(f"(typeof({quote(c)}) = 'blob') * {2 ** (i % 62)}" for i, c in enumerate(names)) or "0"
    if table == "sqlite_sequence":
        return f"SELECT name, seq, {blobs} FROM sqlite_sequence ORDER BY name"
    if text is not None and parse_create_table(text.sql).without_rowid:
        return f"SELECT {listed}, {blobs} FROM {quote(table)}"
    alias = next(a for a in ("rowid", "_rowid_", "oid") if a not in {n.casefold() for n in names})
    return f"SELECT {alias}, {listed}, {blobs} FROM {quote(table)} ORDER BY {alias}"
