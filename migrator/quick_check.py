"""What the tools that a migration is for do after each of its steps on the candidate: a quick look, no gate."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

from migrator.candidate import Candidate
from migrator.connect import deadline
from migrator.probes import Probe
from migrator.tools import FAULTS, call, fault_text, rolled_back

WORKS, FAILS, TOO_SLOW = "works", "fails", "too slow for a quick look"
BEFORE = "before the migration"
"""In the place of a step: what the tools do on the staged candidate is what they do on live."""
_DEADLINE_S = 0.05
"""Without its index a tool reads a million rows; that it compiles is what a step may have changed."""


@dataclass(frozen=True)
class ToolState:
    """What `tool` did after `step`, or BEFORE the first; `reason` is why it fails."""

    tool: str
    step: str
    state: str
    reason: str | None = None

    @property
    def when(self) -> str:
        return self.step if self.step == BEFORE else f"after: {self.step}"


def look_at_tools(candidate: Candidate, step: str) -> Iterator[ToolState]:
    """One state for each tool that the migration names, on the candidate as `step` left it; nothing stays written."""
    for probe in candidate.inspection.backup.live.probes:
        if probe.tool in candidate.plan.tools and probe.call is not None:
            yield ToolState(probe.tool, step, *_state(candidate, probe))


def _state(candidate: Candidate, probe: Probe) -> tuple[str, str | None]:
    with rolled_back(candidate.path) as connection, deadline(connection, _DEADLINE_S):
        try:
            call(probe, connection)
        except FAULTS as error:
            if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
                return TOO_SLOW, None
            return FAILS, fault_text(error)
    return WORKS, None
