"""What a promotion checks first under the lock, and what it may write at all."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from migrator import ledger
from migrator.application import Application
from migrator.errors import PromotionError, RehearsalError
from migrator.findings import Finding
from migrator.meanwhile import changed_elsewhere, refuse_changed
from migrator.plan import Plan, State
from migrator.preflight import read_state, way_out_of
from migrator.schema import OWN_PREFIX, own_objects

NOTHING: Mapping[str, str] = {}


def check_unchanged(
    connection: sqlite3.Connection,
    application: Application,
    plan: Plan,
    expected: State,
    ours: Mapping[str, str] = NOTHING,
) -> tuple[Finding, ...]:
    """First under the lock: what was rehearsed is what is there, and of this tool's own objects exactly `ours`.

    Returns what the application changed elsewhere. Raises PromotionError, which names what it changed, where that is a
    migrated table, what names one, what a value is read from, or one of `ours`.
    """
    applied = len(ledger.read_ledger(connection, application.name, application.migrations))
    versions = [m.version for m in plan.migrations]
    if applied != (max(versions) if plan.reverse else min(versions) - 1):
        raise PromotionError(
            f"live is at version {applied:04d} now, not where this run began; live unchanged", "start again"
        )
    now = read_state(connection, application)
    if now != expected:
        refuse_changed(plan, expected, now)
    found = own_objects(connection)
    lost = sorted(name for name, text in ours.items() if found.get(name) != text)
    if lost:
        raise PromotionError(
            f"the application dropped or changed what this run has in live: {', '.join(lost)}; live was left as it is",
            "start again",
        )
    odd = {name: found[name] for name in sorted(found.keys() - ours.keys())}
    if odd:
        # What was there when the run began refused it.
        raise PromotionError(
            f"since this run began somebody made objects named like this tool's own: {', '.join(odd)}; live was left "
            "as it is",
            f"{way_out_of(odd)}, then start again",
        )
    return changed_elsewhere(plan, expected, now)


@contextmanager
def naming_what_changed(
    connection: sqlite3.Connection,
    application: Application,
    plan: Plan,
    expected: State,
    ours: Callable[[], Mapping[str, str]] = lambda: NOTHING,
) -> Iterator[None]:
    """What fails in here because the schema is another one is raised as what `check_unchanged` says of it.

    For statements outside of the lock under which that was asked: the application may drop a table between any two. A
    row that is not as expected may be one of a table that was dropped and made again.
    """
    try:
        yield
    except (sqlite3.OperationalError, RehearsalError) as error:
        # What sqlite3 raises by itself, of text that is no UTF-8, has no code.
        if isinstance(error, RehearsalError) or getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_ERROR:
            try:
                check_unchanged(connection, application, plan, expected, ours())
            except PromotionError as changed:
                raise changed from error
        raise


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
    }
)
"""sqlite.org/c3ref/c_alter_table.html says which argument names the table."""


def authorizer(
    plan: Plan, transactions: bool = False
) -> Callable[[int, str | None, str | None, str | None, str | None], int]:
    """Denies every write outside the plan's tables, whatever a trigger or view of the database may ask for.

    BEGIN and COMMIT are denied as well unless it stays on for several `transactions`.
    """
    allowed = {"sqlite_master", "sqlite_temp_master", "sqlite_sequence"}
    for table in plan.tables:
        allowed |= {n.casefold() for n in (table.table, table.writes, table.reads) if n}
    never = _NEVER if transactions else _NEVER | {sqlite3.SQLITE_TRANSACTION}

    def authorize(action: int, first: str | None, second: str | None, database: str | None, trigger: str | None) -> int:
        table = first if action in _TABLE_IS_FIRST else second if action in _TABLE_IS_SECOND else None
        name = (table or "").casefold()
        may = not name or name in allowed or name.startswith(("sqlite_stat", OWN_PREFIX))
        return sqlite3.SQLITE_OK if may and action not in never else sqlite3.SQLITE_DENY

    return authorize
