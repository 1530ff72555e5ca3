"""A whole migration beside an application at work, and what the application noticed of it."""

import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

from tests.benchmarks import load
from tests.benchmarks.databases import fresh

HERE = Path(__file__).resolve().parent
AFTERWARDS_S = 1.0
PERCENTS = (50, 99, 99.9, 100)
NEWEST = 5
WRITTEN = {1: ("CodePatterns",), NEWEST: ("CodePatterns", "Todos", "ChatHistory")}
"""By the version to which is migrated: the tables that are filled anew, to which the writer writes."""


def migrate_under_load(folder, rows, indexed, journal_mode, idle_s, max_lock_ms, to_version=1):
    """Load alone for `idle_s`, then beside the migration from first to last step; one row of a table.

    Milliseconds of `writer` and `reader` are those of whole operations, opening a connection included.
    """
    database = fresh(folder, rows, indexed, journal_mode)
    children = {role: _start(folder, role, database, to_version) for role in ("writer", "reader")}
    try:
        _let_pass(idle_s)
        busy_before = os.getloadavg()[0]
        began = time.time()
        command = [HERE / "migrate_without_prefect.py", database, folder / "run", str(max_lock_ms), str(to_version)]
        subprocess.run([sys.executable, *command], check=True)
        ended = time.time()
        _let_pass(AFTERWARDS_S)
    finally:
        for child in children.values():
            child.stdin.close()
        for child in children.values():
            child.wait()
    run = json.loads((folder / "run").read_text(encoding="utf-8"))
    noticed = {role: json.loads((folder / role).read_text(encoding="utf-8")) for role in children}
    held_ms = sorted(ms for _, ms, _ in run["holds"])
    row = {"rows": rows, "to": to_version, "indexed": indexed, "mode": journal_mode, "strategy": run["strategy"]}
    row["total s"] = round(ended - began, 1)
    row["slowest steps s"] = _slowest(run["steps"])
    for role, found in noticed.items():
        times = [(at - ms / 1000, at, ms) for at, ms in zip(found["at"], found["took_ms"], strict=True)]
        during = [t for t in times if t[1] >= began and t[0] <= ended]
        idle_ms, during_ms = sorted(ms for _, at, ms in times if at < began), sorted(ms for _, _, ms in during)
        for percent in PERCENTS:
            row[f"{role} idle {_name(percent)} ms"] = _percentile(idle_ms, percent)
            row[f"{role} {_name(percent)} ms"] = _percentile(during_ms, percent)
        row[f"{role} worst in"] = _step_of(max(during, key=lambda t: t[2]), run["steps"])
        row[f"{role} operations"] = len(during)
        row[f"{role} errors"] = len(found["errors"])
    saw = noticed["reader"]["states"]
    old, new = saw.pop("0", 0), saw.pop(str(to_version), 0)
    row["half states"], row["saw old, new"] = sum(saw.values()), f"{old}, {new}"
    row["holds"], row["hold p50 ms"], row["hold max ms"] = (
        len(held_ms), _percentile(held_ms, 50), _percentile(held_ms, 100),
    )  # fmt: skip
    row["written"], row["lost or stale"] = len(noticed["writer"]["wrote"]), _lost(database, noticed["writer"]["wrote"])
    row |= _left(database, folder)
    row["WAL refused"] = any(code == "wal_refused" for code, _, _ in run["findings"])
    row["peak MiB"] = round(run["peak_mib"], 1)
    row["load average before"] = round(busy_before, 2)
    return row


def _start(folder, role, database, to_version):
    command = [HERE / "load.py", role, database, folder / role, *WRITTEN[to_version]]
    return subprocess.Popen([sys.executable, *command], stdin=subprocess.PIPE)


def _let_pass(seconds):
    threading.Event().wait(seconds)


def _name(percent):
    return "max" if percent == 100 else f"p{percent:g}"


def _percentile(ordered, percent):
    """Nearest rank, upwards; NaN of nothing."""
    return round(ordered[max(0, -int(-percent * len(ordered) // 100) - 1)], 1) if ordered else float("nan")


def _step_of(operation, steps):
    """The step during which an operation ended, the last one for what came after it."""
    return next((s["name"] for s in reversed(steps) if s["began"] <= operation[1]), steps[0]["name"])


def _slowest(steps):
    return ", ".join(f"{s['name']} {s['s']:.1f}" for s in sorted(steps, key=lambda s: -s["s"])[:4])


def _lost(database, wrote):
    """How many rows are not what the writer's own journal says, rows that should be gone included."""
    lost = 0
    with closing(sqlite3.connect(database)) as connection:
        for table, key, text in wrote:
            row = connection.execute(f"SELECT {load.WRITTEN[table][0]} FROM {table} WHERE id = ?", (key,)).fetchone()
            lost += (row[0] if row else None) != text
    return lost


def _left(database, folder):
    """What is left of the run: objects and files of the tool's, the journal mode, the file's soundness."""
    with closing(sqlite3.connect(database)) as connection:
        named = "SELECT name FROM sqlite_master WHERE name LIKE '!_mig!_%' ESCAPE '!' OR name LIKE 'sqlite_stat_!_mig%'"
        objects = [name for (name,) in connection.execute(named)]
        mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
        sound = connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    scratch = [path.name for path in folder.glob("*.backups/*/scratch")]
    journals = [path.name for path in folder.glob("*.migrating")]
    return {"left": ", ".join((*objects, *scratch, *journals)), "mode after": mode, "sound": sound}
