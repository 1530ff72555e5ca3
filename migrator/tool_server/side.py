"""One copy of the database under the application's tool server: every tool is called, judged and timed."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from migrator.connect import opened
from migrator.errors import MigratorError, ProbeError
from migrator.findings import Finding
from migrator.performance import BUDGET_MS, percentile
from migrator.tool_server.calls import Answer, Arguments, ServerCall, ServerTools
from migrator.tool_server.json_rpc import json_rpc_session
from migrator.tool_server.mcp_stdio import mcp_session
from migrator.tool_server.server import RunningServer, ToolServer, started
from migrator.tool_server.session import AnswerError, ListedTool, LostServerError, Session
from migrator.tool_server.tool_schema import UnsatisfiableError, fitted, satisfying
from migrator.tool_server.watch import Watch
from migrator.tools import FAILED, PASSED, SKIPPED
from migrator.without_values import without_values

NOT_LISTED = "the server does not list it"
_STARTS = 6
"""A server that a tool ends or hangs is started again for the others."""
_MEASUREMENTS, _CALLS, _CALLS_AT_LEAST, _CALLS_MAX_S = 3, 10, 3, 1.0
"""A p95 over the budget counts only when it shows every time: one measurement on a busy machine proves nothing."""
_READ_TIMEOUT_S = 1.0
_LONGEST_FAULT = 400


@dataclass(frozen=True)
class Deadlines:
    """Seconds: until a server answers for the first time, for one call, and for all calls on one copy together."""

    start_s: float = 60.0
    call_s: float = 10.0
    all_s: float = 900.0


DEADLINES = Deadlines()
"""The application takes 6-18 s to start, 0.5 s for its first call and 5 s where another connection has the lock."""


@dataclass(frozen=True)
class Outcome:
    """What one tool did on one copy: passed, failed or skipped, why, and how long each call took after the first."""

    status: str
    reason: str | None = None
    times_ms: tuple[float, ...] = ()

    @property
    def p50_ms(self) -> float | None:
        return percentile(self.times_ms, 50) if self.times_ms else None

    @property
    def p95_ms(self) -> float | None:
        return percentile(self.times_ms, 95) if self.times_ms else None


@dataclass
class Side:
    """Filled in while the calls go on: `outcomes` by tool, the `extra` ones among them, the end of what the server
    wrote for people (of one that was lost, where any was), and the `fault` for which its answers prove nothing."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    extra: list[str] = field(default_factory=list)
    last_lines: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    fault: MigratorError | None = None


