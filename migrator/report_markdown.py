"""What a run did, as Markdown for Prefect's UI: no raw HTML, because its older pages end at the first tag."""

from __future__ import annotations

import re
from collections.abc import Iterator

from migrator.charts import as_picture
from migrator.check.documentation import code, fenced
from migrator.check.wording import SENTENCES
from migrator.performance import BUDGET_MS
from migrator.report import Report

_MARKUP = re.compile(r"[\\`*_\[\]<>|~&#]")


def prose(text: str) -> str:
    """`text` in one line, with nothing in it that Markdown would take for markup."""
    return _MARKUP.sub(r"\\\g<0>", " ".join(text.split()))


def summary(report: Report) -> str:
    """Outcome, error, the facts, and what there is to know."""
    parts = [
        f"# {prose(report.outcome or 'not finished')}",
        f"{code(report.database)}, run {code(report.run_id)}" if report.run_id else code(report.database),
        fenced("text", report.error) if report.error else "",
        _table(report),
        "\n".join(_findings(report)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def plan(report: Report, lock: str) -> str:
    """What happens to each table, how long that locks (`lock`, a sentence), and every statement of the promotion."""
    parts = ["# Plan", prose(lock)]
    for headline, lines in report.planned_tables():
        parts.append(f"## {prose(headline)}")
        shown = ((label, prose(line) if label in SENTENCES else code(line)) for label, line in lines)
        parts.append("\n".join(f"- **{label}** {line}" for label, line in shown))
    parts += ["## Statements", fenced("sql", "\n\n".join(f"{statement.strip()};" for statement in report.plan))]
    return "\n\n".join(part for part in parts if part) + "\n"


def latency(report: Report) -> str:
    """The chart of every tool's p95 before and after; its colours fit every page."""
    return (
        f"p95 of each tool on a copy of the backup and on the migrated copy. The budget is {BUDGET_MS:g} ms; "
        "a tool without a bar before failed there.\n\n"
        f"![p95 of each tool before and after]({as_picture(report.latency_chart())})\n"
    )


def _table(report: Report) -> str:
    facts = [f"| {label} | {prose(value)} |" for label, value in report.facts()]
    return "\n".join(["| | |", "|---|---|", *facts]) if facts else ""


def _findings(report: Report) -> Iterator[str]:
    if report.findings:
        yield "## Notes\n"
    for finding in report.findings:
        yield f"- {prose(finding.text)}"
