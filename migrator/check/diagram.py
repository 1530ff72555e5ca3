"""An entity diagram in Mermaid (mermaid.js.org/syntax/entityRelationshipDiagram.html), valid for any name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from migrator.check.description import ForeignKey, TableFacts
from migrator.ddl import folded

_FIRST_OTHER_LETTER = "\u00c0"
"""Below it Mermaid's words have only ASCII (erDiagram.jison, ATTRIBUTE_WORD)."""
_TAKEN_FOR_A_KEY = re.compile(r"(?:pk|fk|uk)(?![A-Za-z0-9_])", re.IGNORECASE)


def entity_diagram(tables: Sequence[TableFacts]) -> str:
    """The diagram's text; "" without tables. Characters that Mermaid has no word for are underscores in it.

    A key to a table that is not there has no line.
    """
    if not tables:
        return ""
    entities = _distinct(t.name for t in tables)
    lines = ["erDiagram"]
    for table in tables:
        lines += [f'    "{entities[folded(table.name)]}" {{', *_attributes(table), "    }"]
    by_name = {folded(t.name): t for t in tables}
    for key in (key for table in tables for key in table.foreign_keys if folded(key.parent) in by_name):
        parent, child = entities[folded(key.parent)], entities[folded(key.child)]
        how = _cardinality(key, by_name[folded(key.child)])
        lines.append(f'    "{parent}" {how} "{child}" : "{"_".join(map(_word, key.columns))}"')
    return "\n".join(lines) + "\n"


def _distinct(names: Iterable[str]) -> dict[str, str]:
    """A word for each folded name, no two alike."""
    found: dict[str, str] = {}
    for name in names:
        word, number = _word(name), 1
        while word in found.values():
            number += 1
            word = f"{_word(name)}_{number}"
        found[folded(name)] = word
    return found


def _attributes(table: TableFacts) -> Iterator[str]:
    referring = {folded(c) for key in table.foreign_keys for c in key.columns}
    unique = {folded(columns[0]) for columns in table.unique if len(columns) == 1}
    for column in table.columns:
        name = folded(column.name)
        marks = (("PK", column.key > 0), ("FK", name in referring), ("UK", name in unique))
        keys = ", ".join(mark for mark, holds in marks if holds)
        yield f"        {_word(column.type or 'any')} {_word(column.name)} {keys}".rstrip()


def _cardinality(key: ForeignKey, child: TableFacts) -> str:
    """One parent, or none where a column may be NULL; many children, or one where the columns are unique."""
    columns = {folded(c) for c in key.columns}
    required = {folded(c.name) for c in child.columns if c.required}
    alone = [*child.unique, child.primary]
    one = any(unique and {folded(c) for c in unique} <= columns for unique in alone)
    return f"{'||' if columns <= required else '|o'}--{'o|' if one else 'o{'}"


def _word(name: str) -> str:
    """`name` as a word that Mermaid takes everywhere: letters, digits and underscores, and no key word of its own."""
    word = "".join(c if c == "_" or (c.isalnum() and (c.isascii() or c >= _FIRST_OTHER_LETTER)) else "_" for c in name)
    return word if word and not word[0].isdigit() and not _TAKEN_FOR_A_KEY.match(word) else f"_{word}"
