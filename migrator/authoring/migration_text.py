"""The text of a migration file in the form of the others: deterministic, and as the linter and formatter leave it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from textwrap import wrap

from migrator.ddl import canonical, parse_create_table, tokens
from migrator.migration import Change, Migration, Value

_WIDTH = 120
_LETTERS = frozenset(map(chr, range(0xC0, 0x100))) - {chr(0xD7), chr(0xF7)}
"""Beyond ASCII these look like nothing else; any other character is written as an escape."""
_LIKE_A_PASSWORD = re.compile(r"(^|_)(pas+wo?r?d|pass(phrase)?|pwd|token|secrete?)($|_)", re.IGNORECASE)
"""What the linter's rule S105 looks for in the name of a constant."""


def migration_text(migration: Migration, differences: Sequence[str], undecided: Sequence[str]) -> str:
    """A module that `load_migrations` reads as `migration`; while a part is `undecided` it raises DeclarationError.

    `differences` say in words what it does.
    """
    names = _constants(migration.changes)
    used = ["Change", "Migration"]
    used += ["Back"] if any(change.back for change in migration.changes) else []
    used += ["DeclarationError"] if undecided else []
    parts = [
        _docstring(migration, differences),
        f"from migrator.migration import {', '.join(sorted(used))}",
        *_undecided(migration, undecided),
    ]
    for change in migration.changes:
        for side, sql in _texts(change):
            name = names[change.table, side]
            parts.append(_line(f"{name} = {_block(_laid_out(sql))}", 0, _also(name)))
    changes = [line for change in migration.changes for line in _change(change, names)]
    lines = ["MIGRATION = Migration(", "    changes=(", *(_line(line, 8) for line in changes), "    ),", ")"]
    return "\n\n".join([*parts, "\n".join(lines)]) + "\n"


def _docstring(migration: Migration, differences: Sequence[str]) -> str:
    lines = [f"{migration.version:04d}: {migration.name.replace('_', ' ')}.", ""]
    for text in differences:
        said = " ".join(text.split())
        lines += wrap(said, _WIDTH, initial_indent="- ", subsequent_indent="  ", break_long_words=False)
    return _line(_block("\n".join([*lines, ""])), 0)


def _undecided(migration: Migration, undecided: Sequence[str]) -> Iterator[str]:
    if undecided:
        yield "\n".join(
            [
                "# What two schemas do not say. Decide, write it below, remove the entry: without any the file loads.",
                *(_line(line, 0) for line in _tuple("UNDECIDED: tuple[str, ...] = ", undecided, "", 0)),
                "if UNDECIDED:",
                "    raise DeclarationError(",
                f"        f\"migration {migration.label} is not decided: {{'; '.join(UNDECIDED)}}\",",
                f'        "decide what UNDECIDED in m{migration.label}.py lists",',
                "    )",
            ]
        )


def _texts(change: Change) -> Iterator[tuple[str, str]]:
    if change.before is not None:
        yield "before", change.before
    if change.after is not None:
        yield "after", change.after


def _constants(changes: Iterable[Change]) -> dict[tuple[str, str], str]:
    """A name for each CREATE TABLE text, by table and side."""
    found: dict[tuple[str, str], str] = {}
    for change in changes:
        plain = re.sub(r"[^A-Z0-9]+", "_", change.table.upper()).strip("_")
        plain = plain if plain and not plain[0].isdigit() else f"TABLE_{plain}".strip("_")
        tries = [plain, *(f"{plain}_{number}" for number in range(2, len(found) + 3))]
        free = next(name for name in tries if f"{name}_AFTER" not in found.values())
        found[change.table, "before"], found[change.table, "after"] = f"{free}_BEFORE", f"{free}_AFTER"
    return found


