"""Taking this tool's own objects out of a live database, a few rows at a time."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from migrator.application import Application
from migrator.connect import Connection, opened, pragma
from migrator.ddl import folded, parse_create_table, quote
from migrator.findings import Finding
from migrator.pace import Pace, Tell, throttle_path, untold
from migrator.paced import Paced
from migrator.rebuild import rebuild_settings
from migrator.schema import OWN_PREFIX, shape_of
from migrator.sizes import size_text

if TYPE_CHECKING:
    from migrator.promotion import Promoted

_EVENTS = ("after insert", "after update", "after delete", "before insert", "before update")
_SUFFIXES = ("log", "old", *_EVENTS)
_WORTH_A_LINE_BYTES, _WORTH_A_LINE = 1_000_000, 0.1


def temporary_objects(connection: sqlite3.Connection, application: Application) -> list[tuple[str, str]]:
    """Kind and name of what an online promotion of `application` has in the database only while a run lasts.

    Found by the names that it gives: whatever else begins like them is somebody's.
    """
    tables = {folded(change.table) for migration in application.migrations for change in migration.changes}
    bases = tables | {folded(name) for name in application.own_tables}
    query = "SELECT type, name, tbl_name FROM sqlite_master WHERE sql IS NOT NULL"
    found = [(kind, name, on) for kind, name, on in connection.execute(query) if folded(name).startswith(OWN_PREFIX)]
    ours = {name for kind, name, _ in found if kind == "table" and _bases(name) & bases}
    return [(kind, name) for kind, name, on in found if on in ours or (kind == "trigger" and _bases(name) & tables)]


def _bases(name: str) -> frozenset[str]:
    """The tables that `_mig_<table>` and `_mig_<table>.<what>` may be for; a table's own name may end like that too.

    A number is a stage's.
    """
    own = folded(name).removeprefix(OWN_PREFIX)
    base, _, what = own.rpartition(".")
    return frozenset({own, base} if what in _SUFFIXES or what.isdigit() else {own})


def remove_own(connection: Connection, application: Application, pace: Pace | None = None) -> None:
    """Afterwards the database has none of `temporary_objects`; the application goes on meanwhile.

    What a promotion or a removal that was killed left is removed in the same way; again, nothing is to be done.
    Raises PromotionError where the lock is not to be had for a minute.
    """
    found = temporary_objects(connection, application)
    if not found:
        return
    with rebuild_settings(connection):
        paced = Paced(connection, pace or Pace())
        # First what the application's own writes still pay for.
        for kind in ("trigger", "index", "table"):
            for name in (name for kind_, name in found if kind_ == kind):
                if kind == "table":
                    _empty(connection, paced, name)
                _drop(paced, kind, name)


def remove_old(promoted: Promoted, tell: Tell = untold) -> None:
    """Afterwards what was the table is gone from live; the operator's throttle holds here too."""
    live = promoted.candidate.inspection.backup.live
    with opened(live.database) as connection:
        remove_own(connection, live.application, Pace(throttle_path(live.database), tell=tell))


def free_pages(connection: Connection) -> tuple[Finding, ...]:
    """Says how much of the file the application will fill before it grows, where that is worth a line."""
    counts = (pragma(connection, name) for name in ("freelist_count", "page_count", "page_size"))
    free, pages, size_bytes = (int(str(count)) for count in counts)
    if free * size_bytes <= _WORTH_A_LINE_BYTES or free <= _WORTH_A_LINE * pages:
        return ()
    share = f"{size_text(free * size_bytes)} of the file, {free / pages:.0%}, are free pages"
    choice = "VACUUM would give them back to the disk, and keep every writer waiting meanwhile"
    return (Finding("free_pages", f"{share}: SQLite fills them before the file grows; {choice}"),)


def _drop(paced: Paced, kind: str, name: str) -> None:
    def work() -> int:
        paced.connection.execute(f"DROP {kind.upper()} {quote(name)}")
        return 0

    paced.hold(work)
    paced.rest()


def _empty(connection: Connection, paced: Paced, table: str) -> None:
    """Afterwards few rows are left: dropping a million at once held the lock for 359 ms."""
    (sql,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    key = ", ".join(map(quote, shape_of(parse_create_table(sql)).key))
    bound = f"SELECT {key} FROM {quote(table)} ORDER BY {key} LIMIT 1 OFFSET ?"
    while last := connection.execute(bound, (paced.pace.rows,)).fetchone():
        delete = f"DELETE FROM {quote(table)} WHERE ({key}) <= ({', '.join('?' * len(last))})"

        def work(statement: str = delete, last: tuple[object, ...] = last) -> int:
            return connection.execute(statement, last).rowcount

        paced.hold(work)
        paced.rest()
