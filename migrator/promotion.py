"""The one instant: the rehearsed statements on what live holds now, in one transaction."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from migrator import ledger, rebuild
from migrator.application import Application
from migrator.candidate import Candidate, predicted_lock_ms
from migrator.connect import Connection, deadline, opened, pragma, set_pragma
from migrator.errors import LockTooLongError, PromotionError, RefusedError
from migrator.findings import Finding
from migrator.inspection import refuse_what_does_not_fit
from migrator.plan import Plan, State, TablePlan
from migrator.preflight import read_state
from migrator.schema import Schema, SchemaObject, leftovers

MAX_LOCK_MS = 250.0
_CACHE_KIB = 64 * 1024
_COMMIT_TIMEOUT_MS = 50
"""A COMMIT that waits for a reader keeps every new reader out meanwhile: better roll back and try again."""


@dataclass(frozen=True)
class Promoted:
    """The migration is in live, committed. `lock_ms` is how long other writers had to wait, `rows` the rebuilt rows."""

    candidate: Candidate
    strategy: Literal["one_transaction", "online"]
    lock_ms: float
    rows: int
    findings: tuple[Finding, ...] = ()


def promote(candidate: Candidate, max_lock_ms: float = MAX_LOCK_MS) -> Promoted:
    """Brings the migration into live while the application goes on; every other connection sees old or new.

    Reads the rows that live holds now, so writes made since the backup are in. Raises, with live as it was:
    LockTooLongError where the write lock is or would be held longer than `max_lock_ms`; PromotionError where the
    application changed the schema of a migrated table or wrote a value that has no answer; RehearsalError where a row
    differs; sqlite3.OperationalError where live stays locked (try the whole transaction again).
    """
    live = candidate.inspection.backup.live
    expected_ms = predicted_lock_ms(candidate, candidate.rows)
    if expected_ms > max_lock_ms:
        raise LockTooLongError(
            f"promoting {candidate.rows:,} rows in one transaction would hold the write lock for about "
            f"{expected_ms:.0f} ms, {max_lock_ms:g} ms are allowed; this version has no online promotion yet; "
            "live unchanged",
            "allow more with --max-lock-ms at a quiet hour",
        )
    after = _migrated_fingerprints(candidate)

    def write_ledger(connection: sqlite3.Connection, seconds: float, rows: int) -> None:
        if candidate.plan.reverse:
            ledger.record_reversed(connection, live.application.name, candidate.plan.migrations, live.run_id, after)
            return
        before = live.state.schema.fingerprints_of(candidate.plan.touched)
        # SQLite takes no text that is not UTF-8; a file name may be any bytes.
        backup = os.fsencode(candidate.inspection.backup.path).decode(errors="backslashreplace")
        entry = ledger.Entry(live.run_id, backup, before, after, seconds, rows)
        ledger.record_applied(
            connection, live.application.name, candidate.plan.migrations, candidate.plan.answers, entry
        )

    with opened(live.database) as connection:
        lock_ms, rows, found = in_one_transaction(
            connection, live.application, candidate.plan, live.state, write_ledger, max_lock_ms
        )
    return Promoted(candidate, "one_transaction", lock_ms, rows, found)


def in_one_transaction(
    connection: Connection,
    application: Application,
    plan: Plan,
    expected: State,
    write_ledger: Callable[[sqlite3.Connection, float, int], None],
    max_lock_ms: float | None = None,
) -> tuple[float, int, tuple[Finding, ...]]:
    """Carries out `plan` and commits it; returns milliseconds of lock, rows, what the application changed meanwhile.

    `expected` is the state that the plan was made for. Half of `max_lock_ms` is for the statements, because a COMMIT
    can take as long again and cannot be interrupted. Raises as `promote` does; then nothing was committed.
    """
    with rebuild.rebuild_settings(connection):
        set_pragma(connection, "cache_size", -_CACHE_KIB)
        set_pragma(connection, "synchronous", 3)
        connection.execute("BEGIN IMMEDIATE")
        limit_s = float("inf") if max_lock_ms is None else max_lock_ms / 2000
        with deadline(connection, limit_s) as elapsed_s:
            try:
                found = _check_unchanged(connection, application, plan, expected)
                rows = _carry_out(connection, plan)
                connection.set_authorizer(None)
                write_ledger(connection, elapsed_s(), rows)
                if elapsed_s() > limit_s:
                    raise _too_long(max_lock_ms)
                _commit(connection)
                return 1000 * elapsed_s(), rows, found
            except BaseException as error:
                connection.set_authorizer(None)
                # Where the deadline fired inside a write SQLite has rolled back already: a statement sent now, even
                # a ROLLBACK, would run in autocommit mode on live or fail and hide the first error.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                if isinstance(error, sqlite3.OperationalError) and elapsed_s() > limit_s and "interrupt" in str(error):
                    raise _too_long(max_lock_ms) from error
                if isinstance(error, sqlite3.IntegrityError):
                    raise PromotionError(
                        f"rows written since the backup do not fit the new table ({error}); live unchanged",
                        "start again, which shows them",
                    ) from error
                raise


def _too_long(max_lock_ms: float | None) -> LockTooLongError:
    return LockTooLongError(
        f"the promotion would hold the write lock for more than {max_lock_ms:g} ms and was rolled back; "
        "this version has no online promotion yet; live unchanged",
        "allow more with --max-lock-ms at a quiet hour",
    )


def _carry_out(connection: sqlite3.Connection, plan: Plan) -> int:
    connection.set_authorizer(_authorizer(plan))
    rows = 0
    for table in plan.tables:
        if table.unmapped:
            _check_values(connection, table)
        rebuild.keep_originals(connection, table)
        rows += rebuild.rebuild_table(connection, table)
        rebuild.create_indexes(connection, table)
    return rows


def _check_values(connection: sqlite3.Connection, table: TablePlan) -> None:
    """Rows that came since the backup may hold a value that nothing says what to do with."""
    try:
        refuse_what_does_not_fit(connection, table)
    except RefusedError as error:
        raise PromotionError(f"written since the backup: {error.fault}; live unchanged", error.way_out) from error


def _commit(connection: sqlite3.Connection) -> None:
    timeout_ms = pragma(connection, "busy_timeout")
    connection.execute(f"PRAGMA busy_timeout={_COMMIT_TIMEOUT_MS}")
    try:
        connection.execute("COMMIT")
    finally:
        connection.execute(f"PRAGMA busy_timeout={timeout_ms}")


def _check_unchanged(
    connection: sqlite3.Connection, application: Application, plan: Plan, expected: State
) -> tuple[Finding, ...]:
    """First under the lock: what was rehearsed is what is there."""
    applied = len(ledger.read_ledger(connection, application.name, application.migrations))
    versions = [m.version for m in plan.migrations]
    if applied != (max(versions) if plan.reverse else min(versions) - 1):
        raise PromotionError(
            f"live is at version {applied:04d} now, not where this run began; live unchanged", "start again"
        )
    now = read_state(connection, application)
    if now.schema.naming(plan.touched) != expected.schema.naming(plan.touched) or dict(now.own) != dict(expected.own):
        raise PromotionError(
            f"the schema of {', '.join(sorted(plan.touched))} or of what names it changed since the backup; "
            "live unchanged",
            "start again",
        )
    left = leftovers(connection)
    if left:
        raise PromotionError(
            f"live has objects named like this tool's own: {', '.join(left)}; live unchanged", "drop them"
        )
    changed = {o.name for o in _unrelated(now.schema, plan)} ^ {o.name for o in _unrelated(expected.schema, plan)}
    return tuple(
        Finding("schema_changed_meanwhile", f"the application made or dropped {name}") for name in sorted(changed)
    )


def _unrelated(schema: Schema, plan: Plan) -> list[SchemaObject]:
    related = schema.naming(plan.touched)
    return [o for o in schema.objects if o.canonical not in related]


def _migrated_fingerprints(candidate: Candidate) -> str:
    """What live's schema must be afterwards, read from the candidate."""
    application = candidate.inspection.backup.live.application
    with opened(candidate.path, read_only=True) as connection:
        return read_state(connection, application).schema.fingerprints_of(candidate.plan.touched)


