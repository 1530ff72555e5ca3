"""Carrying out the parts of a fleet on other machines: each is a run of that machine's deployment `fleet/MACHINE`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import Any, TypeVar
from uuid import UUID

import httpx
from loguru import logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import TERMINAL_STATES, State, StateType
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound, PrefectException, PrefectHTTPStatusError
from prefect.states import Cancelling, Crashed, Scheduled

from flows.fleet.request import FleetRequest, PartOf
from migrator.errors import RefusedError
from migrator.fleet.fleet import Fleet
from migrator.fleet.parts import Part
from migrator.fleet.results import INTERRUPTED, Result
from migrator.fleet.waves import CANARY
from tasks.fleet import ROWS_AT_MOST, table_key

T = TypeVar("T")

_LOOK_S = 2.0
_SILENCE_S = 120.0
"""For how long the Prefect server may not answer before the fleet stops; the runs go on, and a resume takes over what
they did."""
TAKEN_S = 300.0
"""A run that a worker took and that has not begun by then never will: its worker died before the run's first sign of
life, which the server's own watch for silent runs waits for. (From taken to begun: 5 to 20 s.)"""
_SAY_AFTER_S = 60.0
GRACE_S = 600.0
"""How long a run that was cancelled may take to end; its worker asks for cancellations every 15 s."""


class OnMachines:
    """Called with a part, it has the machine's worker migrate that, and gives each result when it comes.

    A run that failed or died, with its worker or without, is followed by another one, which goes on with what that one
    left, as long as they come further; one of an earlier start that is still at work is waited for there. Where the
    fleet is stopped the runs are cancelled.
    """

    def __init__(self, request: FleetRequest, fleet: Fleet) -> None:
        self._request, self._fleet = request, fleet

    def __call__(self, part: Part) -> Iterator[Result]:
        """Raises RuntimeError, TimeoutError or what Prefect's client raises where not each gets a result and nobody has
        stopped the fleet."""
        known: set[str] = set()
        stuck_at: int | None = None
        is_canary = not self._fleet.is_proven

        def is_over() -> bool:
            is_done = len(known) == len(part.databases) or (is_canary and self._fleet.is_proven)
            return is_done or self._fleet.why_stopped is not None

        while True:
            with get_client(sync_client=True) as client:
                # What is ordered twice because an answer was lost does no harm.
                left = replace(part, databases=tuple(name for name in part.databases if name not in known))
                part_of = self._part_of(left, is_canary)
                run = PartRun(client, _patiently(partial(self._ordered, left, part_of)), part, str(part_of))
                state = yield from self._results(run, known)
                if self._fleet.why_stopped is not None:
                    # Another one of its part would take its place.
                    _patiently(run.tell_to_end)
            # One that Failed before its databases are done was refused, or met a server that was too busy.
            if is_over() or not (state.is_crashed() or state.is_failed()) or len(known) == stuck_at:
                break
            stuck_at = len(known)
            logger.warning("{}: {} ended as {} ({}); another one goes on", part, run, state.name, state.message)
        if not is_over() or (state.is_cancelled() and not run.is_told):
            of_all = f"{len(known)} of {len(part.databases)} results"
            raise RuntimeError(f"{run} ended as {state.name} with {of_all}: {state.message}")

    def _results(self, run: PartRun, known: set[str]) -> Generator[Result, None, State[Any]]:
        """Yields each result that is not known yet, and notes it; returns the final state."""
        while True:
            state = _patiently(run.look)
            for name, result in _patiently(run.results).items():
                # What was stopped by nobody here is left to the run that goes on.
                is_left = result.outcome == INTERRUPTED and self._fleet.why_stopped is None
                if name not in known and not is_left:
                    known.add(name)
                    yield result
            if state.is_final():
                return state
            if self._fleet.why_stopped is not None:
                _patiently(run.tell_to_end)
            time.sleep(_LOOK_S)

    def _part_of(self, part: Part, is_canary: bool) -> PartOf:
        order = self._fleet.order
        wave = CANARY if is_canary else self._fleet.wave_of(part.databases[0])
        return PartOf(fleet_id=order.fleet_id, wave=wave, machine=str(part.machine), checksum=order.checksum)

    def _ordered(self, part: Part, part_of: PartOf) -> UUID:
        asked = self._request.for_part(part_of, part, self._fleet.may_fail(part))
        deployment = f"fleet/{part.machine}"
        try:
            ordered: Any = run_deployment(
                deployment,
                parameters={"request": asked},
                timeout=0,
                as_subflow=True,
                flow_run_name=f"fleet {part_of}",
                tags=[str(part_of)],
            )
        except ObjectNotFound as error:
            raise RefusedError(
                f"the Prefect server has no deployment {deployment}",
                f"start the worker of {part.machine}, as deployments/README.md says, and go on with --resume",
            ) from error
        except PrefectHTTPStatusError as error:
            if error.response.status_code != HTTPStatus.UNPROCESSABLE_ENTITY:
                raise
            raise RefusedError(
                f"the Prefect server takes no run of {part}: {_fault(error)}",
                "start the server with PREFECT_SERVER_API_MAX_PARAMETER_SIZE=0, and go on with --resume",
            ) from None
        return UUID(str(ordered.id))


