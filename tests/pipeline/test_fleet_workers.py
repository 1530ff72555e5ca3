"""A fleet on workers: each of its databases is a run of the deployment, or it is itself one."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectAlreadyExists
from prefect.states import Cancelling, Crashed
from prefect.workers.process import ProcessWorker

from flows.fleet import workers
from flows.fleet.flow import fleet
from flows.fleet.request import FleetRequest
from flows.migrate import migrate
from migrator.fleet.state import Stored, read_state
from tests.deployments.servers import Program, await_that
from tests.pipeline.fleets import demos, is_migrated
from tests.pipeline.programs import ROOT, children_of, ends_within, output_of, started
from tests.pipeline.runs import PLENTY_MS, beside, content, flow_runs_of

pytestmark = [pytest.mark.full, pytest.mark.usefixtures("server")]

POOL = "of-a-fleet"
PAUSING = "tests/deployments/pausing.py:migrate"
STAGE = "before migrator.candidate:stage"


class Worker(Program):
    """A worker that takes two runs at a time."""

    def __init__(self, log: Path) -> None:
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--limit", "2"]
        super().__init__(command, {**os.environ, "PYTHONPATH": str(ROOT), "PREFECT_WORKER_QUERY_SECONDS": "1"}, log)

    def die(self) -> None:
        """As with its machine: the runs that it has started die too."""
        os.kill(self.pid, signal.SIGSTOP)
        for run in children_of(self.pid):
            with suppress(ProcessLookupError):
                os.killpg(run, signal.SIGKILL)
        self.end()


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Callable[[], Worker]]:
    """Starts one; none is left at the end."""
    there: list[Worker] = []

    def start() -> Worker:
        there.append(Worker(tmp_path / f"worker-{len(there)}.log"))
        there[-1].start()
        return there[-1]

    yield start
    for one in there:
        if one.child is not None and one.child.poll() is None:
            one.die()


def deployed(flow: Any, entrypoint: str, **environment: str) -> str:
    """The name of a deployment of `flow` in the pool; its runs have `environment`."""
    template = ProcessWorker.get_default_base_job_template()
    with get_client(sync_client=True) as client:
        with suppress(ObjectAlreadyExists):
            client.create_work_pool(WorkPoolCreate(name=POOL, type="process", base_job_template=template))
        client.create_deployment(
            client.create_flow(flow),
            POOL,
            work_pool_name=POOL,
            entrypoint=entrypoint,
            path=str(ROOT),
            job_variables={"env": environment},
        )
    return f"{flow.name}/{POOL}"


def stored(state: Path) -> Stored:
    found = read_state(state)
    assert found is not None
    return found


def outcomes(state: Path) -> list[tuple[str, str]]:
    return [(Path(result.database).stem, result.outcome) for result in stored(state).results]


def state_of(run: FlowRun) -> tuple[str, str]:
    """Name and message of the state in which the run is now."""
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(run.id).state
    assert state is not None
    return state.name or "", state.message or ""


def set_state(run: FlowRun, state: Any, force: bool = False) -> None:
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run.id, state, force=force)


def migrations_of(database: Path) -> list[FlowRun]:
    """Its flow runs in their order, without those that recover."""
    return [run for run in flow_runs_of(database) if run.name.startswith("migrate ")]


def promotions(database: Path) -> int:
    with closing(sqlite3.connect(database)) as connection:
        return int(connection.execute("SELECT count(DISTINCT run_id) FROM _migration_history").fetchone()[0])


def test_each_database_is_a_run_of_the_deployment_below_its_task(worker: Any, tmp_path: Path) -> None:
    good, missing = *demos(tmp_path / "fleet", 1), tmp_path / "missing.db"
    deployment = deployed(migrate, "flows/migrate.py:migrate")
    log = worker().log
    arguments = ["--databases", str(good), str(missing), "--deployment", deployment, "--max-lock-ms", str(PLENTY_MS)]
    code, stdout, stderr = output_of("flows.fleet", tmp_path, *arguments, "--json")
    told = json.loads(stdout)
    assert [(row["database"], row["outcome"], row["error"] is None) for row in told["databases"]] == [
        (str(good), "migrated", True),
        (str(missing), "refused", False),
    ], (stderr, log.read_text(errors="replace"))
    assert (code, told["outcome"]) == (1, "aborted")
    assert f"no database at {missing}" in told["databases"][1]["error"]
    assert is_migrated(good)
    assert stored(tmp_path / "fleet.jsonl").left == ()
    runs = [*flow_runs_of(good), *flow_runs_of(missing)]
    assert [run.state_name for run in runs] == ["Completed", "Failed"]
    assert all(run.parent_task_run_id is not None for run in runs)


def test_a_cancellation_on_a_worker_does_what_ctrl_c_does(worker: Any, tmp_path: Path) -> None:
    paths, state = demos(tmp_path / "fleet", 4), tmp_path / "fleet.jsonl"
    before, waits = content(paths[2]), tmp_path / "fleet" / "02.db.waits"
    deployment = deployed(fleet, "tests/pipeline/waiting_fleet.py:fleet")
    log = worker().log
    asked = {"databases": [*map(str, paths)], "state": str(state), "parallel": 1, "max_lock_ms": PLENTY_MS}
    run: Any = run_deployment(deployment, parameters={"request": asked}, timeout=0)
    await_that(waits.exists, f"the third database waits; the worker's log is {log}")
    set_state(run, Cancelling())
    await_that(lambda: state_of(run)[0] not in ("Running", "Cancelling"), "the run ends")
    assert state_of(run) == ("Cancelled", "interrupted: 2 of 4 databases are done; with resume it goes on")
    assert ends_within(int(waits.read_text()), 0)
    assert content(paths[2]) == before
    assert outcomes(state) == [("00", "migrated"), ("01", "migrated"), ("02", "interrupted")]
    assert (stored(state).left, stored(state).under_way) == ((str(paths[3]),), ())
    assert json.loads(state.read_text().splitlines()[-1])["why"] == "the flow run was cancelled"
    with get_client(sync_client=True) as client:
        artifacts = {a.key: str(a.data) for a in client.read_artifacts() if a.flow_run_id == run.id}
    assert artifacts["fleet"].startswith("# interrupted\n")
    assert '"outcome": "interrupted"' in artifacts["databases"]
    assert fleet(FleetRequest(state=state, resume=True, parallel=2))["outcome"] == "migrated"
    assert all(map(is_migrated, paths))


def paused_fleet(tmp_path: Path, moment: str = STAGE) -> tuple[Path, Path, Path, str]:
    """A database, its fleet's state, the file that is there while its run pauses at `moment`, and the deployment."""
    (database,), paused = demos(tmp_path / "fleet", 1), tmp_path / "paused"
    deployment = deployed(migrate, PAUSING, PAUSES=moment, PAUSED=str(paused))
    return database, tmp_path / "fleet.jsonl", paused, deployment


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_fleet_that_is_cancelled_cancels_its_runs_and_a_resume_orders_others(
    worker: Any, tmp_path: Path, is_killed: bool
) -> None:
    database, state, paused, deployment = paused_fleet(tmp_path)
    before = content(database)
    worker()
    arguments = ["--databases", str(database), "--state", str(state), "--deployment", deployment, "--json"]
    with started([*arguments, "--max-lock-ms", str(PLENTY_MS)], tmp_path, "flows.fleet") as program:
        await_that(paused.exists, "the run pauses")
        (run,) = flow_runs_of(database)
        if is_killed:
            program.send(signal.SIGKILL)
            program.child.wait()
            set_state(run, Cancelling())
        else:
            (of_fleet,) = flow_runs_of(state)
            set_state(of_fleet, Cancelling())
            code, told = program.ends()
            assert (code, told["outcome"]) == (1, "interrupted")
            assert state_of(of_fleet)[0] == "Cancelled"
    await_that(lambda: state_of(run)[0] == "Cancelled", "the database's run is cancelled")
    assert content(database) == before
    assert outcomes(state) == ([] if is_killed else [("00", "interrupted")])
    assert fleet(FleetRequest(state=state, resume=True))["outcome"] == "migrated"
    assert [run.state_name for run in migrations_of(database)] == ["Cancelled", "Completed"]
    assert promotions(database) == 1


