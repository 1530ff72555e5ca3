"""Back to where the run started: nothing of ours is left, and no row that the application wrote is lost."""

from __future__ import annotations

import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from migrator import ledger
from migrator.application import Application
from migrator.backup import BACKUP_NAME, MANIFEST_NAME, SCRATCH_NAME, copy_database
from migrator.connect import connect, count_rows, opened, set_pragma, transaction
from migrator.ddl import quote
from migrator.errors import MigratorError, RestoreError
from migrator.files import create_private, sync_file
from migrator.findings import Finding
from migrator.inspection import integrity_faults
from migrator.journal import read_journal, remove_journal
from migrator.plan import make_plan
from migrator.preflight import read_state
from migrator.promotion import in_one_transaction
from migrator.schema import Schema, leftovers
from migrator.verification import verify

PRESENT_NAME = "before-restore.db"


@dataclass(frozen=True)
class Restored:
    """Live is as before the run. `how`: nothing had been promoted, the migration was reversed, pages were copied back."""

    how: Literal["unchanged", "reversed", "pages_copied"]
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Recovered:
    """What became of a killed run: its promotion stands and was verified (`finished`), or live is as before it."""

    run_id: str
    how: Literal["finished", "unchanged", "reversed", "pages_copied"]
    findings: tuple[Finding, ...] = ()


def restore(database: Path, application: Application, run_id: str, directory: Path) -> Restored:
    """Afterwards live has the schema that it had before run `run_id`, with every row written since.

    Whether live is old or new is asked of its ledger alone. Old: what the run left is removed. New: the reverse is
    promoted. Live that fails its integrity check gets the backup's pages, after its present state was saved. The
    run's scratch folder and journal are gone; a verified backup stays. Running it again changes nothing.
    Raises RestoreError where live could not be brought back: it says where the data is and what to do;
    sqlite3.OperationalError while live is locked (try again).
    """
    backup = directory / BACKUP_NAME
    with opened(database) as connection:
        faults = integrity_faults(connection)
        run = None if faults else ledger.read_run(connection, run_id)
        if not faults:
            _remove_leftovers(connection)
            how: Literal["unchanged", "reversed"] = "unchanged" if run is None else "reversed"
            if run is not None:
                _reverse(connection, application, run_id, run, database, backup)
            findings = _check_restored(connection, application, database, backup)
    if faults:
        return _restore_damaged(database, backup, directory, faults)
    _clean_up(database, directory)
    return Restored(how, findings)


def recover(database: Path, application: Application) -> Recovered:
    """Ends what a killed run began: verifies and finishes a promotion that was committed, else removes what is left.

    Afterwards there is no journal. Raises RestoreError as `restore` does.
    """
    journal = read_journal(database)
    if journal is None:
        raise RestoreError(f"no run was under way on {database}")
    directory = Path(journal.directory)
    with opened(database) as connection:
        promoted = ledger.read_run(connection, journal.run_id) is not None
    if promoted:
        try:
            verified = verify(database, application, journal.run_id)
            _clean_up(database, directory)
            return Recovered(journal.run_id, "finished", verified.findings)
        except MigratorError:
            # The reverse below names what is wrong where it cannot mend it.
            pass
    restored = restore(database, application, journal.run_id, directory)
    return Recovered(journal.run_id, restored.how, restored.findings)


def finish(database: Path, directory: Path) -> None:
    """Ends a run that succeeded: scratch folder and journal go, the backup stays."""
    _clean_up(database, directory)


def discard(database: Path, directory: Path) -> None:
    """Ends a run that was refused: nothing of it stays, not even its backup."""
    shutil.rmtree(directory, ignore_errors=True)
    if directory.parent.is_dir() and not any(directory.parent.iterdir()):
        directory.parent.rmdir()
    remove_journal(database)


