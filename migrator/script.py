"""The SQL of a promotion in one transaction, to be read by people before it is run by `in_one_transaction`."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby

from migrator import ledger, rebuild
from migrator.ddl import quote
from migrator.migration import literal
from migrator.plan import Plan, TablePlan

_TIME = re.compile(r"'[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:.]+[+]00:00'")


@dataclass(frozen=True)
class Step:
    """One statement. `only` says when it is sent ("": always); where the rows decide what it says, it is `about` that
    and `sql` is empty or an example of it."""

    sql: str
    only: str = ""
    about: str = ""

    @property
    def text(self) -> str:
        """The statement with a semicolon, or as a comment where it is not always sent."""
        if not self.only and self.sql:
            sql = self.sql.strip()
            # A comment at its end would swallow the semicolon.
            return f"{sql};" if sqlite3.complete_statement(f"{sql};") else f"{sql}\n;"
        said = [self.only or self.about, *(f"  {line}" for line in self.sql.strip().splitlines())]
        return "\n".join(f"-- {line}".rstrip() for line in filter(None, said))


def promotion_script(plan: Plan, migration_set: str) -> str:
    """The complete SQL of the promotion of `plan` in one transaction, as a text for people.

    Every statement that changes or checks a row stands in the order in which it is sent; what is sent only for some
    rows stands in comments. Values that only the run knows (its id, times, the backup's path) are placeholders in the
    ledger's statements. Reads of the schema are left out.
    """
    way = "undoes" if plan.reverse else "applies"
    names = "".join(f"\n--   {migration.label}" for migration in plan.migrations)
    parts = [
        f"-- {way}, in one transaction:{names}\n"
        "-- What would take longer than --max-lock-ms is promoted online instead: the same rows, a few at a time,\n"
        "-- into the same new table, which then takes the place of the old one.\n"
        "-- This is for reading: a shell would go on where the promotion finds a check broken and rolls back."
    ]
    for heading, steps in groupby(promotion_steps(plan, migration_set), key=lambda pair: pair[0]):
        parts.append("\n".join([f"-- {heading}", *(step.text for _, step in steps)]))
    return "\n\n".join(parts) + "\n"


def promotion_steps(plan: Plan, migration_set: str) -> Iterator[tuple[str, Step]]:
    """The steps in their order, each with the heading that it stands under."""
    settings = (*rebuild.SETTINGS, ("cache_size", -rebuild.CACHE_KIB), ("synchronous", 3))
    for name, value in settings:
        yield "settings of this connection alone", Step(f"PRAGMA {name}={value}")
    start = "from here every other writer waits"
    yield start, Step("BEGIN IMMEDIATE")
    yield start, Step("", about="read: the ledger, and that the schema is the rehearsed one; else ROLLBACK")
    for table in plan.tables:
        for step in _of_table(table):
            yield f"table {table.table}", step
    for sql in _of_ledger(plan, migration_set):
        yield "the ledger; what stands in <>, and seconds and rows, 0 here, only the run knows", Step(sql)
    yield "from here every connection sees the new schema", Step("COMMIT")


def _of_table(plan: TablePlan) -> Iterator[Step]:
    """What `keep_originals`, `rebuild_table` and `create_indexes` send, in this order."""
    for sql in plan.originals:
        yield Step(sql)
    if plan.originals:
        yield Step(f"DROP TABLE {quote(plan.writes)}", only="only where no row has an original to keep:")
    match plan.kind:
        case "drop":
            yield from _dropping(plan)
        case "new":
            yield Step(plan.create)
            yield from ([Step(plan.copy)] if plan.copy else [])
            yield from (_sequence(plan, plan.reads, plan.table) if plan.reads is not None else ())
        case "rebuild":
            yield from _rebuilding(plan)
        case "indexes":
            yield from map(Step, plan.dropped)
    if plan.reads is not None:
        yield Step(f"DROP TABLE {quote(plan.reads)}")
    for sql in plan.indexes:
        yield Step(sql)


def _dropping(plan: TablePlan) -> Iterator[Step]:
    yield Step(f"SELECT count(*) FROM {quote(plan.table)}")
    yield Step(f"DROP TABLE {quote(plan.table)}", only="only where it has no rows and AUTOINCREMENT gave no id in it:")
    yield Step("DROP INDEX ...", only="else, for each of its indexes and triggers:")
    yield Step(f"ALTER TABLE {quote(plan.table)} RENAME TO {quote(plan.writes)}", only="and then:")
    yield Step("PRAGMA writable_schema=1", only="so that no row put aside refuses a DELETE, its foreign keys go:")
    yield Step("UPDATE sqlite_master SET ...", only="with its text less those:")
    yield Step("PRAGMA writable_schema=RESET", only="and:")


def _rebuilding(plan: TablePlan) -> Iterator[Step]:
    yield Step(plan.create)
    yield Step(plan.copy)
    if plan.update:
        yield Step("", about="a check: no row that is not what the migration says")
    else:
        yield Step("", about="two checks: as many rows as were copied, and no row that is not what the migration says")
        yield Step(f"SELECT count(*) FROM {quote(plan.table)}")
    yield Step(plan.compare)
    if plan.update:
        yield Step("DROP TRIGGER ...", only="for each of its triggers, which are made again:")
        yield from map(Step, (*plan.dropped, *plan.update))
        yield Step(f"DROP TABLE {quote(plan.shadow)}")
    else:
        yield from _sequence(plan, plan.table, plan.shadow)
        yield Step(f"DROP TABLE {quote(plan.table)}")
        yield Step(f"ALTER TABLE {quote(plan.shadow)} RENAME TO {quote(plan.table)}")
    yield from map(Step, plan.made_again)
    if not plan.update:
        about = "for each row of the planner's statistics of the table and of the indexes that it keeps:"
        yield Step("INSERT INTO sqlite_stat1 VALUES (?, ?, ?)", only=about)
    yield from map(Step, plan.mark)


def _sequence(plan: TablePlan, source: str, table: str) -> Iterator[Step]:
    """The AUTOINCREMENT mark goes where the rows go."""
    if plan.target is not None and plan.target.autoincrement:
        yield Step(f"DELETE FROM sqlite_sequence WHERE name = {literal(table)}")
        marks = f"SELECT {literal(table)}, seq FROM sqlite_sequence WHERE name = {literal(source)}"
        yield Step(f"INSERT INTO sqlite_sequence {marks}")


def _of_ledger(plan: Plan, migration_set: str) -> list[str]:
    """What the ledger's own functions send, taken down from a database in memory."""
    entry = ledger.Entry("<run>", "<backup>", "<schema before>", "<schema after>", 0.0, 0)
    sent: list[str] = []
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        if plan.reverse:
            ledger.record_applied(connection, migration_set, plan.migrations, plan.answers, entry)
            connection.set_trace_callback(sent.append)
            ledger.record_reversed(connection, migration_set, plan.migrations, "<run>", "<schema after>")
        else:
            connection.set_trace_callback(sent.append)
            ledger.record_applied(connection, migration_set, plan.migrations, plan.answers, entry)
        connection.set_trace_callback(None)
    return [_TIME.sub("'<now>'", sql) for sql in sent]
