"""What a flow run leaves on its page; tests/browser looks at it there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.context import FlowRunContext

from migrator.performance import check_performance
from migrator.report import Report
from migrator.tool_server.validation import ServerRow, ServerValidation
from tasks.artifacts import publish
from tests.pipeline.runs import Ended, run

pytestmark = pytest.mark.usefixtures("server", "quick")


def artifacts(ended: Ended) -> dict[str, Any]:
    """The run's artifacts by their keys: text, or rows."""
    wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[ended.flow_run.id]))
    with get_client(sync_client=True) as client:
        found = [a for a in client.read_artifacts(artifact_filter=wanted) if a.key]
    assert len({a.key for a in found}) == len(found)
    return {a.key: json.loads(str(a.data)) if a.type == "table" else a.data for a in found if a.key}


def test_a_dry_run_shows_the_plan_with_an_estimate_of_the_lock_and_changes_nothing(demo: Path) -> None:
    before = demo.read_bytes()
    found = artifacts(run(demo, dry_run=True, to=1))
    assert sorted(found) == ["migration", "plan"]
    assert found["migration"].startswith("# planned\n")
    assert re.search(r"hold the write lock for about \d+ ms, for 100 rows: estimated on 100 of them\.", found["plan"])
    assert "CREATE INDEX idx_codepatterns_result ON" in found["plan"]
    assert demo.read_bytes() == before


def test_a_run_that_is_up_to_date_has_only_its_summary(demo: Path) -> None:
    run(demo, to=1)
    assert sorted(artifacts(run(demo, to=1))) == ["migration"]


def test_the_tables_have_a_row_for_each_tool_those_first_that_changed(demo: Path) -> None:
    found = artifacts(run(demo, to=1))
    assert sorted(found) == ["latency", "migration", "plan", "tool-changes", "tools"]
    assert [(row["tool"], row["before"], row["after"]) for row in found["tools"]] == [
        ("log_code_attempt", "failed", "passed"),
        ("list_todos", "passed", "passed"),
        ("redis_flush_cache", "skipped", "skipped"),
    ]
    repaired, kept, skipped = found["tools"]
    assert repaired["before ms"] is None and 0 < repaired["p50 ms"] <= repaired["p95 ms"]
    assert kept["before ms"] > 0 and kept["reason"] is None
    assert skipped["p95 ms"] is None and "Redis" in skipped["reason"]
    assert [(row["tool"], row["when"], row["it"]) for row in found["tool-changes"]] == [
        ("log_code_attempt", "before the migration", "fails"),
        ("log_code_attempt", "after: add column CodePatterns.vector_id", "works"),
    ]


def test_the_tools_of_the_applications_server_have_their_own_table(demo: Path) -> None:
    rows = (
        ServerRow("store_memory", "skipped", "skipped", "skipped", None, None, "Redis not reachable", False),
        ServerRow("list_todos", "passed", "passed", "passed", 1.0, 2.0, None, False),
        ServerRow("get_code_patterns", "passed", "failed", "passed", 3.0, 4.0, "failed before: no such column", False),
    )
    report = Report(str(demo), outcome="migrated", tool_server=ServerValidation("python server.py", rows, {}, (), None))

    @flow
    def publishes() -> str:
        publish(report)
        context = FlowRunContext.get()
        assert context is not None and context.flow_run is not None
        return str(context.flow_run.id)

    report.flow_run_id = publishes()
    shown = artifacts(Ended(report, None))["tool-server"]
    assert [list(row.values()) for row in shown] == [
        ["get_code_patterns", "failed", "passed", 3.0, 4.0, None, "failed before: no such column"],
        ["list_todos", "passed", "passed", 1.0, 2.0, None, None],
        ["store_memory", "skipped", "skipped", None, None, None, "Redis not reachable"],
    ]


def test_a_failed_run_shows_how_far_it_came(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> Any:
        raise ValueError("a bug in the gate")

    monkeypatch.setattr(f"{check_performance.__module__}.check_performance", fails)
    found = artifacts(run(demo, to=1))
    assert sorted(found) == ["migration", "plan", "tool-changes", "tools"]
    assert found["migration"].startswith("# restored\n")
    assert "check\\_performance failed" not in found["migration"]
    assert "```text\ncheck_performance failed: ValueError: a bug in the gate; " in found["migration"]
