"""From the difference of one table to the Change that makes it: as far as two schemas say what becomes of its rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from migrator.authoring.affinity import Affinity, affinity, stored_as
from migrator.authoring.clauses import column_text, options
from migrator.authoring.difference import TableDifference
from migrator.authoring.keywords import as_sql
from migrator.ddl import TableText, folded, tokens
from migrator.errors import RefusedError
from migrator.migration import Back
from migrator.schema import shape_of


@dataclass(frozen=True)
class Undecided:
    """Something that a person must decide: `what` is open, `way_out` how to close it."""

    what: str
    way_out: str

    def __str__(self) -> str:
        return f"{self.what}; {self.way_out}"


@dataclass(frozen=True)
class Draft:
    """The values of a Change, forth and back, and what they leave open."""

    values: dict[str, str]
    back: dict[str, Back]
    undecided: tuple[Undecided, ...]


def draft(table: TableDifference) -> Draft:
    """What becomes of the columns of a table that is made anew.

    A column of another type holds what SQLite would make of its values, a renamed one those of the old name. What the
    old table requires of a row that was written since is its DEFAULT. Raises RefusedError where the key changes.
    """
    if table.before is None or table.after is None:
        raise RefusedError(f"table {table.table} is new, or goes: there are no rows to convert")
    columns = _Columns(table, _Side(table.before), _Side(table.after))
    return Draft(columns.values(), columns.back(), tuple(columns.questions()))


class _Side:
    """A table as it is, or as it shall be."""

    def __init__(self, text: TableText) -> None:
        self.text, self.shape = text, shape_of(text)
        self._is_strict = "strict" in options(text)

    def affinity(self, name: str) -> Affinity:
        column = self.shape.column(name)
        return affinity(column.type if column else "", strict=self._is_strict)

    def requires(self, name: str) -> bool:
        return folded(name) in {folded(c) for c in self.shape.not_null}

    def default(self, name: str) -> str | None:
        """The DEFAULT as the column stores it; None where it has none, NULL, or one that is not constant."""
        column = self.shape.column(name)
        return column.default if column and column.default != "(NULL)" else None

    def computed_default(self, name: str) -> str | None:
        """What the DEFAULT says where it is not constant, as SQL."""
        definition = self.text.definition(name)
        for clause in column_text(definition).of("DEFAULT") if definition else ():
            start = next(token.end for token in tokens(clause.text) if token.keyword == "default")
            column = self.shape.column(name)
            return clause.text[start:].strip() if column and column.default is None else None
        return None


class _Columns:
    """The columns of one table on both sides."""

    def __init__(self, table: TableDifference, was: _Side, shall: _Side) -> None:
        self._table, self._was, self._shall = table, was, shall
        # Stored on both sides: new name, old name.
        self._kept = [
            (column.name, old)
            for column in shall.shape.columns
            if was.shape.column(old := table.renamed.get(column.name, column.name)) is not None
        ]
        key = {folded(c) for c in shall.shape.key}
        for new, old in self._kept:
            if folded(new) in key and stored_as("", was.affinity(old), shall.affinity(new)):
                raise RefusedError(
                    f"column {new} tells its rows from each other, and changes its type", "keep the type of the key"
                )

    def values(self) -> dict[str, str]:
        """What is not stored as it is."""
        found: dict[str, str] = {}
        for new, old in self._kept:
            sql = stored_as(as_sql(old), self._was.affinity(old), self._shall.affinity(new))
            if sql or folded(new) != folded(old):
                found[new] = sql or as_sql(old)
        return found

    def back(self) -> dict[str, Back]:
        """The same for the way back."""
        found: dict[str, Back] = {}
        for new, old in self._kept:
            sql = stored_as(as_sql(new), self._shall.affinity(new), self._was.affinity(old))
            default = self._was.default(old)
            if self._is_relaxed(new, old) and default:
                sql = f"coalesce({sql or as_sql(new)}, {default})"
            if sql or folded(new) != folded(old):
                found[old] = Back(of=new, sql=sql or as_sql(new))
        return found

    def questions(self) -> Iterator[Undecided]:
        """What neither schema says."""
        of = f"of {self._table.table}"
        for new in self._table.added:
            if self._shall.requires(new) and not self._shall.default(new):
                yield Undecided(
                    f"column {new} {of} is NOT NULL without a constant DEFAULT: the rows that are there need a value",
                    f"declare values={{{new!r}: ...}} as SQL over the row, or give the column a constant DEFAULT",
                )
        for old in self._table.dropped:
            if self._was.requires(old) and not self._was.default(old):
                yield _way_back(old, f"column {old} {of} goes, and was NOT NULL without a constant DEFAULT")
        for new, old in self._kept:
            if self._is_relaxed(new, old) and not self._was.default(old):
                yield _way_back(old, f"column {new} {of} may be NULL from now on")
        for new in self._table.added:
            said = self._shall.computed_default(new)
            if said is not None and not self._shall.requires(new):
                yield Undecided(
                    f"the DEFAULT of column {new} {of}, {said}, is not constant: the rows that are there would be NULL",
                    f"declare values={{{new!r}: ...}} as SQL over the row, or give the column a constant DEFAULT",
                )
        made = {folded(c) for c in self._shall.shape.generated} ^ {folded(c) for c in self._was.shape.generated}
        for name in self._table.changed:
            if folded(name) in made:
                yield Undecided(
                    f"column {name} {of} becomes computed, or is no more: what its rows hold is not declared",
                    f"declare values={{{name!r}: ...}}, or what the way back gives",
                )

    def _is_relaxed(self, new: str, old: str) -> bool:
        return self._was.requires(old) and not self._shall.requires(new)


def _way_back(old: str, what: str) -> Undecided:
    return Undecided(
        f"{what}: on the way back, also on an automatic restore, rows written since need a value",
        f"declare back={{{old!r}: Back(of=..., sql=...)}} as SQL over the new row",
    )
