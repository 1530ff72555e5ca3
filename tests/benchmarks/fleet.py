"""How fast a fleet of small databases is migrated: `python -m tests.benchmarks.fleet` (DATABASES=1000, SMALL=100).

Whole runs of the program with a Prefect server of its own, tools and gate on, the watch for memory on the canary only.
Bounds that are kept are assertions.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from migrator.ltmc import LTMC
from tests.benchmarks.results import FOLDER, keep

ROOT = Path(__file__).resolve().parents[2]
DATABASES = int(os.environ.get("DATABASES", "1000"))
SMALL = int(os.environ.get("SMALL", "100"))
RUNS = ((SMALL, 1), (SMALL, 2), (SMALL, 4), (DATABASES // 4, 2), (DATABASES, 2))
"""So many databases, so many at a time."""
ROWS_EACH = 100
PER_MINUTE_WANTED = 60


def measured(folder, count, parallel):
    """One run over `count` new databases, as a row of the table."""
    database = folder / "pattern.db"
    LTMC.make_demo(database, ROWS_EACH)
    for number in range(count):
        copy = folder / f"{number // 100:03}" / f"{number:05}.db"
        copy.parent.mkdir(exist_ok=True)
        shutil.copyfile(database, copy)
    size = database.stat().st_size
    database.unlink()
    os.sync()
    command = [sys.executable, "-m", "flows.fleet", "--glob", f"{folder}/*/*.db", "--state", f"{folder}/fleet.jsonl"]
    environment = {**os.environ, "PREFECT_HOME": str(folder / "prefect")}
    ended = subprocess.run(
        [*command, "--parallel", str(parallel), "--json"], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    told = json.loads(ended.stdout)
    migrated = [row for row in told["databases"] if row["outcome"] == "migrated"]
    assert (told["outcome"], len(migrated)) == ("migrated", count)
    return {
        "databases": count,
        "kB each": size // 1000,
        "at a time": parallel,
        "seconds": round(told["seconds"], 1),
        "a minute": round(told["per_minute"]),
        "p50 s": round(told["p50_s"], 2),
        "p95 s": round(told["p95_s"], 2),
        "canary s": round(told["databases"][0]["seconds"], 1),
    }


def main():
    FOLDER.mkdir(exist_ok=True)
    rows = []
    for count, parallel in RUNS:
        with tempfile.TemporaryDirectory(prefix="fleet-", dir=FOLDER) as name:
            rows.append(measured(Path(name), count, parallel))
            print(rows[-1], flush=True)
    keep("fleet", rows)
    assert rows[-1]["a minute"] >= PER_MINUTE_WANTED, rows[-1]


if __name__ == "__main__":
    main()
