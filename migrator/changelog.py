"""The log of changed keys: triggers on a live table note which rows to look at again, and nothing else.

A trigger that mirrored the row itself could make the application's own write fail; one that notes a key cannot.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from migrator.ddl import folded, quote
from migrator.errors import NotOnlineError
from migrator.schema import OWN_PREFIX


@dataclass(frozen=True)
class UniqueColumn:
    """A column of a unique index; `default` is SQL (None: none), which REPLACE puts in the place of a missing value."""

    name: str
    collation: str
    default: str | None


@dataclass(frozen=True)
class ChangeLog:
    """The log of one table. `unique`: the lists of columns by which REPLACE may delete another row."""

    table: str
    key: tuple[str, ...]
    unique: tuple[tuple[UniqueColumn, ...], ...] = ()

    @property
    def name(self) -> str:
        return f"{OWN_PREFIX}{self.table}.log"

    @property
    def statements(self) -> dict[str, str]:
        """CREATE of each object by its name; SQLite stores these texts as they are."""
        columns = ", ".join(map(quote, self._noted))
        table = f"CREATE TABLE {quote(self.name)} (entry INTEGER PRIMARY KEY, {columns})"
        return {self.name: table, **dict(map(self._trigger, ("INSERT", "UPDATE", "DELETE"))), **dict(self._replacing())}

    @property
    def listed(self) -> str:
        """SELECT of the noted keys, as long as `entry` is at most :entry."""
        return f"SELECT {', '.join(map(quote, self._noted))} FROM {quote(self.name)} WHERE entry <= :entry"

    def noted(self, columns: str, entries: str = "true") -> str:
        """The condition that the log names, in one of `entries`, the row whose key is `columns`."""
        return f"{columns} IN (SELECT {', '.join(map(quote, self._noted))} FROM {quote(self.name)} WHERE {entries})"

    @property
    def _noted(self) -> tuple[str, ...]:
        return tuple(f"key {n}" for n, _ in enumerate(self.key, 1))

    def _note(self, values: str) -> str:
        return f"INSERT INTO {quote(self.name)} ({', '.join(map(quote, self._noted))}) {values};"

    def _trigger(self, event: str) -> tuple[str, str]:
        rows = {"INSERT": ("NEW",), "UPDATE": ("OLD", "NEW"), "DELETE": ("OLD",)}[event]
        values = ", ".join(f"({', '.join(f'{row}.{quote(k)}' for k in self.key)})" for row in rows)
        return self._named(f"after {event.lower()}", f"AFTER {event}", self._note(f"VALUES {values}"))

    def _replacing(self) -> Iterable[tuple[str, str]]:
        """A row that REPLACE deletes for the sake of another fires no trigger of its own: it is noted beforehand."""
        for event in ("INSERT", "UPDATE") if self.unique else ():
            notes = " ".join(self._note(self._same(columns)) for columns in self.unique)
            yield self._named(f"before {event.lower()}", f"BEFORE {event}", notes)

    def _same(self, columns: tuple[UniqueColumn, ...]) -> str:
        equal = " AND ".join(_equal(column) for column in columns)
        return f"SELECT {', '.join(map(quote, self.key))} FROM {quote(self.table)} WHERE {equal}"

    def _named(self, what: str, event: str, body: str) -> tuple[str, str]:
        name = f"{OWN_PREFIX}{self.table}.{what}"
        return name, f"CREATE TRIGGER {quote(name)} {event} ON {quote(self.table)} BEGIN {body} END"


def _equal(column: UniqueColumn) -> str:
    name, collation = quote(column.name), f"COLLATE {quote(column.collation)}"
    given = f"{name} = NEW.{name} {collation}"
    if column.default is None:
        return given
    # The trigger sees the missing value, not what takes its place.
    return f"({given} OR (NEW.{name} IS NULL AND {name} = ({column.default}) {collation}))"


def change_log(connection: sqlite3.Connection, table: str, key: tuple[str, ...]) -> ChangeLog:
    """The log that fits what `table` is now.

    Raises NotOnlineError where a unique index has a condition or an expression: which rows a REPLACE would delete by it
    cannot be looked up.
    """
    unique = []
    indexes = 'SELECT name, origin, partial FROM pragma_index_list(?) WHERE "unique"'
    for name, origin, partial in connection.execute(indexes, (table,)).fetchall():
        query = (
            "SELECT i.name, i.coll, t.dflt_value FROM pragma_index_xinfo(?) AS i "
            "LEFT JOIN pragma_table_xinfo(?) AS t ON t.cid = i.cid WHERE i.key ORDER BY i.seqno"
        )
        columns = tuple(UniqueColumn(*row) for row in connection.execute(query, (name, table)))
        if partial or any(column.name is None for column in columns):
            raise NotOnlineError(
                f"unique index {name} of {table} has a condition or an expression, which the online promotion cannot "
                "follow; live unchanged",
                "allow a longer lock with --max-lock-ms at a quiet hour",
            )
        if origin != "pk" or [folded(column.name) for column in columns] != [*map(folded, key)]:
            unique.append(columns)
    return ChangeLog(table, key, tuple(unique))
