"""What a fleet whose own process was killed has left on this machine, and ending that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from loguru import logger

from flows.fleet.request import FleetRequest
from flows.recover import RecoverRequest, recover
from migrator.check.under_way import Run, run_on
from migrator.errors import RefusedError
from migrator.fleet.state import opened_state, read_state


def is_at_work(request: FleetRequest) -> bool:
    """Whether the fleet's own process is there: it holds its state file."""
    if not request.state.exists():
        return False
    try:
        with opened_state(request.state, create=False):
            return False
    except RefusedError:
        return True


def under_way(request: FleetRequest) -> tuple[Path, ...]:
    """The databases that the fleet began on this machine and whose end is not in its state file.

    A child that has outlived the fleet still ends its own. What is under way on other machines is their affair.
    """
    if request.dry_run or not request.state.exists():
        return ()
    stored = read_state(request.state)
    return () if stored is None else tuple(map(Path, stored.under_way))


def recover_under_way(flow: Any, flow_run: Any, state: Any) -> None:
    """A hook of the fleet's flow: a worker calls it in another process when the fleet's own died or was killed."""
    for database in under_way(FleetRequest.model_validate(flow_run.parameters["request"])):
        if run_on(database) is Run.KILLED:
            logger.warning("the fleet with {} under way ended as {}: recovering", database, state.name)
            # One that needs an operator keeps no other from its recovery.
            recover(RecoverRequest(database=database), return_state=True)
