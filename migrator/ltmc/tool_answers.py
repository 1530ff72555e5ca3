"""What each of the application's tools must have done when its server answers with success.

No tool is trusted: what it says to have written is looked for in the copy, and what it lists is counted there.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from migrator.errors import ProbeError
from migrator.ltmc.probes.code_patterns import PATTERN_KEYS, TIME_RANGE_DAYS
from migrator.ltmc.probes.rows import expect
from migrator.tool_server.calls import Answer, Arguments, Check

Copy = sqlite3.Connection
"""The copy that the server works on, to read from."""
VECTOR_INDEX = "faiss_index"
"""The name of the vector index that the server is given, beside the copy."""


def value(copy: Copy, query: str, *values: object) -> Any:
    """The first column of the first row; None without one."""
    row = copy.execute(query, values).fetchone()
    return None if row is None else row[0]


def count(copy: Copy, source: str, *values: object) -> int:
    """The number of rows of `source`, which is what comes after FROM."""
    return int(value(copy, f"SELECT COUNT(*) FROM {source}", *values))


def is_true(*path: str) -> Check:
    """A check: the value inside the answer is true."""

    def check(copy: Copy, asked: Arguments, answer: Answer) -> None:
        found: Any = answer
        for key in path:
            found = found[key]
        expect(".".join(path), found, True)

    return check


def lists(key: str, source: str, *named: str, limit: int | None = None) -> Check:
    """A check: the answer has as many entries as `source` has rows for the arguments `named`, up to `limit`."""

    def check(copy: Copy, asked: Arguments, answer: Answer) -> None:
        there = count(copy, source, *(asked[name] for name in named))
        expect(f"the count of {key}", answer["count"], there if limit is None else min(there, limit))
        expect(f"the length of {key}", len(answer[key]), answer["count"])

    return check


def _expect_row(copy: Copy, table: str, row_id: object, **columns: object) -> None:
    """Raises ProbeError unless the row of that id is committed and holds these values."""
    row = copy.execute(f"SELECT {', '.join(columns)} FROM {table} WHERE id = ?", (row_id,)).fetchone()
    if row is None:
        raise ProbeError(f"it says success, and {table} has no row of the id that it answers")
    for (column, wanted), found in zip(columns.items(), row, strict=True):
        expect(f"{table}.{column}", found, wanted)


def stored_memory(copy: Copy, asked: Arguments, answer: Answer) -> None:
    """The resource is there with as many chunks as it says, and an index is where the server was told to have it."""
    _expect_row(copy, "Resources", answer["resource_id"], file_name=asked["file_name"])
    chunks = count(copy, "ResourceChunks WHERE resource_id = ?", answer["resource_id"])
    expect("the number of stored chunks", (chunks, chunks > 0), (answer["chunk_count"], True))
    folder = Path(copy.execute("PRAGMA database_list").fetchone()[2]).parent
    if not (folder / VECTOR_INDEX).exists():
        raise ProbeError("it says success, and there is no vector index at the FAISS_INDEX_PATH that it was given")


def retrieved_memory(copy: Copy, asked: Arguments, answer: Answer) -> None:
    """Its chunks are there, and with any the question is stored; with an empty index it writes nothing."""
    chunks = answer["retrieved_chunks"] if answer["context"] else []
    for chunk in chunks:
        _expect_row(copy, "ResourceChunks", chunk["chunk_id"], resource_id=chunk["resource_id"])
    same = "ChatHistory WHERE conversation_id = ? AND content = ?"
    if chunks:
        expect("that the question is stored", count(copy, same, asked["conversation_id"], asked["query"]) > 0, True)


def logged_chat(copy: Copy, asked: Arguments, answer: Answer) -> None:
    """The three texts are there: over HTTP the application puts them into each other's columns."""
    query = "SELECT conversation_id, role, content FROM ChatHistory WHERE id = ?"
    row = copy.execute(query, (answer["message_id"],)).fetchone()
    given = [asked[name] for name in ("conversation_id", "role", "content")]
    expect("the stored message", sorted(map(str, row or ())), sorted(given))


def asked_with_context(copy: Copy, asked: Arguments, answer: Answer) -> None:
    """There is an answer from documents."""
    used = bool(answer["context"]), bool(answer["answer"]), answer["documents_used"] > 0
    expect("that there are context, answer and documents", used, (True, True, True))


def routed(copy: Copy, asked: Arguments, answer: Answer) -> None:
    """It found documents; for one type it answers as for none."""
    key = "documents_used" if len(asked["source_types"]) == 1 else "total_documents"
    expect(f"that {key} is above 0", answer[key] > 0, True)


def retrieved_by_type(copy: Copy, asked: Arguments, answer: Answer) -> None:
    """It found documents where there are any: the tool swallows its own errors and answers that there is nothing."""
    expect("the length of documents", len(answer["documents"]), answer["count"])
    source = "ResourceChunks c JOIN Resources r ON r.id = c.resource_id WHERE r.type = ?"
    expect("that documents are found", answer["count"] > 0, count(copy, source, asked["doc_type"]) > 0)


