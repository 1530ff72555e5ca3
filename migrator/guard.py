"""What a promotion checks first under the lock, and what it may write at all."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping

from migrator import ledger
from migrator.application import Application
from migrator.errors import PromotionError
from migrator.findings import Finding
from migrator.plan import Plan, State
from migrator.preflight import read_state
from migrator.schema import OWN_PREFIX, Schema, own_objects

NOTHING: Mapping[str, str] = {}


def check_unchanged(
    connection: sqlite3.Connection,
    application: Application,
    plan: Plan,
    expected: State,
    ours: Mapping[str, str] = NOTHING,
) -> tuple[Finding, ...]:
    """First under the lock: what was rehearsed is what is there, and of this tool's own objects exactly `ours`.

    Returns what the application changed elsewhere; raises PromotionError otherwise.
    """
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
    odd = sorted(name for name, _ in own_objects(connection).items() ^ ours.items())
    if odd:
        raise PromotionError(
            f"objects named like this tool's own are not as it made them: {', '.join(odd)}; live unchanged", "drop them"
        )
    changed = _unrelated(now.schema, plan).items() ^ _unrelated(expected.schema, plan).items()
    return tuple(
        Finding("schema_changed_meanwhile", f"the application made, changed or dropped {name}")
        for name in sorted({name for name, _ in changed})
    )


def _unrelated(schema: Schema, plan: Plan) -> dict[str, object]:
    related = schema.naming(plan.touched)
    return {o.name: o.canonical for o in schema.objects if o.canonical not in related}


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
