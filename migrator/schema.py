"""What a database's schema says: read once, compared by meaning, never by layout."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from sqlite_utils import Database

from migrator.ddl import TableText, canonical, parse_create_table, tokens, words

OWN_PREFIX = "_mig_"
"""Shadow tables and whatever else this tool leaves in a database only while a run lasts."""


@dataclass(frozen=True)
class SchemaObject:
    """One row of sqlite_master with a statement: `kind` is table, index, view or trigger, `table` what it is on."""

    kind: str
    name: str
    table: str
    sql: str

    @property
    def canonical(self) -> tuple[str, str, str, str]:
        return (self.kind, self.name.casefold(), self.table.casefold(), canonical(self.sql))


@dataclass(frozen=True)
class Column:
    """A column as SQLite reports it: declared type, default as SQL (None: no default)."""

    name: str
    type: str
    default: str | None


@dataclass(frozen=True)
class Shape:
    """What a CREATE TABLE text means: its columns in order, what identifies a row for good, what must be unique.

    `key` is the rowid's alias, else ("rowid",), else the primary key of a WITHOUT ROWID table.
    """

    columns: tuple[Column, ...]
    key: tuple[str, ...]
    not_null: tuple[str, ...]
    unique: tuple[tuple[str, ...], ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.columns)

    def column(self, name: str) -> Column | None:
        return next((c for c in self.columns if c.name.casefold() == name.casefold()), None)


@dataclass(frozen=True)
class Schema:
    """Every object that an application or a user made, in the order of creation, without this tool's own."""

    objects: tuple[SchemaObject, ...]

    def table(self, name: str) -> SchemaObject | None:
        wanted = name.casefold()
        return next((o for o in self.objects if o.kind == "table" and o.name.casefold() == wanted), None)

    def text(self, name: str) -> TableText | None:
        """The split CREATE TABLE of `name`; None where there is no such table. Raises DdlError for a virtual one."""
        found = self.table(name)
        return None if found is None else parse_create_table(found.sql)

    def on_table(self, name: str, *kinds: str) -> tuple[SchemaObject, ...]:
        """The indexes and triggers on table `name`, of the `kinds` asked for."""
        wanted = name.casefold()
        return tuple(o for o in self.objects if o.kind in kinds and o.table.casefold() == wanted)

    def named(self, name: str) -> SchemaObject | None:
        wanted = name.casefold()
        return next((o for o in self.objects if o.name.casefold() == wanted), None)

    def naming(self, tables: Iterable[str]) -> frozenset[tuple[str, str, str, str]]:
        """The migrated tables and everything that names them: indexes, triggers, views, child tables."""
        wanted = {t.casefold() for t in tables}
        return frozenset(o.canonical for o in self.objects if o.table.casefold() in wanted or wanted & set(words(o.sql)))

    def fingerprint_of(self, tables: Iterable[str]) -> str:
        """SHA-256 of `naming`: what a promotion of `tables` may change, and what must not change meanwhile."""
        return hashlib.sha256(repr(sorted(self.naming(tables))).encode()).hexdigest()

    @property
    def tables(self) -> tuple[str, ...]:
        """Ordinary tables, shadow tables of virtual ones included, virtual ones not."""
        return tuple(o.name for o in self.objects if o.kind == "table" and not is_virtual(o.sql))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the objects: equal = the same schema to SQLite, whatever the layout, case and quotes of names."""
        return hashlib.sha256(repr(sorted(o.canonical for o in self.objects)).encode()).hexdigest()

    def without(self, names: Iterable[str]) -> Schema:
        """The schema less the named tables and what is on them."""
        gone = {n.casefold() for n in names}
        return Schema(tuple(o for o in self.objects if o.table.casefold() not in gone))

    def with_table(self, name: str, sql: str | None, indexes: Iterable[str] = ()) -> Schema:
        """The schema in which table `name` has the text `sql` (None: is gone) and the indexes `indexes` as well."""
        others = tuple(o for o in self.objects if not (o.kind == "table" and o.name.casefold() == name.casefold()))
        if sql is None:
            return Schema(others).without([name])
        made = [SchemaObject("index", index_name(i), name, i) for i in indexes]
        fresh = {o.name.casefold() for o in made}
        return Schema((*(o for o in others if o.name.casefold() not in fresh), SchemaObject("table", name, name, sql), *made))


def read_schema(connection: sqlite3.Connection, own: Iterable[str] = ()) -> Schema:
    """The schema now, without SQLite's internal objects and without this tool's (`own` tables, `_mig_` names)."""
    rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid")
    found = (SchemaObject(*row) for row in rows)
    kept = (o for o in found if not o.name.startswith("sqlite_") and not o.table.startswith(("sqlite_", OWN_PREFIX)))
    return Schema(tuple(kept)).without(own)


def leftovers(connection: sqlite3.Connection) -> tuple[str, ...]:
    """Names of what a killed run of this tool left: shadow tables, logs, triggers."""
    rows = connection.execute("SELECT name FROM sqlite_master WHERE substr(name, 1, 5) = ?", (OWN_PREFIX,))
    return tuple(name for (name,) in rows)


def shape_of(text: TableText) -> Shape:
    """What SQLite makes of a CREATE TABLE text, asked of an empty table in memory."""
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute(text.sql)
        table = Database(connection, recursive_triggers=False, execute_plugins=False)[text.name]
        found = table.columns
        return Shape(
            columns=tuple(Column(c.name, c.type, c.default_value) for c in found),
            key=_key(text, [(c.name, c.type) for c in sorted(found, key=lambda c: c.is_pk) if c.is_pk]),
            not_null=tuple(c.name for c in found if c.notnull),
            unique=tuple(tuple(i.columns) for i in table.indexes if i.unique and not i.partial),
        )
    finally:
        connection.close()


def columns_of(connection: sqlite3.Connection, table: str) -> tuple[str, ...]:
    """The names of the columns of `table` in their order; empty where there is no such table."""
    library = Database(connection, recursive_triggers=False, execute_plugins=False)
    return tuple(c.name for c in library[table].columns) if library[table].exists() else ()


def _key(text: TableText, primary: list[tuple[str, str]]) -> tuple[str, ...]:
    if text.without_rowid:
        return tuple(name for name, _ in primary)
    if len(primary) == 1 and primary[0][1].casefold() == "integer":
        definition = text.definition(primary[0][0])
        # INTEGER PRIMARY KEY DESC is no alias of the rowid (sqlite.org/lang_createtable.html#rowid).
        if definition is None or "desc" not in words(definition.text):
            return (primary[0][0],)
    taken = {c.casefold() for c in text.columns}
    return (next(alias for alias in ("rowid", "_rowid_", "oid") if alias not in taken),)


def index_name(sql: str) -> str:
    """The name in a CREATE INDEX statement."""
    names = [token.name for token in tokens(sql) if token.name is not None]
    position = next(i for i, name in enumerate(names) if name.casefold() == "on")
    return names[position - 1]


def is_virtual(sql: str) -> bool:
    """Whether a CREATE statement makes a virtual table."""
    return words(sql)[:2] == ("create", "virtual")

