"""Migrations carried out on databases in memory, and everything that such a database holds."""

import sqlite3
from collections.abc import Iterable
from itertools import chain

from migrator import rebuild
from migrator.ddl import parse_create_table, quote
from migrator.migration import Answers, Change, Migration
from migrator.plan import Plan, State
from migrator.planning import make_plan
from migrator.schema import Schema, columns_of, read_schema, rowid_name

NO_ANSWERS = Answers()


def database(*statements: str) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    return connection


def migration(*changes: Change, version: int = 1) -> Migration:
    return Migration(changes, version=version, name="made_up")


def state_of(connection: sqlite3.Connection, migrations: Iterable[Migration]) -> State:
    own = set(chain.from_iterable(m.own_tables for m in migrations))
    return State(read_schema(connection, own), {n: found for n in own if (found := columns_of(connection, n))})


def plan_for(
    connection: sqlite3.Connection,
    migrations: Iterable[Migration],
    answers: Answers = NO_ANSWERS,
    *,
    reverse: bool = False,
    exactly: Schema | None = None,
) -> Plan:
    migrations = tuple(migrations)
    given = {m.version: answers for m in migrations}
    return make_plan(migrations, state_of(connection, migrations), given, reverse=reverse, exactly=exactly)


def promote(connection: sqlite3.Connection, plan: Plan) -> None:
    """The statements of the promotion in their order, in one transaction."""
    with rebuild.rebuild_settings(connection):
        connection.execute("BEGIN IMMEDIATE")
        for table in plan.tables:
            rebuild.keep_originals(connection, table)
            rebuild.rebuild_table(connection, table)
            rebuild.create_indexes(connection, table)
        connection.execute("COMMIT")


def rehearse(connection: sqlite3.Connection, plan: Plan) -> None:
    """The same in the small steps of the candidate, where the columns are added before the table is rebuilt."""
    with rebuild.rebuild_settings(connection):
        for table in plan.tables:
            there = {name.lower() for name in columns_of(connection, table.table)}
            for column in table.added:
                if column.name.lower() not in there:
                    default = f" DEFAULT {column.default}" if column.default else ""
                    added = f"{quote(column.name)} {column.type}{default}"
                    connection.execute(f"ALTER TABLE {quote(table.table)} ADD COLUMN {added}")
            rebuild.convert_data(connection, table)
            connection.execute("BEGIN")
            rebuild.rebuild_table(connection, table)
            connection.execute("COMMIT")
            rebuild.create_indexes(connection, table)


def forward(connection: sqlite3.Connection, *migrations: Migration, answers: Answers = NO_ANSWERS) -> None:
    promote(connection, plan_for(connection, migrations, answers))


def back(
    connection: sqlite3.Connection,
    *migrations: Migration,
    answers: Answers = NO_ANSWERS,
    exactly: Schema | None = None,
) -> None:
    promote(connection, plan_for(connection, migrations, answers, reverse=True, exactly=exactly))


def cells(connection: sqlite3.Connection, table: str) -> list[tuple[object, ...]]:
    """Every row with its rowid: a blob as bytes, text as ("text", its bytes), numbers as Python's int or float."""
    names = columns_of(connection, table)
    stored = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()[0]
    rowid = None if parse_create_table(stored).without_rowid else rowid_name(names)
    listed = [*([rowid] if rowid else []), *map(quote, names)]
    kinds = [f"typeof({column})" for column in listed]
    texts = connection.text_factory
    connection.text_factory = bytes
    try:
        rows = connection.execute(f"SELECT {', '.join([*listed, *kinds])} FROM {quote(table)} NOT INDEXED").fetchall()
    finally:
        connection.text_factory = texts
    return [
        tuple(
            ("text", v) if kind == b"text" else v
            for v, kind in zip(row[: len(listed)], row[len(listed) :], strict=True)
        )
        for row in rows
    ]


def everything(connection: sqlite3.Connection, own: Iterable[str] = ()) -> dict[str, object]:
    """All tables' rows by name, less the tables `own`, and under "" all statements of the schema by meaning."""
    schema = read_schema(connection, own)
    held: dict[str, object] = {table: cells(connection, table) for table in schema.tables}
    held[""] = sorted(o.canonical for o in schema.objects)
    if columns_of(connection, "sqlite_sequence"):
        held["sqlite_sequence"] = connection.execute("SELECT * FROM sqlite_sequence ORDER BY name").fetchall()
    return held


def one(connection: sqlite3.Connection, query: str, *parameters: object) -> object:
    return connection.execute(query, parameters).fetchone()[0]


def tables(connection: sqlite3.Connection) -> set[str]:
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!'"
    return {name for (name,) in connection.execute(query)}
