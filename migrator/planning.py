"""From a declared change and the schema that is there to the plan."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TypeVar

from migrator.ddl import TableText, canonical, folded, quote, words
from migrator.direction import Directed, directed
from migrator.errors import RefusedError
from migrator.migration import UNMAPPED, Answers, Migration, literal
from migrator.plan import Plan, State, TablePlan
from migrator.projection import Projection
from migrator.schema import OWN_PREFIX, Column, Schema, SchemaObject, Shape, Unique, index_name, shape_of, unique_index
from migrator.target import check_columns, kept_objects, merged, missing_indexes
from migrator.what_is_read import refuse_missing_columns

T = TypeVar("T")


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
    Raises RefusedError where a table does not fit the declaration (unknown table, column or type), or a value reads a
    column that there is not.
    """
    ordered = tuple(sorted(migrations, key=lambda m: m.version, reverse=reverse))
    plans: list[TablePlan] = []
    changes = [(m, c) for m in ordered for c in (reversed(m.changes) if reverse else m.changes)]
    last = {folded(c.table): c for _, c in changes if c.before is not None or c.after is not None}
    for migration, change in changes:
        way = directed(change, reverse=reverse, exactly=exactly)
        if change is not last.get(folded(change.table)):
            # Only the last change of a table's text leads to the one that was there; the others give values back.
            way = replace(way, exact=None)
        if not reverse and way.target is None and not way.rows_only:
            _refuse_lost(way, state.schema)
        plan = _table_plan(way, migration.version, state, answers[migration.version])
        refuse_missing_columns(plan, state, migration, reverse)
        plans.append(plan)
        state = _after(state, plan)
    return Plan(ordered, reverse, answers, _with_indexes_once(plans), state)


def _with_indexes_once(plans: Iterable[TablePlan]) -> tuple[TablePlan, ...]:
    """Of several plans for one table the last makes the indexes, so that none is made on a form that goes again.

    Only there it is asked whether the rows fit a unique one.
    """
    found: list[TablePlan] = []
    for plan in plans:
        owed = [index for p in found if p.table == plan.table for index in p.indexes]
        found = [replace(p, indexes=()) if p.table == plan.table else p for p in found]
        kept = tuple(sql for sql in plan.recreate if sql not in owed)
        still_owed = tuple(sql for sql in plan.recreate if sql in owed)
        drops = tuple(sql for sql in plan.drops if sql not in owed)
        found.append(replace(plan, recreate=kept, indexes=still_owed + plan.indexes, drops=drops))
    return tuple(replace(p, duplicates=tuple(_duplicates(p))) for p in found)


def _duplicates(plan: TablePlan) -> Iterator[tuple[Unique, str]]:
    """What the table, or an index that is made, keeps apart; a column that SQLite computes stands in no projection."""
    if plan.projection is None or plan.target is None:
        return
    shape = shape_of(plan.target)
    # What the rows of a table that stays break already, if anything, stays as it is.
    of_table = () if plan.kind == "indexes" else shape.unique_of(plan.table)
    for unique in (*of_table, *filter(None, map(unique_index, plan.indexes))):
        if not {*map(folded, shape.generated)} & {*words(" ".join((*unique.terms, unique.where)))}:
            yield unique, plan.projection.duplicates(unique)


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
    if way.source is None:
        _refuse_made_again(way, present, target, state)
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


def _refuse_made_again(way: Directed, present: TableText, target: TableText, state: State) -> None:
    """Rows that wait for their table are not mixed with those of another that has its name meanwhile.

    Of a table that went, all columns were put aside; of one that stayed, what it could not hold.
    """
    if {*map(folded, target.columns)} <= {*map(folded, state.own.get(way.reads, ()))}:
        raise RefusedError(
            f"table {way.reads} keeps what was in table {present.name}, and the application has made that anew",
            f"drop or rename {present.name}, and they come back; or drop {way.reads}, if they need not",
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
    plan = TablePlan(
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
        missing=tuple((c, projection.nulls(c)) for c in shape.not_null),
        recreate=tuple(o.sql for o in kept_objects(way, state.schema, present, target)),
        mark=_mark(present.name, way.mark) if way.mark and target.autoincrement else (),
        indexes=tuple(missing_indexes(way, state.schema)),
        drops=tuple(o.sql for o in state.schema.on_table(present.name, "index") if canonical(o.sql) in dropped),
        reads=way.reads if way.reads in state.own else None,
        writes=way.writes,
    )  # fmt: skip
    if way.only_indexes:
        return replace(plan, kind="indexes", create="", copy="", compare="", missing=())
    return plan


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
