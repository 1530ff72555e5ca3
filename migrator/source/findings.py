"""From what SQLite said of each statement to what a reader of the source is told, at the line where it stands."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal as OneOf

from migrator.ddl import folded
from migrator.source.holes import Verdict, lacked_name
from migrator.source.kinds import alteration, names_no_columns
from migrator.source.memory import is_syntax
from migrator.source.statements import FoundStatement, NotChecked
from migrator.source.tree import SourceFile
from migrator.source.values import Place

Level = OneOf["error", "warning"]
Side = OneOf["now", "before", "after"]
"""Which schema: the one that is there, or the two around a migration that is pending."""
_SHOWN_LETTERS = 120
_CODES = (
    (re.compile("no such column|has no column named"), "no-such-column"),
    (re.compile("no such table"), "no-such-table"),
    (re.compile(r"\d values|same number of terms"), "wrong-number-of-values"),
)
NOT_VALID, AS_TEXT, BY_POSITION = "not-valid", "name-read-as-text", "insert-by-position"


@dataclass(frozen=True)
class SourceFinding:
    """A fault in the source: `code` is stable, `message` SQLite's own where it has one, `sides` the schemas with it.

    `place` is where the name at fault stands, else where the statement starts; `end_column` is one past the name, 0
    where the message names nothing. An "error" fails when it is run. A "warning" fails if it is run, or some day.
    """

    code: str
    level: Level
    place: Place
    message: str
    sides: tuple[Side, ...] = ()
    statement: str = ""
    end_column: int = 0
    run_at: tuple[Place, ...] = ()

    @property
    def is_mended(self) -> bool:
        """Whether the pending migration mends it."""
        return self.sides == ("before",)

    def __str__(self) -> str:
        when = f" ({' and '.join(self.sides)})" if self.sides else ""
        return f"{self.place}: {self.message}{when}" + (f": {self.statement}" if self.statement else "")


class Judged:
    """The statements of `files` with the verdict of each side."""

    def __init__(self, files: Iterable[SourceFile], verdicts: Mapping[FoundStatement, Mapping[Side, Verdict]]) -> None:
        self._lines = {file.name: file.lines for file in files}
        self._verdicts = verdicts
        self._added = {
            folded(altered.added): statement.place
            for statement in verdicts
            if (altered := alteration(statement)) is not None
        }
        self._starts: dict[tuple[str, int], list[FoundStatement]] = {}
        for statement in verdicts:
            self._starts.setdefault((statement.place.file, statement.place.line), []).append(statement)

    @property
    def compiled(self) -> int:
        """How many compile on every side."""
        return sum(all(v == Verdict(as_text=v.as_text) for v in sides.values()) for sides in self._verdicts.values())

    @property
    def assumed(self) -> int:
        """How many compile with some table, of which only a run knows whether it is the one, on one side at least."""
        return sum(any(v.assumes_table for v in sides.values()) for sides in self._verdicts.values())

    def findings(self) -> tuple[SourceFinding, ...]:
        """The faults: one for each name, however many ways of building a statement come upon it."""
        merged: dict[tuple[str, str, Place], SourceFinding] = {}
        for statement, sides in self._verdicts.items():
            for found in self._of_statement(statement, sides):
                key = (found.code, found.message, found.place)
                merged[key] = _both(merged[key], found) if key in merged else found
        return tuple(merged.values())

    def not_checked(self) -> Iterator[NotChecked]:
        """The statements that the source runs and of which nothing can be said, on one side at least: one of those
        that start in the same place for the same reason."""
        doubts: dict[tuple[Place, str], list[FoundStatement]] = {}
        for statement, sides in self._verdicts.items():
            found_on: dict[str, list[Side]] = {}
            for side, verdict in sides.items():
                doubt = verdict.doubt
                if verdict.fault is not None and self._may_never_happen(statement, side):
                    doubt = f"{verdict.fault}; there are other ways to build it, so perhaps this one never happens"
                if doubt is not None and statement.is_run:
                    found_on.setdefault(doubt, []).append(side)
            for doubt, where in found_on.items():
                when = "" if len(where) == len(sides) else f" ({where[0]})"
                doubts.setdefault((statement.place, doubt + when), []).append(statement)
        for (place, doubt), statements in doubts.items():
            shortest = min(map(str, statements), key=lambda shown: (len(shown), shown))
            more = f" (and {len(statements) - 1} other ways to build it)" if len(statements) > 1 else ""
            yield NotChecked(place, shortened(shortest), doubt + more)

    def _of_statement(self, statement: FoundStatement, sides: Mapping[Side, Verdict]) -> Iterator[SourceFinding]:
        messages: dict[tuple[str, str], list[Side]] = {}
        for side, verdict in sides.items():
            for fault in () if self._may_never_happen(statement, side) else verdict.faults:
                messages.setdefault((_code(fault), fault), []).append(side)
            # A string in double quotes is one on either side; a column that is gone is one on this side only.
            elsewhere = [other.as_text for other in sides.values() if other == Verdict(as_text=other.as_text)]
            for fault in verdict.as_text:
                if any(fault not in as_text for as_text in elsewhere):
                    messages.setdefault((AS_TEXT, f"{fault}, and it is read as a string"), []).append(side)
        for (code, message), found_on in messages.items():
            # What only looks like SQL and is not even read by SQLite is prose.
            if statement.is_run or code in ("no-such-column", "no-such-table"):
                yield self._finding(statement, code, message, tuple(found_on))
        if statement.crowded:
            yield self._finding(statement, NOT_VALID, "You can only execute one statement at a time.", ())
        if names_no_columns(statement) and statement.is_run:
            message = "INSERT names no columns: its values go to others when the table's columns change"
            yield self._finding(statement, BY_POSITION, message, ())

    def _finding(self, statement: FoundStatement, code: str, message: str, sides: tuple[Side, ...]) -> SourceFinding:
        is_error = statement.is_run and code != BY_POSITION
        lacked = lacked_name(message)
        place, end_column = self._located(statement, lacked)
        adding = self._added.get(folded(lacked.rpartition(".")[2])) if "column" in code else None
        if adding is not None:
            message = f"{message}; only {adding} adds it, with ALTER TABLE"
        return SourceFinding(
            code, "error" if is_error else "warning", place, message, sides, shortened(str(statement)), end_column,
            statement.run_at,
        )  # fmt: skip

    def _may_never_happen(self, statement: FoundStatement, side: Side) -> bool:
        """A statement that SQLite cannot read, where the same call runs others that start in the same place and can be
        read: the code may never come to build this one."""
        fault = self._verdicts[statement][side].fault
        if fault is None or not is_syntax(fault):
            return False
        for other in self._starts[statement.place.file, statement.place.line]:
            found = self._verdicts[other][side].fault
            if set(other.run_at) & set(statement.run_at) and (found is None or not is_syntax(found)):
                return True
        return False

    def _located(self, statement: FoundStatement, name: str) -> tuple[Place, int]:
        """Where the statement spells `name`, and the column after it; its start and 0 where that is not to be seen."""
        for wanted in dict.fromkeys((name, name.rpartition(".")[2])):
            pattern = re.compile(rf"(?<!\w){re.escape(wanted)}(?!\w)", re.IGNORECASE)
            for literal in statement.text.literals if wanted else ():
                found = pattern.search(literal.text) and self._in_source(pattern, literal.place)
                if found:
                    return found
        return statement.place, 0

    def _in_source(self, pattern: re.Pattern[str], place: Place) -> tuple[Place, int] | None:
        lines: Sequence[str] = self._lines[place.file]
        for number in range(place.line, place.end_line + 1):
            line = lines[number - 1]
            found = pattern.search(line, place.column - 1 if number == place.line else 0)
            # Between the strings of a long one a comment may name it as well.
            if found and not line.lstrip().startswith("#"):
                return Place(place.file, number, number, found.start() + 1), found.end() + 1
        return None


def shortened(text: str) -> str:
    """`text` as far as it fits on a line."""
    return text if len(text) <= _SHOWN_LETTERS else f"{text[: _SHOWN_LETTERS - 3]}..."


def _code(message: str) -> str:
    return next((code for pattern, code in _CODES if pattern.search(message)), NOT_VALID)


def _both(first: SourceFinding, second: SourceFinding) -> SourceFinding:
    sides = tuple(dict.fromkeys((*first.sides, *second.sides)))
    shortest = min(first.statement, second.statement, key=lambda s: (len(s), s))
    level = first.level if first.level == "error" else second.level
    runs = tuple(sorted({*first.run_at, *second.run_at}))
    return replace(first, sides=sides, statement=shortest, level=level, run_at=runs)
