"""When a line of a log was written, as far as it says so."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

_ISO = re.compile(
    r"""(?: \W{0,3} | \{\s*"[@\w.]{1,30}"\s*:\s*" )
    (\d{4})[-/](\d\d)[-/](\d\d) [T ] (\d\d):(\d\d):(\d\d) (?:[.,](\d{1,9}))?
    (?: \s?(?: (Z) | ([+-])(\d\d):?(\d\d) ) )? (?!\d)""",
    re.VERBOSE,
)
"""ISO 8601, Python's logging, loguru, nginx's error log; in brackets or as the first entry of a JSON object, too."""
_SYSLOG = re.compile(r"(?:<\d{1,3}>)?([A-Z][a-z]{2}) ([ \d]\d) (\d\d):(\d\d):(\d\d) ")
"""RFC 3164, 4.1.2."""
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_TRACEBACK = "Traceback ("
_GOES_ON = re.compile(r"\s|$|[>│╭╰├]|During handling of |The above exception ")


@dataclass(frozen=True)
class Moment:
    """`at`, UTC, is when a line was written at the earliest, `until` at the latest: a line may give whole seconds."""

    at: datetime
    until: datetime


class Clock:
    """The time of each line of one log, whose file was last written at `written`.

    A time without a zone is this machine's local time (TZ); of the hour that comes twice when summer time ends it is
    the first. A line without a time has that of the record that it goes on: of the lines of a traceback, down to the
    one that names the exception, and of lines that are indented or empty. Any other has none. A syslog time is of the
    year that makes it not later than `written`.
    """

    def __init__(self, written: datetime) -> None:
        self._written = written
        self._record: re.Match[str] | None = None
        self._in_traceback = False

    def read(self, line: str) -> None:
        """Takes note of the next line, whose first 200 characters are enough."""
        dated = _ISO.match(line) or _SYSLOG.match(line)
        if dated is not None:
            self._record, self._in_traceback = dated, _TRACEBACK in line
        elif line.startswith(_TRACEBACK):
            self._in_traceback = True
        elif not _GOES_ON.match(line):
            if not self._in_traceback:
                self._record = None
            self._in_traceback = False

    @property
    def moment(self) -> Moment | None:
        """The time of the line that was read last; None where it has none. Worked out here: few lines are asked."""
        if self._record is None:
            return None
        return _iso(self._record) if self._record.re is _ISO else self._syslog(self._record)

    def _syslog(self, found: re.Match[str]) -> Moment | None:
        if found[1] not in _MONTHS:
            return None
        rest = (_MONTHS.index(found[1]) + 1, *map(int, found.groups()[1:]))
        for year in (self._written.year, self._written.year - 1):
            moment = _moment((year, *rest))
            # A clock or a zone may be off by a day.
            if moment is not None and moment.at <= self._written + timedelta(days=1):
                return moment
        return None


def _iso(found: re.Match[str]) -> Moment | None:
    *numbers, fraction, zulu, sign, hours, minutes = found.groups()
    zone = UTC if zulu else None
    if sign:
        offset = timedelta(hours=int(hours), minutes=int(minutes))
        zone = timezone(-offset if sign == "-" else offset) if offset < timedelta(days=1) else None
    return _moment(tuple(map(int, numbers)), fraction or "", zone)


def _moment(numbers: tuple[int, ...], fraction: str = "", zone: timezone | None = None) -> Moment | None:
    try:
        year, month, day, hour, minute, second = numbers
        microsecond = int(f"{fraction:0<6}"[:6])
        at = datetime(year, month, day, hour, minute, second, microsecond, zone).astimezone(UTC)
        width_s: float = 10.0 ** -min(len(fraction), 6)
        return Moment(at, at + timedelta(seconds=width_s))
    except (ValueError, OverflowError, OSError):
        # Digits that are no time, or none that this machine's calendar has.
        return None
