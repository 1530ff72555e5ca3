"""How a test of the source comes out, and what it looks for in the database's schema."""

from __future__ import annotations

import ast
from dataclasses import replace
from typing import TYPE_CHECKING

from migrator.ddl import folded, tokens, words
from migrator.source.path import Path
from migrator.source.values import Items, Number, Pairs, Text, Value, Ways

if TYPE_CHECKING:
    from migrator.source.evaluation import Evaluation

_SCHEMA_TABLES = ("sqlite_master", "sqlite_schema")


def outcome(evaluation: Evaluation, test: ast.expr, path: Path) -> bool | None:
    """How `test` comes out on `path`; None where it may do either."""
    match test:
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            came = outcome(evaluation, operand, path)
            return None if came is None else not came
        case ast.BoolOp(op=operator, values=values):
            all_of = isinstance(operator, ast.And)
            came_out = [outcome(evaluation, value, path) for value in values]
            if (not all_of) in came_out:
                return not all_of
            return None if None in came_out else all_of
        case ast.Name() | ast.NamedExpr() | ast.Constant():
            found = {_truth(way) for way in evaluation.ways(test, path)}
            if len(found) == 1 and None not in found:
                return found.pop()
    return path.tests.get(evaluation.shown(test))


def asked_by(evaluation: Evaluation, test: ast.expr, path: Path) -> frozenset[str]:
    """The columns for which `test` looks in the schema."""
    match test:
        case ast.UnaryOp(operand=operand):
            return asked_by(evaluation, operand, path)
        case ast.BoolOp(values=values):
            return frozenset().union(*(asked_by(evaluation, value, path) for value in values))
        case ast.Compare(left=ast.Constant(value=str() as column), ops=[ast.In() | ast.NotIn()]) if evaluation.asks:
            return frozenset({folded(column)})
        case ast.Name() | ast.Call():
            holes = (way.hole for way in evaluation.ways(test, path) if isinstance(way, Text))
            return frozenset().union(*(hole.asks for hole in holes if hole is not None))
    return frozenset()


def looked_up(queries: Ways, parameters: Ways) -> frozenset[str]:
    """The names of tables that a query of the schema is given, in its strings or as its parameters."""
    texts = [way.plain for way in queries if isinstance(way, Text) and way.plain]
    asking_texts = [text for text in texts if any(word in words(text) for word in _SCHEMA_TABLES)]
    if not asking_texts:
        return frozenset()
    spelled = [token.text[1:-1] for text in asking_texts for token in tokens(text) if token.kind == "string"]
    given = [each for way in parameters if isinstance(way, Items) for each in way.elements]
    return frozenset(map(folded, [*spelled, *(each.plain for each in given if isinstance(each, Text) and each.plain)]))


def asking(way: Value, asks: frozenset[str]) -> Value:
    """`way` as it is used only where the schema has the columns `asks`, or has not."""
    if not asks or not isinstance(way, Text):
        return way
    return Text(tuple(replace(part, asks=part.asks | asks) for part in way.parts))


def _truth(way: Value) -> bool | None:
    """Whether `way` counts as true; None where only a run knows."""
    if isinstance(way, Text):
        spelled = any(part.text for part in way.literals)
        return True if spelled else None if way.holes else False
    if isinstance(way, Items):
        return bool(way.elements)
    if isinstance(way, Pairs):
        return bool(way.items)
    return bool(way.value) if isinstance(way, Number) else None
