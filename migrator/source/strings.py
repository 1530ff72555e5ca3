"""What Python's operators and methods make of text with holes. Every function returns None where nobody can know."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from string import Formatter

from migrator.source.values import REPEATED, Hole, Items, Literal, Number, Pairs, Place, Text, Value

_CONVERSION = re.compile(r"%(?:\((\w*)\))?[-#0 +]*\d*(?:\.\d+)?([diouxXeEfFgGcrsa%])")
"""docs.python.org/3/library/stdtypes.html#printf-style-string-formatting, without `*`."""
_MOST_PARTS, _MOST_LETTERS = 2000, 1_000_000
"""Of a text or a list: a sum of a name with itself doubles with each statement. SQLite's own limit is a million
letters (sqlite.org/limits.html)."""
_AS_IT_IS = frozenset({"upper", "lower", "casefold", "title", "strip", "lstrip", "rstrip", "expandtabs"})
"""Letter case and white space at the ends are nothing to SQL; a text to strip off is (see `method`)."""


def inserted(value: Value, place: Place) -> Text | None:
    """`value` as it stands in an f-string at `place`."""
    if isinstance(value, Text):
        return value
    if not isinstance(value, Number) or value.value is None:
        # None is what the code starts with before it knows the text.
        return None
    return Text((Literal(str(value.value), place),))


def plus(left: Value, right: Value) -> Value | None:
    """`left + right`."""
    if isinstance(left, Text) and isinstance(right, Text):
        return _text((*left.parts, *right.parts))
    if isinstance(left, Items) and isinstance(right, Items):
        elements = left.elements + right.elements
        return Items(elements) if len(elements) <= _MOST_PARTS else None
    if isinstance(left, Pairs) and isinstance(right, Pairs):
        items = left.items + right.items
        return Pairs(items) if len(items) <= _MOST_PARTS else None
    return None


def times(left: Value, right: Value) -> Value | None:
    """`left * right`, for a count that the source spells out."""
    if isinstance(left, Number):
        left, right = right, left
    count = right.value if isinstance(right, Number) else None
    if not isinstance(count, int) or not 0 <= count <= _MOST_PARTS:
        return None
    if isinstance(left, Text) and len(left.parts) * count <= _MOST_PARTS:
        return _text(left.parts * count)
    fits = isinstance(left, Items) and len(left.elements) * count <= _MOST_PARTS
    return Items(left.elements * count) if fits and isinstance(left, Items) else None


def percent(left: Value, right: Value) -> Value | None:
    """`left % right`."""
    if not isinstance(left, Text):
        return None
    given = right.elements if isinstance(right, Items) else (right,)
    named = dict(right.items) if isinstance(right, Pairs) else {}
    positions = iter(given)

    def fill(literal: Literal) -> Text | None:
        parts: list[Literal | Hole] = []
        end = 0
        for found in _CONVERSION.finditer(literal.text):
            if len(parts) > _MOST_PARTS:
                return None
            parts.append(literal.cut(end, found.start()))
            end = found.end()
            if found[2] == "%":
                parts.append(Literal("%", literal.place))
                continue
            value = named.get(found[1]) if found[1] is not None else next(positions, None)
            text = None if value is None or found[2] in ("r", "a") else inserted(value, literal.place)
            if text is None:
                return None
            parts.extend(text.parts)
        return Text((*parts, literal.cut(end)))

    filled = _each_literal(left, fill)
    return None if filled is None or (next(positions, None) and not named) else filled


def method(name: str, receiver: Value, arguments: Sequence[Value], named: Mapping[str, Value]) -> Value | None:
    """What `receiver.name(*arguments, **named)` returns."""
    if isinstance(receiver, Pairs):
        return _of_pairs(name, receiver, arguments)
    if not isinstance(receiver, Text):
        return None
    if name == "join" and len(arguments) == 1:
        return _joined(receiver, arguments[0])
    if name in ("format", "format_map"):
        if name == "format_map" and arguments and isinstance(arguments[0], Pairs):
            return _formatted(receiver, (), dict(arguments[0].items))
        return _formatted(receiver, arguments, named)
    if name in _AS_IT_IS and not arguments:
        return receiver
    texts = [a for a in arguments if isinstance(a, Text)]
    if len(texts) != len(arguments) or named:
        return None
    if name in ("strip", "lstrip", "rstrip") and len(texts) == 1:
        return _stripped(receiver, texts[0].plain, name)
    if name == "replace" and len(texts) == 2 and texts[0].plain:
        return _replaced(receiver, texts[0].plain, texts[1])
    if name == "split" and len(texts) == 1 and texts[0].plain:
        return _split(receiver, texts[0].plain)
    return None


def without_end(text: Text, characters: int) -> Text | None:
    """`text[:-characters]`, where the source spells its end out."""
    text = _once(text)
    last = text.parts[-1] if text.parts else None
    if not isinstance(last, Literal) or len(last.text) < characters:
        return None
    return Text((*text.parts[:-1], last.cut(0, len(last.text) - characters)))


