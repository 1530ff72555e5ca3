"""From a declared change and the schema that is there to the SQL that runs: on the candidate and on live, one text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, TypeVar

from migrator.ddl import TableText, canonical, folded, quote, tokens, words
from migrator.direction import Directed, directed
from migrator.errors import RefusedError
from migrator.migration import UNMAPPED, Answers, Migration, literal
from migrator.projection import Projection
from migrator.schema import OWN_PREFIX, Column, Schema, SchemaObject, Shape, index_name, is_index, shape_of
from migrator.target import check_columns, kept_objects, merged, missing_indexes

T = TypeVar("T")


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
    table. `drop`: the table goes, or is renamed to `writes` with its rows. `added` and `fill` are the same change in
    the small steps of the rehearsal. `unmapped`, `duplicates` and `missing` find what the new table cannot hold; `mark`
    raises the AUTOINCREMENT mark; `drops` are the indexes that are not made again. `stage` is the number of a shadow
    table that does not become the table.
    """

    table: str
    kind: Literal["rebuild", "new", "drop"]
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
    duplicates: tuple[tuple[tuple[str, ...], str], ...] = ()
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
    def made_again(self) -> tuple[str, ...]:
        """What goes on the way and is made again: all that the table keeps or, where the table stays, its triggers."""
        return tuple(sql for sql in self.recreate if not (self.update and is_index(sql)))

    @property
    def statements(self) -> tuple[str, ...]:
        if self.kind == "drop":
            return (f"ALTER TABLE {quote(self.table)} RENAME TO {quote(self.writes)}",)
        texts = (self.create, *self.originals, self.copy, *self.update, *self.made_again, *self.mark, *self.indexes)
        return tuple(text for text in texts if text)

    @property
    def kept(self) -> str:
        """What is put aside where, for people."""
        if self.kind == "drop":
            return f"rows of {self.table}, which the schema to be does not have; {self.writes} keeps them"
        if self.update:
            return f"rows of {self.table} change; {self.writes} keeps their old values"
        return f"rows of {self.table} hold what the new table cannot; {self.writes} keeps it"

    def names(self, name: str) -> bool:
        """Whether a statement names the table `name`, if only to read a value from it."""
        return folded(name) in self._named

    @cached_property
    def _named(self) -> frozenset[str]:
        return frozenset(folded(t.name) for sql in self.statements for t in tokens(sql) if t.name is not None)


@dataclass(frozen=True)
class Adopted:
    """A table that has its form already: `differing` counts rows that are not as migration `label` would leave them."""

    table: str
    label: str
    differing: str


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


def make_plan(
    migrations: Iterable[Migration],
    state: State,
    answers: Mapping[int, Answers],
    *,
    reverse: bool = False,
    exactly: Schema | None = None,
) -> Plan:
    """Plans `migrations` (ascending versions; `reverse` undoes them from the last) on what is there.

    `answers` are by version: the way back of a migration converts by those that its way forth was given.
    `exactly` is the schema that a restore returns to: its texts are taken instead of the declared ones.
    Raises RefusedError where a table does not fit the declaration (unknown table, column or type).
    """
    ordered = tuple(sorted(migrations, key=lambda m: m.version, reverse=reverse))
    plans: list[TablePlan] = []
    changes = [(m.version, c) for m in ordered for c in (reversed(m.changes) if reverse else m.changes)]
    last = {folded(c.table): c for _, c in changes if c.before is not None or c.after is not None}
    for version, change in changes:
        way = directed(change, reverse=reverse, exactly=exactly)
        if change is not last.get(folded(change.table)):
            # Only the last change of a table's text leads to the one that was there; the others give values back.
            way = replace(way, exact=None)
        if not reverse and way.target is None and not way.rows_only:
            _refuse_lost(way, state.schema)
        plan = _table_plan(way, version, state, answers[version])
        plans.append(plan)
        state = _after(state, plan)
    return Plan(ordered, reverse, answers, _with_indexes_once(plans), state)


def _with_indexes_once(plans: Iterable[TablePlan]) -> tuple[TablePlan, ...]:
    """Of several plans for one table the last makes the indexes, so that none is made on a form that goes again."""
    found: list[TablePlan] = []
    for plan in plans:
        owed = [index for p in found if p.table == plan.table for index in p.indexes]
        found = [replace(p, indexes=()) if p.table == plan.table else p for p in found]
        kept = tuple(sql for sql in plan.recreate if sql not in owed)
        still_owed = tuple(sql for sql in plan.recreate if sql in owed)
        found.append(replace(plan, recreate=kept, indexes=still_owed + plan.indexes))
    return tuple(found)


