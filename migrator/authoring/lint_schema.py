"""What is doubtful about a schema, whatever its rows: asked of SQLite on the schema alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Set
from dataclasses import dataclass
from typing import Literal

from migrator.authoring.keywords import as_sql
from migrator.ddl import canonical, folded

Said = tuple[Literal["error", "warning", "note"], str, str, str]
"""Severity, code, message, way out."""


@dataclass(frozen=True)
class _Key:
    """A foreign key; `to` is empty where it names no columns, which means the parent's primary key."""

    child: str
    parent: str
    columns: tuple[str, ...]
    to: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.child} ({', '.join(self.columns)}) -> {self.parent}"


@dataclass(frozen=True)
class _Index:
    """`key` is (column, collation, descending) for each part; the column is None for an expression."""

    name: str
    is_unique: bool
    is_declared: bool
    is_partial: bool
    key: tuple[tuple[str | None, str, int], ...]
    sql: str | None

    @property
    def columns(self) -> tuple[str | None, ...]:
        return tuple(column for column, _, _ in self.key)

    @property
    def has_expressions(self) -> bool:
        return None in self.columns


def foreign_keys(connection: sqlite3.Connection, touched: Set[str]) -> Iterator[Said]:
    """Foreign keys of the `touched` tables without an index, and those to or from them that lead to no key."""
    near = {folded(table) for table in touched}
    for key in _keys(connection):
        child, parent = folded(key.child), folded(key.parent)
        if child in near and not _is_indexed(connection, key):
            made = f"CREATE INDEX ... ON {as_sql(key.child)} ({', '.join(map(as_sql, key.columns))})"
            yield (
                "note", "foreign_key_without_index",
                f"the foreign key {key} has no index: each delete in {key.parent} reads all of {key.child}", made,
            )  # fmt: skip
        fault = _parent_fault(connection, key) if near & {child, parent} else None
        if fault is not None:
            yield (
                "warning", "foreign_key_to_no_key",
                f"the foreign key {key} leads nowhere: {fault}. Where foreign keys are enforced, every write that "
                f"concerns it fails", "make it a primary key or UNIQUE, or name other columns",
            )  # fmt: skip


def twin_indexes(connection: sqlite3.Connection, touched: Set[str]) -> Iterator[Said]:
    """Indexes of the `touched` tables that another index of the table makes needless."""
    near = {folded(t) for t in touched}
    for table in (t for t in _tables(connection) if folded(t) in near):
        indexes = _indexes(connection, table)
        for index in indexes:
            other = next((o for o in indexes if o is not index and _does_the_same(o, index)), None)
            if other is not None:
                yield (
                    "note", "needless_index", f"index {index.name} of {table} does nothing that {other.name} does not",
                    "leave it out: every write pays for it",
                )  # fmt: skip


def _does_the_same(other: _Index, index: _Index) -> bool:
    """Whether `other` serves every query that `index` serves, and refuses all that it refuses."""
    if not index.is_declared:
        return False
    if index.is_partial or other.is_partial or index.has_expressions or other.has_expressions:
        same = index.sql and other.sql and _after_on(index.sql) == _after_on(other.sql)
        return bool(same) and index.is_unique <= other.is_unique and _comes_first(other, index)
    if index.is_unique:
        return other.is_unique and set(other.key) == set(index.key) and _comes_first(other, index)
    longer = len(other.key) > len(index.key)
    return other.key[: len(index.key)] == index.key and (longer or other.is_unique or _comes_first(other, index))


def _comes_first(other: _Index, index: _Index) -> bool:
    """Of two alike only one is needless."""
    return not other.is_declared or (other.is_unique, index.name) > (index.is_unique, other.name)


def _after_on(sql: str) -> str:
    return canonical(sql).partition(" on ")[2]


def _tables(connection: sqlite3.Connection) -> list[str]:
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!'"
    return [name for (name,) in connection.execute(query).fetchall()]


def _keys(connection: sqlite3.Connection) -> Iterator[_Key]:
    query = 'SELECT id, "table", "from", "to" FROM pragma_foreign_key_list(?) ORDER BY id, seq'
    for child in _tables(connection):
        found: dict[int, list[tuple[str, str, str | None]]] = {}
        for number, *part in connection.execute(query, (child,)).fetchall():
            found.setdefault(number, []).append((part[0], part[1], part[2]))
        for parts in found.values():
            to = tuple(column for _, _, column in parts if column is not None)
            yield _Key(child, parts[0][0], tuple(column for _, column, _ in parts), to)


def _indexes(connection: sqlite3.Connection, table: str) -> list[_Index]:
    query = (
        "SELECT i.name, i.\"unique\", i.origin = 'c', i.partial, m.sql FROM pragma_index_list(?) AS i "
        "LEFT JOIN sqlite_master AS m ON m.name = i.name ORDER BY i.seq DESC"
    )
    parts = 'SELECT name, coll, "desc" FROM pragma_index_xinfo(?) WHERE key ORDER BY seqno'
    return [
        _Index(
            name, bool(unique), bool(declared), bool(partial), tuple(connection.execute(parts, (name,)).fetchall()), sql
        )
        for name, unique, declared, partial, sql in connection.execute(query, (table,)).fetchall()
    ]


def _primary_key(connection: sqlite3.Connection, table: str) -> tuple[str, ...]:
    query = "SELECT name FROM pragma_table_xinfo(?) WHERE pk ORDER BY pk"
    return tuple(name for (name,) in connection.execute(query, (table,)).fetchall())


def _is_indexed(connection: sqlite3.Connection, key: _Key) -> bool:
    wanted = {folded(c) for c in key.columns}
    if {folded(c) for c in _primary_key(connection, key.child)[: len(wanted)]} == wanted:
        return True
    return any(
        {folded(c or "") for c in index.columns[: len(wanted)]} == wanted
        for index in _indexes(connection, key.child)
        if not index.is_partial
    )


def _parent_fault(connection: sqlite3.Connection, key: _Key) -> str | None:
    """What is wrong with the columns that the key leads to; sqlite.org/foreignkeys.html section 3."""
    there = {folded(t) for t in _tables(connection)}
    if folded(key.parent) not in there:
        return f"there is no table {key.parent}"
    primary = _primary_key(connection, key.parent)
    wanted = {folded(c) for c in key.to or primary}
    if len(wanted) != len(key.columns):
        return f"{key.parent} has a primary key of {len(primary)} columns"
    if wanted == {folded(c) for c in primary}:
        return None
    unique = (i for i in _indexes(connection, key.parent) if i.is_unique and not i.is_partial)
    if any({folded(c or "") for c in index.columns} == wanted for index in unique):
        return None
    return f"{', '.join(key.to)} of {key.parent} is not unique"
