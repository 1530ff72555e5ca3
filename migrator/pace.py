"""How much to do at a time, and how long to wait in between, so that no writer of the application waits long."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import accumulate
from pathlib import Path

from migrator.files import read_regular

_BACK_OFF_MS = (1, 2, 5, 10, 15, 20, 25, 25, 25, 50, 50, 100)
"""What SQLite's own busy handler sleeps between tries (sqliteDefaultBusyCallback in sqlite.org/src/file/src/main.c)."""
_HOLD_S = 0.012
"""Aimed at, so that a hold stays below 18 ms: a writer that found the lock taken is at its latest at the door then."""
_MARGIN_S = 0.003
_AT_FIRST, _AT_LEAST = 50, 10
_LOOK_AGAIN_S = 0.2
_PAUSE = "pause"
_TOLD_FROM_S, _TOLD_EVERY_S = 5.0, 60.0
"""An operator is told of a pause that is longer than the one, and again after the other."""
_LOCK_TOLD_AFTER_S, _LOCK_TOLD_EVERY_S = 2.0, 10.0

Tell = Callable[[str], None]
"""Says one sentence to the operator, at once: why nothing moves, and what to do."""


def pause_after(hold_s: float) -> float:
    """How long the lock must stay free after a hold of `hold_s` for every writer that waited to find it so.

    SQLite does not queue: a writer tries again at fixed times after its first try. One that came during the hold tries
    once more, at the latest, within the sleep that spans the end of the hold. A shorter pause lets it miss the gap
    again and again: its wait is then many times the hold.
    """
    tries = zip(accumulate(_BACK_OFF_MS), _BACK_OFF_MS, strict=True)
    sleep_ms = next((sleep for at, sleep in tries if at >= hold_s * 1000), _BACK_OFF_MS[-1])
    return sleep_ms / 1000 + _MARGIN_S


def untold(said: str) -> None:
    """Nobody is there to be told."""


def telling(tell: Tell, said: str) -> Callable[[float], None]:
    """What `polling` calls with the seconds that it has waited; `said` is told after 2 s, and again each 10 s."""
    due_s = _LOCK_TOLD_AFTER_S

    def waited(seconds: float) -> None:
        nonlocal due_s
        if seconds >= due_s:
            due_s = seconds + _LOCK_TOLD_EVERY_S
            tell(said)

    return waited


def waiting_for_lock(database: Path, tell: Tell) -> Callable[[float], None]:
    """As `telling`, while another connection has the write lock."""
    return telling(tell, f"waiting for the write lock of {database}; another connection has it")


class Pace:
    """Rows at a time and pauses of one long piece of work; `tell` is told why it waits.

    `throttle` is a file that an operator may write while the work goes on: a number makes each pause as many times as
    long, anything else in it holds the work; without the file it goes at full speed.
    """

    def __init__(
        self,
        throttle: Path | None = None,
        on_wait: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        tell: Tell = untold,
    ) -> None:
        self.rows, self.tell = _AT_FIRST, tell
        self._throttle, self._on_wait, self._clock, self._sleep = throttle, on_wait, clock, sleep
        self._free_since = clock()
        self._pause_s = 0.0
        self._told_at = -math.inf

    def held(self, seconds: float, rows: int) -> None:
        """Takes note of a hold of the lock that has just ended, for `rows` rows, so that the next fits."""
        self._free_since, self._pause_s = self._clock(), pause_after(seconds)
        if rows >= self.rows or seconds > _HOLD_S:
            fitting = self.rows * _HOLD_S / max(seconds, 1e-6)
            # A slow one counts at once, a fast one by and by.
            self.rows = max(_AT_LEAST, int(min(fitting, self.rows * 1.3)))

    def pause(self) -> None:
        """Returns when the lock has been free for long enough and the operator lets the work go on."""
        while (remaining := self._remaining_s()) > 0:
            if remaining > _TOLD_FROM_S and self._clock() >= self._told_at + _TOLD_EVERY_S:
                self._told_at = self._clock()
                self.tell(f"paused by {self._throttle} ({self._ordered()}); remove that file to go on")
            if remaining > _LOOK_AGAIN_S:
                self._on_wait()
            self._sleep(min(remaining, _LOOK_AGAIN_S))

    def _remaining_s(self) -> float:
        factor = self._factor()
        return math.inf if factor == math.inf else self._free_since + self._pause_s * factor - self._clock()

    def _factor(self) -> float:
        """How many times as long a pause is; infinite while everything waits."""
        if self._throttle is None:
            return 1.0
        try:
            factor = float(read_regular(self._throttle))
        except OSError:
            return 1.0
        except ValueError:
            return math.inf
        return max(1.0, factor) if math.isfinite(factor) else math.inf

    def _ordered(self) -> str:
        """What the operator's file says, in few words."""
        said = ""
        with suppress(OSError, UnicodeDecodeError):
            said = read_regular(self._throttle).strip()[:20] if self._throttle is not None else ""
        try:
            float(said)
        except ValueError:
            return repr(said) if said == _PAUSE else f"{said!r} is no number"
        return repr(said)


def throttle_path(database: Path) -> Path:
    """Where an operator slows or pauses what goes on in `database` (a real path)."""
    return database.with_name(database.name + ".migration-throttle")
