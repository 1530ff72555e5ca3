"""What `python -m flows.check` found in an application's source, for people: what to mend stands first."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

_SIDES = {
    ("now",): "fails",
    ("before", "after"): "fails before and after the pending migration",
    ("after",): "fails after the pending migration",
    ("before",): "fails before the pending migration, which mends it",
    (): "fails whatever the schema",
}
_ORDER = (("before", "after"), ("after",), ("now",), ())
_TABLES = ("table-made-otherwise", "table-differs", "old-schema", "table-made-twice")
_MISSING = re.compile(r"(no such column: |table \S+ has no column named )\S+")
_WRITTEN = ("table-differs", "old-schema")


def source_lines(source: dict[str, Any], width: int) -> Iterator[str]:
    """Everything found, one group for each kind; `source` is that part of what `--json` prints."""
    found = source["findings"]
    statements = [f for f in found if f["code"] not in _TABLES]
    wrong = [f for f in statements if f["mismatch"]]
    for sides in _ORDER:
        yield from _group(_SIDES[sides], [f for f in wrong if tuple(f["sides"]) == sides], width)
    tables = [f for f in found if f["code"] in _TABLES]
    yield from _group("tables", [f for f in tables if not f["mended"]], width)
    files = sorted({f["file"] for f in tables if f["mismatch"] and f["code"] in _WRITTEN})
    for file in files:
        yield f"  -> --write-schema {Path(source['folder']) / file}  shows the change"
    yield from _skipped("could not be read", [s for s in source["skipped"] if s["unread"]], width)
    if source["unread"]:
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        way_out = f"-> their SQL is not known; run a newer Python than {python}, or leave them out with --exclude"
        yield from _wrapped(way_out, "  ", width)
    yield from _group(_SIDES["before",], [f for f in found if f["mended"]], width)
    yield from _group("worth a look", [f for f in statements if not f["mismatch"] and not f["mended"]], width)
    yield from _group("not checked", [n | {"message": n["why"], "run_at": []} for n in source["not_checked"]], width)
    yield from _skipped("left out", [s for s in source["skipped"] if not s["unread"]], width)


def _skipped(title: str, skipped: Sequence[dict[str, Any]], width: int) -> Iterator[str]:
    if skipped:
        yield ""
        yield f"{title}: {len(skipped)}"
    for each in skipped:
        yield from _wrapped(f"{each['name']}  {each['why']}", "  ", width)


def source_fact(source: dict[str, Any]) -> str:
    """One sentence."""
    counts = (
        _counted(source["mismatches"], "mismatch", "mismatches"),
        f"{source['mended']} mended by the pending migration" if source["mended"] else "",
        f"{len(source['not_checked'])} not checked" if source["not_checked"] else "",
        f"{source['assumed']} with a table that only a run knows" if source["assumed"] else "",
        f"{source['unread']} not readable" if source["unread"] else "",
        f"{len(source['skipped']) - source['unread']} left out" if len(source["skipped"]) > source["unread"] else "",
    )
    read = f"{_counted(source['statements'], 'SQL statement')} in {_counted(source['files'], 'Python file')}"
    sarif = f"; SARIF in {source['sarif']}" if source["sarif"] else ""
    return f"{source['folder']}, {read}: {', '.join(count for count in counts if count)}{sarif}"


def written_fact(written: dict[str, Any]) -> str:
    """One sentence."""
    if not written["changed"]:
        return f"{written['file']} makes {', '.join(written['made'])} as the schema has it"
    done = "changed" if written["applied"] else "would change, with --apply"
    return f"{written['file']}: {', '.join(written['changed'])} {done}"


def _group(title: str, found: Sequence[dict[str, Any]], width: int) -> Iterator[str]:
    """The findings of a kind; the names that one statement misses stand together, with the statement below."""
    if not found:
        return
    yield ""
    yield f"{title}: {len(found)}"
    for (file, statement), same in groupby(found, key=lambda f: (f["file"], f["statement"])):
        each = [*same]
        for line, message in _merged(each):
            yield from _wrapped(f"{file}:{line}  {message}", "  ", width)
        elsewhere = {place for f in each for place in f["run_at"] if not place.startswith(f"{file}:")}
        if statement:
            yield _cut(f"      {statement}", width)
        if elsewhere:
            yield _cut(f"      run at {', '.join(sorted(elsewhere))}", width)


def _merged(found: Sequence[dict[str, Any]]) -> Iterator[tuple[int, str]]:
    """Line and message of each; the columns that one line misses in one message."""
    for (line, said), same in groupby(found, key=lambda f: (f["line"], _before_name(f["message"]))):
        messages = [f["message"] for f in same]
        if said:
            yield line, said + ", ".join(message.removeprefix(said) for message in messages)
        else:
            yield from ((line, message) for message in messages)


def _before_name(message: str) -> str:
    """What a message about one missing column says before its name; "" for any other."""
    found = _MISSING.fullmatch(message)
    return "" if found is None else found[1]


def _wrapped(text: str, indent: str, width: int) -> Iterable[str]:
    return textwrap.wrap(
        text, width, initial_indent=indent, subsequent_indent=f"{indent}    ", break_long_words=False,
        break_on_hyphens=False, drop_whitespace=True,
    )  # fmt: skip


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else f"{line[: width - 3]}..."


def _counted(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"
