"""The table to be: the declared one, in which whatever the migration does not name stays as it is stored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

from migrator.ddl import Definition, TableText, Token, canonical, folded, tokens, words
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

    Constraints and the suffix that an operator gave the table stay too. Raises RefusedError where a stored text that
    stays names a column that goes.
    """
    definitions = tuple(_stored(definition, directed.source, present, target) for definition in target.definitions)
    declared = {d.canonical for text in (directed.source, target) if text for d in text.constraints}
    extra = tuple(d for d in present.constraints if d.canonical not in declared)
    for definition in extra:
        named = " ".join(_expressions(definition.text, present.name))
        refuse_dropped_columns(f"the constraint {definition.text.strip()!r}", named, present, target)
    agreed = directed.source is not None and canonical(directed.source.suffix) == canonical(target.suffix)
    suffix = present.suffix if agreed else target.suffix
    return replace(target, definitions=definitions + extra, suffix=suffix)


def _stored(wanted: Definition, source: TableText | None, present: TableText, target: TableText) -> Definition:
    if wanted.column is None or source is None:
        return wanted
    before, stored = source.definition(wanted.column), present.definition(wanted.column)
    agreed = before is not None and before.canonical == wanted.canonical
    if not agreed or stored is None:
        return wanted
    # A CHECK or a computed value: a name in double quotes that is no column any more would become a constant string.
    named = " ".join(_expressions(stored.text, present.name))
    refuse_dropped_columns(f"the definition {stored.text.strip()!r}", named, present, target)
    return stored


def _expressions(definition: str, table: str) -> Iterator[str]:
    """What stands in parentheses in an entry of a CREATE TABLE, where it can name columns of `table` itself."""
    found = list(tokens(definition))
    depth = start = 0
    for index, token in enumerate(found):
        if token.text == "(":
            start = start if depth else index
            depth += 1
        elif token.text == ")":
            depth -= 1
            other = start > 1 and found[start - 2].keyword == "references" and not _names(found[start - 1], table)
            if depth == 0 and not other:
                yield definition[found[start].end : token.start]


def _names(token: Token, table: str) -> bool:
    return token.name is not None and folded(token.name) == folded(table)


def own_name_in(table: TableText) -> str | None:
    """What is wrong where the text writes a column with the table's own name before it: the shadow table has another
    name, and the rename at the end would leave that one in the text. None where it does not."""
    for definition in table.definitions:
        found = list(tokens(definition.text))
        if any(_names(name, table.name) and dot.text == "." for name, dot in pairwise(found)):
            return (
                f"{definition.text.strip()!r} of table {table.name} names a column as {table.name}.column, which a "
                "rebuild of the table cannot keep"
            )
    return None


def refuse_dropped_columns(what: str, sql: str, present: TableText, target: TableText) -> None:
    """Raises RefusedError where `sql`, which stays, names a column of `present` that `target` has no more."""
    for column in present.columns:
        if target.definition(column) is None and folded(column) in words(sql):
            raise RefusedError(
                f"{what} of table {present.name} names column {column!r}, which the migration removes",
                "drop it before the migration",
            )


def kept_objects(directed: Directed, schema: Schema, present: TableText, target: TableText) -> Iterator[SchemaObject]:
    """The indexes and triggers that the table has and keeps; none waits for a column that goes.

    Raises RefusedError where one does, and where the text of a table that is made anew cannot be that of a table with
    another name.
    """
    fault = None if directed.only_indexes else own_name_in(target)
    if fault is not None:
        way_out = f"make the table again without {target.name!r} and the dot before its columns"
        raise RefusedError(fault, way_out)
    dropped = {canonical(sql) for sql in directed.drops}
    for found in schema.on_table(directed.table, "index", "trigger"):
        if canonical(found.sql) in dropped:
            continue
        if found.kind == "index":
            # A name in double quotes that is no column any more would silently become a constant string.
            refuse_dropped_columns(f"index {found.name}", found.sql.partition("(")[2], present, target)
        else:
            # SQLite makes a trigger on updates of a column that is not there without a word, and never fires it.
            refuse_dropped_columns(f"trigger {found.name}", _awaited(found.sql), present, target)
        yield found


def _awaited(trigger: str) -> str:
    """The column list of AFTER UPDATE OF; "" where the trigger has none."""
    found = list(tokens(trigger))
    for index, (first, second) in enumerate(pairwise(found[:7])):
        if (first.keyword, second.keyword) == ("update", "of"):
            on = next(token for token in found[index + 2 :] if token.keyword == "on")
            return trigger[second.end : on.start]
    return ""


def missing_indexes(directed: Directed, schema: Schema) -> Iterator[str]:
    """The declared indexes that are not there yet. Raises RefusedError where an object that stays holds a name."""
    dropped = {canonical(sql) for sql in directed.drops}
    for sql in directed.indexes:
        found = schema.named(index_name(sql))
        if found is None or canonical(found.sql) in dropped:
            yield sql
        elif canonical(found.sql) != canonical(sql):
            raise RefusedError(
                f"{found.kind} {found.name} already exists as {found.sql!r}, expected {sql!r}", "drop or rename it"
            )
