"""What views, triggers and full-text indexes read: SQLite's answer, so that a name that lost its column is noticed."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise

from migrator.connect import Connection, deadline
from migrator.ddl import folded, quote, tokens, words
from migrator.schema import Schema, SchemaObject, is_virtual

_DEADLINE_S = 0.2
"""For the first row of a virtual table, which may sort all of its content for it."""


def broken_objects(original: Connection, before: Schema, connection: Connection, now: Schema) -> list[str]:
    """The objects that worked on `original` and do not on `connection`, or on other columns, each with its fault."""
    worked, works = _readings(original, before), _readings(connection, now)
    there = _columns(connection, now)
    gone = {column: text for column, text in _columns(original, before).items() if column not in there}
    return [
        f"{kind} {name} ({fault})"
        for (kind, name), reading in works.items()
        if (was := worked.get((kind, name))) is not None and was.fault is None
        if (fault := reading.fault or _lost(was, gone)) is not None
    ]


def expansions(schema: Schema) -> dict[str, int]:
    """How many SELECTs SQLite writes out for each view: views are put in as often as they are named."""
    views = {folded(o.name): o for o in schema.objects if o.kind == "view"}
    counts: dict[str, int] = {}
    named = {name: Counter(_names(view.sql)) for name, view in views.items()}
    # A view can only name what SQLite found when it was made, or itself in a circle, which SQLite refuses to read.
    for name in views:
        _expand(name, named, counts)
    return {views[name].name: count for name, count in counts.items()}


def _expand(name: str, named: Mapping[str, Counter[str]], counts: dict[str, int]) -> None:
    """Afterwards `counts` has the view and every view below it; by a stack, because they may be many."""
    under_way: dict[str, list[str]] = {}
    waiting = [name]
    while waiting:
        current = waiting[-1]
        below = under_way.setdefault(current, [n for n in named[current] if n in named and n != current])
        missing = [n for n in below if n not in counts and n not in under_way]
        if missing:
            waiting.extend(missing)
            continue
        waiting.pop()
        counts.setdefault(current, 1 + sum(named[current][n] * counts.get(n, 1) for n in below))


def _names(sql: str) -> Iterator[str]:
    return (folded(token.name) for token in tokens(sql) if token.name is not None)


@dataclass(frozen=True)
class _Reading:
    """The (table, column) pairs, folded, that a view or trigger reads itself; `fault` where it does not compile."""

    sql: str
    columns: frozenset[tuple[str, str]]
    fault: str | None = None


def _readings(connection: Connection, schema: Schema) -> dict[tuple[str, str], _Reading]:
    """Every view, trigger and virtual table; one is at fault where a statement that uses it does not compile."""
    found = [o for o in schema.objects if o.kind in ("view", "trigger") or is_virtual(o.sql)]
    named = {folded(o.name) for o in found}
    return {(o.kind, o.name): _reading(connection, o, named - {folded(o.name)}) for o in found}


def _reading(connection: Connection, found: SchemaObject, others: Set[str]) -> _Reading:
    columns: set[tuple[str, str]] = set()

    def note(action: int, table: str | None, column: str | None, database: str | None, reader: str | None) -> int:
        # Inside a WITH the reader is the name given there.
        if action == sqlite3.SQLITE_READ and table and column and reader and folded(reader) not in others:
            columns.add((folded(table), folded(column)))
        return sqlite3.SQLITE_OK

    fault = None
    statements = _uses(connection, found)
    connection.set_authorizer(note)
    with deadline(connection, _DEADLINE_S) as elapsed_s:
        try:
            for statement in statements:
                connection.execute(statement).fetchall()
        except sqlite3.DatabaseError as error:
            if connection.arrived is not None:
                raise
            # Whose rows have no end, or are many, was read without a fault.
            fault = None if elapsed_s() > _DEADLINE_S else str(error)
        finally:
            connection.set_authorizer(None)
    return _Reading(found.sql, frozenset(columns), fault)


def _columns(connection: sqlite3.Connection, schema: Schema) -> dict[tuple[str, str], str]:
    """The columns of all tables and views, as (table, column), folded, each with what to call it."""
    found: dict[tuple[str, str], str] = {}
    for name in (o.name for o in schema.objects if o.kind in ("table", "view")):
        # A view that cannot be read has none.
        with suppress(sqlite3.OperationalError):
            rows = connection.execute("SELECT name FROM pragma_table_xinfo(?)", (name,)).fetchall()
            found |= {(folded(name), folded(column)): f"column {column} of {name}" for (column,) in rows}
    return found


def _lost(was: _Reading, gone: Mapping[tuple[str, str], str]) -> str | None:
    """The column that is gone and that the text names so that it still compiles: its name means something else now.

    SQLite takes a name in double quotes for a string where it is no column, and any name for a column of an outer
    query. What `*` stood for is not missed.
    """
    reads = sorted(was.columns & gone.keys())
    named = set(_bare_names(was.sql)) if reads else set()
    lost = [gone[read] for read in reads if read[1] in named]
    return f"it names {lost[0]}, which is gone, and would go on with something else" if lost else None


def _bare_names(sql: str) -> Iterator[str]:
    """The names, folded, that a view or trigger uses with neither a table before them nor as a new name after AS."""
    found = list(tokens(sql))
    starts = ("as",) if found[1].keyword == "view" else ("begin", "when")
    body = next(index for index, token in enumerate(found) if token.keyword in starts)
    for before, token in pairwise(found[body:]):
        if token.name is not None and before.text != "." and before.keyword != "as":
            yield folded(token.name)


def _uses(connection: sqlite3.Connection, found: SchemaObject) -> Iterator[str]:
    """A statement for each way in which the object is used; none of them writes."""
    if found.kind == "table":
        # A full-text index asks for its content, which stands in a table of another name, when it is read.
        yield f"SELECT * FROM {quote(found.name)} LIMIT 1"
        return
    if found.kind == "view":
        yield f"EXPLAIN SELECT * FROM {quote(found.name)}"
        return
    table, events = quote(found.table), words(found.sql)
    if "insert" in events:
        yield f"EXPLAIN INSERT INTO {table} DEFAULT VALUES"
    if "delete" in events:
        yield f"EXPLAIN DELETE FROM {table}"
    if "update" in events:
        # Generated columns cannot be assigned.
        own = connection.execute("SELECT name FROM pragma_table_xinfo(?) WHERE hidden = 0", (found.table,))
        yield f"EXPLAIN UPDATE {table} SET {', '.join(f'{quote(name)} = {quote(name)}' for (name,) in own)}"
