"""The report in Prefect's UI, on the page of the run that made it."""

from __future__ import annotations

from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.context import FlowRunContext

from migrator.report import Report, counted


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


def _summary(report: Report) -> str:
    lines = [f"# {report.outcome}", f"`{report.database}`", ""]
    if report.error:
        lines += ["```text", report.error, "```", ""]
    facts = {
        "run": report.run_id,
        "version": None if report.from_version is None else f"{report.from_version:04d} → {report.to_version:04d}",
        "tools": ", ".join(f"{n} {status}" for status, n in counted(report.tools).items()) if report.tools else None,
        "promoted": None
        if report.promoted is None
        else f"{report.promoted.rows:,} rows, lock held for {report.promoted.lock_ms:.1f} ms",
        "backup": None if report.backup is None else f"`{report.backup.path}`",
    }
    lines += ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in facts.items() if value)]
    lines += ["", *(f"- {f.message} ({f.code})" for f in report.findings)]
    return "\n".join(lines) + "\n"