def _table_plan(way: Directed, version: int, state: State, answers: Answers) -> TablePlan:
    _refuse_taken(way, state)
    present, target = state.schema.text(way.table), way.exact or way.target
    if present is None and way.source is None and target is not None:
        return _new_table(way, version, target, state)
    if present is None:
        raise RefusedError(
            f"table {way.table} does not exist in the database",
            "name the application's database with --database, or start the application once to create its tables",
        )
    if way.rows_only:
        return _rebuild(way, version, present, present, state, answers)
    if target is None:
        return TablePlan(present.name, "drop", version, None, writes=way.writes)
    check_columns(way, present)
    if way.exact is None:
        target = merged(way, target, present)
    return _rebuild(way, version, present, target, state, answers)


def _refuse_lost(way: Directed, schema: Schema) -> None:
    """A table that goes takes with it what the way back would not make again."""
    declared = {canonical(sql) for sql in way.drops}
    for found in schema.on_table(way.table, "index", "trigger"):
        if canonical(found.sql) not in declared:
            raise RefusedError(
                f"table {way.table} would go with {found.kind} {found.name}, which the migration does not name",
                "drop it before the migration",
            )


def _refuse_taken(way: Directed, state: State) -> None:
    """What this tool put aside under `writes` was read and dropped by the migration in the other direction."""
    if way.writes in state.own:
        raise RefusedError(
            f"table {way.writes} already exists, and the migration of {way.table} would keep values under that name",
            "rename it",
        )


def _new_table(way: Directed, version: int, target: TableText, state: State) -> TablePlan:
    """The table is made; rows that an earlier way back put aside come back with their rowids."""
    shape = shape_of(target)
    kept = state.own.get(way.reads)
    if kept is None:
        return TablePlan(target.name, "new", version, target, create=target.sql, indexes=way.indexes, writes=way.writes)
    if kept != shape.names:
        raise RefusedError(
            f"table {way.reads} has not the columns of {way.table}, whose rows it should hold", "rename it"
        )
    hidden = [k for k in shape.key if k not in shape.names]
    listed = ", ".join(map(quote, (*hidden, *shape.names)))
    copy = f"INSERT INTO {quote(target.name)} ({listed}) SELECT {listed} FROM {quote(way.reads)}"
    return TablePlan(
        target.name, "new", version, target,
        create=target.sql, copy=copy, indexes=way.indexes, reads=way.reads, writes=way.writes,
    )  # fmt: skip


def _rebuild(
    way: Directed, version: int, present: TableText, target: TableText, state: State, answers: Answers
) -> TablePlan:
    shape, now = shape_of(target), shape_of(present)
    if [*map(folded, shape.key)] != [*map(folded, now.key)]:
        raise RefusedError(f"table {way.table} identifies its rows by {now.key}, the migration by {shape.key}")
    projection = _projection(way, shape, now, present.name, state, answers)
    if projection.taken:
        raise RefusedError(
            f"column {projection.taken!r} of table {way.table} is called what this tool calls another column's value",
            "rename it",
        )
    if projection.kept and not {*projection.key} <= {*projection.kept}:
        key = " and ".join(projection.key)
        raise RefusedError(f"table {way.reads} has no column {key}, so this tool did not make it", "rename it")
    shadow = OWN_PREFIX + present.name
    # Where STRICT comes or goes, the table as it is would refuse types and values of the new one.
    in_steps = ("strict" in words(target.suffix)) == ("strict" in words(present.suffix))
    only = projection.concerned if way.rows_only else ""
    dropped = {canonical(sql) for sql in way.drops}
    return TablePlan(
        present.name, "rebuild", version, target,
        create=target.named(shadow).sql,
        copy=projection.copy_into(shadow, only),
        # A value without an answer is copied as NULL and compared as what no row holds.
        compare=projection.differing_from(shadow, UNMAPPED, only),
        update=projection.put_from(shadow) if only else (),
        originals=_originals(projection, way.writes, only),
        projection=projection,
        added=_added(way, shape, now) if in_steps else (),
        fill=projection.fill() if in_steps else "",
        unmapped=projection.unmapped(),
        duplicates=tuple((columns, projection.duplicates(columns)) for columns in shape.unique),
        missing=tuple((c, projection.nulls(c)) for c in shape.not_null),
        recreate=tuple(o.sql for o in kept_objects(way, state.schema, present, target)),
        mark=_mark(present.name, way.mark) if way.mark and target.autoincrement else (),
        indexes=tuple(missing_indexes(way, state.schema)),
        drops=tuple(o.sql for o in state.schema.on_table(present.name, "index") if canonical(o.sql) in dropped),
        reads=way.reads if way.reads in state.own else None,
        writes=way.writes,
    )  # fmt: skip


