"""In which portions a fleet is migrated, and how many failures each may have."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

from migrator.errors import RefusedError
from migrator.fleet.parts import Part, parts_of

CANARY = "canary"
_AMOUNT = re.compile(r"([0-9]{1,7})|([0-9]{1,3}(?:\.[0-9]{1,3})?)%")


@dataclass(frozen=True)
class Amount:
    """So many, or such a share of a whole; exact, so that 30% of 10 is 3."""

    number: Fraction
    is_share: bool

    def at_least(self, whole: int) -> int:
        """The amount of `whole`, rounded up, and at least 1: a wave has a database."""
        return max(1, ceil(self.number * whole) if self.is_share else int(self.number))

    def at_most(self, whole: int) -> int:
        """The amount of `whole`, rounded down: a limit that is passed by a fraction is passed."""
        return floor(self.number * whole) if self.is_share else int(self.number)


@dataclass(frozen=True)
class Wave:
    """A portion of the fleet; its databases are migrated side by side."""

    name: str
    databases: tuple[str, ...]

    @property
    def parts(self) -> tuple[Part, ...]:
        """What is carried out together."""
        return parts_of(self.databases)

    def at_a_time(self, parallel: int) -> int:
        """How many of its parts are carried out at a time: a canary alone, `parallel` databases of this machine, or all
        other machines, each of which has a number of its own."""
        machines = len(self.parts) if self.parts and self.parts[0].machine is not None else parallel
        return 1 if self.name == CANARY else machines


def parse_amount(text: str) -> Amount:
    """`12` or `2.5%`; raises RefusedError for anything else."""
    found = _AMOUNT.fullmatch(text.strip())
    if found is None or (found[2] is not None and Fraction(found[2]) > 100):
        raise RefusedError(f"{text!r} is neither a number nor a percentage", "give for example 12 or 30%")
    return Amount(Fraction(found[1]), False) if found[2] is None else Amount(Fraction(found[2]) / 100, True)


def parse_amounts(text: str) -> tuple[Amount, ...]:
    """Amounts with commas between them; raises RefusedError."""
    return tuple(parse_amount(part) for part in text.split(","))


def plan_waves(databases: Sequence[str], sizes: Sequence[Amount], canary: str | None = None) -> tuple[Wave, ...]:
    """The canary alone (default: the first database), then waves of `sizes`, the last one again until none is left.

    A share is one of all databases but the canary. Raises RefusedError for a canary that is none of them.
    """
    first = databases[0] if canary is None else canary
    if first not in databases:
        raise RefusedError(f"the canary {first} is none of the databases", "name it among them too")
    rest = [database for database in databases if database != first]
    waves, begun = [Wave(CANARY, (first,))], 0
    while begun < len(rest):
        size = sizes[min(len(waves), len(sizes)) - 1].at_least(len(rest))
        waves.append(Wave(f"wave {len(waves)}", tuple(rest[begun : begun + size])))
        begun += size
    return tuple(waves)
