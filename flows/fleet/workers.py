"""Carrying out the databases of a fleet on the workers of a deployment: each is a flow run of its own."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey
from prefect.client.schemas.objects import State
from prefect.deployments import run_deployment
from prefect.exceptions import PrefectException
from prefect.states import Cancelling, Crashed

from flows.fleet.request import FleetRequest
from migrator.fleet.fleet import Fleet
from migrator.fleet.results import INTERRUPTED, SUCCESSES, Result
from migrator.report import EXIT_CODES, MIGRATED, REFUSED, RESTORE_FAILED, RESTORED

_LOOK_S = 1.0
_SILENCE_S = 120.0
"""For how long the Prefect server may not answer before the fleet stops; the runs go on, and a resume meets them."""
TAKEN_S = 300.0
"""A run that a worker took and that has not begun by then never will: its worker died before the run's first sign of
life, which the server's own watch for silent runs waits for. (From taken to begun: 5 to 20 s.)"""
GRACE_S = 600.0
"""How long a run that was cancelled may take to restore; its worker asks for cancellations every 15 s."""


@dataclass(frozen=True)
class _Ended:
    """How one flow run ended, and why it was cancelled, where it was."""

    outcome: str
    error: str | None
    told: str | None
    has_died: bool
    was_cancelled: bool
    """By the start that ordered it, before this one met it."""


class OnWorkers:
    """Called with a database, it has a worker migrate that and waits for the end."""

    def __init__(self, request: FleetRequest, fleet: Fleet) -> None:
        self._request, self._fleet = request, fleet
        self._pause = threading.Event()

    def __call__(self, database: str) -> Result:
        """The result. A run that died, with its worker or without, is followed by a second one, which first ends what
        that one began; a start that resumes meets the flow run whose end an earlier start never saw, and has another
        one follow where that was cancelled."""
        started = time.monotonic()
        attempt, died = str(self._fleet.attempts[database]), None
        ended = self._run(database, attempt)
        while ended.told is None and (ended.was_cancelled or (ended.has_died and died is None)):
            if ended.has_died:
                died = ended.error
            attempt += " again"
            ended = self._run(database, attempt)
        outcome, error = ended.outcome, ended.error
        if died is not None:
            error = f"{died}; the one after it: {error or outcome}"
        if ended.told == INTERRUPTED and outcome in (RESTORED, REFUSED):
            outcome = INTERRUPTED
        elif ended.told is not None and outcome not in SUCCESSES:
            error = f"it {ended.told}; {error}"
        return Result(database=database, outcome=outcome, seconds=round(time.monotonic() - started, 3), error=error)

    def _run(self, database: str, attempt: str) -> _Ended:
        asked = self._request.migration_of(database).model_dump(mode="json", exclude_defaults=True)
        flow_run: Any = run_deployment(
            str(self._request.deployment),
            parameters={"request": asked | {"database": database}},
            timeout=0,
            as_subflow=True,
            flow_run_name=f"migrate {database}",
            idempotency_key=f"{self._fleet.order.fleet_id} {attempt} {database}",
        )
        was_cancelled = flow_run.state.is_cancelling() or flow_run.state.is_cancelled()
        with get_client(sync_client=True) as client:
            state, told = self._awaited(client, flow_run.id)
            outcome = _outcome(client, flow_run.id)
        message = f"flow run {flow_run.id} ended as {state.name}{f': {state.message}' if state.message else ''}"
        if outcome is None:
            # What a run that died has left is known to the next one only.
            needs_operator = state.is_crashed() or "RestoreError" in message
            outcome = MIGRATED if state.is_completed() else RESTORE_FAILED if needs_operator else RESTORED
        return _Ended(outcome, None if outcome in SUCCESSES else message, told, state.is_crashed(), was_cancelled)

    def _awaited(self, client: SyncPrefectClient, flow_run_id: UUID) -> tuple[State[Any], str | None]:
        """The final state, and why the run was cancelled, where it was. Raises TimeoutError for one that does not end
        when cancelled, and what the client raises for a server that stays silent."""
        late, told, over_at = time.monotonic() + self._request.timeout_s, None, 0.0
        heard = waited_since = time.monotonic()
        while True:
            now = time.monotonic()
            try:
                state = client.read_flow_run(flow_run_id).state
                heard = now
                if state is not None and state.is_final():
                    return state, told
                if state is None or not state.is_pending():
                    waited_since = now
                elif now > waited_since + TAKEN_S:
                    died: State[Any] = Crashed(message=f"its worker took it and did not begin it in {TAKEN_S:g} s")
                    client.set_flow_run_state(flow_run_id, died, force=True)
                if told is None and (self._fleet.is_interrupted or now > late):
                    client.set_flow_run_state(flow_run_id, Cancelling())
                    told = f"took longer than {self._request.timeout_s:g} s" if now > late else INTERRUPTED
                    over_at = now + GRACE_S
            except (httpx.HTTPError, PrefectException):
                if now > heard + _SILENCE_S:
                    raise
            if told is not None and now > over_at:
                raise TimeoutError(
                    f"flow run {flow_run_id} {told} and has not ended {GRACE_S:g} s after it was cancelled"
                )
            self._pause.wait(_LOOK_S)


def _outcome(client: SyncPrefectClient, flow_run_id: UUID) -> str | None:
    """What the run says in its artifact; None where it made none."""
    chosen = ArtifactFilter(
        flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]), key=ArtifactFilterKey(any_=["migration"])
    )
    said = [str(found.description).partition(":")[0] for found in client.read_artifacts(artifact_filter=chosen)]
    return next((word for word in said if word in EXIT_CODES), None)
