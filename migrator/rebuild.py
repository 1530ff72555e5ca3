"""Carrying out a table's plan inside an open transaction: on the candidate and on live, the same functions.

The order is SQLite's documented procedure for schema changes that ALTER TABLE cannot make
(sqlite.org/lang_altertable.html#otheralter): create new, copy, drop old, rename, make indexes and triggers again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager

from migrator.connect import pragma, set_pragma
from migrator.ddl import parse_create_table, quote, without_foreign_keys
from migrator.errors import PromotionError, RehearsalError
from migrator.plan import TablePlan
from migrator.schema import columns_of

SETTINGS: tuple[tuple[str, str | int], ...] = (
    # With enforcement on, dropping the old table deletes or nulls child rows, or fails (atlas#3317, drizzle#5784).
    ("foreign_keys", 0),
    # Otherwise RENAME rewrites views, triggers and foreign keys that name the table, or fails on them.
    ("legacy_alter_table", 1),
    # Debian builds zero every freed page: half of the time of dropping a large table.
    ("secure_delete", 0),
)

CACHE_KIB = 8 * 1024
"""Rows are read and written in order: at a million of them 64 MB took as long, and memory then grew with the rows."""


@contextmanager
def rebuild_settings(connection: sqlite3.Connection) -> Iterator[None]:
    """The pragmas that a rebuild rests on, set outside the transaction and read back; the old ones afterwards.

    Raises PragmaError where a transaction is open already: SQLite would ignore foreign_keys=OFF without a word.
    """
    before = [(name, int(str(pragma(connection, name)))) for name, _ in SETTINGS]
    try:
        for name, value in SETTINGS:
            set_pragma(connection, name, value)
        yield
    finally:
        if not connection.in_transaction:
            for name, value in before:
                set_pragma(connection, name, value)


def convert_data(connection: sqlite3.Connection, plan: TablePlan) -> int:
    """Fills the added columns and keeps the originals; returns how many rows have originals.

    Afterwards the table has no triggers until `rebuild_table` makes them again: an UPDATE here is no event of the
    application's. Raises sqlite3.Error. Never commits.
    """
    if plan.fill:
        drop_triggers(connection, plan.table)
        connection.execute(plan.fill)
    return keep_originals(connection, plan)


def drop_triggers(connection: sqlite3.Connection, table: str) -> None:
    """Afterwards `table` has no triggers. Never commits."""
    query = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ? COLLATE NOCASE"
    for (name,) in connection.execute(query, (table,)).fetchall():
        connection.execute(f"DROP TRIGGER {quote(name)}")


def drop_indexes(connection: sqlite3.Connection, plan: TablePlan) -> None:
    """Afterwards a table that stays has none of the indexes that go; all others were not touched. Never commits."""
    for statement in plan.dropped:
        connection.execute(statement)


def keep_originals(connection: sqlite3.Connection, plan: TablePlan) -> int:
    """Afterwards the originals table holds every value that the way back would not give; absent where none is.

    Returns its rows. Never commits.
    """
    if not plan.originals:
        return 0
    for statement in plan.originals:
        kept = connection.execute(statement).rowcount
    if kept == 0:
        connection.execute(f"DROP TABLE {quote(plan.writes)}")
    return kept


def rebuild_table(connection: sqlite3.Connection, plan: TablePlan) -> int:
    """Afterwards the table has the plan's columns, constraints and rows; returns the number of rows.

    Its own indexes and triggers, AUTOINCREMENT mark and planner statistics are as before; other tables, their
    foreign keys, views and triggers are not written. Every row was compared with the projection before the old
    table went. Raises RehearsalError where a row differs, sqlite3.IntegrityError where the new constraints
    refuse one. Never commits.
    """
    match plan.kind:
        case "drop":
            return _drop_table(connection, plan)
        case "indexes":
            drop_indexes(connection, plan)
            return 0
        case "new":
            connection.execute(plan.create)
            copied = connection.execute(plan.copy).rowcount if plan.copy else 0
            if plan.reads is not None:
                carry_sequence(connection, plan, plan.reads, plan.table)
        case "rebuild":
            connection.execute(plan.create)
            copied = connection.execute(plan.copy).rowcount
            _check_copy(connection, plan, copied)
            if plan.update:
                take_place(connection, plan)
            else:
                _replace_table(connection, plan)
            raise_mark(connection, plan)
    if plan.reads is not None:
        connection.execute(f"DROP TABLE {quote(plan.reads)}")
    return copied


def take_place(connection: sqlite3.Connection, plan: TablePlan) -> None:
    """Afterwards what the shadow table holds is in the table, and there is no shadow table. Never commits."""
    if plan.update:
        drop_triggers(connection, plan.table)
        drop_indexes(connection, plan)
        for statement in plan.update:
            connection.execute(statement)
        connection.execute(f"DROP TABLE {quote(plan.shadow)}")
    else:
        connection.execute(f"DROP TABLE {quote(plan.table)}")
        connection.execute(f"ALTER TABLE {quote(plan.shadow)} RENAME TO {quote(plan.table)}")
    for statement in plan.made_again:
        connection.execute(statement)


def create_indexes(connection: sqlite3.Connection, plan: TablePlan) -> int:
    """Afterwards every index that the plan names exists; returns how many were made. Never commits."""
    for statement in plan.indexes:
        connection.execute(statement)
    return len(plan.indexes)


def _drop_table(connection: sqlite3.Connection, plan: TablePlan) -> int:
    """The table goes; with rows in it, or ids that it gave, it stays under the name that the way forward reads again.

    Without its foreign keys: where the application enforces them a row put aside would refuse its DELETE of a parent.
    """
    rows = int(connection.execute(f"SELECT count(*) FROM {quote(plan.table)}").fetchone()[0])
    if rows == 0 and not _gave_ids(connection, plan.table):
        connection.execute(f"DROP TABLE {quote(plan.table)}")
        return 0
    on_table = (
        "SELECT type, name FROM sqlite_master WHERE tbl_name = ? AND type IN ('index', 'trigger') AND sql IS NOT NULL"
    )
    for kind, name in connection.execute(on_table, (plan.table,)).fetchall():
        connection.execute(f"DROP {kind.upper()} {quote(name)}")
    connection.execute(f"ALTER TABLE {quote(plan.table)} RENAME TO {quote(plan.writes)}")
    ((text,),) = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (plan.writes,))
    with writing_schema(connection) as write:
        write("table", plan.writes, plan.writes, without_foreign_keys(parse_create_table(text)).sql)
    return rows


def _gave_ids(connection: sqlite3.Connection, table: str) -> bool:
    """Whether AUTOINCREMENT ever gave an id in `table`; DROP TABLE would forget it."""
    if not columns_of(connection, "sqlite_sequence"):
        return False
    query = "SELECT 1 FROM sqlite_sequence WHERE name = ?"
    return connection.execute(query, (table,)).fetchone() is not None


@contextmanager
def writing_schema(connection: sqlite3.Connection) -> Iterator[Callable[[str, str, str, str], None]]:
    """Gives a function (kind, name, new name, new text) after which an object has that name and text.

    Only for what no page knows of, such as names of indexes and foreign keys. A rename before it has to have moved the
    schema's cookie, so that every other connection reads the schema anew. The function raises PromotionError where
    there is no such object. sqlite.org/pragma.html#pragma_writable_schema.
    """

    def write(kind: str, name: str, to: str, sql: str) -> None:
        update = "UPDATE sqlite_master SET name = ?, sql = ? WHERE type = ? AND name = ?"
        if connection.execute(update, (to, sql, kind, name)).rowcount != 1:
            raise PromotionError(f"{kind} {name} could not be written as {to}; live unchanged", "start again")

    connection.execute("PRAGMA writable_schema=1")
    try:
        yield write
    finally:
        connection.execute("PRAGMA writable_schema=RESET")


def _replace_table(connection: sqlite3.Connection, plan: TablePlan) -> None:
    """`take_place` for a table that goes: its AUTOINCREMENT mark and statistics are the new one's."""
    carry_sequence(connection, plan, plan.table, plan.shadow)
    known, indexes = statistics(connection, plan.table), index_columns(connection, plan.table)
    take_place(connection, plan)
    same = indexes.items() & index_columns(connection, plan.table).items()
    bring_back_statistics(connection, known, {None, plan.table, *(name for name, _ in same)})


