"""A fleet over several machines, and one that is itself a run on a worker. Here one worker is all of the machines."""

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
from prefect.states import Cancelling, Crashed, Failed
from prefect.workers.process import ProcessWorker

from flows.fleet import machines
from flows.fleet.begin import begun
from flows.fleet.flow import fleet
from flows.fleet.request import FleetRequest
from migrator.errors import RefusedError
from migrator.fleet.results import Result
from migrator.fleet.state import Stored, read_state
from tests.deployments.servers import Program, await_that, free_port
from tests.pipeline.fleets import demos, is_migrated, outcomes
from tests.pipeline.programs import ROOT, children_of, ends_within, output_of, started
from tests.pipeline.runs import PLENTY_MS, artifacts_of, beside, content, flow_runs_of

FLEET = "flows/fleet/flow.py:fleet"
WAITING = "tests/pipeline/waiting_fleet.py:fleet"
"""The run of 02.db waits at its promotion."""


class Worker(Program):
    """A worker that takes three runs at a time."""

    def __init__(self, log: Path) -> None:
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "machines", "--limit", "3"]
        super().__init__(command, {**os.environ, "PYTHONPATH": str(ROOT), "PREFECT_WORKER_QUERY_SECONDS": "1"}, log)

    def die(self) -> None:
        """As with its machine: the runs that it has started die too, and their children."""
        os.kill(self.pid, signal.SIGSTOP)
        for run in children_of(self.pid):
            for pid in (*children_of(run), run):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
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


def deployed(machine: str, entrypoint: str = FLEET, **environment: str) -> None:
    """Afterwards the server has the deployment of the fleet's flow for a machine; its runs have `environment`."""
    template = ProcessWorker.get_default_base_job_template()
    with get_client(sync_client=True) as client:
        with suppress(ObjectAlreadyExists):
            client.create_work_pool(WorkPoolCreate(name="machines", type="process", base_job_template=template))
        flow = client.create_flow(fleet)
        client.create_deployment(
            flow,
            machine,
            work_pool_name="machines",
            entrypoint=entrypoint,
            path=str(ROOT),
            job_variables={"env": environment},
        )


def on(machine: str, *paths: Path) -> list[str]:
    return [f"{machine}:{path}" for path in paths]


def stored(state: Path) -> Stored:
    found = read_state(state)
    assert found is not None
    return found


def last_outcomes(state: Path) -> dict[str, str]:
    return {Path(result.database).stem: result.outcome for result in stored(state).results}


def state_of(run: FlowRun) -> tuple[str, str]:
    """Name and message of the state in which the run is now."""
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(run.id).state
    assert state is not None
    return state.name or "", state.message or ""


def set_state(run: FlowRun, state: Any, force: bool = False) -> None:
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run.id, state, force=force)


def parts_of(state: Path) -> list[FlowRun]:
    """The runs that the fleet with that state has ordered, the first first."""
    return flow_runs_of(Path(f"wave 1 of {stored(state).order.fleet_id}"))


def asked_for(state: Path, *databases: str, **more: Any) -> list[str]:
    words = ["--databases", *databases, "--state", str(state), "--max-lock-ms", str(PLENTY_MS), "--json"]
    return [*words, *(word for name, value in more.items() for word in (f"--{name.replace('_', '-')}", str(value)))]