def _change(change: Change, names: Mapping[tuple[str, str], str]) -> list[str]:
    """The lines of one Change; one that holds a block of SQL has more than one line."""
    lines = ["Change(", f"    {_literal(change.table)},"]
    lines += [f"    {side}={names[change.table, side]}," for side, _ in _texts(change)]
    if any("CAST(" in str(sql) for sql in change.values.values()):
        lines += ["    # What a column of the new type stores of the value: sqlite.org/datatype3.html, section 3."]
    if change.values:
        listed = [f"        {_literal(name)}: {_value(sql)}," for name, sql in change.values.items()]
        lines += ["    values={", *listed, "    },"]
    if change.back:
        lines += ["    back={"]
        for name, back in change.back.items():
            of, sql = f"of={_literal(back.of)}", f"sql={_value(back.sql)}"
            short = f"        {_literal(name)}: Back({of}, {sql}),"
            long = [f"        {_literal(name)}: Back(", f"            {of},", f"            {sql},", "        ),"]
            lines += [short] if "\n" not in short and len(short) + 8 <= _WIDTH else long
        lines += ["    },"]
    kept = {"originals": change.originals, "ahead": change.ahead}
    lines += [f"    {field}={_literal(name)}," for field, name in kept.items() if name is not None]
    if change.indexes:
        lines += _tuple("    indexes=", [_on_one_line(sql) for sql in change.indexes], ",", 8)
    if change.drops:
        lines += _tuple("    drops=", [_on_one_line(sql) for sql in change.drops], ",", 8)
    return [*lines, "),"]


def _tuple(head: str, texts: Sequence[str], tail: str, depth: int) -> list[str]:
    """`head`, a tuple of strings and `tail`: of one string on one line, where it fits, as the formatter has it."""
    short = f"{head}({_literal(texts[0])},){tail}"
    if len(texts) == 1 and depth + len(short) <= _WIDTH:
        return [short]
    indent = " " * (len(head) - len(head.lstrip()))
    return [f"{head}(", *(f"{indent}    {_literal(text)}," for text in texts), f"{indent}){tail}"]


def _value(value: Value) -> str:
    """SQL on one line where it has one, else as a block of lines that go in further than what they belong to."""
    sql = str(value)
    block = sql.replace("\n", "\n" + 20 * " ")
    return _block(block) if "\n" in sql and canonical(block) == canonical(sql) else _literal(sql)


def _on_one_line(sql: str) -> str:
    flat = " ".join(sql.split())
    return flat if canonical(flat) == canonical(sql) else sql


def _laid_out(sql: str) -> str:
    """A CREATE TABLE text as it was written, or with a line for each definition where that would be too long."""
    first, *rest = (line.rstrip() for line in sql.split("\n"))
    # Where it stood in a program it was indented as a whole.
    depth = min((len(line) - len(line.lstrip()) for line in rest if line), default=0)
    depth -= 0 if rest and rest[-1].lstrip().startswith(")") else 4
    plain = "\n".join([first, *(line[max(depth, 0) :] for line in rest)])
    text = plain if canonical(plain) == canonical(sql) else sql
    if max(map(len, text.split("\n"))) > _WIDTH and "--" not in sql and "/*" not in sql:
        head = sql[: next(token.start for token in tokens(sql) if token.text == "(")].rstrip()
        parsed = parse_create_table(sql)
        listed = ",\n".join(f"    {definition.text.strip()}" for definition in parsed.definitions)
        text = f"{head} (\n{listed}\n){parsed.suffix}"
    return f"\n{text}"


def _line(text: str, depth: int, *ignored: str) -> str:
    """The line with its indentation, and with a mark for the linter where it must be longer than the others."""
    line = " " * depth + text
    # One long word is no fault to the linter.
    is_long = any(len(part) > _WIDTH and len(part.split()) > 1 for part in line.split("\n"))
    marks = [*(["E501"] if is_long else []), *filter(None, ignored)]
    return f"{line}  # noqa: {', '.join(marks)}" if marks else line


def _also(name: str) -> str:
    return "S105" if _LIKE_A_PASSWORD.search(name) else ""


def _literal(text: str) -> str:
    """A Python string on one line, in the quotes that the formatter would leave."""
    escaped = _escaped(text).replace("\n", "\\n")
    mark = '"' if text.count('"') <= text.count("'") else "'"
    return mark + escaped.replace(mark, "\\" + mark) + mark


def _block(sql: str) -> str:
    """A Python string over several lines."""
    # What would end it, and a quote that would stand before what ends it.
    text = re.sub(r'"(?=""|\Z)', r"\"", _escaped(sql))
    return f'"""{text}"""'


def _escaped(text: str) -> str:
    """What no reader could mistake stays; line ends stay too."""

    def written(character: str) -> str:
        if character == "\\":
            return "\\\\"
        if character == "\n" or " " <= character <= "~" or character in _LETTERS:
            return character
        return character.encode("unicode_escape").decode()

    return "".join(map(written, text))
