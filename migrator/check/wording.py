"""An explained plan as lines for people, the same on the terminal, in the report and in Prefect's UI."""

from __future__ import annotations

from collections.abc import Iterator

from migrator.check.explanation import Explanation

KINDS = {
    "rebuild": "is made anew",
    "rows": "keeps its place; only the rows that match change",
    "new": "is new",
    "drop": "goes",
    "indexes": "stays",
}
_KEPT = {"drop": "its rows, where it has any", "rows": "the old values of the rows that change"}
SENTENCES = frozenset({"why", "originals", "because"})
"""The labels of lines in words; those of all others are definitions, statements and expressions."""


def wording(explained: Explanation) -> Iterator[tuple[str, str]]:
    """What happens to one table, as pairs of a label and a line; several lines may have the same label."""
    moved = (", ".join(explained.moved),) if explained.moved else ()
    for label, lines in (
        ("why", explained.why),
        ("adds", explained.added),
        ("removes", explained.removed),
        ("changes", tuple(f"{now}  ->  {then}" for now, then in explained.changed)),
        ("moves", moved),
        ("constrains", explained.constraints),
        ("converts", tuple(f"{column}: {value}" for column, value in explained.values)),
        ("originals", tuple(_originals(explained))),
        ("makes", explained.made),
        ("drops", explained.dropped),
        ("makes again", explained.made_again),
    ):
        for line in lines:
            yield label, line
    if explained.made_again:
        rows = explained.kind == "rows"
        yield "because", "they must not fire for what a migration does" if rows else "DROP TABLE takes them along"


def _originals(explained: Explanation) -> Iterator[str]:
    if explained.originals is not None:
        yield f"{explained.originals} keeps {_KEPT.get(explained.kind, 'what the new table cannot hold')}"
    if explained.comes_back is not None:
        yield f"{explained.comes_back} gives back what it kept"
