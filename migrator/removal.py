"""Taking this tool's own objects out of a live database, a few rows at a time."""

from __future__ import annotations

from migrator.connect import Connection, opened
from migrator.ddl import parse_create_table, quote
from migrator.pace import Pace, throttle_path
from migrator.paced import Paced
from migrator.promotion import Promoted
from migrator.rebuild import rebuild_settings
from migrator.schema import own_objects, shape_of


def remove_own(connection: Connection, pace: Pace | None = None) -> None:
    """Afterwards the database has no object of this tool's that lasts only as long as a run; the application goes on.

    What a promotion or a removal that was killed left is removed in the same way; again, nothing is to be done.
    Raises PromotionError where the lock is not to be had for a minute.
    """
    if not own_objects(connection):
        return
    with rebuild_settings(connection):
        paced = Paced(connection, pace or Pace())
        # First what the application's own writes still pay for.
        for kind in ("trigger", "index"):
            for name in _named(connection, kind):
                _drop(paced, kind, name)
        for table in _named(connection, "table"):
            _empty(connection, paced, table)
            _drop(paced, "table", table)


def remove_old(promoted: Promoted) -> None:
    """Afterwards what was the table is gone from live; the operator's throttle holds here too."""
    database = promoted.candidate.inspection.backup.live.database
    with opened(database) as connection:
        remove_own(connection, Pace(throttle_path(database)))


def _named(connection: Connection, kind: str) -> list[str]:
    query = "SELECT name FROM sqlite_master WHERE type = ? AND name = ?"
    names = own_objects(connection)
    return [name for name in names if connection.execute(query, (kind, name)).fetchone()]


def _drop(paced: Paced, kind: str, name: str) -> None:
    def work() -> int:
        paced.connection.execute(f"DROP {kind.upper()} {quote(name)}")
        return 0

    paced.hold(work)
    paced.rest()


def _empty(connection: Connection, paced: Paced, table: str) -> None:
    """Afterwards few rows are left: dropping a million at once held the lock for 359 ms."""
    key = ", ".join(map(quote, shape_of(parse_create_table(own_objects(connection)[table])).key))
    bound = f"SELECT {key} FROM {quote(table)} ORDER BY {key} LIMIT 1 OFFSET ?"
    while last := connection.execute(bound, (paced.pace.rows,)).fetchone():
        delete = f"DELETE FROM {quote(table)} WHERE ({key}) <= ({', '.join('?' * len(last))})"

        def work(statement: str = delete, last: tuple[object, ...] = last) -> int:
            return connection.execute(statement, last).rowcount

        paced.hold(work)
        paced.rest()
