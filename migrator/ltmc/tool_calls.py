"""How the application's 28 tools are called in its own server.

Six names have a suffix over stdio, and over HTTP some tools take fewer arguments. The order is that in which no call
stands in another's way: first what only reads, retrieval before anything adds to the vector index; complete_todo at the
end, because the application may keep the write lock after it. Ids are those of rows that are there.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from migrator.errors import RefusedError
from migrator.ltmc import tool_answers as answers
from migrator.ltmc.probes.code_patterns import TIME_RANGE_DAYS
from migrator.ltmc.probes.rows import newest_ids
from migrator.ltmc.tool_answers import VECTOR_INDEX, Copy, value
from migrator.tool_server.calls import Arguments, Backend, ServerCall, ServerTools

REDIS, NEO4J = "redis", "neo4j"
ADDRESSES = {REDIS: "localhost:6382", NEO4J: "localhost:7687"}
"""Hard-coded in the application."""
DISPOSABLE = {REDIS: "LTMC_DISPOSABLE_REDIS", NEO4J: "LTMC_DISPOSABLE_NEO4J"}
"""Environment variables: that address again, where the tools may write to the service because nobody misses what it
holds. No other address can be meant: the application would change what is at its own."""

OWN = "migration-probe"
MANY, FEW = 50, 5
KINDS = ("document", "code", "chat", "todo")


def environment(database: Path, folder: Path) -> dict[str, str]:
    """The application's variables: of the vector index, where one is named, `folder` gets a copy; no question goes to
    a paid service."""
    index = folder / VECTOR_INDEX
    in_use = Path(os.environ.get("FAISS_INDEX_PATH", ""))
    if in_use.is_file():
        shutil.copyfile(in_use, index)
    return {"DB_PATH": str(database), "FAISS_INDEX_PATH": str(index), "OPENAI_API_KEY": ""}


def backends() -> dict[str, Backend]:
    """Redis and Neo4j, where the application has them; RefusedError where another one is said to be disposable."""
    given = {name: os.environ.get(variable, "") for name, variable in DISPOSABLE.items()}
    for name, address in ADDRESSES.items():
        if given[name] not in ("", address):
            raise RefusedError(
                f"{DISPOSABLE[name]}={given[name]} is not where the application has {name}: its tools would change "
                f"{address}",
                f"leave it out; or say {address}, where nobody misses what that holds",
            )
    return {name: Backend(name, address, bool(given[name])) for name, address in ADDRESSES.items()}


def _always(**arguments: Any) -> Callable[[Copy], Arguments]:
    return lambda copy: dict(arguments)


def _newest(copy: Copy, table: str) -> int:
    return (newest_ids(copy, table, 1) or [1])[0]


def _source_tool(copy: Copy) -> str:
    return str(value(copy, "SELECT source_tool FROM ChatHistory WHERE source_tool > '' ORDER BY id DESC") or OWN)


def _kinds(copy: Copy) -> list[str]:
    """The types, of those that the tools know, that stored chunks have: the newest first."""
    rows = copy.execute(
        "SELECT r.type FROM ResourceChunks c JOIN Resources r ON r.id = c.resource_id "
        "GROUP BY r.type ORDER BY MAX(r.created_at) DESC"
    )
    return [kind for (kind,) in rows if kind in KINDS] or ["document"]


def _of_link(copy: Copy, column: str, table: str) -> int:
    """What the newest link has, else the newest row of the table that it leads to."""
    found = value(copy, f"SELECT {column} FROM ContextLinks WHERE {column} > 0 ORDER BY id DESC")
    return int(found or _newest(copy, table))


def _open_todo(copy: Copy) -> int:
    found = value(copy, "SELECT id FROM Todos WHERE completed = 0 ORDER BY id DESC")
    return int(found or _newest(copy, "Todos"))


def _message(copy: Copy) -> Arguments:
    said: Arguments = {"conversation_id": OWN, "role": "user", "content": "Is everything as it was?"}
    return {**said, "agent_name": OWN, "metadata": {"probe": True}, "source_tool": _source_tool(copy)}


def _links(copy: Copy) -> Arguments:
    return {"message_id": _newest(copy, "ChatHistory"), "chunk_ids": newest_ids(copy, "ResourceChunks", 3)}


_QUESTION = "How are rows stored?"
_MEMORY = {"file_name": f"{OWN}.md", "content": "Rows are stored in tables.", "resource_type": "document"}
_ATTEMPT: Arguments = {
    "input_prompt": "Add two numbers.",
    "generated_code": "def add(a, b):\n    return a + b",
    "result": "pass",
    "function_name": "add",
    "file_name": f"{OWN}.py",
    "module_name": OWN,
    "execution_time_ms": 1005,
    "error_message": "",
    "tags": ["probe", "größe"],
}
_DOCUMENTS = [{"title": "Rows", "content": "Rows are stored in tables.", "score": 0.5}]
_NODES = [{"id": f"{OWN}-{n}", "content": "rows stored in tables", "type": "document"} for n in (1, 2)]
_LIKE = "Todos WHERE title LIKE '%' || ?1 || '%' OR description LIKE '%' || ?1 || '%'"
_OF_TOOL = "ChatHistory WHERE source_tool = ?"
_OF_CHUNK = "ContextLinks l JOIN ChatHistory m ON m.id = l.message_id WHERE l.chunk_id = ?"
_EDGE = {"source_id": f"{OWN}-1", "target_id": f"{OWN}-2", "relation": "probes"}

CALLS = (
    ServerCall(
        "ask_with_context", _always(query=_QUESTION, conversation_id=OWN, top_k=MANY), answers.asked_with_context
    ),
    ServerCall(
        "route_query",
        lambda copy: {"query": _QUESTION, "source_types": _kinds(copy), "top_k": MANY},
        answers.routed,
    ),
    ServerCall(
        "retrieve_by_type",
        lambda copy: {"query": _QUESTION, "doc_type": _kinds(copy)[0], "top_k": MANY},
        answers.retrieved_by_type,
    ),
    ServerCall("retrieve_memory", _always(conversation_id=OWN, query=_QUESTION, top_k=3), answers.retrieved_memory),
    ServerCall(
        "get_chats_by_tool",
        lambda copy: {"source_tool": _source_tool(copy), "limit": MANY},
        answers.lists("messages", _OF_TOOL, "source_tool", limit=MANY),
    ),
    ServerCall("list_tool_identifiers", _always(), answers.identified_tools),
    ServerCall(
        "get_tool_conversations",
        lambda copy: {"source_tool": _source_tool(copy), "limit": MANY},
        answers.lists("conversations", f"(SELECT DISTINCT conversation_id FROM {_OF_TOOL})", "source_tool", limit=MANY),
    ),
    ServerCall("list_todos", _always(status="all", limit=MANY), answers.todos("Todos", limit=MANY)),
    ServerCall("search_todos", _always(query="e", limit=MANY), answers.todos(_LIKE, "query", limit=MANY)),
    ServerCall("build_context", _always(documents=_DOCUMENTS, max_tokens=4000), answers.built_context),
    ServerCall(
        "get_context_links_for_message",
        lambda copy: {"message_id": _of_link(copy, "message_id", "ChatHistory")},
        answers.lists("links", "ContextLinks WHERE message_id = ?", "message_id"),
        also_named="get_context_links_for_message_tool",
    ),
    ServerCall(
        "get_messages_for_chunk",
        lambda copy: {"chunk_id": _of_link(copy, "chunk_id", "ResourceChunks")},
        answers.lists("messages", _OF_CHUNK, "chunk_id"),
        also_named="get_messages_for_chunk_tool",
    ),
    ServerCall(
        "get_context_usage_statistics",
        _always(),
        answers.used_contexts,
        also_named="get_context_usage_statistics_tool",
    ),
    ServerCall("redis_cache_stats", _always(), answers.is_true("stats", "connected"), backend=REDIS),
    # Over stdio the application pings from another event loop, and fails now and then.
    ServerCall("redis_health_check", _always(), answers.healthy, backend=REDIS, attempts=5),
    ServerCall("query_graph", _always(entity=_EDGE["source_id"]), answers.related, backend=NEO4J),
    ServerCall(
        "get_document_relationships",
        _always(doc_id=_EDGE["source_id"]),
        answers.related,
        also_named="get_document_relationships_tool",
        backend=NEO4J,
    ),
    ServerCall("store_memory", _always(**_MEMORY), answers.stored_memory),
    ServerCall("log_chat", _message, answers.logged_chat),
    ServerCall("store_context_links", _links, answers.stored_links, also_named="store_context_links_tool"),
    ServerCall("log_code_attempt", _always(**_ATTEMPT), answers.logged_attempt),
    ServerCall("get_code_patterns", _always(query="add", top_k=FEW), answers.found_patterns),
    ServerCall(
        "analyze_code_patterns",
        _always(time_range_days=TIME_RANGE_DAYS),
        answers.analyzed_patterns,
        also_named="analyze_code_patterns_tool",
    ),
    ServerCall("add_todo", _always(title=OWN, description="Look at every row.", priority="low"), answers.added_todo),
    ServerCall(
        "link_resources", _always(**_EDGE), answers.is_true("relationship_created"), backend=NEO4J, changes_backend=True
    ),
    ServerCall(
        "auto_link_documents",
        _always(documents=_NODES),
        answers.linked_documents,
        backend=NEO4J,
        changes_backend=True,
    ),
    ServerCall("redis_flush_cache", _always(cache_type="all"), answers.flushed, backend=REDIS, changes_backend=True),
    ServerCall("complete_todo", lambda copy: {"todo_id": _open_todo(copy)}, answers.completed_todo),
)
SERVER_TOOLS = ServerTools(CALLS, environment, backends)
