"""`python -m deployments.machine`: this machine's worker, on a Prefect server that several machines share.

A database is migrated where its file is. So each machine has a work queue and deployments of its own, named after it
(`migrate/<machine>`), and only its worker takes what is in its queue. SIGTERM first cancels the runs under way.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from deployments.children import Child
from flows.server import CLIENT_DEFAULTS, REFUSES_CREDENTIALS, fault_of, prefect_home
from migrator.signals import end_as_ctrl_c_does

POOL = "migrations"
WAITED_OUT = {
    # While PostgreSQL restarts the server answers 500, which Prefect does not try again by itself.
    "PREFECT_CLIENT_RETRY_EXTRA_CODES": "500",
    "PREFECT_SERVER_ANALYTICS_ENABLED": CLIENT_DEFAULTS["PREFECT_SERVER_ANALYTICS_ENABLED"],
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": CLIENT_DEFAULTS["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"],
}
"""Settings of the worker and its runs: nobody waits for them, so they wait for the server, a minute by default."""
_PROBE_TIMEOUT_S = 10.0
_WORKER_LIVES_S = 10.0
"""A worker that dies earlier than that would die again; systemd tries more slowly."""
_ROOT = Path(__file__).resolve().parents[1]


class NotStartedError(Exception):
    """Why there is no worker; `exit_code` is 2 where somebody must act first, 1 where another try may do."""

    def __init__(self, fault: str, exit_code: int) -> None:
        super().__init__(fault)
        self.exit_code = exit_code


def main(arguments: Sequence[str]) -> int:
    """Works until it is told to stop; returns 0, 2 where somebody must act first, 1 where another try may do."""
    parser = argparse.ArgumentParser(prog="python -m deployments.machine", description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "--name",
        default=socket.gethostname(),
        help="Of the work queue, the deployments and the worker; default: %(default)s.",
    )
    name = parser.parse_args(arguments).name
    end_as_ctrl_c_does()
    try:
        _refuse_without_server()
        with _the_only_one(name):
            return _work(name)
    except NotStartedError as error:
        print(f"python -m deployments.machine: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 0


def _work(name: str) -> int:
    for setting, value in WAITED_OUT.items():
        os.environ.setdefault(setting, value)
    # Two seconds of imports, only now.
    from deployments import automations, on_machine, runs

    on_machine.deploy(name, POOL, _ROOT)
    automations.make(os.environ.get(automations.NOTIFY_VARIABLE), name)
    while True:
        for said in on_machine.end_left_over(name, POOL):
            print(said, file=sys.stderr, flush=True)
        words = ["worker", "start", "--pool", POOL, "--type", "process", "--work-queue", name, "--name", name]
        worker = Child(words)
        try:
            worker.wait()
        except KeyboardInterrupt:
            runs.end_runs(POOL, f"the worker of {name} was stopped", queue=name)
            return 0
        finally:
            worker.stop()
        if worker.age_s < _WORKER_LIVES_S:
            raise NotStartedError("the worker ended at once; what it said stands above", 1)
        print("the worker has ended; starting another", file=sys.stderr, flush=True)


def _refuse_without_server() -> None:
    api_url = os.environ.get("PREFECT_API_URL")
    if not api_url:
        raise NotStartedError("PREFECT_API_URL names no server; set it to http://SERVER:4200/api", 2)
    fault = fault_of(api_url.rstrip("/"), _PROBE_TIMEOUT_S)
    if fault == REFUSES_CREDENTIALS:
        raise NotStartedError(
            f"{api_url}: {fault}; set PREFECT_API_AUTH_STRING to the server's PREFECT_SERVER_API_AUTH_STRING", 2
        )
    if fault is not None:
        raise NotStartedError(f"the Prefect server {api_url} cannot be used ({fault}); try again", 1)


@contextmanager
def _the_only_one(name: str) -> Iterator[None]:
    """Holds the lock of the machine `name`."""
    path = prefect_home() / f"machine-{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NotStartedError(f"the worker of {name} runs already; it holds {path}", 2) from None
        yield
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
