"""What one number draws: a database, the way on which runs are killed, and who writes to it meanwhile."""

import random
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from migrator.ltmc import LTMC
from tests.runs import PLENTY_MS, migrate

LOCK_MS = {"one transaction": PLENTY_MS, "online": 0.0}
"""What a run is given with --max-lock-ms, by the way in which it promotes then."""
SWITCH = "only the switch"
"""No run: a program that switches the journal mode to and fro."""
MODES = ("delete", "wal")
NEWEST = LTMC.migrations[-1].version
ROWS = (300, 1200)


@dataclass(frozen=True)
class Case:
    """Runs from version `start` to `goal` and back again, killed, on one database."""

    seed: int
    start: int
    goal: int
    promotion: str
    journal_mode: str
    writers: int
    foreign_keys: bool
    rows: int


def draw(seed: int) -> Case:
    """The same case for the same seed. Every second way is that of all migrations at once, or back."""
    chance = random.Random(seed)
    ends = [0, NEWEST] if chance.random() < 0.5 else chance.sample(range(NEWEST + 1), 2)
    chance.shuffle(ends)
    promotion = chance.choices((*LOCK_MS, SWITCH), (8, 8, 1))[0]
    return Case(
        seed,
        *ends,
        promotion,
        "delete" if promotion == SWITCH else chance.choice(MODES),
        chance.choice((1, 1, 2, 3)),
        chance.random() < 0.5,
        chance.choice(ROWS),
    )


@cache
def quiet(rows: int, version: int) -> bytes:
    """A demo database at `version`, migrated while nobody wrote to it."""
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder, "ltmc.db")
        LTMC.make_demo(database, rows=rows, row_bytes=100)
        if version:
            migrate(database, LTMC, to_version=version)
        return database.read_bytes()
