"""What the run did, kept beside the backup; nothing that goes wrong here changes what the run did."""

from __future__ import annotations

from loguru import logger

from migrator.findings import Finding
from migrator.report import Report
from tasks.artifacts import publish
from tasks.record import current_report
from tasks.step import step


@step("report {when}", cancellable=False)
def report(when: str) -> Report:
    """Writes the report into the run's directory, where there is one, and once the run has ended into Prefect's UI."""
    written = current_report.get()
    if written.directory is not None and written.directory.is_dir():
        written.write(written.directory)
    if written.outcome is not None:
        publish(written)
    return written


def report_outcome() -> None:
    """Adds the outcome to the report; a failure is a finding, never an error: the run has ended already."""
    try:
        report("the outcome")
    except Exception as error:
        logger.warning("the report could not be written: {}", error)
        current_report.get().add_findings([Finding("report_failed", f"the report could not be written: {error}")])
