"""The runs of a worker that are under way, and how they end before it stops. Imports Prefect."""

from __future__ import annotations

import os
import signal
import sys
import time
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
    WorkQueueFilter,
    WorkQueueFilterName,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.settings import PREFECT_API_REQUEST_TIMEOUT, PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Cancelling

from migrator.signals import on_end_signals

_UNDER_WAY = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
_ASK_EVERY_S = 0.2
_WORKER_REPORTS_S = 10.0
"""The worker says that a run was cancelled two seconds after its program has ended."""
_END_WITHIN_S = 600.0
"""Prefect kills a cancelled run after 30 s; what it was doing is then undone by its hook, which takes what it takes."""
_PATIENCE = {PREFECT_CLIENT_MAX_RETRIES: 2, PREFECT_API_REQUEST_TIMEOUT: 10.0}
"""A server that is gone or hangs is given up within a minute, not after seven."""


def under_way(client: SyncPrefectClient, pool: str, queue: str | None = None) -> list[FlowRun]:
    """The runs of `pool`, or of one of its queues, that a worker has taken and that have not ended."""
    return client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_UNDER_WAY))),
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[pool])),
        work_queue_filter=None if queue is None else WorkQueueFilter(name=WorkQueueFilterName(any_=[queue])),
    )


def crashed_fleets(client: SyncPrefectClient, pool: str, queue: str) -> list[FlowRun]:
    """The runs of the flow `fleet` in a queue of `pool` that are Crashed, the newest first."""
    return client.read_flow_runs(
        flow_filter=FlowFilter(name=FlowFilterName(any_=["fleet"])),
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.CRASHED]))),
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[pool])),
        work_queue_filter=WorkQueueFilter(name=WorkQueueFilterName(any_=[queue])),
        sort=FlowRunSort.START_TIME_DESC,
    )


def end_runs(pool: str, why: str, queue: str | None = None) -> None:
    """Afterwards this machine's worker may stop: no run of it is under way, or nothing more can be done about one.

    A worker that stops kills its runs without a word (Prefect 3.8.8). So each is cancelled, which restores what was not
    promoted, and waited for, 10 minutes at most; a second Ctrl-C or SIGTERM does not wait. What is killed is recovered
    by the next start. From then on both signals have no effect. Prints what it does; raises nothing.
    """
    try:
        with temporary_settings(_PATIENCE):
            left = _cancel_and_wait(pool, why, queue)
        for run in left:
            print(f"{run.name} does not end and is killed", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print("killing them", flush=True)
    except Exception as error:
        print(f"runs under way are killed, because they could not be asked to end: {error}", file=sys.stderr)
    on_end_signals(signal.SIG_IGN)


def _cancel_and_wait(pool: str, why: str, queue: str | None) -> list[FlowRun]:
    """The runs that are under way when the time is over; those whose programs are gone count as ended."""
    deadline = time.monotonic() + _END_WITHIN_S
    waits_until: dict[UUID, float] = {}
    with get_client(sync_client=True) as client:
        while runs := under_way(client, pool, queue):
            new = [run.id for run in runs if run.id not in waits_until]
            for run_id in new:
                client.set_flow_run_state(run_id, Cancelling(message=why))
            if new:
                print(f"ending {len(new)} under way; they restore first", flush=True)
            now = time.monotonic()
            for run in runs:
                if run.id in new or _lives(run):
                    waits_until[run.id] = now + _WORKER_REPORTS_S
            if all(now >= waits_until[run.id] for run in runs):
                return []
            if now >= deadline:
                return runs
            time.sleep(_ASK_EVERY_S)
    return []


def _lives(run: FlowRun) -> bool:
    """Whether the program of a run of this machine's worker is there; nobody ends one that was killed before."""
    try:
        os.kill(int(str(run.infrastructure_pid)), 0)
    except (ValueError, ProcessLookupError, PermissionError):
        # Another user's program has its number since.
        return False
    return True
