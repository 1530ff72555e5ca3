"""The application's tools on a snapshot: whether each works, how fast, and whether that is as it used to be."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from migrator.application import Application
from migrator.ddl import folded
from migrator.errors import ValidationError
from migrator.findings import Finding
from migrator.health.faults import Fault
from migrator.health.history import Check, times_of
from migrator.health.slowdown import CHECKS_NEEDED, MEASUREMENTS, Timed, Usual, measured, usual
from migrator.performance import BUDGET_MS, percentile, query_plans, scanned, timed_ms
from migrator.probes import Probe
from migrator.tools import FAILED, FAULTS, PASSED, SKIPPED, attempt, fault_text

_CALLS, _CALLS_AT_LEAST, _CALLS_MAX_S = 20, 3, 0.5
_REFERENCE_NAME = "reference.db"
_SLOW_MACHINE = 1.5
"""From here on it is worth saying that the machine, and not the database, is slower than usual."""


@dataclass(frozen=True)
class ToolHealth:
    """`status` is passed, failed or skipped, `reason` why it is not passed.

    The times are None where it was not measured: percentiles on the clock, less what it waited for a processor, and
    the median of its processor time (see slowdown.py, also for `reference_ms`). So are what is usual, on a machine as
    fast as this one is now, and the limit above which it is slower than usual, where the history is too short to say.
    """

    name: str
    status: str
    reason: str | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None
    cpu_ms: float | None = None
    reference_ms: float | None = None
    usual_cpu_ms: float | None = None
    limit_cpu_ms: float | None = None


def check_tools(
    snapshot: Path, folder: Path, application: Application, history: Sequence[Check], version: int, accept_speed: bool
) -> tuple[tuple[ToolHealth, ...], tuple[Finding, ...]]:
    """Calls every tool on `snapshot`, where all that it writes is rolled back, and times it.

    Faults: a tool that fails; a p95 over 500 ms, or slower than usual (a finding with `accept_speed`), in three
    measurements; a full scan of a table to which the migrations up to `version` give indexes.
    """
    reference = _make_reference(folder / _REFERENCE_NAME)
    indexed = frozenset(
        folded(change.table) for m in application.migrations[:version] for change in m.changes if change.indexes
    )
    tools: list[ToolHealth] = []
    noted: list[Finding] = []
    factors: list[float] = []
    for probe in application.probes_at(version):
        was = usual(times_of(history, probe.tool))
        try:
            tool = _check_tool(snapshot, reference, probe, was, noted, accept_speed)
            if tool.status == PASSED:
                noted += _full_scans(snapshot, probe, indexed)
        except FAULTS as error:
            # It worked the first time.
            tool = ToolHealth(probe.tool, FAILED, fault_text(error))
        if tool.status == FAILED:
            noted.append(Fault("tool_failed", f"tool {tool.name} fails: {tool.reason}"))
        if was is not None and tool.reference_ms is not None:
            factors.append(was.slower_machine(tool.reference_ms))
        tools.append(tool)
    return tuple(tools), (*noted, *_about_history(tools, factors))


def _check_tool(
    snapshot: Path, reference: Path, probe: Probe, was: Usual | None, noted: list[Finding], accept_speed: bool
) -> ToolHealth:
    if probe.call is None:
        return ToolHealth(probe.tool, SKIPPED, probe.skip_reason)
    try:
        fault, _ = attempt(snapshot, probe)
    except ValidationError as error:
        fault = str(error)
    if fault is not None:
        return ToolHealth(probe.tool, FAILED, fault)
    found, over, slower = measured(lambda: _measure(snapshot, reference, probe), was, BUDGET_MS)
    if over:
        noted.append(
            Fault(
                "over_budget",
                f"tool {probe.tool} is over the budget of {BUDGET_MS:g} ms in each of {MEASUREMENTS} measurements: p95 "
                f"{found.p95_ms:.1f} ms, of processor time {found.cpu_ms:.1f} ms",
            )
        )
    times = ToolHealth(probe.tool, PASSED, None, found.p50_ms, found.p95_ms, found.cpu_ms, found.reference_ms)
    if was is None:
        return times
    limit_ms, usual_ms = was.limit_ms(found.reference_ms), was.cpu_ms * was.slower_machine(found.reference_ms)
    if slower:
        noted.append(_slower(probe, found, usual_ms, limit_ms, accept_speed))
    return replace(times, usual_cpu_ms=usual_ms, limit_cpu_ms=limit_ms)


def _slower(probe: Probe, found: Timed, usual_ms: float, limit_ms: float, accepted: bool) -> Finding:
    message = (
        f"tool {probe.tool} is slower than usual: {found.cpu_ms:.1f} ms of processor time, usually {usual_ms:.1f} ms "
        f"and noise up to {limit_ms:.1f} ms, in each of {MEASUREMENTS} measurements"
    )
    if accepted:
        return Finding("speed_accepted", f"{message}; that is normal from now on")
    return Fault("slower", f"{message}; if that is how it shall be, --accept-speed makes it the normal speed")


def _measure(snapshot: Path, reference: Path, probe: Probe) -> Timed:
    """Calls of the tool and of the reference in turn, so that what passes by hits both."""
    calls: list[tuple[float, float]] = []
    references: list[float] = []
    started = time.monotonic()
    while len(calls) < _CALLS and (len(calls) < _CALLS_AT_LEAST or time.monotonic() - started < _CALLS_MAX_S):
        calls.append(_timed(snapshot, probe))
        references.append(_timed(reference, _REFERENCE)[1])
    on_the_clock, cpu = zip(*calls, strict=True)
    return Timed(percentile(on_the_clock, 50), percentile(on_the_clock, 95), median(cpu), median(references))


def _timed(path: Path, probe: Probe) -> tuple[float, float]:
    """Milliseconds of one call: on the clock, less what it waited for a processor, and of the processor."""
    waited_ms, cpu_s = _waited_ms(), time.thread_time()
    on_the_clock_ms = timed_ms(path, probe)
    return on_the_clock_ms - (_waited_ms() - waited_ms), 1000 * (time.thread_time() - cpu_s)


def _waited_ms(schedstat: Path = Path("/proc/thread-self/schedstat")) -> float:
    """For how long this thread has waited for a processor (docs.kernel.org/scheduler/sched-stats.html).

    0 where the system does not say: then the others that use the machine count.
    """
    try:
        return int(schedstat.read_text(encoding="ascii").split()[1]) / 1e6
    except (OSError, ValueError, IndexError):
        return 0.0


def _make_reference(path: Path) -> Path:
    """A database that is the same in every check: what a call on it takes is the machine's doing alone."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE work (id INTEGER PRIMARY KEY, text TEXT)")
        texts = ((f"{n * 7919 % 1009:>100}",) for n in range(1000))
        connection.executemany("INSERT INTO work (text) VALUES (?)", texts)
    return path