@pytest.mark.full
@pytest.mark.usefixtures("server")
def test_a_wave_goes_to_every_machine_as_one_run_and_comes_back_as_results(worker: Any, tmp_path: Path) -> None:
    here, there = demos(tmp_path / "here", 3), demos(tmp_path / "there", 2)
    missing, state = tmp_path / "there" / "missing.db", tmp_path / "fleet.jsonl"
    deployed("m1")
    deployed("m2")
    log = worker().log
    names = [*on("m1", *here), *on("m2", *there, missing)]
    arguments = asked_for(state, *names, waves="100%", max_failed=1)
    before = content(here[0])
    code, stdout, _ = output_of("flows.fleet", tmp_path, *arguments, "--dry-run")
    looked = json.loads(stdout)
    planned = dict.fromkeys(names[:5], "planned") | {names[5]: "refused"}
    assert (code, {row["database"]: row["outcome"] for row in looked["databases"]}) == (1, planned), looked["error"]
    assert (content(here[0]), beside(here[0]), state.exists()) == (before, [], False)
    code, stdout, stderr = output_of("flows.fleet", tmp_path, *arguments)
    told = json.loads(stdout)
    assert {row["database"]: (row["wave"], row["outcome"]) for row in told["databases"]} == {
        names[0]: ("canary", "migrated"),
        **dict.fromkeys(names[1:5], ("wave 1", "migrated")),
        names[5]: ("wave 1", "refused"),
    }, (stderr, log.read_text(errors="replace"))
    assert (code, told["outcome"], told["left"]) == (1, "failed", [])
    (fault,) = (row["error"] for row in told["databases"] if row["error"])
    assert f"no database at {missing}" in fault
    assert all(Path(row["report"]).exists() for row in told["databases"] if row["outcome"] == "migrated")
    assert all(map(is_migrated, [*here, *there]))
    _check_parts_in_prefect(state)
    code, stdout, _ = output_of("flows.fleet", tmp_path, *asked_for(tmp_path / "again.jsonl", *names[:5]))
    assert (code, {*outcomes(json.loads(stdout)).values()}) == (0, {"up_to_date"})
    # For each machine one run: it looks for the canary by itself.
    again = stored(tmp_path / "again.jsonl").order.fleet_id
    assert len(flow_runs_of(Path(f"canary of {again}"))) == 2


def _check_parts_in_prefect(state: Path) -> None:
    """Each part is a flow run below a task of its wave, whose states say the same."""
    runs = {run.name.rpartition(" on ")[2].removesuffix(".jsonl"): run for run in parts_of(state)}
    assert {machine: run.state_name for machine, run in runs.items()} == {"m1": "Completed", "m2": "Failed"}
    assert state_of(runs["m2"])[1] == "1 databases failed"
    with get_client(sync_client=True) as client:
        tasks = [client.read_task_run(run.parent_task_run_id) for run in runs.values() if run.parent_task_run_id]
        below = [task.flow_run_id for task in tasks]
        waves = {client.read_flow_run(flow_run_id).name for flow_run_id in below if flow_run_id}
    assert waves == {"wave 1"}


@pytest.mark.full
@pytest.mark.usefixtures("server")
def test_where_too_many_fail_on_one_machine_the_others_are_told_to_end(worker: Any, tmp_path: Path) -> None:
    here, there, state = demos(tmp_path / "here", 4), demos(tmp_path / "there", 2), tmp_path / "fleet.jsonl"
    there[1].write_bytes(b"no database")
    before = content(here[2])
    deployed("m1", WAITING)
    # The one that fails does so when 02 of the other machine is under way.
    deployed("m2", WAITING, CHILD="waits_for_another", AWAITED=str(here[2].with_name("02.db.waits")))
    worker()
    names = [*on("m2", *there), *on("m1", *here)]
    code, stdout, _ = output_of("flows.fleet", tmp_path, *asked_for(state, *names, waves="100%", parallel=1))
    told = json.loads(stdout)
    assert (code, told["outcome"]) == (1, "aborted")
    assert told["error"].startswith(f"of wave 1 1 failed where 0 may, the last one: {names[1]}")
    assert last_outcomes(state)["02"] == "interrupted"
    assert content(here[2]) == before
    assert told["left"] == on("m1", here[3])


def a_part_that_waits(worker: Any, tmp_path: Path) -> tuple[list[Path], Path, list[str], Worker]:
    """Four databases, the canary on m1 and 01, 02, 03 on m2, where 02 is going to wait; the state of their fleet, their
    names, and the worker."""
    paths, state = demos(tmp_path / "fleet", 4), tmp_path / "fleet.jsonl"
    deployed("m1")
    deployed("m2", WAITING)
    return paths, state, [*on("m1", paths[0]), *on("m2", *paths[1:])], worker()


