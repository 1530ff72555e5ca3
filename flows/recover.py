"""Ending what a killed run began, where nobody starts the next one by hand."""

from pathlib import Path
from typing import Any

from loguru import logger
from prefect import flow

from flows.request import MigrationRequest
from migrator.journal import read_journal
from migrator.lock import locked
from migrator.ltmc import LTMC
from migrator.report import Report
from tasks import protect
from tasks.record import current_report


@flow(flow_run_name="recover {database}", persist_result=False)
def recover(database: Path) -> dict[str, Any]:
    """Afterwards no run is under way on `database`: a committed promotion was verified, anything else was removed."""
    report = Report(str(database))
    current_report.set(report)
    with locked(database):
        if read_journal(database) is None:
            report.outcome = "nothing_to_recover"
        else:
            report.outcome = protect.recover(database, LTMC).how
    return report.as_json()


def recover_after_crash(flow: Any, flow_run: Any, state: Any) -> None:
    """A hook of the migrate flow: a worker calls it in another process when the run's own died or was cancelled."""
    request = MigrationRequest.model_validate(flow_run.parameters["request"])
    if read_journal(request.real_database) is not None:
        logger.warning("the run on {} ended as {}: recovering", request.real_database, state.name)
        recover(request.real_database)
