"""`python -m flows.fleet`: arguments, what is refused before Prefect is loaded, the run, its report, the exit code."""

from __future__ import annotations

import os
import signal
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext

from flows.arguments import UsageError, parse
from flows.fleet.begin import begun
from flows.fleet.request import FleetRequest
from flows.fleet.terminal import FleetTerminal
from flows.recording import STOPPED_TIMEOUT_S, leave, wait_until_recorded
from flows.server import OwnServer, refuse_without_records, server_of_run, use_shared_server, without_heartbeats
from migrator.errors import RefusedError
from migrator.fleet.fleet import Fleet
from migrator.fleet.report import as_json, refused_json
from migrator.fleet.state import Order
from migrator.signals import end_as_ctrl_c_does, on_end_signals

_RECORDING_TIMEOUT_S = 60.0
_REFUSED = 2


def main(arguments: Sequence[str]) -> int:
    """Migrates a fleet; returns the exit code, or ends the process with it once Prefect was loaded."""
    terminal = FleetTerminal()
    end_as_ctrl_c_does()
    code, task_runs = _REFUSED, Counter[str]()
    own: OwnServer | None = None
    recording_timeout_s = _RECORDING_TIMEOUT_S
    try:
        request, options = parse(FleetRequest, "flows.fleet", arguments, demo=False)
        with begun(request, lambda order: _refuse_without_server(order, request.dry_run)) as (fleet, asked):
            task_runs = fleet.task_runs
            # A start that resumes may find nothing to do, or nothing that it may do.
            if fleet.left and fleet.why_stopped is None:
                is_found = asked.dry_run or fleet.order.is_on_machines
                own = None if is_found else server_of_run(terminal.say)
                _run(fleet, asked, own, terminal)
            on_end_signals(signal.SIG_IGN)
        _tell(fleet, asked, terminal, options)
        code = fleet.exit_code
        if fleet.is_interrupted:
            recording_timeout_s = STOPPED_TIMEOUT_S
    except (RefusedError, KeyboardInterrupt) as error:
        said = "interrupted before anything was begun" if isinstance(error, KeyboardInterrupt) else str(error)
        terminal.say(f"python -m flows.fleet: {said}" if isinstance(error, UsageError) else said)
        if "--json" in arguments:
            terminal.print_json(refused_json(said))
    if own is None and not task_runs:
        return code
    on_end_signals(lambda number, frame: os._exit(code))
    deadline = time.monotonic() + recording_timeout_s
    recorded = [wait_until_recorded(run, n, deadline - time.monotonic(), terminal.say) for run, n in task_runs.items()]
    if not all(recorded):
        terminal.say("the Prefect server did not record every task run; the state file has them all")
    if own is not None:
        own.stop()
    leave(code)


def _refuse_without_server(order: Order, is_dry_run: bool) -> None:
    if order.is_on_machines:
        use_shared_server()
    elif not is_dry_run:
        refuse_without_records()


def _run(fleet: Fleet, request: FleetRequest, own: OwnServer | None, terminal: FleetTerminal) -> None:
    """Runs the flow. However it ends, the fleet knows what became of its databases."""
    from flows.fleet.flow import fleet as fleet_flow
    from flows.fleet.flow import fleet_to_use

    fleet_to_use.set((fleet, request))
    try:
        with terminal.watching(fleet):
            if request.dry_run:
                fleet_flow.fn(request)
            else:
                if own is not None:
                    own.wait_until_healthy()
                with without_heartbeats() if own is not None else nullcontext():
                    fleet_flow(request, return_state=True)
    except KeyboardInterrupt:
        fleet.interrupt("interrupted")
    except Exception as error:
        fleet.stop(f"{type(error).__name__}: {error}")


def _tell(fleet: Fleet, request: FleetRequest, terminal: FleetTerminal, options: Namespace) -> None:
    facts = as_json(fleet, None if request.dry_run else request.state)
    if options.json:
        terminal.print_json(facts)
    else:
        terminal.print_fleet(fleet, request, facts)
    if terminal.fault is not None:
        terminal.say(f"{fleet.outcome}; stdout took no report of it ({terminal.fault})")
