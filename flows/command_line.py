"""`python -m flows.migrate`: arguments, answers that need no Prefect, the run, what is printed, the exit code.

Exit codes come from the outcome that the run recorded, never from what Prefect raises after it.
"""

from __future__ import annotations

import json
import os
import signal
from argparse import Namespace
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import NoReturn

from loguru import logger

from flows.application import LTMC
from flows.arguments import UsageError, parse
from flows.recording import STOPPED_TIMEOUT_S, leave, wait_until_recorded
from flows.request import MigrationRequest, real_file
from flows.server import ServerStartError, server_of_run, without_heartbeats
from flows.terminal import Terminal
from migrator.check.forecast import try_forecast
from migrator.check.status import NotReadableError, look
from migrator.commands import own_command
from migrator.connect import opened
from migrator.dry_run import look_ahead
from migrator.errors import RefusedError
from migrator.files import write_private
from migrator.findings import Finding
from migrator.journal import read_journal
from migrator.lock import locked
from migrator.preflight import BACKUPS_SUFFIX, Live, preflight
from migrator.report import PLANNED, REFUSED, UP_TO_DATE, Report
from migrator.script import promotion_script
from migrator.signals import end_as_ctrl_c_does, on_end_signals

_RECORDING_TIMEOUT_S = 30.0
_NAMED = 3
_KEYS_OF_A_REPORT = {"run_id", "outcome", "steps"}
_DATABASE_FILES = ("-wal", "-shm", "-journal", ".migrating", ".migration-lock", BACKUPS_SUFFIX)


def main(arguments: Sequence[str]) -> int:
    """Runs one migration; returns the exit code, or ends the process with it once Prefect was loaded."""
    terminal = Terminal()
    try:
        request, options = parse(MigrationRequest, "flows.migrate", arguments)
    except UsageError as error:
        return _refuse_usage(error, terminal, arguments)
    report, text = Report(str(request.database)), None
    # Inside the flow Prefect turns SIGTERM into an error of its own.
    end_as_ctrl_c_does()
    try:
        if options.demo is not None:
            request = _with_demo(request, options.demo)
            report.database = str(request.database)
        if _report_in_the_way(request):
            raise RefusedError(f"--report {request.report} would replace what is no report", "name another file")
        answered = _answered_without_prefect(request, report)
        if answered is None:
            # Taken before Prefect is loaded and held to the end; the flow in this process uses the same.
            with locked(request.real_database):
                _run(request, report, terminal, options)
        else:
            text = _text(answered, request, options)
            report.outcome = UP_TO_DATE if answered.plan is None else PLANNED
    except (Exception, KeyboardInterrupt) as error:
        _refuse(report, error)
    _tell(report, request, terminal, options, text)
    return report.exit_code


def _refuse_usage(error: UsageError, terminal: Terminal, arguments: Sequence[str]) -> int:
    terminal.say(f"python -m flows.migrate: {error}")
    report = Report("", outcome=REFUSED, error=str(error))
    if "--json" in arguments:
        terminal.print_json(report.as_json())
    return report.exit_code


def _answered_without_prefect(request: MigrationRequest, report: Report) -> Live | None:
    """What was found, where nothing is to be done but to say so. A killed run's journal always means work."""
    if not request.dry_run and read_journal(request.real_database) is not None:
        return None
    live = preflight(request.database, LTMC, **request.preflight_options)
    report.describe(live)
    if live.plan is not None and not request.dry_run:
        report.findings.clear()
        return None
    report.add_findings(look_ahead(live) if live.plan is not None else _drift(live, request.max_lock_ms))
    return live


def _drift(live: Live, max_lock_ms: float) -> list[Finding]:
    """Nothing is pending by the ledger; whether the schema is what it says takes 20 ms more to tell."""
    shows = own_command("flows.check", "--database", live.database)
    try:
        drift = look(live.database, LTMC, max_lock_ms).drift
    except NotReadableError as error:
        return [Finding("drift_not_looked_for", f"whether the schema is what the ledger says is not known: {error}")]
    if not drift:
        return []
    places = [found.what + f" of {found.table}" * bool(found.table) for found in drift]
    named = ", ".join([*places[:_NAMED], ".."] if len(places) > _NAMED else places)
    return [Finding("drift", f"not as it should be: {named}; {shows} says what it should be", len(drift))]


def _text(live: Live, request: MigrationRequest, options: Namespace) -> str | None:
    """What is printed of the plan; None where there is nothing to say, or JSON says it."""
    if options.sql:
        return _sql(live)
    return None if options.json else _in_brief(live, request.max_lock_ms)


