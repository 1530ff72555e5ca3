"""What may be told of an error: its words and the names in it, without what stands in a row.

An application's errors repeat what they were given: pydantic `input_value='..'` (docs.pydantic.dev/latest/errors),
Python `invalid literal for int() with base 10: '..'`, SQLite `Could not decode .. with text '..'`, logs whatever they
like. One word in quotes may be the name of a column, an argument or a module, and stays, but where it stands as a
value does.
"""

from __future__ import annotations

import re
from collections.abc import Collection

_LEFT_OUT = ".."
_NAMED_VALUES = re.compile(
    r"(?P<name>\binput_value=).*?(?=, input_type=\w+\](?:\s|$)|$)"
    r"| with text .*",
    re.DOTALL,
)
"""What stands there is cut off in its middle, or not quoted in a way that can be followed."""
_QUOTED = re.compile(
    r"""(?<![\w'"`])(?P<prefix>[bru]?)(?P<quote>['"`])(?P<inside>(?:\\.|(?!(?P=quote)(?!\w)).)*)(?:(?P=quote)|$)"""
    r"(?P<after>, line \d)?",
    re.DOTALL | re.IGNORECASE,
)
"""A quote within a word, as in "don't", neither opens nor closes; what is never closed goes to the end."""
_NAME = re.compile(r"[A-Za-z_][\w.]*(\(\))?", re.ASCII)
_STANDS_AS_A_VALUE = re.compile(
    r"""([=,(\[{]\s*|['"`]\s*:\s*|\bbase \d+: |\bto float: |\bisoformat string: |\btime data |\bvalue:? )$""",
    re.IGNORECASE,
)
_LETTERS_BEFORE = 20


def without_values(text: str, given: Collection[str] = ()) -> str:
    """`text` with two dots for each quoted value, and for each of the texts that were `given` to what raised it."""
    text = _NAMED_VALUES.sub(lambda found: f"{found['name']}{_LEFT_OUT}" if found["name"] else "", text)
    text = _QUOTED.sub(_kept, text)
    for each in sorted(given, key=len, reverse=True):
        if not _NAME.fullmatch(each) and each.strip():
            text = text.replace(each, _LEFT_OUT)
    return text


def _kept(found: re.Match[str]) -> str:
    quote, inside = found["quote"], found["inside"]
    is_key = found.string[found.end() : found.end() + 1] == ":"
    is_path = found["after"] is not None and "\n" not in inside
    before = found.string[max(0, found.start() - _LETTERS_BEFORE) : found.start()]
    is_name = _NAME.fullmatch(inside) is not None and (is_key or not _STANDS_AS_A_VALUE.search(before))
    if is_path or is_name or not inside:
        return found[0]
    return f"{found['prefix']}{quote}{_LEFT_OUT}{quote}"
