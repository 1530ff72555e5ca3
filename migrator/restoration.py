"""Back to where the run started: nothing of ours is left, and no row that the application wrote is lost."""

from __future__ import annotations

import json
import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from migrator import ledger
from migrator.adoption import BASELINE
from migrator.application import Application
from migrator.as_before import check_as_before, way_back
from migrator.backup import BACKUP_NAME, MANIFEST_NAME, SCRATCH_NAME
from migrator.commands import replace_file
from migrator.connect import Connection, count_rows, is_damage, is_passing, opened
from migrator.errors import MigratorError, NotOnlineError, PromotionError, RefusedError, RestoreError
from migrator.files import remove_tree, sha256_of
from migrator.findings import Finding
from migrator.inspection import integrity_faults
from migrator.journal import read_journal, remove_journal
from migrator.journal_mode import give_back
from migrator.one_transaction import in_one_transaction
from migrator.online import promote_online
from migrator.pace import Pace
from migrator.pages import PRESENT_NAME, copy_back
from migrator.plan import Plan, State
from migrator.planning import make_plan
from migrator.preflight import BACKUPS_SUFFIX, Live, read_state
from migrator.removal import free_pages, remove_own, temporary_objects
from migrator.schema import Schema, columns_of
from migrator.verification import verify

_ROWS_AT_ONCE = 10_000
"""About as many go back within the default of --max-lock-ms; the rehearsal measured the way forth, not this one."""

How = Literal["finished", "unchanged", "reversed", "pages_copied"]


@dataclass(frozen=True)
class Restored:
    """Live is as before the run. `how`: nothing had been promoted, it was reversed, the backup's pages were copied."""

    how: Literal["unchanged", "reversed", "pages_copied"]
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Recovered:
    """What became of a killed run: its promotion stands and was verified (`finished`), or live is as before it."""

    run_id: str
    how: How
    findings: tuple[Finding, ...] = ()


def restore(database: Path, application: Application, run_id: str, directory: Path) -> Restored:
    """Afterwards live has the schema that it had before run `run_id`, with every row written since.

    Whether live is old or new is asked of its ledger alone. Old: what the run left is removed. New: the reverse is
    promoted. Live that is found damaged gets the backup's pages, after its present state was saved; where nothing was
    promoted nobody looks for damage. The run's scratch folder and journal are gone; a verified backup stays. Running it
    again changes nothing. No id is given twice: an AUTOINCREMENT mark that the promotion raised stays
    (`check_as_before` says why); only with the backup's pages come the backup's marks.
    Raises RestoreError where live could not be brought back: it says where the data is and what to do;
    sqlite3.OperationalError while live is locked (try again).
    """
    backup = directory / BACKUP_NAME
    with opened(database) as connection:
        run, faults = _look(connection, run_id)
        findings: tuple[Finding, ...] = ()
        try:
            if not faults:
                _remove_own(connection, application, database)
                if run is not None:
                    _reverse(connection, application, run_id, run, database, backup)
                    _remove_own(connection, application, database)
                    faults = integrity_faults(connection)
            if not faults:
                findings = check_as_before(connection, application, database, backup, run)
        except sqlite3.DatabaseError as error:
            # Nothing of ours was in live, so its pages were not checked.
            faults = integrity_faults(connection) if is_damage(error) else []
            if not faults:
                raise
    if faults:
        findings = _restore_damaged(database, backup, faults)
    if run is None and not faults and not backup.with_name(MANIFEST_NAME).exists():
        ended = discard(database, directory)
    else:
        ended = finish(database, directory)
    return Restored("pages_copied" if faults else "unchanged" if run is None else "reversed", (*findings, *ended))


