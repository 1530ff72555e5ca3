"""The application's tool server on copies before and after: each way in which a server goes wrong has its outcome."""

import json
import re
import resource
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from migrator.ltmc import LTMC, tool_calls
from migrator.ltmc.tool_calls import SERVER_TOOLS
from migrator.tool_server import side as server_side
from migrator.tool_server.mcp_stdio import mcp_session
from migrator.tool_server.server import ToolServer, started
from migrator.tool_server.session import AnswerError
from migrator.tool_server.side import Deadlines
from migrator.tool_server.validation import ServerValidation, validate_tool_server
from migrator.tool_server.watch import OtherDatabaseError
from migrator.tools import Scratch, copy_for_tools
from tests.children import PATIENCE_S
from tests.conftest import REAL_DATABASE_ABSENT
from tests.faults.tool_servers import free_port, over_http, over_stdio, programs_with
from tests.pipeline.programs import ROOT, ends_within
from tests.runs import rehearsed, stored

REAL = ROOT.parent / "shared" / "data" / "ltmc_20250809.db"
DEADLINES = Deadlines(start_s=30.0, call_s=20.0)
IMPATIENT = Deadlines(start_s=30.0, call_s=4.0)
REPAIRED = ("log_code_attempt", "get_code_patterns", "analyze_code_patterns")
FAULTS_BEFORE = {
    "log_code_attempt": "table CodePatterns has no column named function_name",
    "get_code_patterns": "no such column: function_name",
    "analyze_code_patterns": "no such column: execution_time_ms",
}
REDIS = ("redis_cache_stats", "redis_health_check", "redis_flush_cache")
NEO4J = ("query_graph", "get_document_relationships", "link_resources", "auto_link_documents")
ROWS = [
    ("ask_with_context", "passed", "passed"),
    ("route_query", "passed", "passed"),
    ("retrieve_by_type", "passed", "passed"),
    ("retrieve_memory", "passed", "passed"),
    ("get_chats_by_tool", "passed", "passed"),
    ("list_tool_identifiers", "passed", "passed"),
    ("get_tool_conversations", "passed", "passed"),
    ("list_todos", "passed", "passed"),
    ("search_todos", "passed", "passed"),
    ("build_context", "passed", "passed"),
    ("get_context_links_for_message", "passed", "passed"),
    ("get_messages_for_chunk", "passed", "passed"),
    ("get_context_usage_statistics", "passed", "passed"),
    ("redis_cache_stats", "skipped", "skipped"),
    ("redis_health_check", "skipped", "skipped"),
    ("query_graph", "skipped", "skipped"),
    ("get_document_relationships", "skipped", "skipped"),
    ("store_memory", "passed", "passed"),
    ("log_chat", "passed", "passed"),
    ("store_context_links", "passed", "passed"),
    ("log_code_attempt", "failed", "passed"),
    ("get_code_patterns", "failed", "passed"),
    ("analyze_code_patterns", "failed", "passed"),
    ("add_todo", "passed", "passed"),
    ("link_resources", "skipped", "skipped"),
    ("auto_link_documents", "skipped", "skipped"),
    ("redis_flush_cache", "skipped", "skipped"),
    ("complete_todo", "passed", "passed"),
]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """A rehearsed migration of the demo database; no validation changes anything of it."""
    database = tmp_path_factory.mktemp("demo") / "ltmc.db"
    LTMC.make_demo(database, 100)
    return copy_for_tools(rehearsed(database, LTMC))


@pytest.fixture(autouse=True)
def nobody_listens(monkeypatch):
    """No Redis and no Neo4j of the machine: the addresses are those of nobody."""
    addresses = {"redis": f"localhost:{free_port()}", "neo4j": f"localhost:{free_port()}"}
    monkeypatch.setattr(tool_calls, "ADDRESSES", addresses)
    for variable in tool_calls.DISPOSABLE.values():
        monkeypatch.delenv(variable, raising=False)
    return addresses


@pytest.fixture(autouse=True)
def few_calls(monkeypatch):
    """Of each tool, where not the calls are what a test is about."""
    monkeypatch.setattr(server_side, "_CALLS", 3)


