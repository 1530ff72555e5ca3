"""What a statement of the source does, as far as its first words say."""

from __future__ import annotations

from dataclasses import dataclass

from migrator.ddl import tokens
from migrator.source.statements import FoundStatement, sql_of

NAMES_NOTHING = frozenset({"pragma", "attach", "detach"})
"""Not compiled: SQLite carries some of them out while it compiles them, and none fails for a table that lacks."""


def first_word(statement: FoundStatement) -> str:
    """The statement's first word in lower case; "" where it begins otherwise."""
    return next((token.keyword or "" for token in tokens(sql_of(statement.text))), "")


@dataclass(frozen=True)
class Alteration:
    """An ALTER TABLE; `added` is the column that it adds, `renamed` the table's new name, each "" where it does
    something else."""

    table: str
    added: str = ""
    renamed: str = ""


def alteration(statement: FoundStatement) -> Alteration | None:
    """What an ALTER TABLE does; None for any other statement."""
    found = list(tokens(sql_of(statement.text)))
    if [token.keyword for token in found[:2]] != ["alter", "table"] or len(found) < 5:
        return None
    table, following = (found[4], found[5:]) if found[3].text == "." else (found[2], found[3:])
    added = [token for token in following[:3] if token.keyword not in ("add", "column")]
    name = table.name or ""
    if following and following[0].keyword == "add" and added:
        return Alteration(name, added=added[0].name or "")
    if [token.keyword for token in following[:2]] == ["rename", "to"] and len(following) > 2:
        return Alteration(name, renamed=following[2].name or "")
    return Alteration(name)


def names_no_columns(statement: FoundStatement) -> bool:
    """Whether it is an INSERT of values by their position alone."""
    found = list(tokens(sql_of(statement.text)))
    keywords = [token.keyword for token in found]
    if keywords[:1] not in (["insert"], ["replace"]) or "into" not in keywords:
        return False
    after = found[keywords.index("into") + 2 :]
    if after and after[0].text == ".":
        after = after[2:]
    if after and after[0].keyword == "as":
        after = after[2:]
    return bool(after) and after[0].keyword in ("values", "select", "with")
