"""The CREATE TABLE statements of a source file brought in line with a schema; every other byte stays."""

from __future__ import annotations

import ast
import difflib
import io
import os
import re
import sqlite3
import stat
import tempfile
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path

from migrator.ddl import DdlError, TableText, parse_create_table, tokens, words
from migrator.errors import RefusedError
from migrator.files import belong_to, mode_of, sync_directory
from migrator.schema import Schema
from migrator.source.layout import aligned
from migrator.source.memory import made_name
from migrator.source.tables import differences
from migrator.source.tree import parsed

_LITERAL = re.compile(r"""(?P<prefix>[A-Za-z]*)(?P<quote>'''|\"\"\"|'|")(?P<body>.*)(?P=quote)""", re.DOTALL)
_CREATE = re.compile(r"\bCREATE\s+TABLE\b(?:\s+IF\s+NOT\s+EXISTS\b)?\s*[\"\[`]?(?P<name>\w*)", re.IGNORECASE)
_BREAK = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True)
class Rewriting:
    """`before` and `after` are the bytes of `file`. `made` are the tables of the schema that it makes, `tables` those
    whose statements change."""

    file: Path
    encoding: str
    before: bytes
    after: bytes
    made: tuple[str, ...]
    tables: tuple[str, ...]

    @property
    def diff(self) -> str:
        """A unified diff, with the line ends of the file; empty where nothing changes."""
        old, new = (_lines(text.decode(self.encoding)) for text in (self.before, self.after))
        name = self.file.as_posix().lstrip("/")
        return "".join(difflib.unified_diff(old, new, f"a/{name}", f"b/{name}"))


@dataclass(frozen=True)
class _Met:
    """A CREATE TABLE of the file. `new` is what is to stand from `start` to `end` of its text; None where it stays."""

    table: str
    start: int = 0
    end: int = 0
    new: str | None = None


