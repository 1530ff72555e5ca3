"""Kills in numbers: by way, promotion and journal mode, phase and outcome."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.faults.kills.drawing import Case
from tests.faults.kills.states import DAMAGE, HALF, LEFT
from tests.faults.kills.written import LOST, REFUSED, Fault

RECOVERY = "failed recovery"
MUST_BE_NONE = (LOST, REFUSED, HALF, DAMAGE, RECOVERY, LEFT)
NOTHING, A_NEW_RUN = "nothing to end", "a new run"
ENDS = (NOTHING, "unchanged", "finished", A_NEW_RUN)


@dataclass(frozen=True)
class Kill:
    """`way`: from which version to which; `found`: old or new; `ours`: with objects of the tool's; `ended_by`: how
    the next start ended the run, after so many `recoveries_killed`."""

    way: str
    phase: str
    found: str
    ours: bool
    ended_by: str
    recoveries_killed: int


@dataclass
class Outcome:
    """What was met in a case. `faults` is empty where all that must hold did hold."""

    case: Case
    kills: list[Kill] = field(default_factory=list)
    writes: int = 0
    seconds: float = 0.0
    faults: list[Fault] = field(default_factory=list)


def table(outcomes: list[Outcome]) -> str:
    """Markdown: the kills grouped in three manners and in all, then what must not be there and is not."""
    kills = [(outcome.case, kill) for outcome in outcomes for kill in outcome.kills]
    groups: dict[str, Callable[[Case, Kill], str]] = {
        "way": lambda _, kill: kill.way,
        "promotion, journal mode": lambda case, _: f"{case.promotion}, {case.journal_mode}",
        "killed in": lambda _, kill: kill.phase or "start",
        "writers": lambda case, _: f"{case.writers}, foreign keys {'on' if case.foreign_keys else 'off'}",
    }
    columns = ("kills", "found old", "found new", "with the tool's objects", *ENDS, "recoveries killed")
    parts = []
    for title, group in groups.items():
        lines = [f"| {title} | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
        names = sorted({group(case, kill) for case, kill in kills})
        for name in names:
            lines.append(_line(name, [kill for case, kill in kills if group(case, kill) == name]))
        parts.append("\n".join([*lines, _line("**all**", [kill for _, kill in kills])]))
    counts = Counter(kind for outcome in outcomes for kind, _ in outcome.faults)
    faults = ", ".join(f"{kind}: {counts[kind]}" for kind in MUST_BE_NONE)
    writes = sum(outcome.writes for outcome in outcomes)
    return "\n\n".join([*parts, f"{len(outcomes)} databases, {writes:,} writes; {faults}"])


def _line(title: str, kills: list[Kill]) -> str:
    numbers = [
        len(kills),
        *(sum(kill.found == found for kill in kills) for found in ("old", "new")),
        sum(kill.ours for kill in kills),
        *(sum(kill.ended_by == end for kill in kills) for end in ENDS),
        sum(kill.recoveries_killed for kill in kills),
    ]
    return f"| {title} | {' | '.join(f'{number:,}' for number in numbers)} |"
