"""Every way through a body of statements, and the SQL that it runs on each. Nothing is executed."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import TYPE_CHECKING

from migrator.errors import MigratorError
from migrator.source import strings
from migrator.source.branching import asked_by, outcome
from migrator.source.calls import Calls
from migrator.source.containers import bind, elements
from migrator.source.evaluation import Evaluation
from migrator.source.path import Path, joined
from migrator.source.values import MORE, REPEATED, Class, Instance, Items, Pairs, Text, Value, Ways

if TYPE_CHECKING:
    from migrator.source.program import Program

_MOST_STEPS = 20_000
"""Statements times ways through one body: a hundred times what a long function of an application takes."""
_MOST_ROUNDS = 100
_COMPOUND = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match)


class TooManyWaysError(MigratorError):
    """A body has more ways through it than anybody would wait for."""


class Walk:
    """Walks one body. `returns` is what its statements return, `calls` what its expressions call, `current` the path at
    the statement that is walked now; a `nested` body sees the names around it."""

    def __init__(self, program: Program, evaluation: Evaluation, *, nested: bool = False) -> None:
        self.evaluation = evaluation
        self.calls = Calls(program, evaluation)
        self.nested = nested
        self.returns: list[Value] = []
        self.current = Path({})
        self._program = program
        self._owner: Class | None = None
        self._broken: list[Path] = []
        self._continued: list[Path] = []
        self._steps = 0

    def through(self, body: Iterable[ast.stmt], paths: list[Path]) -> list[Path]:
        """The ways that go on after `body`. Raises TooManyWaysError."""
        for statement in body:
            self._steps += len(paths)
            if self._steps > _MOST_STEPS:
                raise TooManyWaysError("there are too many ways through it")
            self._program.step(len(paths))
            after = [way for path in paths for way in self._statement(statement, path)]
            paths = joined(after) if isinstance(statement, _COMPOUND) else after
        return paths

    def class_body(self, owner: Class, body: Iterable[ast.stmt], path: Path) -> list[Path]:
        """As `through`; the functions in `body` are methods of `owner`."""
        outer, self._owner = self._owner, owner
        try:
            return self.through(body, [path])
        finally:
            self._owner = outer

    def _statement(self, statement: ast.stmt, path: Path) -> list[Path]:
        self.current = path
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                path.assign(statement.name, (self._program.function(statement, self._owner, self, path),))
            case ast.ClassDef():
                path.assign(statement.name, (self._program.class_of(statement, self, path),))
            case ast.Import() | ast.ImportFrom():
                for name, ways in self._program.imported(self, statement):
                    path.assign(name, ways)
            case ast.If():
                return self._branch(statement, path)
            case ast.For() | ast.AsyncFor():
                return self._for(statement, path)
            case ast.While():
                self.calls.visit(statement.test, path)
                return self._loop(statement, path)
            case ast.With() | ast.AsyncWith():
                return self._with(statement, path)
            case ast.Try() | ast.TryStar():
                return self._try(statement, path)
            case ast.Match():
                return self._match(statement, path)
            case ast.Break():
                self._broken.append(path)
                return []
            case ast.Continue():
                self._continued.append(path)
                return []
            case _:
                return self._simple(statement, path)
        return [path]

    def _simple(self, statement: ast.stmt, path: Path) -> list[Path]:
        for child in ast.iter_child_nodes(statement):
            self.calls.visit(child, path)
        match statement:
            case ast.Return(value=value):
                if value is not None:
                    ways = self.evaluation.ways(value, path)
                    self.returns.extend(ways)
                return []
            case ast.Raise():
                return []
            case ast.Assign(targets=targets, value=value):
                ways = self.evaluation.ways(value, path)
                for target in targets:
                    bind(self.evaluation, target, ways, path)
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                bind(self.evaluation, target, self.evaluation.ways(value, path), path)
            case ast.AugAssign(target=ast.Name(id=name) as target, op=operator, value=value):
                by = {ast.Add: strings.plus, ast.Mod: strings.percent, ast.Mult: strings.times}.get(type(operator))
                before, after = self.evaluation.ways(target, path), self.evaluation.ways(value, path)
                ways = self.evaluation.made(value, before, after, by) if by else self.evaluation.not_known(target)
                path.assign(name, ways)
            case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=attr)) as call):
                self._changed(name, attr, call, path)
        return [path]

    def _changed(self, name: str, method: str, call: ast.Call, path: Path) -> None:
        """A list after one of its methods was called."""
        before = path.names.get(name, ())
        if not any(isinstance(way, Items | Pairs) for way in before):
            return
        added: Ways = ()
        if method in ("append", "add") and len(call.args) == 1:
            added = tuple(Items((way,)) for way in self.evaluation.ways(call.args[0], path))
        elif method == "extend" and len(call.args) == 1:
            added = self.evaluation.ways(call.args[0], path)
        if added:
            path.assign(name, self.evaluation.made(call, before, added, strings.plus))
        else:
            path.assign(name, self.evaluation.not_known(call.func, "is changed at run time"))

    def _branch(self, statement: ast.If, path: Path) -> list[Path]:
        self.calls.visit(statement.test, path)
        known = outcome(self.evaluation, statement.test, path)
        after: list[Path] = []
        for came, body in ((True, statement.body), (False, statement.orelse)):
            if known in (None, came):
                way = path.fork()
                self._decide(statement.test, came, way)
                after += self.through(body, [way])
        return after

    def _decide(self, test: ast.expr, came: bool, path: Path) -> None:
        """Notes how `test` came out: it will again, as long as its names keep their values."""
        match test:
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return self._decide(operand, not came, path)
            case ast.BoolOp(op=operator, values=values) if isinstance(operator, ast.And) == came:
                for value in values:
                    self._decide(value, came, path)
        path.asked |= asked_by(self.evaluation, test, path)
        path.tests[self.evaluation.shown(test)] = came

    def _for(self, statement: ast.For | ast.AsyncFor, path: Path) -> list[Path]:
        self.calls.visit(statement.iter, path)
        source = self.evaluation.ways(statement.iter, path)
        only = source[0] if len(source) == 1 else None
        if not isinstance(only, Items) or len(only.elements) > _MOST_ROUNDS:
            bind(self.evaluation, statement.target, elements(self.evaluation, statement.iter, path), path)
            return self._loop(statement, path)
        paths, broken = [path], []
        for element in only.elements:
            for way in paths:
                bind(self.evaluation, statement.target, (element,), way)
            paths, left = self._round(statement.body, paths)
            broken += left
        return self.through(statement.orelse, paths) + broken

    def _loop(self, statement: ast.For | ast.AsyncFor | ast.While, path: Path) -> list[Path]:
        """A loop of which nobody knows how often it runs: once or more, or never where no way leads on."""
        before = path.fork()
        after, broken = self._round(statement.body, [path])
        for way in after + broken:
            for name, ways in way.names.items():
                old = before.names.get(name)
                if old is not None and old is not ways:
                    way.names[name] = tuple(_repeated(each, old) for each in ways)
        return self.through(statement.orelse, after or [before]) + broken

    def _round(self, body: Iterable[ast.stmt], paths: list[Path]) -> tuple[list[Path], list[Path]]:
        """Once through the body of a loop: the ways that may begin it again, and those that leave it there."""
        outer = self._broken, self._continued
        self._broken, self._continued = [], []
        try:
            return joined(self.through(body, paths) + self._continued), self._broken
        finally:
            self._broken, self._continued = outer

    def _with(self, statement: ast.With | ast.AsyncWith, path: Path) -> list[Path]:
        for item in statement.items:
            self.calls.visit(item.context_expr, path)
            if item.optional_vars is not None:
                found = self.evaluation.ways(item.context_expr, path)
                own = tuple(way for way in found if isinstance(way, Instance))
                ways = own or self.evaluation.not_known(item.context_expr)
                bind(self.evaluation, item.optional_vars, ways, path)
        return self.through(statement.body, [path])

    def _try(self, statement: ast.Try | ast.TryStar, path: Path) -> list[Path]:
        start = path.fork()
        after = self.through(statement.orelse, self.through(statement.body, [path]))
        for handler in statement.handlers:
            way = start.fork()
            if handler.name is not None and handler.type is not None:
                way.assign(handler.name, self.evaluation.not_known(handler.type))
            after += self.through(handler.body, [way])
        last = self.through(statement.finalbody, after or [start.fork()])
        return last if after else []

    def _match(self, statement: ast.Match, path: Path) -> list[Path]:
        self.calls.visit(statement.subject, path)
        after: list[Path] = []
        for case in statement.cases:
            way = path.fork()
            for node in ast.walk(case.pattern):
                if isinstance(node, ast.MatchAs | ast.MatchStar) and node.name is not None:
                    way.assign(node.name, self.evaluation.not_known(statement.subject))
            if case.guard is not None:
                self.calls.visit(case.guard, way)
            after += self.through(case.body, [way])
        last = statement.cases[-1]
        takes_all = isinstance(last.pattern, ast.MatchAs) and last.pattern.pattern is None and last.guard is None
        return after if takes_all else [*after, path]


def _repeated(way: Value, before: Ways) -> Value:
    """What grew in a loop may have grown more often."""
    if way == MORE:
        return way
    more = Text((REPEATED,))
    for old in before:
        if isinstance(way, Text) and isinstance(old, Text) and _starts_with(way.parts, old.parts):
            return way + more
        if isinstance(way, Items) and isinstance(old, Items) and _starts_with(way.elements, old.elements):
            return Items((*way.elements, more))
    return way


def _starts_with(longer: tuple[object, ...], start: tuple[object, ...]) -> bool:
    return len(longer) > len(start) and longer[: len(start)] == start
