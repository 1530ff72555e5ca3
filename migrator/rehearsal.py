"""The online promotion tried on the schema alone: its statements are rehearsed before live sees the first of them."""

from __future__ import annotations

from pathlib import Path

from migrator.backup import Backup
from migrator.candidate import Candidate
from migrator.connect import Connection, opened, set_pragma
from migrator.ddl import folded, quote
from migrator.errors import RehearsalError
from migrator.files import create_private, make_directory
from migrator.ledger import LEDGER_TABLES
from migrator.meanwhile import what_is_read
from migrator.online import promote_online
from migrator.pace import Pace
from migrator.plan import Plan
from migrator.preflight import read_state

_NAME = "schema.db"


def rehearse_online(candidate: Candidate) -> None:
    """Carries out the online promotion on a database with the tables concerned and no rows.

    Raises RehearsalError where the schema that it leads to is not the candidate's, and what `promote_online` raises.
    """
    backup = candidate.inspection.backup
    live, plan = backup.live, candidate.plan
    path = _schema_alone(backup, plan)
    with opened(path) as connection:
        state = read_state(connection, live.application)
        promote_online(connection, live.application, plan, state, lambda *_: None, Pace(sleep=lambda _: None), 0)
        reached = read_state(connection, live.application).schema.fingerprints_of(plan.touched)
    path.unlink()
    if reached != candidate.fingerprints:
        raise RehearsalError(
            f"the online promotion would lead to another schema of {', '.join(sorted(plan.touched))} than the "
            "rehearsal; live unchanged",
            "allow a longer lock with --max-lock-ms at a quiet hour",
        )


def _schema_alone(backup: Backup, plan: Plan) -> Path:
    """A database with the migrated tables, what names them, the tables and views that their values are read from, and
    this tool's own tables; of rows only the ledger's."""
    path = backup.scratch / _NAME
    make_directory(backup.scratch, backup.live.database)
    path.unlink(missing_ok=True)
    create_private(path, backup.live.database)
    schema = backup.live.state.schema
    naming = schema.naming(plan.touched)
    tables = {folded(o.table) for o in schema.objects if o.canonical in naming}
    tables |= {name for _, name in what_is_read(plan, schema)}
    wanted = [o for o in schema.objects if folded(o.table) in tables or o.canonical in naming]
    with opened(backup.path, read_only=True) as source, opened(path) as target:
        set_pragma(target, "synchronous", 0)
        target.execute("BEGIN")
        for found in sorted(wanted, key=lambda o: o.kind != "table"):
            target.execute(found.sql)
        for table in backup.live.state.own:
            _copy_own(source, target, table, with_rows=table in LEDGER_TABLES)
        target.execute("COMMIT")
    return path


def _copy_own(source: Connection, target: Connection, table: str, with_rows: bool) -> None:
    made = "SELECT sql FROM sqlite_master WHERE tbl_name = ? AND sql IS NOT NULL ORDER BY type = 'index'"
    for (sql,) in source.execute(made, (table,)).fetchall():
        target.execute(sql)
    for row in source.execute(f"SELECT * FROM {quote(table)}").fetchall() if with_rows else ():
        target.execute(f"INSERT INTO {quote(table)} VALUES ({', '.join('?' * len(row))})", row)
