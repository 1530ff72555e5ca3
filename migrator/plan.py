"""From a declared change and the schema that is there to the SQL that runs: on the candidate and on live, one text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from migrator.ddl import TableText, canonical, parse_create_table, quote
from migrator.errors import RefusedError
from migrator.migration import Answers, Change, Migration, Value
from migrator.projection import Projection
from migrator.schema import OWN_PREFIX, Column, Schema, Shape, index_name, shape_of


@dataclass(frozen=True)
class State:
    """A schema to plan from: what applications made, and the columns of this tool's own tables by name."""

    schema: Schema
    own: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class TablePlan:
    """Everything that happens to one table, as SQL.

    `rebuild`: `create` makes the shadow table, `copy` fills it, `compare` counts rows of it that are not what the
    projection says. `new`: `create` makes the table. `drop`: the table goes, or is renamed to `writes` with its rows.
    `added` and `fill` are the same change in the small steps of the rehearsal. `unmapped`, `duplicates` and `missing`
    find what the new table cannot hold.
    """

    table: str
    kind: Literal["rebuild", "new", "drop"]
    version: int
    target: TableText | None
    create: str = ""
    copy: str = ""
    compare: str = ""
    originals: tuple[str, ...] = ()
    added: tuple[Column, ...] = ()
    fill: str = ""
    unmapped: tuple[tuple[str, str], ...] = ()
    duplicates: tuple[tuple[tuple[str, ...], str], ...] = ()
    missing: tuple[tuple[str, str], ...] = ()
    recreate: tuple[str, ...] = ()
    indexes: tuple[str, ...] = ()
    reads: str | None = None
    writes: str = ""

    @property
    def shadow(self) -> str:
        return OWN_PREFIX + self.table


@dataclass(frozen=True)
class Plan:
    """What one run will do: the migrations, their direction, and a plan for each table in the order of execution."""

    migrations: tuple[Migration, ...]
    reverse: bool
    answers: Answers
    tables: tuple[TablePlan, ...]
    after: State

    @property
    def touched(self) -> frozenset[str]:
        return frozenset(p.table for p in self.tables)

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
        return tuple(
            s for p in self.tables for s in (p.create, *p.originals, p.copy, *p.recreate, *p.indexes) if s
        )


def make_plan(
    migrations: Iterable[Migration],
    state: State,
    answers: Answers,
    *,
    reverse: bool = False,
    exactly: Schema | None = None,
) -> Plan:
    """Plans `migrations` (ascending versions; `reverse` undoes them from the last) on what is there.

    `exactly` is the schema that a restore returns to: its texts are taken instead of the declared ones.
    Raises RefusedError where a table does not fit the declaration (unknown table, column or type).
    """
    ordered = tuple(sorted(migrations, key=lambda m: m.version, reverse=reverse))
    plans: list[TablePlan] = []
    for migration in ordered:
        for change in reversed(migration.changes) if reverse else migration.changes:
            directed = _directed(change, reverse, exactly)
            plan = _table_plan(directed, migration.version, state, answers, merge=exactly is None)
            plans.append(plan)
            state = _after(state, plan)
    return Plan(ordered, reverse, answers, tuple(plans), state)


@dataclass(frozen=True)
class _Directed:
    """A change with a direction: everything that differs between forth and back, in the same words for both."""

    table: str
    source: TableText | None
    target: TableText | None
    other: TableText | None
    values: Mapping[str, Value]
    where: str | None
    opposite: Mapping[str, Value]
    opposite_where: str | None
    pairs: Mapping[str, str]
    reads: str
    writes: str
    indexes: tuple[str, ...]
    drops: tuple[str, ...]


