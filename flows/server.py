"""Which Prefect server a local run talks to: one that already listens, or one that the run starts for itself.

Imports nothing of Prefect, because Prefect reads the address when it is first imported. In order:
`server_of_run()`; import the flow; `wait_until_healthy()`; run it
`without_heartbeats()`; `flows.recording.wait_until_recorded()`; `stop()`; `flows.recording.leave(exit_code)`.
"""

from __future__ import annotations

import base64
import contextlib
import contextvars
import http.client
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from flows.announced import announced_url
from migrator.errors import RefusedError

T = TypeVar("T")

DEFAULT_API_URL = "http://127.0.0.1:4200/api"
REFUSES_CREDENTIALS = "it refuses the credentials"
PROBE_TIMEOUT_S = 0.5
_SHARED_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 3.0
LOG_LIMIT_BYTES = 1_000_000
_WAY_OUT = "set PREFECT_HOME to a folder that this user may write"
_SAYS_WHY = re.compile(r"[\w.]+(Error|Exception): .+")
_TAIL_BYTES = 20_000
_FULL_BYTES = 1_000_000
"""With less room than this Prefect's database cannot be written, nor what the server has to say about that."""

OWN_SERVER_SETTINGS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # Prefect records one state at a time: 44 task runs lag 0.7 s behind, 400 lag 6 s
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "50",
    # seconds until a smaller batch is recorded; Prefect cuts a fraction to 0 and then spins on a whole core
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    # at the stop the feed keeps what was taken from the queue, and writing 20 at a time takes it too slowly
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "1000",
    # a user's own value would move the API away from the address that is handed to the client
    "PREFECT_SERVER_API_BASE_PATH": "/api",
}
CLIENT_DEFAULTS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # Prefect's 5 retries wait 62 s in each of the last calls to a server that died; 1 waits 2 s
    "PREFECT_CLIENT_MAX_RETRIES": "1",
    # and its 60 s are waited out in each try where the server hangs
    "PREFECT_API_REQUEST_TIMEOUT": "10",
    # what a server that is gone was to be told is printed, 2 kB for each task run
    "PREFECT_INTERNAL_LOGGING_LEVEL": "CRITICAL",
    # the server of `make ui` takes a run for dead that it has heard nothing of for three times as long
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
}


class ServerStartError(RuntimeError):
    """The run's own server ended, or did not answer in time; `log_path` holds what it wrote."""

    def __init__(self, fault: str, log_path: Path) -> None:
        super().__init__(f"Prefect server {fault}; nothing was changed; its output is in {log_path}")
        self.log_path = log_path


@dataclass(frozen=True)
class Listening:
    """`api_url` is a server that answered, or None; `warning` says why one that was named is not used."""

    api_url: str | None
    warning: str | None = None


def listening_server(patience_s: float = PROBE_TIMEOUT_S) -> Listening:
    """The Prefect server to use, found in at most `patience_s`; raises as `prefect_home` does.

    Looks at PREFECT_API_URL, else the active profile, else where `make ui` says that its server is, else the default
    local address. A server is used only when it answers /health and accepts the configured credentials. Only a server
    that was named by the environment or the profile, or one that refuses the credentials, leads to a warning.
    """
    named_url = _setting("PREFECT_API_URL")
    api_url = (named_url or announced_url(prefect_home()) or DEFAULT_API_URL).rstrip("/")
    no_answer: str | None = f"no answer within {patience_s:g} s"
    fault = within(patience_s, lambda: fault_of(api_url, patience_s), no_answer)
    if fault is None:
        return Listening(api_url)
    if not named_url and fault != REFUSES_CREDENTIALS:
        return Listening(None)
    return Listening(None, f"Prefect server {api_url} is not used ({fault})")


def use(api_url: str) -> None:
    """Makes Prefect, when it is imported later, talk to `api_url`, with the credentials that were tried there."""
    os.environ["PREFECT_API_URL"] = api_url
    for name, value in CLIENT_DEFAULTS.items():
        os.environ.setdefault(name, value)
    use_credentials()


def use_credentials() -> None:
    """Makes Prefect's client, imported later, give the credentials that a server with the same settings asks for."""
    server_side = _setting("PREFECT_SERVER_API_AUTH_STRING")
    if server_side and not _setting("PREFECT_API_AUTH_STRING"):
        os.environ["PREFECT_API_AUTH_STRING"] = server_side


