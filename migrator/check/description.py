"""The tables of a database as a reader of its documentation wants them: read of the database itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from migrator.connect import count_rows, transaction
from migrator.ddl import folded, words
from migrator.schema import Schema, is_virtual, read_schema


@dataclass(frozen=True)
class ColumnFacts:
    """`key`: its place in the primary key, from 1; 0 for none. `default` is SQL."""

    name: str
    type: str
    required: bool
    default: str | None
    key: int
    generated: bool


@dataclass(frozen=True)
class ForeignKey:
    """`columns` of `child` refer to `parent_columns` of `parent`; `actions` such as "ON DELETE CASCADE"."""

    child: str
    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]
    actions: str


@dataclass(frozen=True)
class TableFacts:
    """A table; `unique` are the columns of its UNIQUE constraints, `indexes` and `triggers` the statements by name.

    `views` are the names of the views that read it.
    """

    name: str
    sql: str
    rows: int
    columns: tuple[ColumnFacts, ...]
    unique: tuple[tuple[str, ...], ...]
    indexes: tuple[tuple[str, str], ...]
    triggers: tuple[tuple[str, str], ...]
    views: tuple[str, ...]
    foreign_keys: tuple[ForeignKey, ...]

    @property
    def primary(self) -> tuple[str, ...]:
        """The columns of the primary key, in its order."""
        return tuple(c.name for c in sorted(self.columns, key=lambda c: c.key) if c.key)


@dataclass(frozen=True)
class DatabaseFacts:
    """Everything in the order of names. `views` and `virtual` tables are statements by name, `own` this tool's tables
    with their rows."""

    tables: tuple[TableFacts, ...]
    views: tuple[tuple[str, str], ...]
    virtual: tuple[tuple[str, str], ...]
    own: tuple[tuple[str, int], ...] = ()

    def referring_to(self, table: str) -> tuple[ForeignKey, ...]:
        """The foreign keys of all tables that refer to `table`."""
        wanted = folded(table)
        return tuple(key for t in self.tables for key in t.foreign_keys if folded(key.parent) == wanted)


def describe(connection: sqlite3.Connection, own: Iterable[str] = ()) -> DatabaseFacts:
    """Reads schema and row counts; `own` are this tool's tables.

    The schema is of one moment; rows are counted table by table, so that no writer waits for all of them. Raises
    sqlite3.Error.
    """
    names = frozenset(map(folded, own))
    with transaction(connection, "DEFERRED"):
        everything = read_schema(connection)
        schema = everything.without(names)
        tables = [_table(connection, schema, name) for name in schema.tables]
    counted = (replace(t, rows=count_rows(connection, t.name)) for t in tables)
    ours = (name for name in everything.tables if folded(name) in names)
    return DatabaseFacts(
        tuple(sorted(counted, key=lambda t: (folded(t.name), t.name))),
        _statements(schema, "view"),
        tuple((name, sql) for name, sql in _statements(schema, "table") if is_virtual(sql)),
        tuple(sorted((name, count_rows(connection, name)) for name in ours)),
    )


def _statements(schema: Schema, kind: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(((o.name, o.sql) for o in schema.objects if o.kind == kind), key=lambda o: (folded(o[0]), o)))


def _table(connection: sqlite3.Connection, schema: Schema, name: str) -> TableFacts:
    query = 'SELECT name, type, "notnull", dflt_value, pk, hidden FROM pragma_table_xinfo(?)'
    columns = [
        ColumnFacts(column, type_, bool(required), default, key, bool(hidden))
        for column, type_, required, default, key, hidden in connection.execute(query, (name,))
    ]
    found = schema.table(name)
    return TableFacts(
        name,
        "" if found is None else found.sql,
        0,
        tuple(columns),
        tuple(sorted(_unique(connection, name))),
        tuple(sorted((o.name, o.sql) for o in schema.on_table(name, "index"))),
        tuple(sorted((o.name, o.sql) for o in schema.on_table(name, "trigger"))),
        tuple(view for view, sql in _statements(schema, "view") if folded(name) in words(sql)),
        tuple(sorted(_foreign_keys(connection, name), key=lambda key: (key.columns, key.parent))),
    )


def _unique(connection: sqlite3.Connection, table: str) -> Iterator[tuple[str, ...]]:
    query = "SELECT name FROM pragma_index_list(?) WHERE origin = 'u'"
    for (index,) in connection.execute(query, (table,)).fetchall():
        yield tuple(c for (c,) in connection.execute("SELECT name FROM pragma_index_info(?)", (index,)))


def _foreign_keys(connection: sqlite3.Connection, table: str) -> Iterator[ForeignKey]:
    query = 'SELECT id, "table", "from", "to", on_update, on_delete FROM pragma_foreign_key_list(?) ORDER BY id, seq'
    rows = connection.execute(query, (table,)).fetchall()
    for number in dict.fromkeys(row[0] for row in rows):
        mine = [row for row in rows if row[0] == number]
        _, parent, _, _, on_update, on_delete = mine[0]
        ways = ((f"ON {event} {action}", action) for event, action in (("UPDATE", on_update), ("DELETE", on_delete)))
        actions = " ".join(way for way, action in ways if action != "NO ACTION")
        columns = tuple(row[2] for row in mine)
        yield ForeignKey(table, columns, parent, tuple(row[3] for row in mine if row[3] is not None), actions)