def _directed(change: Change, reverse: bool, exactly: Schema | None) -> _Directed:
    before, after = _parsed(change.before), _parsed(change.after)
    forth: Mapping[str, Value] = change.values
    back: Mapping[str, Value] = {old: back.sql for old, back in change.back.items()}
    directed = _Directed(
        change.table, before, after, before, forth, change.where, back, None,
        {back.of: old for old, back in change.back.items()},
        reads=change.ahead_table, writes=change.originals_table, indexes=change.indexes, drops=(),
    )  # fmt: skip
    if reverse:
        directed = _Directed(
            change.table, after, before, after, back, None, forth, change.where,
            {old: back.of for old, back in change.back.items()},
            reads=change.originals_table, writes=change.ahead_table, indexes=(), drops=change.indexes,
        )  # fmt: skip
    return directed if exactly is None else _returning_to(exactly, directed)


def _returning_to(exactly: Schema, directed: _Directed) -> _Directed:
    """The same change with the texts of a schema that was there: a restore gives back that one, not the declared one."""
    declared = {canonical(i) for i in (*directed.indexes, *directed.drops)}
    indexes = tuple(o.sql for o in exactly.on_table(directed.table, "index"))
    there = {canonical(i) for i in indexes}
    drops = tuple(i for i in (*directed.indexes, *directed.drops) if canonical(i) not in there)
    wanted = tuple(i for i in indexes if canonical(i) in declared)
    target = None if directed.source is None and directed.target is None else exactly.text(directed.table)
    return replace(directed, target=target, indexes=wanted, drops=drops)


def _table_plan(directed: _Directed, version: int, state: State, answers: Answers, merge: bool) -> TablePlan:
    present = state.schema.text(directed.table)
    rows_only = directed.source is None and directed.target is None
    if directed.target is None and not rows_only:
        return TablePlan(directed.table, "drop", version, None, writes=directed.writes)
    if present is None and (directed.source is None and not rows_only):
        return _new_table(directed, version, state)
    if present is None:
        raise RefusedError(
            f"table {directed.table} does not exist in the database",
            "name the application's database with --database, or start the application once to create its tables",
        )
    if rows_only:
        target = present
    else:
        _check_columns(directed, present)
        target = _merged(directed, present) if merge else directed.target
    assert target is not None
    return _rebuild(directed, version, present, target, state, answers)


def _new_table(directed: _Directed, version: int, state: State) -> TablePlan:
    assert directed.target is not None
    names = [quote(c.name) for c in shape_of(directed.target).columns if c.name in state.own.get(directed.reads, ())]
    copy = ""
    if directed.reads in state.own:
        listed = ", ".join(names)
        copy = f"INSERT INTO {quote(directed.table)} ({listed}) SELECT {listed} FROM {quote(directed.reads)}"
    return TablePlan(
        directed.table, "new", version, directed.target, create=directed.target.sql, copy=copy,
        indexes=directed.indexes, reads=directed.reads if copy else None, writes=directed.writes,
    )  # fmt: skip


def _rebuild(
    directed: _Directed, version: int, present: TableText, target: TableText, state: State, answers: Answers
) -> TablePlan:
    shape, now = shape_of(target), shape_of(present)
    if [k.casefold() for k in shape.key] != [k.casefold() for k in now.key]:
        raise RefusedError(f"table {directed.table} identifies its rows by {now.key}, the migration by {shape.key}")
    declared = [shape_of(text) for text in (directed.target, directed.source) if text is not None]
    known = [*(c for d in declared for c in d.columns), *shape.columns, *now.columns]
    spelling = {c.name.casefold(): c.name for c in reversed(known)}
    projection = Projection(
        table=directed.table, key=tuple(spelling.get(k.casefold(), k) for k in shape.key),
        present=tuple(spelling[n.casefold()] for n in now.names), known=tuple(known),
        target=tuple(spelling[n.casefold()] for n in shape.names),
        values=directed.values, where=directed.where, opposite=directed.opposite,
        opposite_where=directed.opposite_where, pairs=directed.pairs, answers=answers, reads=directed.reads,
        kept=state.own.get(directed.reads, ()),
    )  # fmt: skip
    shadow = OWN_PREFIX + directed.table
    return TablePlan(
        directed.table, "rebuild", version, target,
        create=target.named(shadow).sql,
        copy=projection.copy_into(shadow),
        compare=projection.differing_from(shadow),
        originals=projection.originals_into(directed.writes, exists=directed.writes in state.own),
        added=_added(directed, shape, now),
        fill=projection.fill(),
        unmapped=projection.unmapped(),
        duplicates=tuple((columns, projection.duplicates(columns)) for columns in shape.unique),
        missing=tuple((c, projection.nulls(c)) for c in shape.not_null),
        recreate=_recreated(directed, state.schema),
        indexes=_missing_indexes(directed, state.schema),
        reads=directed.reads if directed.reads in state.own else None,
        writes=directed.writes,
    )  # fmt: skip


