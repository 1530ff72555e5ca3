"""The application's 28 tools over its tables, as small as they can be; wrong on purpose where a fault is named.

Reads DB_PATH and FAISS_INDEX_PATH; like the application it makes missing tables in every call, and opens a connection
for each. There is no model, and nothing in the index: what is retrieved are the newest chunks.
"""

import contextlib
import json
import os
import socket
import sqlite3
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from migrator.ltmc.probes.tables import create_retrieval_tables, create_tables

Answer = dict[str, Any]
TOOLS: dict[str, Any] = {}
SUFFIXED = (
    "store_context_links",
    "get_context_links_for_message",
    "get_messages_for_chunk",
    "get_context_usage_statistics",
    "get_document_relationships",
    "analyze_code_patterns",
)
BUSY_TIMEOUT_S = 0.2
LEFT_OPEN: list[sqlite3.Connection] = []


def tool(function):
    TOOLS[function.__name__] = function
    return function


@contextlib.contextmanager
def database(make=create_tables):
    connection = sqlite3.connect(os.environ["DB_PATH"], timeout=BUSY_TIMEOUT_S)
    try:
        make(connection)
        yield connection
        connection.commit()
    finally:
        connection.close()


def rows(connection, query, *values):
    found = connection.execute(query, values)
    return [dict(zip((column[0] for column in found.description), row, strict=True)) for row in found]


def now():
    return datetime.now().isoformat()  # noqa: DTZ005 - as the application does


def next_vector_id(connection):
    highest = connection.execute("SELECT MAX(last_vector_id) FROM VectorIdSequence").fetchone()[0]
    return connection.execute("INSERT INTO VectorIdSequence (last_vector_id) VALUES (?)", (highest + 1,)).lastrowid


def newest_chunks(connection, top_k, kind=None):
    found = rows(
        connection,
        "SELECT c.id, c.resource_id, c.chunk_text, r.file_name, r.type FROM ResourceChunks c "
        "JOIN Resources r ON r.id = c.resource_id ORDER BY r.created_at DESC LIMIT ?",
        top_k,
    )
    return [chunk for chunk in found if kind in (None, chunk["type"])]


def add_message(connection, conversation_id, role, content, agent_name=None, metadata=None, source_tool=None):
    metadata = json.dumps(metadata) if metadata else None
    values = (conversation_id, role, content, now(), agent_name, metadata, source_tool)
    columns = "conversation_id, role, content, timestamp, agent_name, metadata, source_tool"
    return connection.execute(f"INSERT INTO ChatHistory ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)", values).lastrowid


@tool
def store_memory(file_name: str, content: str, resource_type: str = "document") -> Answer:
    with database() as connection:
        insert = "INSERT INTO Resources (file_name, type, created_at) VALUES (?, ?, ?)"
        resource_id = connection.execute(insert, (file_name, resource_type, now())).lastrowid
        insert = "INSERT INTO ResourceChunks (resource_id, chunk_text, vector_id) VALUES (?, ?, ?)"
        connection.execute(insert, (resource_id, content, next_vector_id(connection)))
    Path(os.environ["FAISS_INDEX_PATH"]).touch()
    return {"success": True, "message": "stored", "resource_id": resource_id, "chunk_count": 1}


@tool
def retrieve_memory(conversation_id: str, query: str, top_k: int = 3) -> Answer:
    with database() as connection:
        chunks = newest_chunks(connection, top_k)
        message_id = add_message(connection, conversation_id, "user", query)
        links = [(message_id, chunk["id"]) for chunk in chunks]
        connection.executemany("INSERT INTO ContextLinks (message_id, chunk_id) VALUES (?, ?)", links)
    found = [{"chunk_id": c["id"], "resource_id": c["resource_id"], "score": 1.0} for c in chunks]
    return {"success": True, "context": "\n".join(c["chunk_text"] for c in chunks), "retrieved_chunks": found}


@tool
def log_chat(
    conversation_id: str,
    role: str,
    content: str,
    agent_name: str | None = None,
    metadata: dict[str, Any] | None = None,
    source_tool: str | None = None,
) -> Answer:
    with database() as connection:
        message_id = add_message(connection, conversation_id, role, content, agent_name, metadata, source_tool)
    return {"success": True, "message_id": message_id}


