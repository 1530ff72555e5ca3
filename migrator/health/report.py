"""What a health check found, for programs (JSON) and for people (HTML with the charts of the history)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from migrator.files import write_private
from migrator.health.charts import Limit, Series, line_chart, sparkline
from migrator.health.checkup import Health
from migrator.health.history import Check
from migrator.health.tool_health import ToolHealth
from migrator.page import render
from migrator.performance import BUDGET_MS
from migrator.sizes import size_text

HTML_NAME, JSON_NAME = "health.html", "health.json"
MARK = '<meta name="generator" content="flows.verify">'
"""Tells a report from any other file, which a report never replaces."""
KEYS = ("database", "healthy", "faults", "findings")
_LINES = 8
"""More lines than that nobody tells apart; the tables have them all."""


@dataclass(frozen=True)
class HealthReport:
    """`checks` is the history, the latest check last, this one included where it could be recorded or not; `kept` is
    how many of them the history holds (None: nobody looked)."""

    health: Health
    checks: tuple[Check, ...]
    history: Path
    html: Path | None = None
    kept: int | None = None

    @property
    def exit_code(self) -> int:
        """0 healthy, 1 not."""
        return 0 if self.health.healthy else 1

    @property
    def kept_text(self) -> str | None:
        """How many checks the history holds, for people."""
        if self.kept is None:
            return None
        return f"{self.kept or 'no'} {'check' if self.kept < 2 else 'checks'} in the history"

    def as_json(self) -> dict[str, object]:
        """The stable form; scripts rely on its keys."""
        health = self.health
        return {
            "database": str(health.database),
            "healthy": health.healthy,
            "at": health.at.isoformat(),
            "seconds": health.seconds,
            "version": health.version,
            "schema_fingerprint": health.schema_fingerprint,
            "size_bytes": health.size_bytes,
            "rows": dict(health.rows),
            "tools": [_tool_row(tool) for tool in health.tools],
            "faults": [asdict(f) for f in health.faults],
            "findings": [asdict(f) for f in health.findings],
            "history": {"path": str(self.history), "checks": self.kept or 0},
            "report": None if self.html is None else str(self.html),
        }

    def write(self, html: Path) -> None:
        """Afterwards `html` and, beside it, the same as JSON are there, mode 0600. Raises OSError."""
        owner = self.health.database if self.health.database.exists() else None
        write_private(html, self.as_html(), owner)
        write_private(json_path(html), json.dumps(self.as_json(), indent=2) + "\n", owner)

    def as_html(self) -> str:
        """One file without references to others."""
        return render(
            "health/report.html",
            health=self.health,
            checks=self.checks,
            kept_text=self.kept_text,
            mark=MARK,
            budget_ms=BUDGET_MS,
            tools=[(tool, sparkline(_p95s(self.checks, tool.name))) for tool in self.health.tools],
            tables=[
                (name, count, sparkline([c.rows.get(name) for c in self.checks]))
                for name, count in sorted(self.health.rows.items(), key=lambda row: -row[1])
            ],
            charts=self._charts(),
        )

    def _charts(self) -> dict[str, str]:
        """The charts by title; of tools and tables the largest now, as many as one can tell apart."""
        last = next((c for c in reversed(self.checks) if c.rows), None)
        if last is None:
            return {}
        p95s = {name: times.p95_ms for name, times in last.tools.items() if times.p95_ms is not None}
        slowest = sorted(p95s, key=lambda name: -p95s[name])[:_LINES]
        largest = sorted(last.rows, key=lambda name: -last.rows[name])[:_LINES]
        tools = {name: _over_time(self.checks, _p95s(self.checks, name)) for name in slowest}
        rows = {name: _over_time(self.checks, [c.rows.get(name) for c in self.checks]) for name in largest}
        size = {"size": _over_time(self.checks, [c.size_bytes for c in self.checks])}
        return {
            f"Slowest tools, p95, budget {BUDGET_MS:g} ms": line_chart(
                tools, lambda ms: f"{ms:g} ms", limit=Limit("budget", BUDGET_MS), logarithmic=True
            ),
            "Rows of the largest tables": line_chart(rows, lambda count: f"{count:,.0f}", logarithmic=True),
            "File size": line_chart(size, size_text),
        }


def json_path(html: Path) -> Path:
    """Where the JSON form of the report `html` lies."""
    return html.with_suffix(".json")


def _p95s(checks: Sequence[Check], tool: str) -> list[float | None]:
    return [check.tools[tool].p95_ms if tool in check.tools else None for check in checks]


def _over_time(checks: Sequence[Check], values: Sequence[float | None]) -> Series:
    return [(check.at, value) for check, value in zip(checks, values, strict=True)]


def _tool_row(tool: ToolHealth) -> dict[str, object]:
    return {
        name: round(value, 3) if isinstance(value, float) else value
        for name, value in asdict(tool).items()
        if name != "reference_ms"
    }