@pytest.mark.full
@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("how", ["Ctrl-C", "cancelled"])
def test_a_fleet_that_is_stopped_has_its_parts_put_back_and_a_resume_goes_on(
    worker: Any, tmp_path: Path, how: str
) -> None:
    paths, state, names, _ = a_part_that_waits(worker, tmp_path)
    before, waits = content(paths[2]), paths[2].with_name("02.db.waits")
    with started(asked_for(state, *names, waves="100%", parallel=1), tmp_path, "flows.fleet") as program:
        await_that(waits.exists, "02.db waits")
        (part,) = parts_of(state)
        if how == "cancelled":
            set_state(flow_runs_of(state)[0], Cancelling())
        else:
            program.send_to_all(signal.SIGINT)
        code, told = program.ends()
    assert (code, told["outcome"], told["left"]) == (1, "interrupted", on("m2", paths[3]))
    assert outcomes(told) == {"00": "migrated", "01": "migrated", "02": "interrupted"}
    assert state_of(part) == ("Cancelled", "interrupted: 1 of 3 databases are done; with resume it goes on")
    assert content(paths[2]) == before
    deployed("m2")
    code, stdout, _ = output_of("flows.fleet", tmp_path, "--state", str(state), "--resume", "--json")
    assert (code, {*outcomes(json.loads(stdout)).values()}) == (0, {"migrated"})
    assert all(map(is_migrated, paths))


@pytest.mark.full
@pytest.mark.usefixtures("server")
def test_a_resume_after_the_kill_of_the_fleet_waits_for_the_part_that_goes_on(worker: Any, tmp_path: Path) -> None:
    paths, state, names, _ = a_part_that_waits(worker, tmp_path)
    waits = paths[2].with_name("02.db.waits")
    asked = asked_for(state, *names, waves="100%", parallel=1, max_failed=1)
    with started(asked, tmp_path, "flows.fleet") as program:
        await_that(waits.exists, "02.db waits")
        program.send(signal.SIGKILL)
        program.child.wait()
    child, (first,) = int(waits.read_text()), parts_of(state)
    with started(["--state", str(state), "--resume", "--json"], tmp_path, "flows.fleet") as again:
        second = await_that(lambda: [run for run in parts_of(state) if run.id != first.id], "another is ordered")[0]
        await_that(lambda: state_of(second)[0] == "Running", "it is taken")
        # The first has the state of the part; the second waits for that.
        assert state_of(first)[0] == "Running"
        os.kill(child, signal.SIGTERM)
        code, told = again.ends()
    assert (code, outcomes(told)) == (1, {"00": "migrated", "01": "migrated", "02": "restored", "03": "migrated"})
    assert [state_of(run) for run in (first, second)] == [("Failed", "1 databases failed")] * 2
    assert [promotions(path) for path in (paths[0], paths[1], paths[3])] == [1, 1, 1]


@pytest.mark.full
@pytest.mark.usefixtures("server")
def test_a_resume_that_is_stopped_also_ends_the_part_that_a_killed_fleet_left(worker: Any, tmp_path: Path) -> None:
    paths, state, names, _ = a_part_that_waits(worker, tmp_path)
    before, waits = content(paths[2]), paths[2].with_name("02.db.waits")
    with started(asked_for(state, *names, waves="100%", parallel=1), tmp_path, "flows.fleet") as program:
        await_that(waits.exists, "02.db waits")
        program.send(signal.SIGKILL)
        program.child.wait()
    (first,) = parts_of(state)
    with started(["--state", str(state), "--resume", "--json"], tmp_path, "flows.fleet") as again:
        second = await_that(lambda: [run for run in parts_of(state) if run.id != first.id], "another is ordered")[0]
        await_that(lambda: state_of(second)[0] == "Running", "it is taken")
        again.send_to_all(signal.SIGINT)
        code, told = again.ends()
    assert (code, told["outcome"], outcomes(told)) == (1, "interrupted", {"00": "migrated"})
    await_that(lambda: state_of(first)[0] == "Cancelled", "what it did is put back")
    assert state_of(second)[0] == "Cancelled"
    assert content(paths[2]) == before
    assert [*map(is_migrated, paths)] == [True, True, False, False]


