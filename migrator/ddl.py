"""Reading CREATE statements as text, so that whatever nobody names survives a rebuild.

SQLite keeps the text of every CREATE statement and nothing else: collations, CHECKs, conflict clauses and
comments exist only there, and no PRAGMA gives them back. The grammar read here is that of
sqlite.org/lang_createtable.html, as far as splitting a definition list needs it; white space and the characters
of a name are those of SQLite's tokenizer, not Python's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from migrator.errors import RefusedError

_TOKEN = re.compile(
    r"""
    (?P<space>[ \t\n\f\r]+ | --[^\n]*(?:\n|$) | /\*.*?(?:\*/|$))
  | (?P<string>'[^']*(?:''[^']*)*')
  | (?P<quoted>"[^"]*(?:""[^"]*)*" | `[^`]*(?:``[^`]*)*` | \[[^\]]*(?:\]|$))
  | (?P<word>[A-Za-z_\u0080-\U0010ffff][A-Za-z0-9_$\u0080-\U0010ffff]*)
  | (?P<other>[0-9][A-Za-z0-9_.]* | .)
    """,
    re.VERBOSE | re.DOTALL,
)
_REMARK = re.compile(r"[ \t]*(?:--[^\n]*|/\*(?:(?!\*/).)*\*/[ \t]*)\n", re.DOTALL)
_PLAIN = re.compile(r"[A-Za-z_\u0080-\U0010ffff][A-Za-z0-9_$\u0080-\U0010ffff]*")
_TEXTS_KEPT = 2000
"""Of a schema: it is looked at again under the write lock."""
_CONSTRAINT_STARTS = frozenset({"constraint", "primary", "unique", "check", "foreign"})
_ASCII_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


class DdlError(RefusedError):
    """A CREATE TABLE text that cannot be understood."""


@dataclass(frozen=True)
class Token:
    """One token: its kind (space, string, quoted, word, other), its text and where it starts."""

    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)

    @property
    def name(self) -> str | None:
        """The identifier that this token spells, without quotes; None where it is none."""
        if self.kind == "word":
            return self.text
        return unquoted(self.text) if self.kind == "quoted" else None

    @property
    def keyword(self) -> str | None:
        """The token folded where it can be a keyword, which a quoted name never is."""
        return folded(self.text) if self.kind == "word" else None

    @property
    def canonical(self) -> str:
        """The token as SQLite understands it: case and needless quotes of identifiers do not count."""
        if self.name is None:
            return self.text
        return folded(self.name if self.kind == "word" or _PLAIN.fullmatch(self.name) else quote(self.name))


@dataclass(frozen=True)
class Definition:
    """One entry of a CREATE TABLE's list: a column (`column` is its name) or a table constraint (None).

    `text` starts with the white space and comments before it; `remark` is a comment after it, on its line.
    """

    column: str | None
    text: str
    remark: str = ""

    @property
    def canonical(self) -> str:
        return canonical(self.text)


@dataclass(frozen=True)
class TableText:
    """A CREATE TABLE statement in parts: `definitions` in their order, `suffix` such as WITHOUT ROWID.

    `closing` is the white space before the last parenthesis.
    """

    name: str
    definitions: tuple[Definition, ...]
    suffix: str = ""
    closing: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(d.column for d in self.definitions if d.column is not None)

    @property
    def constraints(self) -> tuple[Definition, ...]:
        return tuple(d for d in self.definitions if d.column is None)

    @property
    def autoincrement(self) -> bool:
        return any(token.keyword == "autoincrement" for d in self.definitions for token in tokens(d.text))

    @property
    def without_rowid(self) -> bool:
        return {"without", "rowid"} <= set(words(self.suffix))

    def definition(self, column: str) -> Definition | None:
        """The definition of `column`, found without regard to case; None where there is none."""
        wanted = folded(column)
        return next((d for d in self.definitions if d.column is not None and folded(d.column) == wanted), None)

    def named(self, name: str) -> TableText:
        return replace(self, name=name)

    @property
    def sql(self) -> str:
        """The statement; a comma stands before the remark on its entry, so that no comment swallows it."""
        last = len(self.definitions) - 1
        body = "".join(d.text + ("," if i < last else "") + d.remark for i, d in enumerate(self.definitions))
        return f"CREATE TABLE {quote(self.name)} ({body}{self.closing}){self.suffix}"


def folded(name: str) -> str:
    """`name` as SQLite compares names: without regard to case in ASCII, and only there."""
    return name.translate(_ASCII_LOWER)


def quote(identifier: str) -> str:
    """`identifier` as a quoted SQL name, whatever characters it holds."""
    return '"' + identifier.replace('"', '""') + '"'


def unquoted(text: str) -> str:
    """The name inside a quoted identifier (quotes of either kind, back-ticks or brackets)."""
    inner, mark = text[1:-1], text[-1]
    return inner if mark == "]" else inner.replace(mark * 2, mark)


def tokens(sql: str) -> Iterator[Token]:
    """The tokens of `sql` without white space and comments."""
    for match in _TOKEN.finditer(sql):
        if match.lastgroup != "space":
            yield Token(match.lastgroup or "other", match.group(), match.start())


@lru_cache(_TEXTS_KEPT)
def canonical(sql: str) -> str:
    """`sql` without comments, white space, needless quotes round names and case of names.

    Equal = the same to SQLite, as long as strings stand in single quotes: in double quotes they are read as names.
    """
    return " ".join(token.canonical for token in tokens(sql))


@lru_cache(_TEXTS_KEPT)
def words(sql: str) -> tuple[str, ...]:
    """Every identifier or keyword of `sql`, folded: what the text may name."""
    return tuple(folded(token.name) for token in tokens(sql) if token.name is not None)


def parse_create_table(sql: str) -> TableText:
    """Splits a CREATE TABLE statement.

    Raises DdlError for CREATE TABLE .. AS SELECT (SQLite never stores one), virtual tables and anything else.
    """
    found = list(tokens(sql))
    opening = next((i for i, token in enumerate(found) if token.text == "("), len(found))
    head = found[:opening]
    if_not_exists = [token.keyword for token in head[2:5]] == ["if", "not", "exists"]
    named = head[5:] if if_not_exists else head[2:]
    has_schema = len(named) == 3 and named[1].text == "."
    name = _identifier(named[-1]) if len(named) == 1 or has_schema else None
    if [token.keyword for token in head[:2]] != ["create", "table"] or name is None or opening == len(found):
        raise DdlError(f"not a CREATE TABLE statement with a definition list: {sql[:60]!r}")
    return _split(sql, name, found[opening:])


def without_foreign_keys(text: TableText) -> TableText:
    """`text` less its foreign keys; columns, types and what else must hold stay."""
    kept = (d for d in text.definitions if d.column is not None or "references" not in _keywords(d.text))
    return replace(text, definitions=tuple(replace(d, text=_without_references(d.text)) for d in kept))


def _without_references(definition: str) -> str:
    """A column's definition without its REFERENCES clauses (sqlite.org/syntax/foreign-key-clause.html)."""
    found = list(tokens(definition))
    first = next((i for i, token in enumerate(found) if token.keyword == "references"), None)
    if first is None:
        return definition
    end = first + 2
    if end < len(found) and found[end].text == "(":
        end = next(i for i in range(end, len(found)) if found[i].text == ")") + 1
    while end < len(found) and (length := _length_of_rule(_keywords(definition)[end : end + 4])):
        end += length
    named = first >= 2 and found[first - 2].keyword == "constraint"
    start = found[first - 2 if named else first].start
    rest = definition[found[end].start :] if end < len(found) else ""
    return _without_references(definition[:start].rstrip() + (f" {rest}" if rest else ""))


def _length_of_rule(words: tuple[str | None, ...]) -> int:
    """How many of `words`, the next ones, are one rule of a foreign key; 0 where they are none."""
    match words:
        case ("on", _, "set" | "no", _):
            return 4
        case ("on", _, *_):
            return 3
        case ("match" | "initially", *_):
            return 2
        case ("not", "deferrable", *_):
            return 2
        case ("deferrable", *_):
            return 1
        case _:
            return 0


def _keywords(sql: str) -> tuple[str | None, ...]:
    return tuple(token.keyword for token in tokens(sql))


def _split(sql: str, name: str, found: list[Token]) -> TableText:
    """The entries between the first token, the opening parenthesis, and the one that closes it."""
    definitions: list[Definition] = []
    depth, first, start = 0, 1, found[0].end
    for index, token in enumerate(found):
        depth += (token.text == "(") - (token.text == ")")
        if depth > 1 or (depth == 1 and token.text != ","):
            continue
        if first == index:
            raise DdlError(f"an empty entry in the definition list of {sql[:60]!r}")
        gap = sql[found[index - 1].end : token.start]
        after = _REMARK.match(sql, token.end) if depth else None
        remark = (gap if gap.strip() else "") + (after.group() if after else "")
        definitions.append(Definition(_column(found[first]), sql[start : found[index - 1].end], remark))
        if depth == 0:
            suffix = sql[token.end :].rstrip("; \t\n\f\r")
            return TableText(name, tuple(definitions), suffix, "" if gap.strip() else gap)
        first, start = index + 1, after.end() if after else token.end
    raise DdlError(f"the definition list of {sql[:60]!r} is not closed")


def _column(first: Token) -> str | None:
    """The column that an entry defines, told by its first token; None for a table constraint."""
    if first.keyword in _CONSTRAINT_STARTS:
        return None
    name = _identifier(first)
    if name is None:
        raise DdlError(f"neither a column nor a constraint starts with {first.text!r}")
    return name


def _identifier(token: Token) -> str | None:
    """The name in a place where SQLite takes even a string for one."""
    return unquoted(token.text) if token.kind == "string" else token.name
