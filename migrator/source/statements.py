"""The SQL statements of an application's source, found by reading it."""

from __future__ import annotations

import ast
import re
import sqlite3
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path as FilePath

from migrator.ddl import tokens
from migrator.source import building
from migrator.source.evaluation import Evaluation
from migrator.source.path import Path, Run, last_name, place_of
from migrator.source.program import Program
from migrator.source.spelling import spelled
from migrator.source.tree import Skipped, SourceFile, read_tree
from migrator.source.values import Hole, Literal, Number, Place, Text, Value, Ways

_HOLE_MARK, _FIRST_HOLE, _HOLE_LETTERS = "\ue000", 0xF0000, 3
"""A hole stands in SQL as three letters of Unicode's private use areas, which are letters to SQLite as well."""
_LOOKS_LIKE_SQL = (
    r"\s*(SELECT\s.*\sFROM\s|INSERT\s+(OR\s+\w+\s+)?INTO\s|REPLACE\s+INTO\s|UPDATE\s.*\sSET\s|DELETE\s+FROM\s"
    r"|CREATE\s+TABLE\s|WITH\s.*\sAS\s*\()"
)
_IN_CAPITALS = re.compile(_LOOKS_LIKE_SQL, re.DOTALL)
"""Prose that happens to start with one of these words does not go on in capitals."""
_IN_ANY_LETTERS = re.compile(_LOOKS_LIKE_SQL, re.DOTALL | re.IGNORECASE)
_ASKING = building.RUNNERS | {"fetch_all", "fetch_one", "fetchall", "fetchone", "raw"}
"""Methods of other libraries that may be given SQL, which is then not prose."""


@dataclass(frozen=True)
class FoundStatement:
    """One SQL statement. `text` may have holes, `place` is where it starts, `run_at` the calls that run it.

    Without `run_at` nothing was seen to run it: it only looks like SQL. `asked` are columns for which the code looks
    in the schema before it runs the statement. `crowded` is whether it is the first of several in one call that runs
    only one.
    """

    text: Text
    place: Place
    run_at: tuple[Place, ...] = ()
    asked: frozenset[str] = field(default=frozenset(), compare=False)
    crowded: bool = field(default=False, compare=False)

    @property
    def is_run(self) -> bool:
        return bool(self.run_at)

    def __str__(self) -> str:
        """The statement on one line without comments, {expression} for a hole."""
        return _shown(self.text)


@dataclass(frozen=True)
class NotChecked:
    """SQL of which nothing can be said, and why: `shown` is the statement or the expression for it."""

    place: Place
    shown: str
    why: str

    def __str__(self) -> str:
        return f"{self.place}: not checked: {self.shown}: {self.why}"


@dataclass(frozen=True)
class Found:
    """Everything of a source tree that concerns SQL, by place."""

    files: tuple[SourceFile, ...] = field(repr=False)
    statements: tuple[FoundStatement, ...]
    not_checked: tuple[NotChecked, ...]
    skipped: tuple[Skipped, ...]


def find_statements(folder: FilePath, exclude: Collection[str] = ()) -> Found:
    """Reads the Python source below `folder` with ast; nothing of it is imported or run.

    A statement is what goes into a call of execute(), executemany(), executescript() and their like, through
    constants, concatenation, formatting, functions and classes of the same tree, for each way that the code builds
    it; and any other text that looks like SQL. `exclude` is as in `read_tree`. Raises RefusedError where `folder` is
    none.
    """
    files, skipped = read_tree(folder, exclude)
    program = Program(files)
    program.walk()
    merged: dict[tuple[Text, Place], FoundStatement] = {}
    not_checked = {NotChecked(place, "its SQL", why): None for place, why in program.not_walked}
    for file in files if program.uses_builder else ():
        for call in building.built_at_run_time(file):
            shown = f"{' '.join(ast.unparse(call.func).split())}(..)"
            not_checked[NotChecked(place_of(file, call), shown, building.BUILDS_SQL)] = None
    used: set[tuple[str, int]] = set()
    for run in program.found:
        for way in _texts(run.ways):
            used |= {(part.place.file, part.place.end_line) for part in _literals(way)}
            for found in _of_way(way, run, program.informed):
                if isinstance(found, NotChecked):
                    not_checked[found] = None
                else:
                    _merge(merged, found)
    for file in files:
        for statement in _loose(program, file, used):
            merged.setdefault((statement.text, statement.place), statement)
    return Found(
        files,
        tuple(sorted(merged.values(), key=lambda s: (s.place, str(s)))),
        tuple(sorted(not_checked, key=lambda n: (n.place, n.shown))),
        skipped,
    )


def sql_of(text: Text) -> str:
    """The SQL with a name of three letters for each hole, so that SQLite's grammar can be read round it."""
    names = {hole: _mark(index) for index, hole in enumerate(dict.fromkeys(text.holes))}
    return "".join(part.text if isinstance(part, Literal) else names[part] for part in text.parts)