def fault_of(api_url: str, timeout_s: float = PROBE_TIMEOUT_S) -> str | None:
    """Why what answers at `api_url` cannot be used; None for a Prefect server that takes the credentials."""
    try:
        body = _get(f"{api_url}/health", timeout_s)
        if body.strip() != b"true":
            return "what answers there is not a Prefect server"
        # /health asks for no credentials, every other route does
        _get(f"{api_url}/admin/version", timeout_s)
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            return REFUSES_CREDENTIALS
        return None if error.url.endswith("/admin/version") else f"it answers HTTP {error.code}"
    except (OSError, ValueError, http.client.HTTPException) as error:
        return str(getattr(error, "reason", error)) or type(error).__name__
    return None


def _get(url: str, timeout_s: float) -> bytes:
    request = urllib.request.Request(url, headers=_credentials())
    with urllib.request.urlopen(request, timeout=timeout_s) as response:
        return bytes(response.read(1000))


def _credentials() -> dict[str, str]:
    if auth_string := _setting("PREFECT_API_AUTH_STRING") or _setting("PREFECT_SERVER_API_AUTH_STRING"):
        return {"Authorization": f"Basic {base64.b64encode(auth_string.encode()).decode()}"}
    if key := _setting("PREFECT_API_KEY"):
        return {"Authorization": f"Bearer {key}"}
    return {}


def _setting(name: str) -> str | None:
    value = os.environ.get(name) or _active_profile().get(name)
    return str(value) if value else None


def _active_profile() -> dict[str, Any]:
    path = Path(os.environ.get("PREFECT_PROFILES_PATH") or prefect_home() / "profiles.toml").expanduser()
    try:
        profiles = tomllib.loads(path.read_text(encoding="utf-8"))
        active = os.environ.get("PREFECT_PROFILE") or profiles.get("active")
        return dict(profiles["profiles"][active])
    except (OSError, ValueError, KeyError, TypeError):
        # no profile; what Prefect has to say about a broken file it says itself
        return {}


def prefect_home() -> Path:
    """The directory of Prefect's database and profiles. Raises RefusedError for a user without a home."""
    try:
        return Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser()
    except RuntimeError:
        raise RefusedError("this user has no home folder, and a run keeps its records there", _WAY_OUT) from None


class OwnServer:
    """A Prefect server for one run, on loopback, recording into the user's normal Prefect database.

    It lives in its own session, so Ctrl-C in the terminal does not reach it, and ends when its stdin does:
    within 2 s of `stop()` or of the run's death, however that came.
    """

    def __init__(self, child: subprocess.Popen[bytes], api_url: str, log_path: Path, log_begins: int = 0) -> None:
        self._child = child
        self.api_url = api_url
        self.log_path = log_path
        self._log_begins = log_begins

    @classmethod
    def start(cls, log_path: Path | None = None) -> OwnServer:
        """Starts the server and makes Prefect, imported from now on, use it; takes some 10 ms.

        The address accepts connections at once and answers when the server is up. `log_path` (default
        `$PREFECT_HOME/migrate-server.log`) gets what the server writes. Raises RefusedError where its folder cannot be
        written, OSError when the server cannot be started.
        """
        log_path = log_path or _default_log()
        with _opened_log(log_path) as log, socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
            log_begins = os.fstat(log.fileno()).st_size
            api_url = f"http://127.0.0.1:{listening.getsockname()[1]}/api"
            child = _start_child(listening.fileno(), api_url, log)
        use(api_url)
        if auth_string := _setting("PREFECT_SERVER_API_AUTH_STRING"):
            os.environ["PREFECT_API_AUTH_STRING"] = auth_string
        _bypass_proxies_for_loopback()
        return cls(child, api_url, log_path, log_begins)

    @property
    def alive(self) -> bool:
        """Whether the server's program still runs."""
        return self._child.poll() is None

    def wait_until_healthy(self, timeout_s: float = 60.0) -> None:
        """Returns when the server answers; raises ServerStartError when it died or `timeout_s` passed."""
        try:
            # one request that waits in the listening socket's queue; it is cut off when the server dies
            _get(f"{self.api_url}/health", timeout_s)
        except (OSError, http.client.HTTPException) as error:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(1.0)
            code = self._child.poll()
            fault = f"did not answer within {timeout_s:g} s ({error})" if code is None else f"ended with code {code}"
            raise ServerStartError(fault + self._last_words(), self.log_path) from error

    def _last_words(self) -> str:
        """Why the server ended, as far as it could say so: behind its error come lines that help nobody."""
        with contextlib.suppress(OSError):
            if shutil.disk_usage(self.log_path.parent).free < _FULL_BYTES:
                return f", because there is no room left for {self.log_path.parent}"
            with self.log_path.open("rb") as log:
                log.seek(max(self._log_begins, os.fstat(log.fileno()).st_size - _TAIL_BYTES))
                lines = log.read().decode(errors="replace").split("\n")
            said = [line for line in lines if line.strip()]
            if last := next(filter(_SAYS_WHY.match, reversed(said)), said[-1] if said else None):
                return f" ({last.strip()})"
        return ""

    def stop(self) -> None:
        """Ends the server, politely first; it is gone within 4 s. Does nothing the second time."""
        if self._child.stdin:
            self._child.stdin.close()
        try:
            self._child.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()


