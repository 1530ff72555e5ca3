"""How a run ends: what was reached decides, never what kind of signal, error or timeout came."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from loguru import logger
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.exceptions import TerminationSignal
from prefect.states import Cancelled, Failed

from flows.request import MigrationRequest
from migrator import ledger, restoration, verification
from migrator.commands import restore_order
from migrator.connect import is_passing, opened
from migrator.errors import BackupGoneError, MigratorError, PromotionError, RefusedError, RestoreError
from migrator.findings import Finding
from migrator.originals import ORIGINALS_KEPT
from migrator.preflight import Live
from migrator.report import MIGRATED, REFUSED, RESTORE_FAILED, RESTORED, Report
from tasks.cancellation import TIMEOUT_S, RunCancelledError, is_cancelled
from tasks.record import current_report
from tasks.report import report_outcome
from tasks.restore import restore, undisturbed

_UNCHECKED, DISTURBED = "checks_left", "disturbed"

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

    def end(self, outcome: str, checked: bool = True) -> dict[str, Any] | State[Any]:
        """The run reached its end; returns the report. What goes wrong from here on is a finding.

        Where live could not be `checked` after the promotion its journal stays, and the next start does that.

        Where the run was cancelled after the promotion it returns a Cancelled state: Prefect accepts no other.
        """
        self.report.running = "finish"
        self.report.outcome = outcome
        if outcome == MIGRATED and self.live is not None and checked:
            self._clean_up(self.live)
        report_outcome()
        if outcome == MIGRATED and is_cancelled(at_once=True, timeout_s=TIMEOUT_S):
            return Cancelled(message="migrated: the cancellation came after the promotion, which stands")
        return self.report.as_json()

    def end_badly(self, error: BaseException) -> dict[str, Any] | State[Any]:
        """Afterwards live is as before the run, or, where the promotion was committed and only the end of the run was
        disturbed, as promoted.

        Raises `error` itself, or RestoreError with both errors; returns a state that says what became of live:
        Cancelled for a cancelled run, which a worker cancels with SIGTERM, and, in a flow run, Failed for a locked one.
        """
        self.report.failed_step = self.report.running
        error = _stop_behind(error)
        with undisturbed():
            standing = self._standing(error)
            if standing is not None:
                self.report.add_findings([standing])
                return self.end(MIGRATED, checked=standing.code != _UNCHECKED)
            failure = self._undo(error)
            logger.error("{}", self.report.error)
            report_outcome()
            cancelled = isinstance(error, RunCancelledError) or (
                isinstance(error, TerminationSignal) and is_cancelled(at_once=True, timeout_s=TIMEOUT_S)
            )
        if cancelled:
            return Cancelled(message=f"{self.report.outcome}: {self.report.error}")
        if _is_lock(failure) and FlowRunContext.get() is not None:
            # Its own words say neither whose lock it was nor what to do; whoever called the flow gets it all the same.
            return Failed(message=self.report.error, data=failure)
        raise failure

    def _standing(self, error: BaseException) -> Finding | None:
        """What there is to say of a promotion that is in live for good; None where there is none, or where it must go.

        COMMIT is the point of no return for signals, timeouts and locks; only a failed check of live reverses.
        """
        if self.live is None or self._refused(error):
            return None
        if self.report.running == "verify_live" and not verification.shows_nothing(error):
            return None
        try:
            with opened(self.live.database, read_only=True) as connection:
                if ledger.read_run(connection, self.live.run_id) is None:
                    return None
            verification.verify(self.live.database, self.live.application, self.live.run_id)
        except (sqlite3.Error, MigratorError) as fault:
            if _is_lock(fault) and self.report.promoted is not None:
                return Finding(
                    _UNCHECKED, f"{_text(fault)}; the promotion stands, the next start checks it and ends this run"
                )
            logger.error("after {}: {}", _text(error), fault)
            return None
        return Finding(DISTURBED, f"after the promotion came {_text(error)}; it stands")

    def _undo(self, error: BaseException) -> BaseException:
        """Brings live back, and puts outcome and error into the report; returns the error that the run ends with."""
        report, live = self.report, self.live
        error = self._naming_lost_backup(error)
        report.error = _text(error)
        if live is None:
            report.outcome = RESTORE_FAILED if isinstance(error, RestoreError) else REFUSED
        elif self._refused(error):
            report.outcome, report.backup = REFUSED, None
            self._noting_faults(lambda: restoration.discard(live.database, live.directory))
        else:
            try:
                restored = restore(live, type(error).__name__)
                report.add_findings(restored.findings)
                if report.promoted is not None and restored.how == "unchanged":
                    # The ledger, which says what a run promoted, has lost it: nothing was reversed.
                    raise RestoreError(f"{live.database} holds what was promoted, and its ledger does not know the run")
            except BaseException as second:
                report.outcome, failure = RESTORE_FAILED, self._both(error, second)
                report.error = str(failure)
                return failure
            report.outcome, report.error = RESTORED, self._described(error)
            # Only the rehearsal put them aside, and that is gone.
            report.findings = [finding for finding in report.findings if finding.code != ORIGINALS_KEPT]
        return error

    def _naming_lost_backup(self, error: BaseException) -> BaseException:
        """BackupGoneError where the backup has gone since: each step meets that in words of its own, which blame a file
        or a tool. Of a backup that is not there the report says nothing."""
        backup = self.report.backup
        if backup is None or os.path.isfile(backup.path):
            return error
        self.report.backup = None
        stopped = not isinstance(error, Exception)
        if stopped or isinstance(error, PromotionError) or self.report.promoted is not None:
            return error
        gone = BackupGoneError(backup.path.parent, _text(error))
        gone.__cause__ = error
        return gone

    def _refused(self, error: BaseException) -> bool:
        """Whether the run ended before anything but the backup was made, because of what is in the database."""
        running = self.report.running
        return (running in ("inspect", "look_ahead") and isinstance(error, Exception)) or (
            running == "back_up" and isinstance(error, RefusedError)
        )

    def _both(self, error: BaseException, second: BaseException) -> RestoreError:
        backup, database = self.report.backup, Path(self.report.database)
        where = "no backup was finished" if backup is None else f"the backup is {backup.path}"
        failure = RestoreError(
            f"{self.report.failed_step} failed: {_text(error)}; and the restore failed: {_text(second)}; {where}",
            "start the migration again, which finishes or restores"
            + ("" if backup is None else f"; or, to go back to the backup: {restore_order(database, backup.path)}"),
        )
        failure.__cause__ = error
        return failure

    def _described(self, error: BaseException) -> str:
        """The error, with where it came from and where the data is now."""
        backup = "" if self.report.backup is None else f"; the backup is {self.report.backup.path}"
        ended = f"failed: {_text(error)}" if isinstance(error, Exception) else f"was stopped by {_text(error)}"
        return f"{self.report.failed_step} {ended}; {self.report.database} is as before{backup}"

    def _clean_up(self, live: Live) -> None:
        self._noting_faults(lambda: restoration.finish_promoted(live))

    def _noting_faults(self, clean_up: Callable[[], tuple[Finding, ...]]) -> None:
        try:
            self.report.add_findings(clean_up())
        except Exception as error:
            self.report.add_findings([Finding("clean_up_failed", f"the next start ends this run: {error}")])


def _stop_behind(error: BaseException) -> BaseException:
    """The signal that stopped the run, where `error` came of it: a task of Prefect that is stopped as it begins fails
    at its own clean-up, with an error that says nothing of that."""
    behind: BaseException | None = error
    while behind is not None:
        if isinstance(behind, KeyboardInterrupt | TerminationSignal):
            return behind
        behind = behind.__context__
    return error


def _is_lock(error: BaseException) -> bool:
    return isinstance(error, sqlite3.Error) and is_passing(error)


def _text(error: BaseException) -> str:
    """The message; of errors that are not this project's own, the type as well."""
    if isinstance(error, MigratorError):
        return str(error)
    if _is_lock(error):
        return f"another connection kept the database locked ({error}); end its transaction, then start again"
    if isinstance(error, KeyboardInterrupt):
        return "Ctrl-C"
    if isinstance(error, TerminationSignal):
        return "SIGTERM"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