def _sql(live: Live) -> str:
    """The complete SQL of the promotion, for review; a comment where nothing is pending."""
    if live.plan is None:
        return f"-- {live.database} is up to date: version {live.from_version:04d}\n"
    return promotion_script(live.plan, LTMC.name)


def _in_brief(live: Live, max_lock_ms: float) -> str | None:
    """What the run would do, for people; None where nothing is pending."""
    if live.plan is None:
        return None
    # Only this needs it.
    from flows.check.text import plan_in_brief

    with opened(live.database, read_only=True) as connection:
        expected = try_forecast(connection, live.plan, max_lock_ms)
    return "\n".join(plan_in_brief(live.plan, live.state, expected, max_lock_ms)) + "\n"


def _run(request: MigrationRequest, report: Report, terminal: Terminal, options: Namespace) -> NoReturn:
    """Runs the flow on a server; the process ends here, bounded, whatever the server does."""
    own, recording_timeout_s = None, _RECORDING_TIMEOUT_S
    try:
        own = server_of_run(lambda fault: report.add_findings([Finding("server_not_used", fault)]))
        from flows.ending import DISTURBED, report_to_fill
        from flows.migrate import migrate
        from tasks.record import watch_progress

        if own is not None:
            own.wait_until_healthy()
        report_to_fill.set(report)
        with terminal.progress() as watch:
            watch_progress.set(watch)
            with without_heartbeats() if own is not None else nullcontext():
                # Whoever recovers a killed run works in another folder.
                migrate(request.model_copy(update={"database": request.database.absolute()}))
        if DISTURBED in {found.code for found in report.findings}:
            recording_timeout_s = STOPPED_TIMEOUT_S
    except BaseException as error:
        if not isinstance(error, Exception):
            recording_timeout_s = STOPPED_TIMEOUT_S
        _refuse(report, error)
    on_end_signals(signal.SIG_IGN)
    _tell(report, request, terminal, options)
    # All is said; who does not want to wait for Prefect's records need not.
    on_end_signals(lambda number, frame: os._exit(report.exit_code))
    if report.flow_run_id is not None:
        recorded = wait_until_recorded(report.flow_run_id, report.task_runs, recording_timeout_s, terminal.say)
        if not recorded:
            terminal.say("the Prefect server did not record every task run; the report has them all")
    if own is not None:
        own.stop()
    leave(report.exit_code)


def _refuse(report: Report, error: BaseException) -> None:
    """Says why nothing had begun. A run that has begun has recorded how it ended, and that stays."""
    if report.outcome is not None:
        return
    report.outcome = REFUSED
    if isinstance(error, KeyboardInterrupt):
        report.error = "interrupted before anything was changed"
    elif isinstance(error, RefusedError | ServerStartError):
        report.error = str(error)
    else:
        report.error = f"{type(error).__name__}: {error}; nothing was changed"
        logger.opt(exception=error).error("nobody foresaw this")


def _with_demo(request: MigrationRequest, rows: int) -> MigrationRequest:
    """Makes the demo database afresh and has the run migrate it."""
    from flows.demo import fresh_demo

    return request.model_copy(update={"database": fresh_demo(Path("demo"), rows, LTMC)})


def _report_in_the_way(request: MigrationRequest) -> bool:
    """Whether the report would replace anything but a report, or lie where a database keeps its own files."""
    if request.report is None:
        return False
    path, database = real_file(request.report), request.real_database
    backups = database.with_name(database.name + BACKUPS_SUFFIX)
    return path.name.endswith(_DATABASE_FILES) or backups in path.parents or not _is_free(path)


def _is_free(path: Path) -> bool:
    """Whether nothing is there, or an earlier report."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return isinstance(found, dict) and found.keys() >= _KEYS_OF_A_REPORT
    except FileNotFoundError:
        return True
    except (OSError, ValueError):
        return False


def _tell(
    report: Report, request: MigrationRequest, terminal: Terminal, options: Namespace, text: str | None = None
) -> None:
    if request.report is not None and not _report_in_the_way(request):
        try:
            write_private(request.report, json.dumps(report.as_json(), indent=2) + "\n")
        except OSError as error:
            report.add_findings([Finding("report_failed", f"{request.report} could not be written: {error.strerror}")])
    if options.json:
        terminal.print_json(report.as_json())
    elif options.sql and text is not None:
        terminal.print_text(text)
    else:
        terminal.print_summary(report)
        if text is not None:
            terminal.print_text(text)
    if terminal.fault is not None:
        ended = f"{report.outcome}; {report.error}" if report.error else report.outcome
        terminal.say(f"{report.database}: {ended}; stdout took no report of it ({terminal.fault})")
