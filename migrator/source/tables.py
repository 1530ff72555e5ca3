"""The tables that the source makes: where, by whom, and in which form."""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace

from migrator.ddl import DdlError, Definition, TableText, canonical, folded, parse_create_table, tokens
from migrator.schema import Schema
from migrator.source.kinds import alteration
from migrator.source.spelling import spelled
from migrator.source.statements import FoundStatement
from migrator.source.values import Place

_CLAUSES = frozenset(
    {"constraint", "primary", "not", "unique", "check", "default", "collate", "references", "generated"}
)
"""With what a constraint of a column begins (sqlite.org/lang_createtable.html)."""


@dataclass(frozen=True)
class CreatedTable:
    """A CREATE TABLE of the source, with what its ALTER TABLE statements add; `is_run` is whether a call was seen to
    run it. `altered_at` is one that changes the table otherwise, or in a way that only a run knows."""

    place: Place
    text: TableText
    is_run: bool
    altered_at: Place | None = None


@dataclass(frozen=True)
class SourceTable:
    """One table and every place of the source that makes it.

    `owner` is the file that should be the only one to do so: of those that make it, the one that makes the most
    tables, because that is where a reader looks for the schema; the first by path where two make as many.
    `differences` are, by place, how a statement of another file or another place of the owner makes another table
    than the owner's first.
    """

    name: str
    places: tuple[Place, ...]
    owner: str
    differences: tuple[tuple[Place, tuple[str, ...]], ...]

    @property
    def is_made_twice(self) -> bool:
        return len(self.places) > 1


def created_tables(statements: Iterable[FoundStatement]) -> tuple[CreatedTable, ...]:
    """Every CREATE TABLE with a definition list that the source spells out; no virtual and no temporary tables."""
    found: list[CreatedTable] = []
    added: dict[str, list[str]] = defaultdict(list)
    altered_at: dict[str, Place] = {}
    for statement in statements:
        sql, altered = statement.text.plain, alteration(statement)
        if altered is not None and statement.is_run:
            if sql is not None and altered.added:
                added[folded(altered.table)].append(sql)
            else:
                altered_at.setdefault(folded(altered.table), statement.place)
        if sql is not None:
            with suppress(DdlError):
                found.append(CreatedTable(statement.place, parse_create_table(sql), statement.is_run))
    for index, each in enumerate(found):
        name = folded(each.text.name)
        found[index] = replace(each, text=_with(each.text, added[name]), altered_at=altered_at.get(name))
    return tuple(found)


def _with(text: TableText, added: Sequence[str]) -> TableText:
    """The table with the columns that the ALTER TABLE statements `added` give it."""
    if not added:
        return text
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for sql in (text.sql, *added):
            # The source itself expects it to fail where the column is there.
            with suppress(sqlite3.Error):
                connection.execute(sql)
        made = connection.execute("SELECT sql FROM sqlite_master WHERE type = 'table'").fetchone()
        return text if made is None else parse_create_table(made[0])


def source_tables(created: Collection[CreatedTable]) -> tuple[SourceTable, ...]:
    """The tables of the source by name."""
    tables_of = Counter(file for file, _ in {(c.place.file, folded(c.text.name)) for c in created})
    by_name: dict[str, list[CreatedTable]] = defaultdict(list)
    for each in created:
        by_name[folded(each.text.name)].append(each)
    found: list[SourceTable] = []
    for name in sorted(by_name):
        # Of several ways to build one statement the first stands for all.
        places = {c.place: c for c in reversed(by_name[name])}
        made = sorted(places.values(), key=lambda c: (-tables_of[c.place.file], c.place))
        first = made[0]
        differing = ((c.place, differences(c.text, first.text)) for c in made[1:])
        found.append(
            SourceTable(
                first.text.name,
                tuple(c.place for c in made),
                first.place.file,
                tuple((place, what) for place, what in differing if what),
            )
        )
    return tuple(found)


def recreated(
    created: Iterable[CreatedTable], schema: Schema, tables: Collection[str] | None = None
) -> tuple[tuple[CreatedTable, tuple[str, ...]], ...]:
    """What the source would make otherwise than `schema` has it, on a new file, and how; of `tables` alone if given.

    With the schema after a migration, and the tables that it concerns: where the application would bring the old
    schema back.
    """
    wanted = None if tables is None else {folded(name) for name in tables}
    found: list[tuple[CreatedTable, tuple[str, ...]]] = []
    for each in created:
        if wanted is None or folded(each.text.name) in wanted:
            try:
                there = schema.text(each.text.name)
            except DdlError:
                continue
            what = () if there is None else differences(each.text, there)
            if what:
                found.append((each, what))
    return tuple(found)


def differences(found: TableText, wanted: TableText) -> tuple[str, ...]:
    """What the table `found` has otherwise than `wanted`, in words; empty where both mean the same."""
    return tuple(_differences(found, wanted))


def _differences(found: TableText, wanted: TableText) -> Iterator[str]:
    for definition in wanted.definitions:
        if definition.column is None:
            continue
        own = found.definition(definition.column)
        if own is None:
            yield f"lacks column {_spelled(definition)}"
        elif _clauses(own) != _clauses(definition):
            yield f"has column {_spelled(own)}, not {_spelled(definition)}"
    for definition in found.definitions:
        if definition.column is not None and wanted.definition(definition.column) is None:
            yield f"has column {_spelled(definition)}"
    common = [folded(c) for c in wanted.columns if found.definition(c) is not None]
    if [folded(c) for c in found.columns if wanted.definition(c) is not None] != common:
        yield "has its columns in another order"
    theirs, own_constraints = (Counter(d.canonical for d in t.constraints) for t in (wanted, found))
    yield from (f"lacks {_spelled(d)}" for d in wanted.constraints if d.canonical not in own_constraints)
    yield from (f"has {_spelled(d)}" for d in found.constraints if d.canonical not in theirs)
    if canonical(found.suffix) != canonical(wanted.suffix):
        yield f"ends with {found.suffix.strip() or 'nothing'}, not {wanted.suffix.strip() or 'nothing'}"


def _spelled(definition: Definition) -> str:
    return spelled(definition.text)


def _clauses(definition: Definition) -> Counter[str]:
    """A column's name with its type, and its constraints, whose order means nothing."""
    clauses: list[list[str]] = [[]]
    depth = 0
    for token in tokens(definition.text):
        depth += (token.text == "(") - (token.text == ")")
        if depth == 0 and token.keyword in _CLAUSES and clauses[-1] != ["constraint"]:
            clauses.append([])
        clauses[-1].append(token.canonical)
    return Counter(" ".join(clause) for clause in clauses)
