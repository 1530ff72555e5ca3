"""Before anything changes: end what a killed run began, look at live, copy it, look at the copy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from migrator import backup as backups
from migrator import dry_run, inspection, restoration
from migrator import preflight as preflights
from migrator.application import Application
from migrator.backup import Backup
from migrator.backups import off_machine
from migrator.backups.off_machine import Copied
from migrator.findings import Finding
from migrator.inspection import Inspection
from migrator.preflight import Live
from migrator.restoration import Recovered
from tasks.record import current_report, progress
from tasks.step import its_rows, step


@step("recover {database}", retries_on_lock=True, cancellable=False)
def recover(database: Path, application: Application) -> Recovered:
    return restoration.recover(database, application)


@step("preflight {database}")
def preflight(database: Path, application: Application, options: dict[str, Any]) -> Live:
    return preflights.preflight(database, application, **options)


@step("look ahead at the rows of {live.database}", retries_on_lock=True)
def look_ahead(live: Live) -> tuple[Finding, ...]:
    found = dry_run.look_ahead(live)
    current_report.get().add_findings(found)
    return found


@step("back up {live.database}", retries_on_lock=True, counts_rows=its_rows)
def back_up(live: Live, max_lock_ms: float) -> Backup:
    backup = current_report.get().backup = backups.back_up(live, progress("back_up"), max_lock_ms=max_lock_ms)
    return backup


@step("inspect the backup")
def inspect(backup: Backup) -> Inspection:
    return inspection.inspect(backup)


@step("copy the backup to {url}")
def copy_off_machine(backup: Backup, url: str) -> Copied:
    return off_machine.copy_off_machine(backup.path.parent, backup.live.database, url)
