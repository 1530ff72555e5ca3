"""What a run did, for programs (JSON) and for people (HTML), beside the backup."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from migrator.backup import Backup
from migrator.candidate import predicted_lock_ms
from migrator.charts import bar_chart
from migrator.check.explanation import explain
from migrator.check.wording import KINDS, wording
from migrator.files import write_private
from migrator.findings import Finding
from migrator.page import render
from migrator.performance import BUDGET_MS, Latency
from migrator.preflight import Live
from migrator.promotion import Promoted
from migrator.quick_check import BEFORE, TOO_SLOW, ToolState
from migrator.tools import FAILED, PASSED, SKIPPED, ToolResult

if TYPE_CHECKING:
    # What it imports takes longer than an answer that needs none of it.
    from migrator.tool_server.validation import ServerValidation

MIGRATED, UP_TO_DATE, PLANNED = "migrated", "up_to_date", "planned"
RESTORED, REFUSED, RESTORE_FAILED = "restored", "refused", "restore_failed"
EXIT_CODES = {MIGRATED: 0, UP_TO_DATE: 0, PLANNED: 0, RESTORED: 1, REFUSED: 2, RESTORE_FAILED: 3}
JSON_NAME, HTML_NAME = "report.json", "report.html"
_CHARTED_SHARE = 0.02
"""Of the run's time: a shorter step would have no bar to see."""


@dataclass(frozen=True)
class StepTaken:
    """One step of the run; `rows` where the step counts any."""

    name: str
    seconds: float
    rows: int | None = None


