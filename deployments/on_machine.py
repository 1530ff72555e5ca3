"""What `deployments.machine` does on the server before the worker starts. Imports Prefect, so it is imported late."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import yaml  # type: ignore[import-untyped]
from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate, WorkPoolCreate
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.states import Cancelled, Crashed
from prefect.utilities.callables import parameter_schema
from pydantic import BaseModel, ValidationError

from deployments.runs import crashed_fleets, under_way
from flows.fleet import left
from flows.fleet.flow import fleet
from flows.fleet.request import FleetRequest
from flows.migrate import migrate
from flows.recover import recover
from flows.request import MigrationRequest
from flows.scheduled import prune_backups, restore_drill, verify_database
from migrator.check.under_way import Run, run_on
from migrator.errors import RefusedError

_FLOWS: tuple[Flow[Any, Any], ...] = (migrate, fleet, recover, verify_database, prune_backups, restore_drill)
_Request = TypeVar("_Request", bound=BaseModel)
_DIED = "its worker or its machine died"


def deploy(machine: str, pool: str, root: Path) -> None:
    """Afterwards each flow has the deployment `machine`, which runs in `root`, in the work queue `machine` of `pool`.

    A new one has the parameters and schedules of `root`'s prefect.yaml; the schedules are on where $LTMC_DATABASE names
    the machine's database. What somebody has set in the UI (parameters, schedules) stays.
    """
    declared = {
        entry["entrypoint"]: entry
        for entry in yaml.safe_load((root / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    }
    with get_client(sync_client=True) as client:
        with suppress(ObjectAlreadyExists):
            client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
        for flow in _FLOWS:
            entrypoint = f"{flow.fn.__module__.replace('.', '/')}.py:{flow.fn.__name__}"
            entry = declared[entrypoint]
            from_the_checkout: dict[str, Any] = {
                "work_pool_name": pool,
                "work_queue_name": machine,
                "entrypoint": entrypoint,
                "description": entry["description"],
                "pull_steps": [{"prefect.deployments.steps.set_working_directory": {"directory": str(root)}}],
                "parameter_openapi_schema": parameter_schema(flow).model_dump_for_openapi(),
                "enforce_parameter_schema": True,
            }
            try:
                there = client.read_deployment_by_name(f"{flow.name}/{machine}")
            except ObjectNotFound:
                chosen = {"parameters": entry["parameters"], "schedules": _schedules(entry)}
                client.create_deployment(client.create_flow(flow), machine, **from_the_checkout, **chosen)
            else:
                # To create it anew would take its schedules away.
                client.update_deployment(there.id, DeploymentUpdate(**from_the_checkout))


def _schedules(entry: dict[str, Any]) -> list[DeploymentScheduleCreate]:
    active = bool(os.environ.get("LTMC_DATABASE"))
    return [
        DeploymentScheduleCreate(
            schedule=CronSchedule(cron=said["cron"], timezone=said["timezone"]), active=active, slug=said["slug"]
        )
        for said in entry.get("schedules", [])
    ]


def end_left_over(machine: str, pool: str) -> Iterator[str]:
    """Afterwards no run of `machine` is under way that nobody works on; yields what was done about each.

    Only for the time while it has no worker, when nothing but a run that has outlived the last one is at work. The
    others become Crashed (or Cancelled, where somebody had asked for that), and where a killed migration left something
    a run `recover` waits in the queue; a fleet may leave several. The automation that does the same is up to 15 minutes
    late on a server that was restarted: Prefect holds an event back until it has seen the one before it
    (PRECEDING_EVENT_LOOKBACK).
    """
    with get_client(sync_client=True) as client:
        for run in crashed_fleets(client, pool, machine):
            # Nobody has ordered that: an automation knows of one database.
            for database in _work_of(run)[1]:
                if _left(database) is Run.KILLED:
                    yield f"{run.name}: {_ended(client, machine, database)}"
        for run in under_way(client, pool, machine):
            is_at_work, databases = _work_of(run)
            if is_at_work:
                yield f"{run.name}: still at work"
                continue
            said = "; ".join([_DIED, *(_ended(client, machine, database) for database in databases)])
            cancelling = run.state is not None and run.state.is_cancelling()
            state: State[Any] = Cancelled(message=said) if cancelling else Crashed(message=said)
            # By force: what is Cancelling may not crash.
            client.set_flow_run_state(run.id, state, force=True)
            yield f"{run.name}: {said}"


def _ended(client: SyncPrefectClient, machine: str, database: Path) -> str:
    """Who ends what a run that is no more began on the database; where nobody does, a run `recover` is ordered."""
    found = _left(database)
    if found is Run.NONE:
        return f"nothing of it is left in {database}"
    if found is Run.UNDER_WAY:
        return f"what it began outlives it and brings {database} back"
    deployment = client.read_deployment_by_name(f"{recover.name}/{machine}")
    name = f"{recover.name} {database}"
    client.create_flow_run_from_deployment(
        deployment.id, parameters={"request": {"database": str(database)}}, name=name
    )
    return f"the run {name} ends what it began"


def _work_of(run: FlowRun) -> tuple[bool, tuple[Path, ...]]:
    """Whether the run is still at work, and the databases that it had under way: its own, or a fleet's."""
    if (migration := _asked_of(run, MigrationRequest)) is not None:
        database = migration.real_database
        return _left(database) is Run.UNDER_WAY, (database,)
    if (of_fleet := _asked_of(run, FleetRequest)) is not None:
        with suppress(RefusedError):
            return left.is_at_work(of_fleet), left.under_way(of_fleet)
    return False, ()


def _asked_of(run: FlowRun, kind: type[_Request]) -> _Request | None:
    """What the run was asked to do, where that is of this kind."""
    try:
        return kind.model_validate(run.parameters["request"])
    except (KeyError, ValidationError):
        return None


def _left(database: Path) -> Run:
    try:
        return run_on(database)
    except RefusedError:
        # A journal that is no run's; the run `recover` says what is wrong with it.
        return Run.KILLED
