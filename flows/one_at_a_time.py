"""One run at a time on one database: the OS lock beside it decides, and the run of a deployment waits for it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from loguru import logger
from prefect.context import FlowRunContext

from flows.ending import Run
from migrator.errors import RefusedError
from migrator.lock import UnderWayError, locked
from tasks.cancellation import asking_once

WAIT_S = 3600.0
_ASK_EVERY_S = 0.5


@contextmanager
def one_at_a_time(database: Path, run: Run) -> Iterator[None]:
    """Holds the lock of `database` as `lock_when_free` does; where it refuses it ends `run` so.

    While it is held nothing waits long for Prefect's server.
    """
    with ExitStack() as held:
        try:
            held.enter_context(lock_when_free(database))
        except RefusedError as error:
            run.end_badly(error)
            raise
        held.enter_context(asking_once())
        yield


@contextmanager
def lock_when_free(database: Path, wait_s: float = WAIT_S) -> Iterator[None]:
    """Holds the OS lock of `database` (a real path). Raises as `locked` does.

    The run of a deployment waits up to `wait_s` for the one before it, whichever worker or command line has that;
    nobody watches it who could start it again. No Prefect concurrency limit: the slot of a killed run stays taken for
    the 300 s of its lease, its renewal ends a run whose Prefect server is away, and its name would keep machines apart
    that have different databases at the same path.
    """
    with ExitStack() as held:
        deadline = time.monotonic() + (wait_s if _is_of_deployment() else 0.0)
        told = False
        while True:
            try:
                held.enter_context(locked(database))
                break
            except UnderWayError as error:
                if time.monotonic() >= deadline:
                    raise
                if not told:
                    logger.info("waiting: {}", error.fault)
                told = True
            # A signal ends the wait.
            time.sleep(_ASK_EVERY_S)
        yield


def _is_of_deployment() -> bool:
    context = FlowRunContext.get()
    return context is not None and context.flow_run is not None and context.flow_run.deployment_id is not None