@pytest.fixture
def mark(tmp_path):
    """Not there; afterwards no program is left that has it among its arguments."""
    path = tmp_path / "mark.db"
    yield path
    assert programs_with(path) == []


def validated(scratch: Scratch, command: str, deadlines: Deadlines = DEADLINES) -> ServerValidation:
    found = validate_tool_server(scratch, command, SERVER_TOOLS, deadlines=deadlines)
    assert list((scratch.candidate.inspection.backup.scratch / "tool_server").iterdir()) == []
    return found


def outcomes(found: ServerValidation) -> list[tuple[str, str, str]]:
    return [(row.name, row.before, row.after) for row in found.rows]


def with_outcome(after: str, *names: str) -> list[tuple[str, str, str]]:
    """The rows of a good server, but for the tools named."""
    return [(name, was, after if name in names else now) for name, was, now in ROWS]


def reasons(found: ServerValidation) -> dict[str, str]:
    return {row.name: row.reason for row in found.rows if row.reason is not None}


@pytest.mark.parametrize("over", [over_stdio, over_http])
def test_a_session_has_28_rows_and_3_of_them_failed_before(scratch, mark, nobody_listens, over):
    live = scratch.candidate.inspection.backup.live.database
    before = stored(live), stored(scratch.before), stored(scratch.after)
    command = over("", mark)
    found = validated(scratch, command)
    assert (found.failure, found.findings, found.command) == (None, (), command)
    assert outcomes(found) == ROWS
    assert len(found.rows) == 28
    for name, fault in FAULTS_BEFORE.items():
        assert reasons(found)[name] == f"failed before: {fault}"
    unreachable = dict.fromkeys(REDIS, f"redis not reachable at {nobody_listens['redis']}")
    unreachable |= dict.fromkeys(NEO4J, f"neo4j not reachable at {nobody_listens['neo4j']}")
    assert {name: why for name, why in reasons(found).items() if name not in FAULTS_BEFORE} == unreachable
    for row in found.rows:
        assert (row.status, row.extra) == (row.after, False)
        timed = row.after == "passed"
        assert (row.p50_ms is not None, row.p95_ms is not None) == (timed, timed)
        assert not timed or 0 < row.p50_ms <= row.p95_ms
    said = "the server of the tests starts"
    assert all(said in lines or over is over_http for lines in found.stderr.values())
    assert (stored(live), stored(scratch.before), stored(scratch.after)) == before


def test_a_server_inside_a_shell_ends_with_it_and_frees_its_port(scratch, mark):
    found = validated(scratch, over_http("", mark, "sh", "-c", '"$@"; true', "sh"))
    assert (outcomes(found), found.failure) == (ROWS, None)


@pytest.mark.skipif(not REAL.exists(), reason=REAL_DATABASE_ABSENT)
def test_the_real_database_has_the_same_rows(tmp_path, mark):
    database = tmp_path / "real.db"
    shutil.copyfile(REAL, database)
    found = validated(copy_for_tools(rehearsed(database, LTMC)), over_http("", mark))
    assert (outcomes(found), found.failure) == (ROWS, None)


def test_the_way_back_may_take_away_what_the_migration_gave(scratch, mark):
    found = validated(scratch, over_http("lie@after", mark))
    assert found.failure is not None
    inspection = scratch.candidate.inspection
    backwards = replace(inspection, plan=replace(inspection.plan, reverse=True))
    there = validated(
        replace(scratch, candidate=replace(scratch.candidate, inspection=backwards, path=scratch.before)),
        over_http("", mark),
    )
    assert there.failure is None
    swapped = replace(scratch, candidate=replace(scratch.candidate, inspection=backwards), after=scratch.before)
    found = validated(swapped, over_http("", mark))
    assert [row.name for row in found.rows if row.after == "failed"] == list(REPAIRED)
    assert found.failure is None


