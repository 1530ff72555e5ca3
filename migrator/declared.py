"""What the declarations say a table is at a version, and in what a stored table differs from that."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from migrator.ddl import TableText, canonical, folded, parse_create_table
from migrator.migration import Change, Migration
from migrator.schema import Shape, index_name, shape_of

NO_COLUMN = "no such column"


@dataclass(frozen=True)
class Declared:
    """A table at a version: `text` (None: no such table), its declared `indexes`.

    `kept` are the columns, folded, of which a migration keeps the definition that it finds.
    """

    table: str
    text: TableText | None
    indexes: tuple[str, ...]
    kept: frozenset[str]

    def index(self, name: str) -> str | None:
        """The declared text of index `name`, found without regard to case."""
        return next((sql for sql in self.indexes if folded(index_name(sql)) == folded(name)), None)


@dataclass(frozen=True)
class Difference:
    """`what` ("column tags") is `now` one thing and `expected` to be another."""

    what: str
    now: str
    expected: str


def declared_tables(migrations: tuple[Migration, ...], version: int) -> tuple[Declared, ...]:
    """Every table whose text some migration declares, as it is once `version` is the last one applied."""
    changes = [(m.version, change) for m in migrations for change in m.changes]
    found = []
    for name in dict.fromkeys(change.table for _, change in changes if change.declares_form):
        mine = [(number, change) for number, change in changes if folded(change.table) == folded(name)]
        done = [change for number, change in mine if number <= version]
        forms = [change for change in done if change.declares_form]
        last = forms[-1] if forms else next(change for _, change in mine if change.declares_form)
        text = last.after if forms else last.before
        indexes = indexes_after(done)
        found.append(Declared(name, None if text is None else parse_create_table(text), indexes, _kept(last)))
    return tuple(found)


def indexes_after(changes: Iterable[Change]) -> tuple[str, ...]:
    """The declared indexes that one table has after its `changes`, made in their order."""
    standing: tuple[str, ...] = ()
    for change in changes:
        dropped = {canonical(sql) for sql in change.drops}
        standing = (*(sql for sql in standing if canonical(sql) not in dropped), *change.indexes)
    return standing


def _kept(change: Change) -> frozenset[str]:
    if change.before is None or change.after is None:
        return frozenset()
    before, after = parse_create_table(change.before), parse_create_table(change.after)
    same = {d.canonical for d in before.definitions} & {d.canonical for d in after.definitions}
    return frozenset(folded(d.column) for d in after.definitions if d.column is not None and d.canonical in same)


def differences(present: TableText, declared: Declared) -> Iterator[Difference]:
    """In what a stored table is not the declared one, as a migration would see it.

    Of a column that it keeps as it finds it only the type counts, and constraints beyond the declared ones stay.
    Raises DdlError where SQLite would not take the stored text.
    """
    if declared.text is None:
        return
    now, wanted = shape_of(present), shape_of(declared.text)
    for definition in declared.text.definitions:
        if definition.column is None:
            if definition.canonical not in {d.canonical for d in present.constraints}:
                yield Difference("constraint", "missing", one_line(definition.text))
            continue
        stored = present.definition(definition.column)
        if stored is None:
            yield Difference(f"column {definition.column}", "missing", one_line(definition.text))
        elif not _fits(stored.canonical == definition.canonical, definition.column, now, wanted, declared):
            yield Difference(f"column {definition.column}", one_line(stored.text), one_line(definition.text))
    for column in present.columns:
        stored = present.definition(column)
        if stored is not None and declared.text.definition(column) is None:
            yield Difference(f"column {column}", one_line(stored.text), NO_COLUMN)
    yield from _order(present, declared.text)
    if canonical(present.suffix) != canonical(declared.text.suffix):
        yield Difference("suffix", one_line(present.suffix) or "none", one_line(declared.text.suffix) or "none")


def _fits(same_text: bool, column: str, now: Shape, wanted: Shape, declared: Declared) -> bool:
    if same_text or folded(column) not in declared.kept:
        return same_text
    stored, expected = now.column(column), wanted.column(column)
    return stored is not None and expected is not None and stored.type.upper() == expected.type.upper()


def _order(present: TableText, declared: TableText) -> Iterator[Difference]:
    """An application may read columns by their place."""
    stored = [c for c in present.columns if declared.definition(c) is not None]
    wanted = [c for c in declared.columns if present.definition(c) is not None]
    if [*map(folded, stored)] != [*map(folded, wanted)]:
        yield Difference("order of the columns", ", ".join(stored), ", ".join(wanted))


def one_line(sql: str) -> str:
    """`sql` for people, without line breaks."""
    return " ".join(sql.split())