def copy_back(backup: Path, database: Path, present: Path) -> None:
    """Copies the backup's pages over live, after saving live's present state at `present`.

    Every other connection waits or sees the old or the new content. sqlite.org/backup.html.
    """
    create_private(present)
    with opened(database) as connection, opened(present) as saved:
        try:
            connection.execute("BEGIN")
            copy_database(connection, saved)
            connection.execute("COMMIT")
            set_pragma(saved, "journal_mode", "delete")
            readable = True
        except sqlite3.DatabaseError:
            readable = False
    if not readable:
        # Too damaged for SQLite: the bytes as they are, from a file that this process no longer has open.
        shutil.copyfile(database, present)
    sync_file(present)
    with opened(backup, read_only=True) as source:
        target = connect(database)
        try:
            # A backup into an open transaction is refused, and without a lock a writer could come in between.
            set_pragma(target, "locking_mode", "exclusive")
            try:
                with transaction(target, "EXCLUSIVE"):
                    pass
            except sqlite3.DatabaseError as error:
                if error.sqlite_errorname not in ("SQLITE_CORRUPT", "SQLITE_NOTADB"):
                    raise
            source.execute("BEGIN")
            copy_database(source, target)
        finally:
            target.close()


def _reverse(
    connection: sqlite3.Connection, application: Application, run_id: str, run: ledger.Run, database: Path, backup: Path
) -> None:
    """Promotes the way back to exactly the schema of the backup."""
    migrations = [m for m in application.migrations if m.version in run.versions]
    try:
        state = read_state(connection, application)
        plan = make_plan(migrations, state, run.answers, reverse=not run.reverse, exactly=_schema_of(backup, application))
        in_one_transaction(
            connection,
            application,
            plan,
            state,
            lambda c, seconds, rows: ledger.undo_run(c, application.name, application.migrations, run_id),
        )
    except (MigratorError, sqlite3.IntegrityError) as error:
        raise RestoreError(
            f"the promoted migration of {database} could not be reversed ({error}); live holds the new schema and every row; "
            f"the state before the run is in {backup}",
            f"to go back to that state: python -m flows.restore --database {database} --backup {backup} --discard-later-writes",
        ) from error


def _check_restored(
    connection: sqlite3.Connection, application: Application, database: Path, backup: Path
) -> tuple[Finding, ...]:
    """Schema as in the backup; tables with another number of rows are what the application wrote since."""
    if not backup.with_name(MANIFEST_NAME).exists():
        return ()
    with opened(backup, read_only=True) as original:
        before, now = read_state(original, application).schema, read_state(connection, application).schema
        touched = {change.table for m in application.migrations for change in m.changes}
        if before.fingerprint_of(touched) != now.fingerprint_of(touched):
            raise RestoreError(
                f"{database} has not the schema that it had before the run; the state before the run is in {backup}",
                f"python -m flows.restore --database {database} --backup {backup} --discard-later-writes",
            )
        changed = [t for t in before.tables if now.table(t) and count_rows(original, t) != count_rows(connection, t)]
    return tuple(Finding("rows_written_since", f"table {t} has another number of rows than the backup") for t in changed)


def _restore_damaged(database: Path, backup: Path, directory: Path, faults: list[str]) -> Restored:
    if not backup.with_name(MANIFEST_NAME).exists():
        raise RestoreError(
            f"{database} is damaged ({faults[0]}), and this run has no verified backup of it",
            "restore it from a backup of the application",
        )
    present = directory / PRESENT_NAME
    present.unlink(missing_ok=True)
    copy_back(backup, database, present)
    with opened(database, read_only=True) as connection:
        still = integrity_faults(connection)
    if still:
        raise RestoreError(f"{database} is still damaged ({still[0]}); its present state is in {present}", f"use {backup}")
    _clean_up(database, directory)
    return Restored("pages_copied", (Finding("pages_copied", f"live was damaged ({faults[0]}); its state is kept in {present}"),))


def _remove_leftovers(connection: sqlite3.Connection) -> None:
    names = leftovers(connection)
    if not names:
        return
    with transaction(connection):
        for kind, name in connection.execute("SELECT type, name FROM sqlite_master WHERE sql IS NOT NULL").fetchall():
            if name in names and kind in ("table", "trigger", "view"):
                connection.execute(f"DROP {kind.upper()} IF EXISTS {quote(name)}")


def _clean_up(database: Path, directory: Path) -> None:
    """The scratch folder goes; a backup without a manifest was never finished and goes too; the journal last."""
    if (directory / MANIFEST_NAME).exists() or not directory.exists():
        shutil.rmtree(directory / SCRATCH_NAME, ignore_errors=True)
        remove_journal(database)
    else:
        discard(database, directory)


def _schema_of(backup: Path, application: Application) -> Schema:
    with opened(backup, read_only=True) as connection:
        return read_state(connection, application).schema
