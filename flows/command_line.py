"""`python -m flows.migrate`: arguments, answers that need no Prefect, the run, what is printed, the exit code.

Exit codes come from the outcome that the run recorded, never from what Prefect raises after it.
"""

from __future__ import annotations

import json
import signal
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from flows.arguments import parse
from flows.recording import leave, wait_until_recorded
from flows.request import MigrationRequest
from flows.server import OwnServer, ServerStartError, listening_server, use, without_heartbeats
from flows.terminal import Terminal
from migrator.errors import RefusedError
from migrator.findings import Finding
from migrator.journal import read_journal
from migrator.lock import locked
from migrator.ltmc import LTMC
from migrator.preflight import preflight
from migrator.report import PLANNED, REFUSED, UP_TO_DATE, Report

_RECORDING_TIMEOUT_S = 30.0


def main(arguments: Sequence[str]) -> int:
    """Runs one migration; returns the exit code, or ends the process with it once Prefect was loaded."""
    request, options = parse(MigrationRequest, "flows.migrate", arguments)
    terminal = Terminal(json_on_stdout=options.json)
    if options.demo is not None:
        request = _with_demo(request, options.demo)
    report = Report(str(request.database))
    try:
        if not _answered_without_prefect(request, report):
            # Taken before Prefect is loaded and held to the end; the flow in this process uses the same.
            with locked(request.real_database):
                _run(request, report, terminal, options)
    except RefusedError as error:
        report.outcome, report.error = REFUSED, str(error)
    except KeyboardInterrupt:
        report.outcome, report.error = REFUSED, "interrupted before anything was changed"
    _tell(report, request, terminal, options)
    return report.exit_code


def _answered_without_prefect(request: MigrationRequest, report: Report) -> bool:
    """Whether nothing is to be done but to say so. A killed run's journal always means work."""
    if not request.dry_run and read_journal(request.real_database) is not None:
        return False
    live = preflight(request.database, LTMC, **request.preflight_options)
    report.describe(live)
    if live.plan is not None and not request.dry_run:
        report.findings.clear()
        return False
    report.outcome = UP_TO_DATE if live.plan is None else PLANNED
    return True


def _run(request: MigrationRequest, report: Report, terminal: Terminal, options: Namespace) -> None:
    """Runs the flow on a server; does not return: the process ends here, bounded, whatever the server does."""
    signals = _Signals()
    own = _server(report)
    try:
        from flows.ending import report_to_fill
        from flows.migrate import migrate
        from tasks.record import watch_progress

        if own is not None:
            own.wait_until_healthy()
        report_to_fill.set(report)
        with terminal.progress() as watch:
            watch_progress.set(watch)
            signals.in_flow = True
            if own is None:
                migrate(request)
            else:
                with without_heartbeats():
                    migrate(request)
    except ServerStartError as error:
        report.outcome, report.error = REFUSED, f"{error}"
    except BaseException as error:
        # The run recorded how it ended; where it did not, nothing had begun.
        if report.outcome is None:
            report.outcome, report.error = REFUSED, f"{type(error).__name__}: {error}; nothing was changed"
    _tell(report, request, terminal, options)
    if report.flow_run_id is not None:
        recorded = wait_until_recorded(report.flow_run_id, report.task_runs, _RECORDING_TIMEOUT_S)
        if not recorded:
            terminal.say("the Prefect server did not record every task run; the report has them all")
    if own is not None:
        own.stop()
    leave(report.exit_code)


def _server(report: Report) -> OwnServer | None:
    """The server of the run: one that listens already (None), or its own. Both before Prefect is imported."""
    found = listening_server()
    if found.warning:
        report.add_findings([Finding("server_not_used", found.warning)])
    if found.api_url is None:
        return OwnServer.start()
    use(found.api_url)
    return None


class _Signals:
    """SIGTERM ends the run as an error does. Inside the flow Prefect turns it into one and then sends it here again."""

    def __init__(self) -> None:
        self.in_flow = False
        signal.signal(signal.SIGTERM, self._on_sigterm)

    def _on_sigterm(self, number: int, frame: FrameType | None) -> None:
        if not self.in_flow:
            raise KeyboardInterrupt


def _with_demo(request: MigrationRequest, rows: int) -> MigrationRequest:
    """Makes the demo database afresh and has the run migrate it."""
    from flows.demo import fresh_demo

    return request.model_copy(update={"database": fresh_demo(Path("demo"), rows, LTMC)})


def _tell(report: Report, request: MigrationRequest, terminal: Terminal, options: Namespace) -> None:
    if request.report is not None:
        try:
            request.report.write_text(json.dumps(report.as_json(), indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            report.add_findings([Finding("report_failed", f"{request.report} could not be written: {error.strerror}")])
    if options.json:
        terminal.print_json(report.as_json())
    else:
        terminal.print_summary(report)
