"""PostgreSQL, Prefect's server and workers as programs that a test may kill, stop and start again."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]

PATIENCE_S = 120.0
"""For what comes within seconds on a quiet machine."""

AUTH = "operator:what:nobody-guesses"
PASSWORD = "p0stgres"


def free_port() -> int:
    """Below those from which the system takes the near end of connections: a server that is started again finds it."""
    while True:
        port = random.randrange(15_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def await_that(condition: Callable[[], Any], what: str, patience_s: float = PATIENCE_S, every_s: float = 0.05) -> Any:
    """What `condition` returns as soon as that is something; asked again and again."""
    deadline = time.monotonic() + patience_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"after {patience_s:g} s still not: {what}"
        threading.Event().wait(every_s)
    return found


def clean_environment(home: Path, **settings: str) -> dict[str, str]:
    """This program's, without what belongs to another Prefect; `home` is HOME and holds Prefect's own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "PYTEST_"))}
    own = {"HOME": str(home), "PREFECT_HOME": str(home / ".prefect"), "PYTHONPATH": str(ROOT)}
    quiet = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
    return {**kept, **own, **quiet, **settings}


@dataclass
class Program:
    """A program in a session of its own, started again with the same words; what it says is in a file."""

    command: list[str]
    environment: dict[str, str]
    log: Path
    folder: Path = ROOT
    child: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.child = subprocess.Popen(
                self.command,
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                # Ctrl-C is ignored in the background, and there Prefect's worker would end on no SIGTERM either.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            )

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def pid(self) -> int:
        assert self.child is not None
        return self.child.pid

    def send_to_all(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def end(self) -> None:
        """Afterwards nothing of its session is left."""
        if self.child is not None:
            self.send_to_all(signal.SIGKILL)
            self.child.wait()


def processes(mark: str) -> list[int]:
    """Every process with `mark` in its environment, whatever session or parent it has."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark.encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def worker_of(mark: str) -> int:
    """Of these processes the one that is Prefect's worker."""
    (found,) = (p for p in processes(mark) if b"worker\0start" in Path(f"/proc/{p}/cmdline").read_bytes())
    return found


def _postgres_programs() -> Path | None:
    """Debian keeps them out of the PATH, one folder for each version."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    return found[-1].parent if found else None


class Postgres:
    """A PostgreSQL of its own on loopback, with the database `prefect`; under another user where this one is root."""

    def __init__(self) -> None:
        programs = _postgres_programs()
        assert programs is not None
        self.programs = programs
        self._user = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
        # Not below pytest's folder, which only root may enter.
        self.folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self.port = free_port()
        self._log = self.folder / "log"
        self._server: subprocess.Popen[bytes] | None = None
        if self._user:
            shutil.chown(self.folder, "postgres", "postgres")
        data = ["-D", str(self.folder / "data")]
        # A password is asked for on the network, as Debian's own does, and not on the socket.
        how = ["--auth-local=trust", "--auth-host=scram-sha-256", "--username=postgres", "--encoding=UTF8", "--no-sync"]
        self.run("initdb", *data, *how)

    @property
    def url(self) -> str:
        return f"postgresql+asyncpg://prefect:{PASSWORD}@127.0.0.1:{self.port}/prefect"

    def run(self, program: str, *arguments: str) -> str:
        ended = subprocess.run(
            [str(self.programs / program), *arguments], cwd="/", capture_output=True, text=True, **self._user
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def start(self) -> None:
        options = f"-c fsync=off -c listen_addresses=127.0.0.1 -c port={self.port} -k {self.folder}".split()
        self._server = subprocess.Popen(
            [str(self.programs / "postgres"), "-D", str(self.folder / "data"), *options],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **self._user,
        )
        await_that(self._answers, "PostgreSQL answers")

    def _answers(self) -> bool:
        asked = [str(self.programs / "pg_isready"), "-q", "-h", str(self.folder), "-p", str(self.port)]
        return subprocess.run(asked).returncode == 0

    def make_database(self) -> None:
        """As deployments/README.md says."""
        where = ["-h", str(self.folder), "-p", str(self.port), "-U", "postgres"]
        self.run("psql", *where, "-q", "-v", f"password={PASSWORD}", "-f", str(ROOT / "deployments" / "postgresql.sql"))

    def stop(self, number: int = signal.SIGINT) -> None:
        """SIGINT: as a restart of the service does it, the connections are cut; SIGQUIT: at once, as by a crash."""
        if self._server is not None:
            self._server.send_signal(number)
            self._server.wait(PATIENCE_S)

    def remove(self) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)


class Api:
    """The calls that Prefect's UI makes."""

    def __init__(self, api_url: str, auth: str | None) -> None:
        credentials = None if auth is None else httpx.BasicAuth(*auth.split(":", 1))
        self._client = httpx.Client(base_url=api_url, auth=credentials, timeout=30, trust_env=False)

    def ask(self, method: str, path: str, body: Any = None, **fields: Any) -> Any:
        answer = self._client.request(method, path, json=body or fields or None)
        assert answer.is_success, (path, answer.status_code, answer.text)
        return answer.json() if answer.content else None

    def answers(self) -> bool:
        try:
            return self._client.get("/health", timeout=2).is_success
        except httpx.HTTPError:
            return False

    def order(self, deployment: str, variables: dict[str, str] | None = None, **request: Any) -> str:
        """A run of the deployment `flow/name`, as a click on Run makes one; returns its id.

        The run finds `variables` in its environment.
        """
        deployment_id = self.ask("GET", f"/deployments/name/{deployment}")["id"]
        body: dict[str, Any] = {"parameters": {"request": request}, "state": {"type": "SCHEDULED"}}
        if variables is not None:
            body["job_variables"] = {"env": variables}
        return str(self.ask("POST", f"/deployments/{deployment_id}/create_flow_run", **body)["id"])

    def cancel(self, run: str) -> None:
        self._set_state(run, type="CANCELLING", name="Cancelling")

    def retry(self, run: str) -> None:
        self._set_state(run, type="SCHEDULED", name="AwaitingRetry", message="Retry from the UI")

    def _set_state(self, run: str, **state: str) -> None:
        assert self.ask("POST", f"/flow_runs/{run}/set_state", state=state)["status"] == "ACCEPT"

    def run(self, run: str) -> dict[str, Any]:
        return dict(self.ask("GET", f"/flow_runs/{run}"))

    def ended(self, run: str) -> tuple[str, str]:
        """Name and message of the state in which the run ends, when it has."""
        final = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
        state = await_that(lambda: (s := self.run(run)["state"])["type"] in final and s, f"run {run} ends")
        return str(state["name"]), str(state["message"] or "")

    def runs(self, name: str) -> list[dict[str, Any]]:
        """The flow runs whose name begins so."""
        body = {"flow_runs": {"name": {"like_": name}}, "sort": "EXPECTED_START_TIME_ASC"}
        return [run for run in self.ask("POST", "/flow_runs/filter", **body) if run["name"].startswith(name)]

    def recoveries(self, database: object) -> list[dict[str, Any]]:
        """The runs of the flow recover on the database; one that has not begun has no name yet."""
        found = self.ask("POST", "/flow_runs/filter", flows={"name": {"any_": ["recover"]}})
        return [run for run in found if run["parameters"] == {"request": {"database": str(database)}}]

    def recovered(self, database: object) -> str:
        """The message of the one run that ended what a killed one had left; any other found nothing to do.

        There may be others: the worker that sees a run die orders one, and so does an automation, which Prefect fires
        twice now and then.
        """
        await_that(
            lambda: any(run["state"]["name"] == "Recovered" for run in self.recoveries(database)),
            f"{database} is recovered",
        )
        ended = [self.ended(run["id"]) for run in self.recoveries(database)]
        (message,) = [message for name, message in ended if name == "Recovered"]
        others = {(name, message[:18]) for name, message in ended if name != "Recovered"}
        assert others <= {("Completed", "nothing to recover")}
        return message

    def heard_within(self, seconds: float) -> Callable[[], None]:
        """Makes the server wait only so long for a heartbeat of runs that begin later; returns what undoes that."""
        (automation,) = (a for a in self.ask("POST", "/automations/filter") if "silent" in a["name"])
        kept = {name: automation[name] for name in ("name", "description", "enabled", "trigger", "actions")}

        def put(within_s: float) -> None:
            trigger = {**kept["trigger"], "within": within_s}
            self.ask("PUT", f"/automations/{automation['id']}", {**kept, "trigger": trigger})

        put(seconds)
        return lambda: put(kept["trigger"]["within"])

    def said(self, run: str) -> list[str]:
        """What the run has logged so far."""
        found = self.ask("POST", "/logs/filter", logs={"flow_run_id": {"any_": [run]}}, sort="TIMESTAMP_ASC")
        return [line["message"] for line in found]


class PrefectServer(Program):
    """`prefect server start`; its address stays the same when it is started again."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.port = free_port()
        self.api_url = f"http://127.0.0.1:{self.port}/api"
        self.auth = settings.get("PREFECT_SERVER_API_AUTH_STRING")
        self.api = Api(self.api_url, self.auth)
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(self.port)]
        super().__init__(command, clean_environment(folder, **settings), folder / "server.log")

    def start(self) -> None:
        super().start()
        self.await_answer()

    def await_answer(self) -> None:
        def answers() -> bool:
            assert self.child is not None
            assert self.child.poll() is None, self.said
            return self.api.answers()

        await_that(answers, "Prefect's server answers")

    def client_settings(self) -> dict[str, str]:
        """The environment of a program that talks to it."""
        return {"PREFECT_API_URL": self.api_url} | ({"PREFECT_API_AUTH_STRING": self.auth} if self.auth else {})
