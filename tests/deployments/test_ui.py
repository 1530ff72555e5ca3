"""`make ui` for real: one server, one worker, started once for all tests here; the last of them stops it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from migrator.ltmc import LTMC
from tests.deployments.servers import (
    ROOT,
    Api,
    Program,
    await_that,
    clean_environment,
    free_port,
    processes,
    worker_of,
)
from tests.deployments.told import Told, told_at
from tests.pipeline.programs import ends_within
from tests.pipeline.runs import COLUMNS_AFTER, beside, columns, content

README = (ROOT / "deployments" / "README.md").read_text(encoding="utf-8").partition("## Several machines")[0]
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]
# Every one of them is run here, or is shown to be what is run.
MAKE, EXPORT, ORDER, AUTOMATE = COMMANDS
DEPLOYED = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
READY = "Ctrl-C ends it."


@pytest.fixture(scope="module")
def told() -> Iterator[Told]:
    with told_at() as told:
        yield told


class PatientApi(Api):
    """Prefect's server answers 503 when its SQLite database was busy; whoever asks, asks again."""

    def ask(self, method: str, path: str, body: Any = None, **fields: Any) -> Any:
        answers: list[httpx.Response] = []

        def answered() -> bool:
            # It also ends a connection that nobody used for 5 s, in the very moment in which somebody does.
            with contextlib.suppress(httpx.TransportError):
                answers.append(self._client.request(method, path, json=body or fields or None))
                return answers[-1].status_code != 503
            return False

        await_that(answered, f"{path} is answered")
        assert answers[-1].is_success, (path, answers[-1].text)
        return answers[-1].json() if answers[-1].content else None


