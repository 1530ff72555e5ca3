"""Where a database stands: its migrations, what a run would do, and what is not as it should be. Only looks."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from migrator.application import Application
from migrator.check.drift import Drift, ledger_drift, ledger_findings, schema_drift
from migrator.check.explanation import Explanation, explain
from migrator.check.forecast import Forecast, try_forecast
from migrator.check.promotions import Ledger, Promotion, read_promotions
from migrator.check.under_way import Run, run_on
from migrator.connect import LOCK_TIMEOUT_S, is_passing, opened
from migrator.errors import MigratorError, RefusedError
from migrator.findings import Finding
from migrator.journal import read_journal
from migrator.migration import Migration
from migrator.plan import Plan
from migrator.preflight import Live, preflight, read_state, way_out_of
from migrator.schema import Schema, own_objects


class NotReadableError(MigratorError):
    """The database, or what the answer rests on, cannot be read."""


@dataclass(frozen=True)
class Status:
    """`applied` are the migrations that the database has, each with its promotion where the ledger kept one.

    `version` is None where nothing tells it: then nothing is known of `applied` and `pending` either. `schema` is None
    where it could not be read. `plan` is what a
    run would do; None where nothing is pending, or where a run would be refused (`refusal`). `forecast` is None without
    a plan, and where no estimate can be made.
    """

    database: Path
    schema: Schema | None = None
    version: int | None = None
    applied: tuple[tuple[Migration, Promotion | None], ...] = ()
    pending: tuple[Migration, ...] = ()
    ledger: Ledger = field(default_factory=Ledger)
    drift: tuple[Drift, ...] = ()
    findings: tuple[Finding, ...] = ()
    plan: Plan | None = None
    explanations: tuple[Explanation, ...] = ()
    forecast: Forecast | None = None
    refusal: str | None = None


def look(database: Path, application: Application, max_lock_ms: float, timeout_s: float = LOCK_TIMEOUT_S) -> Status:
    """What `database` is now. Leaves main file and WAL as they are and ends nothing that a killed run left.

    Takes about as long for a large database as for a small one. Raises NotReadableError, with the way out, where the
    database cannot be read; a hot journal alone is drift, and then nothing else is known.
    """
    live, refusal = _as_a_run_sees_it(database, application, timeout_s)
    real = Path(os.path.realpath(database))
    run, outside = _from_outside(real, refusal)
    try:
        with opened(real, read_only=True, timeout_s=timeout_s) as connection:
            connection.execute("BEGIN")
            return _with_plan(connection, _read(connection, application, outside, run, refusal), live, max_lock_ms)
    except RefusedError as error:
        raise NotReadableError(error.fault, error.way_out) from error
    except sqlite3.Error as error:
        if error.sqlite_errorname == "SQLITE_READONLY_ROLLBACK":
            return replace(outside, drift=(*outside.drift, _HOT))
        if refusal is not None:
            raise NotReadableError(refusal.fault, refusal.way_out) from error
        raise NotReadableError(f"{real} cannot be read now ({error})", "try again") from error


_HOT = Drift(
    "hot_journal", "", "the database", "has a hot journal: a writer died in a transaction", "",
    "start the application or a migration, which rolls it back",
)  # fmt: skip


_KILLED = "killed_run"


def _as_a_run_sees_it(
    database: Path, application: Application, timeout_s: float
) -> tuple[Live | None, RefusedError | None]:
    """What a dry run would find, or why it would be refused; NotReadableError where nothing can be read at all."""
    try:
        return preflight(database, application, only_look=True, timeout_s=timeout_s), None
    except RefusedError as error:
        is_locked = isinstance(error.__cause__, sqlite3.Error) and is_passing(error.__cause__)
        # Nobody waits for a lock twice, nor for the other end of a pipe.
        if is_locked or not os.path.isfile(database):
            raise NotReadableError(error.fault, error.way_out) from error
        return None, error


def _from_outside(real: Path, refusal: RefusedError | None) -> tuple[Run | None, Status]:
    """What the files beside the database say, and the run at work on it (None: its journal tells nothing)."""
    outside = Status(real, refusal=None if refusal is None else str(refusal))
    try:
        run, journal = run_on(real), read_journal(real)
    except RefusedError as error:
        fault = Drift("journal", "", "the journal beside the database", error.fault, "", error.way_out)
        return None, replace(outside, drift=(fault,))
    if run is Run.UNDER_WAY:
        return run, replace(outside, findings=(Finding("run_under_way", "a run is at work on the database"),))
    if journal is not None:
        way_out = "start the migration again, which ends what it began"
        killed = Drift(_KILLED, "", f"run {journal.run_id}", "was killed before its end", "", way_out)
        return run, replace(outside, drift=(killed,))
    return run, outside


def _read(
    connection: sqlite3.Connection,
    application: Application,
    outside: Status,
    run: Run | None,
    refusal: RefusedError | None,
) -> Status:
    """Adds what the ledger and the schema say to what was seen from `outside`."""
    schema = read_state(connection, application).schema
    outside = replace(outside, schema=schema)
    left = tuple(_leftovers(connection, run))
    try:
        ledger = read_promotions(connection, application.name)
    except RefusedError as error:
        fault = Drift("ledger", "", "the ledger", error.fault, "", error.way_out)
        return replace(outside, drift=(*outside.drift, *left, fault))
    applied = tuple((m, ledger.standing(m.version)) for m in application.migrations if m.label in ledger.labels)
    pending = tuple(m for m in application.migrations if m.label not in ledger.labels)
    version = len(applied)
    found, added = schema_drift(application, schema, ledger, version, refused=refusal is not None)
    drift = (*_ended(outside, ledger, bool(left)), *left, *ledger_drift(application, ledger), *found)
    if refusal is not None and run is not Run.UNDER_WAY and not drift:
        drift = (Drift("refused", "", "a migration", f"would be refused: {refusal.fault}", "", refusal.way_out),)
    findings = (*outside.findings, *added, *ledger_findings(application, ledger))
    return replace(
        outside,
        version=version,
        applied=applied,
        pending=pending,
        ledger=ledger,
        drift=drift,
        findings=findings,
    )


def _with_plan(connection: sqlite3.Connection, status: Status, live: Live | None, max_lock_ms: float) -> Status:
    # A run may have been promoted between the two looks.
    if live is None or live.plan is None or live.from_version != status.version:
        return status
    planned = replace(status, plan=live.plan, explanations=explain(live.plan, live.state))
    expected = try_forecast(connection, live.plan, max_lock_ms)
    if isinstance(expected, Finding):
        return replace(planned, findings=(*status.findings, expected))
    return replace(planned, forecast=expected)


def _ended(outside: Status, ledger: Ledger, has_left: bool) -> Iterator[Drift]:
    """What was seen from `outside`; of a run that the ledger knows, that no more than its end is open."""
    for drift in outside.drift:
        journal = read_journal(outside.database) if drift.code == _KILLED else None
        if journal is None or not ledger.knows(journal.run_id):
            yield drift
            continue
        now, ends = ("left tables to remove", "removes them") if has_left else ("did not end", "ends it")
        way_out = f"start the migration again, which {ends}"
        yield replace(drift, code="promoted_run", now=f"promoted, but {now}", way_out=way_out)


def _leftovers(connection: sqlite3.Connection, run: Run | None) -> Iterator[Drift]:
    left = own_objects(connection)
    if left and run is not Run.UNDER_WAY:
        ends = "start the migration again, which removes what a run left; do not drop them by hand"
        way_out = ends if run is Run.KILLED else way_out_of(left)
        yield Drift("leftovers", "", ", ".join(left), "named like what is there only while a run lasts", "", way_out)
