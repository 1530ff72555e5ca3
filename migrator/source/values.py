"""What an expression of the source may stand for: text with holes, lists of it, names of the tree.

A way is one thing that an expression may stand for; `Ways` are all of them, at most MOST_WAYS.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from migrator.source.tree import SourceFile

MOST_WAYS = 64
"""Six independent conditions on one statement; beyond that every part is still met, not every combination."""


@dataclass(frozen=True, order=True)
class Place:
    """From `line` and `column` to `end_line` of `file`, a path with / below the source's folder; counted from 1."""

    file: str
    line: int
    end_line: int
    column: int = 1

    def below(self, breaks: int) -> Place:
        """The place so many line breaks further on."""
        return replace(self, line=self.line + breaks, column=1) if breaks else self

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class Hashed:
    """What is looked up again and again remembers its hash."""

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash(tuple(vars(self).values()))


@dataclass(frozen=True)
class Literal(Hashed):
    """Text that the source spells out. `line_by_line`: each line break of the text is one of the source's. `asks` are
    the columns for which the code looks in the schema before it uses the text."""

    text: str
    place: Place
    line_by_line: bool = False
    asks: frozenset[str] = frozenset()

    __hash__ = Hashed.__hash__

    def cut(self, start: int, end: int | None = None) -> Literal:
        """The part from `start` to `end`, at the line where it stands."""
        breaks = self.text.count("\n", 0, start) if self.line_by_line else 0
        return replace(self, text=self.text[start:end], place=self.place.below(breaks))


@dataclass(frozen=True)
class Hole(Hashed):
    """Text that only a run knows: the source's expression for it, and why it is not known here.

    `parameter` is "function.name" where the text is what a caller passes. `asks` are the columns for which the
    expression looks in the schema.
    """

    shown: str
    why: str
    parameter: str | None = None
    asks: frozenset[str] = frozenset()

    __hash__ = Hashed.__hash__


@dataclass(frozen=True)
class Text(Hashed):
    """Text as the source builds it."""

    parts: tuple[Literal | Hole, ...] = ()

    __hash__ = Hashed.__hash__

    @property
    def holes(self) -> tuple[Hole, ...]:
        return tuple(p for p in self.parts if isinstance(p, Hole))

    @property
    def literals(self) -> tuple[Literal, ...]:
        return tuple(p for p in self.parts if isinstance(p, Literal))

    @property
    def plain(self) -> str | None:
        """The text itself where it has no hole."""
        return None if self.holes else "".join(p.text for p in self.literals)

    @property
    def hole(self) -> Hole | None:
        """The hole where the text is nothing else."""
        only = self.parts[0] if len(self.parts) == 1 else None
        return only if isinstance(only, Hole) else None

    def __add__(self, other: Text) -> Text:
        return Text(self.parts + other.parts)

    def __str__(self) -> str:
        return "".join(p.text if isinstance(p, Literal) else "{" + p.shown + "}" for p in self.parts)


@dataclass(frozen=True)
class Items(Hashed):
    """A list, tuple or set whose elements the source spells out."""

    elements: tuple[Value, ...]

    __hash__ = Hashed.__hash__


@dataclass(frozen=True)
class Pairs:
    """A dict whose keys the source spells out."""

    items: tuple[tuple[str, Value], ...]


@dataclass(frozen=True)
class Number:
    """A constant that is no text."""

    value: object


@dataclass(frozen=True, eq=False)
class Function:
    """A function of the tree; `owner` is the class of a method, `enclosing` the names around a nested one.

    `asks` is whether it looks for columns or tables in the database's schema.
    """

    node: ast.FunctionDef | ast.AsyncFunctionDef
    file: SourceFile
    owner: Class | None = None
    asks: bool = False
    enclosing: dict[str, Ways] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.node.name if self.owner is None else f"{self.owner.node.name}.{self.node.name}"


@dataclass(frozen=True, eq=False)
class Class:
    """A class of the tree. `names` are its methods and what the class or one of its methods assigns exactly once."""

    node: ast.ClassDef
    file: SourceFile
    names: dict[str, Ways] = field(default_factory=dict)
    bases: tuple[Class, ...] = ()

    @property
    def above(self) -> Iterator[Class]:
        """Its bases, theirs and so on."""
        for base in self.bases:
            yield base
            yield from base.above

    def named(self, name: str) -> Ways | None:
        if name in self.names:
            return self.names[name]
        return next((found for base in self.bases if (found := base.named(name)) is not None), None)


@dataclass(frozen=True)
class Instance:
    """An object of a class of the tree."""

    of: Class


@dataclass(frozen=True, eq=False)
class Module:
    """A file of the tree that another one imported."""

    file: SourceFile


@dataclass(frozen=True)
class Runner:
    """A method of a connection or cursor that runs SQL, under a name of the source's own."""

    method: str


Value = Text | Items | Pairs | Number | Function | Class | Instance | Module | Runner
Ways = tuple[Value, ...]


def unknown(shown: str, why: str, parameter: str | None = None, asks: frozenset[str] = frozenset()) -> Ways:
    """The one way of an expression of which nothing is known."""
    return (Text((Hole(shown, why, parameter, asks),)),)


REPEATED = Hole("...", "is repeated in a loop")
"""Stands where a loop may have put more of what stands before it."""
MORE = Text((Hole("its SQL", f"there are more than {MOST_WAYS} ways to build it"),))
"""Stands beside the ways that were followed where there are others."""


def is_known(ways: Ways) -> bool:
    """Whether anything is known of it."""
    # A loop, because this is asked a million times.
    for way in ways:  # noqa: SIM110
        if not isinstance(way, Text) or len(way.parts) != 1 or not isinstance(way.parts[0], Hole):
            return True
    return False


def bounded(ways: Iterable[Value]) -> Ways:
    """Each way once. Of too many, those that meet a part no other has met, and MORE."""
    found = tuple(ways)
    if len(found) > 1:
        found = tuple(dict.fromkeys(found))
    if len(found) <= MOST_WAYS:
        return found
    met: set[object] = set()
    chosen: list[Value] = []
    for way in found:
        parts = set(_parts(way))
        if not parts <= met and len(chosen) < MOST_WAYS:
            chosen.append(way)
            met |= parts
    return tuple(dict.fromkeys((*chosen, MORE)))


def combined(first: Ways, second: Ways, by: Callable[[Value, Value], Value]) -> Ways:
    """`by` of every way of `first` with every way of `second`; of too many, each of both once, and MORE."""
    return every([first, second], lambda pair: by(*pair))


def every(lists: Sequence[Ways], make: Callable[[Sequence[Value]], Value]) -> Ways:
    """`make` of every choice of one way from each list; of too many, each way at least once, and MORE."""
    plain = [tuple(way for way in ways if way != MORE) for ways in lists]
    more = (MORE,) if sum(map(len, plain)) < sum(map(len, lists)) else ()
    if prod(map(len, plain)) <= MOST_WAYS:
        return bounded((*map(make, product(*plain)), *more))
    longest = max(map(len, plain))
    return bounded((*(make([ways[i % len(ways)] for ways in plain]) for i in range(longest)), MORE))


def _parts(way: Value) -> tuple[object, ...]:
    if isinstance(way, Text):
        return way.parts
    return way.elements if isinstance(way, Items) else (way,)
