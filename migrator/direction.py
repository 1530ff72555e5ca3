"""A change with a direction: forth, back, or back to exactly what was there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from migrator.ddl import TableText, canonical, parse_create_table
from migrator.migration import Change, Value
from migrator.schema import Schema


@dataclass(frozen=True)
class Directed:
    """Everything that differs between forth and back, in the same words for both.

    `source` and `target` are the declared texts (None: no such table on that side), `opposite` the values of the
    way back, `pairs` the source columns that hold a target column's value under other names. Values put aside by
    the other direction are read from table `reads`, those that this one puts aside go to `writes`, each for the row
    that has the same `identity`. `indexes` are made, `drops` go; AUTOINCREMENT goes on above `mark`. `rows_only`: the
    table keeps its text, `only_indexes`: and every row. `exact` is a text to return to in place of the declared one.
    """

    table: str
    rows_only: bool
    only_indexes: bool
    source: TableText | None
    target: TableText | None
    values: Mapping[str, Value]
    where: str | None
    opposite: Mapping[str, Value]
    opposite_where: str | None
    pairs: Mapping[str, tuple[str, ...]]
    reads: str
    writes: str
    identity: tuple[str, ...]
    indexes: tuple[str, ...]
    drops: tuple[str, ...]
    mark: str | None
    exact: TableText | None = None


def directed(change: Change, *, reverse: bool, exactly: Schema | None) -> Directed:
    """`change` forth or, with `reverse`, back; `exactly` gives the texts of a schema to return to."""
    way = _back(change) if reverse else _forth(change)
    return way if exactly is None else _returning_to(exactly, way)


def _forth(change: Change) -> Directed:
    return Directed(
        change.table, not change.declares_form, change.only_indexes,
        source=_parsed(change.before), target=_parsed(change.after),
        values=change.values, where=change.where,
        opposite={old: back.sql for old, back in change.back.items()}, opposite_where=None,
        pairs={b.of: tuple(old for old, back in change.back.items() if back.of == b.of) for b in change.back.values()},
        reads="" if change.only_indexes else change.ahead_table,
        writes="" if change.only_indexes else change.originals_table,
        identity=change.identity,
        indexes=change.indexes, drops=change.drops, mark=change.mark,
    )  # fmt: skip


def _back(change: Change) -> Directed:
    forth = _forth(change)
    return replace(
        forth,
        source=forth.target, target=forth.source,
        values=forth.opposite, where=forth.opposite_where,
        opposite=forth.values, opposite_where=forth.where,
        pairs={old: (back.of,) for old, back in change.back.items()},
        reads=forth.writes, writes=forth.reads,
        indexes=forth.drops, drops=forth.indexes,
    )  # fmt: skip


def _returning_to(exactly: Schema, way: Directed) -> Directed:
    """A restore gives back the table that was there, not the declared one, and of the declared indexes those it had."""
    had = {canonical(o.sql) for o in exactly.on_table(way.table, "index")}
    declared = (*way.indexes, *way.drops)
    return replace(
        way,
        indexes=tuple(i for i in declared if canonical(i) in had),
        drops=tuple(i for i in declared if canonical(i) not in had),
        exact=None if way.rows_only else exactly.text(way.table),
    )


def _parsed(sql: str | None) -> TableText | None:
    return None if sql is None else parse_create_table(sql)
