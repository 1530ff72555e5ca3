"""What a server answers: where the tool's own answer is in it, and that success alone convinces nobody."""

import sqlite3
from typing import Any

import pytest

from migrator.errors import ProbeError, RefusedError
from migrator.ltmc import LTMC
from migrator.ltmc.tool_calls import CALLS, backends, environment
from migrator.tool_server.calls import Backend
from migrator.tool_server.session import AnswerError, ListedTool, answer_in, listed
from tests.unit.ltmc_databases import migrated_database

TEXT = {"type": "text", "text": '{"success": true}'}


@pytest.mark.parametrize(
    ("result", "answer"),
    [
        ({"success": True}, {"success": True}),
        ({"content": [TEXT]}, {"success": True}),
        ({"content": [TEXT], "structuredContent": {"result": {"success": False}}}, {"success": False}),
        ({"content": [TEXT], "structuredContent": {"success": False, "result": {}}}, {"success": False, "result": {}}),
        ({"content": [TEXT], "structuredContent": {"result": [1]}}, {"result": [1]}),
        ({"content": [{"type": "text", "text": "pong"}]}, {"text": "pong"}),
        ({"content": [{"type": "text", "text": "[1]"}]}, {"result": [1]}),
        ({"content": "of a memory", "success": True}, {"content": "of a memory", "success": True}),
    ],
)
def test_the_tool_s_own_answer_is_found_in_what_wraps_it(result, answer):
    assert answer_in(result) == answer


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({"content": [{"type": "text", "text": "1 validation error"}], "isError": True}, "1 validation error"),
        ({"content": [], "isError": True}, "an error without a text"),
        ([], "it answers with list"),
        (None, "it answers with NoneType"),
    ],
)
def test_an_error_is_no_answer(result, message):
    with pytest.raises(AnswerError, match=message):
        answer_in(result)


def test_a_listed_tool_has_its_schema_and_whether_it_destroys():
    tool = {"name": "x", "inputSchema": {"type": "object"}, "annotations": {"destructiveHint": True}}
    assert listed(tool) == ListedTool("x", {"type": "object"}, True)
    assert listed({"name": "x", "annotations": None}) == ListedTool("x", {}, False)
    with pytest.raises(AnswerError, match="something that is no tool"):
        listed({"inputSchema": {}})


@pytest.fixture(scope="module")
def copy():
    return migrated_database()


def test_every_tool_of_the_probes_is_called_once_under_its_name():
    assert sorted(call.tool for call in CALLS) == sorted(probe.tool for probe in LTMC.probes)
    assert sum(call.also_named is not None for call in CALLS) == 6
    assert all(call.also_named in (None, f"{call.tool}_tool") for call in CALLS)


def test_complete_todo_comes_last_because_it_may_keep_the_lock():
    assert CALLS[-1].tool == "complete_todo"


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.tool)
def test_success_without_anything_convinces_for_no_tool(call, copy):
    with pytest.raises((ProbeError, LookupError, TypeError, ValueError)):
        call.check(copy, call.arguments(copy), {"success": True})


CALL = {call.tool: call for call in CALLS}