def recover(database: Path, application: Application) -> Recovered:
    """Ends what a killed run began: verifies and finishes a promotion that was committed, else removes what is left.

    Afterwards there is no journal; a promotion that did not verify is reversed or, where no way back keeps what the
    application has built on it, stands: a finding says why. Raises RestoreError as `restore` does.
    """
    journal = read_journal(database)
    if journal is None:
        raise RestoreError(f"no run was under way on {database}")
    directory, why = Path(journal.directory), []
    # Opened for writing: this rolls back what the killed run had not committed.
    with opened(database) as connection:
        run, faults = _look(connection, journal.run_id)
    if run is not None and not faults:
        try:
            verified = verify(database, application, journal.run_id)
            with opened(database) as connection:
                remove_own(connection, application)
            return _recovered(journal.run_id, "finished", (*verified.findings, *finish(database, directory)))
        except MigratorError as error:
            why.append(Finding("promotion_reversed", str(error)))
    try:
        restored = restore(database, application, journal.run_id, directory)
    except RestoreError as error:
        if not why:
            raise
        if isinstance(error.__cause__, RefusedError):
            # The application has built on the new schema since; live is sound, and there is no way back that keeps it.
            kept = Finding("promotion_kept", f"it stands, because it cannot be reversed: {error.__cause__.fault}")
            with opened(database) as connection:
                remove_own(connection, application)
            return _recovered(journal.run_id, "finished", (*why, kept, *finish(database, directory)))
        raise RestoreError(f"{why[0].message}; then: {error.fault}", error.way_out) from error
    return _recovered(journal.run_id, restored.how, (*why, *restored.findings))


def _recovered(run_id: str, how: How, findings: tuple[Finding, ...]) -> Recovered:
    said = {
        "finished": f"the promotion of killed run {run_id} was verified and stands",
        "unchanged": f"killed run {run_id} had promoted nothing; what it left was removed",
        "reversed": f"the promotion of killed run {run_id} was reversed",
        "pages_copied": f"the database was damaged when run {run_id} was killed; it holds that run's backup again",
    }
    return Recovered(run_id, how, (Finding("recovered", said[how]), *findings))


def finish(database: Path, directory: Path) -> tuple[Finding, ...]:
    """Ends a run: scratch folder and journal go, the backup stays, and the journal mode is what it was."""
    remove_tree(directory / SCRATCH_NAME)
    found = give_back(database)
    remove_journal(database)
    return found


def finish_promoted(live: Live) -> tuple[Finding, ...]:
    """Ends a run whose promotion stands; where the old table is still there the next start does that."""
    with opened(live.database, read_only=True) as connection:
        left, free = temporary_objects(connection, live.application), free_pages(connection)
    if left:
        names = ", ".join(name for _, name in left)
        return (Finding("leftovers", f"the next start removes {names} from {live.database.name}"),)
    return (*finish(live.database, live.directory), *free)


def discard(database: Path, directory: Path) -> tuple[Finding, ...]:
    """Ends a run that was refused: nothing of it stays, not even its backup."""
    remove_directory(database, directory)
    found = give_back(database)
    remove_journal(database)
    return found


def remove_directory(database: Path, directory: Path) -> None:
    """Afterwards a run's `directory` is gone, and the folder of them beside the database where it was the last."""
    remove_tree(directory)
    # A folder that the operator chose stays, empty or not.
    made_here = directory.parent == database.with_name(database.name + BACKUPS_SUFFIX)
    folder = directory.parent
    if made_here and folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir()):
        folder.rmdir()


def _look(connection: sqlite3.Connection, run_id: str) -> tuple[ledger.Run | None, list[str]]:
    """What the ledger knows of the run, and the faults of the file where the run promoted or the ledger is damaged.

    Where it promoted nothing, live is as the application left it: a check of every page would only stall writers.
    """
    try:
        run = ledger.read_run(connection, run_id)
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        return None, integrity_faults(connection) or [str(error)]
    return run, ([] if run is None else integrity_faults(connection))


def _remove_own(connection: Connection, application: Application, database: Path) -> None:
    try:
        remove_own(connection, application)
    except PromotionError as error:
        raise RestoreError(
            f"what the run left in {database} cannot be removed ({error.fault}); no row is lost",
            "end what holds the database, then start again, which removes it",
        ) from error