def _shown(text: Text) -> str:
    sql = sql_of(text)
    shown = spelled(sql)
    for index, hole in enumerate(dict.fromkeys(text.holes)):
        shown = shown.replace(_mark(index), "{" + hole.shown + "}")
    return shown


def _mark(index: int) -> str:
    return f"{_HOLE_MARK}{chr(_FIRST_HOLE + index)}{_HOLE_MARK}"


def is_hole(token: str) -> bool:
    """Whether a token of what `sql_of` returns holds a hole."""
    return _HOLE_MARK in token


def _of_way(way: Value, run: Run, informed: set[str]) -> Iterator[FoundStatement | NotChecked]:
    """The statements in one text that a call may run."""
    run_at, method, asked = run.place, run.method, run.asked
    if not isinstance(way, Text):
        yield NotChecked(run_at, "its SQL", "is no text")
        return
    first = way.parts[0] if way.parts else None
    if isinstance(first, Hole) and first.parameter in informed:
        # Checked where callers pass it.
        return
    if way.hole is not None:
        yield NotChecked(run_at, way.hole.shown, way.hole.why)
        return
    texts = list(split(way))
    if not texts:
        yield NotChecked(run_at, "its SQL", "is empty, as far as the code says")
    for index, text in enumerate(texts):
        start = text.parts[0]
        place = start.place if isinstance(start, Literal) else run_at
        crowded = index == 0 and len(texts) > 1 and method != "executescript" and not way.holes
        yield FoundStatement(text, place, (run_at,), asked.union(*(part.asks for part in text.parts)), crowded)


def split(text: Text) -> Iterator[Text]:
    """The statements of a script, each from its first word on and without the semicolon at its end."""
    sql = sql_of(text)
    start: int | None = None
    for token in tokens(sql):
        start = token.start if start is None and token.text != ";" else start
        if start is not None and token.text == ";" and sqlite3.complete_statement(sql[start : token.end]):
            yield _cut(text, start, token.start)
            start = None
    if start is not None:
        yield _cut(text, start, len(sql.rstrip()))


def _cut(text: Text, start: int, end: int) -> Text:
    parts: list[Literal | Hole] = []
    at = 0
    for part in text.parts:
        length = len(part.text) if isinstance(part, Literal) else _HOLE_LETTERS
        if isinstance(part, Hole) and start <= at < end:
            parts.append(part)
        elif isinstance(part, Literal) and max(at, start) < min(at + length, end):
            parts.append(part.cut(max(0, start - at), min(length, end - at)))
        at += length
    return Text(tuple(parts))


def _texts(ways: Ways) -> Iterable[Value]:
    """What a call may be passed; None or nothing is what the code starts with before it builds the text."""
    built = [way for way in ways if not isinstance(way, Number)]
    said = [way for way in built if not isinstance(way, Text) or way.plain is None or way.plain.strip()]
    return said or built or ways


def _literals(way: Value) -> Iterable[Literal]:
    return way.literals if isinstance(way, Text) else ()


def _merge(merged: dict[tuple[Text, Place], FoundStatement], found: FoundStatement) -> None:
    """One statement that several calls run is one; a way to it that asks nothing counts."""
    key = (found.text, found.place)
    if key in merged:
        first = merged[key]
        runs = tuple(sorted({*first.run_at, *found.run_at}))
        crowded = first.crowded or found.crowded
        found = FoundStatement(found.text, found.place, runs, first.asked & found.asked, crowded)
    merged[key] = found


def _loose(program: Program, file: SourceFile, used: set[tuple[str, int]]) -> Iterator[FoundStatement]:
    """Texts in capitals that look like SQL, where no call was seen to run them; no docstrings. In any letters where
    they are given to a call whose name says that it asks."""
    evaluation = Evaluation(program, file, {})
    pending: list[ast.AST] = [file.tree]
    asking: set[ast.AST] = set()
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Call) and last_name(node.func) in _ASKING:
            asking.update(node.args[:1])
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        built = isinstance(node, ast.JoinedStr | ast.BinOp | ast.Constant)
        if not isinstance(node, ast.expr) or not built:
            pending.extend(ast.iter_child_nodes(node))
            continue
        try:
            ways = evaluation.ways(node, Path({}))
        except RecursionError:
            continue
        for way in ways:
            looks = _IN_ANY_LETTERS if node in asking else _IN_CAPITALS
            if not isinstance(way, Text) or not looks.match(sql_of(way)):
                continue
            if any((part.place.file, part.place.end_line) in used for part in way.literals):
                continue
            for text in split(way):
                if isinstance(start := text.parts[0], Literal):
                    yield FoundStatement(text, start.place)
