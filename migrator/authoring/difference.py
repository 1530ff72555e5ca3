"""What is different between the schema that is there and a desired one, by meaning; a rename only where it is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain

from migrator.authoring.clauses import Clause, ColumnText, column_text, constraint_clause, options
from migrator.ddl import TableText, folded, parse_create_table, tokens
from migrator.errors import RefusedError
from migrator.schema import Schema, SchemaObject, is_virtual


@dataclass(frozen=True)
class Item:
    """One difference: `kind` is stable and machine-readable, `text` is for people."""

    kind: str
    text: str


@dataclass(frozen=True)
class TableDifference:
    """One table as it is (`before`, None: it is new) and as it shall be (`after`, None: it goes).

    `renamed` gives the old name of a column by the new one, `changed` the old definition. `indexes_dropped` and
    `indexes_added` hold an index that changes in both forms.
    """

    table: str
    before: TableText | None
    after: TableText | None
    added: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    changed: tuple[str, ...] = ()
    constraints_added: tuple[Clause, ...] = ()
    constraints_dropped: tuple[Clause, ...] = ()
    is_reordered: bool = False
    indexes_added: tuple[SchemaObject, ...] = ()
    indexes_dropped: tuple[SchemaObject, ...] = ()

    @property
    def is_redefined(self) -> bool:
        """Whether the table must be made anew, and not only its indexes."""
        if self.before is None or self.after is None:
            return False
        moved = self.added or self.dropped or self.renamed or self.changed or self.is_reordered
        constraints = self.constraints_added or self.constraints_dropped
        return bool(moved or constraints or options(self.before) != options(self.after))

    @property
    def items(self) -> tuple[Item, ...]:
        """Every difference, in words."""
        if self.before is None:
            return (Item("table_added", f"table {self.table} is new"), *self._index_items())
        if self.after is None:
            return (Item("table_dropped", f"table {self.table} goes"),)
        return (*self._column_items(self.before, self.after), *self._table_items(), *self._index_items())

    def _column_items(self, before: TableText, after: TableText) -> Iterator[Item]:
        of = f"of {self.table}"
        for name in self.added:
            yield Item("column_added", f"column {name} {of} is new")
        for name in self.dropped:
            yield Item("column_dropped", f"column {name} {of} goes")
        for new, old in self.renamed.items():
            yield Item("column_renamed", f"column {old} {of} becomes {new}")
        for name in self.changed:
            was, shall = _column(before, self.renamed.get(name, name)), _column(after, name)
            yield Item("column_changed", f"column {name} {of} changes: {_said(was)} becomes {_said(shall)}")
        if self.is_reordered:
            yield Item("columns_reordered", f"the columns {of} are in another order")

    def _table_items(self) -> Iterator[Item]:
        for clause in self.constraints_added:
            yield Item("constraint_added", f"table {self.table} gets {clause.text}")
        for clause in self.constraints_dropped:
            yield Item("constraint_dropped", f"table {self.table} loses {clause.text}")
        was, shall = (options(text) if text else frozenset() for text in (self.before, self.after))
        for option in sorted(was ^ shall):
            verb = "becomes" if option in shall else "is no more"
            yield Item("table_option", f"table {self.table} {verb} {option.upper()}")

    def _index_items(self) -> Iterator[Item]:
        added, dropped = ({folded(o.name): o for o in found} for found in (self.indexes_added, self.indexes_dropped))
        for key, index in (dropped | added).items():
            change = "changes" if key in added and key in dropped else "is new" if key in added else "goes"
            kind = {"changes": "index_changed", "is new": "index_added", "goes": "index_dropped"}[change]
            yield Item(kind, f"index {index.name} of {self.table} {change}")


@dataclass(frozen=True)
class Difference:
    """The tables that differ, in the order of the desired schema and those that go last; and every other object."""

    tables: tuple[TableDifference, ...]
    others: tuple[Item, ...] = ()

    @property
    def items(self) -> tuple[Item, ...]:
        """Every difference, in words; empty where both schemas mean the same."""
        return (*chain.from_iterable(table.items for table in self.tables), *self.others)


def compare_schemas(now: Schema, desired: Schema, renames: Mapping[str, str] | None = None) -> Difference:
    """What it takes to get from `now` to `desired`. Layout, case of names and the order of clauses do not count.

    `renames` says which columns are the same under another name: {"table.old": "table.new"}. Tables of a virtual
    table's own are not looked at. Raises RefusedError for a rename of what is not there.
    """
    inner = inner_tables(now) | inner_tables(desired)
    there = {folded(name): name for name in now.tables if folded(name) not in inner}
    wanted = {folded(name): name for name in desired.tables if folded(name) not in inner}
    told = _told(now, desired, renames or {})
    found = [_new_table(desired, name) if key not in there else _table(now, desired, name, told.get(key, {}))
             for key, name in wanted.items()]  # fmt: skip
    found += [TableDifference(name, _text(now, name), None) for key, name in there.items() if key not in wanted]
    return Difference(tuple(table for table in found if table.items), tuple(_others(now, desired)))


def _new_table(desired: Schema, name: str) -> TableDifference:
    return TableDifference(name, None, _text(desired, name), indexes_added=desired.on_table(name, "index"))


def _table(now: Schema, desired: Schema, name: str, told: Mapping[str, str]) -> TableDifference:
    """`told` gives the old name of a column by the new one, both folded."""
    before, after = _text(now, name), _text(desired, name)
    old = {folded(c): c for c in before.columns}
    source = {c: told.get(folded(c), folded(c)) for c in after.columns}
    kept = [c for c in after.columns if source[c] in old]
    order = [key for key in old if key in source.values()]
    was, shall = before.constraints, after.constraints
    meant_was = {constraint_clause(d).meaning(before.columns) for d in was}
    meant_shall = {constraint_clause(d).meaning(after.columns) for d in shall}
    indexes = [{_index_meaning(o): o for o in schema.on_table(name, "index")} for schema in (now, desired)]
    return TableDifference(
        before.name, before, after,
        added=tuple(c for c in after.columns if c not in kept),
        dropped=tuple(c for key, c in old.items() if key not in source.values()),
        renamed={c: old[source[c]] for c in kept if source[c] != folded(c)},
        changed=tuple(c for c in kept if not _same(_column(before, source[c]), before, _column(after, c), after)),
        constraints_added=tuple(
            clause for d in shall if (clause := constraint_clause(d)).meaning(after.columns) not in meant_was
        ),
        constraints_dropped=tuple(
            clause for d in was if (clause := constraint_clause(d)).meaning(before.columns) not in meant_shall
        ),
        is_reordered=[source[c] for c in kept] != order,
        indexes_added=tuple(o for meant, o in indexes[1].items() if meant not in indexes[0]),
        indexes_dropped=tuple(o for meant, o in indexes[0].items() if meant not in indexes[1]),
    )  # fmt: skip


def _same(was: ColumnText, before: TableText, shall: ColumnText, after: TableText) -> bool:
    return was.meaning(before.columns)[1:] == shall.meaning(after.columns)[1:]


def _said(column: ColumnText) -> str:
    """The definition without the name, on one line."""
    text = " ".join([column.type, *(" ".join(clause.text.split()) for clause in column.clauses)]).strip()
    return text or "no type"


def _column(text: TableText, name: str) -> ColumnText:
    definition = text.definition(name)
    if definition is None:
        raise RefusedError(f"table {text.name} has no column {name}")
    return column_text(definition)


def _text(schema: Schema, name: str) -> TableText:
    found = schema.table(name)
    if found is None:
        raise RefusedError(f"the schema has no table {name}")
    return parse_create_table(found.sql)


def inner_tables(schema: Schema) -> frozenset[str]:
    """The tables in which virtual tables keep what is theirs, folded; sqlite.org/vtab.html#the_xshadowname_method."""
    owners = [folded(o.name) + "_" for o in schema.objects if o.kind == "table" and is_virtual(o.sql)]
    return frozenset(folded(name) for name in schema.tables if folded(name).startswith(tuple(owners)))