def right_answers(copy: sqlite3.Connection) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Of some tools what they are asked and what is right, spelled out for the demo database."""
    source = "SELECT COUNT(*) FROM ChatHistory WHERE source_tool = ?"
    messages = copy.execute(source, (CALL["get_chats_by_tool"].arguments(copy)["source_tool"],)).fetchone()[0]
    links = copy.execute("SELECT COUNT(*), COUNT(DISTINCT message_id), COUNT(DISTINCT chunk_id) FROM ContextLinks")
    all_links, of_messages, of_chunks = links.fetchone()
    return {
        "get_chats_by_tool": (
            {"source_tool": CALL["get_chats_by_tool"].arguments(copy)["source_tool"]},
            {"count": messages, "messages": [{}] * messages},
        ),
        "get_context_usage_statistics": (
            {},
            {
                "statistics": {
                    "total_context_links": all_links,
                    "unique_messages": of_messages,
                    "unique_chunks_used": of_chunks,
                }
            },
        ),
        "add_todo": ({"title": "t"}, {"todo_id": 11}),
        "log_chat": ({"conversation_id": "c", "role": "user", "content": "said"}, {"message_id": 101}),
        "store_memory": ({"file_name": "f.md"}, {"resource_id": 8, "chunk_count": 1}),
        "redis_cache_stats": ({}, {"stats": {"connected": True}}),
        "redis_health_check": ({}, {"health": {"connected": True, "healthy": True}}),
        "link_resources": ({}, {"relationship_created": True}),
    }


@pytest.fixture
def written(copy, tmp_path, monkeypatch):
    """The demo database with a todo, a message whose texts are in each other's columns, and a resource of one chunk.

    A database in memory has the working folder for its own.
    """
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faiss_index").touch()
    copy.execute("BEGIN")
    copy.execute("INSERT INTO Todos (title, description, completed, created_at) VALUES ('t', 'd', 0, 'now')")
    insert = "INSERT INTO ChatHistory (conversation_id, role, content, timestamp) VALUES ('said', 'c', 'user', 'now')"
    copy.execute(insert)
    copy.execute("INSERT INTO Resources (file_name, type, created_at) VALUES ('f.md', 'code', 'now')")
    insert = "INSERT INTO ResourceChunks (resource_id, chunk_text, vector_id) VALUES (8, 'text', 10000)"
    copy.execute(insert)
    yield copy
    copy.execute("ROLLBACK")


RIGHT = ("get_chats_by_tool", "get_context_usage_statistics", "add_todo", "log_chat", "store_memory")
RIGHT += ("redis_cache_stats", "redis_health_check", "link_resources")


@pytest.mark.parametrize("tool", RIGHT)
def test_a_right_answer_convinces(tool, written):
    CALL[tool].check(written, *right_answers(written)[tool])


@pytest.mark.parametrize(
    ("tool", "change"),
    [
        ("get_chats_by_tool", {"count": 1}),
        ("get_chats_by_tool", {"messages": []}),
        ("get_context_usage_statistics", {"statistics": {"total_context_links": 0}}),
        ("add_todo", {"todo_id": 10}),
        ("add_todo", {"todo_id": 1000}),
        ("log_chat", {"message_id": 100}),
        ("store_memory", {"chunk_count": 2}),
        ("store_memory", {"resource_id": 7}),
        ("redis_cache_stats", {"stats": {"connected": False}}),
        ("redis_health_check", {"health": {"connected": True, "healthy": False}}),
        ("redis_health_check", {"health": {"connected": False, "healthy": True}}),
        ("link_resources", {"relationship_created": False}),
    ],
)
def test_an_answer_that_differs_from_what_is_there_does_not_convince(tool, change, written):
    asked, answer = right_answers(written)[tool]
    with pytest.raises(ProbeError):
        CALL[tool].check(written, asked, answer | change)


def test_a_memory_without_a_vector_index_is_not_stored(written, tmp_path):
    (tmp_path / "faiss_index").unlink()
    with pytest.raises(ProbeError, match="there is no vector index at the FAISS_INDEX_PATH"):
        CALL["store_memory"].check(written, *right_answers(written)["store_memory"])


def test_the_services_are_where_the_application_has_them_and_not_ours_to_change(monkeypatch):
    monkeypatch.delenv("LTMC_DISPOSABLE_REDIS", raising=False)
    monkeypatch.setenv("LTMC_DISPOSABLE_NEO4J", "localhost:7687")
    assert backends() == {
        "redis": Backend("redis", "localhost:6382", disposable=False),
        "neo4j": Backend("neo4j", "localhost:7687", disposable=True),
    }


@pytest.mark.parametrize("address", ["localhost:6390", "127.0.0.1:6382", "redis"])
def test_what_the_tools_do_not_change_is_not_disposable(monkeypatch, address):
    monkeypatch.setenv("LTMC_DISPOSABLE_REDIS", address)
    fault = (
        f"LTMC_DISPOSABLE_REDIS={address} is not where the application has redis: its tools would change localhost:6382"
    )
    with pytest.raises(RefusedError, match=fault):
        backends()


def test_the_server_gets_a_copy_of_the_vector_index_and_no_key_to_a_paid_service(tmp_path, monkeypatch):
    index, folder = tmp_path / "index", tmp_path / "folder"
    index.write_bytes(b"vectors")
    folder.mkdir()
    monkeypatch.setenv("FAISS_INDEX_PATH", str(index))
    copied = folder / "faiss_index"
    database = folder / "ltmc.db"
    wanted = {"DB_PATH": str(database), "FAISS_INDEX_PATH": str(copied), "OPENAI_API_KEY": ""}
    assert environment(database, folder) == wanted
    assert copied.read_bytes() == b"vectors"
