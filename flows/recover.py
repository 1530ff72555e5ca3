"""Ending what a killed run began, where nobody starts the next one by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from loguru import logger
from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field

from flows.one_at_a_time import lock_when_free
from flows.request import DatabaseRequest, MigrationRequest, default_database
from migrator.errors import RefusedError
from migrator.journal import read_journal
from migrator.lock import UnderWayError
from migrator.ltmc import LTMC
from migrator.report import Report
from tasks import protect
from tasks.record import current_report

RECOVERED = "Recovered"
"""The name of the state in which such a run ended something; notifications go by it."""
_WAIT_S = 60.0


class RecoverRequest(DatabaseRequest):
    """End what a killed run on a database began."""

    database: Path = Field(
        default_factory=default_database,
        description="The database file, on the machine that runs this. Default: $LTMC_DATABASE, else $DB_PATH, else "
        "ltmc.db.",
    )


@flow(flow_run_name="recover {request.database}", persist_result=False)
def recover(request: RecoverRequest) -> State[Any]:
    """Ends what a killed run began: afterwards its promotion was verified and stands, or what it left is removed.

    Where nothing is left to end it does nothing, and where a run is at work that one ends it.
    """
    database = request.real_database
    report = Report(str(database))
    current_report.set(report)
    if not database.exists():
        raise RefusedError(f"no database at {database}", "start this where the database of the killed run is")
    if read_journal(database) is None:
        return Completed(message=f"nothing to recover: no run on {database} was killed")
    try:
        with lock_when_free(database, _WAIT_S):
            if read_journal(database) is None:
                return Completed(message="nothing to recover any more: somebody has ended it")
            report.outcome = protect.recover(database, LTMC).how
    except UnderWayError as error:
        return Completed(message=f"left to the run at work: {error.fault}")
    said = "; ".join(found.message for found in report.findings)
    logger.warning("{}: {}", database, said)
    return Completed(name=RECOVERED, message=said)


def recover_after_crash(flow: Any, flow_run: Any, state: Any) -> None:
    """A hook of the migrate flow: a worker calls it in another process when the run's own died or was cancelled."""
    request = MigrationRequest.model_validate(flow_run.parameters["request"])
    if read_journal(request.real_database) is not None:
        logger.warning("the run on {} ended as {}: recovering", request.real_database, state.name)
        recover(RecoverRequest(database=request.real_database))