@dataclass
class Ui:
    """`make ui` under way. `databases` makes a new un-migrated one for a test."""

    program: Program
    api: Api
    api_url: str
    home: Path
    database: Path

    @property
    def mark(self) -> str:
        """In the environment of every process that it has started, and of theirs."""
        return f"PREFECT_API_URL={self.api_url}"

    def order(self, deployment: str, **changes: Any) -> str:
        """A run of the deployment `flow/name` with its own parameters, but for `changes`; returns its id."""
        found = self.api.ask("GET", f"/deployments/name/{deployment}")
        return self.api.order(deployment, **{**found["parameters"]["request"], **changes})

    def command(self, command: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """A command of the README, told where this server is."""
        assert EXPORT == "export PREFECT_API_URL=http://127.0.0.1:4200/api"
        python, *words = shlex.split(command)
        assert python == ".venv/bin/python"
        return self.python(*words, PREFECT_API_URL=self.api_url, **settings)

    def python(self, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
        environment = clean_environment(self.home, **settings)
        return subprocess.run(
            [sys.executable, *words], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120
        )


def make_demo(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    LTMC.make_demo(folder / "ltmc.db", 60)
    return folder / "ltmc.db"


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory, told: Told) -> Iterator[Ui]:
    home, port = tmp_path_factory.mktemp("home"), free_port()
    database = make_demo(home / "data")
    # What no list of processes shows; the repository never has it.
    environment = clean_environment(home, LTMC_NOTIFY_URL=told.url, PREFECT_SERVER_EVENTS_PROACTIVE_GRANULARITY="PT1S")
    words = ["-m", "deployments.ui", "--port", str(port), "--database", str(database)]
    program = Program([sys.executable, *words], environment, home / "ui.log")
    with ExitStack() as held:
        program.start()
        held.callback(program.end)

        def is_ready() -> bool:
            assert program.child is not None and program.child.poll() is None, program.said
            return READY in program.said

        await_that(is_ready, "make ui is ready")
        api_url = f"http://127.0.0.1:{port}/api"
        yield Ui(program, PatientApi(api_url, None), api_url, home, database)


@pytest.fixture(scope="module")
def pausing(ui: Ui) -> str:
    """The deployment of a migration that pauses where the run's environment says so; a flow of the same name."""
    source = """
import sys
from prefect.flows import Flow
flow = Flow.from_source(source=sys.argv[1], entrypoint="tests/deployments/pausing.py:migrate")
flow.deploy(name="pausing", work_pool_name="migrations", print_next_steps=False)
"""
    ended = ui.python("-c", source, str(ROOT), PREFECT_API_URL=ui.api_url)
    assert ended.returncode == 0, ended.stderr
    return str(ui.api.ask("GET", "/deployments/name/migrate/pausing")["id"])


def paused_run(ui: Ui, deployment: str, database: Path, moment: str) -> tuple[str, Path]:
    """A run that the worker has, once it has paused; its id, and the file whose removal lets it go on."""
    paused = database.with_name("paused")
    body = {
        "parameters": {"request": {"database": str(database), "max_lock_ms": 60000}},
        "state": {"type": "SCHEDULED"},
        "job_variables": {"env": {"PAUSES": moment, "PAUSED": str(paused)}},
    }
    run = str(ui.api.ask("POST", f"/deployments/{deployment}/create_flow_run", **body)["id"])
    await_that(lambda: paused.exists() and paused.read_text().strip(), f"the run pauses {moment}")
    return run, paused


def artifacts(ui: Ui, run: str) -> dict[str, str]:
    found = ui.api.ask("POST", "/artifacts/filter", artifacts={"flow_run_id": {"any_": [run]}})
    return {artifact["key"]: str(artifact["data"]) for artifact in found}


def test_it_prints_the_address_of_a_server_that_only_this_machine_reaches(ui: Ui) -> None:
    page = ui.api_url.removesuffix("/api")
    assert f"\n  {page}\n" in ui.program.said
    assert ui.api.answers()
    listening = subprocess.run(["ss", "-Hltn"], capture_output=True, text=True).stdout.split()
    port = page.rpartition(":")[2]
    assert [where for where in listening if where.endswith(f":{port}")] == [f"127.0.0.1:{port}"]


def test_every_deployment_has_the_database_and_a_schedule_that_is_on(ui: Ui) -> None:
    found = ui.api.ask("POST", "/deployments/filter", sort="NAME_ASC")
    of_yaml = {entry["name"]: entry for entry in DEPLOYED}
    assert {d["name"] for d in found} - {"pausing"} == set(of_yaml)
    for deployment in found:
        if deployment["name"] == "pausing":
            continue
        # A fleet has many, and nobody knows which.
        database = None if deployment["name"] == "fleet" else str(ui.database)
        assert deployment["parameters"]["request"].get("database") == database, deployment["name"]
        schedules = [(s["schedule"]["cron"], s["active"]) for s in deployment["schedules"]]
        wanted = of_yaml[deployment["name"]].get("schedules", [])
        assert schedules == [(schedule["cron"], True) for schedule in wanted]
        assert deployment["concurrency_limit"] is None
    pruning = ui.api.ask("GET", "/deployments/name/prune-backups/prune-backups")
    assert pruning["parameters"]["request"].items() >= {"keep_last": 5, "keep_daily": 7, "keep_weekly": 8}.items()


def fields_of(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The fields of the run form, with what each of their alternatives allows."""
    (reference,) = (value for name, value in schema["properties"].items() if name == "request")
    target = reference.get("$ref") or reference["allOf"][0]["$ref"]
    return dict(schema["definitions"][target.rpartition("/")[2]]["properties"])


def allowed(field_schema: dict[str, Any]) -> dict[str, Any]:
    """The keywords of a field that is not null."""
    (value,) = [a for a in field_schema.get("anyOf", [field_schema]) if a.get("type") != "null"]
    return dict(value)


def test_the_run_form_explains_every_field(ui: Ui) -> None:
    forms = {}
    for entry in DEPLOYED:
        (deployment,) = ui.api.ask("POST", "/deployments/filter", deployments={"name": {"any_": [entry["name"]]}})
        assert list(deployment["parameter_openapi_schema"]["properties"]) == ["request"]
        assert deployment["enforce_parameter_schema"] is True
        forms[entry["name"]] = fields_of(deployment["parameter_openapi_schema"])
    for name, form in forms.items():
        for key, value in form.items():
            assert value.get("title"), f"{name}: {key} has no title"
            assert len(value.get("description", "")) > 10, f"{name}: {key} has no description"
            assert not re.search(r"_(ms|s|bytes)$", key) or re.search(r"\((ms|s|bytes)\)$", value["title"]), key
    assert allowed(forms["migrate"]["to"]).items() >= {"minimum": 0, "maximum": 9999, "type": "integer"}.items()
    assert allowed(forms["migrate"]["max_lock_ms"])["exclusiveMinimum"] == 0
    assert allowed(forms["verify"]["max_lock_ms"])["exclusiveMinimum"] == 0
    for rule in ("keep_last", "keep_daily", "keep_weekly", "max_bytes"):
        # Of a size, which may be written as 20GB too, the number has the bound.
        choices = [allowed(forms["prune-backups"][rule])]
        choices = choices[0].get("anyOf", choices)
        assert [c["minimum"] for c in choices if c["type"] == "integer"] == [0], rule
    assert allowed(forms["fleet"]["parallel"]).items() >= {"minimum": 1, "maximum": 1000, "type": "integer"}.items()
    assert set(forms["recover"]) == {"database"}
    assert set(forms["restore-drill"]) == {"database", "backup_dir", "remote"}


def test_a_second_make_ui_says_where_the_first_one_is(ui: Ui) -> None:
    ended = ui.python("-m", "deployments.ui", "--port", str(free_port()))
    assert ended.returncode == 2
    assert f"it runs already: {ui.api_url.removesuffix('/api')}; end that one first" in ended.stderr


def test_a_taken_port_is_named_with_the_way_out(ui: Ui, told: Told, tmp_path: Path) -> None:
    for port, who in ((ui.api_url.split(":")[2].split("/")[0], "another Prefect server has port"),
                      (told.url.split(":")[2].split("/")[0], "another program has port")):  # fmt: skip
        ended = ui.python("-m", "deployments.ui", "--port", port, PREFECT_HOME=str(tmp_path))
        assert ended.returncode == 2
        assert f"{who} {port}" in ended.stderr and "--port" in ended.stderr


def test_a_database_that_is_not_there_starts_nothing(ui: Ui, tmp_path: Path) -> None:
    ended = ui.python(
        "-m", "deployments.ui", "--database", str(tmp_path / "no.db"), PREFECT_HOME=str(tmp_path / "home")
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert f"no database at {tmp_path / 'no.db'}" in ended.stderr
    assert not (tmp_path / "home").exists()


def test_the_automations_are_made_once(ui: Ui) -> None:
    before = ui.api.ask("POST", "/automations/filter")
    ended = ui.command(AUTOMATE, PREFECT_FLOWS_HEARTBEAT_FREQUENCY="30")
    assert (ended.returncode, ended.stdout) == (0, "nothing to change\n"), ended.stderr
    after = ui.api.ask("POST", "/automations/filter")
    assert [(a["id"], a["updated"]) for a in after] == [(a["id"], a["updated"]) for a in before]
    assert len(after) == 3
    assert "secret-path" not in json.dumps(after)


def test_the_checks_fail_on_what_is_wrong_and_say_it_and_pass_afterwards(ui: Ui, told: Told) -> None:
    bad = ui.order("verify/verify")
    name, message = ui.api.ended(bad)
    assert (name, message[:14]) == ("Failed", "not healthy: t")
    assert "tool get_code_patterns fails: no such column: function_name" in message
    found = artifacts(ui, bad)
    assert "# NOT WELL" in found["health"] and "**fault** tool get_code_patterns fails" in found["health"]
    assert '"tool": "get_code_patterns"' in found["tool-health"].replace("'", '"')
    assert "Failed: not healthy" in told.of(ui.database, "not healthy")["text"]

    ordered = ui.command(ORDER.replace("/path/to/another.db", str(ui.database)))
    assert ordered.returncode == 0, ordered.stdout + ordered.stderr
    assert columns(ui.database) == COLUMNS_AFTER
    orders = ("verify/verify", "drill/restore-drill", "prune-backups/prune-backups")
    good = {name: ui.order(name, **({"keep_last": 1} if "prune" in name else {})) for name in orders}
    for order, run in good.items():
        assert ui.api.ended(run)[0] == "Completed", (order, ui.api.ended(run))
    assert "# well" in artifacts(ui, good["verify/verify"])["health"]
    drilled = artifacts(ui, good["drill/restore-drill"])
    assert "| restored | in 0." in drilled["drill"] and "backup.db" in drilled["drill"]
    assert "0 removed, 0 copied" in artifacts(ui, good["prune-backups/prune-backups"])["backups"]
    (drill,) = json.loads((ui.database.parent / "ltmc.db.backups" / "drills.json").read_text())
    assert drill["succeeded"] and 0 < drill["restore_s"] < drill["seconds"]


def test_the_command_line_finds_this_server_and_its_restore_is_told(ui: Ui, told: Told, tmp_path: Path) -> None:
    database = make_demo(tmp_path)
    before = content(database)
    # A server of the application that ends at once: the gate fails, after the backup and the rehearsal.
    ended = subprocess.run(
        [sys.executable, "-m", "flows.migrate", "--database", "ltmc.db", "--tool-server", "true", "--json"],
        env=clean_environment(ui.home), cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    report = json.loads(ended.stdout)
    assert (ended.returncode, report["outcome"]) == (1, "restored"), ended.stderr
    (run,) = ui.api.runs(f"migrate {database}")
    assert run["parameters"]["request"]["database"] == str(database)
    assert run["labels"].items() >= {"outcome": "restored", "error": report["error"]}.items()
    message = told.of(database, "restored")
    assert message["text"] == f"migrate {database}: Failed, restored: {report['error']}"
    assert (message["state"], message["outcome"], message["flow"]) == ("Failed", "restored", "migrate")
    assert message["url"].endswith(f"/runs/flow-run/{run['id']}")
    assert content(database) == before


def test_two_runs_on_one_database_come_one_after_the_other(ui: Ui, pausing: str, tmp_path: Path) -> None:
    database = make_demo(tmp_path)
    first, paused = paused_run(ui, pausing, database, "before migrator.promotion:promote")
    second = ui.order("migrate/migrate", database=str(database), max_lock_ms=60000)
    await_that(lambda: any("waiting: a run on" in line for line in ui.api.said(second)), "the second run waits")
    assert ui.api.run(first)["state"]["type"] == ui.api.run(second)["state"]["type"] == "RUNNING"
    paused.unlink()
    assert ui.api.ended(first)[0] == "Completed"
    assert ui.api.ended(second)[0] == "Completed"
    assert len(list((tmp_path / "ltmc.db.backups").glob("*/backup.db"))) == 1, "the second one had nothing to do"
    assert columns(database) == COLUMNS_AFTER


def test_what_somebody_changed_in_the_ui_stays_when_it_starts_again(ui: Ui) -> None:
    def changed() -> tuple[Any, ...]:
        found = ui.api.ask("GET", "/deployments/name/drill/restore-drill")
        schedules = sorted((s["schedule"]["cron"], s["active"], s["slug"]) for s in found["schedules"])
        return found["parameters"], schedules, found["entrypoint"]

    drill = ui.api.ask("GET", "/deployments/name/drill/restore-drill")
    (weekly,) = drill["schedules"]
    ui.api.ask("PATCH", f"/deployments/{drill['id']}/schedules/{weekly['id']}", active=False)
    ui.api.ask("POST", f"/deployments/{drill['id']}/schedules", [{"schedule": {"cron": "1 2 * * *"}, "active": True}])
    request = {**drill["parameters"]["request"], "remote": "file:///mnt/nas"}
    ui.api.ask("PATCH", f"/deployments/{drill['id']}", parameters={"request": request}, entrypoint="moved.py:since")
    again = "import sys; from pathlib import Path; from deployments.setting_up import deploy; "
    again += "deploy(Path(sys.argv[1]), Path(sys.argv[2]), None)"
    ended = ui.python("-c", again, str(ROOT), str(ui.home / "again.log"), PREFECT_API_URL=ui.api_url)
    assert ended.returncode == 0, ended.stderr
    schedules = [("0 5 * * 0", False, "weekly"), ("1 2 * * *", True, None)]
    assert changed() == ({"request": request}, schedules, "flows/scheduled.py:restore_drill")


def test_a_killed_run_and_a_killed_worker_are_recovered(ui: Ui, pausing: str, told: Told, tmp_path: Path) -> None:
    database = make_demo(tmp_path)
    before = content(database)
    with ExitStack() as held:
        held.callback(ui.api.heard_within(10))
        run, paused = paused_run(ui, pausing, database, "before migrator.promotion:promote")
        for process in (worker_of(ui.mark), int(paused.read_text())):
            os.kill(process, signal.SIGKILL)
        assert ui.api.ended(run) == ("Crashed", "nothing was heard of this run for 90 s")
    message = ui.api.recovered(database)
    assert message.startswith("killed run ")
    assert beside(database) == ["ltmc.db.backups"]
    assert content(database) == before
    assert "the worker has ended; starting another" in ui.program.said
    assert told.of(database, "Crashed")["text"].startswith(f"migrate {database}: Crashed: nothing was heard")
    assert told.of(database, "Recovered")["text"] == f"recover {database}: Recovered: {message}"


def test_make_ui_is_this_program() -> None:
    assert MAKE == "make ui DATABASE=path/to/ltmc.db"
    shown = subprocess.run(["make", "-n", *shlex.split(MAKE)[1:]], cwd=ROOT, capture_output=True, text=True).stdout
    assert 'set -- --database "$DATABASE"' in shown and ' -m deployments.ui "$@"' in shown


def test_ctrl_c_restores_what_is_under_way_and_leaves_no_process(ui: Ui, pausing: str, tmp_path: Path) -> None:
    """The last one: it ends what the others use."""
    database = make_demo(tmp_path)
    before = content(database)
    paused_run(ui, pausing, database, "before migrator.promotion:promote")
    there = processes(ui.mark)
    assert len(there) >= 3, "server, worker, run"
    # As in a terminal: to the group of the foreground program.
    ui.program.send_to_all(signal.SIGINT)
    assert ui.program.child is not None
    assert ui.program.child.wait(60) == 0, ui.program.said
    assert ui.program.said.endswith("stopping\nending 1 under way; they restore first\nstopped\n")
    assert all(ends_within(process, 0) for process in there)
    assert processes(ui.mark) == []
    assert content(database) == before and beside(database) == ["ltmc.db.backups"]
    assert (ui.home / ".prefect" / "ltmc-ui.json").read_text() == "{}"
