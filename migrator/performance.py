"""The performance gate: every tool's latency, the plans of its queries, and memory over many calls."""

from __future__ import annotations

import os
import re
import resource
import sqlite3
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from textwrap import shorten

from migrator.backup import Progress, no_progress
from migrator.connect import opened
from migrator.ddl import tokens, words
from migrator.errors import ValidationError
from migrator.findings import Finding
from migrator.probes import Probe
from migrator.schema import index_name
from migrator.tools import PASSED, Scratch, ToolResult, call, rolled_back

BUDGET_MS = 500.0
"""The plan's success criterion: tool response times remain under 500 ms."""
_WORSE_FACTOR, _WORSE_MS = 2.0, 20.0
_MEASUREMENTS = 3
"""A slowdown counts only when it shows every time: one measurement on a busy machine proves nothing."""
_CALLS, _CALLS_AT_LEAST, _CALLS_MAX_S = 20, 3, 0.5
MEMORY_S = 1.0
"""How long the tools are called to see whether memory grows: some thousand calls on a small database."""
_LEAK_BYTES = 8 << 20
_STATEMENTS = frozenset({"select", "with", "insert", "update", "delete", "replace"})
_READ_IN_FULL = re.compile(r"SCAN ((?:(?! USING ).)+)|SEARCH (.+) USING AUTOMATIC .+")
"""An automatic index is made for one query, from every row."""
_INDEX_USED = re.compile(r"USING (?:COVERING )?INDEX (\S+)")


@dataclass(frozen=True)
class Latency:
    """Percentiles of a tool's calls on the migrated copy; the p95 on the copy of the backup (None: it fails there)."""

    tool: str
    p50_ms: float
    p95_ms: float
    before_p95_ms: float | None


@dataclass(frozen=True)
class Performance:
    """The gate was passed."""

    latencies: tuple[Latency, ...]
    findings: tuple[Finding, ...]


def check_performance(
    scratch: Scratch,
    probes: Sequence[Probe],
    results: Sequence[ToolResult],
    on_progress: Progress = no_progress,
    memory_s: float = MEMORY_S,
) -> Performance:
    """Measures every tool that passed on the migrated copy.

    Raises ValidationError for a p95 over 500 ms, or one over twice the backup's and 20 ms above it, in three
    measurements; for a full scan of a table that the migration gives indexes; for memory that grows over as many
    calls as fit in `memory_s`. An index that no tool uses is a finding.
    """
    passed = {r.name: r for r in results if r.after == PASSED}
    timed = [p for p in probes if p.call is not None and p.tool in passed]
    latencies = []
    for done, probe in enumerate(timed):
        latencies.append(_measured(scratch, probe, passed[probe.tool].before == PASSED))
        on_progress(done + 1, len(timed))
    findings = tuple(_check_plans(scratch, timed))
    _check_memory(scratch.after, timed, memory_s)
    return Performance(tuple(latencies), findings)


def _measured(scratch: Scratch, probe: Probe, compare: bool) -> Latency:
    """The first measurement that is neither over budget nor worse; raises ValidationError where none is."""
    for _ in range(_MEASUREMENTS):
        before, after = _interleaved(scratch, probe, compare)
        latency = Latency(
            probe.tool, percentile(after, 50), percentile(after, 95), percentile(before, 95) if before else None
        )
        slower = latency.before_p95_ms is not None and latency.p95_ms > max(
            _WORSE_FACTOR * latency.before_p95_ms, latency.before_p95_ms + _WORSE_MS
        )
        if latency.p95_ms <= BUDGET_MS and not slower:
            return latency
    before_text = "" if latency.before_p95_ms is None else f", {latency.before_p95_ms:.1f} ms before"
    raise ValidationError(
        f"tool {probe.tool} is too slow on the migrated copy: p95 {latency.p95_ms:.1f} ms{before_text} "
        f"(budget {BUDGET_MS:g} ms) in {_MEASUREMENTS} measurements; live unchanged",
        "add an index to the migration",
    )


def _interleaved(scratch: Scratch, probe: Probe, compare: bool) -> tuple[list[float], list[float]]:
    """Milliseconds of each call, before and after in turn, so that a busy moment hits both."""
    before: list[float] = []
    after: list[float] = []
    started = time.monotonic()
    while len(after) < _CALLS and (len(after) < _CALLS_AT_LEAST or time.monotonic() - started < _CALLS_MAX_S):
        if compare:
            before.append(timed_ms(scratch.before, probe))
        after.append(timed_ms(scratch.after, probe))
        if len(after) >= _CALLS_AT_LEAST and max(after) <= BUDGET_MS and not (before and _is_slower(after, before)):
            # Not even the slowest call is near a limit: more of them would tell nothing else.
            break
    return before, after


