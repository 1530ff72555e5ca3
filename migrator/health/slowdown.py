"""Whether a tool has become slower than it used to be, told from noise.

Three things look like a slow tool and are none. Others that use the machine: so it is processor time that counts here;
the budget is about time on the clock. A machine that is slower today: so a fixed piece of work that has
nothing to do with the database is timed in turn with the tool, and what slows that by a factor may slow the tool by
it. And chance: a time counts as slower only where it is an outlier of the tool's own history by the modified z-score,
which rests on the median and the median absolute deviation (MAD) and so is not moved by a few odd days (B. Iglewicz,
D. Hoaglin, How to Detect and Handle Outliers, 1993; NIST/SEMATECH e-Handbook, section 1.3.5.17,
itl.nist.gov/div898/handbook/eda/section3/eda35h.htm), and where it is so in three measurements.

The history is the last 30 healthy checks, so what grows slowly, with the rows, moves it along and is no slowdown: that
has only the budget.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

CHECKS_USED, CHECKS_NEEDED = 30, 8
"""With fewer than eight a median and a MAD say little."""
MEASUREMENTS = 3
_OUTLIER_SCORE, _NORMAL_MAD = 3.5, 0.6745
"""The score from which Iglewicz and Hoaglin call a value an outlier; the MAD of a normal distribution."""
_LEAST_MS = 20.0
"""As in the performance gate: less is not worth anybody's night."""
_LEAST_SHARE = 0.5
"""Below twice as slow, so that a tool that takes twice as long as usual, give or take, is always found."""


@dataclass(frozen=True)
class Timed:
    """One measurement: percentiles on the clock, less what the tool waited for a processor; medians of the processor
    time of tool and reference."""

    p50_ms: float
    p95_ms: float
    cpu_ms: float
    reference_ms: float


@dataclass(frozen=True)
class Usual:
    """What a tool's processor time has been, where the reference took so long: the median of its history, the MAD."""

    cpu_ms: float
    mad_ms: float
    reference_ms: float

    def limit_ms(self, reference_ms: float) -> float:
        """Above it the tool is slower than usual, on a machine on which the reference takes `reference_ms` now."""
        margin = max(_LEAST_MS, _LEAST_SHARE * self.cpu_ms, _OUTLIER_SCORE / _NORMAL_MAD * self.mad_ms)
        return (self.cpu_ms + margin) * self.slower_machine(reference_ms)

    def slower_machine(self, reference_ms: float) -> float:
        """How many times as long as usual everything takes on this machine now; 1 where it is faster."""
        return max(1.0, reference_ms / self.reference_ms)


def usual(history: Sequence[Timed]) -> Usual | None:
    """What is usual in a tool's healthy checks, the latest last; None where they are too few to say."""
    used = history[-CHECKS_USED:]
    if len(used) < CHECKS_NEEDED:
        return None
    reference_ms = median(t.reference_ms for t in used)
    # As if the machine had always been as fast as it usually is.
    evened = [t.cpu_ms * reference_ms / t.reference_ms for t in used]
    middle = median(evened)
    return Usual(middle, median(abs(cpu_ms - middle) for cpu_ms in evened), reference_ms)


def measured(measure: Callable[[], Timed], was: Usual | None, budget_ms: float) -> tuple[Timed, bool, bool]:
    """The first measurement that is neither over budget nor slower than it `was`, else the last of three.

    With it, whether the p95 of every one of the three was over budget, and whether every one was slower than usual.
    """
    over, slower = True, was is not None
    for _ in range(MEASUREMENTS):
        found = measure()
        over = over and found.p95_ms > budget_ms
        slower = slower and was is not None and found.cpu_ms > was.limit_ms(found.reference_ms)
        if not over and not slower:
            break
    return found, over, slower
