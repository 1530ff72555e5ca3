"""A plan in words: what happens to each table, and why it happens so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from migrator.ddl import TableText, folded, parse_create_table, quote, tokens, words
from migrator.declared import one_line
from migrator.migration import UNMAPPED, Answers, Change, Mapped, Migration, Value, value_sql
from migrator.plan import Plan, State, TablePlan
from migrator.schema import index_name

_ONLY_VALUES = "values of its rows change"
_ONLY_INDEXES = "only its indexes change"
_GOES = "its rows, where it has any, are kept"

Kind = Literal["rebuild", "rows", "new", "drop", "indexes"]


@dataclass(frozen=True)
class Explanation:
    """What a plan does to one table; `rows`: it stays, and only rows of it change.

    `added`, `removed` and `constraints` (those gained) are definitions; `changed` are a column's definitions now and
    then; `moved` are columns; `values` are columns with the expression, or the spellings, that their values come from.
    `made` are new indexes, `dropped` those that go, `made_again` the indexes and triggers that stay: with the old table
    they go.
    `originals` is the table for what the new one cannot hold, `comes_back` the one whose values return from there.
    """

    table: str
    version: int
    kind: Kind
    why: tuple[str, ...]
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[tuple[str, str], ...] = ()
    moved: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    values: tuple[tuple[str, str], ...] = ()
    made: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    made_again: tuple[str, ...] = ()
    originals: str | None = None
    comes_back: str | None = None


def explain(plan: Plan, state: State) -> tuple[Explanation, ...]:
    """What `plan` does to each table of `state`, in the order of execution; a table may come more than once."""
    now: dict[str, TableText | None] = {}
    found = []
    for table in plan.tables:
        present = now.get(folded(table.table), state.schema.text(table.table))
        found.append(_of_plan(table, present))
        now[folded(table.table)] = table.target
    return tuple(found)


def explain_migration(migration: Migration) -> tuple[Explanation, ...]:
    """What `migration` does to each table as it is declared, whatever a database holds."""
    return tuple(_of_change(change, migration.version) for change in migration.changes)


def in_names(explained: Explanation) -> Explanation:
    """The short form: columns and indexes that come or go by their names, and nothing of how or why.

    Of a new table every column comes.
    """
    return replace(
        explained,
        why=(),
        added=() if explained.kind == "new" else _joined(map(_column, explained.added)),
        removed=_joined(map(_column, explained.removed)),
        constraints=(),
        values=(),
        made=_joined(map(index_name, explained.made)),
        dropped=_joined(map(index_name, explained.dropped)),
        made_again=(),
    )


def _column(definition: str) -> str:
    return next(name for token in tokens(definition) if (name := token.name) is not None)


def _joined(names: Iterable[str]) -> tuple[str, ...]:
    """One line with all of them; () without any."""
    line = ", ".join(names)
    return (line,) if line else ()


def _of_plan(plan: TablePlan, present: TableText | None) -> Explanation:
    projection, target = plan.projection, plan.target
    if target is None:
        return Explanation(plan.table, plan.version, "drop", (_GOES,), originals=plan.writes)
    values = {} if projection is None else projection.values
    answers = Answers() if projection is None else projection.answers
    where = None if projection is None else projection.where
    rows_change = plan.kind != "indexes" and (bool(values or plan.reads) or not (plan.indexes or plan.drops))
    return replace(
        _difference(plan.table, plan.version, present, target, rows_change=rows_change),
        kind="rows" if plan.update else plan.kind,
        values=tuple(_values(values, where, answers)),
        made=_lines(plan.indexes),
        dropped=_lines(plan.drops),
        made_again=_lines(plan.made_again),
        originals=plan.writes if plan.originals else None,
        comes_back=plan.reads,
    )


def _of_change(change: Change, version: int) -> Explanation:
    before, after = (None if text is None else parse_create_table(text) for text in (change.before, change.after))
    if change.table_goes:
        return Explanation(change.table, version, "drop", (_GOES,), originals=change.originals_table)
    if after is None:
        why = _ONLY_VALUES if change.values else _ONLY_INDEXES
        kind: Kind = "indexes" if change.only_indexes else "rows" if change.where else "rebuild"
        explained = Explanation(change.table, version, kind, (why,))
    else:
        explained = _difference(change.table, version, before, after, rows_change=bool(change.values))
    values = tuple(_values(change.values, change.where, Answers()))
    keeps = explained.kind in ("rebuild", "rows") and bool(explained.removed or explained.changed or change.values)
    originals = change.originals_table if keeps else None
    made, dropped = _lines(change.indexes), _lines(change.drops)
    return replace(explained, values=values, made=made, dropped=dropped, originals=originals)


def _difference(
    table: str, version: int, present: TableText | None, target: TableText, *, rows_change: bool
) -> Explanation:
    """What the two texts say; `why` is what ALTER TABLE cannot do."""
    if present is None:
        added = tuple(one_line(d.text) for d in target.definitions)
        return Explanation(table, version, "new", ("there is no such table",), added=added)
    return Explanation(
        table, version, "rebuild", tuple(_reasons(present, target, rows_change)),
        added=tuple(_only_in(target, present)),
        removed=tuple(_only_in(present, target)),
        changed=tuple(_changed(present, target)),
        moved=_moved(present, target),
        constraints=_gained(present, target),
    )  # fmt: skip


def _reasons(present: TableText, target: TableText, rows_change: bool) -> Iterator[str]:
    """What ALTER TABLE cannot do (sqlite.org/lang_altertable.html)."""
    changed = [c for c in target.columns if (old := present.definition(c)) and old.canonical != _text(target, c)]
    if changed:
        yield f"ALTER TABLE cannot change the definition of {', '.join(changed)}"
    new = [c for c in target.columns if present.definition(c) is None]
    unique = [c for c in new if {"unique", "primary"} & set(words(_text(target, c)))]
    if unique:
        yield f"ALTER TABLE cannot add a UNIQUE column: {', '.join(unique)}"
    if _gained(present, target):
        yield "ALTER TABLE cannot add a constraint of the table"
    stay = [c for c in target.columns if present.definition(c) is not None]
    if _moved(present, target) or [*target.columns] != [*stay, *new]:
        yield "ALTER TABLE adds columns only at the end"
    if present == target:
        yield _ONLY_VALUES if rows_change else _ONLY_INDEXES


def _text(table: TableText, column: str) -> str:
    found = table.definition(column)
    return "" if found is None else found.canonical


def _only_in(table: TableText, other: TableText) -> Iterator[str]:
    """The definitions of the columns that `other` has not."""
    for definition in table.definitions:
        if definition.column is not None and other.definition(definition.column) is None:
            yield one_line(definition.text)


def _changed(present: TableText, target: TableText) -> Iterator[tuple[str, str]]:
    for definition in target.definitions:
        stored = None if definition.column is None else present.definition(definition.column)
        if stored is not None and stored.canonical != definition.canonical:
            yield one_line(stored.text), one_line(definition.text)


def _moved(present: TableText, target: TableText) -> tuple[str, ...]:
    """The columns that stand in another order among those that stay."""
    before = [folded(c) for c in present.columns if target.definition(c) is not None]
    after = [c for c in target.columns if present.definition(c) is not None]
    return tuple(c for was, c in zip(before, after, strict=True) if was != folded(c))


def _gained(present: TableText, target: TableText) -> tuple[str, ...]:
    there = {d.canonical for d in present.constraints}
    return tuple(one_line(d.text) for d in target.constraints if d.canonical not in there)


def _values(values: Mapping[str, Value], where: str | None, answers: Answers) -> Iterator[tuple[str, str]]:
    only = f", only where {one_line(where)}" if where else ""
    for column, value in values.items():
        if isinstance(value, Mapped):
            yield column, _spelt(value.spellings, answers) + only
        elif (sql := value_sql(value, quote(column), answers, UNMAPPED)) != quote(column):
            yield column, one_line(sql) + only


def _spelt(spellings: Mapping[str, tuple[str, ...]], answers: Answers) -> str:
    given = ((name or "NULL", (spelling,)) for spelling, name in answers.map_values.items())
    return "; ".join(f"{name} from {', '.join(map(repr, accepted))}" for name, accepted in [*spellings.items(), *given])


def _lines(statements: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(one_line(s) for s in statements)
