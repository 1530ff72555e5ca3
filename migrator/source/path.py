"""Where an expression stands: the way that led to it, and what it may name in the rest of the source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from migrator.ddl import folded
from migrator.source.tree import SourceFile
from migrator.source.values import Function, Place, Text, Value, Ways, bounded, is_known

RUNNERS = frozenset(
    {"execute", "executemany", "executescript", "execute_fetchall", "execute_insert", "read_sql", "read_sql_query"}
)
"""Methods of sqlite3 (docs.python.org/3/library/sqlite3.html), of aiosqlite and of pandas whose first argument is SQL;
a connection or cursor may have any name, so the method's is what tells."""
MOST_PATHS = 64
_SCHEMA_WORDS = ("table_info", "table_xinfo", "sqlite_master", "sqlite_schema")


@dataclass
class Path:
    """One way through a body: what its names stand for, how its tests came out, which columns it has looked for."""

    names: dict[str, Ways]
    tests: dict[str, bool] = field(default_factory=dict)
    asked: frozenset[str] = frozenset()

    def fork(self) -> Path:
        return Path(dict(self.names), dict(self.tests), self.asked)

    def assign(self, name: str, ways: Ways) -> None:
        """Gives `name` its value; a test of what it was before says nothing any more."""
        self.names[name] = ways
        if self.tests:
            self.tests = {t: came for t, came in self.tests.items() if not re.search(rf"\b{re.escape(name)}\b", t)}


@dataclass(frozen=True)
class Run:
    """A call at `place` that runs SQL by `method`: every text that it may be, and the columns looked for before."""

    place: Place
    method: str
    ways: Ways
    asked: frozenset[str]


def asks_the_schema(node: ast.AST) -> bool:
    """Whether the code below `node` looks for columns or tables in the database."""
    texts = (n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str))
    return any(word in folded(text) for text in texts for word in _SCHEMA_WORDS)


def bound_arguments(function: Function, arguments: list[Ways], named: Mapping[str, Ways]) -> dict[str, Ways]:
    """Which parameter of `function` gets which argument; a method's own object is not passed."""
    parameters = [a.arg for a in (*function.node.args.posonlyargs, *function.node.args.args)]
    if function.owner is not None and not any(last_name(d) == "staticmethod" for d in function.node.decorator_list):
        parameters = parameters[1:]
    return {**dict(zip(parameters, arguments, strict=False)), **named}


def last_name(node: ast.expr) -> str:
    """The last part of a dotted name, also of one with a call or brackets after it; "" for anything else."""
    if isinstance(node, ast.Call):
        node = node.func
    if isinstance(node, ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def parameters_in(ways: Iterable[Value]) -> frozenset[str]:
    """The parameters on which `ways` depend."""
    holes = (hole for way in ways if isinstance(way, Text) for hole in way.holes)
    return frozenset(hole.parameter for hole in holes if hole.parameter is not None)


def joined(paths: list[Path]) -> list[Path]:
    """`paths` without those that differ in nothing known; more than MOST_PATHS become one, with the ways of all."""
    if len(paths) < 2:
        return paths
    found: list[Path] = []
    known: list[dict[str, Ways]] = []
    for path in paths:
        names = {name: ways for name, ways in path.names.items() if is_known(ways)}
        if names in known:
            same = known.index(names)
            found[same] = _both(found[same], path, {**path.names, **found[same].names})
        else:
            known.append(names)
            found.append(path)
    if len(found) <= MOST_PATHS:
        return found
    one = found[0]
    every: dict[str, dict[Value, None]] = {}
    for path in found:
        one = _both(one, path, {})
        for name, ways in path.names.items():
            every.setdefault(name, {}).update(dict.fromkeys(ways))
    return [Path({name: bounded(ways) for name, ways in every.items()}, one.tests, one.asked)]


def _both(first: Path, second: Path, names: dict[str, Ways]) -> Path:
    """What is certain on both paths."""
    tests = {test: came for test, came in first.tests.items() if second.tests.get(test) == came}
    return Path(names, tests, first.asked & second.asked)


def place_of(file: SourceFile, node: ast.expr | ast.stmt) -> Place:
    """Where `node` stands; ast counts columns in bytes of UTF-8."""
    before = file.lines[node.lineno - 1].encode()[: node.col_offset]
    return Place(file.name, node.lineno, node.end_lineno or node.lineno, len(before.decode(errors="ignore")) + 1)
