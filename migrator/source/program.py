"""A whole source tree: its modules, functions and classes, and every run of SQL in them."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from migrator.source import building
from migrator.source.calls import Met, Scopes, calls_below
from migrator.source.definitions import (
    FunctionNode,
    attributes,
    changed_names,
    imported_module,
    own_object,
    parameter_id,
    parameters,
)
from migrator.source.evaluation import Evaluation
from migrator.source.path import RUNNERS, Path, Run, asks_the_schema, parameters_in, place_of
from migrator.source.tree import SourceFile
from migrator.source.values import (
    Class,
    Function,
    Items,
    Module,
    Place,
    Ways,
    bounded,
    is_known,
    unknown,
)
from migrator.source.walk import TooManyWaysError, Walk

_DEEPEST_CALL = 12
_MOST_STEPS = 1_000_000
"""Statements walked in a whole tree, a minute or two; one of 850 files took 110,000."""
_MOST_CALLS = 1000
"""Calls of one function that pass it different text."""


@dataclass(frozen=True)
class Outcome:
    """What a call of a function returns, and the names of the parameters on which the SQL depends that it runs."""

    returns: Ways = ()
    needs: frozenset[str] = frozenset()


Key = tuple[Function, tuple[tuple[str, Ways], ...]]


class Program:
    """Walks every body once with nothing known of its parameters, and again for each call that passes text on which
    its SQL depends."""

    def __init__(self, files: Sequence[SourceFile]) -> None:
        self.files = files
        self.uses_builder = building.is_used(files)
        """Whether the SQL of some calls stands nowhere in the source."""
        self.runners = RUNNERS | building.RUNNERS if self.uses_builder else RUNNERS
        self.found: dict[Run, None] = {}
        self.not_walked: list[tuple[Place, str]] = []
        self.informed: set[str] = set()
        self._modules = {file.module: file for file in files}
        self._names: dict[SourceFile, dict[str, Ways]] = {}
        self._importing: dict[SourceFile, Walk] = {}
        self._functions: dict[ast.AST, Function] = {}
        self._defined: list[Function] = []
        self._classes: dict[ast.AST, Class] = {}
        self._outcomes: dict[Key, Outcome] = {}
        self._walking: list[Function] = []
        self._waiting: list[tuple[Function, Mapping[str, Ways]]] = []
        self._called: Counter[Function] = Counter()
        self._met: set[ast.Call] = set()
        self._steps = 0
        self._calls: dict[ast.AST, list[tuple[Scopes, Met]]] = {}
        self._methods: dict[str, list[Function]] = {}

    def walk(self) -> None:
        """Walks everything; `found` then holds every run of SQL, `not_walked` where nobody could get through."""
        for file in self.files:
            self.names_of(file)
        # Walking one may define more, nested in it.
        for function in self._defined:
            self._outcome(function, {})
        for function, heir in tuple(self._inherited()):
            self._outcome(function, own_object(function, heir))
        while self._waiting:
            self.inform(*self._waiting.pop())
        for file in self.files:
            for node in ast.walk(file.tree):
                if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                    continue
                runs = node.func.attr in self.runners and (node.args or node.keywords)
                if runs and node not in self._met:
                    self.not_walked.append((place_of(file, node), "no way through the code was found that leads there"))

    def names_of(self, file: SourceFile) -> Mapping[str, Ways]:
        """What a file's names stand for once it was imported, or so far while it is."""
        if file in self._importing:
            return self._importing[file].current.names
        if file not in self._names:
            body = Walk(self, Evaluation(self, file, {}))
            self._importing[file] = body
            ends = self._through(body, file.tree.body, {}, file, 1)
            del self._importing[file]
            names: dict[str, list[Ways]] = {}
            for path in ends or [body.current]:
                for name, ways in path.names.items():
                    names.setdefault(name, []).append(ways)
            self._names[file] = {name: bounded(w for ways in every for w in ways) for name, every in names.items()}
            for node in ast.walk(file.tree):
                for name in {*changed_names(node)} if isinstance(node, FunctionNode) else ():
                    changed = unknown(name, "is changed by a function")
                    self._names[file][name] = bounded((*self._names[file].get(name, ()), *changed))
        return self._names[file]

    def below(self, file: SourceFile, name: str) -> SourceFile | None:
        """The module `name` of the package `file`."""
        return self._modules.get(f"{file.module}.{name}") if file.is_package else None

    def returned(self, function: Function, given: Mapping[str, Ways]) -> Ways:
        """What a call that passes `given` returns; empty where nothing is known of it."""
        base = self._outcome(function, {}).returns
        depends = parameters_in(base)
        known = {name: ways for name, ways in given.items() if parameter_id(function, name) in depends}
        return self._outcome(function, known).returns if known else base

    def needs(self, function: Function) -> frozenset[str]:
        """The parameters of `function` on which SQL depends; all of them where that cannot be known yet.

        None for a call of itself: text that grows with each one would have no end.
        """
        if function in self._walking:
            return frozenset()
        if not self._is_ready(function):
            return frozenset(a.arg for a in ast.walk(function.node.args) if isinstance(a, ast.arg))
        return self._outcome(function, {}).needs

    def inform(self, function: Function, given: Mapping[str, Ways]) -> None:
        """Walks `function` for a call that passes `given`: now, or as soon as it can be walked."""
        if not self._is_ready(function):
            self._waiting.append((function, given))
            return
        needs = self.needs(function)
        known = {name: ways for name, ways in given.items() if name in needs}
        if _key(function, known) in self._outcomes:
            return
        self._called[function] += 1
        if len(self._walking) >= _DEEPEST_CALL:
            self._not_walked(function.file, function.node.lineno, f"more than {_DEEPEST_CALL} calls lead there")
        elif self._called[function] > _MOST_CALLS:
            self._not_walked(function.file, function.node.lineno, f"more than {_MOST_CALLS:,} calls pass it SQL")
        else:
            self._outcome(function, known)

    def _is_ready(self, function: Function) -> bool:
        is_deep = len(self._walking) >= _DEEPEST_CALL and (function, ()) not in self._outcomes
        return not is_deep and function.file not in self._importing and function not in self._walking

    def met_in(self, node: ast.AST) -> list[tuple[Scopes, Met]]:
        """The calls and yields in an expression."""
        if node not in self._calls:
            self._calls[node] = calls_below(node)
        return self._calls[node]

    def methods(self, name: str) -> Sequence[Function]:
        """The methods of that name, of any class, for a call on an object of which nothing is known."""
        return () if name.startswith("__") else self._methods.get(name, ())

    def _inherited(self) -> Iterator[tuple[Function, Class]]:
        """Every method that a class has of one above it, with that class."""
        for heir in self._classes.values():
            for name in dict.fromkeys(name for above in heir.above for name in above.names):
                for way in heir.named(name) or ():
                    if isinstance(way, Function) and way.owner is not heir:
                        yield way, heir

    def reached(self, node: ast.Call) -> None:
        """A way leads to this call."""
        self._met.add(node)

    def runs(self, run: Run) -> None:
        """A way leads to this run of SQL."""
        # A file that is being imported is walked again when all its names are known.
        if not self._walking or self._walking[-1].file not in self._importing:
            self.found[run] = None

    def function(self, node: FunctionNode, owner: Class | None, body: Walk, path: Path) -> Function:
        """The function that `body` defines; a nested one sees the names around it."""
        found = self._functions.get(node)
        if found is None:
            found = Function(node, body.evaluation.file, owner, asks_the_schema(node))
            self._functions[node] = found
            self._defined.append(found)
            if owner is not None:
                self._methods.setdefault(node.name, []).append(found)
        if body.nested:
            for name, ways in {**body.evaluation.enclosing, **path.names}.items():
                found.enclosing[name] = bounded((*found.enclosing.get(name, ()), *ways))
        return found

    def class_of(self, node: ast.ClassDef, body: Walk, path: Path) -> Class:
        """The class that `body` defines."""
        if node in self._classes:
            return self._classes[node]
        bases = [way for base in node.bases for way in body.evaluation.ways(base, path)]
        found = Class(node, body.evaluation.file, {}, tuple(way for way in bases if isinstance(way, Class)))
        self._classes[node] = found
        for end in body.class_body(found, node.body, path.fork()):
            for name, ways in end.names.items():
                if ways is not path.names.get(name):
                    found.names[name] = bounded((*found.names.get(name, ()), *ways))
        for name, ways in attributes(node, body.evaluation, path):
            found.names[name] = bounded((*found.names.get(name, ()), *ways))
        return found

    def imported(self, body: Walk, node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, Ways]]:
        """The names that an import sets to something of the tree; others stay unknown."""
        for alias in node.names:
            bound = alias.asname or alias.name.split(".")[0]
            if isinstance(node, ast.Import):
                module = self._module(alias.name if alias.asname else bound)
                ways: Ways | None = (Module(module),) if module else None
            else:
                base = imported_module(body.evaluation.file, node)
                module = self._module(base)
                if alias.name == "*":
                    yield from self.names_of(module).items() if module else ()
                    continue
                below = self._module(f"{base}.{alias.name}" if base else alias.name)
                ways = (self.names_of(module).get(alias.name) if module else None) or (
                    (Module(below),) if below else None
                )
            yield bound, ways or unknown(bound, "is imported from outside of this source")

    def _module(self, dotted: str) -> SourceFile | None:
        """The file of that module: the folder may lie above the import path (src/), or below it (inside a package)."""
        parts = dotted.split(".")
        for start in range(len(parts)):
            name = ".".join(parts[start:])
            if name in self._modules:
                return self._modules[name]
            if start == 0:
                ends = [module for module in self._modules if module.endswith(f".{name}")]
                if len(ends) == 1:
                    return self._modules[ends[0]]
        return None

    def _outcome(self, function: Function, given: Mapping[str, Ways]) -> Outcome:
        """Of a call that passes `given`, as far as something is known of it."""
        known = {name: ways for name, ways in given.items() if is_known(ways)}
        key = _key(function, given)
        if key in self._outcomes:
            return self._outcomes[key]
        if function in self._walking or len(self._walking) >= _DEEPEST_CALL:
            return Outcome()
        self.informed |= {parameter_id(function, name) for name in known}
        body = Walk(self, Evaluation(self, function.file, function.enclosing, asks=function.asks), nested=True)
        self._walking.append(function)
        inside = parameters(function, known, body.evaluation)
        self._through(body, function.node.body, inside, function.file, function.node.lineno)
        self._walking.pop()
        returns = (Items(bounded(body.calls.yields)),) if body.calls.yields else bounded(body.returns)
        own = {parameter_id(function, a.arg): a.arg for a in ast.walk(function.node.args) if isinstance(a, ast.arg)}
        outcome = Outcome(returns, frozenset(own[p] for p in body.calls.needs if p in own))
        if function.file not in self._importing:
            self._outcomes[key] = outcome
        return outcome

    def _through(
        self,
        body: Walk,
        statements: Sequence[ast.stmt],
        names: Mapping[str, Ways] | Iterable[tuple[str, Ways]],
        file: SourceFile,
        line: int,
    ) -> list[Path]:
        try:
            return body.through(statements, [Path(dict(names))])
        except TooManyWaysError as error:
            self._not_walked(file, line, error.fault)
        except RecursionError:
            self._not_walked(file, line, "its code is nested too deeply")
        return []

    def _not_walked(self, file: SourceFile, line: int, why: str) -> None:
        if (Place(file.name, line, line), why) not in self.not_walked:
            self.not_walked.append((Place(file.name, line, line), why))

    def step(self, ways: int) -> None:
        """A statement is walked on so many ways. Raises TooManyWaysError."""
        self._steps += ways
        if self._steps > _MOST_STEPS:
            raise TooManyWaysError("the source has more ways through it than can be followed")


def _key(function: Function, given: Mapping[str, Ways]) -> Key:
    """A call, as far as something is known of what it passes."""
    return function, tuple((name, given[name]) for name in sorted(given) if is_known(given[name]))