@pytest.mark.parametrize("over", [over_stdio, over_http])
def test_a_tool_that_hangs_fails_alone_and_keeps_nobody_waiting(scratch, mark, over):
    found = validated(scratch, over("hang@after", mark), IMPATIENT)
    assert outcomes(found) == with_outcome("failed", "list_todos")
    assert reasons(found)["list_todos"].startswith("no answer within 4 s")
    assert str(found.failure).startswith(
        "tool list_todos of the tool server worked before and fails on the migrated copy: no answer within 4 s"
    )


@pytest.mark.parametrize("over", [over_stdio, over_http])
def test_a_tool_that_ends_the_server_fails_alone_with_its_last_words(scratch, mark, over):
    found = validated(scratch, over("crash_in_todos@after", mark))
    assert outcomes(found) == with_outcome("failed", "list_todos")
    assert reasons(found)["list_todos"].startswith("the server ended with code 3; it said: ")
    assert reasons(found)["list_todos"].endswith("no todos today")
    assert "no todos today" in found.stderr["after"]
    assert "list_todos" in str(found.failure)


def test_a_server_that_crashes_on_call_7_again_and_again_is_given_up(scratch, mark, monkeypatch):
    monkeypatch.setattr(server_side, "_CALLS", 10)
    found = validated(scratch, over_http("crash@after", mark))
    crashed = [row.name for row in found.rows if row.reason and "call 7 was too much" in row.reason]
    given_up = [row.name for row in found.rows if row.reason == "not called: the server could not go on"]
    assert (len(crashed), len(given_up)) == (6, 15)
    assert {row.after for row in found.rows if row.before == "passed"} == {"failed"}
    assert str(found.failure).startswith("tool ask_with_context of the tool server worked before and fails")
    assert "(and 20 more tools fail)" in str(found.failure)


def test_a_server_that_lies_about_success_convinces_nobody(scratch, mark):
    found = validated(scratch, over_http("lie@after", mark))
    called = [name for name, _, now in ROWS if now == "passed"]
    assert outcomes(found) == with_outcome("failed", *called)
    assert reasons(found)["log_chat"] == "its answer lacks 'message_id'"
    assert reasons(found)["complete_todo"] == "Todos.completed is 0, expected 1"


def test_a_server_that_reads_todos_by_their_old_positions_refuses_0002_and_only_that(scratch, mark, tmp_path):
    found = validated(scratch, over_http("old_positions", mark))
    assert outcomes(found) == with_outcome("failed", "list_todos", "search_todos")
    for tool in ("list_todos", "search_todos"):
        assert re.fullmatch("Todos.created_at is text of 26, expected [01]", reasons(found)[tool])
    assert str(found.failure).startswith(
        "tool list_todos of the tool server worked before and fails on the migrated copy: "
    )
    database = tmp_path / "ltmc.db"
    LTMC.make_demo(database, 100)
    found = validated(copy_for_tools(rehearsed(database, LTMC, to_version=1)), over_http("old_positions", mark))
    assert (outcomes(found), found.failure) == (ROWS, None)


def test_a_write_that_is_not_in_the_copy_is_a_lie(scratch, mark):
    found = validated(scratch, over_http("lie_about_todo@after", mark))
    assert outcomes(found) == with_outcome("failed", "add_todo")
    assert reasons(found)["add_todo"] == "it says success, and Todos has no row of the id that it answers"


def test_a_vector_index_of_somebody_else_is_noticed(scratch, mark, tmp_path):
    elsewhere = f"FAISS_INDEX_PATH={tmp_path / 'index_in_use'}"
    found = validated(scratch, over_stdio("", mark, "env", elsewhere))
    wrote = "it says success, and there is no vector index at the FAISS_INDEX_PATH that it was given"
    rows = {row.name: (row.before, row.after, row.reason) for row in found.rows}
    assert rows["store_memory"] == ("failed", "failed", wrote)


def test_an_error_beside_a_success_is_an_error(scratch, mark):
    found = validated(scratch, over_http("error_beside_success@after", mark))
    assert outcomes(found) == with_outcome("failed", "list_todos")
    assert reasons(found)["list_todos"] == "half of the todos could not be read"


