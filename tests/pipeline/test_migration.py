"""A migration through the flow with a real server: what the operator sees, and what the database holds."""

from __future__ import annotations

import contextlib
import itertools
import logging
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from loguru import logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId

from flows.server import OwnServer
from migrator.ltmc import LTMC
from tasks import rehearse
from tests.pipeline.runs import ADDED, COLUMNS_AFTER, REAL, Ended, beside, columns, content, run

TOOLS = [f"tool {probe.tool}" for probe in LTMC.probes]
NEW = ("TaskBlueprints", "TaskDependencies", "TeamMembers", "TaskAssignments")
NEW += ("DocumentationSync", "BlueprintCodeLinks", "RealtimeSync", "PerformanceMetrics")
REHEARSAL = (
    "stage the candidate",
    *(f"add column CodePatterns.{column}" for column in ADDED),
    "convert data of CodePatterns",
    "rebuild table CodePatterns",
    "add column Todos.status",
    "convert data of Todos",
    "rebuild table Todos",
    *(f"rebuild table {table}" for table in NEW),
    "convert data of VectorIdSequence",
    "rebuild table VectorIdSequence",
    "convert data of ChatHistory",
    "rebuild table ChatHistory",
    "create indexes",
)


@pytest.fixture(scope="module")
def migrated(server: OwnServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Ended]]:
    """A demo database, migrated with the whole performance gate."""
    database = tmp_path_factory.mktemp("migrated") / "demo.db"
    LTMC.make_demo(database, 100)
    yield database, run(database)


@pytest.fixture(scope="module")
def graph(migrated: tuple[Path, Ended]) -> dict[str, set[str]]:
    """The flow run's graph: the names of the task runs on which each task run waits."""
    _, ended = migrated
    ended.task_runs()
    with get_client(sync_client=True) as client:
        answer: Any = client._client.get(f"/flow_runs/{ended.report.flow_run_id}/graph-v2").json()
    labels = {identity: node["label"] for identity, node in answer["nodes"]}
    return {node["label"]: {labels[parent["id"]] for parent in node["parents"]} for _, node in answer["nodes"]}


def test_every_step_is_a_task_run_named_after_what_it_does(migrated: tuple[Path, Ended]) -> None:
    database, ended = migrated
    assert ended.error is None
    assert ended.flow_run.state_name == "Completed"
    assert ended.flow_run.name == f"migrate {database}"
    assert [(r.name, r.state_name) for r in ended.task_runs()] == [
        (name, "Completed")
        for name in (
            f"preflight {database}",
            f"back up {database}",
            "inspect the backup",
            *REHEARSAL,
            "copy for the tools",
            *TOOLS,
            "check constraints",
            "check performance",
            "report the rehearsal",
            "promote",
            "verify live",
            "report the outcome",
        )
    ]
    assert len(TOOLS) == 28
    assert {"tool log_code_attempt", "tool get_code_patterns", "tool analyze_code_patterns"} < set(TOOLS)


def test_the_report_says_at_which_step_each_repaired_tool_began_to_work(migrated: tuple[Path, Ended]) -> None:
    _, ended = migrated
    said = {(c.tool, c.step, c.state) for c in ended.report.tool_changes}
    added = f"add column CodePatterns.{ADDED[-1]}"
    repaired = {
        "get_code_patterns": added,
        "analyze_code_patterns": added,
        "add_todo": "add column Todos.status",
        "complete_todo": "add column Todos.status",
        # By position: only the rebuild puts the column where they read it.
        "list_todos": "rebuild table Todos",
        "search_todos": "rebuild table Todos",
        "store_memory": "rebuild table VectorIdSequence",
        "log_code_attempt": "rebuild table VectorIdSequence",
    }
    assert said == {
        ("get_messages_for_chunk", "before the migration", "works"),
        *((tool, "before the migration", "fails") for tool in repaired),
        *((tool, step, "works") for tool, step in repaired.items()),
    }
    assert "no such column: execution_time_ms" in ended.report.as_html()


def test_the_report_names_the_steps_as_prefect_does(migrated: tuple[Path, Ended]) -> None:
    _, ended = migrated
    # The last step writes the report and cannot be in what it writes.
    assert [step.name for step in ended.report.steps] == [r.name for r in ended.task_runs()]