def _check_copy(connection: sqlite3.Connection, plan: TablePlan, copied: int) -> None:
    # Where only some rows are copied, one too few shows as one that differs.
    count = f"SELECT count(*) FROM {quote(plan.table)}"
    there = copied if plan.update else int(connection.execute(count).fetchone()[0])
    differing = int(connection.execute(plan.compare).fetchone()[0])
    if there != copied or differing:
        raise RehearsalError(
            f"table {plan.table}: {there} rows, {copied} copied, {differing} of them differ from what the migration "
            "says; the new table was discarded",
            "a declared value may be of another type than its column stores: give it a CAST",
        )


def carry_sequence(connection: sqlite3.Connection, plan: TablePlan, source: str, table: str) -> None:
    """The ids that were ever given stay given: the mark moves with the rows, also where the newest are gone.

    A table that has no mark gets none, though even a copy of no rows has left one.
    """
    if plan.target is None or not plan.target.autoincrement:
        return
    connection.execute("DELETE FROM sqlite_sequence WHERE name = ?", (table,))
    connection.execute("INSERT INTO sqlite_sequence SELECT ?, seq FROM sqlite_sequence WHERE name = ?", (table, source))


def raise_mark(connection: sqlite3.Connection, plan: TablePlan) -> None:
    """Afterwards no id that the migration knows of, wherever it was given, is given again. Never commits."""
    for statement in plan.mark:
        connection.execute(statement)


