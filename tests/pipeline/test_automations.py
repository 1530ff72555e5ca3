"""Automations that several machines make at once."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client

from deployments.automations import apply, stopped_heartbeat


def twice(delete: Callable[[UUID], None]) -> Callable[[UUID], None]:
    """As if another machine did it just before."""

    def both(automation_id: UUID) -> None:
        delete(automation_id)
        delete(automation_id)

    return both


@pytest.mark.usefixtures("server")
def test_a_double_that_another_machine_removes_too_is_gone_and_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    with get_client(sync_client=True) as client:
        wanted = stopped_heartbeat(90.0)
        made = [client.create_automation(wanted) for _ in range(3)]
        monkeypatch.setattr(client, "delete_automation", twice(client.delete_automation))
        apply(client, [wanted])
        assert [automation.id for automation in client.read_automations_by_name(wanted.name)] == [min(made)]
        monkeypatch.undo()
        client.delete_automation(min(made))
