"""Noticing that somebody cancelled the run: nobody tells a local process, so it asks at the boundary of each step."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectException
from prefect.settings import PREFECT_API_REQUEST_TIMEOUT, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from migrator.findings import Finding
from tasks.record import current_report

_ASK_EVERY_S = 1.0
_HEALTH_TIMEOUT_S = 0.5

TIMEOUT_S = 5.0
"""How long an answer of Prefect's server is worth waiting for."""

_asked_at: dict[UUID, float] = {}


@contextmanager
def asking_once() -> Iterator[None]:
    """What the block asks of Prefect's server it asks once, a new client for at most `TIMEOUT_S`.

    With Prefect's own settings a question takes up to 62 s where a server died and 7 minutes where it hangs, and a
    migration has no use for the answer by then.
    """
    if FlowRunContext.get() is None:
        # Nothing will be asked, and Prefect's settings cost a fleet an eighth of each of its databases.
        yield
        return
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0, PREFECT_API_REQUEST_TIMEOUT: TIMEOUT_S}):
        yield


class RunCancelledError(BaseException):
    """The flow run was cancelled. No Exception: nothing may take it for a failed step and go on."""


def raise_if_cancelled(at_once: bool = False) -> None:
    """Raises RunCancelledError where somebody cancelled the flow run."""
    if is_cancelled(at_once):
        raise RunCancelledError("the flow run was cancelled")


def is_cancelled(at_once: bool = False, timeout_s: float = _HEALTH_TIMEOUT_S) -> bool:
    """Whether the flow run's state is Cancelling or Cancelled.

    Asks at most once a second (a request takes 30-50 ms), or `at_once`. A server that does not answer within
    `timeout_s` means "not cancelled", is a finding, and is asked again only `at_once`: a dead Prefect server fails no
    migration.
    """
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return False
    run_id, now = context.flow_run.id, time.monotonic()
    if not at_once and now < _asked_at.get(run_id, 0.0) + _ASK_EVERY_S:
        return False
    _asked_at[run_id] = now
    try:
        with asking_once(), get_client(sync_client=True, httpx_settings={"timeout": timeout_s}) as client:
            client._client.get("/health").raise_for_status()
            state = client.read_flow_run(run_id).state
    except (httpx.HTTPError, PrefectException, OSError) as error:
        _asked_at[run_id] = math.inf
        message = "the Prefect server does not answer; a cancellation would not be noticed"
        current_report.get().add_findings([Finding("server_unreachable", f"{message} ({type(error).__name__})")])
        return False
    return state is not None and (state.is_cancelling() or state.is_cancelled())