def test_a_tool_that_became_slow_fails_and_one_that_was_slow_does_not(scratch, mark, monkeypatch):
    monkeypatch.setattr(server_side, "_MEASUREMENTS", 1)
    found = validated(scratch, over_http("slow@after", mark))
    row = next(row for row in found.rows if row.name == "list_todos")
    assert (row.before, row.after, row.p50_ms > 500) == ("passed", "failed", True)
    assert row.reason == f"p95 {row.p95_ms:.1f} ms, over 500 ms"
    assert "list_todos" in str(found.failure)
    found = validated(scratch, over_http("slow", mark))
    row = next(row for row in found.rows if row.name == "list_todos")
    assert (row.before, row.after) == ("passed", "passed")
    assert row.reason == f"p95 {row.p95_ms:.1f} ms, over 500 ms as before"
    assert found.failure is None


def test_a_busy_moment_makes_no_tool_slow(scratch, mark):
    found = validated(scratch, over_http("slow_at_first@after", mark))
    assert (outcomes(found), found.failure) == (ROWS, None)


def test_a_missing_tool_fails_the_run_also_where_it_was_missing_before(scratch, mark):
    found = validated(scratch, over_http("missing", mark))
    row = next(row for row in found.rows if row.name == "list_todos")
    assert (row.before, row.after, row.reason) == ("failed", "failed", "the server does not list it")
    assert "tool list_todos of the tool server fails on the migrated copy: the server does not list it" in str(
        found.failure
    )


@pytest.mark.parametrize("over", [over_stdio, over_http])
def test_an_unknown_tool_is_called_where_its_arguments_can_be_made_up(scratch, mark, over):
    found = validated(scratch, over("extra", mark))
    assert outcomes(found)[:28] == ROWS
    assert [(row.name, row.before, row.after, row.extra) for row in found.rows[28:]] == [
        ("count_todos", "passed", "passed", True),
        ("forget_todos", "skipped", "skipped", True),
    ]
    assert found.rows[28].p95_ms is not None
    assert found.rows[29].reason == "the server says that it is destructive"
    assert found.failure is None


def test_an_unknown_tool_that_is_gone_after_fails_the_run(scratch, mark):
    found = validated(scratch, over_http("extra@before", mark))
    assert [(row.name, row.before, row.after, row.reason) for row in found.rows[28:]] == [
        ("count_todos", "passed", "failed", "the server does not list it"),
        ("forget_todos", "skipped", "failed", "the server does not list it"),
    ]
    assert "tool count_todos of the tool server worked before and fails" in str(found.failure)
    # What never was called is missed by nobody.
    assert "more tools fail" not in str(found.failure)


def test_a_kept_write_lock_fails_the_tool_that_keeps_it_and_those_after_it(scratch, mark):
    found = validated(scratch, over_http("lock@after", mark))
    assert outcomes(found) == with_outcome("failed", "add_todo", "complete_todo")
    assert reasons(found)["add_todo"] == "it says success, and Todos has no row of the id that it answers"
    assert reasons(found)["complete_todo"] == "database is locked"


@pytest.mark.parametrize("over", [over_stdio, over_http])
def test_what_stands_in_rows_is_neither_in_the_report_nor_in_a_log(scratch, mark, over, caplog):
    with closing(sqlite3.connect(scratch.after)) as connection:
        query = "SELECT id, content, role FROM ChatHistory ORDER BY id"
        row_id, content, role = connection.execute(query).fetchone()
    found = validated(scratch, over("tell_rows@after", mark))
    told = reasons(found)
    assert told["list_todos"].endswith(f"not to be read: ({row_id}, '..', '..')")
    assert "validation error for dict[str,int] content" in told["search_todos"]
    assert "input_value=.., input_type=str" in told["search_todos"]
    assert told["get_chats_by_tool"].endswith("no message '..'")
    assert "the server ended with code 3; it said: " in told["add_todo"]
    assert "ERROR at [" in told["add_todo"]
    assert any(line.startswith("INFO add_todo after '..'") for line in found.stderr["after"])
    everything = f"{json.dumps(found.as_json())} {found.failure} {caplog.text}"
    assert not any(word in everything for word in (content, content[:12], content[-12:], repr(role)))


