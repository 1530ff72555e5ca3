"""The two tools that tell which program talked with the application."""

from __future__ import annotations

import sqlite3

from migrator.ltmc.probes.chat import newest_source_tool
from migrator.ltmc.probes.rows import Row, expect, expect_among, insert_message, last_moment, named
from migrator.ltmc.probes.tables import create_tables
from migrator.probes import Probe

TOOL_KEYS = ("identifier", "message_count", "conversation_count", "first_used", "last_used")
CONVERSATION_KEYS = ("conversation_id", "message_count", "started_at", "last_activity", "roles")
NEW_TOOL = "a tool of the probe's own"
NEW_CONVERSATION = "a conversation of the probe's own"
FIRST_MOMENT = "2025-08-09T02:21:40.306495"


def list_tool_identifiers(connection: sqlite3.Connection) -> object:
    """Aggregates ChatHistory by source_tool: messages, conversations, first and last time.

    Checks that the counts add up to an independent count and that a message logged here is in them.
    """
    create_tables(connection)
    latest = last_moment(connection, "ChatHistory", "timestamp")
    for timestamp in (FIRST_MOMENT, latest):
        insert_message(connection, timestamp=timestamp, source_tool=NEW_TOOL)
    tools = _tools(connection)
    total = connection.execute("SELECT COUNT(*) FROM ChatHistory WHERE source_tool IS NOT NULL").fetchone()[0]
    expect("the messages of all tools", sum(count for _, count, *_ in tools), total)
    expected = (NEW_TOOL, 2, 1, FIRST_MOMENT, latest)
    expect_among("list_tool_identifiers", tools, expected)
    tools.remove(expected)
    return {"tools": named(TOOL_KEYS, tools), "total_tools": len(tools), "total_messages": total - 2}


def get_tool_conversations(connection: sqlite3.Connection) -> object:
    """Aggregates ChatHistory by conversation for one source_tool, the newest one: messages, times, roles.

    Checks the aggregates of a conversation of two messages logged here.
    """
    create_tables(connection)
    source_tool, _ = newest_source_tool(connection)
    answer = named(CONVERSATION_KEYS, _conversations(connection, source_tool))
    latest = last_moment(connection, "ChatHistory", "timestamp")
    for role in ("user", "assistant"):
        insert_message(
            connection,
            conversation_id=NEW_CONVERSATION,
            role=role,
            timestamp=latest,
            source_tool=source_tool,
        )
    expected = (NEW_CONVERSATION, 2, latest, latest, ["assistant", "user"])
    expect_among("get_tool_conversations", _conversations(connection, source_tool), expected)
    return answer


def _tools(connection: sqlite3.Connection) -> list[tuple[str, int, int, str | bytes, str | bytes]]:
    """Sorted by name here: the tool's order leaves open which of two equal counts comes first."""
    rows = connection.execute(
        "SELECT source_tool, COUNT(*) AS message_count, COUNT(DISTINCT conversation_id), MIN(timestamp), "
        "MAX(timestamp) FROM ChatHistory WHERE source_tool IS NOT NULL GROUP BY source_tool ORDER BY message_count DESC"
    ).fetchall()
    return sorted(rows, key=repr)


def _conversations(connection: sqlite3.Connection, source_tool: str) -> list[Row]:
    rows = connection.execute(
        "SELECT conversation_id, COUNT(*), MIN(timestamp), MAX(timestamp) AS last_activity, "
        "GROUP_CONCAT(DISTINCT role) FROM ChatHistory WHERE source_tool = ? "
        "GROUP BY conversation_id ORDER BY last_activity DESC LIMIT ?",
        (source_tool, 50),
    ).fetchall()
    return [(*row[:4], sorted(str(row[4]).split(","))) for row in rows]


PROBES = (
    Probe("list_tool_identifiers", list_tool_identifiers),
    Probe("get_tool_conversations", get_tool_conversations),
)