@pytest.mark.full
@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("has_begun", [True, False])
def test_a_part_that_died_with_its_worker_is_gone_on_with_by_the_next(
    worker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_begun: bool
) -> None:
    paths, state, names, first = a_part_that_waits(worker, tmp_path)
    before, waits = content(paths[2]), paths[2].with_name("02.db.waits")
    asked = FleetRequest(databases=names, state=state, waves="100%", parallel=1, max_lock_ms=PLENTY_MS)
    with ThreadPoolExecutor(1) as threads:
        ended = threads.submit(copy_context().run, fleet, asked)
        (part,) = await_that(lambda: state.exists() and parts_of(state), "the part is ordered")
        await_that(lambda: waits.exists() if has_begun else state_of(part)[0] != "Scheduled", "a worker has taken it")
        first.die()
        assert state_of(part)[0] in (["Running"] if has_begun else ["Pending", "Submitting"])
        assert content(paths[2]) == before
        deployed("m2")
        if has_begun:
            # As the server's own watch for silent runs does (deployments/automations.py).
            set_state(part, Crashed(message="nothing was heard of this run for 90 s"))
        else:
            monkeypatch.setattr(machines, "TAKEN_S", 0.5)
            await_that(lambda: state_of(part)[0] == "Crashed", "the fleet takes its worker for dead")
            monkeypatch.undo()
        worker()
        told: Any = ended.result(120)
    assert (told["outcome"], outcomes(told)) == ("migrated", dict.fromkeys(("00", "01", "02", "03"), "migrated"))
    assert [state_of(run)[0] for run in parts_of(state)] == ["Crashed", "Completed"]
    assert [promotions(path) for path in paths] == [1] * 4
    assert beside(paths[2]) == ["02.db.backups", *(["02.db.waits"] if has_begun else [])]


@pytest.mark.full
@pytest.mark.usefixtures("server")
def test_what_a_part_that_was_told_to_end_by_others_has_put_back_is_migrated_by_the_next(
    worker: Any, tmp_path: Path
) -> None:
    paths, state = demos(tmp_path / "fleet", 3), tmp_path / "fleet.jsonl"
    deployed("m1")
    deployed("m2", WAITING)
    names, waits, there = [*on("m1", paths[0]), *on("m2", *paths[1:])], paths[2].with_name("02.db.waits"), worker()
    with started(asked_for(state, *names, waves="100%", parallel=1), tmp_path, "flows.fleet") as program:
        await_that(waits.exists, "02.db waits")
        deployed("m2")
        # As a machine that shuts down does. With this one all of them would have an outcome.
        for run in children_of(there.pid):
            os.kill(run, signal.SIGTERM)
        code, told = program.ends()
    assert (code, told["outcome"], outcomes(told)) == (0, "migrated", dict.fromkeys(("00", "01", "02"), "migrated"))
    assert [promotions(path) for path in paths] == [1] * 3
    first, second = parts_of(state)
    assert [state_of(run)[0] for run in (first, second)] == ["Crashed", "Completed"]
    assert set(second.parameters["request"]["databases"]) <= {*map(str, paths[1:])}


@pytest.mark.full
@pytest.mark.usefixtures("server")
def test_a_part_whose_run_failed_by_itself_is_gone_on_with_by_the_next(worker: Any, tmp_path: Path) -> None:
    paths, state = demos(tmp_path / "fleet", 1), tmp_path / "fleet.jsonl"
    deployed("m1")
    asked = FleetRequest(databases=on("m1", *paths), state=state, max_lock_ms=PLENTY_MS)

    def canaries() -> list[FlowRun]:
        return flow_runs_of(Path(f"canary of {stored(state).order.fleet_id}")) if state.exists() else []

    with ThreadPoolExecutor(1) as threads:
        ended = threads.submit(copy_context().run, fleet, asked)
        (first,) = await_that(canaries, "the part is ordered")
        set_state(first, Failed(message="the server was too busy"), force=True)
        await_that(lambda: len(canaries()) == 2, "another is ordered")
        worker()
        told: Any = ended.result(120)
    assert (told["outcome"], outcomes(told)) == ("migrated", {"00": "migrated"})


