"""What a fleet's child does: the run of one database, without Prefect's server, in a process of its own.

A crash, a kill or a hang of it is that database's affair. The fork server imports this module and what it needs once.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import threading
import time
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from typing import Any

from loguru import logger

from flows.request import MigrationRequest
from migrator.dry_run import look_ahead
from migrator.errors import MigratorError, RestoreError
from migrator.journal import read_journal
from migrator.lock import locked
from migrator.ltmc import LTMC
from migrator.preflight import preflight
from migrator.report import HTML_NAME, MIGRATED, PLANNED, REFUSED, RESTORE_FAILED, RESTORED, UP_TO_DATE, Report
from migrator.restoration import recover
from migrator.signals import end_as_ctrl_c_does

GRACE_S = 60.0
"""How long a child that was told to end may take to restore before it is killed, and what it left recovered."""


def migrate_one(request: str, watches_memory: bool, log: str | None, answer: Connection) -> None:
    """Migrates the database of the request (JSON), or looks at it; sends the report's JSON as its last act."""
    _begin(log)
    asked = MigrationRequest.model_validate_json(request)
    report = Report(str(asked.database))
    try:
        if asked.dry_run:
            live = preflight(asked.database, LTMC, **asked.preflight_options)
            report.describe(live)
            report.add_findings(look_ahead(live))
            report.outcome = UP_TO_DATE if live.plan is None else PLANNED
        else:
            _migrate(asked, report, watches_memory)
    except BaseException as error:
        _refused(report, error)
    _send(report, answer)


def recover_one(request: str, log: str | None, answer: Connection) -> None:
    """Ends what a killed child began on the database of the request (JSON); sends the report's JSON as its last act."""
    _begin(log)
    asked = MigrationRequest.model_validate_json(request)
    report, database = Report(str(asked.database)), asked.real_database
    report.outcome, report.error = RESTORED, "it had changed nothing"
    try:
        if read_journal(database) is not None:
            with locked(database):
                recovered = recover(database, LTMC)
            report.outcome = MIGRATED if recovered.how == "finished" else RESTORED
            report.error = "; ".join(finding.message for finding in recovered.findings)
    except BaseException as error:
        report.outcome = RESTORE_FAILED
        report.error = str(error) if isinstance(error, MigratorError) else f"{type(error).__name__}: {error}"
    _send(report, answer)


def _migrate(asked: MigrationRequest, report: Report, watches_memory: bool) -> None:
    from flows.ending import report_to_fill
    from flows.migrate import migrate
    from tasks.prove import watches_memory as watched

    report_to_fill.set(report)
    watched.set(watches_memory)
    migrate.fn(asked)


def _begin(log: str | None) -> None:
    """Afterwards a terminal's Ctrl-C does not reach this process, but SIGTERM ends it as Ctrl-C ends a run, and so does
    the death of the fleet's own process, hard where it has not ended in time; what it says goes to the log."""
    os.setsid()
    end_as_ctrl_c_does()
    made = 0 if log is None else os.O_APPEND | os.O_CREAT
    descriptor = os.open(log or os.devnull, os.O_WRONLY | os.O_CLOEXEC | made, 0o600)
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    faulthandler.enable(2)
    logger.remove()
    logger.add(_write, level="WARNING")
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _write(line: str) -> None:
    os.write(2, line.encode(errors="backslashreplace"))


def _end_with_parent() -> None:
    """As the fleet would have ended it: what hears no signal would hold its lock against every later start."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_S)
        os.kill(os.getpid(), signal.SIGKILL)


def _refused(report: Report, error: BaseException) -> None:
    """A run that began has recorded how it ended, and that stays."""
    if report.outcome is None:
        report.outcome = RESTORE_FAILED if isinstance(error, RestoreError) else REFUSED
        report.error = str(error) if isinstance(error, MigratorError) else f"{type(error).__name__}: {error}"
    if not isinstance(error, MigratorError | KeyboardInterrupt):
        logger.opt(exception=error).error("{}", report.database)


def _send(report: Report, answer: Connection) -> None:
    # It is over: whoever wants to end it now has come too late.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    answer.send_bytes(json.dumps(_facts(report)).encode())


def _facts(report: Report) -> dict[str, Any]:
    """What the fleet keeps of a report; the rest is beside the backup."""
    backup = None if report.backup is None else report.backup.path
    page = None if report.directory is None else report.directory / HTML_NAME
    return {
        "outcome": report.outcome,
        "error": report.error,
        "run_id": report.run_id or None,
        "from_version": report.from_version,
        "to_version": report.to_version,
        "backup": None if backup is None else str(backup),
        "report": str(page) if page is not None and page.exists() else None,
    }
