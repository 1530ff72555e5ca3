"""Two runs never work on one database at once."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import Any

import pytest
from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow

from flows.migrate import migrate
from migrator import candidate
from migrator.errors import RefusedError
from migrator.journal import journal_path
from tests.pipeline.programs import stopping
from tests.pipeline.runs import COLUMNS_AFTER, beside, columns, flow_runs_of, run

pytestmark = pytest.mark.usefixtures("server", "quick")


def test_of_four_runs_started_together_one_migrates(demo: Path) -> None:
    with contextlib.ExitStack() as held:
        programs = [held.enter_context(stopping("", demo)) for _ in range(4)]
        ended = [program.ends() for program in programs]
    outcomes = sorted((code, report["outcome"]) for code, report in ended)
    assert outcomes.count((0, "migrated")) == 1
    assert set(outcomes) <= {(0, "migrated"), (0, "up_to_date"), (2, "refused")}
    for _, report in ended:
        assert report["outcome"] != "refused" or "is already under way in process" in report["error"]
    assert columns(demo) == COLUMNS_AFTER
    assert beside(demo) == ["demo.db.backups"]
    assert len(list((demo.parent / "demo.db.backups").iterdir())) == 1
    assert len(flow_runs_of(demo)) == 1


def test_a_flow_refuses_while_another_program_migrates_and_disturbs_it_not(demo: Path) -> None:
    moment = "before migrator.candidate:stage"
    with stopping(moment, demo) as program:
        program.reaches(moment)
        ended = run(demo)
        assert isinstance(ended.error, RefusedError)
        assert (ended.report.outcome, ended.report.exit_code) == ("refused", 2)
        assert f"under way in process {program.child.pid}" in str(ended.report.error)
        assert ended.task_runs("restore") == []
        assert journal_path(demo).exists()
        assert len(list((demo.parent / "demo.db.backups").glob("*/backup.db"))) == 1


def deployed(database: Path, flow: Flow) -> Any:
    """A flow run of a deployment, as a worker finds it."""
    with get_client(sync_client=True) as client:
        flow_id = client.create_flow(flow)
        deployment_id = client.create_deployment(flow_id, name=f"of {database.parent.name}")
        return client.create_flow_run_from_deployment(
            deployment_id, parameters={"request": {"database": str(database)}}
        )


def test_a_deployments_run_holds_a_concurrency_limit_that_it_makes_itself(
    demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"migrate-{hashlib.sha256(str(demo).encode()).hexdigest()[:16]}"
    slots: list[int] = []
    stage = candidate.stage

    def look(*args: Any) -> Any:
        with get_client(sync_client=True) as client:
            limit = client._client.get(f"/v2/concurrency_limits/{name}").json()
        slots.append(limit["active_slots"])
        return stage(*args)

    monkeypatch.setattr(candidate, "stage", look)
    flow_run = deployed(demo, migrate)
    report: Any = run_flow(migrate, flow_run, parameters=flow_run.parameters)
    assert report["outcome"] == "migrated"
    assert slots == [1]
    with get_client(sync_client=True) as client:
        limit = client._client.get(f"/v2/concurrency_limits/{name}").json()
    assert (limit["limit"], limit["active_slots"]) == (1, 0)
    assert columns(demo) == COLUMNS_AFTER
