"""A fleet in Prefect's UI: a task run for each database or part, and tables of all of them."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from typing import Any
from uuid import UUID

import httpx
from loguru import logger
from prefect import task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import State, StateType
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectException
from prefect.states import Cancelled, Completed, Failed

from migrator.fleet.fleet import Fleet
from migrator.fleet.order import carried_out
from migrator.fleet.parts import Part
from migrator.fleet.report import wave_rows
from migrator.fleet.results import INTERRUPTED, Result
from tasks.cancellation import TIMEOUT_S

CANCELLED = "the flow run was cancelled"
DATABASES = "databases"
_ASK_EVERY_S = 2.0
_SHOW_EVERY_S = 5.0
ROWS_AT_MOST = 1000
"""The UI shows a table as one page, the state file has all; and of 4,000 rows Prefect's client would make an event that
is larger than the 1.5 MB which it sends."""


@task(name="migrate", task_run_name="migrate {name}", cache_policy=NO_CACHE, persist_result=False)
def migrate_part(fleet: Fleet, part: Part, name: str, migrate: Callable[[Part], Iterator[Result]]) -> State[Any]:
    """Has `migrate` carry out one part; the state of the task run says what became of it."""
    results = carried_out(fleet, part, migrate)
    if results is None:
        return Cancelled(message="not started: the fleet was stopped")
    said = _text(_said(part, results))
    if any(result.is_failure for result in results):
        return Failed(message=said)
    is_whole = len(results) == len(part.databases) or fleet.why_stopped is None
    if not is_whole or any(result.outcome == INTERRUPTED for result in results):
        return Cancelled(message=said)
    return Completed(message=said)


def _said(part: Part, results: list[Result]) -> str:
    if part.machine is None:
        (result,) = results
        return result.outcome if result.error is None else f"{result.outcome}: {result.error}"
    counts = Counter(result.outcome for result in results)
    return ", ".join(f"{count} {outcome}" for outcome, count in counts.items()) or "none of them has a result"


class Shown:
    """The artifacts of a fleet's flow run: `fleet`, a table of the waves, and `databases`, what became of each, the
    failed ones first; where another machine's fleet reads it all of them, in as many tables as that takes."""

    def __init__(self, fleet: Fleet, is_read: bool) -> None:
        self._fleet, self._is_read = fleet, is_read
        self._made: dict[str, Any] = {}
        self._rows_shown: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def live(self) -> Iterator[None]:
        """In the block they follow the fleet."""
        shown = -1

        def follow(over: threading.Event) -> None:
            nonlocal shown
            if shown != (now := len(self._fleet.new)):
                # A server that does not answer now gets the next one, or the last.
                with suppress(httpx.HTTPError, PrefectException, OSError):
                    self.publish("under way", over.is_set)
                    shown = now

        with _repeatedly(_SHOW_EVERY_S, follow):
            yield

    def publish(self, outcome: str, is_late: Callable[[], bool] = lambda: False) -> None:
        """Afterwards they are there, as the fleet is now, but where it `is_late` for this outcome. Raises what the
        client raises where the server does not answer."""
        fleet = self._fleet
        # Whoever comes later shows what is newer.
        with self._lock:
            if is_late():
                return
            self._show("fleet", _waves(fleet, outcome), f"{outcome}: {fleet.order.fleet_id}")
            for key, results, more in self._tables():
                # What is read by a fleet only grows.
                if not self._is_read or key not in self._made or len(results) != self._rows_shown[key]:
                    rows = [_row(fleet, result) for result in results]
                    self._show(key, rows, f"What became of each database{more}")
                    self._rows_shown[key] = len(rows)

    def _tables(self) -> Iterator[tuple[str, list[Result], str]]:
        """Key, rows, and what is to be said of those that are not in it."""
        results = [*self._fleet.results.copy().values()]
        if self._is_read:
            for n in range(0, max(1, len(results)), ROWS_AT_MOST):
                yield table_key(n // ROWS_AT_MOST), results[n : n + ROWS_AT_MOST], ""
            return
        left_out = len(results) - ROWS_AT_MOST
        results.sort(key=lambda result: not result.is_failure)
        yield DATABASES, results[:ROWS_AT_MOST], f"; {left_out} more are in the state file" if left_out > 0 else ""

    def _show(self, key: str, data: str | list[dict[str, Any]], said: str) -> None:
        if key in self._made:
            text = data if isinstance(data, str) else json.dumps(data)
            with get_client(sync_client=True) as client:
                client.update_artifact(self._made[key], ArtifactUpdate(data=text, description=said))
        elif isinstance(data, str):
            self._made[key] = create_markdown_artifact(data, key=key, description=said)
        else:
            self._made[key] = create_table_artifact(data, key=key, description=said)


def table_key(number: int) -> str:
    """The key of the artifact with the rows from `number` times ROWS_AT_MOST on."""
    return DATABASES if number == 0 else f"{DATABASES}-{number + 1}"


def _waves(fleet: Fleet, outcome: str) -> str:
    rows = ["| wave | databases | migrated | up to date | failed | left |", "|---|---|---|---|---|---|"]
    for row in wave_rows(fleet):
        left = row.left + row.under_way
        rows.append(f"| {row.wave} | {row.databases} | {row.migrated} | {row.up_to_date} | {row.failed} | {left} |")
    why = [] if fleet.why_stopped is None else ["", _text(fleet.why_stopped)]
    return "\n".join([f"# {outcome}", "", *rows, *why]) + "\n"


def _row(fleet: Fleet, result: Result) -> dict[str, Any]:
    """A row for people that another machine's fleet reads too: with all that a result has."""
    row = {"database": result.database, "wave": fleet.wave_of(result.database), **result.as_json()}
    return {name: _text(value) if isinstance(value, str) else value for name, value in row.items()}


@contextmanager
def interrupted_when_cancelled(fleet: Fleet) -> Iterator[None]:
    """In the block the fleet is interrupted when somebody cancels it in Prefect's UI: nobody tells a local process."""
    is_told = False

    def ask(over: threading.Event) -> None:
        nonlocal is_told
        cancelled = is_cancelled(fleet)
        if cancelled is None and not is_told:
            is_told = True
            logger.warning("the Prefect server does not answer; a cancellation would not be noticed")
        if cancelled and not over.is_set():
            fleet.interrupt(CANCELLED)

    with _repeatedly(_ASK_EVERY_S, ask):
        yield


@contextmanager
def _repeatedly(every_s: float, act: Callable[[threading.Event], None]) -> Iterator[None]:
    """In the block, in a flow run, another thread acts; what it is in the middle of at the end it may see is over."""
    if FlowRunContext.get() is None:
        yield
        return
    over = threading.Event()

    def go() -> None:
        while not over.wait(every_s):
            act(over)

    # Copied: Prefect keeps its settings and the run in context variables.
    threading.Thread(target=copy_context().run, args=(go,), daemon=True).start()
    try:
        yield
    finally:
        over.set()


def is_cancelled(fleet: Fleet) -> bool | None:
    """Whether the flow run of the fleet, or of one of its waves, is Cancelling or Cancelled; None where the server does
    not answer."""
    cancelled = FlowRunFilterStateType(any_=[StateType.CANCELLING, StateType.CANCELLED])
    chosen = FlowRunFilter(
        id=FlowRunFilterId(any_=[UUID(run) for run in [*fleet.task_runs] if run]),
        state=FlowRunFilterState(type=cancelled),
    )
    try:
        with get_client(sync_client=True, httpx_settings={"timeout": TIMEOUT_S}) as client:
            return bool(client.read_flow_runs(flow_run_filter=chosen, limit=1))
    except (httpx.HTTPError, PrefectException, OSError):
        return None


def _text(text: str) -> str:
    """What a server can store: a file's name may be no UTF-8."""
    return os.fsencode(text).decode(errors="backslashreplace")
