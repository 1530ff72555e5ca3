"""Reading CREATE statements as text, so that whatever nobody names survives a rebuild.

SQLite keeps the text of every CREATE statement and nothing else: collations, CHECKs, conflict clauses and
comments exist only there, and no PRAGMA gives them back. The grammar read here is that of
sqlite.org/lang_createtable.html, as far as splitting a definition list needs it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from migrator.errors import MigratorError

_TOKEN = re.compile(
    r"""
    (?P<space>\s+ | --[^\n]*(?:\n|$) | /\*.*?(?:\*/|$))
  | (?P<string>'(?:[^']|'')*')
  | (?P<quoted>"(?:[^"]|"")*" | `(?:[^`]|``)*` | \[[^\]]*\])
  | (?P<word>[^\W\d][\w$]*)
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_CONSTRAINT_STARTS = frozenset({"constraint", "primary", "unique", "check", "foreign"})


class DdlError(MigratorError):
    """A CREATE TABLE text that cannot be split into its definitions."""


@dataclass(frozen=True)
class Token:
    """One token: its kind (space, string, quoted, word, other), its text and where it starts."""

    kind: str
    text: str
    start: int

    @property
    def name(self) -> str | None:
        """The identifier that this token spells, without quotes; None where it is none."""
        if self.kind == "word":
            return self.text
        if self.kind == "quoted":
            return unquoted(self.text)
        return None

    @property
    def canonical(self) -> str:
        """The token as SQLite understands it: case and quotes of identifiers do not count."""
        return self.text if self.name is None else self.name.casefold()


@dataclass(frozen=True)
class Definition:
    """One entry of a CREATE TABLE's list: a column (`column` is its name) or a table constraint (None)."""

    column: str | None
    text: str

    @property
    def canonical(self) -> str:
        return canonical(self.text)


@dataclass(frozen=True)
class TableText:
    """A CREATE TABLE statement in parts: `definitions` in their order, `suffix` such as WITHOUT ROWID."""

    name: str
    definitions: tuple[Definition, ...]
    suffix: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(d.column for d in self.definitions if d.column is not None)

    @property
    def constraints(self) -> tuple[Definition, ...]:
        return tuple(d for d in self.definitions if d.column is None)

    @property
    def autoincrement(self) -> bool:
        return any("autoincrement" in words(d.text) for d in self.definitions)

    @property
    def without_rowid(self) -> bool:
        return {"without", "rowid"} <= set(words(self.suffix))

    def definition(self, column: str) -> Definition | None:
        """The definition of `column`, found without regard to case; None where there is none."""
        wanted = column.casefold()
        return next((d for d in self.definitions if d.column is not None and d.column.casefold() == wanted), None)

    def named(self, name: str) -> TableText:
        return replace(self, name=name)

    @property
    def sql(self) -> str:
        body = ",\n    ".join(d.text for d in self.definitions)
        return f"CREATE TABLE {quote(self.name)} (\n    {body}\n){' ' + self.suffix if self.suffix else ''}"


def quote(identifier: str) -> str:
    """`identifier` as a quoted SQL name, whatever characters it holds."""
    return '"' + identifier.replace('"', '""') + '"'


def unquoted(text: str) -> str:
    """The name inside a quoted identifier (double quotes, back-ticks or brackets)."""
    inner, mark = text[1:-1], text[-1]
    return inner if mark == "]" else inner.replace(mark * 2, mark)


def tokens(sql: str) -> Iterator[Token]:
    """The tokens of `sql` without white space and comments."""
    for match in _TOKEN.finditer(sql):
        if match.lastgroup != "space":
            yield Token(match.lastgroup or "other", match.group(), match.start())


def canonical(sql: str) -> str:
    """`sql` without comments, white space, quotes round names and case of names: equal = the same to SQLite."""
    return " ".join(token.canonical for token in tokens(sql))


def words(sql: str) -> tuple[str, ...]:
    """Every identifier or keyword of `sql`, folded: what the text may name."""
    return tuple(token.name.casefold() for token in tokens(sql) if token.name is not None)


def parse_create_table(sql: str) -> TableText:
    """Splits a CREATE TABLE statement.

    Raises DdlError for CREATE TABLE .. AS SELECT (SQLite never stores one), virtual tables and anything else.
    """
    found = list(tokens(sql))
    opening = next((i for i, token in enumerate(found) if token.text == "("), None)
    head = [token.canonical for token in found[:opening]]
    if opening is None or head[:1] != ["create"] or "table" not in head or "virtual" in head:
        raise DdlError(f"not a CREATE TABLE statement with a definition list: {sql[:60]!r}")
    definitions, closing = _definitions(sql, found, opening)
    name = found[opening - 1].name
    if name is None:
        raise DdlError(f"no table name before the definition list: {sql[:60]!r}")
    suffix = " ".join(token.text for token in found[closing + 1 :] if token.text != ";")
    return TableText(name, tuple(definitions), suffix)


def _definitions(sql: str, found: list[Token], opening: int) -> tuple[list[Definition], int]:
    """The entries between the outer parentheses, and the index of the closing one."""
    definitions: list[Definition] = []
    depth, first = 0, opening + 1
    for index in range(opening, len(found)):
        token = found[index]
        depth += (token.text == "(") - (token.text == ")")
        if depth == 0 or (depth == 1 and token.text == ","):
            entry = found[first:index]
            if not entry:
                raise DdlError(f"an empty entry in the definition list of {sql[:60]!r}")
            definitions.append(_definition(sql, entry))
            first = index + 1
        if depth == 0:
            return definitions, index
    raise DdlError(f"the definition list of {sql[:60]!r} is not closed")


def _definition(sql: str, entry: list[Token]) -> Definition:
    last = entry[-1]
    text = sql[entry[0].start : last.start + len(last.text)]
    is_constraint = entry[0].kind == "word" and entry[0].text.casefold() in _CONSTRAINT_STARTS
    return Definition(None if is_constraint else (entry[0].name or unquoted(entry[0].text)), text)
