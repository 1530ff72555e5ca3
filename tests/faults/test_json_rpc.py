"""What comes back over HTTP is judged before anybody believes it, and nothing that comes slowly is waited for."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from migrator.tool_server.json_rpc import _JsonRpcSession, json_rpc_session
from migrator.tool_server.server import ToolServer, started
from migrator.tool_server.session import LONGEST_ANSWER_BYTES, AnswerError, ListedTool, LostServerError
from tests.children import PATIENCE_S

OVER = threading.Event()


@contextmanager
def session(answer, call_s=PATIENCE_S):
    """A session with a server that answers every question with `answer(handler)`, in this program."""
    asked = []

    class Requests(BaseHTTPRequestHandler):
        def do_POST(self):
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            answer(self)

        def log_message(self, format, *args):
            pass

    with HTTPServer(("127.0.0.1", 0), Requests) as server, started(ToolServer(("sleep", "1000")), {}) as running:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        OVER.clear()
        try:
            tool_server = ToolServer(("sleep",), f"http://127.0.0.1:{server.server_port}")
            yield _JsonRpcSession(tool_server, running, call_s), asked
        finally:
            OVER.set()
            server.shutdown()


def answering(body, status=200):
    def answer(handler):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    return answer


def test_a_call_is_a_question_of_json_rpc_2():
    with session(answering({"jsonrpc": "2.0", "id": 1, "error": None, "result": {"success": True}})) as (server, asked):
        assert server.call("add_todo", {"title": "größe"}) == {"success": True}
    params = {"name": "add_todo", "arguments": {"title": "größe"}}
    assert asked == [{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}]


@pytest.mark.parametrize("result", [{"tools": [{"name": "a"}]}, [{"name": "a"}]])
def test_the_tools_are_a_list_or_in_one(result):
    with session(answering({"id": 1, "result": result})) as (server, _):
        assert server.tools() == (ListedTool("a", {}),)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (answering(b"<html>"), "its answer is no JSON-RPC"),
        (answering(b"[]"), "its answer is no JSON-RPC"),
        (answering(b"\xff"), "its answer is no JSON-RPC"),
        (answering({"id": 2, "result": {"success": True}}), "its answer belongs to another question"),
        (answering({"id": 1}), "its answer belongs to another question"),
        (answering({"id": 1, "error": {"code": -32601, "message": "Method not found"}}), "^Method not found"),
        (answering({"id": None, "error": "no"}), "^no"),
        (answering({"id": 1, "result": None}), "it answers with NoneType"),
        (answering(b"oops", status=500), "^HTTP 500"),
        (answering(b" " * (LONGEST_ANSWER_BYTES + 1)), "its answer is longer than 16,777,216 bytes"),
    ],
)
def test_what_is_no_answer_to_the_question_is_an_error(answer, message):
    with session(answer) as (server, _), pytest.raises(AnswerError, match=message):
        server.call("add_todo", {})


def drip(handler):
    """A byte now and then, each well within the time that a socket waits."""
    handler.send_response(200)
    handler.end_headers()
    while not OVER.wait(0.05):
        handler.wfile.write(b" ")


def test_what_listens_where_the_server_should_and_is_another_program_is_asked_nothing():
    with session(answering({"id": 1, "result": []})) as (server, asked):
        other = ToolServer(("sleep", "1000"), server._url.removesuffix("/jsonrpc"))
        with (
            started(other, {}) as running,
            pytest.raises(LostServerError, match=f"what listens at {other.url} is not the server that was started"),
            json_rpc_session(other, running, PATIENCE_S, PATIENCE_S) as wrong,
        ):
            wrong.tools()
    assert asked == []


def test_an_answer_that_drips_is_given_up_at_the_deadline():
    with session(drip, call_s=0.5) as (server, _), pytest.raises(LostServerError, match=r"no answer within 0\.5 s"):
        server.call("add_todo", {})


def test_a_connection_that_breaks_is_a_lost_server():
    breaking = session(lambda handler: handler.connection.close())
    with breaking as (server, _), pytest.raises(LostServerError, match="no answer"):
        server.call("add_todo", {})
