"""What many probes share: write a row and read it back, name the values of an answer, compare.

Errors say what was read and what was expected: of texts the length, because a message goes into logs and reports.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from migrator.errors import ProbeError

Row = tuple[object, ...]


def now() -> str:
    """The local time as the application writes it."""
    return datetime.now().isoformat()  # noqa: DTZ005 - the application stores no offset


def last_moment(connection: sqlite3.Connection, table: str, column: str) -> str | bytes:
    """A time that sorts after all that the column holds, odd ones too: a row with it leads every newest-first list."""
    latest = connection.execute(f"SELECT MAX({column}) FROM {table}").fetchone()[0]
    if isinstance(latest, bytes):
        return latest + b"!"
    return max("9999-12-31T23:59:59.999999", f"{latest}!")


def expect(what: str, found: object, expected: object) -> None:
    """Raises ProbeError unless `found` is `expected`, in value and in type (1, 1.0 and True differ)."""
    if repr(found) != repr(expected):
        raise ProbeError(f"{what} is {_told(found)}, expected {_told(expected)}")


def expect_among(what: str, rows: Sequence[Row], expected: Row) -> None:
    """Raises ProbeError unless one of `rows` is `expected`, in value and in type."""
    if not any(row == expected and repr(row) == repr(expected) for row in rows):
        first = _told(rows[0]) if rows else "nothing"
        raise ProbeError(f"{what}: {_told(expected)} is missing, the first of {len(rows)} rows is {first}")


def _told(value: object) -> str:
    """The value without what the application's users wrote: numbers as they are, of texts the length."""
    match value:
        case str() | bytes():
            return f"{'text' if isinstance(value, str) else 'blob'} of {len(value)}"
        case tuple() | list():
            return f"({', '.join(map(_told, value))})"
        case _:
            return repr(value)


def insert(connection: sqlite3.Connection, table: str, **values: object) -> int:
    """Inserts `values` as the tool does and returns the new id.

    Raises ProbeError unless the id is above every earlier one and the row reads back as it was written.
    """
    columns = ", ".join(values)
    newest = unknown_id(connection, table) - 1
    new_id = connection.execute(
        f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' * len(values))})", tuple(values.values())
    ).lastrowid
    if new_id is None or new_id <= newest:
        raise ProbeError(f"{table}: the new row has id {new_id}, expected one above {newest}")
    stored = connection.execute(f"SELECT {columns} FROM {table} WHERE id = ?", (new_id,)).fetchone()
    if stored is None:
        raise ProbeError(f"{table}: the new row of id {new_id} is gone at once", "look for a trigger that deletes it")
    for (column, written), read in zip(values.items(), stored, strict=True):
        expect(f"{table}.{column} of the new row", read, written)
    return new_id


def newest_ids(connection: sqlite3.Connection, table: str, count: int) -> list[int]:
    """The highest ids of the table, highest first; fewer, or none, where it has no more rows."""
    rows = connection.execute(f"SELECT id FROM {table} ORDER BY id DESC LIMIT ?", (count,))
    return [row[0] for row in rows]


def unknown_id(connection: sqlite3.Connection, table: str) -> int:
    """An id that no row of the table has: one above the highest."""
    newest: int = connection.execute(f"SELECT COALESCE(MAX(id), 0) FROM {table}").fetchone()[0]
    return newest + 1


def named(keys: Sequence[str], rows: Iterable[Row]) -> list[dict[str, object]]:
    """The rows as the tool answers them, one dict a row, ready for JSON."""
    return [dict(zip(keys, map(_jsonable, row), strict=True)) for row in rows]


def _jsonable(value: object) -> object:
    return f"x'{value.hex()}'" if isinstance(value, bytes) else value


BEYOND_COUNTING = 1 << 62
"""No id comes here by counting: what is as high came from elsewhere, and might leave no higher one."""

NextId = Callable[[sqlite3.Connection], int]
"""How the application of a version comes to the next vector id."""


def next_vector_id(connection: sqlite3.Connection) -> int:
    """The application's get_next_vector_id: the row id of the row it adds, not the number it writes there.

    Raises ProbeError unless the row carries one more than the highest number so far.
    """
    highest = connection.execute("SELECT COALESCE(MAX(last_vector_id), 0) FROM VectorIdSequence").fetchone()[0]
    return insert(connection, "VectorIdSequence", last_vector_id=highest + 1)


def unused_vector_id(connection: sqlite3.Connection, table: str) -> int:
    """An id that no row of `table` has: for a row of a tool that gives none itself."""
    query = f"SELECT COALESCE(MAX(vector_id), 0) FROM {table} WHERE vector_id < {BEYOND_COUNTING}"
    highest: int = connection.execute(query).fetchone()[0]
    return highest + 1


def insert_chunk(connection: sqlite3.Connection, resource_id: int, text: str, vector_id: int) -> tuple[int, int]:
    """Adds one chunk, as store_memory does; returns its id and its vector id."""
    chunk_id = insert(connection, "ResourceChunks", resource_id=resource_id, chunk_text=text, vector_id=vector_id)
    return chunk_id, vector_id


def insert_message(connection: sqlite3.Connection, **values: object) -> int:
    """Adds one message; what `values` does not give is what a plain question has."""
    message: dict[str, object] = {
        "conversation_id": "probe",
        "role": "user",
        "content": "what is stored?",
        "timestamp": now(),
    }
    return insert(connection, "ChatHistory", **(message | values))
