"""The six context tools."""

from __future__ import annotations

import sqlite3

from migrator.ltmc.probes.retrieval import retrieve
from migrator.ltmc.probes.rows import (
    Row,
    expect,
    expect_among,
    insert,
    insert_chunk,
    insert_message,
    named,
    newest_ids,
    unknown_id,
)
from migrator.ltmc.probes.tables import create_tables
from migrator.probes import Probe

MESSAGE_KEYS = ("message_id", "conversation_id", "role", "content", "timestamp")
COUNT_KEYS = ("total_context_links", "unique_messages", "unique_chunks_used")
SHOWN = 100
"""Two tools have no LIMIT: their answers are compared by count and by this many rows."""


def retrieve_by_type(connection: sqlite3.Connection) -> object:
    """Retrieval with a type filter; writes only the row of RetrievalWeights, where it is missing.

    Embedding and FAISS are left out. Checks: see `retrieval.retrieve`.
    """
    return retrieve(connection, ("document", "code"))


def store_context_links(connection: sqlite3.Connection) -> None:
    """SELECTs the message and each chunk by id, INSERTs a link per chunk into ContextLinks.

    Checks that known ids are found and unknown ones are not, the links read back, and a duplicate is allowed.
    """
    create_tables(connection)
    message_id = (newest_ids(connection, "ChatHistory", 1) or [insert_message(connection)])[0]
    chunk_ids = newest_ids(connection, "ResourceChunks", 3) or [insert_chunk(connection, 1, "Linked text.", 1)[0]]
    for table, row_id in (("ChatHistory", message_id), *(("ResourceChunks", chunk_id) for chunk_id in chunk_ids)):
        expect(f"{table}: the row of id {row_id}", _find(connection, table, row_id), (row_id,))
    for table in ("ChatHistory", "ResourceChunks"):
        expect(f"{table}: the row of an unknown id", _find(connection, table, unknown_id(connection, table)), None)
    for chunk_id in (*chunk_ids, chunk_ids[0]):
        insert(connection, "ContextLinks", message_id=message_id, chunk_id=chunk_id)


def get_context_links_for_message(connection: sqlite3.Connection) -> object:
    """SELECTs the chunk ids linked with one message, that of the newest link.

    Checks that a message without links gets those stored here, and an unknown message has none.
    """
    create_tables(connection)
    newest = _newest_link(connection)
    known_id = newest[0][0] if newest else 1
    links: list[Row] = [(known_id, *link) for link in _chunks(connection, known_id)]
    message_id = _unlinked(connection, "message_id")
    for chunk_id in (7, 3):
        insert(connection, "ContextLinks", message_id=message_id, chunk_id=chunk_id)
    expect("the links of a message", sorted(_chunks(connection, message_id)), [(3,), (7,)])
    expect("the links of an unknown message", _chunks(connection, message_id + 1), [])
    return _shown(sorted(links, key=repr), ("message_id", "chunk_id"))


def get_messages_for_chunk(connection: sqlite3.Connection) -> object:
    """SELECTs the messages linked with one chunk, that of the newest link.

    Checks that a message stored and linked here is among them, column for column.
    """
    create_tables(connection)
    newest = _newest_link(connection)
    chunk_id = newest[0][1] if newest else 1
    answer = _shown(sorted(_messages(connection, chunk_id)), MESSAGE_KEYS)
    message_id = insert_message(connection, role="assistant", timestamp="2025-08-09T02:21:40.306495")
    insert(connection, "ContextLinks", message_id=message_id, chunk_id=chunk_id)
    expected = (message_id, "probe", "assistant", "what is stored?", "2025-08-09T02:21:40.306495")
    expect_among("get_messages_for_chunk", _messages(connection, chunk_id), expected)
    return answer


def get_context_usage_statistics(connection: sqlite3.Connection) -> object:
    """Counts the links, their messages and chunks, and SELECTs the ten chunks linked most.

    Checks that two links of a message and a chunk without any raise the counts by as much, and the first
    chunk's count.
    """
    create_tables(connection)
    counts, most_used = _counts(connection), _most_used(connection)
    message_id, chunk_id = _unlinked(connection, "message_id"), _unlinked(connection, "chunk_id")
    for _ in range(2):
        insert(connection, "ContextLinks", message_id=message_id, chunk_id=chunk_id)
    links, messages, chunks = counts
    expect("the counts after two links more", _counts(connection), (links + 2, messages + 1, chunks + 1))
    for chunk, usage in most_used[:1]:
        found = connection.execute("SELECT COUNT(*) FROM ContextLinks WHERE chunk_id IS ?", (chunk,)).fetchone()
        expect(f"the links of chunk {chunk}", found, (usage,))
    return {**named(COUNT_KEYS, [counts])[0], "most_used_chunks": named(("chunk_id", "usage_count"), most_used)}


def _shown(rows: list[Row], keys: tuple[str, ...]) -> dict[str, object]:
    return {"count": len(rows), "first": named(keys, rows[:SHOWN])}


def _find(connection: sqlite3.Connection, table: str, row_id: int) -> Row | None:
    row: Row | None = connection.execute(f"SELECT id FROM {table} WHERE id = ?", (row_id,)).fetchone()
    return row


def _newest_link(connection: sqlite3.Connection) -> list[tuple[int, int]]:
    return connection.execute(
        "SELECT message_id, chunk_id FROM ContextLinks WHERE message_id IS NOT NULL AND chunk_id IS NOT NULL "
        "ORDER BY id DESC LIMIT 1"
    ).fetchall()


def _unlinked(connection: sqlite3.Connection, column: str) -> int:
    highest: int = connection.execute(f"SELECT COALESCE(MAX({column}), 0) FROM ContextLinks").fetchone()[0]
    return highest + 1


def _chunks(connection: sqlite3.Connection, message_id: int) -> list[tuple[int]]:
    return connection.execute("SELECT chunk_id FROM ContextLinks WHERE message_id = ?", (message_id,)).fetchall()


def _messages(connection: sqlite3.Connection, chunk_id: int) -> list[Row]:
    return connection.execute(
        "SELECT cl.message_id, ch.conversation_id, ch.role, ch.content, ch.timestamp FROM ContextLinks cl "
        "JOIN ChatHistory ch ON cl.message_id = ch.id WHERE cl.chunk_id = ?",
        (chunk_id,),
    ).fetchall()


def _counts(connection: sqlite3.Connection) -> tuple[int, int, int]:
    total = connection.execute("SELECT COUNT(*) FROM ContextLinks").fetchone()[0]
    messages = connection.execute("SELECT COUNT(DISTINCT message_id) FROM ContextLinks").fetchone()[0]
    chunks = connection.execute("SELECT COUNT(DISTINCT chunk_id) FROM ContextLinks").fetchone()[0]
    return total, messages, chunks


def _most_used(connection: sqlite3.Connection) -> list[Row]:
    return connection.execute(
        "SELECT chunk_id, COUNT(*) AS usage_count FROM ContextLinks "
        "GROUP BY chunk_id ORDER BY usage_count DESC LIMIT 10"
    ).fetchall()


PROBES = (
    Probe("build_context", None, "touches no database"),
    Probe("retrieve_by_type", retrieve_by_type),
    Probe("store_context_links", store_context_links),
    Probe("get_context_links_for_message", get_context_links_for_message),
    Probe("get_messages_for_chunk", get_messages_for_chunk),
    Probe("get_context_usage_statistics", get_context_usage_statistics),
)
