"""What `deployments.machine` does on the server before the worker starts. Imports Prefect, so it is imported late."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentUpdate, WorkPoolCreate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
    WorkQueueFilter,
    WorkQueueFilterName,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.states import Cancelled, Crashed
from prefect.utilities.callables import parameter_schema
from pydantic import ValidationError

from flows.migrate import migrate
from flows.recover import recover
from flows.request import MigrationRequest
from flows.scheduled import prune_backups, restore_drill, verify_database
from migrator.check.under_way import Run, run_on
from migrator.errors import RefusedError

_FLOWS: tuple[Flow[Any, Any], ...] = (migrate, recover, verify_database, prune_backups, restore_drill)
_DIED = "its worker or its machine died"


def deploy(machine: str, pool: str, root: Path) -> None:
    """Afterwards each flow has the deployment `machine`, which runs in `root`, in the work queue `machine` of `pool`.

    What somebody has set in the UI (parameters, schedules) stays.
    """
    with get_client(sync_client=True) as client:
        with suppress(ObjectAlreadyExists):
            client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
        for flow in _FLOWS:
            from_the_checkout: dict[str, Any] = {
                "work_pool_name": pool,
                "work_queue_name": machine,
                "entrypoint": f"{flow.fn.__module__.replace('.', '/')}.py:{flow.fn.__name__}",
                "pull_steps": [{"prefect.deployments.steps.set_working_directory": {"directory": str(root)}}],
                "parameter_openapi_schema": parameter_schema(flow).model_dump_for_openapi(),
                "enforce_parameter_schema": True,
            }
            try:
                there = client.read_deployment_by_name(f"{flow.name}/{machine}")
            except ObjectNotFound:
                client.create_deployment(client.create_flow(flow), machine, **from_the_checkout)
            else:
                # To create it anew would take its schedules away.
                client.update_deployment(there.id, DeploymentUpdate(**from_the_checkout))


def end_left_over(machine: str, pool: str) -> Iterator[str]:
    """Afterwards no run of `machine` is under way that nobody works on; yields what was done about each.

    Only for the time before its worker starts, when nothing but a run that has outlived the last worker is at work.
    Those are Crashed (or Cancelled, where somebody had asked for that), and where a killed migration left something
    the run `recover` waits in the queue.
    """
    with get_client(sync_client=True) as client:
        for run in _unfinished(client, machine, pool):
            database = _database_of(run)
            left = Run.NONE if database is None else _left(database)
            if left is Run.UNDER_WAY:
                yield f"{run.name}: still at work"
                continue
            said = f"{_DIED}; nothing of it is left in {database}" if database is not None else _DIED
            if left is Run.KILLED:
                deployment = client.read_deployment_by_name(f"{recover.name}/{machine}")
                ends = client.create_flow_run_from_deployment(
                    deployment.id,
                    parameters={"request": {"database": str(database)}},
                    name=f"{recover.name} {database}",
                )
                said = f"{_DIED}; the run {ends.name} ends what it began"
            cancelling = run.state is not None and run.state.is_cancelling()
            state: State[Any] = Cancelled(message=said) if cancelling else Crashed(message=said)
            # By force: what is Cancelling may not crash.
            client.set_flow_run_state(run.id, state, force=True)
            yield f"{run.name}: {said}"


def _unfinished(client: SyncPrefectClient, machine: str, pool: str) -> list[FlowRun]:
    under_way = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
    return client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=under_way))),
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[pool])),
        work_queue_filter=WorkQueueFilter(name=WorkQueueFilterName(any_=[machine])),
    )


def _database_of(run: FlowRun) -> Path | None:
    """The database of a run that migrates one; None for any other run."""
    try:
        return MigrationRequest.model_validate(run.parameters["request"]).real_database
    except (KeyError, ValidationError):
        return None


def _left(database: Path) -> Run:
    try:
        return run_on(database)
    except RefusedError:
        # A journal that is no run's; the run `recover` says what is wrong with it.
        return Run.KILLED
