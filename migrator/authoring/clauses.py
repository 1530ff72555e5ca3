"""A table's definition in parts, compared by meaning: layout, and the order of a column's clauses, do not count."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from migrator.ddl import Definition, TableText, Token, folded, tokens, words

_STARTS = frozenset(
    {"constraint", "primary", "not", "null", "unique", "check", "default", "collate", "references", "generated", "as"}
)
"""sqlite.org/syntax/column-constraint.html."""
_GOES_ON = frozenset({("not", "null"), ("set", "null"), ("set", "default"), ("default", "null"), ("always", "as")})
_KINDS = {
    "primary": "PRIMARY KEY",
    "not": "NOT NULL",
    "unique": "UNIQUE",
    "check": "CHECK",
    "default": "DEFAULT",
    "collate": "COLLATE",
    "references": "REFERENCES",
    "foreign": "FOREIGN KEY",
    "generated": "GENERATED",
    "as": "GENERATED",
}


@dataclass(frozen=True)
class Clause:
    """A constraint of a column or of a table: `kind` is how its clause begins, `text` the clause as written."""

    kind: str
    text: str

    @property
    def expression(self) -> str:
        """What stands in the outer parentheses; "" where there are none."""
        marks = [token for token in tokens(self.text) if token.text in ("(", ")")]
        return self.text[marks[0].end : marks[-1].start] if marks else ""

    def meaning(self, columns: Iterable[str]) -> str:
        """Equal = the same to SQLite. In an expression a name in double quotes that is none of the table's `columns`
        is a string, of which every character counts."""
        known = {folded(c) for c in columns}
        exact = self.kind in ("CHECK", "DEFAULT", "GENERATED")
        return " ".join(
            token.text if exact and token.text[0] == '"' and folded(token.name or "") not in known else token.canonical
            for token in tokens(self.text)
        )


@dataclass(frozen=True)
class ColumnText:
    """A column's definition: its name, its declared type as written (""), its clauses in their order."""

    name: str
    type: str
    clauses: tuple[Clause, ...]

    def meaning(self, columns: Sequence[str]) -> tuple[object, ...]:
        """Equal = the same column to SQLite."""
        type_ = " ".join(token.canonical for token in tokens(self.type))
        # A bare NULL says nothing.
        said = sorted(c.meaning(columns) for c in self.clauses if c.kind != "NULL")
        return folded(self.name), type_, tuple(said)

    def of(self, kind: str) -> tuple[Clause, ...]:
        """The clauses of one kind."""
        return tuple(c for c in self.clauses if c.kind == kind)


def column_text(definition: Definition) -> ColumnText:
    """Splits the definition of a column, as `parse_create_table` gives it, at its clauses."""
    found = list(tokens(definition.text))
    starts = [*_clause_starts(found), len(found)]
    parts = [found[a:b] for a, b in pairwise(starts)]
    clauses = tuple(Clause(_kind(part), _between(definition.text, part)) for part in parts)
    return ColumnText(definition.column or "", _between(definition.text, found[1 : starts[0]]), clauses)


def constraint_clause(definition: Definition) -> Clause:
    """A table constraint."""
    found = list(tokens(definition.text))
    return Clause(_kind(found), _between(definition.text, found))


def all_clauses(text: TableText) -> tuple[Clause, ...]:
    """The clauses of every column and the constraints of the table, in their order."""
    return tuple(
        clause
        for definition in text.definitions
        for clause in (
            (constraint_clause(definition),) if definition.column is None else column_text(definition).clauses
        )
    )


def table_meaning(text: TableText) -> tuple[object, ...]:
    """Equal = the same table to SQLite, whatever the layout and the order of its constraints."""
    columns = tuple(column_text(d).meaning(text.columns) for d in text.definitions if d.column is not None)
    constraints = sorted(constraint_clause(d).meaning(text.columns) for d in text.constraints)
    return columns, tuple(constraints), options(text)


def options(text: TableText) -> frozenset[str]:
    """What stands after the definitions: "strict", "without rowid"; empty for most tables."""
    return frozenset({"strict"} & set(words(text.suffix))) | ({"without rowid"} if text.without_rowid else frozenset())


def _clause_starts(found: Sequence[Token]) -> list[int]:
    """The numbers of the tokens with which the clauses of a column begin."""
    starts: list[int] = []
    depth = 0
    for index, token in enumerate(found):
        depth += (token.text == "(") - (token.text == ")")
        if index == 0 or depth or token.keyword not in _STARTS:
            continue
        before = found[index - 1].keyword
        named = "constraint" in (before, found[index - 2].keyword if index > 2 else None)
        deferrable = token.keyword == "not" and [t.keyword for t in found[index + 1 : index + 2]] == ["deferrable"]
        if not (named or deferrable or (before, token.keyword) in _GOES_ON):
            starts.append(index)
    return starts


def _kind(part: Sequence[Token]) -> str:
    first = part[2] if part[0].keyword == "constraint" and len(part) > 2 else part[0]
    return _KINDS.get(first.keyword or "", (first.keyword or "").upper())


def _between(sql: str, part: Sequence[Token]) -> str:
    return sql[part[0].start : part[-1].end] if part else ""
