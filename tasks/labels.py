"""What a flow run's notification says of it: Prefect knows only that it failed, its labels say what became of live."""

from __future__ import annotations

import time

from loguru import logger
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectHTTPStatusError

from migrator.report import Report
from tasks.cancellation import asking_once

_PAUSES_S = (0.1, 0.2, 0.4, 0.8, 1.6)
_BUSY = 503


def label(report: Report) -> None:
    """Afterwards the flow run has the label `outcome` and, where something went wrong, `error`.

    By these a restored run is told from a refused one; both are Failed. Does nothing outside a flow run; raises what
    the client raises where the server does not answer.
    """
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return
    labels: dict[str, bool | int | float | str] = {"outcome": str(report.outcome)}
    if report.error:
        labels["error"] = report.error
    with asking_once(), get_client(sync_client=True) as client:
        # The server reads before it writes, for which SQLite refuses while a task run is recorded (Prefect 3.8.8).
        for pause_s in _PAUSES_S:
            try:
                client.update_flow_run_labels(context.flow_run.id, labels)
                return
            except PrefectHTTPStatusError as error:
                if error.response.status_code != _BUSY:
                    raise
            time.sleep(pause_s)
    logger.warning("the Prefect server was too busy to take the labels of this run; a notification will lack them")