def _index_meaning(index: SchemaObject) -> str:
    """Its statement, without what SQLite does not store of it."""
    text = " ".join(token.canonical for token in tokens(index.sql))
    return text.replace(" index if not exists ", " index ", 1).removesuffix(" ;")


def _others(now: Schema, desired: Schema) -> Iterator[Item]:
    """Views, triggers and virtual tables."""
    there, wanted = ({(_kind(o), folded(o.name)): o for o in schema.objects if _kind(o)} for schema in (now, desired))
    for (kind, key), found in (there | wanted).items():
        was, shall = there.get((kind, key)), wanted.get((kind, key))
        if was is None or shall is None:
            verb, change = ("added", "is new") if was is None else ("dropped", "goes")
        elif was.canonical[2:] != shall.canonical[2:]:
            verb, change = "changed", "changes"
        else:
            continue
        yield Item(f"{kind.replace(' ', '_')}_{verb}", f"{kind} {found.name} {change}")


def _kind(found: SchemaObject) -> str:
    """Empty for a table or an index, which the tables' differences hold."""
    if found.kind in ("view", "trigger"):
        return found.kind
    return "virtual table" if found.kind == "table" and is_virtual(found.sql) else ""


def _told(now: Schema, desired: Schema, renames: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """The old name of each renamed column by the new one, by table; all folded."""
    told: dict[str, dict[str, str]] = {}
    for old, new in renames.items():
        table, was = _split(now, old)
        other, shall = _split(desired, new)
        if table != other:
            raise RefusedError(f"the rename {old}={new} leads to another table", "name two columns of one table")
        before, after = _text(now, table), _text(desired, table)
        if before.definition(shall) is not None or after.definition(was) is not None:
            raise RefusedError(
                f"the rename {old}={new} is none: {was!r} must be only in the database and {shall!r} only in the "
                "desired schema",
                "correct the rename, or rename in two migrations",
            )
        told.setdefault(table, {})[folded(shall)] = folded(was)
    return told


def _split(schema: Schema, dotted: str) -> tuple[str, str]:
    """Table and column, folded. Raises RefusedError where the schema has no such column."""
    for name in schema.tables:
        column = dotted[len(name) + 1 :]
        if folded(dotted).startswith(folded(name) + ".") and _text(schema, name).definition(column) is not None:
            return folded(name), column
    raise RefusedError(
        f"there is no column {dotted!r} to rename",
        "write table.column on both sides; a table is renamed by two migrations (docs/migrations.md)",
    )