Rows = list[tuple[object, ...]]


def statistics(connection: sqlite3.Connection, table: str) -> list[tuple[str, Rows]]:
    """The planner's statistics about `table`, which DROP TABLE deletes."""
    query = "SELECT name FROM sqlite_master WHERE name IN ('sqlite_stat1', 'sqlite_stat4')"
    names = [name for (name,) in connection.execute(query)]
    return [(n, connection.execute(f"SELECT * FROM {n} WHERE tbl = ?", (table,)).fetchall()) for n in names]


def index_columns(connection: sqlite3.Connection, table: str) -> dict[str, tuple[object, ...]]:
    """What each index of `table` is on: the one of a UNIQUE constraint has a number for a name, which may move."""
    query = (
        "SELECT i.name, c.name, c.desc, c.coll FROM pragma_index_list(?) AS i, pragma_index_xinfo(i.name) AS c "
        "WHERE c.key ORDER BY i.name, c.seqno"
    )
    found: dict[str, tuple[object, ...]] = {}
    for index, *column in connection.execute(query, (table,)):
        found[index] = (*found.get(index, ()), *column)
    return found


def forget_statistics(connection: sqlite3.Connection, table: str) -> None:
    """Afterwards the planner has no statistics about `table`."""
    for name, _ in statistics(connection, table):
        connection.execute(f"DELETE FROM {name} WHERE tbl = ?", (table,))


def bring_back_statistics(connection: sqlite3.Connection, known: list[tuple[str, Rows]], indexes: Set[object]) -> None:
    """The statistics of the table itself and of each of `indexes`; their second column names the index."""
    for name, rows in known:
        for row in rows:
            if row[1] in indexes:
                connection.execute(f"INSERT INTO {name} VALUES ({', '.join('?' * len(row))})", row)
