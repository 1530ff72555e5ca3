"""The calls in an expression: those that run SQL, and those of the source's own functions."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from migrator.source.branching import looked_up
from migrator.source.containers import bind, elements
from migrator.source.evaluation import Evaluation
from migrator.source.path import Path, Run, bound_arguments, last_name, parameters_in
from migrator.source.values import Function, Items, Pairs, Runner, Value, Ways, is_known

if TYPE_CHECKING:
    from migrator.source.program import Program

_SQL_NAMES = ("sql", "query", "statement")
_READS_ONLY = frozenset(
    {"len", "list", "tuple", "sorted", "set", "enumerate", "zip", "any", "all", "print", "str", "join", "map", "range"}
)
"""Functions that leave a list which they are passed as it is."""


Scope = ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp | ast.Lambda
Scopes = tuple[Scope, ...]
Met = ast.Call | ast.Yield | ast.NamedExpr


class Calls:
    """Meets the calls of one body. `needs` are the parameters on which the SQL that they run depends, `yields` what the
    body yields."""

    def __init__(self, program: Program, evaluation: Evaluation) -> None:
        self.needs: set[str] = set()
        self.yields: list[Value] = []
        self._program = program
        self._evaluation = evaluation

    def visit(self, node: ast.AST, path: Path) -> None:
        """Meets every call in an expression, however deeply it is nested."""
        inside: dict[Scopes, Path] = {(): path}
        for scopes, met in self._program.met_in(node):
            for depth in range(len(scopes)):
                if scopes[: depth + 1] not in inside:
                    inside[scopes[: depth + 1]] = self._inside(scopes[depth], inside[scopes[:depth]])
            if isinstance(met, ast.Call):
                self._called(met, inside[scopes])
            elif isinstance(met, ast.NamedExpr):
                self._evaluation.ways(met, inside[scopes])
            elif met.value is not None:
                self.yields.extend(self._evaluation.ways(met.value, inside[scopes]))

    def _inside(self, scope: Scope, path: Path) -> Path:
        """The path in a comprehension or lambda, with its own names."""
        path = path.fork()
        if isinstance(scope, ast.Lambda):
            for argument in scope.args.args:
                path.assign(argument.arg, self._evaluation.not_known(scope))
        else:
            for loop in scope.generators:
                bind(self._evaluation, loop.target, elements(self._evaluation, loop.iter, path), path)
        return path

    def _called(self, node: ast.Call, path: Path) -> None:
        self._program.reached(node)
        method, sql = self._sql(node, path)
        if sql is not None:
            ways = self._evaluation.ways(sql, path)
            self.needs |= parameters_in(ways)
            self._program.runs(Run(self._evaluation.place(node), method, ways, path.asked))
            parameters = self._evaluation.ways(node.args[1], path) if sql in node.args[:1] and node.args[1:] else ()
            path.asked |= looked_up(ways, parameters)
        called = [way for way in self._evaluation.ways(node.func, path) if isinstance(way, Function)]
        if not called and isinstance(node.func, ast.Attribute):
            called = [*self._program.methods(node.func.attr)]
        for function in called:
            needs = self._program.needs(function)
            passed = self._evaluation.arguments(node, path) if needs else None
            if passed is not None:
                given = bound_arguments(function, *passed)
                self._program.inform(function, given)
                self.needs |= {p for name, ways in given.items() if name in needs for p in parameters_in(ways)}
        if method or last_name(node.func) in _READS_ONLY:
            return
        for argument in node.args:
            if isinstance(argument, ast.Name) and _can_change(path.names.get(argument.id, ())):
                path.assign(argument.id, self._evaluation.not_known(argument, "may be changed by a call"))

    def _sql(self, node: ast.Call, path: Path) -> tuple[str, ast.expr | None]:
        """The method that runs SQL, "" where none does, and the SQL: of a call, or of one that is passed on."""
        method = self._runner(node.func, path)
        if method:
            named = [k.value for k in node.keywords if k.arg in _SQL_NAMES]
            return method, next(iter([*node.args, *named]), None)
        for argument, following in zip(node.args, node.args[1:], strict=False):
            # asyncio.to_thread(connection.execute, sql)
            method = self._runner(argument, path)
            if method:
                return method, following
        return "", None

    def _runner(self, node: ast.expr, path: Path) -> str:
        if isinstance(node, ast.Attribute) and node.attr in self._program.runners:
            return node.attr
        if not isinstance(node, ast.Name):
            return ""
        if node.id in ("read_sql", "read_sql_query"):
            return node.id
        return next((way.method for way in path.names.get(node.id, ()) if isinstance(way, Runner)), "")


def _can_change(ways: Ways) -> bool:
    return is_known(ways) and any(isinstance(way, Items | Pairs) for way in ways)


def calls_below(node: ast.AST) -> list[tuple[Scopes, Met]]:
    """The calls, yields and walruses below `node` in their order, with the comprehensions and lambdas round each."""
    found: list[tuple[Scopes, Met]] = []
    pending: list[tuple[Scopes, ast.AST]] = [((), node)]
    while pending:
        scopes, node = pending.pop()
        if isinstance(node, Scope):
            scopes = (*scopes, node)
        elif isinstance(node, Met):
            found.append((scopes, node))
        pending.extend((scopes, child) for child in reversed(list(ast.iter_child_nodes(node))))
    return found
