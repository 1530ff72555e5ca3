"""The probes of the application's 28 tools: which fail where, what they notice, what they leave behind."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from migrator.ltmc.probes import CATALOGUE, code_patterns
from migrator.ltmc.probes.tables import CHAT_HISTORY, create_tables
from tests.unit.ltmc_databases import (
    CALLED,
    TARGET,
    call,
    failures,
    in_memory,
    migrate,
    migrated_database,
    original_database,
)

REPO = Path(__file__).resolve().parents[2]
REAL = REPO.parent / "shared" / "data" / "ltmc_20250809.db"

TOOLS = """
store_memory retrieve_memory
log_chat ask_with_context route_query get_chats_by_tool
add_todo list_todos complete_todo search_todos
build_context retrieve_by_type store_context_links get_context_links_for_message get_messages_for_chunk
get_context_usage_statistics
link_resources query_graph auto_link_documents get_document_relationships
list_tool_identifiers get_tool_conversations
log_code_attempt get_code_patterns analyze_code_patterns
redis_cache_stats redis_flush_cache redis_health_check
"""
NEO4J = "touches no SQLite: needs Neo4j at bolt://localhost:7687"
REDIS = "touches no SQLite: needs Redis at localhost:6382"
SKIPPED = {
    "build_context": "touches no database",
    "link_resources": NEO4J,
    "query_graph": NEO4J,
    "auto_link_documents": NEO4J,
    "get_document_relationships": NEO4J,
    "redis_cache_stats": REDIS,
    "redis_flush_cache": REDIS,
    "redis_health_check": REDIS,
}
BROKEN_BY_THE_OLD_SCHEMA = {
    "log_code_attempt": "OperationalError: table CodePatterns has no column named function_name",
    "get_code_patterns": "OperationalError: no such column: function_name",
    "analyze_code_patterns": "OperationalError: no such column: execution_time_ms",
}
WRITING = {"store_memory", "log_chat", "add_todo", "complete_todo", "store_context_links", "log_code_attempt"}


@pytest.fixture
def original() -> Iterator[sqlite3.Connection]:
    with closing(original_database()) as connection:
        yield connection


@pytest.fixture
def migrated() -> Iterator[sqlite3.Connection]:
    with closing(migrated_database()) as connection:
        yield connection


def test_the_catalogue_holds_the_28_tools_in_the_applications_order():
    assert [probe.tool for probe in CATALOGUE] == TOOLS.split()
    assert len(CATALOGUE) == 28


def test_the_eight_tools_without_sqlite_are_skipped_with_their_reason():
    assert {probe.tool: probe.skip_reason for probe in CATALOGUE if probe.call is None} == SKIPPED


def test_exactly_the_three_code_pattern_tools_fail_on_an_original_database(original):
    assert failures(original) == BROKEN_BY_THE_OLD_SCHEMA


def test_no_tool_fails_on_a_migrated_database(migrated):
    assert failures(migrated) == {}


@pytest.mark.skipif(not REAL.exists(), reason="the real database is not beside the checkout")
def test_the_real_database_behaves_as_measured():
    with closing(in_memory(REAL.read_bytes())) as connection:
        assert failures(connection) == BROKEN_BY_THE_OLD_SCHEMA
        migrate(connection)
        assert failures(connection) == {}


def test_no_tool_fails_on_a_migrated_database_without_rows():
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        create_tables(connection)
        connection.execute("DROP TABLE CodePatterns")
        connection.execute(TARGET)
        assert failures(connection) == {}


@pytest.mark.parametrize("time", ["not a time", "\U0010ffff" * 3, b"\xff\xff", "9999-12-31T23:59:59.999999"])
def test_rows_whose_time_sorts_after_every_time_hide_no_new_row(migrated, time):
    for table, column in (("CodePatterns", "created_at"), ("Todos", "created_at"), ("ChatHistory", "timestamp")):
        migrated.execute(f"UPDATE {table} SET {column} = ?", (time,))
    assert failures(migrated) == {}


def test_a_vector_id_that_the_sequence_gives_again_is_named_with_the_way_out(migrated):
    taken = migrated.execute("SELECT COALESCE(MAX(id), 0) + 1 FROM VectorIdSequence").fetchone()[0]
    migrated.execute("UPDATE CodePatterns SET vector_id = ? WHERE id = (SELECT MAX(id) FROM CodePatterns)", (taken,))
    found = failures(migrated)["log_code_attempt"]
    assert f"the next number of VectorIdSequence, {taken}, is a pattern's already" in found
    migrated.execute(found.partition("; ")[2].partition(" puts")[0])
    assert failures(migrated) == {}


def test_a_lost_table_is_made_again_by_the_tool_and_its_answer_shows_the_loss(migrated):
    before = call(migrated, "list_todos")
    migrated.execute("DROP TABLE Todos")
    assert call(migrated, "list_todos") == {"all": [], "pending": [], "completed": []} != before


@pytest.mark.parametrize("tool", CALLED)
def test_a_rolled_back_probe_leaves_nothing(migrated, tool):
    before = list(migrated.iterdump())
    call(migrated, tool)
    assert list(migrated.iterdump()) == before


@pytest.mark.parametrize("tool", CALLED)
def test_an_answer_is_json_and_the_same_each_time_and_writing_tools_give_none(migrated, tool):
    answer = call(migrated, tool)
    assert json.loads(json.dumps(answer)) == answer == call(migrated, tool)
    assert (answer is None) == (tool in WRITING or tool == "analyze_code_patterns")


def test_a_database_older_than_source_tool_gets_the_column_from_the_tool(original):
    old = CHAT_HISTORY.replace("metadata TEXT,", "metadata TEXT").replace("source_tool TEXT", "")
    original.execute("DROP TABLE ChatHistory")
    original.execute(f"CREATE TABLE {old}")
    assert failures(original) == BROKEN_BY_THE_OLD_SCHEMA


def test_create_tables_passes_over_the_duplicate_column_and_no_other_error(original):
    create_tables(original)
    original.execute("DROP TABLE ChatHistory")
    original.execute("CREATE VIEW ChatHistory AS SELECT 1 AS id")
    with pytest.raises(sqlite3.OperationalError, match="Cannot add a column to a view"):
        create_tables(original)


def test_get_code_patterns_answers_by_result_and_by_function_with_decoded_tags(migrated):
    answer = call(migrated, "get_code_patterns")
    ids = {name: [pattern["id"] for pattern in patterns] for name, patterns in answer.items()}
    assert ids == {"all": [3, 2, 1], "pass": [1], "fail": [2], "partial": [], "function": [1]}
    assert answer["pass"] == [
        {
            "id": 1,
            "function_name": "connect",
            "file_name": "connect.py",
            "module_name": "app",
            "input_prompt": "Connect.",
            "generated_code": "connect()",
            "result": "pass",
            "execution_time_ms": 12,
            "error_message": None,
            "tags": ["a", "b"],
            "created_at": "2025-08-09",
            "vector_id": None,
        }
    ]


def test_get_code_patterns_ranks_equal_times_by_id_whatever_index_there_is(migrated):
    migrated.execute("UPDATE CodePatterns SET created_at = '2025-08-09', result = 'pass', function_name = 'connect'")
    before = call(migrated, "get_code_patterns")
    assert [pattern["id"] for pattern in before["all"]] == [3, 2, 1]
    for columns in ("created_at", "result, created_at", "function_name, result", "result, created_at DESC"):
        migrated.execute(f"CREATE INDEX 'on {columns}' ON CodePatterns ({columns})")
        assert call(migrated, "get_code_patterns") == before


def test_list_todos_answers_ten_newest_todos_with_the_tools_keys(migrated):
    answer = call(migrated, "list_todos")
    assert [todo["id"] for todo in answer["all"]] == [10, 9, 8, 7, 6, 5, 4, 3, 2, 1]
    assert [todo["id"] for todo in answer["completed"]] == [10, 7, 4, 1]
    assert list(answer["pending"][0]) == ["id", "title", "description", "priority", "completed", "created_at"]


def test_get_messages_for_chunk_counts_all_messages_and_answers_the_first_hundred(migrated):
    migrated.execute("UPDATE ContextLinks SET chunk_id = 1")
    migrated.execute("INSERT INTO ContextLinks (message_id, chunk_id) SELECT message_id, 1 FROM ContextLinks")
    answer = call(migrated, "get_messages_for_chunk")
    assert (answer["count"], len(answer["first"])) == (200, 100)
    assert [message["message_id"] for message in answer["first"][:4]] == [1, 1, 2, 2]


def test_links_without_message_or_chunk_fail_no_tool(migrated):
    migrated.execute("UPDATE ContextLinks SET chunk_id = NULL")
    assert failures(migrated) == {}
    migrated.execute("UPDATE ContextLinks SET chunk_id = 1, message_id = NULL")
    assert failures(migrated) == {}


def test_a_blob_in_a_text_column_is_answered_as_hexadecimal_text(migrated):
    migrated.execute("UPDATE Todos SET description = x'00ff' WHERE id = 10")
    assert call(migrated, "list_todos")["all"][0]["description"] == "x'00ff'"


def test_a_vector_id_is_the_row_id_and_one_above_the_number_written_beside_it(migrated):
    code_patterns.log_code_attempt(migrated)
    newest = migrated.execute("SELECT id, last_vector_id FROM VectorIdSequence ORDER BY id DESC LIMIT 2").fetchall()
    used = migrated.execute("SELECT vector_id FROM CodePatterns ORDER BY id DESC LIMIT 2").fetchall()
    assert newest == [(23, 22), (22, 21)]
    assert used == [(23,), (22,)]


def test_analyze_code_patterns_tells_recent_patterns_of_other_functions_apart(migrated):
    migrated.execute("UPDATE CodePatterns SET created_at = strftime('%Y-%m-%dT%H:%M:%f', 'now', '-1 day')")
    assert failures(migrated) == {}
