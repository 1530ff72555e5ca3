"""The whole order on every form in which the application's database may be found, with awkward rows and equal times."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from flows.migrate import migrate
from flows.request import MigrationRequest
from migrator.ltmc import LTMC
from tests.runs import PLENTY_MS, columns, rows, run_sql
from tests.unit.ltmc_patterns import NEW_COLUMNS, TARGET_COLUMNS, assert_target

SOURCE_COLUMNS = [
    "id", "input_prompt", "generated_code", "result", "language", "execution_time", "error_message", "created_at"
]  # fmt: skip
TARGET = [name for name, *_ in TARGET_COLUMNS]
CONVERTED = "UPDATE CodePatterns SET execution_time_ms = CAST(execution_time * 1000 AS INTEGER)"
# Seven rows share the newest time, eight each other: created_at alone does not say which five a tool answers.
TIES = "UPDATE CodePatterns SET created_at = '2025-08-09T02:' || (50 - id / 8)"
TAKEN = "UPDATE CodePatterns SET vector_id = -100 - {}, function_name = 'f' || id % 2, tags = '[\"a\"]'"
RECREATED = (
    "DROP TRIGGER remember_attempt",
    "DROP VIEW failed_attempts",
    "ALTER TABLE CodePatterns RENAME TO old",
    "CREATE TABLE CodePatterns (id INTEGER PRIMARY KEY AUTOINCREMENT, function_name TEXT, file_name TEXT, "
    "module_name TEXT, input_prompt TEXT NOT NULL, generated_code TEXT NOT NULL, result TEXT NOT NULL, "
    "execution_time_ms INTEGER, error_message TEXT, tags TEXT, created_at TEXT NOT NULL, vector_id INTEGER)",
    "INSERT INTO CodePatterns (id, input_prompt, generated_code, result, execution_time_ms, error_message, created_at) "
    "SELECT id, input_prompt, generated_code, result, CAST(execution_time * 1000 AS INTEGER), error_message, "
    "created_at FROM old",
    "DROP TABLE old",
)


def added(*names: str) -> tuple[str, ...]:
    types = {"vector_id": "INTEGER", "execution_time_ms": "INTEGER"}
    return tuple(f"ALTER TABLE CodePatterns ADD COLUMN {name} {types.get(name, 'TEXT')}" for name in names)


def only(*rows_there: str) -> tuple[str, ...]:
    """The six columns by hand, and of the rows only these (result, time, created_at)."""
    insert = "INSERT INTO CodePatterns (input_prompt, generated_code, result, execution_time, created_at) VALUES "
    given = (f"{insert} ('prompt ' || {n}, 'code', {row})" for n, row in enumerate(rows_there))
    return (*added(*NEW_COLUMNS), "DELETE FROM CodePatterns", *given)


ALL = added(*NEW_COLUMNS)
MAYBE = "UPDATE CodePatterns SET result = 'maybe' WHERE id % 3 = 0"
DUPLICATES = {"null_duplicate_vector_ids": True}
STATES: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "original": ((), {}),
    "added": (ALL, {}),
    "added and converted": ((*ALL, CONVERTED), {}),
    "added and converted in part": ((*ALL, f"{CONVERTED} WHERE id % 2"), {}),
    "added, filled and truncated": ((*ALL, TAKEN.format("id")), {"truncate_times": True}),
    "vector id only": (added("vector_id"), {}),
    "names only": (added("function_name", "file_name", "module_name"), {}),
    "tags and times only": ((*added("tags", "execution_time_ms"), CONVERTED), {}),
    "all but times": (added("function_name", "file_name", "module_name", "tags", "vector_id"), {}),
    "recreated": (RECREATED, {}),
    "duplicate vector ids": ((*ALL, CONVERTED, TAKEN.format("(id / 3)")), DUPLICATES),
    "unknown results": ((*ALL, CONVERTED, MAYBE), {"map_result": ["maybe=partial"]}),
    "unknown results become empty": ((*ALL, MAYBE), {"map_result": ["maybe=null"]}),
    "unknown results where none may be empty": ((*RECREATED, MAYBE), {"map_result": ["maybe=null"]}),
    "every answer": ((*ALL, TAKEN.format("(id / 3)"), MAYBE), {"map_result": ["maybe=fail"], **DUPLICATES}),
    "two times": (only("'pass', 1.5, 'a'", "'fail', 2.5, 'b'"), {}),
    "a time that CAST cuts": ((*only("'pass', 1.001, 'a'"), CONVERTED), {}),
    "a result in another word": (only("'success', NULL, 'a'"), {}),
    "two rows of one time": (only("'pass', NULL, 'a'", "'pass', NULL, 'a'"), {}),
    "no rows": (only(), {}),
}


@pytest.fixture(params=STATES.values(), ids=STATES)
def state(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MigrationRequest:
    """The request to migrate a database in one of the states."""
    monkeypatch.setattr("tasks.prove.MEMORY_S", 0.05)
    statements, answers = request.param
    path = tmp_path / "ltmc.db"
    LTMC.make_demo(path, 100)
    run_sql(path, *statements)
    run_sql(path, *([TIES] if "DELETE FROM CodePatterns" not in statements else []))
    return MigrationRequest(database=path, max_lock_ms=PLENTY_MS, **answers)


def test_every_starting_state_arrives_at_the_target_and_goes_back(state: MigrationRequest) -> None:
    path = state.database
    common = ", ".join(name for name in columns(path, "CodePatterns") if name in SOURCE_COLUMNS)
    query = f"SELECT {common} FROM CodePatterns ORDER BY id"
    before = rows(path, query)

    there = migrate.fn(state)
    assert (there["outcome"], there["to_version"]) == ("migrated", len(LTMC.migrations))
    assert_migrated(path, there)
    migrated = rows(path, f"SELECT {', '.join(TARGET)} FROM CodePatterns ORDER BY id")

    back = migrate.fn(state.model_copy(update={"to": 0}))
    assert (back["outcome"], back["to_version"]) == ("migrated", 0)
    assert columns(path, "CodePatterns") == SOURCE_COLUMNS
    assert rows(path, query) == before

    again = migrate.fn(state)
    assert again["outcome"] == "migrated"
    assert_migrated(path, again)
    assert rows(path, f"SELECT {', '.join(TARGET)} FROM CodePatterns ORDER BY id") == migrated


def assert_migrated(path: Path, report: dict[str, Any]) -> None:
    """The table is the plan's, and each of the 20 tools that need no other service passes on it."""
    assert columns(path, "CodePatterns") == TARGET
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        assert_target(connection)
    statuses = [tool["status"] for tool in report["tools"]]
    assert (statuses.count("passed"), statuses.count("skipped"), len(statuses)) == (20, 8, 28)
