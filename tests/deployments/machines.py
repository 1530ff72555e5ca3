"""Prefect's server on PostgreSQL and workers of two machines, set up by the commands of deployments/README.md."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from migrator.ltmc import LTMC
from tests.deployments.servers import ROOT, Api, Postgres, Program, await_that, clean_environment, free_port

README = (ROOT / "deployments" / "README.md").read_text(encoding="utf-8").partition("## Several machines")[2]
COMMANDS = re.findall(r"^```sh\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
PASSWORDS = {"DATABASE_PASSWORD": "p0stgres", "OPERATOR_PASSWORD": "what:nobody-guesses"}

SUDO = """#!/bin/sh
[ "$1" = -u ] && shift 2
exec "$@"
"""
SYSTEMCTL = """#!/bin/sh
echo "$@" >> "$SYSTEMCTL_LOG"
"""


class Unit(Program):
    """A service as systemd starts it, from the unit that the commands installed; `more` words at the end."""

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
        super().__init__(
            [sys.executable, *command[1:], *more],
            clean_environment(home, **environment, **settings),
            home / f"{name}.log",
        )


@dataclass
class Site:
    """One server, and the workers of the machines alpha and beta, not started."""

    postgres: Postgres
    server: Unit
    api: Api
    alpha: Unit
    beta: Unit
    etc: Path

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

    def order_pausing(self, database: Path, moment: str, paused: Path) -> str:
        """A migration on alpha that pauses at `moment`, as tests/deployments/pausing.py does it; returns its id."""
        deployment = self.api.ask("GET", "/deployments/name/migrate/alpha")["id"]
        # Until the worker starts again and makes its deployments anew.
        self.api.ask("PATCH", f"/deployments/{deployment}", entrypoint="tests/deployments/pausing.py:migrate")
        variables = {"PAUSES": moment, "PAUSED": str(paused)}
        return self.api.order("migrate/alpha", variables, database=str(database), max_lock_ms=60_000)


def database_in(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    LTMC.make_demo(folder / "ltmc.db", 100)
    return folder / "ltmc.db"


def carry_out(block: str, tmp: Path, postgres: Postgres, api_port: int) -> None:
    """Runs a block of the README: with other folders and ports, and without a systemd that it could tell."""
    programs = tmp / "bin"
    programs.mkdir(exist_ok=True)
    for name, text in (("sudo", SUDO), ("systemctl", SYSTEMCTL)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (tmp / "etc" / "systemd" / "system").mkdir(parents=True, exist_ok=True)
    for there, here in (("/etc/", f"{tmp}/etc/"), (":5432/", f":{postgres.port}/"), (":4200/", f":{api_port}/")):
        block = block.replace(there, here)
    environment = clean_environment(
        tmp,
        PATH=f"{programs}:{postgres.programs}:{os.environ['PATH']}",
        PGHOST=str(postgres.folder),
        PGPORT=str(postgres.port),
        PGUSER="postgres",
        SYSTEMCTL_LOG=str(tmp / "systemctl.log"),
        SERVER="127.0.0.1",
        **PASSWORDS,
    )
    ended = subprocess.run(
        ["bash", "-euc", block], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 0, f"{block}\n{ended.stdout}\n{ended.stderr}"


@contextmanager
def a_site(tmp: Path) -> Iterator[Site]:
    """A site whose server answers; nothing of it is left at the end."""
    port = free_port()
    on_server, on_each = COMMANDS
    with ExitStack() as held:
        postgres = Postgres()
        held.callback(postgres.remove)
        postgres.start()
        carry_out(on_server, tmp, postgres, port)
        carry_out(on_each, tmp, postgres, port)
        etc = tmp / "etc"
        server = Unit(etc, "ltmc-server", tmp / "server", PREFECT_SERVER_API_PORT=str(port))
        alpha, beta = (Unit(etc, "ltmc-worker", tmp / name, "--name", name) for name in ("alpha", "beta"))
        for program in (server, alpha, beta):
            held.callback(program.end)
        api = Api(f"http://127.0.0.1:{port}/api", f"operator:{PASSWORDS['OPERATOR_PASSWORD']}")
        site = Site(postgres, server, api, alpha, beta, etc)
        site.start_server()
        yield site
