"""The four chat tools."""

from __future__ import annotations

import json
import sqlite3

from migrator.ltmc.probes.retrieval import retrieve
from migrator.ltmc.probes.rows import Row, expect, expect_among, insert_message, last_moment, named
from migrator.ltmc.probes.tables import create_tables
from migrator.probes import Probe

MESSAGE_KEYS = ("id", "conversation_id", "role", "content", "timestamp", "agent_name", "metadata", "source_tool")


def log_chat(connection: sqlite3.Connection) -> None:
    """INSERTs one row into ChatHistory: with all columns (stdio), and with the last three NULL (HTTP).

    Checks both rows read back and that the metadata is the JSON that went in.
    """
    create_tables(connection)
    metadata = {"tokens": 12, "tags": ["a", "ü"]}
    message_id = insert_message(connection, agent_name="probe", metadata=json.dumps(metadata), source_tool="probe")
    stored = connection.execute("SELECT metadata FROM ChatHistory WHERE id = ?", (message_id,)).fetchone()[0]
    expect("ChatHistory.metadata", json.loads(stored), metadata)
    insert_message(connection, agent_name=None, metadata=None, source_tool=None)


def ask_with_context(connection: sqlite3.Connection) -> object:
    """Retrieval without a type filter; writes only the row of RetrievalWeights, where it is missing.

    Embedding, FAISS and the language model are left out. Checks: see `retrieval.retrieve`.
    """
    return retrieve(connection, (None,))


def route_query(connection: sqlite3.Connection) -> object:
    """One retrieval for each of the four source types.

    Embedding, FAISS and the language model are left out. Checks: see `retrieval.retrieve`.
    """
    return retrieve(connection, ("document", "code", "chat", "todo"))


def get_chats_by_tool(connection: sqlite3.Connection) -> object:
    """SELECTs the newest messages of a source_tool, of all conversations and of one.

    Checks that a message logged here is among both, column for column.
    """
    create_tables(connection)
    source_tool, conversation_id = newest_source_tool(connection)
    answer = {
        "messages": named(MESSAGE_KEYS, _messages(connection, source_tool)),
        "of_conversation": named(MESSAGE_KEYS, _messages(connection, source_tool, conversation_id)),
    }
    latest = last_moment(connection, "ChatHistory", "timestamp")
    message_id = insert_message(
        connection, conversation_id=conversation_id, content="logged", timestamp=latest, source_tool=source_tool
    )
    expected = (message_id, conversation_id, "user", "logged", latest, None, None, source_tool)
    expect_among("get_chats_by_tool", _messages(connection, source_tool), expected)
    expect_among("get_chats_by_tool of a conversation", _messages(connection, source_tool, conversation_id), expected)
    return answer


def newest_source_tool(connection: sqlite3.Connection) -> tuple[str, str]:
    """The source_tool and conversation of the newest message that has one, or invented ones."""
    row = connection.execute(
        "SELECT source_tool, conversation_id FROM ChatHistory WHERE source_tool IS NOT NULL ORDER BY id DESC LIMIT 1"
    ).fetchone()
    return row or ("probe", "probe")


def _messages(connection: sqlite3.Connection, source_tool: str, conversation_id: str | None = None) -> list[Row]:
    condition, arguments = ("", [source_tool])
    if conversation_id is not None:
        condition, arguments = ("AND conversation_id = ? ", [source_tool, conversation_id])
    return connection.execute(
        "SELECT id, conversation_id, role, content, timestamp, agent_name, metadata, source_tool "
        f"FROM ChatHistory WHERE source_tool = ? {condition}ORDER BY timestamp DESC LIMIT ?",
        (*arguments, 100),
    ).fetchall()


PROBES = (
    Probe("log_chat", log_chat),
    Probe("ask_with_context", ask_with_context),
    Probe("route_query", route_query),
    Probe("get_chats_by_tool", get_chats_by_tool),
)
