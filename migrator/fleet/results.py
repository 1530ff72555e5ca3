"""What became of one database of a fleet."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from migrator.report import MIGRATED, PLANNED, REFUSED, RESTORE_FAILED, RESTORED, UP_TO_DATE

INTERRUPTED = "interrupted"
"""The fleet's own run was stopped: the database is as before, and nothing is wrong with it."""
FAILED = "failed"
OPERATOR = 3
"""The exit code of flows.migrate for a database whose restore failed."""
SUCCESSES = frozenset({MIGRATED, UP_TO_DATE, PLANNED})
_FAILURES = frozenset({RESTORED, REFUSED, RESTORE_FAILED})
_OUTCOMES = SUCCESSES | _FAILURES | {INTERRUPTED}


@dataclass(frozen=True)
class Result:
    """`outcome` is that of flows.migrate, or interrupted; `error` is what was the matter, also with one that was
    migrated all the same; `backup` and `report` are paths, where there are any."""

    database: str
    outcome: str
    seconds: float
    error: str | None = None
    run_id: str | None = None
    from_version: int | None = None
    to_version: int | None = None
    backup: str | None = None
    report: str | None = None

    @property
    def is_failure(self) -> bool:
        return self.outcome in _FAILURES

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(stored: dict[str, Any]) -> Result:
        """Raises ValueError, KeyError or TypeError for what is no result."""
        result = Result(**{field.name: stored[field.name] for field in fields(Result)})
        if result.outcome not in _OUTCOMES or not isinstance(result.database, str):
            raise ValueError(f"outcome {result.outcome!r}")
        return result
