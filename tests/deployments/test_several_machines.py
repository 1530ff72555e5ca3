"""Several machines on one Prefect server: each migrates what it has, and ends what it left unfinished."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrator.lock import lock_path
from tests.deployments.machines import PASSWORDS, README, Site, a_site, database_in
from tests.deployments.servers import ROOT, await_that, free_port
from tests.pipeline.runs import COLUMNS_AFTER, beside, columns, content

pytestmark = pytest.mark.system("postgresql", program="pg_ctlcluster")

NIGHTLY = {"active": False, "schedule": {"cron": "0 3 * * *", "timezone": "UTC"}}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """With both workers."""
    with a_site(tmp_path_factory.mktemp("site")) as site:
        site.start(site.alpha, site.beta)
        yield site


def test_the_commands_set_up_what_the_section_says(site: Site) -> None:
    deployments = site.api.ask("POST", "/deployments/filter")
    named = {(found["name"], found["work_queue_name"], found["entrypoint"]) for found in deployments}
    entrypoints = {
        "flows/migrate.py:migrate", "flows/recover.py:recover", "flows/scheduled.py:verify_database",
        "flows/scheduled.py:prune_backups", "flows/scheduled.py:restore_drill",
    }  # fmt: skip
    assert named == {(name, name, entrypoint) for name in ("alpha", "beta") for entrypoint in entrypoints}
    for flow in ("migrate", "recover", "verify", "prune-backups", "drill"):
        assert f"`{flow}/web1`" in README
        site.api.ask("GET", f"/deployments/name/{flow}/alpha")
    assert [unit.keys["Restart"] for unit in (site.server, site.alpha)] == ["always", "always"]
    told = (site.etc.parent / "systemctl.log").read_text().splitlines()
    assert told == ["enable --now ltmc-server", "enable --now ltmc-worker"]


def test_a_run_is_taken_by_the_machine_it_was_ordered_for_and_refused_by_one_without_the_file(
    site: Site, tmp_path: Path
) -> None:
    database, nowhere = database_in(tmp_path), tmp_path / "there" / "ltmc.db"
    run = site.api.order("migrate/alpha", database=str(database), max_lock_ms=60_000)
    wrong = site.api.order("migrate/beta", database=str(nowhere))

    name, message = site.api.ended(wrong)
    assert name == "Failed"
    assert f"no database at {nowhere}" in message
    assert not nowhere.parent.exists()

    assert site.api.ended(run)[0] == "Completed"
    assert columns(database) == COLUMNS_AFTER
    assert (run in site.alpha.said, run in site.beta.said) == (True, False)
    assert (wrong in site.alpha.said, wrong in site.beta.said) == (False, True)


@pytest.mark.parametrize(
    ("given", "code", "fault"),
    [
        (
            {"PREFECT_API_AUTH_STRING": "operator:wrong"},
            2,
            "it refuses the credentials; set PREFECT_API_AUTH_STRING to",
        ),
        ({"PREFECT_API_URL": ""}, 2, "PREFECT_API_URL names no server"),
        (
            {"PREFECT_API_URL": f"http://127.0.0.1:{free_port()}/api"},
            1,
            "cannot be used ([Errno 111] Connection refused)",
        ),
        ({}, 2, "the worker of alpha runs already"),
    ],
)
def test_a_worker_that_cannot_work_says_why_and_whether_another_try_may_do(
    site: Site, given: dict[str, str], code: int, fault: str
) -> None:
    environment = {**site.alpha.environment, **given}
    ended = subprocess.run(site.alpha.command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=30)
    assert (ended.returncode, ended.stdout) == (code, "")
    assert fault in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert PASSWORDS["OPERATOR_PASSWORD"] not in ended.stderr
    # systemd tries again but where somebody must act first.
    assert site.alpha.keys["RestartPreventExitStatus"] == "2"


def test_when_everything_goes_down_in_the_middle_the_run_is_ended_once_it_is_up_again(
    site: Site, tmp_path: Path
) -> None:
    database, paused = database_in(tmp_path), tmp_path / "paused"
    before = content(database)
    deployment = site.api.ask("GET", "/deployments/name/migrate/alpha")["id"]
    chosen = {"request": {"database": str(database)}}
    site.api.ask("PATCH", f"/deployments/{deployment}", parameters=chosen)
    site.api.ask("POST", f"/deployments/{deployment}/schedules", body=[NIGHTLY])
    run = site.order_pausing(database, "before migrator.candidate:rebuild_table", paused)
    await_that(paused.exists, "the run pauses")

    os.kill(int(paused.read_text()), signal.SIGKILL)
    for program in (site.alpha, site.beta, site.server):
        program.end()
    site.postgres.stop(signal.SIGQUIT)
    assert content(database) == before
    # After a reboot another program has the number of the one that is named in the lock.
    lock_path(database).write_text(f"{os.getpid()}\n")
    site.postgres.start()
    site.start_server()
    assert site.api.run(run)["state"]["name"] == "Running"
    site.alpha.start()

    ended = site.api.ended(run)
    assert ended == ("Crashed", f"its worker or its machine died; the run recover {database} ends what it began")
    (recovery,) = site.api.runs(f"recover {database}")
    assert site.api.ended(recovery["id"])[0] == "Recovered"
    assert content(database) == before
    assert beside(database) == ["ltmc.db.backups"]

    # The worker made its deployments anew: what a user had set is as it was, what the checkout says is again so.
    found = site.api.ask("GET", "/deployments/name/migrate/alpha")
    assert found["parameters"] == chosen
    assert [schedule["schedule"]["cron"] for schedule in found["schedules"]] == ["0 3 * * *"]
    assert found["entrypoint"] == "flows/migrate.py:migrate"
