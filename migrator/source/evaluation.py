"""What an expression of the source may stand for, found from the text alone."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from migrator.ddl import folded
from migrator.source import strings
from migrator.source.branching import asked_by, asking, outcome
from migrator.source.containers import comprehended, items_of, pairs_of, subscripted
from migrator.source.path import Path, bound_arguments, last_name, place_of
from migrator.source.tree import SourceFile
from migrator.source.values import (
    Class,
    Function,
    Instance,
    Literal,
    Module,
    Number,
    Pairs,
    Place,
    Runner,
    Text,
    Value,
    Ways,
    bounded,
    combined,
    every,
    is_known,
    unknown,
)

if TYPE_CHECKING:
    from migrator.source.program import Program

_SAME_TEXT = frozenset({"dedent", "cleandoc", "text", "str", "list", "tuple", "set", "frozenset", "sorted", "iter"})
"""Functions whose result is their argument, as far as SQL goes (`text` is SQLAlchemy's)."""
_SHOWN_LETTERS = 40
_AT_RUN_TIME = "is computed at run time"


class Evaluation:
    """Evaluates the expressions of one file; nothing of it is run."""

    def __init__(
        self, program: Program, file: SourceFile, enclosing: Mapping[str, Ways], *, asks: bool = False
    ) -> None:
        """`asks` is whether the body of these expressions looks for columns or tables in the database's schema."""
        self._program = program
        self.file = file
        self.enclosing = enclosing
        self.asks = asks
        self._unknown: dict[tuple[ast.AST, str], Ways] = {}
        self._texts: dict[ast.AST, str] = {}

    def place(self, node: ast.expr) -> Place:
        """Where `node` stands."""
        return place_of(self.file, node)

    def shown(self, node: ast.expr) -> str:
        """The expression on one line."""
        if node not in self._texts:
            self._texts[node] = " ".join(ast.unparse(node).split())
        return self._texts[node]

    def not_known(self, node: ast.expr, why: str = _AT_RUN_TIME, asks: frozenset[str] = frozenset()) -> Ways:
        """The hole that `node` leaves."""
        if (node, why) not in self._unknown:
            shown = self.shown(node)
            shown = shown if len(shown) <= _SHOWN_LETTERS else shown[: _SHOWN_LETTERS - 3] + "..."
            self._unknown[node, why] = unknown(shown, why, asks=asks)
        return self._unknown[node, why]

    def ways(self, node: ast.expr, path: Path) -> Ways:
        """Everything that `node` may stand for on `path`, whose names a walrus in it changes."""
        match node:
            case ast.Constant(value=str() as text):
                return (Text((self._literal(node, text),)),)
            case ast.Constant(value=value):
                return (Number(value),)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as count)):
                return (Number(-count),)
            case ast.JoinedStr():
                return self._joined_string(node, path)
            case ast.BinOp(op=ast.Add()):
                return self._sum(node, path)
            case ast.BinOp(left=left, op=ast.Mod(), right=right):
                return self.made(node, self.ways(left, path), self.ways(right, path), strings.percent)
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                return self.made(node, self.ways(left, path), self.ways(right, path), strings.times)
            case ast.BoolOp(values=values):
                return bounded(way for value in values for way in self.ways(value, path))
            case ast.IfExp(test=test, body=body, orelse=orelse):
                came = outcome(self, test, path)
                branches = [body, orelse] if came is None else [body if came else orelse]
                asks = asked_by(self, test, path)
                return bounded(asking(way, asks) for branch in branches for way in self.ways(branch, path))
            case ast.NamedExpr(target=target, value=value):
                path.assign(target.id, self.ways(value, path))
                return path.names[target.id]
            case ast.Name():
                return self._name(node, path)
            case ast.Attribute(value=value, attr=attr):
                return bounded(way for owner in self.ways(value, path) for way in self._attribute(node, owner, attr))
            case ast.Await(value=value):
                return self.ways(value, path)
            case ast.List(elts=elements) | ast.Tuple(elts=elements) | ast.Set(elts=elements):
                return items_of(self, node, elements, path)
            case ast.Dict():
                return pairs_of(self, node, path)
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp():
                return comprehended(self, node, path)
            case ast.Subscript():
                return subscripted(self, node, path)
            case ast.Call():
                return self._call(node, path)
        return self.not_known(node)

    def made(self, node: ast.expr, left: Ways, right: Ways, by: Callable[[Value, Value], Value | None]) -> Ways:
        """`by` of every way of both sides; the hole of `node` where nobody can know."""
        return combined(left, right, lambda a, b: by(a, b) or self.not_known(node)[0])

    def _literal(self, node: ast.expr, text: str, breaks_before: int = 0, breaks: int | None = None) -> Literal:
        """`breaks` are the line breaks of the whole string; where the source has as many, each stands in its line."""
        place = self.place(node)
        by_line = (text.count("\n") if breaks is None else breaks) == place.end_line - place.line
        return Literal(text, place.below(breaks_before * by_line), by_line)

    def _joined_string(self, node: ast.JoinedStr, path: Path) -> Ways:
        spelled = [str(v.value) for v in node.values if isinstance(v, ast.Constant)]
        breaks, before = sum(text.count("\n") for text in spelled), 0
        found: Ways = (Text(),)
        for value in node.values:
            if isinstance(value, ast.FormattedValue):
                plain = value.format_spec is None and value.conversion in (-1, ord("s"))
                each = self.ways(value.value, path) if plain else self.not_known(value.value, "is formatted")
                ways = tuple(strings.inserted(way, self.place(node)) or self.not_known(value.value)[0] for way in each)
            else:
                text = str(value.value) if isinstance(value, ast.Constant) else ""
                ways = (Text((self._literal(node, text, before, breaks),)),)
                before += text.count("\n")
            found = self.made(node, found, ways, strings.plus)
        return found

    def _sum(self, node: ast.BinOp, path: Path) -> Ways:
        """A long sum leans to the left: taken apart in a loop, whatever its length."""
        terms: list[ast.expr] = []
        first: ast.expr = node
        while isinstance(first, ast.BinOp) and isinstance(first.op, ast.Add):
            terms.append(first.right)
            first = first.left
        found = self.ways(first, path)
        for term in reversed(terms):
            found = self.made(node, found, self.ways(term, path), strings.plus)
        return found

    def _name(self, node: ast.Name, path: Path) -> Ways:
        for names in (path.names, self.enclosing, self._program.names_of(self.file)):
            if node.id in names:
                return names[node.id]
        return self.not_known(node, "is set outside of this source")

    def _attribute(self, node: ast.expr, owner: Value, attr: str) -> Ways:
        ways: Ways | None = None
        if isinstance(owner, Module):
            below = self._program.below(owner.file, attr)
            ways = self._program.names_of(owner.file).get(attr) or ((Module(below),) if below else None)
        elif isinstance(owner, Class | Instance):
            ways = (owner if isinstance(owner, Class) else owner.of).named(attr)
            first = ways[0] if ways else None
            if isinstance(first, Function) and any(
                last_name(d).endswith("property") for d in first.node.decorator_list
            ):
                ways = self._program.returned(first, {})
        elif attr == "value" and is_known((owner,)):
            # A member of an Enum.
            ways = (owner,)
        if not ways and attr in self._program.runners:
            ways = (Runner(attr),)
        return ways or self.not_known(node, "is set at run time")

    def _call(self, node: ast.Call, path: Path) -> Ways:
        name = last_name(node.func)
        if name in _SAME_TEXT and len(node.args) == 1 and not node.keywords:
            return self.ways(node.args[0], path)
        passed = self.arguments(node, path)
        if passed is None:
            return self.not_known(node, "is called with arguments that only a run knows")
        arguments, named = passed
        if isinstance(node.func, ast.Attribute):
            receivers = self.ways(node.func.value, path)
            if any(isinstance(r, Text | Pairs) and is_known((r,)) for r in receivers):
                return self._method(node, receivers, arguments, named)
        found: list[Value] = []
        for called in self.ways(node.func, path):
            asks: frozenset[str] = frozenset()
            ways: Ways = ()
            if isinstance(called, Class):
                ways = (Instance(called),)
            elif isinstance(called, Function):
                asks = _asked(called, arguments)
                ways = () if asks else self._program.returned(called, bound_arguments(called, arguments, named))
            found.extend(ways or self.not_known(node, f"is what {name or 'a call'}() returns", asks))
        return bounded(found)

    def arguments(self, node: ast.Call, path: Path) -> tuple[list[Ways], dict[str, Ways]] | None:
        """What a call passes by position and by name; None where that is unpacked from something."""
        if any(isinstance(a, ast.Starred) for a in node.args) or any(k.arg is None for k in node.keywords):
            return None
        named = {k.arg: self.ways(k.value, path) for k in node.keywords if k.arg is not None}
        return [self.ways(a, path) for a in node.args], named

    def _method(self, node: ast.Call, receivers: Ways, arguments: list[Ways], named: dict[str, Ways]) -> Ways:
        def call(given: Sequence[Value]) -> Value:
            by_name = dict(zip(named, given[1 + len(arguments) :], strict=True))
            made = strings.method(last_name(node.func), given[0], given[1 : 1 + len(arguments)], by_name)
            return made or self.not_known(node)[0]

        return every([receivers, *arguments, *named.values()], call)


def _asked(called: Function, arguments: Iterable[Ways]) -> frozenset[str]:
    if not called.asks:
        return frozenset()
    texts = (way.plain for ways in arguments for way in ways if isinstance(way, Text))
    return frozenset(folded(text) for text in texts if text)
