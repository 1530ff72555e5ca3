"""The Prefect server of a local run: found in half a second, or started, and never left behind."""

from __future__ import annotations

import errno
import http.server
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows import server
from tests.pipeline.programs import ends_within

ROOT = Path(__file__).parents[2]

START = """
import os, signal, sys, time
from flows.recording import leave, wait_until_recorded
from flows.server import OwnServer, ServerStartError, without_heartbeats
own = OwnServer.start()
"""
FLOW = """
from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run
@task(cache_policy=NO_CACHE)
def step(n):
    get_run_logger().info("step %s", n)
@flow
def forty_steps():
    for n in range(40):
        step(n)
    return flow_run.id
own.wait_until_healthy()
with without_heartbeats():
    run_id = forty_steps()
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One Prefect home for all, because making its database takes 2 s."""
    return tmp_path_factory.mktemp("prefect-home")


def start_run(home: Path, script: str, **settings: str) -> subprocess.Popen[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "PYTHON"))}
    return subprocess.Popen(
        [sys.executable, "-c", START + script],
        env={**kept, "PREFECT_HOME": str(home), "PYTHONPATH": str(ROOT), **settings},
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def answers(api_url: str) -> bool:
    with urllib.request.urlopen(f"{api_url}/health", timeout=5) as response:
        return response.status == 200


WAITING_RUN = """
def interrupted(*_): os.write(1, b"interrupted\\n")  # print may be at work already
signal.signal(signal.SIGINT, interrupted)
own.wait_until_healthy()
print(own._child.pid, own.api_url, flush=True)
while True:
    signal.pause()
"""


def test_ctrl_c_leaves_the_server_up_and_a_killed_run_takes_it_along(home: Path) -> None:
    run = start_run(home, WAITING_RUN)
    assert run.stdout is not None
    pid, api_url = run.stdout.readline().split()

    os.killpg(run.pid, signal.SIGINT)
    assert run.stdout.readline() == "interrupted\n"
    assert answers(api_url)
    assert not ends_within(int(pid), 0)

    run.kill()
    killed_at = time.monotonic()
    assert run.stdout.read() == "", "the server holds the run's stdout"
    assert time.monotonic() - killed_at < 1.0
    assert ends_within(int(pid), 3.0)
    run.communicate()


def test_a_run_killed_while_its_server_starts_takes_it_along(home: Path) -> None:
    run = start_run(home, "print(own._child.pid, flush=True); signal.pause()")
    assert run.stdout is not None
    pid = int(run.stdout.readline())
    run.kill()
    assert ends_within(pid, 3.0)
    run.communicate()


def test_no_task_run_and_no_log_line_is_lost(home: Path) -> None:
    run = start_run(home, FLOW + "print(run_id, wait_until_recorded(run_id, 40, 20)); own.stop(); leave(0)")
    stdout, stderr = run.communicate(timeout=60)
    run_id, recorded = stdout.split()
    assert (run.returncode, recorded) == (0, "True"), stderr
    with sqlite3.connect(home / "prefect.db") as database:
        states = database.execute(
            "SELECT state_name, count(*) FROM task_run WHERE flow_run_id = ? GROUP BY 1", [run_id]
        ).fetchall()
        lines = database.execute(
            "SELECT count(*) FROM log WHERE flow_run_id = ? AND message LIKE 'step %'", [run_id]
        ).fetchone()
        completions = database.execute("SELECT count(*) FROM events WHERE event = 'prefect.task-run.Completed'")
        assert (states, lines, completions.fetchone()) == ([("Completed", 40)], (40,), (40,))
    database.close()


def test_a_server_that_dies_does_not_hold_the_run_back(home: Path) -> None:
    script = """
os.kill(own._child.pid, signal.SIGKILL)
began = time.monotonic()
print(wait_until_recorded(run_id, 40, 2), own.alive, flush=True)
own.stop()
leave(7)
"""
    run = start_run(home, FLOW.replace("return flow_run.id", "run_id = flow_run.id; return run_id") + script)
    stdout, stderr = run.communicate(timeout=30)
    assert (run.returncode, stdout) == (7, "False False\n"), stderr


def test_a_reader_that_went_away_is_no_error(home: Path) -> None:
    run = start_run(home, "own.stop(); print('x'); leave(0)")
    assert run.stdout is not None
    run.stdout.close()
    assert run.stderr is not None
    assert (run.stderr.read(), run.wait()) == ("", 0)
    run.stderr.close()


def test_a_server_that_cannot_start_names_its_output(home: Path, tmp_path: Path) -> None:
    script = """
try:
    own.wait_until_healthy()
except ServerStartError as error:
    print(error)
"""
    run = start_run(home, script, PREFECT_SERVER_DATABASE_CONNECTION_URL=f"sqlite+aiosqlite:///{tmp_path}/none/p.db")
    stdout, stderr = run.communicate(timeout=30)
    log_path = home / "migrate-server.log"
    assert stdout.startswith("Prefect server ended with code 3 ("), stderr
    assert "unable to open database file); nothing was changed" in stdout
    assert stdout.endswith(f"; its output is in {log_path}\n")
    assert "unable to open database file" in log_path.read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user whom nobody knows")
def test_a_user_without_a_home_is_told_what_to_set() -> None:
    script = "import os; from flows.server import prefect_home; os.setuid(54321); prefect_home()"
    kept = {name: value for name, value in os.environ.items() if name not in ("HOME", "PREFECT_HOME")}
    ended = subprocess.run([sys.executable, "-c", script], env=kept, cwd=ROOT, capture_output=True, text=True)
    assert ended.stderr.splitlines()[-1] == (
        "migrator.errors.RefusedError: this user has no home folder, and a run keeps its records there; "
        "set PREFECT_HOME to a folder that this user may write"
    )


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def test_a_server_named_by_the_environment_that_is_down_is_reported(
    no_settings: Path, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{closed_port}/api")
    assert server.listening_server() == server.Listening(
        None,
        f"Prefect server http://127.0.0.1:{closed_port}/api is not used "
        f"([Errno {errno.ECONNREFUSED}] Connection refused)",
    )


def test_a_server_named_by_the_active_profile_that_is_down_is_reported(no_settings: Path, closed_port: int) -> None:
    (no_settings / "profiles.toml").write_text(
        f'active = "team"\n[profiles.team]\nPREFECT_API_URL = "http://127.0.0.1:{closed_port}/api"\n'
    )
    found = server.listening_server()
    assert found.api_url is None
    assert str(closed_port) in str(found.warning)


def test_no_server_at_the_default_address_is_no_news(
    no_settings: Path, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "DEFAULT_API_URL", f"http://127.0.0.1:{closed_port}/api")
    assert server.listening_server() == server.Listening(None, None)


def test_a_socket_that_never_answers_costs_half_a_second(no_settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{silent.getsockname()[1]}/api")
        began = time.monotonic()
        found = server.listening_server()
        assert time.monotonic() - began < 0.8
    assert found.api_url is None
    assert found.warning is not None


class Guarded(http.server.BaseHTTPRequestHandler):
    """Answers as a Prefect server with the auth string "admin:pass" does: /health is open."""

    def do_GET(self) -> None:
        allowed = self.path == "/api/health" or self.headers["Authorization"] == "Basic YWRtaW46cGFzcw=="
        self.send_response(200 if allowed else 401)
        self.end_headers()
        self.wfile.write(b"true")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def guarded_url() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Guarded) as guarded:
        threading.Thread(target=guarded.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{guarded.server_address[1]}/api"
        guarded.shutdown()


def test_a_server_is_used_only_with_the_credentials_it_asks_for(
    no_settings: Path, guarded_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "DEFAULT_API_URL", guarded_url)
    assert "it refuses the credentials" in str(server.listening_server().warning)
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "admin:pass")
    assert server.listening_server() == server.Listening(guarded_url)