def _added(directed: _Directed, shape: Shape, now: Shape) -> tuple[Column, ...]:
    """The columns that the declaration adds, those that somebody added by hand included, and any that is lacking."""
    declared = () if directed.source is None else shape_of(directed.source).names
    known = {name.casefold() for name in declared}
    return tuple(c for c in shape.columns if now.column(c.name) is None or (known and c.name.casefold() not in known))


def _check_columns(directed: _Directed, present: TableText) -> None:
    """Every column of the table is one of either schema, with either type."""
    declared = [shape_of(text) for text in (directed.source, directed.target, directed.other) if text is not None]
    for column in shape_of(present).columns:
        found = [c for shape in declared if (c := shape.column(column.name)) is not None]
        if not found:
            raise RefusedError(
                f"column {column.name!r} of table {directed.table} is in neither schema of the migration",
                "move its values elsewhere and drop it, or add it to the migration",
            )
        types = {c.type.casefold() for c in found}
        if column.type.casefold() not in types:
            raise RefusedError(
                f"column {column.name!r} already exists in table {directed.table} as {column.type or 'no type'}, "
                f"expected {' or '.join(sorted(t.upper() for t in types))}",
                "rename or convert the column first",
            )


def _merged(directed: _Directed, present: TableText) -> TableText:
    """The declared target, in which whatever the migration does not change keeps the table's stored text."""
    assert directed.target is not None
    definitions = []
    for wanted in directed.target.definitions:
        twin = None if wanted.column is None or directed.other is None else directed.other.definition(wanted.column)
        stored = None if wanted.column is None else present.definition(wanted.column)
        same = twin is not None and twin.canonical == wanted.canonical
        definitions.append(stored if same and stored is not None else wanted)
    declared = {d.canonical for text in (directed.target, directed.other, directed.source) if text for d in text.constraints}
    extra = [d for d in present.constraints if d.canonical not in declared]
    return replace(directed.target, definitions=(*definitions, *extra), suffix=present.suffix or directed.target.suffix)


def _recreated(directed: _Directed, schema: Schema) -> tuple[str, ...]:
    """The statements of the indexes and triggers that the table has and keeps."""
    dropped = {canonical(sql) for sql in directed.drops}
    return tuple(o.sql for o in schema.on_table(directed.table, "index", "trigger") if canonical(o.sql) not in dropped)


def _missing_indexes(directed: _Directed, schema: Schema) -> tuple[str, ...]:
    """The declared indexes that are not there yet. Raises RefusedError where another object holds a name."""
    missing = []
    for sql in directed.indexes:
        name = index_name(sql)
        found = schema.named(name)
        if found is None:
            missing.append(sql)
        elif canonical(found.sql) != canonical(sql):
            raise RefusedError(f"{found.kind} {name} already exists as {found.sql!r}, expected {sql!r}", "drop or rename it")
    return tuple(missing)


def _after(state: State, plan: TablePlan) -> State:
    """The state that a later plan starts from."""
    schema = state.schema.with_table(plan.table, plan.target.sql if plan.target else None, plan.indexes)
    if plan.kind == "rebuild":
        names = {canonical(sql) for sql in (*plan.recreate, *plan.indexes)}
        on_table = [o for o in schema.on_table(plan.table, "index", "trigger") if canonical(o.sql) not in names]
        schema = Schema(tuple(o for o in schema.objects if o not in on_table))
    own = {name: columns for name, columns in state.own.items() if name != plan.reads}
    return State(schema, own)


def _parsed(sql: str | None) -> TableText | None:
    return None if sql is None else parse_create_table(sql)

