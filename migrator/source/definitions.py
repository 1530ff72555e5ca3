"""What the definitions of the source say of their names: parameters, attributes, imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from migrator.source.evaluation import Evaluation
from migrator.source.path import Path, last_name
from migrator.source.tree import SourceFile
from migrator.source.values import Class, Function, Instance, Ways, unknown

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
_CHANGES = frozenset({"append", "extend", "insert", "add", "update", "setdefault", "remove", "pop", "clear"})


def parameter_id(function: Function, name: str) -> str:
    """What a hole says of the parameter that it is."""
    return f"{function.file.name}:{function.node.lineno} {name}"


def parameters(function: Function, known: Mapping[str, Ways], evaluation: Evaluation) -> Iterator[tuple[str, Ways]]:
    """What each parameter stands for inside: what is known of it, or a default of the function's own, or a hole."""
    found = function.node.args
    positional = [*found.posonlyargs, *found.args]
    defaults = [None] * (len(positional) - len(found.defaults)) + found.defaults + found.kw_defaults
    nowhere = Path({})
    decorators = {last_name(d) for d in function.node.decorator_list}
    for index, (argument, default) in enumerate(zip([*positional, *found.kwonlyargs], defaults, strict=True)):
        if index == 0 and function.owner is not None and "staticmethod" not in decorators:
            if argument.arg in known:
                yield argument.arg, known[argument.arg]
                continue
            yield argument.arg, (function.owner if "classmethod" in decorators else Instance(function.owner),)
            continue
        if argument.arg in known:
            yield argument.arg, known[argument.arg]
            continue
        why = f"is what callers of {function.name}() pass"
        ways = unknown(argument.arg, why, parameter_id(function, argument.arg))
        if isinstance(default, ast.Constant) and isinstance(default.value, str):
            ways = (*evaluation.ways(default, nowhere), *ways)
        if isinstance(argument.annotation, ast.Name | ast.Attribute):
            of = [way for way in evaluation.ways(argument.annotation, nowhere) if isinstance(way, Class)]
            ways = tuple(Instance(way) for way in of) or ways
        yield argument.arg, ways
    for rest in (found.vararg, found.kwarg):
        if rest is not None:
            yield rest.arg, unknown(rest.arg, f"is what callers of {function.name}() pass")


def own_object(function: Function, heir: Class) -> dict[str, Ways]:
    """What the first parameter of a method is where `heir` inherits it; empty where it reads nothing that is other
    there."""
    owner, found = function.owner, function.node.args
    decorators = {last_name(d) for d in function.node.decorator_list}
    first = next((a.arg for a in (*found.posonlyargs, *found.args)), None)
    if owner is None or first is None or "staticmethod" in decorators:
        return {}
    read = {n.attr for n in ast.walk(function.node) if isinstance(n, ast.Attribute) and last_name(n.value) == first}
    if all(heir.named(name) is owner.named(name) for name in read):
        return {}
    return {first: (heir if "classmethod" in decorators else Instance(heir),)}


def attributes(node: ast.ClassDef, evaluation: Evaluation, path: Path) -> Iterator[tuple[str, Ways]]:
    """What instances of a class have of their own: known where one place sets it, to what a module knows."""
    set_by: dict[str, list[tuple[FunctionNode | None, ast.expr | None]]] = {}
    for statement in node.body:
        match statement:
            # A field of a dataclass, say; ClassVar and Final say that it is none.
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation):
                if last_name(annotation) not in ("ClassVar", "Final"):
                    set_by.setdefault(name, []).append((None, None))
        if not isinstance(statement, FunctionNode):
            continue
        for found in ast.walk(statement):
            for changed in changed_in_place(found):
                if isinstance(changed, ast.Attribute) and last_name(changed.value) == "self":
                    set_by.setdefault(changed.attr, []).append((None, None))
            targets = found.targets if isinstance(found, ast.Assign) else [getattr(found, "target", None)]
            for target in targets:
                if isinstance(target, ast.Attribute) and last_name(target.value) == "self":
                    value = found.value if isinstance(found, ast.Assign | ast.AnnAssign) else None
                    set_by.setdefault(target.attr, []).append((statement, value))
    for name, places in set_by.items():
        method, value = places[0]
        if len(places) > 1 or method is None or value is None:
            yield name, unknown(name, "is set at run time")
            continue
        inside = path.fork()
        inside.names.update((local, unknown(local, "is set by a method")) for local in _local_names(method))
        yield name, evaluation.ways(value, inside)


def changed_in_place(node: ast.AST) -> Iterator[ast.expr]:
    """The lists and dictionaries that a statement changes, and leaves under their names."""
    match node:
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=changed, attr=attr))) if attr in _CHANGES:
            yield changed
        case ast.Subscript(value=changed, ctx=ast.Store() | ast.Del()):
            yield changed


def changed_names(function: FunctionNode) -> Iterator[str]:
    """The names of its module that a function changes, or sets anew."""
    own = {*_local_names(function)}
    for node in ast.walk(function):
        yield from node.names if isinstance(node, ast.Global) else ()
        for changed in changed_in_place(node):
            if isinstance(changed, ast.Name) and changed.id not in own:
                yield changed.id


def _local_names(method: FunctionNode) -> Iterator[str]:
    for node in ast.walk(method):
        if isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def imported_module(file: SourceFile, node: ast.ImportFrom) -> str:
    """The dotted name that `node` imports from, relative ones made absolute."""
    if not node.level:
        return node.module or ""
    package = file.module.split(".") if file.is_package else file.module.split(".")[:-1]
    above = package[: len(package) - node.level + 1]
    return ".".join([*above, *([node.module] if node.module else [])])
