"""What rows hold stays in the database and its copies: not in logs, reports, artifacts, states or on the terminal."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, LogFilter, LogFilterFlowRunId

from flows.terminal import Terminal
from migrator.ltmc import LTMC
from migrator.projection import Projection
from tests.pipeline.runs import Ended, run
from tests.runs import with_probes

pytestmark = pytest.mark.usefixtures("server")

SECRET = "s3cr3t"


@pytest.fixture
def secretive(demo: Path) -> Path:
    """Every text of every table begins with the secret, but for what the migration reads through spellings."""
    with contextlib.closing(sqlite3.connect(demo)) as connection, connection:
        connection.execute("DROP TRIGGER remember_attempt")
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        planted = 0
        for table in tables:
            if table.startswith("sqlite_"):
                continue
            for _, column, type_, *_ in connection.execute(f"PRAGMA table_info({table})").fetchall():
                if "TEXT" in type_.upper() and (table, column) != ("CodePatterns", "result"):
                    text = f"'{SECRET} {table}.{column} ' || {column}"
                    query = f"UPDATE {table} SET {column} = {text} WHERE typeof({column}) = 'text'"
                    planted += connection.execute(query).rowcount
        assert planted > 1000
    return demo


def execute(database: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def said(ended: Ended, database: Path, capfd: pytest.CaptureFixture[str]) -> str:
    """Everything that anybody can read of a run, the copies of the database aside."""
    # It would take over the log of this whole program.
    with patch("flows.terminal.logger"):
        terminal = Terminal()
    terminal.print_summary(ended.report)
    terminal.print_json(ended.report.as_json())
    parts = [*capfd.readouterr(), json.dumps(ended.report.as_json()), str(ended.error)]
    for path in database.parent.rglob("*"):
        parts.append(path.name)
        if path.is_file() and ".db" not in path.name.removeprefix(database.name):
            parts.append(path.read_text() if path != database else "")
    runs: list[Any] = [ended.flow_run, *ended.task_runs()]
    parts += [
        f"{found.name} {found.parameters if found is runs[0] else found.task_inputs} {found.state}" for found in runs
    ]
    with get_client(sync_client=True) as client:
        chosen = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[ended.flow_run.id]))
        logs = [log.message for offset in (0, 200, 400) for log in client.read_logs(chosen, offset=offset, limit=200)]
        of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[ended.flow_run.id]))
        artifacts = client.read_artifacts(artifact_filter=of_run)
    assert any(log.startswith("back up ") or "retrying" in log for log in logs) and artifacts
    return "\n".join([*parts, *logs, *(f"{a.key} {a.data} {a.description}" for a in artifacts)])


@pytest.mark.parametrize("max_lock_ms", [60_000, 0.001])
def test_a_migration_with_all_tools_says_nothing_of_any_row(
    secretive: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], max_lock_ms: float
) -> None:
    monkeypatch.setattr("tasks.prove.MEMORY_S", 0.0)
    if max_lock_ms < 1:
        few = {probe.tool for probe in LTMC.probes[-12:]}
        monkeypatch.setattr("flows.migrate.LTMC", with_probes(LTMC, lambda p: p if p.tool in few else None))
    ended = run(secretive, max_lock_ms=max_lock_ms)
    assert ended.report.outcome == "migrated", ended.report.error
    everything = said(ended, secretive, capfd)
    assert "report.html" in everything and "promote in" in everything
    assert SECRET not in everything
    # It is there to be found.
    assert ended.report.backup is not None
    assert SECRET.encode() in ended.report.backup.path.read_bytes()


def no_tool_works(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    execute(database, "CREATE TRIGGER gone AFTER INSERT ON CodePatterns BEGIN DELETE FROM CodePatterns; END")


def a_row_differs(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Projection, "differing_from", lambda *_, **__: "SELECT 1")


def values_have_no_answer(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is shown of each is its beginning, as the design says."""
    execute(database, f"UPDATE CodePatterns SET result = printf('odd %080d', id) || '{SECRET}'")


def rows_do_not_fit_an_index(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    execute(
        database,
        f"UPDATE CodePatterns SET input_prompt = '{SECRET}', result = CASE id % 2 WHEN 0 THEN 'ok' ELSE 'pass' END "
        "WHERE id IN (1, 2)",
        "CREATE UNIQUE INDEX u ON CodePatterns (result, input_prompt) WHERE id IN (1, 2)",
    )


def live_was_written_since(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from migrator import promotion

    promote = promotion.promote

    def later(*given: Any, **options: Any) -> Any:
        execute(database, f"UPDATE CodePatterns SET result = printf('odd %080d', id) || '{SECRET}'")
        return promote(*given, **options)

    monkeypatch.setattr(promotion, "promote", later)


FAILURES = {
    "restored by the tools": no_tool_works,
    "restored by the rebuild": a_row_differs,
    "refused": values_have_no_answer,
    "restored by an index": rows_do_not_fit_an_index,
    "restored by the promotion": live_was_written_since,
}


@pytest.mark.parametrize("how", FAILURES)
@pytest.mark.usefixtures("quick")
def test_a_run_that_fails_says_nothing_of_any_row(
    secretive: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], how: str
) -> None:
    FAILURES[how](secretive, monkeypatch)
    ended = run(secretive)
    assert how.startswith(str(ended.report.outcome)), (ended.report.outcome, ended.report.error)
    assert SECRET not in said(ended, secretive, capfd)


@pytest.mark.usefixtures("quick")
def test_a_tool_that_cannot_read_a_text_says_nothing_of_it(
    secretive: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    execute(secretive, "UPDATE Resources SET file_name = CAST(CAST(file_name AS BLOB) || x'ff' AS TEXT)")
    reading = with_probes(LTMC, lambda p: p if p.tool in ("log_code_attempt", "retrieve_memory") else None)
    monkeypatch.setattr("flows.migrate.LTMC", reading)
    ended = run(secretive)
    assert ended.report.outcome == "migrated", ended.report.error
    assert [t.reason for t in ended.report.tools if t.status == "failed"] == [
        "Could not decode to UTF-8 column 'file_name'"
    ]
    assert SECRET not in said(ended, secretive, capfd)


@pytest.mark.usefixtures("quick")
def test_a_tool_that_reads_another_value_than_it_wrote_says_nothing_of_it(
    secretive: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    copied = (
        "UPDATE CodePatterns SET error_message = (SELECT generated_code FROM CodePatterns LIMIT 1) WHERE id = new.id"
    )
    execute(secretive, f"CREATE TRIGGER copied AFTER INSERT ON CodePatterns BEGIN {copied}; END")
    ended = run(secretive)
    assert ended.report.outcome == "restored", ended.report.error
    assert SECRET not in said(ended, secretive, capfd)
