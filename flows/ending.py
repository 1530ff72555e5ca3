"""How a run ends: what was reached decides, never what kind of signal, error or timeout came."""

from __future__ import annotations

import sqlite3
from contextvars import ContextVar
from typing import Any

from loguru import logger
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.states import Cancelled

from flows.request import MigrationRequest
from migrator import ledger, restoration, verification
from migrator.connect import opened
from migrator.errors import MigratorError, RefusedError, RestoreError
from migrator.findings import Finding
from migrator.preflight import Live
from migrator.report import MIGRATED, REFUSED, RESTORE_FAILED, RESTORED, Report
from tasks.cancellation import RunCancelledError, is_cancelled
from tasks.record import current_report
from tasks.report import report_outcome
from tasks.restore import restore, undisturbed

report_to_fill: ContextVar[Report | None] = ContextVar("report_to_fill", default=None)
"""A report that the caller of the flow holds, because Prefect hands back a state and not what the run recorded."""


class Run:
    """The run under way: its report, and live once it was found."""

    def __init__(self, request: MigrationRequest) -> None:
        self.report = report_to_fill.get() or Report(str(request.database))
        self._live: Live | None = None
        context = FlowRunContext.get()
        if context is not None and context.flow_run is not None:
            self.report.flow_run_id = str(context.flow_run.id)
        current_report.set(self.report)

    @property
    def live(self) -> Live | None:
        """Live as preflight found it; None before."""
        return self._live

    @live.setter
    def live(self, live: Live) -> None:
        self._live = live
        self.report.describe(live)

    def end(self, outcome: str) -> dict[str, Any] | State[Any]:
        """The run reached its end; returns the report. What goes wrong from here on is a finding.

        Where the run was cancelled after the promotion it returns a Cancelled state: Prefect accepts no other.
        """
        self.report.running = "finish"
        self.report.outcome = outcome
        if outcome == MIGRATED and self.live is not None:
            self._clean_up(self.live)
        report_outcome()
        if outcome == MIGRATED and is_cancelled(at_once=True):
            return Cancelled(message="migrated: the cancellation came after the promotion, which stands")
        return self.report.as_json()

    def end_badly(self, error: BaseException) -> dict[str, Any] | State[Any]:
        """Afterwards live is as before the run, or, where the promotion was committed and only the end of the run was
        disturbed, as promoted.

        Raises `error` itself, or RestoreError with both errors; returns a Cancelled state for a cancelled run.
        """
        self.report.failed_step = self.report.running
        with undisturbed():
            if self._stands(error):
                self.report.add_findings([Finding("disturbed", f"after the promotion came {_text(error)}; it stands")])
                return self.end(MIGRATED)
            self.report.outcome, failure = self._undo(error)
            self.report.error = str(failure) if failure is not error else self._described(error)
            logger.error("{}", self.report.error)
            report_outcome()
        if isinstance(error, RunCancelledError):
            return Cancelled(message=f"{self.report.outcome}: {self.report.error}")
        raise failure

    def _stands(self, error: BaseException) -> bool:
        """Whether the promotion is in live for good: COMMIT is the point of no return, only a failed check reverses."""
        if self.live is None or self._refused(error):
            return False
        disturbed = not isinstance(error, Exception) or isinstance(error, TimeoutError)
        if not disturbed and self.report.running == "verify_live":
            return False
        try:
            with opened(self.live.database, read_only=True) as connection:
                if ledger.read_run(connection, self.live.run_id) is None:
                    return False
            verification.verify(self.live.database, self.live.application, self.live.run_id)
        except (sqlite3.Error, MigratorError) as fault:
            logger.error("after {}: {}", _text(error), fault)
            return False
        return True

    def _undo(self, error: BaseException) -> tuple[str, BaseException]:
        """The outcome, and the error that the run ends with."""
        if self.live is None:
            return (RESTORE_FAILED if isinstance(error, RestoreError) else REFUSED), error
        if self._refused(error):
            restoration.discard(self.live.database, self.live.directory)
            self.report.backup = None
            return REFUSED, error
        try:
            self.report.add_findings(restore(self.live, type(error).__name__).findings)
        except BaseException as second:
            return RESTORE_FAILED, self._both(error, second)
        return RESTORED, error

    def _refused(self, error: BaseException) -> bool:
        """Whether the run ended before anything but the backup was made, because of what is in the database."""
        running = self.report.running
        return (running == "inspect" and isinstance(error, Exception)) or (
            running == "back_up" and isinstance(error, RefusedError)
        )

    def _both(self, error: BaseException, second: BaseException) -> RestoreError:
        backup = self.report.backup
        where = "no backup was finished" if backup is None else f"the backup is {backup.path}"
        failure = RestoreError(
            f"{self.report.failed_step} failed: {_text(error)}; and the restore failed: {_text(second)}; {where}",
            "start the migration again, which restores first; or, to go back to the backup: "
            f"python -m flows.restore --database {self.report.database}"
            + ("" if backup is None else f" --backup {backup.path} --discard-later-writes"),
        )
        failure.__cause__ = error
        return failure

    def _described(self, error: BaseException) -> str:
        """The error, with where it came from and where the data is now."""
        if self.report.outcome in (REFUSED, RESTORE_FAILED):
            return _text(error)
        backup = "" if self.report.backup is None else f"; the backup is {self.report.backup.path}"
        return f"{self.report.failed_step} failed: {_text(error)}; {self.report.database} is as before{backup}"

    def _clean_up(self, live: Live) -> None:
        try:
            restoration.finish(live.database, live.directory)
        except Exception as error:
            self.report.add_findings([Finding("clean_up_failed", f"the next start ends this run: {error}")])


def _text(error: BaseException) -> str:
    """The message; of errors that are not this project's own, the type as well."""
    if isinstance(error, MigratorError):
        return str(error)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
