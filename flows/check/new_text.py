"""What `python -m flows.check --new` wrote, for people: what must be decided or mended stands first."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

_SEVERITIES = {"error": "would fail", "warning": "would do harm, or nobody knows", "note": "worth knowing"}


def new_fact(new: dict[str, Any]) -> str:
    """One sentence."""
    label = f"{new['version']:04d}_{new['name']}"
    if new["file"] is None:
        return f"no file for {label}: " + ("what differs is undecided" if new["undecided"] else "nothing differs")
    return f"{label} is written, look at it before it runs: {new['file']}"


def new_lines(new: dict[str, Any], width: int) -> Iterator[str]:
    """Everything that is to say of it, one group for each kind."""
    undecided = [(question["what"], question["way_out"]) for question in new["undecided"]]
    yield from _group("to decide", undecided, width)
    for severity, title in _SEVERITIES.items():
        found = [(each["message"], each["way_out"]) for each in new["lint"] if each["severity"] == severity]
        yield from _group(title, found, width)
    yield from _group("changes", [(item["text"], "") for item in new["changes"]], width)


def _group(title: str, found: Sequence[tuple[str, str]], width: int) -> Iterator[str]:
    if not found:
        return
    yield ""
    yield f"{title}: {len(found)}"
    for text, way_out in found:
        yield from _wrapped(text, "  ", width)
        if way_out:
            yield from _wrapped(f"-> {way_out}", "    ", width)


def _wrapped(text: str, indent: str, width: int) -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=indent, subsequent_indent=f"{indent}  ", break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
