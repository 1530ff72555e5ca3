"""Databases on several machines, named MACHINE:/PATH, and the parts of a wave that are carried out together."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from migrator.errors import RefusedError

MACHINE = "[A-Za-z0-9][A-Za-z0-9._-]*"
_ON_MACHINE = re.compile(f"(?P<machine>{MACHINE}):(?P<path>/.*)", re.DOTALL)
"""As rsync and scp name a file on a host; ./MACHINE:/PATH is one on this machine."""


@dataclass(frozen=True)
class Part:
    """Databases that are carried out together: a single one on this machine, or all those of a wave on another.

    `databases` are their names in the fleet, with the machine's.
    """

    databases: tuple[str, ...]
    machine: str | None = None

    def __str__(self) -> str:
        """As people read it."""
        if self.machine is None:
            return self.databases[0]
        count = len(self.databases)
        return f"{count} database{'s' * (count != 1)} on {self.machine}"

    def named(self, path: str) -> str:
        """The name in the fleet of a path on the part's machine."""
        return path if self.machine is None else f"{self.machine}:{path}"

    @property
    def paths(self) -> tuple[str, ...]:
        """The databases as the part's machine knows them."""
        return tuple(name.removeprefix(f"{self.machine}:") for name in self.databases)


def machine_of(name: str) -> str | None:
    """The machine that a database's name begins with; None for one on this machine."""
    found = _ON_MACHINE.fullmatch(name)
    return None if found is None else found["machine"]


def parts_of(databases: Iterable[str]) -> tuple[Part, ...]:
    """The parts, in the order of their first databases."""
    parts: list[Part] = []
    of_machine: dict[str, list[str]] = {}
    for name in databases:
        machine = machine_of(name)
        if machine is None:
            parts.append(Part((name,)))
        else:
            of_machine.setdefault(machine, []).append(name)
    return (*parts, *(Part(tuple(names), machine) for machine, names in of_machine.items()))


def refuse_mixture(databases: Iterable[Path]) -> None:
    """Raises RefusedError where some databases are on machines and others are not, or where a name on a machine cannot
    be told to it."""
    named = [str(path) for path in databases]
    here = next((name for name in named if machine_of(name) is None), None)
    there = [name for name in named if machine_of(name) is not None]
    if there and here is not None:
        raise RefusedError(
            f"{there[0]} is on a machine of its own, and {here} is not",
            "name the machine of each, as its worker is named, this one's too; or make two fleets",
        )
    for name in there:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise RefusedError(
                f"{name!r} is not UTF-8, and Prefect could not hand it to the machine", "migrate it there by itself"
            ) from None
