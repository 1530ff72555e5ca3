"""Two runs never work on one database at once."""

from __future__ import annotations

import contextlib
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest
from loguru import logger
from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow

from flows.migrate import migrate
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


def test_a_deployments_run_waits_for_the_one_before_it_and_no_longer_than_that_lives(demo: Path) -> None:
    moment, waits = "before migrator.candidate:stage", threading.Event()
    sink = logger.add(lambda line: waits.set() if "waiting: a run on" in line else None, format="{message}")
    try:
        with stopping(moment, demo) as program, ThreadPoolExecutor() as aside:
            program.reaches(moment)
            flow_run = deployed(demo, migrate)
            second = aside.submit(copy_context().run, run_flow, migrate, flow_run, parameters=flow_run.parameters)
            assert waits.wait(60) and not second.done()
            program.send(signal.SIGKILL)
            report: Any = second.result(60)
    finally:
        logger.remove(sink)
    assert report["outcome"] == "migrated"
    assert [finding["code"] for finding in report["findings"]].count("recovered") == 1
    assert columns(demo) == COLUMNS_AFTER
    assert beside(demo) == ["demo.db.backups"]