def rewritten(file: Path, schema: Schema) -> Rewriting:
    """The Python source `file` with each CREATE TABLE that differs from the table of that name in `schema` replaced.

    Writes nothing. In a statement the entries that mean the same keep their text and comments; quotes, indentation,
    IF NOT EXISTS and what stands round the statement stay. Raises RefusedError, with file and line, where such a
    statement is not one plain string literal or cannot be spelled in it, and where the file is no Python source or
    makes no table of the schema.
    """
    before = _read(file)
    encoding = _encoding(file, before)
    try:
        text = before.decode(encoding)
        tree = parsed(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise RefusedError(f"{file} is no Python source ({error})") from error
    if text.encode(encoding) != before:
        raise RefusedError(f"{file} cannot be written back byte for byte in its encoding {encoding}")
    try:
        met = list(_met(file, text, tree, schema))
    except RecursionError as error:
        raise RefusedError(f"{file} has an expression that is nested too deeply") from error
    if not met:
        raise RefusedError(
            f"{file} has no CREATE TABLE of a table in the database", "--source DIR names the files that make them"
        )
    changing = [(m, m.new) for m in met if m.new is not None]
    for each, new in sorted(changing, key=lambda pair: -pair[0].start):
        text = text[: each.start] + new + text[each.end :]
    try:
        after = text.encode(encoding)
    except UnicodeEncodeError as error:
        raise RefusedError(f"{file} is encoded in {encoding}, which cannot spell the new schema ({error})") from error
    made, tables = (tuple(dict.fromkeys(m.table for m in each)) for each in (met, [m for m, _ in changing]))
    found = Rewriting(file, encoding, before, after, made, tables)
    _check(found, schema)
    return found


def apply(rewriting: Rewriting) -> None:
    """Writes the new text in place of the old, at once, with the mode and the owner of the file.

    Raises RefusedError where the file changed since it was read, and where it cannot be written.
    """
    file = rewriting.file
    if _read(file) != rewriting.before:
        raise RefusedError(f"{file} changed since the diff was made", "make it again")
    real = Path(os.path.realpath(file))
    try:
        descriptor, name = tempfile.mkstemp(dir=real.parent, prefix=f".{real.name}.")
        fresh = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as new:
                belong_to(new.fileno(), real, mode_of(real))
                new.write(rewriting.after)
                new.flush()
                os.fsync(new.fileno())
            fresh.replace(real)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise
        sync_directory(real.parent)
    except OSError as error:
        raise RefusedError(f"{file} cannot be written ({error.strerror})", "make it writable for this user") from error


def _read(file: Path) -> bytes:
    try:
        # Reading a pipe would wait for its other end.
        if not stat.S_ISREG(file.stat().st_mode):
            raise RefusedError(f"{file} is no ordinary file", "give the path of a Python source file")
        return file.read_bytes()
    except OSError as error:
        raise RefusedError(
            f"{file} cannot be read ({error.strerror})", "give the path of a Python source file"
        ) from error


def _encoding(file: Path, source: bytes) -> str:
    try:
        return tokenize.detect_encoding(io.BytesIO(source).readline)[0]
    except SyntaxError as error:
        raise RefusedError(f"{file} is no Python source ({error})") from error


def _lines(text: str) -> list[str]:
    """The lines as Python counts them, with their ends; str.splitlines() knows more ends than Python has."""
    ends = [0, *(found.end() for found in _BREAK.finditer(text)), len(text)]
    return [text[a:b] for a, b in pairwise(ends) if a < b]


def _met(file: Path, text: str, tree: ast.Module, schema: Schema) -> Iterator[_Met]:
    """Each CREATE TABLE of a table that the schema has."""
    lines = _lines(text)
    starts = [0, *accumulate(map(len, lines))]
    for node in _strings(tree):
        where = f"{file}:{node.lineno}"
        start = starts[node.lineno - 1] + _letters(lines[node.lineno - 1], node.col_offset)
        last_line = (node.end_lineno or node.lineno) - 1
        source = text[start : starts[last_line] + _letters(lines[last_line], node.end_col_offset or 0)]
        found = _LITERAL.fullmatch(source)
        if found is None or not isinstance(node, ast.Constant) or _BREAK.sub("\n", found["body"]) != node.value:
            yield from _not_to_change(where, node, schema)
            continue
        for first, last in _statements(found["body"]):
            statement = found["body"][first:last]
            pair = _pair(statement, where, schema)
            if pair is None:
                continue
            new = None
            if differences(*pair):
                try:
                    new = _escaped(aligned(statement, pair[1]), found, where)
                except DdlError as error:
                    raise RefusedError(f"{where}: {error.fault}", "change it by hand") from error
            yield _Met(pair[1].name, start + found.start("body") + first, start + found.start("body") + last, new)


def _letters(line: str, utf8_bytes: int) -> int:
    """Of ast's column, which counts bytes."""
    return len(line.encode()[:utf8_bytes].decode())


def _strings(tree: ast.Module) -> Iterator[ast.Constant | ast.JoinedStr | ast.BinOp]:
    """The strings of a file that hold a CREATE TABLE, whole: a sum and an f-string are one. No docstrings."""
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        if isinstance(node, ast.Constant | ast.JoinedStr | ast.BinOp):
            parts = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
            if any(_CREATE.search(part) for part in parts):
                yield node
            continue
        pending.extend(ast.iter_child_nodes(node))


def _statements(sql: str) -> Iterator[tuple[int, int]]:
    """Start and end of each CREATE TABLE in a script."""
    start: int | None = None
    end = 0
    # A comment at the end would swallow the semicolon.
    for token in tokens(sql + "\n;"):
        start = token.start if start is None and token.text != ";" else start
        if start is not None and token.text == ";" and sqlite3.complete_statement(sql[start:end] + ";"):
            if words(sql[start:end])[:2] == ("create", "table"):
                yield start, end
            start = None
        end = token.end


def _pair(statement: str, where: str, schema: Schema) -> tuple[TableText, TableText] | None:
    """The table of a statement and that of the schema; None where the schema has none of the name, or a virtual one."""
    name = made_name(statement)
    try:
        target = schema.text(name)
    except DdlError:
        return None
    if target is None or "select" in words(statement):
        return None
    try:
        return parse_create_table(statement), target
    except DdlError as error:
        raise RefusedError(f"{where}: {error.fault}", "change it by hand") from error


def _not_to_change(where: str, node: ast.expr, schema: Schema) -> Iterator[_Met]:
    """The tables that a string makes which is no plain literal. Raises RefusedError where one is not as the schema has
    it."""
    refused = RefusedError(
        f"{where}: this CREATE TABLE is no plain string (an f-string, a sum, or with escapes)",
        "make it one string, or change it by hand",
    )
    whole = _constant(node)
    if whole is not None:
        pairs = [_pair(whole[first:last], where, schema) for first, last in _statements(whole)]
        for pair in (pair for pair in pairs if pair is not None):
            if differences(*pair):
                raise refused
            yield _Met(pair[1].name)
        return
    parts = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    for found in (found for part in parts for found in _CREATE.finditer(part)):
        # Without a name that can be read it may be any table.
        if not found["name"] or schema.table(found["name"]) is not None:
            raise refused


def _constant(node: ast.expr) -> str | None:
    """The text of a string or of a sum of strings; None where only a run knows it."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _constant(node.left), _constant(node.right)
        return None if left is None or right is None else left + right
    return None


def _escaped(new: str, literal: re.Match[str], where: str) -> str:
    """`new` as it is spelled between the quotes of `literal`."""
    quote = literal["quote"]
    if "r" in literal["prefix"].lower():
        spelled_out = new
    else:
        spelled_out = new.replace("\\", "\\\\")
        spelled_out = spelled_out.replace(quote, f"\\{quote}") if len(quote) == 1 else spelled_out
    if _BREAK.sub("\n", new) != _value(f"{literal['prefix']}{quote}{spelled_out} {quote}"):
        raise RefusedError(f"{where}: the new CREATE TABLE cannot be spelled between {quote}", "use other quotes")
    return spelled_out


def _value(source: str) -> str | None:
    try:
        found = ast.literal_eval(source)
    except (SyntaxError, ValueError):
        return None
    return found.removesuffix(" ") if isinstance(found, str) else None


def _check(rewriting: Rewriting, schema: Schema) -> None:
    """Raises RefusedError unless the new text is Python whose statements are those of the schema."""
    text = rewriting.after.decode(rewriting.encoding)
    try:
        left = [m.table for m in _met(rewriting.file, text, parsed(text), schema) if m.new is not None]
    except SyntaxError as error:
        raise RefusedError(f"the new text of {rewriting.file} is no Python ({error})", "change it by hand") from error
    if left:
        raise RefusedError(f"the statement of table {left[0]} in {rewriting.file} stays another", "change it by hand")
