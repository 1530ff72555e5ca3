"""What the run did, kept beside the backup; nothing that goes wrong here changes what the run did."""

from __future__ import annotations

from loguru import logger

from migrator.findings import Finding
from migrator.report import Report
from tasks.artifacts import publish
from tasks.labels import label
from tasks.record import current_report
from tasks.step import step


@step("report {when}", cancellable=False)
def report(when: str) -> Report:
    """Writes the report into the run's directory, where there is one."""
    written = current_report.get()
    if written.directory is not None and written.directory.is_dir():
        written.write(written.directory)
    return written


def report_outcome() -> None:
    """Adds the outcome to the report and shows it in Prefect's UI; a failure is a finding: the run has ended."""
    written = current_report.get()
    for where, act in (("written", lambda: report("the outcome")), ("shown in Prefect's UI", lambda: _show(written))):
        try:
            act()
        except Exception as error:
            logger.warning("the report could not be {}: {}", where, error)
            written.add_findings([Finding("report_failed", f"the report could not be {where}: {error}")])


def _show(written: Report) -> None:
    """The labels first: should the server not answer, nothing waits for that twice."""
    label(written)
    publish(written)
