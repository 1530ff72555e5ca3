"""`python -m deployments.machine`: this machine's worker, on a Prefect server that several machines share.

A database is migrated where its file is. So each machine has a work queue and deployments of its own, named after it
(`migrate/<machine>`), and only its worker takes what is in its queue.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from flows.server import REFUSES_CREDENTIALS, fault_of, prefect_home

POOL = "migrations"
WAITED_OUT = {
    # While PostgreSQL restarts the server answers 500, which Prefect does not try again by itself.
    "PREFECT_CLIENT_RETRY_EXTRA_CODES": "500",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}
"""Settings of the worker and its runs: nobody waits for them, so they wait for the server, a minute by default."""
_PROBE_TIMEOUT_S = 10.0
_ROOT = Path(__file__).resolve().parents[1]


class NotStartedError(Exception):
    """Why there is no worker; `exit_code` is 2 where somebody must act first, 1 where another try may do."""

    def __init__(self, fault: str, exit_code: int) -> None:
        super().__init__(fault)
        self.exit_code = exit_code


def main(arguments: Sequence[str]) -> int:
    """Becomes the worker. Returns 2 where somebody must act first, 1 where the server does not answer."""
    parser = argparse.ArgumentParser(prog="python -m deployments.machine", description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "--name",
        default=socket.gethostname(),
        help="Of the work queue, the deployments and the worker; default: %(default)s.",
    )
    name = parser.parse_args(arguments).name
    try:
        _refuse_without_server()
        _be_the_only_one(name)
    except NotStartedError as error:
        print(f"python -m deployments.machine: {error}", file=sys.stderr)
        return error.exit_code
    for setting, value in WAITED_OUT.items():
        os.environ.setdefault(setting, value)
    # Two seconds of imports, only now.
    from deployments import on_machine

    on_machine.deploy(name, POOL, _ROOT)
    for said in on_machine.end_left_over(name, POOL):
        print(said, file=sys.stderr, flush=True)
    words = ["-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process"]
    os.execv(sys.executable, [sys.executable, *words, "--work-queue", name, "--name", name])  # noqa: S606


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


def _be_the_only_one(name: str) -> None:
    """Afterwards this program, and the worker that it becomes, holds the lock of the machine `name`."""
    path = prefect_home() / f"machine-{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise NotStartedError(f"the worker of {name} runs already; it holds {path}", 2) from None
    os.set_inheritable(descriptor, True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
