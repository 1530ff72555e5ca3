"""What befalls the run of a worker from outside: it ends well, and its state and message say how."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from migrator.lock import UnderWayError, locked
from tests.deployments.machines import Site, a_site, database_in
from tests.deployments.servers import ROOT, Program, await_that, clean_environment, free_port, worker_of
from tests.pipeline.fleets import demos, is_migrated
from tests.pipeline.programs import ends_within
from tests.pipeline.runs import COLUMNS_AFTER, beside, columns, content

# test_several_machines.py has what must be tried each time.
pytestmark = [pytest.mark.full, pytest.mark.system("postgresql", program="pg_ctlcluster")]

STAGE = "before migrator.candidate:stage"
AS_BEFORE = ["ltmc.db.backups"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """With the worker of alpha."""
    with a_site(tmp_path_factory.mktemp("site")) as site:
        site.start(site.alpha)
        yield site


def paused_run(site: Site, folder: Path, moment: str = STAGE) -> tuple[str, Path, Path]:
    """A run that will pause at `moment`, its database, and the file that is there while it does."""
    database, paused = database_in(folder), folder / "paused"
    return site.order_pausing(database, moment, paused), database, paused


def is_free(database: Path) -> bool:
    """Whether no run holds the lock of the database."""
    try:
        with locked(database):
            return True
    except UnderWayError:
        return False


PHASES = {
    "preflight": ("before migrator.preflight:preflight", "refused: "),
    "backup": ("before migrator.backup:back_up", "restored: back_up was stopped by SIGTERM; {} is as before"),
    "rehearsal": (STAGE, "restored: stage was stopped by SIGTERM; {} is as before"),
    "commit": ("before migrator.one_transaction:_commit", "restored: promote was stopped by SIGTERM; {} is as before"),
    "committed": ("after migrator.one_transaction:_commit", "migrated: the cancellation came after the promotion"),
    "end": ("before migrator.restoration:finish", "migrated: the cancellation came after the promotion"),
}


def test_a_cancellation_from_the_ui_leaves_old_or_new_and_the_state_says_which(site: Site, tmp_path: Path) -> None:
    runs = {phase: paused_run(site, tmp_path / phase, moment) for phase, (moment, _) in PHASES.items()}
    before = {phase: content(database) for phase, (_, database, _) in runs.items()}
    for run, _, paused in runs.values():
        await_that(paused.exists, "the run pauses")
        site.api.cancel(run)
    for phase, (run, database, _) in runs.items():
        name, message = site.api.ended(run)
        assert (phase, name) == (phase, "Cancelled")
        assert message.startswith(PHASES[phase][1].format(database)), message
        if message.startswith("migrated"):
            assert columns(database) == COLUMNS_AFTER
        else:
            assert content(database) == before[phase]
        await_that(lambda database=database: beside(database) in ([], AS_BEFORE), "nothing of the run is left")

    # One that was put back and one that was migrated.
    for phase in ("rehearsal", "committed"):
        assert ended_after_retry(site, runs[phase][0]) == "Completed"
        assert columns(runs[phase][1]) == COLUMNS_AFTER


def ended_after_retry(site: Site, run: str) -> str:
    """In which state a run ends that somebody retries in the UI.

    For some seconds after a cancellation the worker is still at it, and what is retried then is cancelled as well.
    """
    for _ in range(3):
        site.api.retry(run)
        name, _ = site.api.ended(run)
        if name != "Cancelled":
            break
    return name


def waiting_fleet(site: Site, folder: Path, child: str) -> tuple[str, list[Path], dict[str, str]]:
    """A run of a fleet of which 00.db and 01.db are finished and 02.db waits at its promotion, its databases, and what
    a run that goes on with it is asked."""
    folder.mkdir(exist_ok=True)
    paths, state = demos(folder / "fleet", 4), {"state": str(folder / "fleet.jsonl")}
    run_by(site, "tests/pipeline/waiting_fleet.py:fleet")
    asked = {"databases": [*map(str, paths)], "parallel": 1, "max_lock_ms": 60_000, **state}
    run = site.api.order("fleet/alpha", {"CHILD": child}, **asked)
    await_that(paths[2].with_name("02.db.waits").exists, "02.db waits")
    return run, paths, state


def run_by(site: Site, entrypoint: str) -> None:
    """Afterwards `entrypoint` is what runs of the deployment fleet/alpha begin with."""
    deployment = site.api.ask("GET", "/deployments/name/fleet/alpha")["id"]
    site.api.ask("PATCH", f"/deployments/{deployment}", entrypoint=entrypoint)


def goes_on(site: Site, state: dict[str, str], paths: list[Path]) -> None:
    """The fleet is resumed, and then all of it is migrated."""
    run_by(site, "flows/fleet/flow.py:fleet")
    assert site.api.ended(site.api.order("fleet/alpha", resume=True, **state))[0] == "Completed"
    assert all(map(is_migrated, paths))


def test_a_cancelled_fleet_that_is_killed_because_a_restore_takes_long_leaves_that_to_its_child(
    site: Site, tmp_path: Path
) -> None:
    run, paths, state = waiting_fleet(site, tmp_path, "slow_to_restore")
    before, restores = content(paths[2]), paths[2].with_name("02.db.restores")
    fleet = int(site.api.run(run)["infrastructure_pid"])
    site.api.cancel(run)
    await_that(restores.exists, "02.db is being brought back")
    # By Prefect's worker, after its 30 s.
    assert ends_within(fleet, 90)
    assert site.api.ended(run)[0] == "Cancelled"
    child = int(restores.read_text())
    assert not ends_within(child, 0)
    restores.unlink()
    assert ends_within(child, 60)
    assert content(paths[2]) == before
    assert beside(paths[2]) == ["02.db.backups", "02.db.waits"]
    assert site.api.runs(f"recover {paths[2]}") == []
    goes_on(site, state, paths)


def test_a_fleet_that_is_killed_with_its_children_is_ended_by_its_worker(site: Site, tmp_path: Path) -> None:
    run, paths, state = waiting_fleet(site, tmp_path, "waits_at_promotion")
    before, fleet = content(paths[2]), int(site.api.run(run)["infrastructure_pid"])
    # The one would bring back what the other left.
    os.kill(fleet, signal.SIGSTOP)
    for pid in (int(paths[2].with_name("02.db.waits").read_text()), fleet):
        os.kill(pid, signal.SIGKILL)
    assert site.api.ended(run)[0] == "Crashed"
    site.api.recovered(paths[2])
    assert content(paths[2]) == before
    assert beside(paths[2]) == ["02.db.backups", "02.db.waits"]
    goes_on(site, state, paths)


@pytest.mark.parametrize("is_noticed", [False, True])
def test_a_fleet_whose_machine_goes_down_is_ended_when_the_worker_starts(
    site: Site, tmp_path: Path, is_noticed: bool
) -> None:
    with ExitStack() as held:
        if is_noticed:
            held.callback(site.api.heard_within(10))
        run, paths, state = waiting_fleet(site, tmp_path, "waits_at_promotion")
        before = content(paths[2])
        site.alpha.end()
        assert beside(paths[2]) == ["02.db.backups", "02.db.migrating", "02.db.waits"]
        if is_noticed:
            assert site.api.ended(run) == ("Crashed", "nothing was heard of this run for 90 s")
    site.start(site.alpha)
    said = f"the run recover {paths[2]} ends what it began"
    if not is_noticed:
        said = f"its worker or its machine died; {said}"
    assert f"fleet {state['state']}: {said}\n" in site.alpha.said
    assert site.api.ended(run)[0] == "Crashed"
    site.api.recovered(paths[2])
    assert len(site.api.recoveries(paths[2])) == 1
    assert content(paths[2]) == before
    goes_on(site, state, paths)


def test_a_restart_of_postgresql_in_the_middle_is_waited_out(site: Site, tmp_path: Path) -> None:
    run, database, paused = paused_run(site, tmp_path / "db")
    await_that(paused.exists, "the run pauses")
    site.postgres.stop(signal.SIGINT)
    before = len(site.server.said)
    paused.unlink()
    await_that(lambda: columns(database) == COLUMNS_AFTER, "it is migrated with no PostgreSQL")
    await_that(lambda: "set_flow_run_state" in site.server.said[before:], "the server cannot keep the run's state")
    site.postgres.start()
    assert site.api.ended(run)[0] == "Completed"
    assert beside(database) == AS_BEFORE


def test_a_server_that_is_lost_in_the_middle_keeps_no_migration_from_its_end(site: Site, tmp_path: Path) -> None:
    run, database, paused = paused_run(site, tmp_path / "db")
    await_that(paused.exists, "the run pauses")
    site.server.end()
    paused.unlink()
    await_that(lambda: beside(database) == AS_BEFORE, "it is migrated with no server")
    assert columns(database) == COLUMNS_AFTER
    # Sooner than Prefect's client gives up, and all the while no server.
    await_that(lambda: is_free(database), "the next run may begin", patience_s=45)
    site.start_server()
    assert site.api.ended(run)[0] == "Completed"


def test_a_run_whose_worker_is_killed_puts_the_database_back_and_another_worker_starts(
    site: Site, tmp_path: Path
) -> None:
    run, database, paused = paused_run(site, tmp_path / "db")
    before, started = content(database), site.alpha.said.count("started!")
    await_that(paused.exists, "the run pauses")
    os.kill(worker_of(site.alpha.mark), signal.SIGKILL)
    await_that(lambda: f"migrate {database}: still at work" in site.alpha.said, "the run is left alone")
    # The first line that it logs breaks a pipe.
    paused.unlink()
    assert site.api.ended(run)[0] == "Crashed"
    await_that(lambda: beside(database) == AS_BEFORE, "the run ends")
    assert content(database) == before
    await_that(lambda: site.alpha.said.count("started!") == started + 1, "another worker starts")
    assert "the worker has ended; starting another" in site.alpha.said


def test_a_service_that_is_stopped_while_the_server_hangs_is_not_stopped_for_ever(site: Site, tmp_path: Path) -> None:
    run, database, paused = paused_run(site, tmp_path / "db")
    before = content(database)
    await_that(paused.exists, "the run pauses")
    site.server.send_to_all(signal.SIGSTOP)
    try:
        stopped = site.alpha.stop()
    finally:
        site.server.send_to_all(signal.SIGCONT)
    assert stopped.code == 0
    assert "runs under way are killed, because they could not be asked to end" in site.alpha.said
    site.start(site.alpha)
    assert site.api.ended(run)[0] == "Crashed"
    await_that(lambda: beside(database) == AS_BEFORE, "what it left is removed")
    assert content(database) == before


def test_a_run_that_is_taken_for_dead_and_lives_is_left_its_database_and_completes(site: Site, tmp_path: Path) -> None:
    heard_as_ever = site.api.heard_within(10)
    run, database, paused = paused_run(site, tmp_path / "db")
    assert site.api.ended(run)[0] == "Crashed"
    heard_as_ever()
    recovery, *_ = await_that(lambda: site.api.recoveries(database), "the deployment recover is run")
    # It waits a minute for the lock.
    assert site.api.ended(recovery["id"])[1].startswith(f"left to the run at work: a run on {database}")
    paused.unlink()
    await_that(lambda: site.api.run(run)["state"]["name"] == "Completed", "the run says how it ended")
    assert columns(database) == COLUMNS_AFTER
    assert beside(database) == AS_BEFORE


def test_a_run_that_is_killed_alone_is_ended_by_its_worker(site: Site, tmp_path: Path) -> None:
    run, database, paused = paused_run(site, tmp_path / "db")
    before = content(database)
    await_that(paused.exists, "the run pauses")
    os.kill(int(paused.read_text()), signal.SIGKILL)
    assert site.api.ended(run)[0] == "Crashed"
    await_that(lambda: beside(database) == AS_BEFORE, "what it left is removed")
    assert content(database) == before


def test_of_two_servers_runs_on_one_database_one_works_and_the_other_waits_for_it(site: Site, tmp_path: Path) -> None:
    database, paused = database_in(tmp_path / "db"), tmp_path / "paused"
    # The command line, on a server of its own, because the one that it was told of is not there.
    settings = {"PAUSES": STAGE, "PAUSED": str(paused), "PREFECT_API_URL": f"http://127.0.0.1:{free_port()}/api"}
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "tests.deployments.pausing", "--database", str(database), "--max-lock-ms", "60000"]
    first = Program(
        [*command, "--report", str(report)], clean_environment(tmp_path, **settings), tmp_path / "first.log"
    )
    try:
        first.start()
        await_that(paused.exists, "the run pauses")
        run = site.api.order("migrate/alpha", database=str(database), max_lock_ms=60_000)
        under_way = f"waiting: a run on {database} is already under way in process {first.pid}"
        await_that(lambda: under_way in site.api.said(run), "the other one waits")
        refused = subprocess.run(command, cwd=ROOT, env=first.environment, capture_output=True, text=True, timeout=60)
        assert refused.returncode == 2
        assert f"already under way in process {first.pid}" in refused.stderr
        paused.unlink()
        assert first.child is not None
        assert first.child.wait(120) == 0
        assert site.api.ended(run)[0] == "Completed"
    finally:
        first.end()
    assert "server_not_used" in [finding["code"] for finding in json.loads(report.read_text())["findings"]]
    assert columns(database) == COLUMNS_AFTER
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT count(DISTINCT run_id) FROM _migration_history").fetchone() == (1,)
    assert len(list((database.parent / "ltmc.db.backups").glob("*/backup.db"))) == 1
