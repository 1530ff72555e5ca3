"""What `make ui` does on its server once that answers. Imports Prefect, so it is itself imported only then."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate, WorkPoolCreate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectAlreadyExists

from deployments.children import ChildError

OF_ONE_DATABASE = (
    "migrate/migrate",
    "verify/verify",
    "recover/recover",
    "prune-backups/prune-backups",
    "drill/restore-drill",
)
"""The deployments that get the database of `make ui`; a fleet has many."""


@dataclass(frozen=True)
class _Chosen:
    """What a user may have changed in the UI, which making the deployment anew must not take back."""

    parameters: dict[str, Any]
    schedules: list[DeploymentScheduleCreate]


def make_pool(name: str) -> None:
    """Afterwards there is a work pool for programs on this machine."""
    with get_client(sync_client=True) as client, suppress(ObjectAlreadyExists):
        client.create_work_pool(WorkPoolCreate(name=name, type="process"))


def deploy(root: Path, log: Path, database: Path | None) -> None:
    """Afterwards every deployment in `root`'s prefect.yaml is there, and runs in `root`.

    The parameters and schedules of those that were there stay; with `database` each has that one and its schedules are
    on. Raises ChildError.
    """
    with get_client(sync_client=True) as client:
        chosen = {name: _chosen(found) for name, found in _deployments(client).items()}
        with log.open("wb") as output:
            ended = subprocess.run(
                [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"],
                cwd=root, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
        if ended.returncode != 0:
            raise ChildError(f"the deployments could not be made; see {log}")
        for name, found in _deployments(client).items():
            if name in chosen and chosen[name] != _chosen(found):
                _give_back(client, found, chosen[name])
            if database is not None and name in OF_ONE_DATABASE:
                _give_database(client, client.read_deployment(found.id), database)


def _deployments(client: SyncPrefectClient) -> dict[str, DeploymentResponse]:
    """Those that prefect.yaml makes, by name; what a user has made beside them is the user's."""
    flows = {flow.id: flow.name for flow in client.read_flows()}
    found = {
        f"{flows.get(deployment.flow_id)}/{deployment.name}": deployment for deployment in client.read_deployments()
    }
    return {name: found[name] for name in (*OF_ONE_DATABASE, "fleet/fleet") if name in found}


def _chosen(found: DeploymentResponse) -> _Chosen:
    schedules = [
        DeploymentScheduleCreate(schedule=s.schedule, active=s.active, parameters=s.parameters, slug=s.slug)
        for s in found.schedules
    ]
    return _Chosen(found.parameters, schedules)


def _give_back(client: SyncPrefectClient, found: DeploymentResponse, chosen: _Chosen) -> None:
    client.update_deployment(found.id, DeploymentUpdate(parameters=chosen.parameters))
    for schedule in client.read_deployment_schedules(found.id):
        client.delete_deployment_schedule(found.id, schedule.id)
    if chosen.schedules:
        client.create_deployment_schedules(found.id, chosen.schedules)


def _give_database(client: SyncPrefectClient, found: DeploymentResponse, database: Path) -> None:
    request = {**found.parameters.get("request", {}), "database": str(database)}
    client.update_deployment(found.id, DeploymentUpdate(parameters={**found.parameters, "request": request}))
    for schedule in client.read_deployment_schedules(found.id):
        client.update_deployment_schedule(found.id, schedule.id, active=True)