def promotions(database: Path) -> int:
    with closing(sqlite3.connect(database)) as connection:
        return int(connection.execute("SELECT count(DISTINCT run_id) FROM _migration_history").fetchone()[0])


@pytest.mark.full
@pytest.mark.usefixtures("server")
def test_a_cancellation_on_a_worker_does_what_ctrl_c_does(worker: Any, tmp_path: Path) -> None:
    paths, state = demos(tmp_path / "fleet", 4), tmp_path / "fleet.jsonl"
    before, waits = content(paths[2]), tmp_path / "fleet" / "02.db.waits"
    deployed("m1", WAITING)
    log = worker().log
    asked = {"databases": [*map(str, paths)], "state": str(state), "parallel": 1, "max_lock_ms": PLENTY_MS}
    run: Any = run_deployment("fleet/m1", parameters={"request": asked}, timeout=0)
    await_that(waits.exists, f"the third database waits; the worker's log is {log}")
    set_state(run, Cancelling())
    await_that(lambda: state_of(run)[0] not in ("Running", "Cancelling"), "the run ends")
    assert state_of(run) == ("Cancelled", "interrupted: 2 of 4 databases are done; with resume it goes on")
    assert ends_within(int(waits.read_text()), 0)
    assert content(paths[2]) == before
    assert last_outcomes(state) == {"00": "migrated", "01": "migrated", "02": "interrupted"}
    assert (stored(state).left, stored(state).under_way) == ((str(paths[3]),), ())
    assert json.loads(state.read_text().splitlines()[-1])["why"] == "the flow run was cancelled"
    with get_client(sync_client=True) as client:
        artifacts = {key: str(artifact.data) for key, artifact in artifacts_of(run, client).items()}
    assert artifacts["fleet"].startswith("# interrupted\n")
    assert '"outcome": "interrupted"' in artifacts["databases"]
    assert fleet(FleetRequest(state=state, resume=True, parallel=2))["outcome"] == "migrated"
    assert all(map(is_migrated, paths))


@pytest.mark.usefixtures("server")
def test_a_machine_that_the_server_does_not_know_stops_the_fleet(tmp_path: Path) -> None:
    state = tmp_path / "fleet.jsonl"
    code, stdout, _ = output_of("flows.fleet", tmp_path, *asked_for(state, "nowhere:/srv/a.db"))
    told = json.loads(stdout)
    assert (code, told["outcome"], told["left"]) == (1, "aborted", ["nowhere:/srv/a.db"])
    assert "1 database on nowhere could not be carried out: RefusedError: the Prefect server has no" in told["error"]
    assert "deployment fleet/nowhere; start the worker of nowhere" in told["error"]


@pytest.mark.usefixtures("server")
def test_a_part_that_is_too_large_for_the_server_stops_the_fleet_with_the_setting_to_change(tmp_path: Path) -> None:
    deployed("m1")
    inventory, state = tmp_path / "fleet.txt", tmp_path / "fleet.jsonl"
    inventory.write_text("".join(f"m1:/srv/data/customers/of/the/other/kind/{n:05}/ltmc.db\n" for n in range(10_000)))
    code, stdout, _ = output_of("flows.fleet", tmp_path, "--inventory", str(inventory), "--state", str(state), "--json")
    told = json.loads(stdout)
    assert (code, told["outcome"], len(told["left"])) == (1, "aborted", 10_000)
    assert "the Prefect server takes no run of 10000 databases on m1: Value error, Flow run parameters" in told["error"]
    assert "start the server with PREFECT_SERVER_API_MAX_PARAMETER_SIZE=0" in told["error"]
    assert len(told["error"]) < 500


