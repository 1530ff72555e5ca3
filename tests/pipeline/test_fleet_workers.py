"""A fleet whose databases a worker migrates: each is a run of the deployment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.workers.process import ProcessWorker

from flows.migrate import migrate
from flows.server import OwnServer
from migrator.fleet.state import read_state
from migrator.ltmc import LTMC
from tests.pipeline.programs import ROOT, ends_within, output_of
from tests.pipeline.runs import PLENTY_MS, columns


@pytest.fixture
def deployment(server: OwnServer, tmp_path: Path) -> Iterator[str]:
    """The name of a deployment of `migrate`, and a worker that takes its runs."""
    template = ProcessWorker.get_default_base_job_template()
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="of-a-fleet", type="process", base_job_template=template))
        flow_id = client.create_flow(migrate)
        client.create_deployment(
            flow_id, "of-a-fleet", work_pool_name="of-a-fleet", entrypoint="flows/migrate.py:migrate", path=str(ROOT)
        )
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "of-a-fleet", "--limit", "2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PREFECT_WORKER_QUERY_SECONDS": "1"}
    with (tmp_path / "worker.log").open("wb") as log:
        worker = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            # Ctrl-C is ignored in the background, and there Prefect's worker would end on no SIGTERM either.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
    yield "migrate/of-a-fleet"
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
    assert ends_within(worker.pid, 0)


@pytest.mark.full
def test_each_database_is_a_run_of_the_deployment_below_its_task(deployment: str, tmp_path: Path) -> None:
    good, missing = tmp_path / "good.db", tmp_path / "missing.db"
    LTMC.make_demo(good, 20)
    arguments = ["--databases", str(good), str(missing), "--deployment", deployment, "--max-lock-ms", str(PLENTY_MS)]
    code, stdout, stderr = output_of("flows.fleet", tmp_path, *arguments, "--json")
    told = json.loads(stdout)
    worker = (tmp_path / "worker.log").read_text(errors="replace")
    assert [(row["database"], row["outcome"]) for row in told["databases"]] == [
        (str(good), "migrated"),
        (str(missing), "refused"),
    ], (stderr, worker)
    assert (code, told["outcome"]) == (1, "aborted")
    assert f"no database at {missing}" in told["databases"][1]["error"]
    assert "execution_time_ms" in columns(good)
    assert read_state(tmp_path / "fleet.jsonl").left == ()
    with get_client(sync_client=True) as client:
        runs = [run for run in client.read_flow_runs() if str(tmp_path) in run.name and run.deployment_id is not None]
        assert {run.state_name for run in runs} == {"Completed", "Failed"}
        assert all(run.parent_task_run_id is not None for run in runs)