def server_of_run(warn: Callable[[str], object]) -> OwnServer | None:
    """The server of a run: one that listens already (None), or its own. Both before Prefect is imported.

    `warn` is told why one that was named is not used.
    """
    found = listening_server()
    if found.warning:
        warn(f"{found.warning}; this run starts its own")
    if found.api_url is None:
        return OwnServer.start()
    use(found.api_url)
    return None


def use_shared_server() -> None:
    """Afterwards Prefect, imported later, talks to the server that listens already: for what only that one can do.
    Raises RefusedError where none answers in 10 s."""
    found = listening_server(_SHARED_TIMEOUT_S)
    if found.api_url is None:
        raise RefusedError(
            f"{found.warning or 'no Prefect server answers'}, and other machines are reached through theirs",
            "set PREFECT_API_URL, and PREFECT_API_AUTH_STRING where it asks for one",
        )
    use(found.api_url)


def refuse_without_records() -> None:
    """Raises RefusedError where `server_of_run` would: for whoever makes something before it starts a server."""
    if listening_server().api_url is None:
        _opened_log(_default_log()).close()


def _default_log() -> Path:
    return prefect_home() / "migrate-server.log"


def _opened_log(log_path: Path) -> BinaryIO:
    """The log, open at its end. Raises RefusedError: where it cannot be written Prefect's database cannot be either."""
    try:
        log_path.parent.mkdir(parents=True, exist_ok=True)
        outgrown = log_path.exists() and log_path.stat().st_size > LOG_LIMIT_BYTES
        return log_path.open("wb" if outgrown else "ab")
    except OSError as error:
        where = log_path if os.path.exists(log_path) else log_path.parent
        fault = f"{where} cannot be written ({error.strerror}), and a run keeps its records there"
        raise RefusedError(f"{fault}; nothing was changed", _WAY_OUT) from error


def _start_child(listening_fd: int, api_url: str, log: BinaryIO) -> subprocess.Popen[bytes]:
    # -P: this package's module names must not hide top-level ones
    command = [sys.executable, "-P", str(Path(__file__).with_name("own_server_child.py").resolve()), str(listening_fd)]
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        pass_fds=[listening_fd],
        start_new_session=True,
        env={**os.environ, **OWN_SERVER_SETTINGS, "PREFECT_API_URL": api_url},
    )


def _bypass_proxies_for_loopback() -> None:
    exempt = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    if "127.0.0.1" not in exempt.split(","):
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = f"{exempt},127.0.0.1".lstrip(",")


@contextlib.contextmanager
def without_heartbeats() -> Iterator[None]:
    """For a flow run on the run's own server, where nobody watches: a flow's end waits 1 s for its heartbeat.

    Imports Prefect. Not for a server that listens: there a heartbeat that stays out tells of a killed run.
    """
    # not in CLIENT_DEFAULTS: no value of its environment variable means none
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield


def within(timeout_s: float, call: Callable[[], T], otherwise: T) -> T:
    """What `call` returns, or `otherwise` when it raised or took longer (it then goes on in the background)."""
    results: list[T] = []

    def run() -> None:
        with contextlib.suppress(Exception):
            results.append(call())

    # copied: Prefect keeps temporary settings in context variables
    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,), daemon=True)
    thread.start()
    thread.join(timeout_s)
    return results[0] if results else otherwise
