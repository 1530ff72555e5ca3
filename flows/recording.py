"""The end of a local run: what Prefect sends behind the run's back is recorded, then the program ends in bounded time.

Imports Prefect only when called.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn
from uuid import UUID

from flows.server import within

STOPPED_TIMEOUT_S = 3.0
"""How long whoever stopped a run waits for its records: a task run that was stopped as it began never gets a state."""
_UNTOLD_S = 2.0
WAITS = "all is done but that the Prefect server records it; Ctrl-C ends the wait and changes nothing"
_STANDS_FOR = "prefect.deployments."
"""A task run that run_deployment makes for a run elsewhere: it stays Pending where that could not be ordered."""


def wait_until_recorded(
    flow_run_id: UUID | str, task_runs: int, timeout_s: float, tell: Callable[[str], object] = lambda said: None
) -> bool:
    """True once the server holds the run's logs and at least `task_runs` task runs, all in a final state.

    Call it when the flow has ended, before `stop()`: Prefect sends both behind the run's back. False when
    `timeout_s` passed or the server does not answer; never raises, never takes longer than `timeout_s`. Whoever
    watches would wonder what it waits for after 2 s, and is told.
    """
    deadline = time.monotonic() + timeout_s
    telling = threading.Timer(_UNTOLD_S, lambda: tell(WAITS))
    telling.daemon = True
    telling.start()
    try:
        return within(timeout_s, lambda: _recorded(UUID(str(flow_run_id)), task_runs, deadline), False)
    finally:
        telling.cancel()


def _recorded(flow_run_id: UUID, task_runs: int, deadline: float) -> bool:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        # Sending to a server that is gone would take up all the time.
        if client.api_healthcheck() is not None:
            return False
        _send_what_is_queued(deadline)
        while time.monotonic() < deadline:
            tried = [run for run in _task_runs(client, flow_run_id) if not run.task_key.startswith(_STANDS_FOR)]
            finals = [run.state is not None and run.state.is_final() for run in tried]
            if len(finals) >= task_runs and all(finals):
                return True
            time.sleep(0.05)
    return False


def _task_runs(client: Any, flow_run_id: UUID) -> Iterator[Any]:
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
    from prefect.client.schemas.sorting import TaskRunSort

    chosen = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
    count = 0
    while page := client.read_task_runs(flow_run_filter=chosen, sort=TaskRunSort.ID_DESC, offset=count):
        yield from page
        count += len(page)


def _send_what_is_queued(deadline: float) -> None:
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    for worker in (EventsWorker, APILogWorker):
        worker.drain_all(timeout=max(0.0, deadline - time.monotonic()))


def leave(code: int, drain_timeout_s: float = 3.0) -> NoReturn:
    """Ends the program with `code`, at most `drain_timeout_s` later, without running exit handlers.

    Prefect's own exit handler tries for minutes to reach a server that is gone. What the run printed is
    flushed; a reader of it that went away is no error.
    """
    if "prefect.events.worker" in sys.modules:
        within(drain_timeout_s, lambda: _send_what_is_queued(time.monotonic() + drain_timeout_s), None)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)
