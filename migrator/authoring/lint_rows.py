"""Rows that a planned table cannot hold, counted: what `inspect` refuses, and what only the rehearsal would meet."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Literal

from migrator.authoring.affinity import STORED, affinity
from migrator.authoring.clauses import all_clauses, column_text, options
from migrator.authoring.proof import in_memory
from migrator.ddl import TableText, canonical, folded, quote, words
from migrator.plan import TablePlan
from migrator.projection import Projection
from migrator.schema import OWN_PREFIX, Column, Schema, SchemaObject, rowid_name, shape_of, unique_index

Misfit = tuple[Literal["error", "warning", "note"], str, str, str, int]
"""Severity, code, message, way out, how many."""

_VALUES = f"temp.{OWN_PREFIX}values"


def misfits(
    connection: sqlite3.Connection, table: TablePlan, present: TableText, indexes: Iterable[str]
) -> Iterator[Misfit]:
    """What the rows of a table that is rebuilt hold and the new one cannot, as the migration would convert them.

    `indexes` are the statements of those that the table has.
    """
    projection, target = table.projection, table.target
    if projection is None or target is None:
        return
    yield from _without_value(connection, table)
    yield from _of_other_types(connection, projection, target)
    held = {(c.code, c.meaning) for c in _constraints(present, indexes)}
    moved = {folded(c) for c in projection.values} | (
        {*map(folded, projection.target)} - {*map(folded, projection.present)}
    )
    new = [
        constraint
        for constraint in _constraints(target, (*table.recreate, *table.indexes))
        if (constraint.code, constraint.meaning) not in held or {folded(c) for c in constraint.columns} & moved
    ]
    if new:
        yield from _broken(connection, projection, target, new)
    yield from _orphans(connection, projection, target, present)


def _without_value(connection: sqlite3.Connection, table: TablePlan) -> Iterator[Misfit]:
    for column, query in table.unmapped:
        found = connection.execute(query).fetchall()
        if found:
            message = f"{len(found)} values of {column} of {table.table} have no spelling in the migration"
            option = table.option(column)
            way_out = "add them to its Mapped" + f", or answer with {option}" * bool(option)
            yield "error", "unmapped", message, way_out, len(found)
    for column, query in table.missing:
        count = connection.execute(query).fetchone()[0]
        if count:
            message = f"column {column} of {table.table} is NOT NULL, and {count:,} rows have no value for it"
            yield "error", "not_null", message, f"declare a value for {column}, or fill it first", count


def _of_other_types(connection: sqlite3.Connection, projection: Projection, target: TableText) -> Iterator[Misfit]:
    """Values that are not of the type of their column, where the migration declares them or the table is STRICT."""
    strict, declared = "strict" in options(target), {folded(c) for c in projection.values}
    checked = [
        (column, types)
        for column in shape_of(target).columns
        if (strict or folded(column.name) in declared) and len(types := _types(column, strict)) < len(STORED["BLOB"])
    ]
    if not checked:
        return
    sums = ", ".join(
        f"total(typeof({quote(column.name)}) NOT IN ('null', {', '.join(map(repr, types))}))"
        for column, types in checked
    )
    counts = connection.execute(f"SELECT {sums} FROM ({projection.sql()})").fetchone()
    for (column, types), count in zip(checked, map(int, counts), strict=True):
        said = f"{count:,} values of {column.name} of {projection.table} are not {' or '.join(types)}"
        way_out = f"declare a value for {column.name}"
        if count and strict:
            yield "error", "strict", f"{said}, and the table is STRICT", way_out, count
        elif count:
            yield "warning", "other_type", f"{said}: they stay as they are", way_out, count


def _types(column: Column, strict: bool) -> list[str]:
    """What typeof() says of the values that a column is there for."""
    only_blobs = strict and column.type.upper() == "BLOB"
    return ["blob"] if only_blobs else sorted(STORED[affinity(column.type, strict=strict)])


@dataclass(frozen=True)
class _Constraint:
    """Something that rows may break: what it says, the `columns` that it names, a query that counts what breaks it."""

    code: Literal["check", "unique", "not_null"]
    said: str
    meaning: str
    columns: tuple[str, ...]
    count: str


def _constraints(text: TableText, indexes: Iterable[str]) -> Iterator[_Constraint]:
    for definition in text.definitions:
        # Of the others inspect counts the rows without a value.
        column = column_text(definition) if definition.column is not None else None
        if column is not None and column.of("GENERATED") and column.of("NOT NULL"):
            count = f"SELECT count(*) FROM {_VALUES} WHERE {quote(column.name)} IS NULL"
            yield _Constraint("not_null", f"{column.name} NOT NULL", folded(column.name), (column.name,), count)
    for clause in all_clauses(text):
        if clause.kind == "CHECK":
            said, count = (
                " ".join(clause.text.split()),
                f"SELECT count(*) FROM {_VALUES} WHERE NOT ({clause.expression})",
            )
            yield _Constraint("check", said, clause.meaning(text.columns), _named(text, clause.expression), count)
    for sql, unique in ((sql, unique_index(sql)) for sql in indexes):
        if unique is not None:
            meaning, count = canonical(sql).partition(" on ")[2], _repeated(unique.terms, unique.where or "true")
            yield _Constraint("unique", f"index {unique.index}", meaning, _named(text, sql), count)
    with closing(in_memory(Schema((SchemaObject("table", text.name, text.name, text.sql),)))) as memory:
        names = 'SELECT name FROM pragma_index_list(?) WHERE "unique" ORDER BY seq DESC'
        parts = "SELECT name, coll FROM pragma_index_xinfo(?) WHERE key ORDER BY seqno"
        for (name,) in memory.execute(names, (text.name,)).fetchall():
            found = memory.execute(parts, (name,)).fetchall()
            key = [f"{quote(column)} COLLATE {quote(collation)}" for column, collation in found]
            columns = tuple(column for column, _ in found)
            said = f"UNIQUE ({', '.join(columns)})"
            yield _Constraint("unique", said, folded(" ".join(key)), columns, _repeated(key, "true"))


def _repeated(key: Sequence[str], where: str) -> str:
    """Counts the values that stand in several rows; NULL is like no other."""
    filled = " AND ".join(f"({part}) IS NOT NULL" for part in key)
    rows = f"SELECT 1 FROM {_VALUES} WHERE {filled} AND ({where}) GROUP BY {', '.join(key)} HAVING count(*) > 1"
    return f"SELECT count(*) FROM ({rows})"


def _broken(
    connection: sqlite3.Connection, projection: Projection, target: TableText, constraints: Sequence[_Constraint]
) -> Iterator[Misfit]:
    """Puts the values that the constraints name into a temporary table without them, and counts there."""
    named = {folded(c) for constraint in constraints for c in constraint.columns}
    # A condition may name none, but there must be a row for each.
    columns = _with_what_computes(named or {folded(projection.target[0])}, target)
    stored = [column for column in projection.target if folded(column) in columns]
    connection.execute(f"CREATE TEMP TABLE {OWN_PREFIX}values ({', '.join(columns.values())})")
    try:
        # A condition may name the rowid, by a name that no column has.
        rowid = None if target.without_rowid else rowid_name(target.columns)
        into = ", ".join([*([rowid] if rowid else []), *map(quote, stored)])
        taken = ", ".join(map(quote, [*([projection.key[0]] if rowid else []), *stored]))
        connection.execute(f"INSERT INTO {_VALUES} ({into}) SELECT {taken} FROM ({projection.sql()})")
        for constraint in constraints:
            count = connection.execute(constraint.count).fetchone()[0]
            kind = "values that stand in several rows" if constraint.code == "unique" else "rows"
            message = f"{count:,} {kind} of {projection.table} do not fit {constraint.said}"
            if count:
                yield "error", constraint.code, message, "change the rows, or declare values that fit", count
    finally:
        connection.execute(f"DROP TABLE {_VALUES}")


def _with_what_computes(named: set[str], target: TableText) -> dict[str, str]:
    """The definitions, without constraints, of the `named` columns and of what those are computed of."""
    found: dict[str, str] = {}
    strict = "strict" in options(target)
    while named - found.keys():
        for definition in target.definitions:
            if definition.column is None or folded(definition.column) not in named - found.keys():
                continue
            column = column_text(definition)
            kept = [c.text for c in column.clauses if c.kind in ("COLLATE", "GENERATED")]
            type_ = "" if strict and column.type.upper() == "ANY" else column.type
            found[folded(column.name)] = " ".join([quote(column.name), type_, *kept])
            computed = column.of("GENERATED")
            named = named | {folded(c) for clause in computed for c in _named(target, clause.expression)}
    return found


def _orphans(
    connection: sqlite3.Connection, projection: Projection, target: TableText, present: TableText
) -> Iterator[Misfit]:
    """Rows that break a new foreign key: the pipeline lets them be, as it lets the application."""
    had = _foreign_keys(present)
    for parent, columns, named in (key for key in _foreign_keys(target) if key not in had):
        rows = f"({projection.sql()})"
        other, to = quote(parent), named or _primary_key(connection, parent)
        if folded(parent) == folded(projection.table):
            other, to = rows, named or tuple(projection.key)
        filled = " AND ".join(f"c.{quote(c)} IS NOT NULL" for c in columns)
        same = " AND ".join(f"p.{quote(t)} = c.{quote(c)}" for t, c in zip(to, columns, strict=False))
        has_parent = f"EXISTS (SELECT 1 FROM {other} AS p WHERE {same or 'true'})"
        said = f"the foreign key {projection.table} ({', '.join(columns)}) -> {parent}"
        try:
            query = f"SELECT count(*) FROM {rows} AS c WHERE {filled} AND NOT {has_parent}"
            count = connection.execute(query).fetchone()[0]
        except sqlite3.OperationalError as error:
            yield "warning", "not_looked_at", f"rows were not held against {said}: {error}", "see whether they fit", 1
            continue
        if count:
            way_out = "give them a parent or none; they stay, and fail when they are written where keys are enforced"
            yield "warning", "orphans", f"{count:,} rows break {said}", way_out, count


def _foreign_keys(text: TableText) -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """(parent, columns, the parent's columns: empty where the text names none), in their order."""
    query = 'SELECT id, "table", "from", "to" FROM pragma_foreign_key_list(?) ORDER BY id DESC, seq'
    with closing(in_memory(Schema((SchemaObject("table", text.name, text.name, text.sql),)))) as memory:
        rows = memory.execute(query, (text.name,)).fetchall()
    keys = [[row for row in rows if row[0] == number] for number in dict.fromkeys(row[0] for row in rows)]
    return [(key[0][1], tuple(row[2] for row in key), tuple(row[3] for row in key if row[3])) for key in keys]


def _primary_key(connection: sqlite3.Connection, table: str) -> tuple[str, ...]:
    query = "SELECT name FROM pragma_table_info(?) WHERE pk ORDER BY pk"
    return tuple(name for (name,) in connection.execute(query, (table,)).fetchall())


def _named(text: TableText, sql: str) -> tuple[str, ...]:
    """The columns of the table that `sql` names."""
    there = set(words(sql))
    return tuple(column for column in text.columns if folded(column) in there)
