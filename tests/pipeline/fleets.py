"""Fleets of demo databases, and what became of them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from migrator.ltmc import LTMC
from tests.pipeline.runs import columns


def demos(folder: Path, count: int) -> list[Path]:
    """So many un-migrated databases in a new folder."""
    folder.mkdir()
    paths = [folder / f"{n:02}.db" for n in range(count)]
    LTMC.make_demo(paths[0], 20)
    for path in paths[1:]:
        shutil.copyfile(paths[0], path)
    return paths


def is_migrated(database: Path) -> bool:
    return "execution_time_ms" in columns(database)


def outcomes(told: dict[str, Any]) -> dict[str, str]:
    """What a fleet's report says of each."""
    return {Path(row["database"]).stem: row["outcome"] for row in told["databases"]}