class PartRun:
    """A flow run of a part, as its fleet sees it from afar; every run of the part has the same `tag`."""

    def __init__(self, client: SyncPrefectClient, flow_run_id: UUID, part: Part, tag: str) -> None:
        self._client, self._id, self._part, self._tag = client, flow_run_id, part, tag
        self._kind: object = None
        self._since = self._told_at = 0.0
        self._say_after_s = _SAY_AFTER_S
        self._tables_read = 0
        self.is_told = False

    def __str__(self) -> str:
        return f"flow run {self._id}"

    def look(self) -> State[Any]:
        """Its state. One that nobody takes, or that does not end, is told of; one that was taken and never begins is
        Crashed. Raises TimeoutError where it has been told to end and does not."""
        now = time.monotonic()
        state = self._client.read_flow_run(self._id).state or Scheduled()
        if state.type != self._kind:
            self._kind, self._since, self._say_after_s = state.type, now, _SAY_AFTER_S
        waited_s = now - self._since
        if (state.is_scheduled() or state.is_cancelling()) and waited_s > self._say_after_s:
            waits = "no worker has taken it" if state.is_scheduled() else "it is being cancelled and has not ended"
            logger.warning("{}: {} for {:.0f} s; is the machine's worker up?", self._part, waits, waited_s)
            # Less and less often.
            self._say_after_s *= 2
        if state.is_pending() and waited_s > TAKEN_S:
            died: State[Any] = Crashed(message=f"its worker took it and did not begin it in {TAKEN_S:g} s")
            self._client.set_flow_run_state(self._id, died, force=True)
        if self.is_told and now > self._told_at + GRACE_S and not state.is_final():
            raise TimeoutError(f"{self} has not ended {GRACE_S:g} s after it was cancelled")
        return state

    def results(self) -> dict[str, Result]:
        """What has become of its databases, by their names in the fleet: all that is new, some that is not."""
        results: dict[str, Result] = {}
        is_full = True
        while is_full:
            key = ArtifactFilterKey(any_=[table_key(self._tables_read)])
            chosen = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[self._id]), key=key)
            tables = [_rows(found.data) for found in self._client.read_artifacts(artifact_filter=chosen)]
            is_full = any(len(rows) == ROWS_AT_MOST for rows in tables)
            self._tables_read += is_full
            results |= {self._part.named(row["database"]): Result.from_json(row) for rows in tables for row in rows}
        wanted = {*self._part.databases}
        return {name: replace(result, database=name) for name, result in results.items() if name in wanted}

    def tell_to_end(self) -> None:
        """Afterwards it is being cancelled, which puts back what is not promoted, and with it every other run of its
        part: one of a fleet that was killed, or one that was ordered twice because an answer was lost."""
        if self.is_told:
            return
        unfinished = FlowRunFilterStateType(any_=[*{*StateType}.difference(TERMINAL_STATES, {StateType.CANCELLING})])
        chosen = FlowRunFilter(tags=FlowRunFilterTags(all_=[self._tag]), state=FlowRunFilterState(type=unfinished))
        for run in self._client.read_flow_runs(flow_run_filter=chosen):
            self._client.set_flow_run_state(run.id, Cancelling())
        self.is_told, self._told_at = True, time.monotonic()


def _patiently(call: Callable[[], T]) -> T:
    """What `call` returns, tried again while the server does not answer, for two minutes."""
    until = time.monotonic() + _SILENCE_S
    while True:
        try:
            return call()
        except (httpx.HTTPError, PrefectException):
            if time.monotonic() > until:
                raise
        time.sleep(_LOOK_S)


def _fault(error: PrefectHTTPStatusError) -> str:
    # The whole of it repeats the name of every database.
    try:
        return str(error.response.json()["exception_detail"][0]["msg"])
    except (ValueError, LookupError, TypeError):
        return str(error)[:200]


def _rows(data: Any) -> list[dict[str, Any]]:
    return list(json.loads(data) if isinstance(data, str) else data or [])