@pytest.mark.parametrize("has_begun", [False, True])
def test_a_run_that_died_with_its_worker_is_followed_by_one_on_another(
    worker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_begun: bool
) -> None:
    database, state, paused, deployment = paused_fleet(tmp_path, STAGE if has_begun else "")
    before, first = content(database), worker()
    request = FleetRequest(
        databases=[database], state=state, deployment=deployment, max_lock_ms=PLENTY_MS, timeout_s=120
    )
    with ThreadPoolExecutor(1) as threads:
        ended = threads.submit(copy_context().run, fleet, request)
        (run,) = await_that(lambda: flow_runs_of(database), "the run is ordered")
        await_that(lambda: paused.exists() if has_begun else state_of(run)[0] != "Scheduled", "a worker has taken it")
        first.die()
        assert state_of(run)[0] in (["Running"] if has_begun else ["Pending", "Submitting"])
        assert content(database) == before
        if has_begun:
            assert beside(database) == ["00.db.backups", "00.db.migrating"]
            why = "nothing was heard of this run for 90 s"
            # As the server's own watch for silent runs does (deployments/automations.py).
            set_state(run, Crashed(message=why))
        else:
            why = "its worker took it and did not begin it in 0.5 s"
            monkeypatch.setattr(workers, "TAKEN_S", 0.5)
            await_that(lambda: state_of(run)[0] == "Crashed", "the fleet takes its worker for dead")
            monkeypatch.undo()
        assert state_of(run) == ("Crashed", why)
        worker()
        told: Any = ended.result(120)
    assert told["outcome"] == "migrated"
    (result,) = stored(state).results
    assert (result.outcome, result.error) == (
        "migrated",
        f"flow run {run.id} ended as Crashed: {why}; the one after it: migrated",
    )
    assert sorted(str(run.state_name) for run in migrations_of(database)) == ["Completed", "Crashed"]
    assert promotions(database) == 1
    assert beside(database) == ["00.db.backups"]
