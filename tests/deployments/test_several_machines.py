"""Several machines on one Prefect server: each migrates what it has, and ends what it left unfinished."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from migrator.lock import lock_path
from tests.deployments.machines import (
    ORDER,
    ORDER_FLEET,
    ORDER_FLEET_OF_ALL,
    PASSWORDS,
    README,
    UPDATE,
    Site,
    Stopped,
    a_site,
    database_in,
)
from tests.deployments.servers import ROOT, await_that, free_port, processes
from tests.deployments.told import Told, told_at
from tests.pipeline.fleets import demos, is_migrated
from tests.pipeline.runs import COLUMNS_AFTER, beside, columns, content

pytestmark = pytest.mark.system("postgresql", program="pg_ctlcluster")

WEEKLY = {"active": False, "schedule": {"cron": "0 4 * * 0", "timezone": "UTC"}}


@pytest.fixture(scope="module")
def told() -> Iterator[Told]:
    with told_at() as told:
        yield told


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, told: Told) -> Iterator[Site]:
    """With both workers."""
    with a_site(tmp_path_factory.mktemp("site"), told.url) as site:
        site.start(site.alpha, site.beta)
        yield site


def test_the_commands_set_up_what_the_section_says(site: Site) -> None:
    deployments = site.api.ask("POST", "/deployments/filter")
    declared = {
        entry["entrypoint"]: entry
        for entry in yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    }
    named = {(found["name"], found["work_queue_name"], found["entrypoint"]) for found in deployments}
    assert named == {(name, name, entrypoint) for name in ("alpha", "beta") for entrypoint in declared}
    for found in deployments:
        entry = declared[found["entrypoint"]]
        assert (found["parameters"], found["description"]) == (entry["parameters"], entry["description"])
        schedules = [(s["schedule"]["cron"], s["active"]) for s in found["schedules"]]
        # The machines have a database of their own.
        assert schedules == [(said["cron"], True) for said in entry.get("schedules", [])]
        # None of them may begin while other tests count runs.
        for schedule in found["schedules"]:
            site.api.ask("PATCH", f"/deployments/{found['id']}/schedules/{schedule['id']}", active=False)
    for flow in ("migrate", "fleet", "recover", "verify", "prune-backups", "drill"):
        assert f"`{flow}/web1`" in README
        site.api.ask("GET", f"/deployments/name/{flow}/alpha")
    assert [unit.keys["Restart"] for unit in (site.server, site.alpha)] == ["always", "always"]
    assert (site.server.keys["User"], site.alpha.keys["User"]) == ("ltmc", "www-data")
    assert site.noted == [
        "cp -a . /opt/ltmc-migrate",
        "make -C /opt/ltmc-migrate install",
        "useradd --system --create-home ltmc",
        "systemctl enable --now ltmc-server",
        "systemctl enable --now ltmc-worker",
    ]


def test_each_machine_makes_the_automations_and_none_twice(site: Site) -> None:
    found = {a["name"]: a for a in site.api.ask("POST", "/automations/filter")}
    recovers = {name: f"ltmc: what a crashed migration began on {name} is ended" for name in ("alpha", "beta")}
    silent, told = "ltmc: a run that has gone silent is Crashed", "ltmc: failures and recoveries are told"
    assert sorted(found) == sorted([silent, told, *recovers.values()])
    assert len(site.api.ask("POST", "/automations/filter")) == 4
    # Three heartbeats of 30 s, as on one machine.
    assert found[silent]["trigger"]["within"] == 90
    for machine, name in recovers.items():
        (action,) = found[name]["actions"]
        deployment = site.api.ask("GET", f"/deployments/name/recover/{machine}")
        assert action["deployment_id"] == deployment["id"]
    assert "secret-path" not in json.dumps(found)


def test_a_run_is_taken_by_the_machine_it_was_ordered_for_and_refused_by_one_without_the_file(
    site: Site, tmp_path: Path
) -> None:
    database, nowhere = database_in(tmp_path), tmp_path / "there" / "ltmc.db"
    wrong = site.api.order("migrate/beta", database=str(nowhere))
    site.carry_out(ORDER.replace("web1", "alpha").replace("/path/to/ltmc.db", str(database)))
    (run,) = site.api.runs(f"migrate {database}")

    name, message = site.api.ended(wrong)
    assert name == "Failed"
    assert f"no database at {nowhere}" in message
    assert not nowhere.parent.exists()

    assert site.api.ended(run["id"])[0] == "Completed"
    assert columns(database) == COLUMNS_AFTER
    assert (run["id"] in site.alpha.said, run["id"] in site.beta.said) == (True, False)
    assert (wrong in site.alpha.said, wrong in site.beta.said) == (False, True)


def test_twenty_databases_of_two_machines_are_one_fleet_and_each_machine_migrates_its_own(
    site: Site, tmp_path: Path
) -> None:
    paths, there = demos(tmp_path / "fleet", 10), demos(tmp_path / "there", 10)
    lines = [*(f"alpha:{path}" for path in paths), *(f"beta:{path}" for path in there)]
    listed = re.sub(r"(?<=<<END\n).*(?=END\n)", "\n".join([*lines, ""]), ORDER_FLEET_OF_ALL, flags=re.DOTALL)
    state = tmp_path / "of-all.jsonl"
    export, *_ = ORDER.splitlines()
    where = {"fleet.txt": f"{tmp_path}/fleet.txt", "10%,100%": f"100% --state {state}"}
    for name, path in where.items():
        listed = listed.replace(name, path)
    said = site.carry_out(f"{export}\n{listed}")
    assert ": all migrated\n" in said
    assert [line.split()[:3] for line in said.splitlines() if line.startswith("wave 1 ")] == [["wave", "1", "19"]]
    assert all(map(is_migrated, [*paths, *there]))
    assert [beside(path) for path in [*paths, *there]] == [[f"{path.name}.backups"] for path in [*paths, *there]]
    runs = {run["name"].rpartition("/")[2]: run["id"] for run in site.api.runs("fleet ")}
    for of, machine, other in (("alpha", site.alpha, site.beta), ("beta", site.beta, site.alpha)):
        (part,) = (run for name, run in runs.items() if re.fullmatch(f"wave 1 of .* on {of}.jsonl", name))
        assert (part in machine.said, part in other.said) == (True, False)
    # For a run of its own Prefect would start twice for each.
    assert site.api.runs(f"migrate {tmp_path}") == []


def test_the_databases_of_one_machine_are_one_run_of_its_fleet(site: Site, tmp_path: Path) -> None:
    paths = demos(tmp_path / "fleet", 2)
    export, *_ = ORDER.splitlines()
    site.carry_out(f"{export}\n{ORDER_FLEET}".replace("web1", "beta").replace("/path/to", str(tmp_path)))
    (run,) = site.api.runs(f"fleet {tmp_path}/fleet.jsonl")
    assert site.api.ended(run["id"])[0] == "Completed"
    assert all(map(is_migrated, paths))
    assert (run["id"] in site.alpha.said, run["id"] in site.beta.said) == (False, True)


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


@pytest.mark.full
def test_a_run_that_goes_silent_is_recovered_by_the_machine_that_has_its_file(
    site: Site, told: Told, tmp_path: Path
) -> None:
    database, paused = database_in(tmp_path), tmp_path / "paused"
    before = content(database)
    with ExitStack() as held:
        held.callback(site.api.heard_within(10))
        run = site.order_pausing(database, "before migrator.promotion:promote", paused, "beta")
        await_that(paused.exists, "the run pauses")
        # As when the machine loses its power.
        site.beta.end()
        assert site.api.ended(run) == ("Crashed", "nothing was heard of this run for 90 s")
    ordered = await_that(lambda: site.api.recoveries(database), "recover is ordered")
    # The worker of alpha would have taken it by now from its own queue.
    assert {(run["work_queue_name"], run["state"]["type"]) for run in ordered} == {("beta", "SCHEDULED")}

    site.start(site.beta)
    message = site.api.recovered(database)
    assert message.startswith("killed run ")
    for run in site.api.recoveries(database):
        assert (run["id"] in site.alpha.said, run["id"] in site.beta.said) == (False, True)
    assert content(database) == before
    assert beside(database) == ["ltmc.db.backups"]
    assert told.of(database, "Crashed")["text"].startswith(f"migrate {database}: Crashed: nothing was heard")
    assert told.of(database, "Recovered")["text"] == f"recover {database}: Recovered: {message}"


def test_a_service_that_is_stopped_cancels_its_runs_first(site: Site, tmp_path: Path) -> None:
    moments = {"old": "before migrator.promotion:promote", "new": "after migrator.one_transaction:_commit"}
    databases = {name: database_in(tmp_path / name) for name in moments}
    before = content(databases["old"])
    runs = {
        name: site.order_pausing(databases[name], moment, tmp_path / f"{name}.paused")
        for name, moment in moments.items()
    }
    for name in moments:
        await_that((tmp_path / f"{name}.paused").exists, "the run pauses")
    there = processes(site.alpha.mark)
    assert len(there) >= 4, "program, worker, two runs"

    left = site.alpha.stop()
    ended = {name: site.api.run(run)["state"] for name, run in runs.items()}
    assert left == Stopped(code=0, killed=[]), site.alpha.said
    assert site.alpha.said.count("ending 2 under way; they restore first") == 1
    assert {name: state["name"] for name, state in ended.items()} == {"old": "Cancelled", "new": "Cancelled"}
    assert ended["old"]["message"].startswith(
        f"restored: promote was stopped by SIGTERM; {databases['old']} is as before; the backup is "
    )
    assert ended["new"]["message"] == "migrated: the cancellation came after the promotion, which stands"
    assert content(databases["old"]) == before
    assert columns(databases["new"]) == COLUMNS_AFTER
    assert [beside(database) for database in databases.values()] == [["ltmc.db.backups"]] * 2
    # Nobody's failure: nothing to tell, nothing to recover.
    assert [site.api.runs(f"recover {database}") for database in databases.values()] == [[], []]

    site.carry_out(UPDATE)
    assert site.noted[-4:] == [
        "systemctl stop ltmc-worker",
        "cp -a . /opt/ltmc-migrate",
        "make -C /opt/ltmc-migrate install",
        "systemctl start ltmc-worker",
    ]


@pytest.mark.full
def test_when_everything_goes_down_in_the_middle_the_run_is_ended_once_it_is_up_again(
    site: Site, tmp_path: Path
) -> None:
    database, paused = database_in(tmp_path), tmp_path / "paused"
    before = content(database)
    deployment = site.api.ask("GET", "/deployments/name/migrate/beta")["id"]
    chosen = {"request": {"database": str(database)}}
    site.api.ask("PATCH", f"/deployments/{deployment}", parameters=chosen)
    site.api.ask("POST", f"/deployments/{deployment}/schedules", body=[WEEKLY])
    run = site.order_pausing(database, "before migrator.candidate:rebuild_table", paused, "beta")
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
    site.beta.start()

    ended = site.api.ended(run)
    assert ended == ("Crashed", f"its worker or its machine died; the run recover {database} ends what it began")
    # By the worker before it starts: the automation of a server that was restarted is a quarter of an hour late.
    assert site.api.recovered(database).startswith("killed run ")
    assert content(database) == before
    assert beside(database) == ["ltmc.db.backups"]

    # The worker made its deployments anew: what a user had set is as it was, what the checkout says is again so.
    found = site.api.ask("GET", "/deployments/name/migrate/beta")
    assert found["parameters"] == chosen
    schedules = [(schedule["schedule"]["cron"], schedule["active"]) for schedule in found["schedules"]]
    assert sorted(schedules) == [("0 3 * * *", False), ("0 4 * * 0", False)]
    assert found["entrypoint"] == "flows/migrate.py:migrate"