@dataclass
class Report:
    """Filled in while the run goes on; `running` is the step under way, `failed_step` the one that ended the run,
    `task_runs` how many Prefect was asked for; `outcome` is None until the run has ended."""

    database: str
    run_id: str = ""
    from_version: int | None = None
    to_version: int | None = None
    outcome: str | None = None
    flow_run_id: str | None = None
    running: str = ""
    failed_step: str = ""
    task_runs: int = 0
    error: str | None = None
    directory: Path | None = None
    live: Live | None = None
    backup: Backup | None = None
    promoted: Promoted | None = None
    steps: list[StepTaken] = field(default_factory=list)
    tools: list[ToolResult] = field(default_factory=list)
    tool_changes: list[ToolState] = field(default_factory=list)
    latencies: tuple[Latency, ...] = ()
    tool_server: ServerValidation | None = None
    plan: tuple[str, ...] = ()
    findings: list[Finding] = field(default_factory=list)
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    _began_s: float = field(default_factory=time.monotonic, init=False, repr=False)
    _tool_states: dict[str, str] = field(default_factory=dict, init=False, repr=False)

    @property
    def exit_code(self) -> int:
        """0 migrated, up to date or plan shown; 1 failed and restored; 2 refused; 3 the operator must act."""
        return EXIT_CODES.get(self.outcome or "", 1)

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._began_s

    @property
    def version_text(self) -> str:
        """From where to where, or where the database stayed; "" where that was not found out."""
        if self.from_version is None:
            return ""
        stayed, wanted = f"version {self.from_version:04d}", f"{self.to_version or 0:04d}"
        return f"{stayed}, not {wanted}" if self.outcome in (REFUSED, RESTORED) else f"{stayed} → {wanted}"

    def describe(self, live: Live) -> None:
        """Takes over what was found of live."""
        self.live, self.database, self.run_id, self.directory = live, str(live.database), live.run_id, live.directory
        self.from_version, self.to_version = live.from_version, live.to_version
        self.plan = () if live.plan is None else live.plan.statements
        self.add_findings(live.findings)

    def add_findings(self, findings: Iterable[Finding]) -> None:
        """Adds what is not there yet: steps that are tried again find the same again."""
        self.findings.extend(f for f in dict.fromkeys(findings) if f not in self.findings)

    def note_tools(self, states: Iterable[ToolState]) -> list[ToolState]:
        """Adds, and returns, the states before the migration and those that a step has changed.

        A tool that is too slow for a quick look tells nothing; one that first tells something later has no change.
        """
        told = [s for s in states if s.state != TOO_SLOW]
        changed = [s for s in told if s.step == BEFORE or self._tool_states.get(s.tool, s.state) != s.state]
        self._tool_states |= {s.tool: s.state for s in told}
        self.tool_changes.extend(changed)
        return changed

    def as_json(self) -> dict[str, object]:
        """The stable form; scripts rely on its keys."""
        return {
            "run_id": self.run_id,
            "database": self.database,
            "from_version": self.from_version,
            "to_version": self.to_version,
            "outcome": self.outcome,
            "error": self.error,
            "backup": None if self.backup is None else {"path": str(self.backup.path), "sha256": self.backup.sha256},
            "steps": [asdict(s) for s in self.steps],
            "tools": self.tool_rows(),
            "tool_server": None if self.tool_server is None else self.tool_server.as_json(),
            "tool_changes": [asdict(s) for s in self.tool_changes],
            "promote": None
            if self.promoted is None
            else {
                "strategy": self.promoted.strategy,
                "lock_ms": round(self.promoted.lock_ms, 3),
                "rows": self.promoted.rows,
            },
            "findings": [asdict(f) for f in self.findings],
            "plan": list(self.plan),
        }

    def tool_rows(self) -> list[dict[str, object]]:
        """A row for each tool that was tried."""
        latency = {entry.tool: entry for entry in self.latencies}
        return [_tool_row(tool, latency.get(tool.name)) for tool in self.tools]

    def write(self, directory: Path) -> None:
        """Afterwards report.json and report.html are in `directory`, mode 0600."""
        write_private(directory / JSON_NAME, json.dumps(self.as_json(), indent=2) + "\n", Path(self.database))
        write_private(directory / HTML_NAME, self.as_html(), Path(self.database))

    def facts(self) -> Iterator[tuple[str, str]]:
        """What the run reached, in a few lines with their labels."""
        if self.from_version is not None and self.outcome not in (REFUSED, RESTORED):
            yield "version", f"{self.from_version:04d} -> {self.to_version:04d}"
        if self.tools:
            tools = counted(self.tools)
            repaired = sum(t.before == FAILED and t.after == PASSED for t in self.tools)
            passed = f"{tools[PASSED]} passed ({repaired} of them failed before)"
            yield "tools", f"{passed}, {tools[FAILED]} failed, {tools[SKIPPED]} skipped"
            if self.outcome == MIGRATED and tools[FAILED]:
                yield "failed tools", "; ".join(self.why_failed())
        if self.tool_server is not None:
            after = [row.after for row in self.tool_server.rows]
            yield "tool server", ", ".join(f"{after.count(status)} {status}" for status in (PASSED, FAILED, SKIPPED))
        if self.latencies:
            slowest = max(self.latencies, key=lambda entry: entry.p95_ms)
            yield "slowest tool", f"{slowest.tool}, p95 {slowest.p95_ms:.1f} ms of {BUDGET_MS:g} ms"
        if self.promoted is not None:
            yield "promoted", str(self.promoted)
        if self.backup is not None:
            yield "backup", str(self.backup.path)
            yield "report", str(self.backup.path.with_name(HTML_NAME))

    def why_failed(self) -> Iterator[str]:
        """What is to be said of tools that fail and stopped no run: the way back takes from some what they need."""
        plan = None if self.live is None else self.live.plan
        back = plan.tools if plan is not None and plan.reverse else frozenset()
        failed = [tool for tool in self.tools if tool.after == FAILED]
        for did, names in (
            (f"did at {self.to_version or 0:04d}", [t.name for t in failed if t.name in back]),
            ("did before", [t.name for t in failed if t.before == FAILED and t.name not in back]),
        ):
            if names:
                fail = "1 fails as it" if len(names) == 1 else f"{len(names)} fail as they"
                yield f"{fail} {did} ({', '.join(names)})"

    @property
    def predicted_lock_ms(self) -> float | None:
        """What the rehearsal predicted for one transaction; None where nothing was promoted."""
        return (
            None if self.promoted is None else predicted_lock_ms(self.promoted.candidate, self.promoted.candidate.rows)
        )

    def planned_tables(self) -> list[tuple[str, list[tuple[str, str]]]]:
        """What the plan does to each table: a headline, and lines with their labels."""
        if self.live is None or self.live.plan is None:
            return []
        explained = explain(self.live.plan, self.live.state)
        return [(f"{table.table} {KINDS[table.kind]}", list(wording(table))) for table in explained]

    def latency_chart(self) -> str:
        """The p95 of each tool before and after, the slowest first, as SVG; "" where nothing was measured."""
        slowest_first = sorted(self.latencies, key=lambda entry: -entry.p95_ms)
        before: list[float | None] = [entry.before_p95_ms for entry in slowest_first]
        after = [entry.p95_ms for entry in slowest_first]
        names = [entry.tool for entry in slowest_first]
        return bar_chart(names, {"before": before, "after": after}, lambda ms: f"{ms:g} ms")

    def steps_chart(self) -> str:
        """How long each of the longer steps took, in the order of the run, and the others together, as SVG."""
        total = sum(taken.seconds for taken in self.steps)
        long = [taken for taken in self.steps if taken.seconds >= _CHARTED_SHARE * total]
        bars = [(taken.name, taken.seconds) for taken in long]
        if len(long) < len(self.steps):
            bars.append((f"{len(self.steps) - len(long)} shorter steps", total - sum(taken.seconds for taken in long)))
        seconds = {"seconds": [seconds for _, seconds in bars]}
        return bar_chart([name for name, _ in bars], seconds, lambda value: f"{value:g} s")

    def as_html(self) -> str:
        """One file without references to others."""
        return render(
            "report.html",
            report=self,
            tools=self.tool_rows(),
            counted=counted(self.tools),
            failures=list(self.why_failed()),
            before_p95={entry.tool: entry.before_p95_ms for entry in self.latencies},
            tables=self.planned_tables(),
            latency_chart=self.latency_chart(),
            steps_chart=self.steps_chart(),
            budget_ms=BUDGET_MS,
        )


def _tool_row(tool: ToolResult, latency: Latency | None) -> dict[str, object]:
    return {
        "name": tool.name,
        "status": tool.status,
        "reason": tool.reason,
        "before": tool.before,
        "after": tool.after,
        "p50_ms": None if latency is None else round(latency.p50_ms, 3),
        "p95_ms": None if latency is None else round(latency.p95_ms, 3),
    }


def counted(tools: Sequence[ToolResult]) -> dict[str, int]:
    """How many tools passed, failed and were skipped: a skipped one is never a passed one."""
    return {status: sum(t.status == status for t in tools) for status in (PASSED, FAILED, SKIPPED)}
