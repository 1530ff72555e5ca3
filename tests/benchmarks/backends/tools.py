"""The statements of the 20 tools that touch the database, one after the other as the application sends them.

A test holds them against the statements of the tools' probes; what a probe adds to check itself is left out, and so are
embeddings and FAISS.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle

from migrator.ltmc.probes.tables import create_retrieval_tables, create_tables

MOMENT = "2026-01-01T00:00:00.000001"
TOP_K = 5
CHUNKS = ("The first part of what is stored.", "The second part: größer als 名前.")


@dataclass(frozen=True)
class Given:
    """What callers would ask for; read from the data once, the same for every backend.

    `todo_ids`: of pending ones. To complete one that is completed already is no write to SQLite, which skips it.
    """

    vector_ids: list[int]
    message_id: int
    chunk_ids: list[int]
    todo_ids: Iterator[int]
    words: str
    source_tool: str


@dataclass(frozen=True)
class Tool:
    """`first` is what the application does before the tool's own statements, at every call.

    `call` leaves the last commit to its caller.
    """

    name: str
    call: Callable[..., object]
    first: Callable[..., None] = create_tables


def given(connection):
    def values(sql):
        return [row[0] for row in connection.execute(sql)]

    source_tool = "SELECT source_tool FROM ChatHistory WHERE source_tool IS NOT NULL ORDER BY id DESC LIMIT 1"
    found = Given(
        vector_ids=values(f"SELECT vector_id FROM ResourceChunks ORDER BY vector_id DESC LIMIT {TOP_K}"),
        message_id=values("SELECT message_id FROM ContextLinks ORDER BY id DESC LIMIT 1")[0],
        chunk_ids=values("SELECT id FROM ResourceChunks ORDER BY id DESC LIMIT 3"),
        todo_ids=cycle(values("SELECT id FROM Todos WHERE completed = 0 ORDER BY id DESC")),
        words=values("SELECT title FROM Todos ORDER BY id DESC LIMIT 1")[0].split(":")[0].lower(),
        source_tool=values(source_tool)[0],
    )
    connection.commit()
    return found


def store_memory(c, given):
    """Each step commits on its own; the other tools commit once, at the end."""
    resource_id = _insert(c, "Resources", file_name="notes.md", type="document", created_at=MOMENT)
    c.commit()
    return [resource_id, *(_store_chunk(c, resource_id, text) for text in CHUNKS)]


def retrieve_memory(c, given):
    vector_ids = given.vector_ids[:3]
    chunks = _rows(
        c,
        "SELECT id, resource_id, chunk_text, vector_id FROM ResourceChunks "
        f"WHERE vector_id IN ({', '.join('?' * len(vector_ids))}) ORDER BY vector_id",
        *vector_ids,
    )
    files = [_rows(c, "SELECT file_name FROM Resources WHERE id = ?", resource_id) for _, resource_id, _, _ in chunks]
    message_id = _message(c, "what is stored?")
    for chunk in chunks:
        _insert(c, "ContextLinks", message_id=message_id, chunk_id=chunk[0])
    return chunks, files


def log_chat(c, given):
    more = {"agent_name": "agent", "metadata": json.dumps({"tokens": 12}), "source_tool": given.source_tool}
    return _message(c, "a line of a conversation, of about eighty characters, as most of them are", **more)


def ask_with_context(c, given):
    return _retrieve(c, given)


def route_query(c, given):
    """One retrieval for each of the four source types."""
    return [_retrieve(c, given, kind) for kind in ("document", "code", "chat", "todo")]


def get_chats_by_tool(c, given):
    return _rows(
        c,
        "SELECT id, conversation_id, role, content, timestamp, agent_name, metadata, source_tool "
        "FROM ChatHistory WHERE source_tool = ? ORDER BY timestamp DESC LIMIT ?",
        given.source_tool,
        100,
    )


def add_todo(c, given):
    values = {"title": "A task", "description": "What is to be done", "priority": "high", "completed": 0}
    return _insert(c, "Todos", **values, created_at=MOMENT)


def list_todos(c, given):
    return _rows(c, "SELECT * FROM Todos ORDER BY created_at DESC LIMIT ?", 10)


def complete_todo(c, given):
    return c.execute("UPDATE Todos SET completed = ? WHERE id = ?", (1, next(given.todo_ids))).rowcount


def search_todos(c, given):
    query = "SELECT * FROM Todos WHERE title LIKE ? OR description LIKE ? ORDER BY created_at DESC LIMIT ?"
    return _rows(c, query, f"%{given.words}%", f"%{given.words}%", 10)


def retrieve_by_type(c, given):
    return _retrieve(c, given, "document")


def store_context_links(c, given):
    found = [_rows(c, "SELECT id FROM ChatHistory WHERE id = ?", given.message_id)]
    found += [_rows(c, "SELECT id FROM ResourceChunks WHERE id = ?", chunk_id) for chunk_id in given.chunk_ids]
    links = [_insert(c, "ContextLinks", message_id=given.message_id, chunk_id=n) for n in given.chunk_ids]
    return found, links


def get_context_links_for_message(c, given):
    return sorted(_rows(c, "SELECT chunk_id FROM ContextLinks WHERE message_id = ?", given.message_id))


def get_messages_for_chunk(c, given):
    query = (
        "SELECT cl.message_id, ch.conversation_id, ch.role, ch.content, ch.timestamp FROM ContextLinks cl "
        "JOIN ChatHistory ch ON cl.message_id = ch.id WHERE cl.chunk_id = ?"
    )
    return sorted(_rows(c, query, given.chunk_ids[-1]))


def get_context_usage_statistics(c, given):
    """Of the ten chunks linked most the counts: which of two equal ones comes tenth, SQL leaves open."""
    counts = [
        _rows(c, f"SELECT {count} FROM ContextLinks")
        for count in ("COUNT(*)", "COUNT(DISTINCT message_id)", "COUNT(DISTINCT chunk_id)")
    ]
    most_used = (
        "SELECT chunk_id, COUNT(*) AS usage_count FROM ContextLinks "
        "GROUP BY chunk_id ORDER BY usage_count DESC LIMIT 10"
    )
    return counts, [count for _, count in _rows(c, most_used)]


def list_tool_identifiers(c, given):
    query = (
        "SELECT source_tool, COUNT(*) AS message_count, COUNT(DISTINCT conversation_id), MIN(timestamp), "
        "MAX(timestamp) FROM ChatHistory WHERE source_tool IS NOT NULL GROUP BY source_tool ORDER BY message_count DESC"
    )
    return _rows(c, query)


def get_tool_conversations(c, given):
    """The roles of a conversation come in any order."""
    query = (
        "SELECT conversation_id, COUNT(*), MIN(timestamp), MAX(timestamp) AS last_activity, "
        "GROUP_CONCAT(DISTINCT role) FROM ChatHistory WHERE source_tool = ? "
        "GROUP BY conversation_id ORDER BY last_activity DESC LIMIT ?"
    )
    return [(*row[:4], sorted(row[4].split(","))) for row in _rows(c, query, given.source_tool, 50)]


def log_code_attempt(c, given):
    vector_id = _next_vector_id(c)
    values = {
        "function_name": "connect", "file_name": "app.py", "module_name": "app", "input_prompt": "Connect.",
        "generated_code": "def connect(path): ...", "result": "pass", "execution_time_ms": 12, "error_message": "",
        "tags": '["sqlite"]', "created_at": MOMENT, "vector_id": vector_id,
    }  # fmt: skip
    return _insert(c, "CodePatterns", **values), vector_id


def get_code_patterns(c, given):
    query = (
        "SELECT id, function_name, file_name, module_name, input_prompt, generated_code, result, execution_time_ms, "
        "error_message, tags, created_at, vector_id FROM CodePatterns ORDER BY created_at DESC, id DESC LIMIT ?"
    )
    return _rows(c, query, TOP_K)


def analyze_code_patterns(c, given):
    query = (
        "SELECT COUNT(*), SUM(CASE WHEN result = 'pass' THEN 1 ELSE 0 END), "
        "SUM(CASE WHEN result = 'fail' THEN 1 ELSE 0 END), SUM(CASE WHEN result = 'partial' THEN 1 ELSE 0 END), "
        "AVG(execution_time_ms) FROM CodePatterns WHERE created_at >= datetime('now', ?)"
    )
    ((*counts, average),) = _rows(c, query, "-30 days")
    # Each adds the times up in an order of its own.
    return counts, round(average, 6)


TOOLS = (
    Tool("store_memory", store_memory),
    Tool("retrieve_memory", retrieve_memory),
    Tool("log_chat", log_chat),
    Tool("ask_with_context", ask_with_context, create_retrieval_tables),
    Tool("route_query", route_query, create_retrieval_tables),
    Tool("get_chats_by_tool", get_chats_by_tool),
    Tool("add_todo", add_todo),
    Tool("list_todos", list_todos),
    Tool("complete_todo", complete_todo),
    Tool("search_todos", search_todos),
    Tool("retrieve_by_type", retrieve_by_type, create_retrieval_tables),
    Tool("store_context_links", store_context_links),
    Tool("get_context_links_for_message", get_context_links_for_message),
    Tool("get_messages_for_chunk", get_messages_for_chunk),
    Tool("get_context_usage_statistics", get_context_usage_statistics),
    Tool("list_tool_identifiers", list_tool_identifiers),
    Tool("get_tool_conversations", get_tool_conversations),
    Tool("log_code_attempt", log_code_attempt),
    Tool("get_code_patterns", get_code_patterns),
    Tool("analyze_code_patterns", analyze_code_patterns),
)
LOG_CHAT, LIST_TODOS = (next(tool for tool in TOOLS if tool.name == name) for name in ("log_chat", "list_todos"))


def call_kept(connection, tool, given):
    """On a connection that is kept open, whose tables are known to be there."""
    answer = tool.call(connection, given)
    connection.commit()
    return answer


def call_as_the_application(connect, tool, given):
    """A connection for each call, and on it first the tables: created where missing, as the application does."""
    connection = connect()
    try:
        tool.first(connection)
        connection.commit()
        return call_kept(connection, tool, given)
    finally:
        connection.close()


def _rows(c, query, *arguments):
    return c.execute(query, arguments).fetchall()


def _insert(c, table, **values):
    marks = ", ".join("?" * len(values))
    return c.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", tuple(values.values())).lastrowid


def _message(c, content, **more):
    return _insert(c, "ChatHistory", conversation_id="bench", role="user", content=content, timestamp=MOMENT, **more)


def _next_vector_id(c):
    highest = c.execute("SELECT COALESCE(MAX(last_vector_id), 0) FROM VectorIdSequence").fetchone()[0]
    vector_id = _insert(c, "VectorIdSequence", last_vector_id=highest + 1)
    c.commit()
    return vector_id


def _store_chunk(c, resource_id, text):
    vector_id = _next_vector_id(c)
    chunk_id = _insert(c, "ResourceChunks", resource_id=resource_id, chunk_text=text, vector_id=vector_id)
    c.commit()
    return chunk_id, vector_id


def _retrieve(c, given, kind=None):
    """One SELECT for each vector id; the type is filtered afterwards."""
    weights = _rows(c, "SELECT alpha, beta, gamma, delta, epsilon FROM RetrievalWeights WHERE id = 1")
    columns = {row[1] for row in c.execute("PRAGMA table_info(ResourceChunks)")}
    archived = "COALESCE(rc.archived, 0)" if "archived" in columns else "0"
    query = (
        f"SELECT rc.chunk_text, r.file_name, r.type, r.created_at, rc.id, {archived} "
        "FROM ResourceChunks rc JOIN Resources r ON rc.resource_id = r.id WHERE rc.vector_id = ?"
    )
    documents = [row for vector_id in given.vector_ids for row in _rows(c, query, vector_id)]
    return weights, [row for row in documents if kind in (None, row[2])]