def added_todo(copy: Copy, asked: Arguments, answer: Answer) -> None:
    """The todo is there."""
    _expect_row(copy, "Todos", answer["todo_id"], title=asked["title"], completed=0)


def completed_todo(copy: Copy, asked: Arguments, answer: Answer) -> None:
    """The todo is completed, for every connection."""
    _expect_row(copy, "Todos", asked["todo_id"], completed=1)


def todos(source: str, *named: str, limit: int) -> Check:
    """A check as of `lists`, of a tool that takes columns by their position: each value is that of its own column."""
    as_many = lists("todos", source, *named, limit=limit)

    def check(copy: Copy, asked: Arguments, answer: Answer) -> None:
        as_many(copy, asked, answer)
        for todo in answer["todos"]:
            columns = ("title", "priority", "created_at")
            _expect_row(copy, "Todos", todo["id"], **{column: todo[column] for column in columns})

    return check


def built_context(copy: Copy, asked: Arguments, answer: Answer) -> None:
    """The context has the documents."""
    expect("documents_processed", answer["documents_processed"], len(asked["documents"]))
    expect("that the context has the content", asked["documents"][0]["content"] in answer["context"], True)


def stored_links(copy: Copy, asked: Arguments, answer: Answer) -> None:
    """A link to each chunk is there."""
    chunk_ids = asked["chunk_ids"]
    expect("links_created", answer["links_created"], len(chunk_ids))
    for chunk_id in chunk_ids:
        source = "ContextLinks WHERE message_id = ? AND chunk_id = ?"
        expect(f"a link to chunk {chunk_id}", count(copy, source, int(asked["message_id"]), chunk_id) > 0, True)


def used_contexts(copy: Copy, asked: Arguments, answer: Answer) -> None:
    """Its counts are those of the table."""
    columns = {"total_context_links": "*", "unique_messages": "DISTINCT message_id"}
    for key, counted in {**columns, "unique_chunks_used": "DISTINCT chunk_id"}.items():
        expect(key, answer["statistics"][key], value(copy, f"SELECT COUNT({counted}) FROM ContextLinks"))


def identified_tools(copy: Copy, asked: Arguments, answer: Answer) -> None:
    """Every source_tool is listed with its number of messages."""
    told = {tool["identifier"]: tool["message_count"] for tool in answer["tools"]}
    stored = copy.execute("SELECT source_tool, COUNT(*) FROM ChatHistory WHERE source_tool > '' GROUP BY 1")
    for name, messages in stored.fetchall():
        expect("the message_count of a source_tool", told.get(name), messages)


def logged_attempt(copy: Copy, asked: Arguments, answer: Answer) -> None:
    """The pattern is there, its time in milliseconds."""
    columns = ("function_name", "input_prompt", "generated_code", "result", "execution_time_ms")
    _expect_row(copy, "CodePatterns", answer["pattern_id"], **{column: asked[column] for column in columns})


def found_patterns(copy: Copy, asked: Arguments, answer: Answer) -> None:
    """The patterns have the new columns, with the values that are there."""
    lists("patterns", "CodePatterns", limit=asked["top_k"])(copy, asked, answer)
    for pattern in answer["patterns"]:
        expect("the keys of a pattern", sorted(pattern), sorted(PATTERN_KEYS))
        columns = ("input_prompt", "result", "execution_time_ms", "vector_id")
        _expect_row(copy, "CodePatterns", pattern["id"], **{column: pattern[column] for column in columns})


def analyzed_patterns(copy: Copy, asked: Arguments, answer: Answer) -> None:
    """It counts the patterns of the last 30 days."""
    recent = "CodePatterns WHERE created_at >= datetime('now', ?)"
    expect("total_patterns", answer["total_patterns"], count(copy, recent, f"-{TIME_RANGE_DAYS} days"))
    parts = sum(answer[key] or 0 for key in ("pass_count", "fail_count", "partial_count"))
    expect("that the results are no more than all", parts <= answer["total_patterns"], True)


def related(copy: Copy, asked: Arguments, answer: Answer) -> None:
    """It lists as many relationships as it counts."""
    expect("the length of relationships", len(answer["relationships"]), answer["count"])


def linked_documents(copy: Copy, asked: Arguments, answer: Answer) -> None:
    """It looked at all of them."""
    expect("documents_processed", answer["documents_processed"], len(asked["documents"]))


def healthy(copy: Copy, asked: Arguments, answer: Answer) -> None:
    """Its Redis answers it: success alone says nothing."""
    is_true("health", "connected")(copy, asked, answer)
    is_true("health", "healthy")(copy, asked, answer)


def flushed(copy: Copy, asked: Arguments, answer: Answer) -> None:
    """It counts what it flushed."""
    expect("that total_flushed is a number", answer["result"]["total_flushed"] >= 0, True)
