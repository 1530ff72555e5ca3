"""A database's schema as a page of Markdown (GitHub's, with a Mermaid diagram): the same page for the same database."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from migrator.check.description import ColumnFacts, DatabaseFacts, ForeignKey, TableFacts
from migrator.check.diagram import entity_diagram
from migrator.check.explanation import Explanation, explain_migration
from migrator.check.promotions import Ledger, Promotion
from migrator.ddl import folded
from migrator.migration import Migration

MARK = "<!-- Made by `python -m flows.check --docs`; what is written here by hand is lost. -->"


def document(name: str, facts: DatabaseFacts, migrations: Sequence[Migration], ledger: Ledger) -> str:
    """The page for the database called `name`: diagram, tables, views, what each migration changed.

    It holds no value of a row and no time but those of the ledger.
    """
    parts = [
        MARK,
        f"# Schema of {code(name)}",
        _counted(len(facts.tables), "table"),
        fenced("mermaid", entity_diagram(facts.tables)) if facts.tables else "",
        "## Tables",
        *(part for table in facts.tables for part in _table(table, facts)),
        *_statements("## Views", facts.views),
        *_statements("## Virtual tables", facts.virtual),
        "## Migrations",
        *(part for migration in migrations for part in _migration(migration, ledger)),
        *_own(facts.own),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def code(text: str, in_table: bool = False) -> str:
    """`text` as code in a line of Markdown, whatever it holds; what cannot be seen is escaped.

    In a table a vertical bar takes a backslash, also in code (github.github.com/gfm, example 200).
    """
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text) or '""'
    runs = re.findall("`+", shown)
    fence = "`" * (max(map(len, runs), default=0) + 1)
    # One space inside each fence is no part of the code (spec.commonmark.org/0.31.2/#code-spans).
    pad = " " if shown[0] in "` " or shown[-1] in "` " else ""
    return f"{fence}{pad}{shown}{pad}{fence}".replace("|", "\\|" if in_table else "|")


def fenced(language: str, text: str) -> str:
    """`text` as a block of code, whatever it holds."""
    fence = "`" * max(3, max(map(len, re.findall("`+", text)), default=0) + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def _table(table: TableFacts, facts: DatabaseFacts) -> Iterator[str]:
    yield f"### {code(table.name)}"
    yield _counted(table.rows, "row")
    yield "\n".join(
        ["| column | type | required | default | key |", "|---|---|---|---|---|", *map(_column(table), table.columns)]
    )
    yield _list("Unique", (_codes(columns) for columns in table.unique if len(columns) > 1))
    yield _list("Refers to", (_refers_to(key, facts) for key in table.foreign_keys))
    yield _list("Referred to by", (f"{_codes(k.columns)} of {code(k.child)}" for k in facts.referring_to(table.name)))
    yield _list("Indexes", (code(" ".join(sql.split())) for _, sql in table.indexes))
    yield _list("Triggers", (code(name) for name, _ in table.triggers))
    yield _list("Read by views", map(code, table.views))
    statements = ";\n\n".join([table.sql, *(sql for _, sql in table.triggers)]) + ";"
    yield f"<details><summary>SQL</summary>\n\n{fenced('sql', statements)}\n\n</details>"


def _column(table: TableFacts) -> Callable[[ColumnFacts], str]:
    unique = {columns[0] for columns in table.unique if len(columns) == 1}
    referring = {column for key in table.foreign_keys for column in key.columns}

    def row(column: ColumnFacts) -> str:
        primary = "primary" + (f" {column.key}" if len(table.primary) > 1 else "")
        marks = (
            (primary, column.key > 0), ("unique", column.name in unique), ("foreign", column.name in referring),
            ("computed", column.generated),
        )  # fmt: skip
        cells = (
            code(column.name, in_table=True),
            code(column.type, in_table=True) if column.type else "",
            "yes" if column.required else "",
            "" if column.default is None else code(column.default, in_table=True),
            ", ".join(mark for mark, holds in marks if holds),
        )
        return f"| {' | '.join(cells)} |"

    return row


def _refers_to(key: ForeignKey, facts: DatabaseFacts) -> str:
    parents = [t for t in facts.tables if folded(t.name) == folded(key.parent)]
    columns = key.parent_columns or (parents[0].primary if parents else ())
    there = "" if parents else ", which does not exist"
    actions = f", {key.actions}" if key.actions else ""
    return f"{_codes(key.columns)}: {_codes(columns)} of {code(key.parent)}{there}{actions}"


def _migration(migration: Migration, ledger: Ledger) -> Iterator[str]:
    yield f"### {code(migration.label)}"
    made = [p for p in ledger.promotions if p.version == migration.version]
    if made:
        yield "\n".join(f"- {_promotion(p)}" for p in made)
    else:
        yield "Applied, without a record of when." if migration.label in ledger.labels else "Not applied."
    for explained in explain_migration(migration):
        yield f"{code(explained.table)} {_KINDS[explained.kind]}:"
        yield "\n".join(f"- {line}" for line in _changes(explained))


_KINDS = {
    "rebuild": "changes",
    "rows": "keeps its schema, and rows of it change",
    "new": "is new",
    "drop": "goes",
    "indexes": "gets other indexes",
}


def _promotion(made: Promotion) -> str:
    undone = f", undone {code(made.reversed_at)} by {code(str(made.reversed_by))}" if made.reversed_at else ""
    return f"Applied {code(made.applied_at)} by run {code(made.run_id)}{undone}"


def _changes(explained: Explanation) -> Iterator[str]:
    for title, definitions in (
        ("column", explained.added),
        ("constraint", explained.constraints),
        ("index", explained.made),
    ):
        yield from (f"new {title} {code(definition)}" for definition in definitions)
    yield from (f"column {code(definition)} goes" for definition in explained.removed)
    yield from (f"index {code(definition)} goes" for definition in explained.dropped)
    yield from (f"column {code(now)} becomes {code(then)}" for now, then in explained.changed)
    if explained.moved:
        yield f"{_codes(explained.moved)} in another place"
    yield from (f"the values of {code(column)}: {code(value)}" for column, value in explained.values)
    if explained.originals is not None:
        kept = "their old values" if explained.kind == "rows" else "what it cannot hold"
        yield f"{code(explained.originals)} keeps {kept}"


def _own(own: Sequence[tuple[str, int]]) -> Iterator[str]:
    if own:
        yield "## Tables of the migration tool"
        yield "\n".join(f"- {code(name)}: {_counted(rows, 'row')}" for name, rows in own)


def _statements(title: str, statements: Sequence[tuple[str, str]]) -> Iterator[str]:
    if statements:
        yield title
    for name, sql in statements:
        yield f"### {code(name)}"
        yield fenced("sql", f"{sql};")


def _list(title: str, entries: Iterable[str]) -> str:
    lines = [f"- {entry}" for entry in entries]
    return "\n".join([f"{title}:", "", *lines]) if lines else ""


def _codes(names: Iterable[str]) -> str:
    return ", ".join(map(code, names)) or "its key"


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
