"""The report in Prefect's UI, on the page of the run that made it."""

from __future__ import annotations

import time
from uuid import UUID

from loguru import logger
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.context import FlowRunContext, TaskRunContext

from migrator.report import Report, counted

_SHOWN_EVERY_S = 2.0


def publish(report: Report) -> None:
    """Afterwards the flow run has the artifacts `migration` (a summary) and `tools` (a row for each tool).

    Does nothing outside a flow run. Raises what the client raises where the server does not answer.
    """
    if FlowRunContext.get() is None:
        return
    create_markdown_artifact(
        key="migration", markdown=_summary(report), description=f"{report.outcome}: {report.database}"
    )
    if report.tools:
        create_table_artifact(key="tools", table=report.tool_rows(), description="Each tool before and after")


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
        said = f"{done:,} of about {total:,} rows; about {left_s:.0f} s left"
        percent = 100 * done / total
        try:
            if self._id is None:
                self._id = UUID(str(create_progress_artifact(percent, key="promotion", description=said)))
            else:
                update_progress_artifact(self._id, percent, description=said)
        except Exception as error:
            self._on = False
            logger.warning("the promotion's progress cannot be shown in Prefect's UI: {}", error)


def _summary(report: Report) -> str:
    lines = [f"# {report.outcome}", f"`{report.database}`", ""]
    if report.error:
        lines += ["```text", report.error, "```", ""]
    facts = {
        "run": report.run_id,
        "version": None if report.from_version is None else f"{report.from_version:04d} → {report.to_version:04d}",
        "tools": ", ".join(f"{n} {status}" for status, n in counted(report.tools).items()) if report.tools else None,
        "promoted": report.promoted and str(report.promoted),
        "backup": None if report.backup is None else f"`{report.backup.path}`",
    }
    lines += ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in facts.items() if value)]
    lines += ["", *(f"- {f.message} ({f.code})" for f in report.findings)]
    return "\n".join(lines) + "\n"