def test_noise_on_stdout_is_passed_over(scratch, mark):
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = validated(scratch, over_stdio("flood", mark))
    assert (outcomes(found), found.failure) == (ROWS, None)
    # 40 MB before the first message and in each of four calls, on both copies.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used < 150_000


def test_a_line_without_an_end_fills_no_memory_and_ends_at_the_deadline(scratch, mark):
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = validated(scratch, over_stdio("flood_without_end", mark), Deadlines(start_s=3.0))
    assert "the tool server did not start on the copy of the backup: no answer within 3 s" in str(found.failure)
    assert {row.after for row in found.rows} == {"failed"}
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used < 150_000


@pytest.mark.parametrize(
    ("over", "fault", "said"),
    [
        (over_stdio, "hang_at_start", "no answer within 8 s; it said: the server of the tests starts"),
        (over_stdio, "crash_at_start", "the server ended with code 1; it said: "),
        (over_http, "hang_at_start", "the server did not listen at http://127.0.0.1"),
        (over_http, "crash_at_start", "the server ended with code 1; it said: "),
    ],
    ids=["stdio-hangs", "stdio-crashes", "http-hangs", "http-crashes"],
)
def test_a_server_that_does_not_start_fails_the_run_with_its_last_words(scratch, mark, over, fault, said):
    found = validated(scratch, over(f"{fault}@after", mark), Deadlines(start_s=8.0 if "hang" in fault else 30.0))
    assert "the tool server did not start on the migrated copy: " in str(found.failure)
    assert said in str(found.failure)
    assert ("no module named faiss" in str(found.failure)) == (fault == "crash_at_start")
    assert [row.before for row in found.rows] == [was for _, was, _ in ROWS]
    assert {row.after for row in found.rows} == {"failed"}


def live_of(scratch: Scratch) -> Path:
    return scratch.candidate.inspection.backup.live.database


@pytest.mark.parametrize("fault", ["open_other@after", "read_other@after", "keep_open"])
@pytest.mark.parametrize("over", [over_stdio, over_http])
def test_live_cannot_be_opened_by_a_python_server(scratch, over, fault):
    before = stored(live_of(scratch))
    found = validated(scratch, over(fault, live_of(scratch)))
    assert isinstance(found.failure, OtherDatabaseError)
    assert f"the tool server opens the live database {live_of(scratch)}" in str(found.failure)
    assert stored(live_of(scratch)) == before
    assert programs_with(live_of(scratch)) == []


@pytest.mark.parametrize("over", [over_stdio, over_http])
def test_a_server_without_the_hook_that_keeps_live_open_is_found_by_its_files(scratch, over):
    """As a server in any other language."""
    command = over("keep_open", live_of(scratch), "env", "-u", "MIGRATOR_WATCH")
    found = validated(scratch, command)
    assert isinstance(found.failure, OtherDatabaseError)
    assert f"the tool server opens the live database {live_of(scratch)}" in str(found.failure)
    assert programs_with(live_of(scratch)) == []


@pytest.mark.parametrize("fault", ["open_other", "keep_open"])
def test_a_database_of_its_own_proves_nothing(scratch, mark, fault):
    found = validated(scratch, over_http(fault, mark))
    assert isinstance(found.failure, OtherDatabaseError)
    assert f"the tool server opens {mark}, which is not the copy" in str(found.failure)
    assert not mark.exists()


def test_the_backup_is_not_the_copy_either(scratch):
    backup = scratch.candidate.inspection.backup.path
    found = validated(scratch, over_http("keep_other", backup))
    assert f"the tool server opens {backup}, which is not the copy" in str(found.failure)


