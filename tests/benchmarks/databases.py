"""The databases that benchmarks migrate: made once for each size, copied for every run."""

import os
import shutil
import sqlite3
from contextlib import closing

from migrator.ltmc import LTMC
from tests.benchmarks.results import FOLDER

ROWS = int(os.environ.get("ROWS", "1000000"))
FULL = ROWS >= 1_000_000
NEEDED_BYTES_PER_ROW = 6_000
"""A run has up to six copies of a row of 750 bytes: live twice, backup, candidate twice, the tools' copy."""

PLANS_INDEXES = (
    # The third of them is on a column that only a database changed by hand can have.
    "ALTER TABLE CodePatterns ADD COLUMN function_name TEXT",
    "CREATE INDEX idx_codepatterns_result ON CodePatterns(result)",
    "CREATE INDEX idx_codepatterns_created_at ON CodePatterns(created_at)",
    "CREATE INDEX idx_codepatterns_function_result ON CodePatterns(function_name, result)",
)


def source(rows, indexed=False):
    """A demo database with `rows` rows, in .bench/; `indexed`: the plan's three indexes are already there."""
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{rows}{'_indexed' if indexed else ''}.db"
    if not path.exists():
        part = path.with_suffix(".part")
        part.unlink(missing_ok=True)
        if indexed:
            shutil.copyfile(source(rows), part)
            with closing(sqlite3.connect(part)) as connection, connection:
                for statement in PLANS_INDEXES:
                    connection.execute(statement)
        else:
            LTMC.make_demo(part, rows)
        part.replace(path)
    return path


def fresh(folder, rows, indexed=False, journal_mode="delete"):
    """A copy of its own in the empty `folder`, with everything written to the disk before the clock starts."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    path = folder / "ltmc.db"
    shutil.copyfile(source(rows, indexed), path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute(f"PRAGMA journal_mode={journal_mode}").fetchone()[0] == journal_mode
    os.sync()
    return path


def missing_room(folder, rows):
    """Why a run with `rows` rows has not the room that it needs; None where it has."""
    free, needed = shutil.disk_usage(folder).free, rows * NEEDED_BYTES_PER_ROW
    return None if free > needed else f"{rows:,} rows need {needed:,} bytes, {free:,} are free"
