"""Prefect's server on PostgreSQL and workers of two machines, set up by the commands of deployments/README.md."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from migrator.ltmc import LTMC
from tests.deployments.servers import (
    PATIENCE_S,
    ROOT,
    Api,
    Postgres,
    Program,
    await_that,
    clean_environment,
    free_port,
    processes,
)

README = (ROOT / "deployments" / "README.md").read_text(encoding="utf-8").partition("## Several machines")[2]
CHECKOUT, ON_SERVER, ON_EACH, ORDER, ORDER_FLEET, ORDER_FLEET_OF_ALL, UPDATE = re.findall(
    r"^```sh\n(.*?)^```", README, re.DOTALL | re.MULTILINE
)
PASSWORDS = {"DATABASE_PASSWORD": "p0stgres", "OPERATOR_PASSWORD": "what:nobody-guesses"}

SUDO = """#!/bin/sh
[ "$1" = -u ] && shift 2
exec "$@"
"""
NOTED = """#!/bin/sh
echo "$(basename "$0") $@" >> "$NOTED_IN"
"""
"""What a test may not do, or does once for all: it is only noted that it was asked for."""


@dataclass(frozen=True)
class Stopped:
    """The exit code of the main program, and which others were left and killed."""

    code: int
    killed: list[int]


class Unit(Program):
    """A service as systemd starts and stops it, by the unit that the commands installed; `more` words at the end."""

    def __init__(self, etc: Path, name: str, home: Path, *more: str, **settings: str) -> None:
        lines = (etc / "systemd" / "system" / f"{name}.service").read_text().splitlines()
        said = [line.partition("=")[::2] for line in lines if "=" in line and not line.startswith("#")]
        self.keys = dict(said)
        command = shlex.split(self.keys["ExecStart"])
        assert (command[0], self.keys["WorkingDirectory"]) == (
            "/opt/ltmc-migrate/.venv/bin/python",
            "/opt/ltmc-migrate",
        )
        environment = dict(value.split("=", 1) for key, value in said if key == "Environment")
        file = etc / self.keys["EnvironmentFile"].removeprefix("/etc/")
        assert file.stat().st_mode & 0o777 == 0o600
        environment |= dict(line.split("=", 1) for line in file.read_text().splitlines())
        home.mkdir(exist_ok=True)
        # systemd's own mark of a service and all that it starts; here it stands for the control group.
        self.mark = f"INVOCATION_ID={uuid.uuid4().hex}"
        environment["INVOCATION_ID"] = self.mark.partition("=")[2]
        super().__init__(
            [sys.executable, *command[1:], *more],
            clean_environment(home, **environment, **settings),
            home / f"{name}.log",
        )

    def send_to_all(self, number: int) -> None:
        for pid in processes(self.mark):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def stop(self) -> Stopped:
        """As `systemctl stop` with KillMode=mixed: the main program gets SIGTERM, and is waited for; then what is left
        is killed."""
        assert self.keys["KillMode"] == "mixed"
        assert self.child is not None
        self.child.send_signal(signal.SIGTERM)
        code = self.child.wait(PATIENCE_S)
        left = processes(self.mark)
        self.send_to_all(signal.SIGKILL)
        return Stopped(code, left)


@dataclass
class Site:
    """One server, and the workers of the machines alpha and beta, not started."""

    postgres: Postgres
    server: Unit
    api: Api
    alpha: Unit
    beta: Unit
    folder: Path

    def carry_out(self, block: str) -> str:
        """Runs a block of the README; returns what it printed."""
        return carry_out(block, self.folder, self.postgres, int(self.server.environment["PREFECT_SERVER_API_PORT"]))

    @property
    def noted(self) -> list[str]:
        """What was only noted of the blocks so far."""
        return (self.folder / "noted").read_text().splitlines()

    def start_server(self) -> None:
        self.server.start()
        await_that(self.api.answers, f"the server answers; its log is {self.server.log}")

    @staticmethod
    def start(*workers: Unit) -> None:
        before = [worker.log.read_text().count("started!") if worker.log.exists() else 0 for worker in workers]
        for worker in workers:
            worker.start()
        for worker, count in zip(workers, before, strict=True):

            def is_up(worker: Unit = worker, count: int = count) -> bool:
                assert worker.child is not None
                assert worker.child.poll() is None, worker.said
                return worker.said.count("started!") > count

            await_that(is_up, f"the worker starts; its log is {worker.log}")

    def order_pausing(self, database: Path, moment: str, paused: Path, machine: str = "alpha") -> str:
        """A migration that pauses at `moment`, as tests/deployments/pausing.py does it; returns its id."""
        deployment = self.api.ask("GET", f"/deployments/name/migrate/{machine}")["id"]
        # Until the worker starts again and makes its deployments anew.
        self.api.ask("PATCH", f"/deployments/{deployment}", entrypoint="tests/deployments/pausing.py:migrate")
        variables = {"PAUSES": moment, "PAUSED": str(paused)}
        return self.api.order(f"migrate/{machine}", variables, database=str(database), max_lock_ms=60_000)


def database_in(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    LTMC.make_demo(folder / "ltmc.db", 100)
    return folder / "ltmc.db"


def carry_out(block: str, tmp: Path, postgres: Postgres, api_port: int, **variables: str) -> str:
    """Runs a block of the README: with other folders and ports, without a systemd that it could tell, and without a
    second checkout. Returns what it printed."""
    programs = tmp / "bin"
    programs.mkdir(exist_ok=True)
    stubs = dict.fromkeys(("systemctl", "useradd", "cp", "make"), NOTED) | {"sudo": SUDO}
    for name, text in stubs.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (tmp / "etc" / "systemd" / "system").mkdir(parents=True, exist_ok=True)
    here = {
        "/etc/": f"{tmp}/etc/",
        ":5432/": f":{postgres.port}/",
        ":4200/": f":{api_port}/",
        ".venv/bin/python": sys.executable,
    }
    for there, other in here.items():
        block = block.replace(there, other)
    environment = clean_environment(
        tmp,
        PATH=f"{programs}:{postgres.programs}:{os.environ['PATH']}",
        PGHOST=str(postgres.folder),
        PGPORT=str(postgres.port),
        PGUSER="postgres",
        NOTED_IN=str(tmp / "noted"),
        SERVER="127.0.0.1",
        APPLICATION_USER="www-data",
        **PASSWORDS,
        **variables,
    )
    ended = subprocess.run(
        ["bash", "-euc", block], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 0, f"{block}\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout


@contextmanager
def a_site(tmp: Path, notify_url: str = "") -> Iterator[Site]:
    """A site whose server answers; nothing of it is left at the end."""
    port = free_port()
    with ExitStack() as held:
        postgres = Postgres()
        held.callback(postgres.remove)
        postgres.start()
        for block in (CHECKOUT, ON_SERVER, ON_EACH):
            carry_out(block, tmp, postgres, port, DATABASE=str(tmp / "ltmc.db"), NOTIFY_URL=notify_url)
        etc = tmp / "etc"
        often = {"PREFECT_SERVER_EVENTS_PROACTIVE_GRANULARITY": "PT1S"}
        server = Unit(etc, "ltmc-server", tmp / "server", PREFECT_SERVER_API_PORT=str(port), **often)
        # Of Prefect's own a worker looks for runs every 10 s.
        soon = {"PREFECT_WORKER_QUERY_SECONDS": "1"}
        alpha, beta = (Unit(etc, "ltmc-worker", tmp / name, "--name", name, **soon) for name in ("alpha", "beta"))
        for program in (server, alpha, beta):
            held.callback(program.end)
        api = Api(f"http://127.0.0.1:{port}/api", f"operator:{PASSWORDS['OPERATOR_PASSWORD']}")
        site = Site(postgres, server, api, alpha, beta, tmp)
        site.start_server()
        yield site