class CopyUnderServer:
    """`copy` is a database that nobody else uses, alone in its folder; `live` is what the server must not open.

    `skips` are the tools that are not called, each with its reason. `on_tool` is called before each tool.
    """

    def __init__(
        self,
        server: ToolServer,
        tools: ServerTools,
        copy: Path,
        live: Path,
        skips: Mapping[str, str],
        deadlines: Deadlines,
        on_tool: Callable[[], None],
    ) -> None:
        self._server, self._tools, self._copy, self._live = server, tools, copy, live
        self._skips, self._deadlines, self._on_tool = skips, deadlines, on_tool
        self._side = Side()
        self._todo: list[tuple[ServerCall, ListedTool]] | None = None
        self._until = time.monotonic() + deadlines.all_s
        self._given: set[str] = set()

    def call_all(self) -> Side:
        """Calls every tool that the server lists; no program of the server is left afterwards, whatever it did."""
        try:
            for _ in range(_STARTS):
                if self._todo != []:
                    self._call_until_lost()
        except MigratorError as error:
            self._side.fault = error
        for call, _ in self._todo or ():
            self._side.outcomes[call.tool] = Outcome(FAILED, "not called: the server could not go on")
        return self._side

    def _call_until_lost(self) -> None:
        watch = Watch(self._live, self._copy.parent)
        environment = {**watch.environment(os.environ), **self._tools.environment(self._copy, self._copy.parent)}
        lost = False
        with started(self._server, environment) as running, watch.looking_at(running):
            try:
                with self._session(running) as session:
                    if self._todo is None:
                        self._todo = self._calls(session.tools())
                    while self._todo:
                        self._on_tool()
                        call, listed = self._todo.pop(0)
                        lost = self._call(session, call, listed)
                        watch.refuse_others()
                        if lost:
                            break
            except (LostServerError, AnswerError) as error:
                watch.refuse_others()
                if self._todo is None:
                    raise NotStartedError(self._told(error)) from error
            finally:
                if lost or not self._side.last_lines:
                    self._side.last_lines = tuple(map(self._told, running.last_lines))
                self._side.findings = (*self._side.findings, *watch.findings)

    def _session(self, running: RunningServer) -> AbstractContextManager[Session]:
        start_s, call_s = self._deadlines.start_s, self._deadlines.call_s
        if self._server.url is not None:
            return json_rpc_session(self._server, running, start_s, call_s)
        return mcp_session(running, start_s, call_s)

    def _calls(self, listed: tuple[ListedTool, ...]) -> list[tuple[ServerCall, ListedTool]]:
        """What is to be called, in its order, what nobody knows last; every other tool has its outcome afterwards."""
        unknown = {tool.name: tool for tool in listed}
        calls = []
        for call in self._tools.calls:
            found = unknown.pop(call.tool, None) or unknown.pop(call.also_named or "", None)
            if found is None:
                self._side.outcomes[call.tool] = Outcome(FAILED, NOT_LISTED)
            elif call.tool in self._skips:
                self._side.outcomes[call.tool] = Outcome(SKIPPED, self._skips[call.tool])
            else:
                calls.append((call, found))
        for tool in unknown.values():
            self._side.extra.append(tool.name)
            if tool.destructive:
                self._side.outcomes[tool.name] = Outcome(SKIPPED, "the server says that it is destructive")
                continue
            try:
                calls.append((_unknown(tool), tool))
            except UnsatisfiableError as error:
                reason = f"nobody knows its arguments, and none can be made up ({error})"
                self._side.outcomes[tool.name] = Outcome(SKIPPED, reason)
        return calls

    def _call(self, session: Session, call: ServerCall, listed: ListedTool) -> bool:
        """Gives one tool its outcome; returns whether the server is lost."""
        outcome, lost = Outcome(FAILED, "not called: all calls together took too long"), False
        if time.monotonic() < self._until:
            try:
                outcome = self._measured(session, call, listed)
            except LostServerError as error:
                outcome, lost = Outcome(FAILED, self._told(error)), True
        self._side.outcomes[call.tool] = outcome
        return lost

    def _measured(self, session: Session, call: ServerCall, listed: ListedTool) -> Outcome:
        """The first call warms up, and is not timed; the others are judged as well."""
        for _ in range(call.attempts):
            _, fault = self._timed_ms(session, call, listed)
            if fault is None:
                break
        else:
            return Outcome(FAILED, fault)
        until = time.monotonic() + self._deadlines.call_s
        for _ in range(_MEASUREMENTS):
            times: list[float] = []
            begun = time.monotonic()
            while len(times) < _CALLS and (len(times) < _CALLS_AT_LEAST or time.monotonic() - begun < _CALLS_MAX_S):
                took_ms, fault = self._timed_ms(session, call, listed)
                if fault is not None and call.attempts == 1:
                    return Outcome(FAILED, fault)
                times.append(took_ms)
            if percentile(times, 95) <= BUDGET_MS or time.monotonic() > until:
                break
        return Outcome(PASSED, None, tuple(times))

    def _timed_ms(self, session: Session, call: ServerCall, listed: ListedTool) -> tuple[float, str | None]:
        """How long one call took, and why it failed; raises LostServerError."""
        try:
            with self._reading() as copy:
                arguments = fitted(call.arguments(copy), listed.schema)
        except (sqlite3.Error, LookupError, TypeError, ValueError) as error:
            return 0.0, self._told(f"the copy has nothing to call it with: {error}")
        self._given.update(_texts_in(arguments))
        begun = time.perf_counter()
        try:
            answer = session.call(listed.name, arguments)
            took_ms = 1000 * (time.perf_counter() - begun)
            return took_ms, self._fault_in(answer) or self._fault_of_check(call, arguments, answer)
        except AnswerError as error:
            return 1000 * (time.perf_counter() - begun), self._told(error)

    def _fault_of_check(self, call: ServerCall, arguments: Arguments, answer: Answer) -> str | None:
        try:
            with self._reading() as copy:
                call.check(copy, arguments, answer)
        except ProbeError as error:
            return self._told(error)
        except sqlite3.Error as error:
            return self._told(f"the copy cannot be read after it ({error})")
        except LookupError as error:
            return self._told(f"its answer lacks {error}")
        except (AttributeError, TypeError, ValueError):
            return "its answer does not have the form that this tool answers in"
        return None

    def _fault_in(self, answer: Answer) -> str | None:
        """Why the tool itself says that it failed; a tool may answer an error beside a success."""
        if answer.get("success") is False or answer.get("error"):
            return self._told(answer.get("error") or "it says that it failed, and not why")
        return None

    def _told(self, said: object) -> str:
        """What the server or an error said, as it may stand in reports and logs: without what stands in rows, on one
        line, not longer than a report's table bears."""
        line = " ".join(without_values(str(said), self._given).split())
        return line if len(line) <= _LONGEST_FAULT else f"{line[:_LONGEST_FAULT]}.."

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with opened(self._copy, read_only=True, timeout_s=_READ_TIMEOUT_S, trusts_schema=True) as connection:
            connection.text_factory = lambda text: text.decode(errors="replace")
            yield connection


class NotStartedError(MigratorError):
    """The server did not come so far as to list its tools."""


def _unknown(tool: ListedTool) -> ServerCall:
    """A call with arguments that the tool's schema allows; raises UnsatisfiableError where it allows none."""
    arguments = satisfying({"type": "object", **tool.schema})
    return ServerCall(tool.name, lambda copy: dict(arguments), lambda copy, asked, answer: None)


def _texts_in(arguments: object) -> Iterator[str]:
    """Every text in the arguments, however deeply it is nested."""
    if isinstance(arguments, str):
        yield arguments
    elif isinstance(arguments, Mapping):
        for value in arguments.values():
            yield from _texts_in(value)
    elif isinstance(arguments, list | tuple):
        for value in arguments:
            yield from _texts_in(value)