_TABLE_IS_FIRST = frozenset(
    {
        sqlite3.SQLITE_INSERT,
        sqlite3.SQLITE_UPDATE,
        sqlite3.SQLITE_DELETE,
        sqlite3.SQLITE_CREATE_TABLE,
        sqlite3.SQLITE_DROP_TABLE,
    }
)
_TABLE_IS_SECOND = frozenset(
    {
        sqlite3.SQLITE_CREATE_INDEX,
        sqlite3.SQLITE_DROP_INDEX,
        sqlite3.SQLITE_CREATE_TRIGGER,
        sqlite3.SQLITE_DROP_TRIGGER,
        sqlite3.SQLITE_ALTER_TABLE,
    }
)
_NEVER = frozenset(
    {
        sqlite3.SQLITE_ATTACH,
        sqlite3.SQLITE_DETACH,
        sqlite3.SQLITE_CREATE_VIEW,
        sqlite3.SQLITE_DROP_VIEW,
        sqlite3.SQLITE_CREATE_VTABLE,
        sqlite3.SQLITE_DROP_VTABLE,
        sqlite3.SQLITE_TRANSACTION,
    }
)
"""sqlite.org/c3ref/c_alter_table.html says which argument names the table."""


def _authorizer(plan: Plan) -> Callable[[int, str | None, str | None, str | None, str | None], int]:
    """Denies every write outside the plan's tables, whatever a trigger or view of the database may ask for."""
    allowed = {"sqlite_master", "sqlite_temp_master", "sqlite_sequence"}
    for table in plan.tables:
        allowed |= {n.casefold() for n in (table.table, table.shadow, table.writes, table.reads) if n}

    def authorize(action: int, first: str | None, second: str | None, database: str | None, trigger: str | None) -> int:
        table = first if action in _TABLE_IS_FIRST else second if action in _TABLE_IS_SECOND else None
        name = (table or "").casefold()
        denied = action in _NEVER or (name and name not in allowed and not name.startswith("sqlite_stat"))
        return sqlite3.SQLITE_DENY if denied else sqlite3.SQLITE_OK

    return authorize