def _mark(table: str, sql: str) -> tuple[str, str]:
    """A table that never had a row has no mark yet."""
    name = literal(table)
    return (
        f"UPDATE sqlite_sequence SET seq = max(seq, coalesce(({sql}), 0)) WHERE name = {name}",
        f"INSERT INTO sqlite_sequence SELECT {name}, mark FROM (SELECT ({sql}) AS mark) "
        f"WHERE mark > 0 AND NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = {name})",
    )


def _originals(projection: Projection, writes: str, only: str) -> tuple[str, ...]:
    created = projection.originals_table(writes)
    return (created, projection.originals_into(writes, only)) if created else ()


def _projection(way: Directed, shape: Shape, now: Shape, table: str, state: State, answers: Answers) -> Projection:
    """The projection in one spelling of every column's name: the declared one where there is one."""
    declared = [shape_of(text) for text in (way.target, way.source) if text is not None]
    columns = [c for found in (*declared, shape, now) for c in found.columns]
    known = {folded(c.name): c for c in reversed(columns)}

    def spelled(names: Iterable[str]) -> tuple[str, ...]:
        return tuple(known[folded(n)].name if folded(n) in known else n for n in names)

    def by_column(values: Mapping[str, T]) -> dict[str, T]:
        return dict(zip(spelled(values), values.values(), strict=True))

    unknown = [c for c in way.values if way.rows_only and folded(c) not in known]
    if unknown:
        raise RefusedError(f"table {table} has no column {unknown[0]!r}, whose values the migration repairs")
    kept = spelled(state.own.get(way.reads, ()))
    pairs = by_column({column: spelled(sources) for column, sources in way.pairs.items()})
    values = {c: v for c, v in by_column(way.values).items() if not _is_converted(c, pairs.get(c, ()), now, shape)}
    return Projection(
        table=table, key=spelled(shape.key), present=spelled(now.names), known=tuple(known.values()),
        target=spelled(shape.names), values=values, where=way.where,
        opposite=by_column(way.opposite), opposite_where=way.opposite_where,
        pairs=pairs,
        answers=answers, reads=way.reads, kept=kept, identity=spelled(way.identity),
        text=frozenset(spelled(c.name for c in shape.columns if c.holds_no_number)),
    )  # fmt: skip


def _is_converted(column: str, sources: Iterable[str], now: Shape, shape: Shape) -> bool:
    """Whether the table has `column` and, as it shall be, no more any that its value comes from: it holds the value."""
    others = [source for source in sources if folded(source) != folded(column)]
    left = any(side.column(source) is not None for source in others for side in (now, shape))
    return bool(others) and not left and now.column(column) is not None


def _added(way: Directed, shape: Shape, now: Shape) -> tuple[Column, ...]:
    """The columns that the declaration adds, those that somebody added by hand included, and any that is lacking."""
    declared = shape if way.source is None else shape_of(way.source)
    return tuple(c for c in shape.columns if now.column(c.name) is None or declared.column(c.name) is None)


def _after(state: State, plan: TablePlan) -> State:
    """The state that a later plan starts from: the table, what the plan kept on it and what it made."""
    kept = (o for o in state.schema.on_table(plan.table, "index", "trigger") if o.sql in plan.recreate)
    made = (SchemaObject("index", index_name(sql), plan.table, sql) for sql in plan.indexes)
    table = () if plan.target is None else (SchemaObject("table", plan.table, plan.table, plan.target.sql),)
    schema = Schema((*state.schema.without([plan.table]).objects, *table, *kept, *made))
    return State(schema, {name: columns for name, columns in state.own.items() if name != plan.reads})
