"""A desired schema, read from a file of CREATE statements as data: nothing in it runs but in a database in memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from migrator.connect import distrust_schema
from migrator.ddl import Token, folded, quote, tokens, unquoted
from migrator.errors import RefusedError
from migrator.schema import OWN_PREFIX, Schema, SchemaObject, read_schema

_KINDS = ("table", "index", "trigger", "view")
_INTERNAL = "sqlite_"
"""`sqlite3 DATABASE .schema` lists these tables too; SQLite makes them by itself."""


class DesiredError(RefusedError):
    """The file of a desired schema holds something else, or something that SQLite refuses."""


@dataclass(frozen=True)
class _Statement:
    """One statement, the line on which it begins, and its tokens."""

    sql: str
    line: int
    tokens: tuple[Token, ...]

    @property
    def words(self) -> tuple[str | None, ...]:
        return tuple(token.keyword for token in self.tokens[:8])

    @property
    def kind(self) -> str | None:
        """table, index, trigger, view or virtual; None for any other statement."""
        head = [word for word in self.words[:3] if word != "unique"]
        if head[:1] != ["create"] or len(head) < 2:
            return None
        return head[1] if head[1] in (*_KINDS, "virtual") else None


def read_desired(path: Path, own: Iterable[str] = ()) -> Schema:
    """The schema that the CREATE TABLE, INDEX, TRIGGER and VIEW statements of the file make, without the `own` tables.

    Virtual tables are taken as they are written and never made. Raises DesiredError, naming file and line, for any
    other statement and for what SQLite refuses.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DesiredError(f"{path} cannot be read ({error})", "give a file of CREATE statements in UTF-8") from error
    if "\x00" in text:
        raise DesiredError(f"{path} holds a NUL, which ends SQL", "give a file of CREATE statements")
    virtual: list[SchemaObject] = []
    names: set[str] = set()
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        distrust_schema(connection)
        connection.set_authorizer(_authorize)
        for statement in _statements(text):
            name = _name(statement)
            if statement.kind is None:
                raise _refused(path, statement, "only CREATE TABLE, INDEX, TRIGGER and VIEW make a schema", "remove it")
            if folded(name).startswith(OWN_PREFIX):
                raise _refused(path, statement, f"names that begin with {OWN_PREFIX} are this tool's own", "rename it")
            if folded(name) in names:
                # IF NOT EXISTS would pass over the second one.
                raise _refused(path, statement, f"the name {name!r} is taken by a statement above", "keep one of them")
            names.add(folded(name))
            if statement.kind == "virtual":
                virtual.append(_virtual(name, statement))
            elif not (statement.kind == "table" and folded(name).startswith(_INTERNAL)):
                _execute(connection, path, statement)
        connection.set_authorizer(None)
        made = read_schema(connection)
    if not made.objects:
        raise DesiredError(f"{path} makes no table", "write the schema as it shall be, as CREATE statements")
    return Schema((*made.objects, *virtual)).without(own)


def _execute(connection: sqlite3.Connection, path: Path, statement: _Statement) -> None:
    try:
        connection.execute(statement.sql)
    except sqlite3.Error as error:
        if "not authorized" in str(error):
            fault = "it does more than make a table, index, trigger or view of the main database"
            raise _refused(path, statement, fault, "write the plain CREATE statement") from error
        raise _refused(path, statement, f"SQLite refuses it ({error})", "correct it") from error


def _authorize(action: int, first: str | None, second: str | None, database: str | None, trigger: str | None) -> int:
    """Lets a CREATE statement write its own line into the schema of the main database, and nothing else."""
    makes = (
        sqlite3.SQLITE_CREATE_TABLE,
        sqlite3.SQLITE_CREATE_INDEX,
        sqlite3.SQLITE_CREATE_TRIGGER,
        sqlite3.SQLITE_CREATE_VIEW,
        sqlite3.SQLITE_REINDEX,
    )
    writes = (sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE)
    if action in (sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION):
        # Names in a CHECK or an index: there are no rows to read, and nothing is called.
        return sqlite3.SQLITE_OK
    # What is temporary is written into another table.
    may = action in makes or (action in writes and first == "sqlite_master")
    return sqlite3.SQLITE_OK if may else sqlite3.SQLITE_DENY


def _statements(text: str) -> Iterator[_Statement]:
    """The statements of `text`; a trigger's own semicolons end nothing."""
    found: list[Token] = []

    def statement() -> _Statement:
        start = found[0].start
        return _Statement(text[start : found[-1].end], text.count("\n", 0, start) + 1, tuple(found))

    for token in tokens(text):
        if token.text == ";" and not found:
            continue
        found.append(token)
        if token.text == ";" and sqlite3.complete_statement(text[found[0].start : token.end]):
            yield statement()
            found = []
    if found:
        yield statement()


def _name(statement: _Statement) -> str:
    """The name of what a CREATE statement makes, without its database; "" where the statement has none."""
    kind = "table" if statement.kind == "virtual" else statement.kind
    if kind is None or kind not in statement.words:
        return ""
    rest = statement.tokens[statement.words.index(kind) + 1 :]
    if [token.keyword for token in rest[:3]] == ["if", "not", "exists"]:
        rest = rest[3:]
    named = rest[2:] if [token.text for token in rest[1:2]] == ["."] else rest
    if not named:
        return ""
    return unquoted(named[0].text) if named[0].kind == "string" else named[0].name or ""


def _virtual(name: str, statement: _Statement) -> SchemaObject:
    """As SQLite stores it: from the name on, after words of its own."""
    using = next((token for token in statement.tokens if token.keyword == "using"), statement.tokens[-1])
    rest = statement.sql[using.start - statement.tokens[0].start :].rstrip("; \t\n\f\r")
    return SchemaObject("table", name, name, f"CREATE VIRTUAL TABLE {quote(name)} {rest}")


def _refused(path: Path, statement: _Statement, fault: str, way_out: str) -> DesiredError:
    begins = " ".join(statement.sql.split())[:60]
    return DesiredError(f"{path}:{statement.line}: {begins!r}: {fault}", way_out)
