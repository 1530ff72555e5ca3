"""What `--tool-server` takes, and what it refuses before anything is done."""

import socket
import sys

import pytest
from pydantic import ValidationError

from flows.request import MigrationRequest
from migrator.errors import RefusedError
from migrator.tool_server.server import ToolServer, parse_tool_server, refuse_what_cannot_start


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("python server.py", ToolServer(("python", "server.py"))),
        ("'my python' server.py --name 'a b'", ToolServer(("my python", "server.py", "--name", "a b"))),
        ("http://127.0.0.1:5050 python s.py", ToolServer(("python", "s.py"), "http://127.0.0.1:5050")),
        ("http://localhost:5050/jsonrpc uvicorn a", ToolServer(("uvicorn", "a"), "http://localhost:5050/jsonrpc")),
        ("http://[::1]:5050/ python s.py", ToolServer(("python", "s.py"), "http://[::1]:5050/")),
    ],
)
def test_a_command_is_mcp_and_an_address_before_it_is_json_rpc(text, server):
    assert parse_tool_server(text) == server


def test_the_address_has_a_host_and_a_port():
    assert parse_tool_server("http://[::1]:5050/ python s.py").address == ("::1", 5050)


def test_a_server_is_named_as_it_was_given():
    text = "http://127.0.0.1:5050 python 'a b.py'"
    assert str(parse_tool_server(text)) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "alone starts no server"),
        ("http://127.0.0.1:5050", "http://127.0.0.1:5050 alone starts no server; one that runs already may have live"),
        ("python 'server.py", "is no command"),
        ("https://127.0.0.1:5050 python s.py", "no address of a server on this machine"),
        ("http://example.org:5050 python s.py", "no address of a server on this machine"),
        ("http://0.0.0.0:5050 python s.py", "no address of a server on this machine"),
        ("http://127.0.0.1 python s.py", "no address of a server on this machine"),
        ("http://127.0.0.1:0 python s.py", "no address of a server on this machine"),
        ("http://127.0.0.1:port python s.py", "no address of a server on this machine"),
        ("http://127.0.0.1:5050/tools python s.py", "no address of a server on this machine"),
        ("ws://127.0.0.1:5050", "no address of a server on this machine"),
    ],
)
def test_what_starts_no_server_of_the_run_is_refused(text, message):
    with pytest.raises(RefusedError, match=message):
        parse_tool_server(text)


def test_a_program_that_is_not_there_is_refused():
    with pytest.raises(RefusedError, match="there is no program 'no-such-program'"):
        refuse_what_cannot_start(ToolServer(("no-such-program", "server.py")))


def test_without_the_package_the_way_out_is_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "mcp", None)
    with pytest.raises(RefusedError, match=r"needs the Python package mcp; .* -m pip install 'mcp>=1\.12,<2'"):
        refuse_what_cannot_start(ToolServer((sys.executable, "server.py")))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    refuse_what_cannot_start(ToolServer((sys.executable, "server.py"), f"http://127.0.0.1:{port}"))


def test_an_address_where_a_server_runs_already_is_refused():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(RefusedError, match=f"something listens at {url} already, a server on live perhaps"):
            refuse_what_cannot_start(ToolServer((sys.executable, "server.py"), url))


def test_a_request_for_a_server_that_cannot_be_started_is_no_request():
    with pytest.raises(ValidationError, match="alone starts no server"):
        MigrationRequest(tool_server="http://127.0.0.1:5050")
    assert MigrationRequest(tool_server=f"{sys.executable} s.py").tool_server == f"{sys.executable} s.py"
    assert MigrationRequest().tool_server is None


def test_what_is_not_disposable_is_no_request_either(monkeypatch):
    monkeypatch.setenv("LTMC_DISPOSABLE_REDIS", "localhost:6390")
    server = f"{sys.executable} s.py"
    with pytest.raises(ValidationError, match="LTMC_DISPOSABLE_REDIS=localhost:6390 is not where the application has"):
        MigrationRequest(tool_server=server)
    assert MigrationRequest().tool_server is None
    monkeypatch.setenv("LTMC_DISPOSABLE_REDIS", "localhost:6382")
    assert MigrationRequest(tool_server=server).tool_server == server