@contextmanager
def redis(folder: Path):
    port = free_port()
    command = [shutil.which("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert any("Ready to accept connections" in line for line in iter(server.stdout.readline, ""))
        try:
            yield port
        finally:
            server.kill()


def redis_keys(port: int, *commands: str) -> int:
    """How many keys there are after the inline commands (redis.io/docs, protocol)."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        answers = connection.makefile("rb")
        for command in commands:
            connection.sendall(f"{command}\r\n".encode())
            assert answers.readline() == b"+OK\r\n"
        connection.sendall(b"DBSIZE\r\n")
        return int(answers.readline()[1:])


@pytest.mark.system("redis-server")
def test_the_cache_of_the_user_is_looked_at_and_never_flushed(scratch, mark, tmp_path, monkeypatch, nobody_listens):
    with redis(tmp_path) as port:
        assert redis_keys(port, "SET query:1 precious") == 1
        monkeypatch.setitem(nobody_listens, "redis", f"127.0.0.1:{port}")
        where = f"LTMC_REDIS_OF_THE_TESTS=127.0.0.1:{port}"
        found = validated(scratch, over_http("", mark, "env", where))
        assert redis_keys(port) == 1
    reading = with_outcome("skipped")
    changed = {"redis_cache_stats": "passed", "redis_health_check": "passed"}
    assert outcomes(found) == [(name, changed.get(name, was), changed.get(name, now)) for name, was, now in reading]
    assert reasons(found)["redis_flush_cache"] == f"would change redis at 127.0.0.1:{port}"
    assert found.failure is None


@pytest.mark.system("redis-server")
def test_a_disposable_cache_is_flushed(scratch, mark, tmp_path, monkeypatch, nobody_listens):
    with redis(tmp_path) as port:
        assert redis_keys(port, "SET query:1 nobody-misses-it") == 1
        monkeypatch.setitem(nobody_listens, "redis", f"127.0.0.1:{port}")
        monkeypatch.setenv("LTMC_DISPOSABLE_REDIS", f"127.0.0.1:{port}")
        where = f"LTMC_REDIS_OF_THE_TESTS=127.0.0.1:{port}"
        found = validated(scratch, over_http("", mark, "env", where))
        assert redis_keys(port) == 0
    assert outcomes(found) == [
        (name, "passed", "passed") if name in REDIS else (name, was, now) for name, was, now in ROWS
    ]
    assert found.failure is None


@pytest.mark.system("redis-server")
def test_success_with_a_cache_that_the_server_does_not_reach_is_a_failure(
    scratch, mark, tmp_path, monkeypatch, nobody_listens
):
    with redis(tmp_path) as port:
        monkeypatch.setitem(nobody_listens, "redis", f"127.0.0.1:{port}")
        monkeypatch.setenv("LTMC_DISPOSABLE_REDIS", f"127.0.0.1:{port}")
        found = validated(scratch, over_http("", mark, "env", f"LTMC_REDIS_OF_THE_TESTS=127.0.0.1:{free_port()}"))
    rows = {row.name: (row.before, row.after, row.reason) for row in found.rows}
    assert rows["redis_cache_stats"] == ("failed", "failed", "stats.connected is False, expected True")
    assert rows["redis_health_check"] == ("failed", "failed", "health.connected is False, expected True")
    assert rows["redis_flush_cache"][:2] == ("failed", "failed")


STUBBORN = """
import os, signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen(["sleep", "1000"])
print(os.getpid(), child.pid, flush=True)
signal.pause()
"""
HOLDS = """
import sys
from migrator.tool_server.server import ToolServer, started
with started(ToolServer((sys.executable, "-c", sys.argv[1])), {"PATH": "/usr/bin:/bin"}) as running:
    print(running.streams[1].readline().decode(), end="", flush=True)
    sys.stdin.read()
"""


def test_every_program_of_the_group_ends_with_the_block():
    environment = {"PATH": "/usr/bin:/bin"}
    with started(ToolServer((sys.executable, "-c", STUBBORN)), environment) as running:
        server, child = map(int, running.streams[1].readline().split())
        assert running.ended() is None
    assert ends_within(server, PATIENCE_S)
    assert ends_within(child, PATIENCE_S)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_every_program_of_the_group_ends_with_the_run_however_that_dies(number):
    command = [sys.executable, "-c", HOLDS, STUBBORN]
    run = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
    with run:
        server, child = map(int, run.stdout.readline().split())
        run.send_signal(number)
        assert run.wait(PATIENCE_S) == -number
        assert ends_within(server, PATIENCE_S)
        assert ends_within(child, PATIENCE_S)


def test_the_command_is_asked_to_end_before_it_is_made_to(tmp_path):
    """A shell never gets a signal that was ignored when it began."""
    code = 'trap "touch asked; exit" TERM; echo ready; while :; do sleep 0.1 & wait; done'
    command = ("sh", "-c", f"cd {tmp_path}; {code}")
    with started(ToolServer(command), {"PATH": "/usr/bin:/bin"}) as running:
        assert running.streams[1].readline() == b"ready\n"
    assert (tmp_path / "asked").exists()


def test_a_command_that_cannot_be_run_ends_with_what_the_system_says(tmp_path):
    with started(ToolServer((str(tmp_path),)), {}) as running:
        assert running.ended(PATIENCE_S) == "ended with code 127"
        assert running.streams[1].read() == b""
        assert running.last_lines == (f"{tmp_path}: Permission denied",)


def test_of_lines_in_a_row_that_differ_in_digits_alone_the_last_is_told():
    said = shlex.join(["starts", "request 9 took 15 ms", "request 10 took 2 ms", "no model", "request 11 took 0 ms"])
    with started(ToolServer(("sh", "-c", f"printf '%s\\n' {said} >&2")), {"PATH": "/usr/bin:/bin"}) as running:
        assert running.ended(PATIENCE_S) == "ended with code 0"
        assert running.last_lines == ("starts", "request 10 took 2 ms", "no model", "request 11 took 0 ms")


def test_of_a_line_whose_beginning_is_gone_nothing_is_told():
    code = "import sys; print('told', 'x' * 9000, 'the end of a row', file=sys.stderr); print('bye', file=sys.stderr)"
    with started(ToolServer((sys.executable, "-c", code)), {"PATH": "/usr/bin:/bin"}) as running:
        assert running.ended(PATIENCE_S) == "ended with code 0"
        assert running.last_lines == ("bye",)


MANY_PAGES = """
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    version = asked.get("params", {}).get("protocolVersion")
    page = int((asked.get("params") or {}).get("cursor") or 0) + 1
    if asked["method"] == "initialize":
        told = {"protocolVersion": version, "capabilities": {}, "serverInfo": {"name": "pages", "version": "1"}}
    elif asked["method"] == "tools/list":
        told = {"tools": [{"name": f"tool_{page}", "inputSchema": {"type": "object"}}]}
        told |= {"nextCursor": str(page)} if page < int(sys.argv[1]) else {}
    else:
        continue
    print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": told}), flush=True)
"""


@pytest.mark.parametrize("pages", [100, 101])
def test_tools_are_listed_on_many_pages_but_not_without_an_end(pages):
    server = ToolServer((sys.executable, "-c", MANY_PAGES, str(pages)))
    with started(server, {"PATH": "/usr/bin:/bin"}) as running, mcp_session(running, PATIENCE_S, PATIENCE_S) as session:
        if pages == 100:
            assert [tool.name for tool in session.tools()] == [f"tool_{n}" for n in range(1, 101)]
        else:
            with pytest.raises(AnswerError, match="it lists its tools on more than 100 pages"):
                session.tools()


def test_calls_that_take_too_long_together_are_not_made_any_more(scratch, mark):
    found = validated(scratch, over_http("", mark), Deadlines(start_s=30.0, call_s=20.0, all_s=0.0))
    called = [name for name, _, now in ROWS if now == "passed"]
    assert reasons(found).items() >= dict.fromkeys(called, "not called: all calls together took too long").items()
    assert [(row.before, row.after) for row in found.rows if row.name in called] == [("failed", "failed")] * len(called)
    assert found.failure is not None


def test_the_server_has_the_journal_mode_of_live(tmp_path, mark):
    database = tmp_path / "wal.db"
    LTMC.make_demo(database, 20)
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    seen = []
    tools = replace(SERVER_TOOLS, environment=lambda copy, folder: seen.append(mode_of(copy)) or {})
    found = validate_tool_server(copy_for_tools(rehearsed(database, LTMC)), over_http("", mark), tools)
    assert found.failure is not None
    assert seen == ["wal"]


def mode_of(database: Path) -> str:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute("PRAGMA journal_mode").fetchone()[0]
