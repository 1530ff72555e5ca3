"""A fleet in Prefect's UI: a task run for each database, and a table of all of them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any
from uuid import UUID

import httpx
from loguru import logger
from prefect import task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
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
from migrator.fleet.report import wave_rows
from migrator.fleet.results import INTERRUPTED, Result
from tasks.cancellation import TIMEOUT_S

CANCELLED = "the flow run was cancelled"
_ASK_EVERY_S = 2.0
_ROWS_AT_MOST = 1000
"""The UI shows a table as one page; the state file has all."""


@task(name="migrate", task_run_name="migrate {database}", cache_policy=NO_CACHE, persist_result=False)
def migrate_database(fleet: Fleet, database: str, migrate: Callable[[str], Result]) -> State[Any]:
    """Has `migrate` carry out one database; the state of the task run says what became of it."""
    result = carried_out(fleet, database, migrate)
    if result is None:
        return Cancelled(message="not started: the fleet was stopped")
    said = _text(result.outcome if result.error is None else f"{result.outcome}: {result.error}")
    if result.outcome == INTERRUPTED:
        return Cancelled(message=said)
    return Failed(message=said) if result.is_failure else Completed(message=said)


@contextmanager
def interrupted_when_cancelled(fleet: Fleet) -> Iterator[None]:
    """In the block the fleet is interrupted when somebody cancels it in Prefect's UI: nobody tells a local process."""
    if FlowRunContext.get() is None:
        yield
        return
    over, told = threading.Event(), False

    def ask() -> None:
        nonlocal told
        while not over.wait(_ASK_EVERY_S):
            cancelled = is_cancelled(fleet)
            if cancelled is None and not told:
                told = True
                logger.warning("the Prefect server does not answer; a cancellation would not be noticed")
            if cancelled and not over.is_set():
                fleet.interrupt(CANCELLED)
                return

    # Copied: Prefect keeps its settings in context variables.
    threading.Thread(target=copy_context().run, args=(ask,), daemon=True).start()
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


def publish(fleet: Fleet) -> None:
    """Afterwards the flow run has the artifacts `fleet`, a table of the waves, and `databases`, what became of each,
    the failed ones first. Raises what the client raises where the server does not answer."""
    rows = ["| wave | databases | migrated | up to date | failed | left |", "|---|---|---|---|---|---|"]
    for row in wave_rows(fleet):
        left = row.left + row.under_way
        rows.append(f"| {row.wave} | {row.databases} | {row.migrated} | {row.up_to_date} | {row.failed} | {left} |")
    why = [] if fleet.why_stopped is None else ["", _text(fleet.why_stopped)]
    markdown = "\n".join([f"# {fleet.outcome}", "", *rows, *why]) + "\n"
    create_markdown_artifact(key="fleet", markdown=markdown, description=f"{fleet.outcome}: {fleet.order.fleet_id}")
    shown = sorted(fleet.results.values(), key=lambda result: not result.is_failure)[:_ROWS_AT_MOST]
    if shown:
        table = [
            {"database": _text(r.database), "wave": fleet.wave_of(r.database), "outcome": r.outcome,
             "seconds": r.seconds, "error": _text(r.error or ""), "report": _text(r.report or "")}
            for r in shown
        ]  # fmt: skip
        left_out = len(fleet.results) - len(shown)
        said = "What became of each database" + (f"; {left_out} more are in the state file" if left_out else "")
        create_table_artifact(key="databases", table=table, description=said)


def _text(text: str) -> str:
    """What a server can store: a file's name may be no UTF-8."""
    return os.fsencode(text).decode(errors="backslashreplace")