def test_each_rebuilt_table_is_told_with_its_own_rows(migrated: tuple[Path, Ended]) -> None:
    _, ended = migrated
    rebuilt = {step.name: step.rows or 0 for step in ended.report.steps if step.name.startswith("rebuild table")}
    assert {name: rows for name, rows in rebuilt.items() if rows} == {
        "rebuild table CodePatterns": 100,
        "rebuild table Todos": 10,
        "rebuild table VectorIdSequence": 1,
        "rebuild table ChatHistory": 1,
    }
    assert ended.report.promoted is not None
    assert sum(rebuilt.values()) == ended.report.promoted.rows


def test_the_graph_shows_what_waits_for_what(migrated: tuple[Path, Ended], graph: dict[str, set[str]]) -> None:
    database, _ = migrated
    chain = [
        f"preflight {database}",
        f"back up {database}",
        "inspect the backup",
        *REHEARSAL,
        "copy for the tools",
    ]
    for before, after in itertools.pairwise(chain):
        assert graph[after] == {before}
    for tool in TOOLS:
        assert graph[tool] == {"copy for the tools"}
    assert graph["check performance"] == {"copy for the tools", *TOOLS}
    assert "check performance" in graph["promote"]
    assert graph["verify live"] == {"promote"}


def test_live_has_the_plans_columns_in_the_plans_order_and_four_indexes(migrated: tuple[Path, Ended]) -> None:
    database, _ = migrated
    assert columns(database) == COLUMNS_AFTER
    with contextlib.closing(sqlite3.connect(database)) as connection:
        query = "SELECT name FROM sqlite_master WHERE type = 'index' AND name LIKE 'idx_codepatterns%' ORDER BY 1"
        assert [name for (name,) in connection.execute(query)] == [
            "idx_codepatterns_created_at",
            "idx_codepatterns_function_result",
            "idx_codepatterns_result",
            "idx_codepatterns_result_created_at",
        ]
    assert beside(database) == ["demo.db.backups"]


@pytest.mark.skipif(not REAL.exists(), reason="the real database is not beside the checkout")
@pytest.mark.usefixtures("server")
def test_the_real_database_is_migrated_and_its_other_tables_are_untouched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = tmp_path / "real.db"
    shutil.copyfile(REAL, database)
    _, before = content(database)
    monkeypatch.setattr("tasks.prove.MEMORY_S", 0.0)
    ended = run(database)
    assert (ended.report.outcome, ended.flow_run.state_name) == ("migrated", "Completed")
    _, after = content(database)
    changed = {"CodePatterns", "Todos", "VectorIdSequence", "ChatHistory", "sqlite_sequence"}
    assert {t: after[t] for t in before if t not in changed} == {t: before[t] for t in before if t not in changed}
    assert set(after) - set(before) == {
        *NEW, "VectorIdSequence_legacy", "ChatHistory_legacy", "_sqlite_migrations", "_migration_history"
    }  # fmt: skip
    marks = [{row[1:] for row in held["sqlite_sequence"]} for held in (before, after)]
    assert marks[0] <= marks[1]
    for table, count in (("Todos", 9), ("VectorIdSequence", 1), ("ChatHistory", 10)):
        assert len(after[table]) == len(before[table])
        assert len(set(after[table]) - set(before[table])) == count
    assert len(after["ChatHistory"]) == 751
    assert columns(database) == COLUMNS_AFTER
    assert len(ended.task_runs("add column ")) == 7
    assert len(ended.task_runs("tool ")) == 28


@pytest.mark.usefixtures("server", "quick")
def test_what_a_step_logs_is_stored_with_its_task_run_and_its_level(
    demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_indexes = rehearse.candidates.create_indexes

    def talkative(candidate: Any) -> Any:
        for level in ("INFO", "SUCCESS", "WARNING", "ERROR"):
            logger.log(level, f"said as {level} 100 %s {{}}")
        return create_indexes(candidate)

    monkeypatch.setattr(rehearse.candidates, "create_indexes", talkative)
    ended = run(demo)
    (task_run,) = ended.task_runs("create indexes")
    with get_client(sync_client=True) as client:
        chosen = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[ended.flow_run.id]))
        logs = [log for offset in (0, 200) for log in client.read_logs(chosen, offset=offset, limit=200)]
    said = {(log.message, log.level, log.task_run_id) for log in logs if log.message.startswith("said as")}
    assert said == {
        ("said as INFO 100 %s {}", logging.INFO, task_run.id),
        ("said as SUCCESS 100 %s {}", logging.INFO, task_run.id),
        ("said as WARNING 100 %s {}", logging.WARNING, task_run.id),
        ("said as ERROR 100 %s {}", logging.ERROR, task_run.id),
    }
    assert [log.task_run_id for log in logs if log.message.startswith("create indexes in ")] == [task_run.id]
