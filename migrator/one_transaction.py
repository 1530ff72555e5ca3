"""The way for small tables: everything in one transaction, with a deadline."""

from __future__ import annotations

import sqlite3

from migrator import rebuild
from migrator.adoption import refuse_other_rows
from migrator.application import Application
from migrator.connect import Connection, deadline, path_of, polling, set_pragma
from migrator.errors import LockTooLongError, PromotionError, RefusedError, RehearsalError
from migrator.findings import Finding
from migrator.guard import authorizer, check_unchanged
from migrator.inspection import name_what_does_not_fit
from migrator.ledger import WriteLedger
from migrator.pace import Tell, untold, waiting_for_lock
from migrator.plan import Plan, State

_COMMIT_TIMEOUT_S = 0.05
"""A COMMIT that waits for a reader keeps every new reader out meanwhile: better roll back and try again."""


def in_one_transaction(
    connection: Connection,
    application: Application,
    plan: Plan,
    expected: State,
    write_ledger: WriteLedger,
    max_lock_ms: float | None = None,
    tell: Tell = untold,
) -> tuple[float, int, tuple[Finding, ...]]:
    """Carries out `plan` and commits it; returns milliseconds of lock, rows, what the application changed meanwhile.

    `expected` is the state that the plan was made for. Half of `max_lock_ms` is for the statements, because a COMMIT
    can take as long again and cannot be interrupted. `tell` is told of a wait for the lock. Raises as `promote` does;
    then nothing was committed.
    """
    with rebuild.rebuild_settings(connection):
        set_pragma(connection, "cache_size", -rebuild.CACHE_KIB)
        set_pragma(connection, "synchronous", 3)
        waited = waiting_for_lock(path_of(connection), tell)
        polling(connection, lambda: connection.execute("BEGIN IMMEDIATE"), waited=waited)
        limit_s = float("inf") if max_lock_ms is None else max_lock_ms / 2000
        with deadline(connection, limit_s) as elapsed_s:
            try:
                found = check_unchanged(connection, application, plan, expected)
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
        f"the promotion would hold the write lock for more than {max_lock_ms:g} ms and was rolled back; live unchanged",
        "allow a longer lock with --max-lock-ms at a quiet hour",
    )


def _carry_out(connection: sqlite3.Connection, plan: Plan) -> int:
    connection.set_authorizer(authorizer(plan))
    for adopted in plan.adopted:
        try:
            refuse_other_rows(connection, adopted)
        except RefusedError as error:
            raise PromotionError(f"{error.fault}; live unchanged", error.way_out) from error
    rows = 0
    for table in plan.tables:
        try:
            rebuild.keep_originals(connection, table)
            rows += rebuild.rebuild_table(connection, table)
            rebuild.create_indexes(connection, table)
        except (RehearsalError, sqlite3.IntegrityError):
            # Only now: a look for each kind of misfit would read every row again, under the lock.
            name_what_does_not_fit(connection, table)
            raise
    return rows


def _commit(connection: Connection) -> None:
    polling(connection, lambda: connection.execute("COMMIT"), _COMMIT_TIMEOUT_S)
