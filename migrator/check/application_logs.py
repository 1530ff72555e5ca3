"""What an application's own logs say that its schema lacks: counted line by line, in constant memory."""

from __future__ import annotations

import gzip
import io
import os
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from migrator.check.log_times import Clock, Moment
from migrator.errors import MigratorError

OTHERS = "(others)"
_MOST_NAMES = 1000
_PIECE_BYTES, _OVERLAP_BYTES = 1 << 16, 512
_GZIP = b"\x1f\x8b"
_NAME = rb"\\?[\"'`\[]?([^\s\"'`,;:()\[\]{}<>\\\x1b]{1,200})"
_SAID = re.compile(
    rb"no such (column|table): " + _NAME + rb"|(?:table ([^\s\"'`]{1,200}) )?has no column named " + _NAME
)
"""SQLite's messages (sqlite.org/src, resolve.c, build.c, insert.c). A name with a blank in it is cut there: they do
not quote it."""


class LogError(MigratorError):
    """A log cannot be read to its end."""


@dataclass(frozen=True)
class Missing:
    """How many lines say that the column or table `name` is not there; `first` and `last` of them, UTC.

    `undated` of the `count` lines have no time. A column is "table.column" where the line names the table.
    """

    kind: str
    name: str
    count: int = 0
    undated: int = 0
    first: datetime | None = None
    last: datetime | None = None

    def once_more(self, at: datetime | None) -> Missing:
        """The same with one line more."""
        if at is None:
            return replace(self, count=self.count + 1, undated=self.undated + 1)
        return replace(self, count=self.count + 1, first=min(self.first or at, at), last=max(self.last or at, at))


@dataclass(frozen=True)
class LogReport:
    """What `lines` of `files` say is missing since `since` (None: ever), most often first.

    `earlier` lines say so too, and are older.
    """

    files: tuple[Path, ...]
    since: datetime | None
    lines: int
    earlier: int
    missing: tuple[Missing, ...]


def count_missing(files: Iterable[Path], since: datetime | None) -> LogReport:
    """Counts the lines of `files`, packed with gzip or not, that say "no such column", "has no column named" or "no
    such table", for each name.

    A line counts from the moment `since` on, in the precision in which it gives its time (see Clock). One without a
    time counts where its file was written since then, and is counted as undated too. A line counts once for each name
    that it names; from 1,000 names on, the rest are one. Raises LogError.
    """
    counted, paths = _Counted(since), tuple(files)
    for path in paths:
        try:
            with path.open("rb") as file:
                counted.read(file)
        except (OSError, EOFError, zlib.error) as error:
            raise LogError(f"log {path} cannot be read to its end ({error})", "leave it out, or repair it") from error
    missing = sorted(counted.found.values(), key=lambda m: (-m.count, m.kind, m.name))
    return LogReport(paths, since, counted.lines, counted.earlier, tuple(missing))


class _Counted:
    def __init__(self, since: datetime | None) -> None:
        self.lines = self.earlier = 0
        self.found: dict[tuple[str, str], Missing] = {}
        self._since = since

    def read(self, file: io.BufferedReader) -> None:
        # No seeking: a log may come through a pipe.
        packed = file.peek(len(_GZIP)).startswith(_GZIP)
        written = datetime.fromtimestamp(os.fstat(file.fileno()).st_mtime, UTC)
        clock = Clock(written)
        for start, names in _lines(gzip.GzipFile(fileobj=file) if packed else file):
            self.lines += 1
            clock.read(start)
            if not names:
                continue
            moment = clock.moment
            if self._is_earlier(moment, written):
                self.earlier += 1
                continue
            for key in names:
                self._note(key, None if moment is None else moment.at)

    def _is_earlier(self, moment: Moment | None, written: datetime) -> bool:
        if self._since is None:
            return False
        return written < self._since if moment is None else moment.until <= self._since

    def _note(self, key: tuple[str, str], at: datetime | None) -> None:
        if key not in self.found and len(self.found) >= _MOST_NAMES:
            key = (key[0], OTHERS)
        self.found[key] = self.found.get(key, Missing(*key)).once_more(at)


def _lines(file: io.BufferedIOBase) -> Iterator[tuple[str, frozenset[tuple[str, str]]]]:
    """The beginning of each line, and what it says is missing. A long line is read in pieces that overlap."""
    start, names, before = b"", frozenset[tuple[str, str]](), b""
    while piece := file.readline(_PIECE_BYTES):
        start = start or piece[:200]
        ends = piece.endswith(b"\n")
        if b"no such " in (text := before + piece) or b" column named " in text:
            names |= _named(text, ends)
        before = text[-_OVERLAP_BYTES:]
        if ends:
            yield start.decode(errors="replace"), names
            start, names, before = b"", frozenset(), b""
    if start:
        yield start.decode(errors="replace"), names | _named(before, True)


def _named(text: bytes, is_whole: bool) -> frozenset[tuple[str, str]]:
    """What `text` says is missing; a name at the end of what is not whole may go on."""
    return frozenset(_kind_and_name(m) for m in _SAID.finditer(text) if is_whole or m.end() < len(text))


def _kind_and_name(said: re.Match[bytes]) -> tuple[str, str]:
    kind, name, table, column = (part and part.decode(errors="replace").rstrip(".") for part in said.groups())
    if column is None:
        return str(kind), str(name)
    return "column", f"{table}.{column}" if table else str(column)
