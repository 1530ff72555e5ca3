"""What a benchmark prints and keeps: a table for people, JSON for comparisons. Both name the machine."""

import json
import os
import platform
import sqlite3
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / ".bench"


def keep(name, rows, upright=False):
    """Prints `rows` (dicts with the same keys) as a table and writes them to .bench/<name>.json.

    `upright`: many keys, few rows; each key gets a line.
    """
    machine = {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "system": f"{platform.system()} {platform.machine()}",
    }
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.json").write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n")
    if upright:
        rows = [{"": key, **{str(n): row[key] for n, row in enumerate(rows, 1)}} for key in rows[0]]
    widths = {key: max(len(key), *(len(str(row[key])) for row in rows)) for key in rows[0]}
    print(f"\n{name} ({', '.join(f'{key} {value}' for key, value in machine.items())})")
    for row in (dict(zip(widths, widths, strict=True)), *rows):
        print("  ".join(f"{row[key]!s:<{width}}" for key, width in widths.items()).rstrip())
