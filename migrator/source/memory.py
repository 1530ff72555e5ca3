"""A schema in memory, without a row, against which SQL is compiled and never run."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from migrator.connect import distrust_schema
from migrator.ddl import folded, quote, tokens, words
from migrator.schema import Schema, columns_of

_MOST_OPCODES = 1_000_000
"""A CREATE TABLE .. AS SELECT of the source is run, on tables without rows; one that still takes longer is stopped."""
_DENIED = frozenset({sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH, sqlite3.SQLITE_PRAGMA})
"""SQLite carries out some pragmas while it compiles them (sqlite.org/pragma.html)."""
_BEFORE_NAME = frozenset(
    {"create", "temp", "temporary", "virtual", "unique", "table", "view", "index", "if", "not", "exists"}
)


class Memory:
    """Compiles statements against a schema. `given` are the names in it; `missing` the tables that could not be made
    here, and why."""

    def __init__(self, schema: Schema, made_by_source: Iterable[str] = (), half_known: Iterable[str] = ()) -> None:
        """`made_by_source` are CREATE statements of the source: what the schema lacks of them is added, but for the
        tables `half_known`, which the source makes or alters in a way that only a run knows."""
        self.given = frozenset(folded(found.name) for found in schema.objects)
        unmade = {folded(name) for name in half_known} - self.given
        self.missing: dict[str, str] = dict.fromkeys(unmade, "the source builds or alters it while it runs")
        # A statement that was kept would be explained as it was compiled, whatever the schema is by then.
        self._connection = sqlite3.connect(":memory:", isolation_level=None, cached_statements=0)
        distrust_schema(self._connection)
        self._connection.set_progress_handler(lambda: True, _MOST_OPCODES)
        for found in schema.objects:
            self._make(found.name, found.sql)
        for sql in made_by_source:
            name = made_name(sql)
            if folded(name) not in unmade:
                self._make(name, sql)
        listed = self._connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')").fetchall()
        self.tables = tuple(name for (name,) in listed if not folded(name).startswith("sqlite_"))
        self._columns_of = {folded(table): self._columns(table) for table in self.tables}
        self.columns = frozenset(folded(c) for columns in self._columns_of.values() for c in columns)
        # From here on: what a virtual table needs to be made is denied to the source's statements.
        self._connection.set_authorizer(_authorize)

    def close(self) -> None:
        """Frees the memory."""
        self._connection.close()

    def fault(self, sql: str) -> str | None:
        """What SQLite has against one statement, in its own words; None where it compiles."""
        explained = sql if words(sql)[:1] == ("explain",) else f"EXPLAIN {sql}"
        try:
            self._connection.execute(explained)
        except sqlite3.ProgrammingError as error:
            # Compiled: only the values of its parameters are missing, and it is not run.
            return None if "binding" in str(error) else str(error)
        except (sqlite3.Error, sqlite3.Warning, UnicodeEncodeError) as error:
            return str(error)
        return None

    def fault_when_fired(self, trigger: str) -> str | None:
        """What SQLite has against a statement that fires `trigger`, a CREATE TRIGGER that compiles, for its sake."""
        found = list(tokens(trigger))
        at = next(index for index, token in enumerate(found) if token.keyword == "on") + 1
        table = found[at + 2 if found[at + 1].text == "." else at].name or ""
        columns = ", ".join(f"{quote(column)} = NULL" for column in self._columns_of.get(folded(table), ()))
        fires = [f"INSERT INTO {quote(table)} DEFAULT VALUES", f"DELETE FROM {quote(table)}"]
        if columns:
            fires.append(f"UPDATE {quote(table)} SET {columns}")
        without = [self.fault(sql) for sql in fires]
        self._connection.execute("SAVEPOINT before")
        try:
            self._connection.execute(trigger)
            return next((f for f, other in zip(map(self.fault, fires), without, strict=True) if f != other), None)
        except sqlite3.Error as error:
            return str(error)
        finally:
            self._connection.execute("ROLLBACK TO before")
            self._connection.execute("RELEASE before")

    def _make(self, name: str, sql: str) -> None:
        try:
            self._connection.execute(sql)
        except (sqlite3.Error, sqlite3.Warning, UnicodeEncodeError) as error:
            if "already exists" not in str(error):
                self.missing[folded(name)] = str(error)

    def _columns(self, table: str) -> tuple[str, ...]:
        try:
            return columns_of(self._connection, table)
        except sqlite3.Error:
            # A view on what is not there.
            return ()


def _authorize(action: int, first: str | None, *_: str | None) -> int:
    return sqlite3.SQLITE_DENY if action in _DENIED else sqlite3.SQLITE_OK


def made_name(sql: str) -> str:
    """The name of what a CREATE statement makes, without a schema's."""
    named = (token for token in tokens(sql) if token.name is not None and token.keyword not in _BEFORE_NAME)
    return next((str(token.name) for token in named), "")


def is_syntax(fault: str) -> bool:
    """Whether SQLite could not even read the statement."""
    return fault.endswith("syntax error") or fault.startswith(("incomplete input", "unrecognized token"))
