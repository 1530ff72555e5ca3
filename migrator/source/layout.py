"""One CREATE TABLE statement made to say what another says, in its own layout."""

from __future__ import annotations

import re

from migrator.ddl import DdlError, Definition, TableText, Token, canonical, parse_create_table, tokens
from migrator.source.spelling import spelled

_BREAK = re.compile(r"\r\n|\r|\n")


def aligned(statement: str, target: TableText) -> str:
    """The CREATE TABLE `statement` with the entries of `target`, laid out as its own are.

    An entry that both have keeps its text and comments; the head and the end keep theirs.
    """
    table = parse_create_table(statement)
    found = list(tokens(statement))
    opening = next(token for token in found if token.text == "(")
    closing = _closing(found)
    inside = statement[opening.end : closing.start]
    break_, indent, last_indent = _layout(inside)
    entries: list[str] = []
    before: Definition | None = None
    for position, wanted in enumerate(target.definitions):
        own = _same(table, wanted)
        is_last = position == len(target.definitions) - 1
        in_place = own is not None and (before, position == 0) == _predecessor(table, own)
        lead = indent if entries and entries[-1].endswith("\n") else break_ + indent
        if not entries and not break_:
            lead = ""
        text = own.text if own is not None and in_place else lead + (own.text.lstrip() if own else spelled(wanted.text))
        remark = own.remark.rstrip(" \t") if own is not None else ""
        entries.append(text + ("" if is_last else ",") + remark)
        before = own
    body = "".join(entries)
    end = "" if break_ and body.endswith("\n") else break_
    tail = statement[closing.end :]
    if canonical(table.suffix) != canonical(target.suffix):
        tail = target.suffix if not target.suffix or target.suffix[0].isspace() else f" {target.suffix}"
    new = statement[: opening.end] + body + end + last_indent + ")" + tail
    made = parse_create_table(new)
    if [d.canonical for d in made.definitions] != [d.canonical for d in target.definitions]:
        raise DdlError(f"the CREATE TABLE of {table.name} cannot be laid out anew", "change it by hand")
    return new


def _closing(found: list[Token]) -> Token:
    """The parenthesis that ends the definition list."""
    depth = 0
    for token in found:
        depth += (token.text == "(") - (token.text == ")")
        if depth == 0 and token.text == ")":
            return token
    raise DdlError("the definition list is not closed")


def _layout(inside: str) -> tuple[str, str, str]:
    """What stands between the entries of a definition list: line break and indentation, and the last line's."""
    breaks = list(_BREAK.finditer(inside))
    if not breaks:
        return "", " ", ""
    first = next((b for b in breaks if inside[b.end() :].lstrip(" \t")[:1] not in ("", "\r", "\n")), breaks[0])
    after = inside[first.end() :]
    last = inside[breaks[-1].end() :]
    return first.group(), after[: len(after) - len(after.lstrip(" \t"))], "" if last.strip() else last


def _same(table: TableText, wanted: Definition) -> Definition | None:
    """The entry of `table` that means what `wanted` does."""
    return next((d for d in table.definitions if d.canonical == wanted.canonical), None)


def _predecessor(table: TableText, own: Definition) -> tuple[Definition | None, bool]:
    """The entry before `own`, and whether `own` is the first."""
    position = table.definitions.index(own)
    return (None if position == 0 else table.definitions[position - 1]), position == 0
