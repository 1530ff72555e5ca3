"""What the probes notice: each defect here is one that a migration could cause."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from migrator.errors import ProbeError
from tests.unit.ltmc_databases import call, migrated_database

STATUS_BEFORE_COMPLETED = """
DROP TABLE Todos;
CREATE TABLE Todos (id INTEGER PRIMARY KEY AUTOINCREMENT, title TEXT NOT NULL, description TEXT NOT NULL,
    priority TEXT DEFAULT 'medium', status TEXT DEFAULT 'pending', completed BOOLEAN DEFAULT 0,
    created_at TEXT NOT NULL, completed_at TEXT)"""
VECTOR_IDS_AS_TEXT = """
DROP TABLE ResourceChunks;
CREATE TABLE ResourceChunks (id INTEGER PRIMARY KEY, resource_id INTEGER, chunk_text TEXT, vector_id TEXT UNIQUE)"""
TIMES_AS_REAL = """
ALTER TABLE CodePatterns DROP COLUMN execution_time_ms;
ALTER TABLE CodePatterns ADD COLUMN execution_time_ms REAL"""
IDS_USED_UP = """
DROP TABLE Todos;
CREATE TABLE Todos (id INTEGER PRIMARY KEY, title, description, priority, completed, created_at);
INSERT INTO Todos VALUES (9223372036854775807, 'last', '', 'low', 0, '')"""
NEVER_COMPLETED = "CREATE TRIGGER defect AFTER UPDATE ON Todos BEGIN UPDATE Todos SET completed = 0; END"
UPDATE_IGNORED = "CREATE TRIGGER defect BEFORE UPDATE ON Todos BEGIN SELECT RAISE(IGNORE); END"


def after_insert(table: str, action: str) -> str:
    return f"CREATE TRIGGER defect AFTER INSERT ON {table} BEGIN {action}; END"


def altered(table: str, assignment: str) -> str:
    return after_insert(table, f"UPDATE {table} SET {assignment} WHERE id = new.id")


def alone(table: str) -> str:
    return after_insert(table, f"DELETE FROM {table} WHERE id < new.id")


LINK_OF_ITS_OWN = after_insert("ContextLinks", "INSERT INTO ContextLinks VALUES (NULL, new.message_id, 9)")
DEFECTS = (
    ("store_memory", VECTOR_IDS_AS_TEXT, r"ResourceChunks.vector_id of the new row is text of \d+, expected \d+"),
    (
        "store_memory",
        altered("Resources", "type = 'code'"),
        "type of the new row is text of 4, expected text of 8",
    ),
    ("retrieve_memory", after_insert("ResourceChunks", "DELETE FROM Resources"), "retrieve_memory: .* is missing"),
    ("log_chat", altered("ChatHistory", "metadata = '{}'"), "ChatHistory.metadata of the new row is text of 2"),
    ("log_chat", altered("ChatHistory", "role = content"), "ChatHistory.role of the new row is text of"),
    ("ask_with_context", "UPDATE RetrievalWeights SET beta = NULL", "RetrievalWeights: the types of its row"),
    ("route_query", after_insert("ResourceChunks", "UPDATE Resources SET type = 'code'"), "documents: .* is missing"),
    ("retrieve_by_type", "UPDATE RetrievalWeights SET alpha = 'high'", "RetrievalWeights: the types of its row"),
    ("get_chats_by_tool", altered("ChatHistory", "source_tool = NULL"), "ChatHistory.source_tool of the new row"),
    (
        "add_todo",
        altered("Todos", "title = 'other'"),
        "Todos.title of the new row is text of 5, expected text of 14",
    ),
    ("add_todo", altered("Todos", "completed = 1"), "Todos.completed of the new row is 1, expected 0"),
    ("add_todo", IDS_USED_UP, "Todos: the new row has id [0-9]+, expected one above 9223372036854775807"),
    ("list_todos", STATUS_BEFORE_COMPLETED, "list_todos all, by position: .* is missing"),
    ("search_todos", STATUS_BEFORE_COMPLETED, "search_todos by title: .* is missing"),
    ("complete_todo", NEVER_COMPLETED, "Todos: the completed row"),
    ("complete_todo", UPDATE_IGNORED, "complete_todo: rows changed is 0, expected 1"),
    ("store_context_links", altered("ContextLinks", "chunk_id = 0"), "ContextLinks.chunk_id of the new row is 0"),
    ("get_context_links_for_message", LINK_OF_ITS_OWN, "the links of a message is"),
    ("get_messages_for_chunk", after_insert("ContextLinks", "DELETE FROM ChatHistory"), "is missing"),
    ("get_context_usage_statistics", LINK_OF_ITS_OWN, "the counts after two links more"),
    ("list_tool_identifiers", alone("ChatHistory"), "is missing"),
    ("get_tool_conversations", alone("ChatHistory"), "is missing"),
    ("log_code_attempt", TIMES_AS_REAL, "CodePatterns.execution_time_ms of the new row is 1005.0, expected 1005"),
    ("log_code_attempt", alone("CodePatterns"), r"the pattern of id \d+, logged here, is gone"),
    ("log_code_attempt", after_insert("CodePatterns", "DELETE FROM CodePatterns"), r"the new row of id \d+ is gone"),
    ("log_code_attempt", altered("CodePatterns", "tags = '[]'"), "CodePatterns.tags of the new row is text of 2"),
    ("get_code_patterns", "UPDATE CodePatterns SET tags = 'a,b' WHERE id = 1", "tags of row 1 is not JSON"),
    ("analyze_code_patterns", alone("CodePatterns"), "analyze_code_patterns of a function"),
)


@pytest.fixture
def migrated() -> Iterator[sqlite3.Connection]:
    with closing(migrated_database()) as connection:
        yield connection


@pytest.mark.parametrize(("tool", "defect", "message"), DEFECTS)
def test_a_probe_notices_the_defect(migrated, tool, defect, message):
    migrated.executescript(defect)
    with pytest.raises(ProbeError, match=message):
        call(migrated, tool)


def test_a_link_that_may_exist_once_only_makes_store_context_links_fail(migrated):
    migrated.execute("DELETE FROM ContextLinks")
    migrated.execute("CREATE UNIQUE INDEX once ON ContextLinks (message_id, chunk_id)")
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE constraint failed"):
        call(migrated, "store_context_links")


@pytest.mark.parametrize(
    ("tool", "swap"),
    [
        ("retrieve_memory", "UPDATE ResourceChunks SET resource_id = 1"),
        ("retrieve_memory", "UPDATE Resources SET file_name = type, type = file_name"),
        ("ask_with_context", "UPDATE Resources SET created_at = file_name, file_name = created_at"),
        ("route_query", "UPDATE Resources SET type = CASE type WHEN 'document' THEN 'code' ELSE 'document' END"),
        ("retrieve_by_type", "UPDATE ResourceChunks SET chunk_text = upper(chunk_text)"),
        ("get_chats_by_tool", "UPDATE ChatHistory SET role = content, content = role"),
        ("get_messages_for_chunk", "UPDATE ChatHistory SET conversation_id = content, content = conversation_id"),
        ("list_todos", "UPDATE Todos SET title = description, description = title"),
        ("search_todos", "UPDATE Todos SET priority = created_at, created_at = coalesce(priority, '')"),
        ("get_context_links_for_message", "UPDATE ContextLinks SET chunk_id = chunk_id + 1"),
        ("get_context_usage_statistics", "DELETE FROM ContextLinks WHERE id = 1"),
        ("list_tool_identifiers", "UPDATE ChatHistory SET source_tool = NULL WHERE source_tool = 'cursor'"),
        ("get_tool_conversations", "UPDATE ChatHistory SET role = 'system'"),
        ("get_code_patterns", "UPDATE CodePatterns SET file_name = module_name, module_name = file_name"),
        ("get_code_patterns", "UPDATE CodePatterns SET result = 'fail' WHERE result IS NULL"),
    ],
)
def test_a_changed_value_changes_the_answer(migrated, tool, swap):
    before = call(migrated, tool)
    migrated.execute(swap)
    assert call(migrated, tool) != before
