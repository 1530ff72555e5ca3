"""The two memory tools. Embeddings and the FAISS index lie outside SQLite and are not part of these probes."""

from __future__ import annotations

import sqlite3

from migrator.ltmc.probes.rows import (
    NextId,
    Row,
    expect,
    expect_among,
    insert,
    insert_chunk,
    insert_message,
    named,
    next_vector_id,
    now,
    unused_vector_id,
)
from migrator.ltmc.probes.tables import create_tables
from migrator.probes import Probe

CHUNK_KEYS = ("chunk_id", "resource_id", "chunk_text", "vector_id", "file_name")


def store_memory(connection: sqlite3.Connection, next_vector_id: NextId = next_vector_id) -> None:
    """INSERTs one row into Resources, then per chunk one into VectorIdSequence and one into ResourceChunks.

    Checks every row read back, that ids grow, and that two chunks get two vector ids in order.
    """
    create_tables(connection)
    resource_id = _insert_resource(connection)
    texts = ("First part.", "Second part: grün ✓.")
    chunks = [insert_chunk(connection, resource_id, text, next_vector_id(connection)) for text in texts]
    (first_id, first_vector), (second_id, second_vector) = chunks
    expect("ResourceChunks: that vector ids grow with ids", first_id < second_id and first_vector < second_vector, True)


def retrieve_memory(connection: sqlite3.Connection) -> object:
    """SELECTs chunks by vector id and each one's file name, then INSERTs the question and a link per chunk.

    The vector ids are the newest ones stored, in place of FAISS's. Checks that a chunk stored here comes
    back under its vector id with its file name, and the message and links read back.
    """
    create_tables(connection)
    answer = named(CHUNK_KEYS, _find_chunks(connection, newest_vector_ids(connection, 3)))
    resource_id = _insert_resource(connection)
    unused = unused_vector_id(connection, "ResourceChunks")
    chunk_id, vector_id = insert_chunk(connection, resource_id, "What the probe stored.", unused)
    expected = (chunk_id, resource_id, "What the probe stored.", vector_id, "probe.md")
    found = _find_chunks(connection, [*newest_vector_ids(connection, 2), vector_id])
    expect_among("retrieve_memory", found, expected)
    message_id = insert_message(connection)
    for chunk in found:
        insert(connection, "ContextLinks", message_id=message_id, chunk_id=chunk[0])
    return answer


def newest_vector_ids(connection: sqlite3.Connection, count: int) -> list[int]:
    """The highest vector ids of ResourceChunks, in place of what a FAISS search would hand over."""
    rows = connection.execute("SELECT vector_id FROM ResourceChunks ORDER BY vector_id DESC LIMIT ?", (count,))
    return [row[0] for row in rows]


def _find_chunks(connection: sqlite3.Connection, vector_ids: list[int]) -> list[Row]:
    chunks = connection.execute(
        "SELECT id, resource_id, chunk_text, vector_id FROM ResourceChunks "
        f"WHERE vector_id IN ({', '.join('?' * len(vector_ids))}) ORDER BY vector_id",
        vector_ids,
    ).fetchall()
    return [(*chunk, _file_name(connection, chunk[1])) for chunk in chunks]


def _file_name(connection: sqlite3.Connection, resource_id: int) -> object:
    row = connection.execute("SELECT file_name FROM Resources WHERE id = ?", (resource_id,)).fetchone()
    return row[0] if row else None


def _insert_resource(connection: sqlite3.Connection) -> int:
    return insert(connection, "Resources", file_name="probe.md", type="document", created_at=now())


PROBES = (Probe("store_memory", store_memory), Probe("retrieve_memory", retrieve_memory))
