"""`python -m deployments.automations`: what Prefect's server does by itself when a run dies, fails or recovers.

Talks to the server of PREFECT_API_URL. Running it again changes nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import StateType
from prefect.events.actions import CallWebhook, ChangeFlowRunState, RunDeployment
from prefect.events.schemas.automations import Automation, AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY

from flows.recover import RECOVERED

FLOWS = ("migrate", "verify", "recover", "prune-backups", "drill", "fleet")
NOTIFY_VARIABLE = "LTMC_NOTIFY_URL"
_BLOCK = "ltmc-notify"
_HEARTBEATS_MISSED = 3

_DATABASE = """{{ {"database": flow_run.parameters.request.database} | tojson }}"""
_DATABASE_OR_DEFAULT = f"{{% if flow_run.parameters.request.database %}}{_DATABASE}{{% else %}}{{}}{{% endif %}}"

_SAID = """{{ flow_run.name }}: {{ flow_run.state.name }}\
{% if flow_run.labels.outcome %}, {{ flow_run.labels.outcome }}{% endif %}: \
{{ flow_run.labels.error or flow_run.state.message or "no message" }}"""
_PAYLOAD = f"""{{% set said %}}{_SAID}{{% endset %}}{{
"text": {{{{ said | string | tojson }}}},
"flow": {{{{ flow.name | tojson }}}},
"run": {{{{ flow_run.name | tojson }}}},
"run_id": {{{{ flow_run.id | string | tojson }}}},
"state": {{{{ flow_run.state.name | tojson }}}},
"outcome": {{{{ (flow_run.labels.outcome or "") | tojson }}}},
"url": {{{{ (flow_run | ui_url) | string | tojson }}}}
}}"""
"""`text` is what Slack and what speaks its webhooks show; a program reads the rest."""


def stopped_heartbeat(silence_s: float) -> AutomationCore:
    """A run of which nothing was heard for `silence_s` (10 at least) and that did not end becomes Crashed."""
    ends = {
        f"prefect.flow-run.{name}" for name in ("Completed", "Failed", "Crashed", "Cancelled", "TimedOut", RECOVERED)
    }
    return AutomationCore(
        name="ltmc: a run that has gone silent is Crashed",
        description="Its process, its worker or its machine died without a word.",
        trigger=EventTrigger(
            posture=Posture.Proactive,
            after={"prefect.flow-run.heartbeat"},
            expect={"prefect.flow-run.heartbeat", *ends},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related=_of_flows(FLOWS),
            for_each={"prefect.resource.id"},
            threshold=1,
            within=timedelta(seconds=silence_s),
        ),
        actions=[
            ChangeFlowRunState(
                name="Crashed",
                state=StateType.CRASHED,
                message=f"nothing was heard of this run for {silence_s:g} s",
                force=False,
            )
        ],
    )


def recover_crashed(client: SyncPrefectClient, machine: str | None = None) -> AutomationCore:
    """For a migration that is Crashed the deployment `recover` is run, with its database.

    With `machine` only for one in that machine's work queue, and there, where the file is: the deployment that is run
    is fixed in an automation, so each machine has one of its own. Raises ObjectNotFound where there is no deployment.
    """
    recover = client.read_deployment_by_name(f"recover/{machine or 'recover'}")
    database = {"__prefect_kind": "jinja", "template": _DATABASE_OR_DEFAULT}
    return AutomationCore(
        name=f"ltmc: what a crashed migration began{f' on {machine}' if machine else ''} is ended",
        description="Harmless where the run lives after all: recover leaves to it what it holds.",
        trigger=_reactive({"prefect.flow-run.Crashed"}, ("migrate",), machine),
        actions=[
            RunDeployment(
                source="selected",
                deployment_id=recover.id,
                parameters={"request": {"__prefect_kind": "json", "value": database}},
                job_variables=None,
            )
        ],
    )


def notify(url: str) -> AutomationCore:
    """A run that failed, crashed or recovered something is told to `url`, which only the server keeps, encrypted."""
    block = Webhook(method="POST", url=url, headers={"Content-Type": "application/json"})  # type: ignore[arg-type]
    block_id = cast(UUID, block.save(_BLOCK, overwrite=True))
    ended = {f"prefect.flow-run.{name}" for name in ("Failed", "Crashed", "TimedOut", RECOVERED)}
    return AutomationCore(
        name="ltmc: failures and recoveries are told",
        description=f"To the URL in the block webhook/{_BLOCK}.",
        trigger=_reactive(ended, FLOWS),
        actions=[CallWebhook(block_document_id=block_id, payload=_PAYLOAD)],
    )


def make(notify_url: str | None, machine: str | None = None) -> list[str]:
    """Afterwards a silent run becomes Crashed, a crashed migration is recovered, and failures are told to `notify_url`,
    if given; with `machine` for the runs of that one, on a server of several.

    Returns the names of what was changed. Raises ObjectNotFound where the deployment `recover` is not there.
    """
    with get_client(sync_client=True) as client:
        wanted = [stopped_heartbeat(silence_s()), recover_crashed(client, machine)]
        if notify_url:
            wanted.append(notify(notify_url))
        return apply(client, wanted)


def apply(client: SyncPrefectClient, automations: Iterable[AutomationCore]) -> list[str]:
    """Afterwards the server has each of these, once; returns the names of those that it had not, or had otherwise.

    One that somebody has switched off stays off.
    """
    changed = []
    for wanted in automations:
        there = _the_first(client, wanted.name)
        if there is None:
            client.create_automation(wanted)
            # Another machine may have done the same in this moment.
            _the_first(client, wanted.name)
        elif _as_compared(there) != _as_compared(wanted):
            client.update_automation(there.id, wanted.model_copy(update={"enabled": there.enabled}))
        else:
            continue
        changed.append(wanted.name)
    return changed


def _the_first(client: SyncPrefectClient, name: str) -> Automation | None:
    """The automation of that name that was made first; any other is removed."""
    # Ids of one server grow with the time; whoever else does this keeps the same one.
    there = sorted(client.read_automations_by_name(name), key=lambda automation: automation.id)
    for double in there[1:]:
        try:
            client.delete_automation(double.id)
        except PrefectHTTPStatusError as error:
            # Another machine was quicker.
            if error.response.status_code != 404:
                raise
    return there[0] if there else None


def silence_s() -> float:
    """After how long without a heartbeat a run counts as dead: three that did not come."""
    return float(_HEARTBEATS_MISSED * (PREFECT_FLOWS_HEARTBEAT_FREQUENCY.value() or 180))


def main(arguments: Sequence[str]) -> int:
    """Makes the automations; prints what was changed; returns 0, or 2 where the deployments are not there."""
    parser = argparse.ArgumentParser(prog="python -m deployments.automations", description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "--notify",
        metavar="URL",
        default=os.environ.get(NOTIFY_VARIABLE),
        help=f"Where a failure or a recovery is told: a POST with JSON. Default: ${NOTIFY_VARIABLE}.",
    )
    options = parser.parse_args(arguments)
    try:
        changed = make(options.notify)
    except ObjectNotFound:
        print("no deployment recover/recover; first: python -m prefect deploy --all", file=sys.stderr)
        return 2
    print(*(f"made: {name}" for name in changed), sep="\n", end="\n" if changed else "nothing to change\n")
    return 0


def _reactive(expect: set[str], flows: Sequence[str], machine: str | None = None) -> EventTrigger:
    of_machine: list[dict[str, Any]] = (
        [{"prefect.resource.role": "work-queue", "prefect.resource.name": machine}] if machine else []
    )
    return EventTrigger(
        posture=Posture.Reactive,
        expect=expect,
        match={"prefect.resource.id": "prefect.flow-run.*"},
        match_related=[_of_flows(flows), *of_machine],
        for_each={"prefect.resource.id"},
        threshold=1,
        within=timedelta(0),
    )


def _of_flows(flows: Sequence[str]) -> dict[str, Any]:
    """Runs of these flows, of a deployment or of the command line."""
    return {"prefect.resource.role": "flow", "prefect.resource.name": list(flows)}


def _as_compared(automation: AutomationCore) -> dict[str, Any]:
    """What makes two the same: all but ids, and whether it is switched on."""
    core = AutomationCore.model_validate(automation.model_dump(include=set(AutomationCore.model_fields)))
    # Not as JSON, where a set is a list in any order.
    return _without_ids(core.model_dump(exclude={"enabled", "owner_resource"}))


def _without_ids(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_ids(inner) for name, inner in value.items() if name != "id"}
    if isinstance(value, list):
        return [_without_ids(inner) for inner in value]
    return value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
