"""What a fleet's run did, for programs (JSON) and as rows for people."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from migrator.fleet.fleet import Fleet
from migrator.performance import percentile
from migrator.report import MIGRATED, PLANNED, UP_TO_DATE


@dataclass(frozen=True)
class WaveRow:
    """How far one wave is; `left` were not started, or not yet."""

    wave: str
    databases: int
    migrated: int
    planned: int
    up_to_date: int
    failed: int
    under_way: int
    left: int

    @property
    def done(self) -> int:
        return self.databases - self.left - self.under_way


def wave_rows(fleet: Fleet) -> list[WaveRow]:
    """A row for each wave, as it is now."""
    rows = []
    under_way = {*fleet.under_way}
    for wave in fleet.order.waves:
        count: Counter[str] = Counter()
        for name in wave.databases:
            result = fleet.results.get(name)
            if result is not None:
                count["failed" if result.is_failure else result.outcome] += 1
        runs = len(under_way.intersection(wave.databases))
        known = (count[MIGRATED], count[PLANNED], count[UP_TO_DATE], count["failed"])
        rows.append(WaveRow(wave.name, len(wave.databases), *known, runs, len(wave.databases) - sum(known) - runs))
    return rows


def as_json(fleet: Fleet, state: Path | None) -> dict[str, object]:
    """The stable form; scripts rely on its keys. `seconds`, `per_minute`, `p50_s` and `p95_s` are of this start."""
    seconds = time.monotonic() - fleet.started_at
    each = [result.seconds for result in fleet.new]
    return {
        "fleet": fleet.order.fleet_id,
        "outcome": fleet.outcome,
        "error": fleet.why_stopped,
        "state": None if state is None else str(state),
        "waves": [
            {"wave": r.wave, "databases": r.databases, "migrated": r.migrated, "planned": r.planned,
             "up_to_date": r.up_to_date, "failed": r.failed, "left": r.left + r.under_way}
            for r in wave_rows(fleet)
        ],
        "databases": [
            {"wave": wave.name, **fleet.results[name].as_json()}
            for wave in fleet.order.waves for name in wave.databases if name in fleet.results
        ],
        "left": fleet.left,
        "seconds": round(seconds, 3),
        "per_minute": round(60 * len(each) / seconds, 1),
        "p50_s": percentile(each, 50) if each else None,
        "p95_s": percentile(each, 95) if each else None,
    }  # fmt: skip


def refused_json(error: str) -> dict[str, object]:
    """The same form for a fleet that nothing was begun of."""
    empty: dict[str, object] = {"waves": [], "databases": [], "left": [], "seconds": 0.0, "per_minute": 0.0}
    return {"fleet": None, "outcome": "refused", "error": error, "state": None, **empty, "p50_s": None, "p95_s": None}
