"""The application's own retrieval: chunks joined with their resource, one SELECT per vector id.

Scores depend on the clock and on FAISS distances; the probes take the weights and the documents only,
and the newest vector ids stored in place of a FAISS search.
"""

from __future__ import annotations

import sqlite3

from migrator.ltmc.probes.memory import newest_vector_ids
from migrator.ltmc.probes.rows import (
    Row,
    expect,
    expect_among,
    insert,
    insert_chunk,
    named,
    now,
    unused_vector_id,
)
from migrator.ltmc.probes.tables import create_retrieval_tables

DOCUMENT_KEYS = ("content", "title", "type", "created_at", "chunk_id", "archived")
TOP_K = 5


def retrieve(connection: sqlite3.Connection, kinds: tuple[str | None, ...]) -> dict[str, object]:
    """Retrieves once per kind (None: without the type filter) as ask_with_context, route_query and
    retrieve_by_type do, and returns weights and documents.

    Checks that a chunk stored here is found under its vector id, for its own type and no other.
    """
    create_retrieval_tables(connection)
    vector_ids = newest_vector_ids(connection, TOP_K)
    answer: dict[str, object] = {"weights": _weights(connection)}
    for kind in kinds:
        answer[kind or "any"] = named(DOCUMENT_KEYS, _documents(connection, vector_ids, kind))
    _check_stored_chunk(connection, kinds)
    return answer


def _weights(connection: sqlite3.Connection) -> list[float]:
    row = connection.execute("SELECT alpha, beta, gamma, delta, epsilon FROM RetrievalWeights WHERE id = 1").fetchone()
    expect("RetrievalWeights: the types of its row", [type(weight).__name__ for weight in row or ()], ["float"] * 5)
    return list(row)


def _documents(connection: sqlite3.Connection, vector_ids: list[int], kind: str | None) -> list[Row]:
    columns = {row[1] for row in connection.execute("PRAGMA table_info(ResourceChunks)")}
    archived = "COALESCE(rc.archived, 0)" if "archived" in columns else "0"
    query = (
        f"SELECT rc.chunk_text, r.file_name, r.type, r.created_at, rc.id, {archived} "
        "FROM ResourceChunks rc JOIN Resources r ON rc.resource_id = r.id WHERE rc.vector_id = ?"
    )
    found: list[Row] = []
    for vector_id in vector_ids:
        found += connection.execute(query, (vector_id,)).fetchall()
    return [row for row in found if kind in (None, row[2])]


def _check_stored_chunk(connection: sqlite3.Connection, kinds: tuple[str | None, ...]) -> None:
    created_at = now()
    stored_kind = kinds[0] or "document"
    resource_id = insert(connection, "Resources", file_name="probe.md", type=stored_kind, created_at=created_at)
    unused = unused_vector_id(connection, "ResourceChunks")
    chunk_id, vector_id = insert_chunk(connection, resource_id, "Stored text.", unused)
    expected = ("Stored text.", "probe.md", stored_kind, created_at, chunk_id, 0)
    expect_among("the retrieved documents", _documents(connection, [vector_id], kinds[0]), expected)
    for other in kinds[1:]:
        expect(f"the documents of type {other}", _documents(connection, [vector_id], other), [])