def _reverse(
    connection: Connection, application: Application, run_id: str, run: ledger.Run, database: Path, backup: Path
) -> None:
    """Promotes the way back to exactly the schema of the backup."""
    migrations = [m for m in application.migrations if m.version in run.versions]
    try:
        state = read_state(connection, application)
        if not run.reverse and any(BASELINE in given.switches for given in run.answers.values()):
            plan = Plan(tuple(migrations), True, run.answers, (), state)
        else:
            exactly = _schema_of(backup, application)
            plan = make_plan(migrations, state, run.answers, reverse=not run.reverse, exactly=exactly)
        _promote_back(
            connection,
            application,
            plan,
            state,
            lambda c, *_: _undo_in_ledger(c, application, run_id, run, backup),
        )
    except (MigratorError, sqlite3.Error) as error:
        if isinstance(error, sqlite3.Error) and is_passing(error):
            raise
        raise RestoreError(
            f"the promoted migration of {database} could not be reversed ({error}); live holds the new schema and "
            f"every row; the state before the run is in {backup}",
            way_back(database, backup),
        ) from error


def _promote_back(
    connection: Connection, application: Application, plan: Plan, state: State, write_ledger: ledger.WriteLedger
) -> None:
    """By the way that keeps the application waiting least; what cannot go online is done in one transaction."""
    # One that the way back makes again is not there yet.
    long = (table.table for table in plan.tables if table.kind == "rebuild" or table.indexes)
    tables = {table for table in long if state.schema.table(table)}
    rows = sum(count_rows(connection, table) for table in tables)
    if rows > _ROWS_AT_ONCE:
        with suppress(NotOnlineError):
            promote_online(connection, application, plan, state, write_ledger, Pace(), rows)
            return
    in_one_transaction(connection, application, plan, state, write_ledger)


def _restore_damaged(database: Path, backup: Path, faults: list[str]) -> tuple[Finding, ...]:
    manifest = backup.with_name(MANIFEST_NAME)
    if not manifest.exists():
        raise RestoreError(
            f"{database} is damaged ({faults[0]}), and this run has no verified backup of it",
            "restore it from a backup of the application",
        )
    if sha256_of(backup) != json.loads(manifest.read_text(encoding="utf-8"))["sha256"]:
        raise RestoreError(
            f"{database} is damaged ({faults[0]}), and {backup} is not what {manifest} says",
            "restore it from a backup of the application",
        )
    present = backup.with_name(PRESENT_NAME)
    present.unlink(missing_ok=True)
    copy_back(backup, database, present)
    with opened(database, read_only=True) as connection:
        still = integrity_faults(connection)
    if still:
        raise RestoreError(
            f"{database} is still damaged ({still[0]}); what it held is in {present}",
            f"stop the application, then: {replace_file(database, backup)}",
        )
    return (Finding("pages_copied", f"live was damaged ({faults[0]}); its state is kept in {present}"),)


def _undo_in_ledger(
    connection: sqlite3.Connection, application: Application, run_id: str, run: ledger.Run, backup: Path
) -> None:
    """The ledger forgets the run; where values were put aside it goes on to say whose they are."""
    migrations = [m for m in application.migrations if m.version in run.versions]
    kept = read_state(connection, application).own.keys() & {name for m in migrations for name in m.own_tables}
    if kept and not run.reverse:
        ledger.record_reversed(connection, application.name, migrations, f"restore of {run_id}", run.schema_before)
    else:
        ledger.undo_run(connection, application.name, application.migrations, run_id, _ledger_of(backup))


def _ledger_of(backup: Path) -> tuple[str, ...]:
    """The tables of the ledger that were there before the run."""
    with opened(backup, read_only=True) as connection:
        return tuple(table for table in ledger.LEDGER_TABLES if columns_of(connection, table))


def _schema_of(backup: Path, application: Application) -> Schema:
    with opened(backup, read_only=True) as connection:
        return read_state(connection, application).schema
