"""`make ui`, `python -m deployments.ui`: one machine's Prefect server with its UI, a worker and the deployments.

All on loopback, until Ctrl-C or SIGTERM. The runs are recorded in the same place as those of the command line, which
finds this server by itself.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from deployments.children import Child, ChildError
from flows.announced import announced
from flows.request import real_file
from flows.server import CLIENT_DEFAULTS, OWN_SERVER_SETTINGS, fault_of, prefect_home, use_credentials
from migrator.signals import end_as_ctrl_c_does

DEFAULT_PORT = 4200
POOL = "migrations"
_ROOT = Path(__file__).resolve().parents[1]
_HEALTHY_WITHIN_S = 120.0
_LOOK_EVERY_S = 0.2
_WORKER_LIVES_S = 10.0
"""A worker that dies earlier than that would die again."""


class RefusedToStart(Exception):
    """Something is in the way; nothing was started or all of it was stopped again."""


def main(arguments: Sequence[str]) -> int:
    """Serves until it is told to stop; returns 0, 2 where something is in the way, 1 where the server died."""
    options = _parse(arguments)
    end_as_ctrl_c_does()
    try:
        database = _existing(options.database)
        with announced(prefect_home(), _url(options.port)) as other:
            if other is not None:
                raise RefusedToStart(f"it runs already: {_page(other)}; end that one first, or use it")
            _refuse_taken(options.port)
            return _serve(options.port, database, options.notify)
    except RefusedToStart as error:
        print(f"python -m deployments.ui: {error}", file=sys.stderr)
        return 2
    except ChildError as error:
        print(f"python -m deployments.ui: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deployments.ui", description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "--database",
        type=Path,
        metavar="PATH",
        help="The database of all deployments; their schedules are switched on. Without it they stay as they are.",
    )
    parser.add_argument(
        "--port",
        type=int,
        default=int(os.environ.get("PREFECT_SERVER_API_PORT") or DEFAULT_PORT),
        metavar="N",
        help=f"Default: $PREFECT_SERVER_API_PORT, else {DEFAULT_PORT}.",
    )
    parser.add_argument(
        "--notify",
        metavar="URL",
        default=os.environ.get("LTMC_NOTIFY_URL"),
        help="Where failures and recoveries are told: a POST with JSON. Default: $LTMC_NOTIFY_URL, which no list of "
        "processes shows. It stays set until another one is given.",
    )
    return parser.parse_args(arguments)


def _existing(database: Path | None) -> Path | None:
    if database is None:
        return None
    real = real_file(database)
    if not real.is_file():
        raise RefusedToStart(f"no database at {real}; give its path with --database, or leave that out")
    return real


def _refuse_taken(port: int) -> None:
    try:
        with socket.create_server(("127.0.0.1", port)):
            return
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise RefusedToStart(
                f"port {port} cannot be used ({error.strerror}); choose another with --port"
            ) from error
    if fault_of(_url(port)) is None:
        raise RefusedToStart(
            f"another Prefect server has port {port}, and migrations use it already; end it, or choose another port "
            "with --port"
        )
    raise RefusedToStart(f"another program has port {port}; choose another with --port")


def _serve(port: int, database: Path | None, notify: str | None) -> int:
    # For Prefect here, where it is not imported yet, and in the children; the runs are the worker's children.
    os.environ["PREFECT_API_URL"] = _url(port)
    use_credentials()
    for name in ("PREFECT_SERVER_ANALYTICS_ENABLED", "PREFECT_FLOWS_HEARTBEAT_FREQUENCY"):
        os.environ.setdefault(name, CLIENT_DEFAULTS[name])
    logs = prefect_home()
    print(f"starting Prefect's server, a worker and the deployments; what they say is in {logs}/ui-*.log", flush=True)
    with contextlib.ExitStack() as running:
        words = ("server", "start", "--host", "127.0.0.1", "--port", str(port))
        server = Child(words, logs / "ui-server.log", OWN_SERVER_SETTINGS)
        running.callback(server.stop)
        # Two seconds, while the server starts.
        from deployments import automations, runs, setting_up

        _await_health(server, port)
        setting_up.make_pool(POOL)
        setting_up.deploy(_ROOT, logs / "ui-deploy.log", database)
        automations.make(notify)
        worker = _worker(logs)
        running.callback(lambda: worker.stop())
        print(f"\n  {_page(_url(port))}\n", flush=True)
        print(_about(database), "Ctrl-C ends it.", sep="\n", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                time.sleep(_LOOK_EVERY_S)
                if not server.alive:
                    raise ChildError(f"Prefect's server has ended; its output is in {server.log}")
                if not worker.alive:
                    worker = _another(worker, logs)
        print("stopping", flush=True)
        runs.end_runs(POOL, "make ui was stopped")
    print("stopped", flush=True)
    return 0


def _worker(logs: Path) -> Child:
    # Of Prefect's own it looks for runs every 10 s; for one on this machine that is a long time after a click.
    settings = {"PREFECT_WORKER_QUERY_SECONDS": "2"}
    words = ("worker", "start", "--pool", POOL, "--type", "process", "--name", "ui")
    return Child(words, logs / "ui-worker.log", settings)


def _another(worker: Child, logs: Path) -> Child:
    if worker.age_s < _WORKER_LIVES_S:
        raise ChildError(f"the worker ended at once; its output is in {worker.log}")
    print("the worker has ended; starting another", file=sys.stderr, flush=True)
    return _worker(logs)


def _about(database: Path | None) -> str:
    if database is None:
        return "No database was given: choose it in the run form; the schedules stay as they are."
    return f"All deployments work on {database}, and their schedules are on."


def _await_health(server: Child, port: int) -> None:
    deadline = time.monotonic() + _HEALTHY_WITHIN_S
    while fault_of(_url(port)) is not None:
        if not server.alive:
            raise ChildError(f"Prefect's server ended at once; its output is in {server.log}")
        if time.monotonic() > deadline:
            raise ChildError(f"Prefect's server does not answer; its output is in {server.log}")
        time.sleep(0.1)


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}/api"


def _page(api_url: str) -> str:
    return api_url.removesuffix("/api")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