@tool
def ask_with_context(query: str, conversation_id: str, top_k: int = 5) -> Answer:
    with database(create_retrieval_tables) as connection:
        chunks = newest_chunks(connection, top_k)
    if not chunks:
        return {"success": False, "error": "No relevant documents found"}
    texts = "\n".join(c["chunk_text"] for c in chunks)
    return {"success": True, "query": query, "context": texts, "answer": "There is.", "documents_used": len(chunks)}


@tool
def route_query(query: str, source_types: list[str], top_k: int = 5) -> Answer:
    with database(create_retrieval_tables) as connection:
        chunks = [c for kind in source_types for c in newest_chunks(connection, top_k, kind)]
    if not chunks:
        return {"success": False, "error": "No relevant documents found in any source"}
    used = "documents_used" if len(source_types) == 1 else "total_documents"
    return {"success": True, "query": query, used: len(chunks)}


@tool
def get_chats_by_tool(source_tool: str, limit: int = 100) -> Answer:
    with database() as connection:
        query = "SELECT * FROM ChatHistory WHERE source_tool = ? ORDER BY timestamp DESC LIMIT ?"
        messages = rows(connection, query, source_tool, limit)
    return {"success": True, "messages": messages, "count": len(messages), "source_tool": source_tool}


@tool
def add_todo(title: str, description: str, priority: str = "medium") -> Answer:
    with database() as connection:
        insert = "INSERT INTO Todos (title, description, priority, completed, created_at) VALUES (?, ?, ?, 0, ?)"
        todo_id = connection.execute(insert, (title, description, priority, now())).lastrowid
    return {"success": True, "todo_id": todo_id, "message": "added"}


TODO_COLUMNS = "id, title, description, priority, completed, created_at"
"""By name, unlike the application: this server is one for every version of the table."""


@tool
def list_todos(status: str = "all", limit: int = 10) -> Answer:
    with database() as connection:
        todos = rows(connection, f"SELECT {TODO_COLUMNS} FROM Todos ORDER BY created_at DESC LIMIT ?", limit)
    return {"success": True, "todos": todos, "count": len(todos)}


@tool
def complete_todo(todo_id: int) -> Answer:
    with database() as connection:
        if not connection.execute("UPDATE Todos SET completed = 1 WHERE id = ?", (todo_id,)).rowcount:
            return {"success": False, "error": "Todo not found"}
    return {"success": True, "message": "completed"}


@tool
def search_todos(query: str, limit: int = 10) -> Answer:
    like = f"%{query}%"
    with database() as connection:
        select = "SELECT * FROM Todos WHERE title LIKE ? OR description LIKE ? ORDER BY created_at DESC LIMIT ?"
        todos = rows(connection, select, like, like, limit)
    return {"success": True, "todos": todos, "count": len(todos)}


@tool
def build_context(documents: list[dict[str, Any]], max_tokens: int = 4000) -> Answer:
    context = "\n".join(f"Title: {d['title']}\nContent: {d['content']}" for d in documents)
    return {"success": True, "context": context, "token_count": 9, "documents_processed": len(documents)}


@tool
def retrieve_by_type(query: str, doc_type: str, top_k: int = 5) -> Answer:
    with database(create_retrieval_tables) as connection:
        documents = newest_chunks(connection, top_k, doc_type)
    return {"success": True, "documents": documents, "count": len(documents)}


@tool
def store_context_links(message_id: int, chunk_ids: list[int]) -> Answer:
    with database() as connection:
        for chunk_id in chunk_ids:
            connection.execute("INSERT INTO ContextLinks (message_id, chunk_id) VALUES (?, ?)", (message_id, chunk_id))
    return {"success": True, "links_created": len(chunk_ids), "message_id": message_id}


@tool
def get_context_links_for_message(message_id: int) -> Answer:
    with database() as connection:
        links = rows(connection, "SELECT message_id, chunk_id FROM ContextLinks WHERE message_id = ?", message_id)
    return {"success": True, "links": links, "count": len(links)}


@tool
def get_messages_for_chunk(chunk_id: int) -> Answer:
    join = "SELECT m.* FROM ContextLinks l JOIN ChatHistory m ON m.id = l.message_id WHERE l.chunk_id = ?"
    with database() as connection:
        messages = rows(connection, join, chunk_id)
    return {"success": True, "messages": messages, "count": len(messages)}


@tool
def get_context_usage_statistics() -> Answer:
    counted = "COUNT(*) AS total_context_links, COUNT(DISTINCT message_id) AS unique_messages"
    with database() as connection:
        query = f"SELECT {counted}, COUNT(DISTINCT chunk_id) AS unique_chunks_used FROM ContextLinks"
        return {"success": True, "statistics": rows(connection, query)[0]}