def _is_slower(after: Sequence[float], before: Sequence[float]) -> bool:
    return max(after) > max(_WORSE_FACTOR * min(before), min(before) + _WORSE_MS)


def timed_ms(path: Path, probe: Probe) -> float:
    """How long one call takes, with the opening of its connection and the rollback, as the application's calls do."""
    started = time.perf_counter()
    with rolled_back(path) as connection:
        call(probe, connection)
    return 1000 * (time.perf_counter() - started)


def percentile(values: Sequence[float], percent: int) -> float:
    """Nearest rank (NIST/SEMATECH e-Handbook, 7.2.6.2)."""
    ordered = sorted(values)
    return ordered[max(0, -(-percent * len(ordered) // 100) - 1)]


def _check_plans(scratch: Scratch, probes: Iterable[Probe]) -> Iterator[Finding]:
    indexed = {p.table.casefold(): p.table for p in scratch.plan.tables if p.indexes}
    declared = {index_name(i) for p in scratch.plan.tables for i in p.indexes}
    used: set[str] = set()
    for probe in probes:
        for statement, details in query_plans(scratch.after, probe):
            for detail in details:
                used.update(_INDEX_USED.findall(detail))
                table = scanned(statement, detail, frozenset(indexed))
                if table is not None:
                    raise ValidationError(
                        f"tool {probe.tool} reads all of {indexed[table]} although the migration gives it indexes: "
                        f"{shorten(statement, 300, placeholder=' ...')}; live unchanged",
                        "add an index for this query to the migration",
                    )
    unused = sorted(declared - used)
    if unused:
        noun = "index" if len(unused) == 1 else "the indexes"
        yield Finding("index_unused", f"no tool uses {noun} {', '.join(unused)}", len(unused))


def scanned(statement: str, detail: str, tables: frozenset[str]) -> str | None:
    """Which of `tables` a line of the statement's query plan reads in full; the plan names it by its alias."""
    found = _READ_IN_FULL.fullmatch(detail)
    if found is None:
        return None
    name = (found[1] or found[2]).casefold()
    names = [(token.name or "").casefold() for token in tokens(statement) if token.canonical != "as"]
    aliased = {table for table, alias in pairwise(names) if alias == name}
    return next(iter(tables & {name, *aliased}), None)


def query_plans(path: Path, probe: Probe) -> Iterator[tuple[str, list[str]]]:
    """The statements of one call, each with the lines of its query plan (sqlite.org/eqp.html)."""
    statements: list[str] = []
    with rolled_back(path) as connection:
        connection.set_trace_callback(statements.append)
        call(probe, connection)
        connection.set_trace_callback(None)
    with opened(path, read_only=True, trusts_schema=True) as connection:
        for statement in dict.fromkeys(statements):
            if words(statement)[:1] and words(statement)[0] in _STATEMENTS:
                try:
                    yield statement, [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
                except sqlite3.OperationalError:
                    # A statement on what the call itself made: its table is rolled back, it has no plan here.
                    continue


def _check_memory(path: Path, probes: Sequence[Probe], seconds: float) -> None:
    """Calls every tool in turn; once caches are warm, the process must not grow."""
    _call_for(seconds / 3, path, probes)
    baseline = _resident_bytes()
    calls = _call_for(seconds * 2 / 3, path, probes)
    grown = _resident_bytes() - baseline
    if grown > _LEAK_BYTES:
        most = max(probes, key=lambda probe: _growth(path, probe, calls // len(probes)))
        raise ValidationError(
            f"memory grew by {grown:,} bytes over {calls} calls of the tools, and most with tool {most.tool}; "
            "live unchanged",
            "look for a leak",
        )


def _growth(path: Path, probe: Probe, calls: int) -> int:
    """By how many bytes the process grows with as many more calls of one tool."""
    before = _resident_bytes()
    for _ in range(calls):
        timed_ms(path, probe)
    return _resident_bytes() - before


def _call_for(seconds: float, path: Path, probes: Sequence[Probe]) -> int:
    """Calls every tool at least once, then again until the time is over; returns the number of calls."""
    started, rounds = time.monotonic(), 0
    while probes and (rounds == 0 or time.monotonic() - started < seconds):
        for probe in probes:
            timed_ms(path, probe)
        rounds += 1
    return rounds * len(probes)


def _resident_bytes(statm: Path = Path("/proc/self/statm")) -> int:
    """What the process has in memory now; where the system does not say (no Linux), the most that it ever had."""
    try:
        return int(statm.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except FileNotFoundError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
