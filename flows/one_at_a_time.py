"""One run at a time on one database: among the workers of a Prefect server, and on the machine that has the file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from prefect.client.orchestration import get_client
from prefect.concurrency.sync import concurrency
from prefect.context import FlowRunContext

from flows.ending import Run
from migrator.errors import RefusedError
from migrator.lock import locked

_WAIT_S = 3600


@contextmanager
def one_at_a_time(database: Path, run: Run) -> Iterator[None]:
    """Holds the OS lock of `database` and, in a deployment's run, a Prefect concurrency limit of one around it.

    The limit makes the second run of two workers wait; the OS lock refuses, and alone decides. Raises RefusedError
    where another process on this machine migrates the database, and ends `run` so.
    """
    with ExitStack() as held:
        context = FlowRunContext.get()
        # Only there: the leases of a run's own server die with it and nobody would free the slot of a killed run.
        if context is not None and context.flow_run is not None and context.flow_run.deployment_id is not None:
            name = f"migrate-{hashlib.sha256(str(database).encode()).hexdigest()[:16]}"
            with get_client(sync_client=True) as client:
                client.upsert_global_concurrency_limit_by_name(name, 1)
            # Without `strict` a missing limit is a warning and the run goes on unprotected.
            held.enter_context(concurrency(name, occupy=1, timeout_seconds=_WAIT_S, strict=True))
        try:
            held.enter_context(locked(database))
        except RefusedError as error:
            run.end_badly(error)
        yield
