"""The score: `python -m tests.faults.defects` (make defects) seeds every defect and prints who reported what.

`SEED=...` draws the same defects again. The exit code is 1 where a gate missed one, or raised a false alarm.
"""

import os
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tests.faults.defects.catalogue import WRITTEN
from tests.faults.defects.course import Defect, Run, caught, run_with
from tests.faults.defects.generated import defects
from tests.faults.defects.harmless import VARIATIONS, alarms

T = TypeVar("T")


def in_a_folder(look: Callable[[Path], T]) -> T:
    """What `look` finds in a new folder, in memory where that is possible."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="defects-", dir=memory) as folder:
        return look(Path(folder))


def row(name: str, gate: str, by: str, message: str = "") -> str:
    return f"{name:<60} {gate:<18} {by:<18} {message}".rstrip()


def _row_of(defect: Defect, run: Run) -> str:
    found = caught(defect, run) or run.stopped
    return row(defect.name, defect.gate, *(("nobody",) if found is None else (found.gate, found.message)))


def main() -> int:
    seed = int(os.environ.get("SEED", random.randrange(10**6)))
    seeded = (*WRITTEN, *defects(seed))
    print(row("defect", "gate", "caught by", "message"))
    missed, known, gates = [], [], Counter[str]()
    for defect in seeded:
        run = in_a_folder(lambda folder, defect=defect: run_with(defect, folder))
        print(_row_of(defect, run))
        if caught(defect, run) is None:
            (known if defect.missed else missed).append(defect)
        else:
            gates[defect.gate] += 1
    alarming = {}
    for variation in VARIATIONS:
        found = in_a_folder(lambda folder, variation=variation: alarms(variation, folder))
        print(row(variation.name, "none", found[0].gate if found else "nobody"))
        if found:
            alarming[variation.name] = found
    print(f"\n{', '.join(f'{gate} {count}' for gate, count in gates.items())}")
    print(
        f"{gates.total()} of {len(seeded)} caught by the gate that names them, "
        f"{len(VARIATIONS) - len(alarming)} of {len(VARIATIONS)} harmless variations without alarm; seed {seed}"
    )
    for defect in known:
        print(f"not yet: {defect.name} ({defect.missed})")
    for defect in missed:
        print(f"NOT CAUGHT {defect.name}: {defect.gate} should say {defect.says!r}")
    for name, found in alarming.items():
        print(f"FALSE ALARM {name}: {found[0].gate}: {found[0].message}")
    return 1 if missed or alarming else 0


if __name__ == "__main__":
    sys.exit(main())
