"""Many databases: a canary, then waves; each database is one run of the migration."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from contextvars import ContextVar
from typing import Any

from loguru import logger
from prefect import flow
from prefect.context import FlowRunContext
from prefect.exceptions import TerminationSignal
from prefect.states import Cancelled, Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from flows.fleet.begin import begun
from flows.fleet.here import Here, start_fork_server
from flows.fleet.left import recover_under_way
from flows.fleet.request import FleetRequest
from migrator import signals
from migrator.fleet.fleet import Fleet
from migrator.fleet.order import carried_out, in_order, in_parallel
from migrator.fleet.parts import Part
from migrator.fleet.report import as_json, wave_rows
from migrator.fleet.results import Result
from migrator.fleet.waves import Wave
from tasks.fleet import CANCELLED, Shown, interrupted_when_cancelled, is_cancelled, migrate_part

Carrier = Callable[[Part], Iterator[Result]]

fleet_to_use: ContextVar[tuple[Fleet, FleetRequest] | None] = ContextVar("fleet_to_use", default=None)
"""A fleet that the caller of the flow has begun and closes: the command line does, before Prefect is loaded."""
_wave_to_carry_out: ContextVar[tuple[Fleet, Wave, Carrier, int]] = ContextVar("_wave_to_carry_out")
"""No parameter of a flow, which Prefect would store."""


@flow(
    flow_run_name="fleet {request.state}",
    on_crashed=[recover_under_way],
    on_cancellation=[recover_under_way],
    persist_result=False,
)
def fleet(request: FleetRequest) -> Any:
    """Migrates many databases in waves, or goes on with that; returns its report, or Failed where some are not.

    Where the flow run is cancelled no database begins any more, and the run ends as Cancelled once those under way have
    been brought back or have ended; a worker of Prefect gives it 30 s for that, and then kills it, but not them: each
    ends what it does, and what becomes of them no line of the state file says before a start that resumes.
    """
    with ExitStack() as held:
        run, request = fleet_to_use.get() or held.enter_context(begun(request))
        # Also where no wave follows, its logs are waited for.
        run.task_runs[_flow_run_id()] += 0
        migrate, shown = _carrier(request, run), Shown(run, is_read=request.part_of is not None)
        try:
            with interrupted_when_cancelled(run), shown.live():
                in_order(run, lambda wave: _carry_out(run, wave, migrate, request.at_a_time))
        except TerminationSignal:
            # A worker cancels with it.
            if not is_cancelled(run):
                raise
            run.why_stopped = CANCELLED
        except Exception as error:
            run.stop(f"{type(error).__name__}: {error}")
            raise
        finally:
            with signals.undisturbed(_note):
                _publish(run, shown)
        if run.is_interrupted:
            rows = wave_rows(run)
            done = f"{sum(row.done for row in rows)} of {sum(row.databases for row in rows)} databases are done"
            return Cancelled(message=f"{run.outcome}: {done}; with resume it goes on")
        if run.exit_code == 0:
            return as_json(run, request.state)
        return Failed(message=run.why_stopped or f"{len(run.failures)} databases failed")


@flow(name="wave", persist_result=False)
def carry_out_wave(wave: str, databases: int) -> Any:
    """The databases of one wave, a task run for each, or for all those of another machine; called by the fleet's flow
    only."""
    run, now, migrate, parallel = _wave_to_carry_out.get()

    def submit(part: Part) -> Future[Any]:
        run.task_runs[_flow_run_id()] += 1
        submitted: Any = migrate_part.submit(run, part, str(part), migrate)
        return submitted.wrapped_future

    in_parallel(run, now, submit, parallel, _note)
    if run.is_interrupted:
        return Cancelled(message=run.why_stopped)
    failed = sum(name in run.results and run.results[name].is_failure for name in now.databases)
    return Failed(message=f"{failed} failed") if failed else Completed(message="nothing failed")


def _carry_out(run: Fleet, wave: Wave, migrate: Carrier, parallel: int) -> None:
    """Has the databases of one wave carried out: in a flow run of its own, or, outside a flow run, without Prefect."""
    if FlowRunContext.get() is None:
        with ThreadPoolExecutor(wave.at_a_time(parallel)) as threads:
            in_parallel(run, wave, lambda part: threads.submit(carried_out, run, part, migrate), parallel, _note)
        return
    _wave_to_carry_out.set((run, wave, migrate, parallel))
    runner: Any = ThreadPoolTaskRunner(max_workers=wave.at_a_time(parallel))
    named = carry_out_wave.with_options(flow_run_name=wave.name, task_runner=runner)
    run.task_runs[_flow_run_id()] += 1
    named(wave.name, len(wave.databases), return_state=True)


def _flow_run_id() -> str:
    context = FlowRunContext.get()
    return "" if context is None or context.flow_run is None else str(context.flow_run.id)


def _note(signal_name: str) -> None:
    logger.warning("{} waits: the databases under way are being brought back", signal_name)


def _carrier(request: FleetRequest, run: Fleet) -> Carrier:
    """Who carries out a part: another machine's worker, or a child on this machine; each result is logged."""
    if run.order.is_on_machines:
        from flows.fleet.machines import OnMachines

        carrier: Carrier = OnMachines(request, run)
    else:
        start_fork_server()
        log = None if request.dry_run else request.state.with_name(request.state.name + ".log")
        carrier = Here(request, run, log)

    def migrate(part: Part) -> Iterator[Result]:
        for result in carrier(part):
            said = result.outcome if result.error is None else f"{result.outcome}: {result.error}"
            level = "WARNING" if result.is_failure else "INFO"
            logger.log(level, "{}: {} ({:.1f} s)", result.database, said, result.seconds)
            yield result

    return migrate


def _publish(run: Fleet, shown: Shown) -> None:
    if FlowRunContext.get() is None:
        return
    try:
        shown.publish(run.outcome)
    except Exception as error:
        logger.warning("the fleet cannot be shown in Prefect's UI: {}", error)
