"""Speaking JSON-RPC 2.0 over HTTP to the tool server that a run started: POST /jsonrpc (jsonrpc.org/specification)."""

from __future__ import annotations

import http.client
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from migrator.tool_server.programs import listens
from migrator.tool_server.server import RunningServer, ToolServer, is_reachable
from migrator.tool_server.session import (
    LONGEST_ANSWER_BYTES,
    AnswerError,
    ListedTool,
    LostServerError,
    Session,
    answer_in,
    listed,
)

_PAUSE_S = 0.05
_ENDING_S = 0.5
"""A connection breaks a moment before its server has ended."""


@contextmanager
def json_rpc_session(server: ToolServer, running: RunningServer, start_s: float, call_s: float) -> Iterator[Session]:
    """A session with the server, once it listens; raises LostServerError where that takes longer than `start_s`."""
    until = time.monotonic() + start_s
    while not is_reachable(*server.address):
        if ended := running.ended():
            raise LostServerError(f"the server {ended}", running)
        if time.monotonic() > until:
            raise LostServerError(f"the server did not listen at {server.url} within {start_s:g} s", running)
        time.sleep(_PAUSE_S)
    if not listens(running.group, server.address[1]):
        raise LostServerError(f"what listens at {server.url} is not the server that was started", running)
    yield _JsonRpcSession(server, running, call_s)


class _JsonRpcSession:
    def __init__(self, server: ToolServer, running: RunningServer, call_s: float) -> None:
        host, port = server.address
        self._url = f"http://{f'[{host}]' if ':' in host else host}:{port}/jsonrpc"
        self._running, self._call_s = running, call_s
        self._asked = 0
        # No proxy of the environment stands between two programs of one machine.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def tools(self) -> tuple[ListedTool, ...]:
        """Every tool of the server."""
        result = self._ask("tools/list", {})
        found = result.get("tools") if isinstance(result, Mapping) else result
        if not isinstance(found, list):
            raise AnswerError("it answers tools/list with no list")
        return tuple(map(listed, found))

    def call(self, name: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """What the tool answers."""
        return answer_in(self._ask("tools/call", {"name": name, "arguments": dict(arguments)}))

    def _ask(self, method: str, params: Mapping[str, Any]) -> Any:
        self._asked += 1
        question = {"jsonrpc": "2.0", "id": self._asked, "method": method, "params": params}
        body = self._within_deadline(lambda: self._post(json.dumps(question).encode()))
        try:
            answer = json.loads(body)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise AnswerError("its answer is no JSON-RPC")
        # A server may write both members, the other one null.
        if (error := answer.get("error")) is not None:
            raise AnswerError(str(error.get("message", error) if isinstance(error, Mapping) else error))
        if answer.get("id") != self._asked or "result" not in answer:
            raise AnswerError("its answer belongs to another question")
        return answer["result"]

    def _post(self, question: bytes) -> bytes:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self._url, question, headers)  # noqa: S310 - http, as parse_tool_server sees to
        # The deadline is that of `_within_deadline`, which this one must not be a moment before.
        with self._opener.open(request, timeout=2 * self._call_s) as response:
            return bytes(response.read(LONGEST_ANSWER_BYTES + 1))

    def _within_deadline(self, ask: Callable[[], bytes]) -> bytes:
        """What `ask` returns.

        Asked in a thread of its own: a server that sends a byte now and then keeps it waiting until it is ended.
        """
        answers: list[bytes | Exception] = []

        def run() -> None:
            try:
                answers.append(ask())
            except (OSError, http.client.HTTPException, ValueError) as error:
                answers.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(self._call_s)
        if not answers:
            raise LostServerError(f"no answer within {self._call_s:g} s", self._running)
        answer = answers[0]
        if isinstance(answer, urllib.error.HTTPError):
            raise AnswerError(f"HTTP {answer.code}")
        if isinstance(answer, Exception):
            ended = self._running.ended(_ENDING_S)
            raise LostServerError(f"the server {ended}" if ended else f"no answer ({answer})", self._running)
        if len(answer) > LONGEST_ANSWER_BYTES:
            raise AnswerError(f"its answer is longer than {LONGEST_ANSWER_BYTES:,} bytes")
        return answer
