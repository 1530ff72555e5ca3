"""Lists, tuples, dictionaries and what is taken out of them, as far as the text of the source tells."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import TYPE_CHECKING

from migrator.source import strings
from migrator.source.path import Path
from migrator.source.values import Items, Literal, Number, Pairs, Text, Value, Ways, bounded

if TYPE_CHECKING:
    from migrator.source.evaluation import Evaluation


def items_of(evaluation: Evaluation, node: ast.expr, elements: Iterable[ast.expr], path: Path) -> Ways:
    """A list, a tuple or a set with `elements`."""
    found: Ways = (Items(()),)
    for element in elements:
        if isinstance(element, ast.Starred):
            ways = evaluation.ways(element.value, path)
        else:
            ways = tuple(Items((way,)) for way in evaluation.ways(element, path))
        found = evaluation.made(node, found, ways, strings.plus)
    return found


def pairs_of(evaluation: Evaluation, node: ast.Dict, path: Path) -> Ways:
    """A dictionary; the hole of `node` where a key is computed."""
    found: Ways = (Pairs(()),)
    for key, value in zip(node.keys, node.values, strict=True):
        ways = evaluation.ways(value, path)
        if isinstance(key, ast.Constant):
            ways = tuple(Pairs(((str(key.value), way),)) for way in ways)
        elif key is not None:
            return evaluation.not_known(node)
        found = evaluation.made(node, found, ways, strings.plus)
    return found


def comprehended(evaluation: Evaluation, node: ast.ListComp | ast.SetComp | ast.GeneratorExp, path: Path) -> Ways:
    """What a comprehension over a known list yields."""
    loop = node.generators[0]
    source = evaluation.ways(loop.iter, path)
    only = source[0] if len(source) == 1 else None
    if isinstance(only, Pairs):
        only = Items(_keys(evaluation, loop.iter, only))
    if len(node.generators) > 1 or loop.ifs or not isinstance(only, Items):
        return evaluation.not_known(node)
    inner = path.fork()
    found: Ways = (Items(()),)
    for element in only.elements:
        bind(evaluation, loop.target, (element,), inner)
        each = tuple(Items((way,)) for way in evaluation.ways(node.elt, inner))
        found = evaluation.made(node, found, each, strings.plus)
    return found


def elements(evaluation: Evaluation, node: ast.expr, path: Path) -> Ways:
    """What one element of `node` may be."""
    found: list[Value] = []
    for way in evaluation.ways(node, path):
        if isinstance(way, Items):
            found.extend(way.elements)
        elif isinstance(way, Pairs):
            found.extend(_keys(evaluation, node, way))
        else:
            found.extend(evaluation.not_known(node, "yields what only a run knows"))
    return bounded(found)


def _keys(evaluation: Evaluation, node: ast.expr, pairs: Pairs) -> tuple[Text, ...]:
    return tuple(Text((Literal(key, evaluation.place(node)),)) for key in dict(pairs.items))


def bind(evaluation: Evaluation, target: ast.expr, ways: Ways, path: Path) -> None:
    """Gives the names in `target` their values; of a tuple, one by one where it has as many."""
    match target:
        case ast.Name(id=name):
            path.assign(name, ways)
        case ast.Tuple(elts=targets) | ast.List(elts=targets):
            for index, one in enumerate(targets):
                alike = [w for w in ways if isinstance(w, Items) and len(w.elements) == len(targets)]
                each = bounded(w.elements[index] for w in alike)
                known = len(alike) == len(ways)
                bind(evaluation, one, each if known else evaluation.not_known(one, "is unpacked"), path)
        case ast.Starred(value=value):
            bind(evaluation, value, evaluation.not_known(value, "is unpacked"), path)
        case ast.Subscript(value=ast.Name(id=name)):
            path.assign(name, evaluation.not_known(target, "is changed at run time"))


def subscripted(evaluation: Evaluation, node: ast.Subscript, path: Path) -> Ways:
    """One element, or a text without its last letters; the hole of `node` for any other slice."""
    owners = evaluation.ways(node.value, path)
    if not isinstance(node.slice, ast.Slice):
        keys = evaluation.ways(node.slice, path)
        return bounded(way for owner in owners for key in keys for way in _element(evaluation, node, owner, key))
    upper = evaluation.ways(node.slice.upper, path) if node.slice.upper is not None else ()
    cut = [w.value for w in upper if isinstance(w, Number) and isinstance(w.value, int) and w.value < 0]
    if node.slice.lower is not None or len(cut) != 1:
        return evaluation.not_known(node)
    return bounded(
        (isinstance(way, Text) and strings.without_end(way, -cut[0])) or evaluation.not_known(node)[0] for way in owners
    )


def _element(evaluation: Evaluation, node: ast.expr, owner: Value, key: Value) -> Ways:
    """The element where the key is known, else every one."""
    wanted = key.plain if isinstance(key, Text) else key.value if isinstance(key, Number) else None
    if isinstance(owner, Pairs) and owner.items:
        known = dict(owner.items)
        return (known[str(wanted)],) if str(wanted) in known else tuple(known.values())
    if isinstance(owner, Items) and owner.elements:
        fits = isinstance(wanted, int) and -len(owner.elements) <= wanted < len(owner.elements)
        return (owner.elements[wanted],) if isinstance(wanted, int) and fits else owner.elements
    return evaluation.not_known(node)
