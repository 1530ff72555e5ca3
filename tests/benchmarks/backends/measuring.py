"""How long the tools take, and how many durable writes a backend takes from how many clients."""

import os
import time
from collections import Counter
from contextlib import closing

from tests.benchmarks.backends.crowd import at_once
from tests.benchmarks.backends.tools import LIST_TODOS, LOG_CHAT, TOOLS, call_as_the_application, call_kept

AS_THE_APPLICATION, KEPT = "a connection a call", "connection kept"
LEAST_CALLS, MOST_CALLS = 20, 80
"""Of a tool; within them as many as fit in the time that it has."""
BESIDE_EVERY_S = 0.05
"""Each client beside the one that calls the tools writes 20 times a second, whatever the backend could take."""
READ_EVERY_S = 0.01


def caller(backend, manner, given):
    """A function that calls a tool in this manner, and one that ends it; the same errors go up in both."""
    if manner == AS_THE_APPLICATION:
        return (lambda tool: call_as_the_application(backend.connect, tool, given)), lambda: None
    connection = backend.connect()

    def call(tool):
        try:
            return call_kept(connection, tool, given)
        except Exception:
            connection.rollback()
            raise

    return call, connection.close


class Clock:
    """Milliseconds of every call that succeeded, and the errors of the others, counted by their first words."""

    def __init__(self):
        self.took_ms, self.errors = [], Counter()
        self._began = time.perf_counter()
        self.ended_s = 0.0

    def end(self):
        self.ended_s = time.perf_counter() - self._began

    @property
    def calls_a_second(self):
        return len(self.took_ms) / self.ended_s

    def time(self, function, *arguments):
        began = time.perf_counter()
        try:
            function(*arguments)
        except Exception as error:
            self.errors[f"{type(error).__name__}: {str(error)[:80]}".splitlines()[0]] += 1
        else:
            self.took_ms.append(1000 * (time.perf_counter() - began))

    def percentile(self, percent):
        """Nearest rank, upwards; NaN where no call succeeded."""
        ordered = sorted(self.took_ms)
        rank = -(-percent * len(ordered) // 100)
        return round(ordered[max(0, rank - 1)], 2) if ordered else float("nan")


def tool_latencies(backend, given, manner, writers_beside, seconds_a_tool, tools=TOOLS):
    """Tool: its Clock, called by one client alone, or beside others that log a message every BESIDE_EVERY_S."""

    def all_tools(stop):
        call, end = caller(backend, manner, given)
        clocks = {}
        for tool in tools:
            clock = clocks[tool.name] = Clock()
            until = time.perf_counter() + seconds_a_tool
            for n in range(MOST_CALLS):
                if n >= LEAST_CALLS and time.perf_counter() > until:
                    break
                clock.time(call, tool)
        end()
        return clocks

    writer = _repeating(backend, manner, given, LOG_CHAT, BESIDE_EVERY_S)
    return at_once(all_tools, [writer] * writers_beside, backend.in_one_process)[0]


def write_throughput(backend, given, manner, writers, seconds, writes_a_second=None):
    """The Clocks of a reader, and of each of `writers` clients that log messages: so many a second all together, or
    without a pause. A write that is late puts off no other: those behind it follow at once."""
    reader = _repeating(backend, manner, given, LIST_TODOS, READ_EVERY_S)
    writer = _repeating(backend, manner, given, LOG_CHAT, writers / writes_a_second if writes_a_second else 0)
    roles = [reader, *[writer] * writers]
    _, read, *wrote = at_once(lambda stop: stop.wait(seconds), roles, backend.in_one_process)
    return read, wrote


def together(clocks):
    """One Clock with all calls of several that ran at the same time."""
    one = Clock()
    for clock in clocks:
        one.took_ms += clock.took_ms
        one.errors += clock.errors
    return one


def _repeating(backend, manner, given, tool, every_s):
    def role(stop):
        call, end = caller(backend, manner, given)
        clock = Clock()
        due = time.perf_counter()
        while not stop.is_set():
            clock.time(call, tool)
            due += every_s
            if (early_s := due - time.perf_counter()) > 0:
                stop.wait(early_s)
        clock.end()
        end()
        return clock

    return role


def connecting(backend, times):
    """The Clock of opening and closing a connection."""
    clock = Clock()
    for _ in range(times):
        clock.time(lambda: backend.connect().close())
    return clock


def syncing(folder, times):
    """The Clock of writing 4 KiB at the end of a file and waiting for the disk: what no durable commit can beat."""
    clock = Clock()
    with closing(os.fdopen(os.open(folder / "sync", os.O_CREAT | os.O_WRONLY), "wb", buffering=0)) as file:
        for _ in range(times):
            clock.time(lambda: (file.write(bytes(4096)), os.fdatasync(file.fileno())))
    return clock