def test_without_a_server_no_machine_is_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{free_port()}/api")
    state = tmp_path / "fleet.jsonl"
    code, stdout, _ = output_of("flows.fleet", tmp_path, *asked_for(state, "m1:/srv/a.db"))
    told = json.loads(stdout)
    assert (code, told["outcome"]) == (2, "refused")
    assert (
        "is not used ([Errno 111] Connection refused), and other machines are reached through theirs" in told["error"]
    )
    assert "; set PREFECT_API_URL, and" in told["error"]
    assert not state.exists()


PART = {"fleet_id": "20261123T000000Z-0123abcd", "wave": "wave 1", "machine": "m1", "checksum": "of others"}


def test_a_machine_with_other_migrations_refuses_its_part(tmp_path: Path) -> None:
    # The canary says nothing about them.
    asked = FleetRequest(part_of=PART, databases=[tmp_path / "a.db"])
    with pytest.raises(RefusedError, match="m1 has other migrations than where fleet 20261123T000000Z-0123abcd"):
        begun(asked).__enter__()
    assert not asked.state.exists()


def test_a_machine_without_a_place_for_the_state_of_its_part_refuses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with begun(FleetRequest(databases=[tmp_path / "a.db"], dry_run=True)) as (looked, _):
        part = PART | {"checksum": looked.order.checksum}
    (tmp_path / "file").touch()
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "file"))
    with pytest.raises(RefusedError, match="m1 has no place for the state of its part"):
        begun(FleetRequest(part_of=part, databases=[tmp_path / "a.db"])).__enter__()


def test_a_part_has_a_state_of_its_own_and_goes_on_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    paths = demos(tmp_path / "fleet", 3)
    with begun(FleetRequest(databases=paths, dry_run=True)) as (looked, _):
        part = PART | {"checksum": looked.order.checksum}
    asked: dict[str, Any] = {"part_of": part, "max_lock_ms": PLENTY_MS, "max_failed": "1"}
    away = paths[1].rename(tmp_path / "away")
    assert fleet.fn(FleetRequest(databases=paths, **asked)).message == "1 databases failed"
    state = tmp_path / "fleets" / "wave 1 of 20261123T000000Z-0123abcd on m1.jsonl"
    assert last_outcomes(state) == {"00": "migrated", "01": "refused", "02": "migrated"}
    # Of another wave, it needs no canary.
    assert stored(state).order.waves[0].name == "wave 1"
    away.rename(paths[1])
    told = fleet.fn(FleetRequest(databases=[paths[1]], retry_failed=True, **asked))
    assert (told["outcome"], outcomes(told)) == ("migrated", dict.fromkeys(("00", "01", "02"), "migrated"))
    assert [promotions(path) for path in paths] == [1, 1, 1]


def test_a_part_tries_again_what_it_is_told_and_not_what_failed_in_the_run_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    one, two = tmp_path / "one.db", tmp_path / "two.db"
    with begun(FleetRequest(databases=[one, two], dry_run=True)) as (looked, _):
        asked: dict[str, Any] = {"part_of": PART | {"checksum": looked.order.checksum}, "max_failed": "2"}
    with begun(FleetRequest(databases=[one, two], **asked)) as (first, _):
        for database in (one, two):
            first.ended(Result(str(database), "restored", 0.5, error="no"))
    with begun(FleetRequest(databases=[two], retry_failed=True, **asked)) as (again, _):
        assert again.left == [str(two)]


def test_a_part_that_looks_for_the_canary_ends_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    paths = demos(tmp_path / "fleet", 3)
    with begun(FleetRequest(databases=paths, dry_run=True)) as (looked, _):
        part = PART | {"checksum": looked.order.checksum, "wave": "canary"}
    told = fleet.fn(FleetRequest(databases=paths, part_of=part, max_lock_ms=PLENTY_MS))
    assert (told["outcome"], outcomes(told), told["left"]) == ("migrated", {"00": "migrated"}, [])
    assert [*map(is_migrated, paths)] == [True, False, False]
