"""The tool's own cost: a whole migration of the real database against the smallest flow that Prefect can run."""

import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from migrator.ltmc import LTMC
from tests.benchmarks.results import keep

ROOT = Path(__file__).resolve().parents[2]
REAL = ROOT.parent / "shared" / "data" / "ltmc_20250809.db"
ROUNDS = 5
BOUND, GOAL = 1.2, 0.9


def _wall_s(command, home):
    environment = {**os.environ, "PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    environment.pop("PREFECT_API_URL", None)
    started = time.perf_counter()
    subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, check=True, capture_output=True)
    return time.perf_counter() - started


def test_a_migration_takes_no_longer_than_a_one_task_flow(tmp_path):
    database = tmp_path / "ltmc.db"

    def fresh():
        shutil.rmtree(tmp_path / "ltmc.db.backups", ignore_errors=True)
        database.unlink(missing_ok=True)
        if REAL.exists():
            shutil.copyfile(REAL, database)
        else:
            LTMC.make_demo(database, 100)

    one_task = ["tests/benchmarks/one_task_flow.py"]
    # 0001 is what the schema plan asks for.
    migrate = ["-m", "flows.migrate", "--database", str(database), "--to", "0001"]
    up_to_date = migrate
    home = tmp_path / "prefect"
    # Once before: the first use of a home makes Prefect's own database.
    _wall_s(one_task, home)
    yardstick, ours, again = [], [], []
    for _ in range(ROUNDS):
        fresh()
        yardstick.append(_wall_s(one_task, home))
        ours.append(_wall_s(migrate, home))
        again.append(_wall_s(up_to_date, home))
    unit = statistics.median(yardstick)
    rows = [
        {
            "what": what,
            "median s": round(statistics.median(times), 2),
            "ratio": round(statistics.median(times) / unit, 2),
        }
        for what, times in (("one-task Prefect flow", yardstick), ("migration", ours), ("up to date", again))
    ]
    keep("start_to_end", rows)
    assert rows[1]["ratio"] <= BOUND, f"bound {BOUND}, goal {GOAL}"
