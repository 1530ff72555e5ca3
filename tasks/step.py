"""The one decorator: a function of the pure package becomes a task that Prefect names, retries, times and records.

Outside a flow run a step is the plain function, so `migrate.fn(request)` is the same pipeline without a server.
"""

from __future__ import annotations

import inspect
import sqlite3
import time
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from loguru import logger
from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext
from prefect.utilities.annotations import opaque

from migrator.report import StepTaken
from tasks.cancellation import raise_if_cancelled
from tasks.log import forward_to_prefect
from tasks.record import current_report, progress

forward_to_prefect()

P = ParamSpec("P")
R = TypeVar("R")

LOCK_RETRY_DELAYS_S = [0.3, 1.0, 3.0]
"""A COMMIT gives up after 50 ms, so that it keeps no reader out: these are what it waits for a long reader."""


def is_locked(task: Any, task_run: Any, state: Any) -> bool:
    """Whether another connection's lock made a task fail. A plain function: Prefect never calls a callable object."""
    error = state.data
    return isinstance(error, sqlite3.OperationalError) and ("locked" in str(error) or "busy" in str(error))


def step(
    name: str,
    *,
    retries_on_lock: bool = False,
    timeout_s: float | None = None,
    cancellable: bool = True,
    counts_rows: Callable[[Any, Mapping[str, Any]], int] | None = None,
    after: Callable[[str, Any], None] | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A step named `name` (a format string over its arguments).

    Afterwards the run's report has the step with its seconds, what it found and, where something `counts_rows` by its
    result and arguments, its rows.
    With `retries_on_lock` a try that met a lock is made again, at most three times; any other error counts at once.
    A cancelled flow run ends before a `cancellable` step begins. `after` is called with the step's name and result.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @wraps(function)
        def recorded(*args: P.args, **kwargs: P.kwargs) -> R:
            started, moved = time.perf_counter(), progress(function.__name__)
            moved(0, 0)
            result = function(*args, **kwargs)
            moved(1, 1)
            given = signature.bind(*args, **kwargs).arguments
            named, seconds = name.format(**given), time.perf_counter() - started
            _note(named, seconds, result, None if counts_rows is None else counts_rows(result, given))
            if after is not None:
                after(named, result)
            return result

        as_task = Task(
            recorded,
            name=function.__name__,
            task_run_name=name,
            retries=len(LOCK_RETRY_DELAYS_S) if retries_on_lock else 0,
            retry_delay_seconds=LOCK_RETRY_DELAYS_S,
            retry_jitter_factor=0.5,
            retry_condition_fn=is_locked,
            timeout_seconds=timeout_s,
            cache_policy=NO_CACHE,
            persist_result=False,
        )

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            current_report.get().running = function.__name__
            if FlowRunContext.get() is None:
                return recorded(*args, **kwargs)
            if cancellable:
                raise_if_cancelled()
            current_report.get().task_runs += 1
            return as_task(*map(_shallow, args), **kwargs)

        return call

    return decorate


def its_rows(result: Any, given: Mapping[str, Any]) -> int:
    """The rows that the result of a step says by itself."""
    return int(result.rows)


def _shallow(argument: Any) -> Any:
    """A fact without the facts inside it: the graph gets an edge from the step before, not from all before that."""
    return opaque(argument) if is_dataclass(argument) else argument


def _note(name: str, seconds: float, result: object, rows: int | None) -> None:
    report = current_report.get()
    report.steps.append(StepTaken(name, round(seconds, 6), rows))
    report.add_findings(getattr(result, "findings", ()))
    logger.info("{} in {:.3f} s{}", name, seconds, "" if rows is None else f", {rows:,} rows")