def without_neo4j() -> Answer:
    return {"success": False, "error": "Neo4j not available"}


@tool
def link_resources(source_id: str, target_id: str, relation: str) -> Answer:
    return without_neo4j()


@tool
def query_graph(entity: str, relation_type: str = "") -> Answer:
    return without_neo4j()


@tool
def auto_link_documents(documents: list[dict[str, Any]]) -> Answer:
    return without_neo4j()


@tool
def get_document_relationships(doc_id: str) -> Answer:
    return without_neo4j()


@tool
def list_tool_identifiers() -> Answer:
    query = "SELECT source_tool AS identifier, COUNT(*) AS message_count FROM ChatHistory "
    with database() as connection:
        tools = rows(connection, query + "WHERE source_tool IS NOT NULL GROUP BY source_tool ORDER BY 2 DESC")
    return {"success": True, "tools": tools, "total_tools": len(tools)}


@tool
def get_tool_conversations(source_tool: str, limit: int = 50) -> Answer:
    query = "SELECT conversation_id, COUNT(*) AS message_count FROM ChatHistory WHERE source_tool = ? "
    with database() as connection:
        conversations = rows(connection, query + "GROUP BY 1 LIMIT ?", source_tool, limit)
    return {"success": True, "conversations": conversations, "count": len(conversations)}


PATTERN_COLUMNS = (
    "id, function_name, file_name, module_name, input_prompt, generated_code, result, execution_time_ms, "
    "error_message, tags, created_at, vector_id"
)


@tool
def log_code_attempt(
    input_prompt: str,
    generated_code: str,
    result: str,
    function_name: str | None = None,
    file_name: str | None = None,
    module_name: str | None = None,
    execution_time_ms: int | None = None,
    error_message: str | None = None,
    tags: list[str] | None = None,
) -> Answer:
    values = [function_name, file_name, module_name, input_prompt, generated_code, result, execution_time_ms]
    values += [error_message, json.dumps(tags), now()]
    with database() as connection:
        marks = ", ".join("?" * 11)
        insert = f"INSERT INTO CodePatterns ({PATTERN_COLUMNS.removeprefix('id, ')}) VALUES ({marks})"
        pattern_id = connection.execute(insert, (*values, next_vector_id(connection))).lastrowid
    return {"success": True, "pattern_id": pattern_id, "message": "logged"}


@tool
def get_code_patterns(query: str, top_k: int = 5) -> Answer:
    with database() as connection:
        select = f"SELECT {PATTERN_COLUMNS} FROM CodePatterns ORDER BY created_at DESC LIMIT ?"
        patterns = rows(connection, select, top_k)
    return {"success": True, "patterns": patterns, "count": len(patterns), "query": query}


@tool
def analyze_code_patterns(time_range_days: int = 30) -> Answer:
    counted = ", ".join(f"SUM(result = '{name}') AS {name}_count" for name in ("pass", "fail", "partial"))
    select = f"SELECT COUNT(*) AS total_patterns, {counted}, AVG(execution_time_ms) AS avg_execution_time "
    with database() as connection:
        recent = "FROM CodePatterns WHERE created_at >= datetime('now', ?)"
        return {"success": True, **rows(connection, select + recent, f"-{time_range_days} days")[0]}


def redis(command: str) -> str | None:
    """The first line of what Redis answers to an inline command (redis.io/docs, protocol); None without one."""
    host, _, port = os.environ.get("LTMC_REDIS_OF_THE_TESTS", "localhost:6382").rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=1) as connection:
            connection.sendall(f"{command}\r\n".encode())
            return connection.makefile("rb").readline().decode().strip()
    except OSError:
        return None


@tool
def redis_cache_stats() -> Answer:
    keys = redis("DBSIZE")
    return {"success": True, "stats": {"connected": keys is not None, "total_keys": int((keys or ":0")[1:])}}


@tool
def redis_flush_cache(cache_type: str = "all") -> Answer:
    flushed = int((redis("DBSIZE") or ":0")[1:])
    return {"success": redis("FLUSHDB") == "+OK", "result": {"total_flushed": flushed}}


@tool
def redis_health_check() -> Answer:
    healthy = redis("PING") == "+PONG"
    return {"success": True, "health": {"healthy": healthy, "connected": healthy}}