def _text(parts: Iterable[Literal | Hole]) -> Text | None:
    """The text of `parts`, unless it is longer than any SQL."""
    text = Text(tuple(parts))
    letters = sum(len(part.text) for part in text.literals)
    return text if len(text.parts) <= _MOST_PARTS and letters <= _MOST_LETTERS else None


def _each_literal(text: Text, change: Callable[[Literal], Text | None]) -> Text | None:
    parts: list[Literal | Hole] = []
    for part in text.parts:
        changed = change(part) if isinstance(part, Literal) else Text((part,))
        if changed is None:
            return None
        parts.extend(changed.parts)
        if len(parts) > _MOST_PARTS:
            return None
    return _text(p for p in parts if isinstance(p, Hole) or p.text)


def _of_pairs(name: str, pairs: Pairs, arguments: Sequence[Value]) -> Value | None:
    if name == "keys":
        # Wherever a dict is gone through, its keys are meant.
        return pairs
    if name == "values":
        return Items(tuple(value for _, value in pairs.items))
    if name == "get" and arguments and isinstance(arguments[0], Text):
        return dict(pairs.items).get(arguments[0].plain or "")
    return None


def _joined(separator: Text, items: Value) -> Value | None:
    if isinstance(items, Pairs) and separator.literals:
        # Where the dict stands is not known here.
        items = Items(tuple(Text((Literal(key, separator.literals[0].place),)) for key in dict(items.items)))
    if not isinstance(items, Items):
        return None
    parts: list[Literal | Hole] = []
    for index, element in enumerate(items.elements):
        if not isinstance(element, Text):
            return None
        parts += (*(separator.parts if index else ()), *element.parts)
        if len(parts) > _MOST_PARTS:
            return None
    return _text(parts)


def _formatted(template: Text, arguments: Sequence[Value], named: Mapping[str, Value]) -> Value | None:
    positions = iter(arguments)

    def fill(literal: Literal) -> Text | None:
        parts: list[Literal | Hole] = []
        breaks = 0
        try:
            pieces = list(Formatter().parse(literal.text))
        except ValueError:
            return None
        for spelled, field, spec, conversion in pieces:
            place = literal.place.below(breaks)
            parts.append(Literal(spelled, place, literal.line_by_line))
            breaks += spelled.count("\n") if literal.line_by_line else 0
            if field is None:
                continue
            value = _field(field, positions, arguments, named)
            text = None if value is None or spec or conversion else inserted(value, place)
            if text is None:
                return None
            parts.extend(text.parts)
        return Text(tuple(parts))

    return _each_literal(template, fill)


def _field(
    field: str, positions: Iterator[Value], arguments: Sequence[Value], named: Mapping[str, Value]
) -> Value | None:
    if not field:
        return next(positions, None)
    if field.isdecimal():
        return arguments[int(field)] if int(field) < len(arguments) else None
    return named.get(field)


def _stripped(text: Text, characters: str | None, name: str) -> Value | None:
    """Only at the ends that the source spells out."""
    if characters is None:
        return None
    parts = list(_once(text).parts)
    while name != "rstrip" and parts and isinstance(first := parts[0], Literal):
        kept = first.cut(len(first.text) - len(first.text.lstrip(characters)))
        parts[:1] = [kept] if kept.text else []
        if kept.text:
            break
    while name != "lstrip" and parts and isinstance(last := parts[-1], Literal):
        kept = last.cut(0, len(last.text.rstrip(characters)))
        parts[-1:] = [kept] if kept.text else []
        if kept.text:
            break
    return Text(tuple(parts))


def _once(text: Text) -> Text:
    """A text that grew in a loop, as after one round: at its end all rounds are alike."""
    return Text(text.parts[:-1]) if text.parts[-1:] == (REPEATED,) else text


def _replaced(text: Text, old: str, new: Text) -> Value | None:
    def change(literal: Literal) -> Text | None:
        if literal.text.count(old) * (1 + len(new.parts)) > _MOST_PARTS:
            return None
        parts: list[Literal | Hole] = []
        for index, piece in enumerate(_pieces(literal, old)):
            parts += (*(new.parts if index else ()), piece)
        return Text(tuple(parts))

    return _each_literal(text, change)


def _split(text: Text, separator: str) -> Value | None:
    if len(text.parts) != 1 or not isinstance(literal := text.parts[0], Literal):
        return None
    if literal.text.count(separator) >= _MOST_PARTS:
        return None
    return Items(tuple(Text((piece,)) for piece in _pieces(literal, separator)))


def _pieces(literal: Literal, separator: str) -> list[Literal]:
    found: list[Literal] = []
    start = 0
    for piece in literal.text.split(separator):
        found.append(literal.cut(start, start + len(piece)))
        start += len(piece) + len(separator)
    return found
