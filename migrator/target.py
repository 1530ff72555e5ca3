"""The table to be: the declared one, in which whatever the migration does not name stays as it is stored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from migrator.ddl import Definition, TableText, canonical, folded, words
from migrator.direction import Directed
from migrator.errors import RefusedError
from migrator.schema import Schema, SchemaObject, Shape, index_name, shape_of


def check_columns(directed: Directed, present: TableText) -> None:
    """Raises RefusedError unless every column of the table is one of either schema, with either type."""
    declared = [shape_of(text) for text in (directed.source, directed.target, directed.exact) if text is not None]
    now = shape_of(present)
    for column in present.columns:
        expected = {found for shape in declared if (found := _type(shape, column)) is not None}
        if not expected:
            raise RefusedError(
                f"column {column!r} of table {directed.table} is in neither schema of the migration",
                "move its values elsewhere and drop it, or add it to the migration",
            )
        type_ = _type(now, column)
        if type_ not in expected:
            raise RefusedError(
                f"column {column!r} already exists in table {directed.table!r} as {type_}, "
                f"expected {' or '.join(sorted(expected))}",
                "rename or convert the column first",
            )


def _type(shape: Shape, column: str) -> str | None:
    if folded(column) in map(folded, shape.generated):
        return "a generated column"
    found = shape.column(column)
    return None if found is None else (found.type.upper() or "no type")


def merged(directed: Directed, target: TableText, present: TableText) -> TableText:
    """`target`, in which every definition that source and target agree on has the table's stored text.

    Constraints and the suffix that an operator gave the table stay too. Raises RefusedError where such a
    constraint names a column that goes.
    """
    definitions = tuple(_stored(definition, directed.source, present) for definition in target.definitions)
    declared = {d.canonical for text in (directed.source, target) if text for d in text.constraints}
    extra = tuple(d for d in present.constraints if d.canonical not in declared)
    for definition in extra:
        refuse_dropped_columns(f"the constraint {definition.text.strip()!r}", definition.text, present, target)
    agreed = directed.source is not None and canonical(directed.source.suffix) == canonical(target.suffix)
    suffix = present.suffix if agreed else target.suffix
    return replace(target, definitions=definitions + extra, suffix=suffix)


def _stored(wanted: Definition, source: TableText | None, present: TableText) -> Definition:
    if wanted.column is None or source is None:
        return wanted
    before, stored = source.definition(wanted.column), present.definition(wanted.column)
    agreed = before is not None and before.canonical == wanted.canonical
    return stored if agreed and stored is not None else wanted


def refuse_dropped_columns(what: str, sql: str, present: TableText, target: TableText) -> None:
    """Raises RefusedError where `sql`, which stays, names a column of `present` that `target` has no more."""
    for column in present.columns:
        if target.definition(column) is None and folded(column) in words(sql):
            raise RefusedError(
                f"{what} of table {present.name} names column {column!r}, which the migration removes",
                "drop it before the migration",
            )


def kept_objects(directed: Directed, schema: Schema, present: TableText, target: TableText) -> Iterator[SchemaObject]:
    """The indexes and triggers that the table has and keeps; a kept index names no column that goes."""
    dropped = {canonical(sql) for sql in directed.drops}
    for found in schema.on_table(directed.table, "index", "trigger"):
        if canonical(found.sql) in dropped:
            continue
        if found.kind == "index":
            # A name in double quotes that is no column any more would silently become a constant string.
            refuse_dropped_columns(f"index {found.name}", found.sql.partition("(")[2], present, target)
        yield found


def missing_indexes(directed: Directed, schema: Schema) -> Iterator[str]:
    """The declared indexes that are not there yet. Raises RefusedError where another object holds a name."""
    for sql in directed.indexes:
        found = schema.named(index_name(sql))
        if found is None:
            yield sql
        elif canonical(found.sql) != canonical(sql):
            raise RefusedError(
                f"{found.kind} {found.name} already exists as {found.sql!r}, expected {sql!r}", "drop or rename it"
            )
