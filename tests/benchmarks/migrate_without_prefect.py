"""One whole migration without Prefect: `python migrate_without_prefect.py DATABASE RESULT MAX_LOCK_MS [TO_VERSION]`.

The steps of flows/migrate.py in its order. The result is JSON: seconds and begin of every step, what was promoted how,
every hold of the write lock (online), findings, the most memory that the process had.
"""

import json
import resource
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from migrator import pace, tools
from migrator.backup import back_up
from migrator.candidate import add_column, convert_data, create_indexes, rebuild_table, stage
from migrator.inspection import inspect
from migrator.journal_mode import kept_open
from migrator.ltmc import LTMC
from migrator.performance import check_performance
from migrator.preflight import preflight
from migrator.promotion import promote
from migrator.quick_check import look_at_tools
from migrator.removal import remove_old
from migrator.restoration import finish
from migrator.verification import verify_live


def _peak_kib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def migrate(database, max_lock_ms, to_version):
    steps, findings, holds = [], [], []
    noted = pace.Pace.held

    def held(self, seconds, rows):
        holds.append([time.time(), 1000 * seconds, rows])
        return noted(self, seconds, rows)

    pace.Pace.held = held

    def step(name, function, *arguments):
        began, started, cpu = time.time(), time.perf_counter(), time.process_time()
        result = function(*arguments)
        taken = {"s": time.perf_counter() - started, "cpu_s": time.process_time() - cpu}
        steps.append({"name": name, "began": began, **taken, "peak_mib": _peak_kib() / 1024})
        findings.extend([f.code, f.message, f.count] for f in getattr(result, "findings", ()))
        return result

    def rehearsal(name, function, *arguments):
        candidate = step(name, function, *arguments)
        step("quick check", lambda: list(look_at_tools(candidate, name)))
        return candidate

    live = step("preflight", lambda: preflight(database, LTMC, to_version=to_version))
    backup = step("back_up", lambda: back_up(live, max_lock_ms=max_lock_ms))
    with kept_open(live.database):
        inspection = step("inspect", inspect, backup)
        candidate = rehearsal("stage", stage, inspection)
        for table in inspection.plan.tables:
            for column in table.added:
                candidate = rehearsal("add_column", add_column, candidate, table.table, column)
            if table.kind == "rebuild":
                candidate = rehearsal("convert_data", convert_data, candidate, table)
            candidate = rehearsal("rebuild_table", rebuild_table, candidate, table)
        candidate = rehearsal("create_indexes", create_indexes, candidate)
        scratch = step("copy_for_tools", tools.copy_for_tools, candidate)
        results = [step(f"tool {p.tool}", tools.validate_tool, scratch, p) for p in live.probes]
        step("check_constraints", tools.check_constraints, scratch)
        performance = step("check_performance", check_performance, scratch, live.probes, results)
        promoted = step("promote", promote, candidate, max_lock_ms)
        step("verify_live", verify_live, promoted)
        if promoted.strategy == "online":
            step("remove_old", remove_old, promoted)
    findings.extend([f.code, f.message, f.count] for f in step("finish", finish, database, live.directory))
    return {
        "steps": steps,
        "strategy": promoted.strategy,
        "lock_ms": promoted.lock_ms,
        "rows": promoted.rows,
        "passed": sum(r.after == tools.PASSED for r in results),
        "worst_p95_ms": max(latency.p95_ms for latency in performance.latencies),
        "findings": findings,
        "holds": holds,
        "peak_mib": _peak_kib() / 1024,
    }


def main():
    database, result, max_lock_ms, *to_version = sys.argv[1:]
    # Unless told otherwise as far as the plan's own script goes, with which this is compared.
    found = migrate(Path(database), float(max_lock_ms), int(*to_version or "1"))
    part = Path(result + ".part")
    part.write_text(json.dumps(found), encoding="utf-8")
    part.replace(result)


if __name__ == "__main__":
    main()
