"""What a run will do, as facts: the SQL that runs, on the candidate and on live one text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from migrator.ddl import TableText, folded, quote, tokens
from migrator.migration import Answers, Mapped, Migration, Switch
from migrator.projection import Projection
from migrator.schema import OWN_PREFIX, Column, Schema, Unique, index_name, is_index


@dataclass(frozen=True)
class State:
    """A schema to plan from: what applications made, and the columns of this tool's own tables by name."""

    schema: Schema
    own: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class TablePlan:
    """Everything that happens to one table, as SQL.

    `rebuild`: `create` makes the shadow table, `copy` fills it, `compare` counts rows of it that are not what the
    projection says; `projection` itself is there for who does that a few rows at a time. Where only some rows change
    the shadow table holds those, and `update` puts them into the table, which stays. `new`: `create` makes the
    table. `drop`: the table goes, or is renamed to `writes` with its rows. `indexes`: the table stays with every row,
    and `projection` is those rows, for the online way. `added` and `fill` are the same change in the small steps of the
    rehearsal. `unmapped`, `duplicates` and `missing` find what the new table cannot hold; `mark` raises the
    AUTOINCREMENT mark; `drops` are the indexes that go. `stage` is the number of a shadow table that does not become
    the table.
    """

    table: str
    kind: Literal["rebuild", "new", "drop", "indexes"]
    version: int
    target: TableText | None
    create: str = ""
    copy: str = ""
    compare: str = ""
    update: tuple[str, ...] = ()
    originals: tuple[str, ...] = ()
    added: tuple[Column, ...] = ()
    fill: str = ""
    unmapped: tuple[tuple[str, str], ...] = ()
    duplicates: tuple[tuple[Unique, str], ...] = ()
    missing: tuple[tuple[str, str], ...] = ()
    recreate: tuple[str, ...] = ()
    mark: tuple[str, ...] = ()
    indexes: tuple[str, ...] = ()
    drops: tuple[str, ...] = ()
    reads: str | None = None
    writes: str = ""
    projection: Projection | None = None
    stage: int = 0

    @property
    def shadow(self) -> str:
        return f"{OWN_PREFIX}{self.table}.{self.stage}" if self.stage else OWN_PREFIX + self.table

    @property
    def key(self) -> tuple[str, ...]:
        """What tells the table's rows apart; () where there is no table to rebuild."""
        return () if self.projection is None else self.projection.key

    @property
    def is_filled_online(self) -> bool:
        """Whether the online way has a shadow table for it: not where some rows change to values that other rows or
        tables decide, which is done at once in the swap."""
        return self.projection is not None and (self.projection.is_local or not self.update)

    @property
    def dropped(self) -> tuple[str, ...]:
        """The statements that take `drops` from a table that stays; where it is made anew they go with the old one."""
        stays = self.kind == "indexes" or self.update
        return tuple(f"DROP INDEX {quote(index_name(sql))}" for sql in self.drops) if stays else ()

    @property
    def made_again(self) -> tuple[str, ...]:
        """What goes on the way and is made again: all that the table keeps or, where rows change, its triggers."""
        if self.kind == "indexes":
            return ()
        return tuple(sql for sql in self.recreate if not (self.update and is_index(sql)))

    @property
    def statements(self) -> tuple[str, ...]:
        if self.kind == "drop":
            return (f"ALTER TABLE {quote(self.table)} RENAME TO {quote(self.writes)}",)
        filled = (self.create, *self.originals, self.copy, *self.dropped, *self.update)
        return tuple(text for text in (*filled, *self.made_again, *self.mark, *self.indexes) if text)

    @property
    def kept(self) -> str:
        """What is put aside where, for people."""
        if self.kind == "drop":
            return f"rows of {self.table}, which the schema to be does not have; {self.writes} keeps them"
        if self.update:
            return f"rows of {self.table} with new values; {self.writes} keeps the old ones"
        return f"rows of {self.table} with what the new table cannot hold; {self.writes} keeps it"

    def option(self, column: str) -> str:
        """The command line's option that says what becomes of a column's values; "" where the migration has none."""
        values = {} if self.projection is None else self.projection.values
        asked = (value for name, value in values.items() if folded(name) == folded(column))
        named = next((value.option for value in asked if isinstance(value, Mapped | Switch)), "")
        return named and f"--{named.replace('_', '-')}"

    def names(self, name: str) -> bool:
        """Whether it is the table, or a statement names it, if only to read a value from it."""
        return folded(name) in self._named

    @cached_property
    def _named(self) -> frozenset[str]:
        named = (folded(t.name) for sql in self.statements for t in tokens(sql) if t.name is not None)
        # DROP INDEX does not say which table the index is on.
        return frozenset([folded(self.table), *named])


@dataclass(frozen=True)
class Adopted:
    """A table that has its form already: `differing` counts rows that are not as migration `label` would leave them.

    `way_out` is for where there are some.
    """

    table: str
    label: str
    differing: str
    way_out: str


@dataclass(frozen=True)
class Plan:
    """What one run will do: the migrations, their direction, the answers for each by its version, and a plan for each
    table in the order of execution, or the tables that are as the migrations would leave them."""

    migrations: tuple[Migration, ...]
    reverse: bool
    answers: Mapping[int, Answers]
    tables: tuple[TablePlan, ...]
    after: State
    adopted: tuple[Adopted, ...] = ()

    @property
    def touched(self) -> frozenset[str]:
        return frozenset([*(p.table for p in self.tables), *(a.table for a in self.adopted)])

    @property
    def tools(self) -> frozenset[str]:
        return frozenset(tool for m in self.migrations for tool in m.tools)

    @property
    def to_version(self) -> int:
        versions = [m.version for m in self.migrations]
        return min(versions) - 1 if self.reverse else max(versions)

    @property
    def statements(self) -> tuple[str, ...]:
        """Every statement of the promotion, for people to read."""
        return tuple(statement for table in self.tables for statement in table.statements)

    def names(self, name: str) -> bool:
        """Whether a statement names the table `name`, if only to read a value from it."""
        return any(table.names(name) for table in self.tables)