def _work(connection: sqlite3.Connection) -> None:
    """A little of what tools do: read, join, sort, write."""
    joined = "SELECT max(a.text || b.id) FROM work AS a JOIN work AS b ON b.id = (a.id * 7919) % 1000 + 1"
    connection.execute(joined).fetchone()
    connection.execute("INSERT INTO work (text) SELECT text FROM work ORDER BY text LIMIT 100")


_REFERENCE = Probe("reference", _work)


def _full_scans(snapshot: Path, probe: Probe, indexed: frozenset[str]) -> Iterator[Fault]:
    """One for each table. The statement is not told: it may hold a user's words."""
    found = {
        table
        for statement, details in query_plans(snapshot, probe)
        for detail in details
        if (table := scanned(statement, detail, indexed)) is not None
    }
    for table in sorted(found):
        yield Fault("full_scan", f"tool {probe.tool} reads all of {table}, although a migration gives it indexes")


def _about_history(tools: Sequence[ToolHealth], factors: Sequence[float]) -> Iterator[Finding]:
    unjudged = [t.name for t in tools if t.p95_ms is not None and t.limit_cpu_ms is None]
    if unjudged:
        yield Finding(
            "history_short",
            f"tools with fewer than {CHECKS_NEEDED} healthy checks so far, too few to tell whether they became slower",
            len(unjudged),
        )
    if factors and median(factors) > _SLOW_MACHINE:
        yield Finding(
            "slow_machine",
            f"the machine takes {median(factors):.1f} times as much processor time as usual for what has nothing to do "
            "with the database; slowdowns are judged accordingly",
        )
