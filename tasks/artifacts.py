"""The report in Prefect's UI, on the page of the run that made it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from loguru import logger
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.context import FlowRunContext, TaskRunContext

from migrator.backup import MAX_LOCK_MS
from migrator.check.forecast import forecast
from migrator.connect import opened
from migrator.errors import MigratorError
from migrator.report import PLANNED, Report
from migrator.report_markdown import latency, plan, prose, summary
from migrator.tools import FAILED, SKIPPED

_SHOWN_EVERY_S = 2.0


def publish(report: Report) -> None:
    """Afterwards the flow run has the artifact `migration`, a summary, and of the others those that there is anything
    to say in: `plan`, `latency` (a chart), and the tables `tools`, `tool-changes` and `tool-server`.

    Does nothing outside a flow run. Raises what the client raises where the server does not answer.
    """
    if FlowRunContext.get() is None:
        return
    pages = [("migration", summary(report), f"{report.outcome}: {prose(report.database)}")]
    if report.plan:
        pages.append(("plan", plan(report, _lock(report)), "What happens to each table"))
    if report.latencies:
        pages.append(("latency", latency(report), "How long each tool takes, before and after"))
    for key, page, description in pages:
        create_markdown_artifact(key=key, markdown=page, description=description)
    for key, rows, description in (
        ("tools", _tools(report), "Each tool before and after"),
        ("tool-changes", _tool_changes(report), "Which step made a tool work, or broke it"),
        ("tool-server", _tool_server(report), "Each tool in the application's own server, before and after"),
    ):
        if rows:
            create_table_artifact(key=key, table=rows, description=description)


def _lock(report: Report) -> str:
    """How long the promotion locks, as far as that is known: predicted by the rehearsal, or estimated without one."""
    if report.predicted_lock_ms is not None:
        return (
            f"The rehearsal predicted {report.predicted_lock_ms:,.1f} ms of write lock for the statements of one "
            "transaction; its COMMIT takes up to as long again."
        )
    if report.outcome != PLANNED or report.live is None or report.live.plan is None:
        return ""
    try:
        with opened(report.live.database, read_only=True) as connection:
            expected = forecast(connection, report.live.plan, MAX_LOCK_MS)
    except (sqlite3.Error, MigratorError) as error:
        return f"No lock time can be estimated: {error}"
    return (
        f"One transaction would hold the write lock for about {expected.lock_ms:,.0f} ms, for "
        f"{'' if expected.counted else 'at most '}{expected.rows:,} rows: estimated on {expected.sample} of them."
    )


def _tools(report: Report) -> list[dict[str, object]]:
    before = {entry.tool: entry.before_p95_ms for entry in report.latencies}
    return _rows((row, before.get(str(row["name"]))) for row in report.tool_rows())


def _tool_server(report: Report) -> list[dict[str, object]]:
    return [] if report.tool_server is None else _rows((vars(row), None) for row in report.tool_server.rows)


def _rows(tools: Iterable[tuple[Mapping[str, Any], float | None]]) -> list[dict[str, object]]:
    """A row for each tool and its p95 before; first what failed, then what is repaired, last what was skipped: the UI
    shows ten at a time."""
    rows = [
        {
            "tool": row["name"], "before": row["before"], "after": row["after"], "p50 ms": row["p50_ms"],
            "p95 ms": row["p95_ms"], "before ms": None if before is None else round(before, 3), "reason": row["reason"],
        }
        for row, before in tools
    ]  # fmt: skip
    return sorted(rows, key=lambda row: (row["after"] != FAILED, row["before"] != FAILED, row["after"] == SKIPPED))


def _tool_changes(report: Report) -> list[dict[str, object]]:
    return [
        {"tool": change.tool, "when": change.when, "it": change.state, "reason": change.reason}
        for change in report.tool_changes
    ]


class ProgressArtifact:
    """The artifact `promotion` of the run under way: how far it is, and about how long it still takes.

    A server that does not answer is not asked again: it must slow no promotion.
    """

    def __init__(self) -> None:
        self._id: UUID | None = None
        self._started = self._shown = time.monotonic()
        self._on = TaskRunContext.get() is not None

    def show(self, done: int, total: int) -> None:
        """Makes or changes the artifact, at most every two seconds."""
        now = time.monotonic()
        if not self._on or not total or now - self._shown < _SHOWN_EVERY_S:
            return
        self._shown = now
        left_s = (now - self._started) * (total - done) / max(done, 1)
        said = f"{done:,} of about {total:,} rows" + (f"; about {left_s:.0f} s left" if done < total else "")
        percent = 100 * done / total
        try:
            if self._id is None:
                self._id = UUID(str(create_progress_artifact(percent, key="promotion", description=said)))
            else:
                update_progress_artifact(self._id, percent, description=said)
        except Exception as error:
            self._on = False
            logger.warning("the promotion's progress cannot be shown in Prefect's UI: {}", error)
