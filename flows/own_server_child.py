"""The program of the Prefect server that a run starts for itself; `flows.server.OwnServer` starts it.

Its one argument is the number of an inherited listening socket; it serves Prefect's API there until its stdin
ends. Runs as a file, outside any package, so that it imports nothing but Prefect.
"""

from __future__ import annotations

import gc
import os
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import uvicorn

POLITE_S = 1.5


def main(listening_fd: int) -> None:
    """Serves until stdin ends, then records what it has received; ended at the latest 1.5 s later."""
    servers: list[uvicorn.Server] = []
    threading.Thread(target=_end_with_stdin, args=(servers,), daemon=True).start()
    server = _make_server()
    servers.append(server)
    server.run(sockets=[socket.socket(fileno=listening_fd)])


def _end_with_stdin(servers: list[uvicorn.Server]) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    for server in servers:
        server.should_exit = True
        time.sleep(POLITE_S)
    os._exit(0)


def _make_server() -> uvicorn.Server:
    # a third of the start would go to collecting garbage that importing Prefect does not make
    gc.disable()
    import uvicorn
    from prefect.server.api.server import create_app

    # ephemeral: no UI and no scheduler, but the services that record events and task runs
    app = create_app(ephemeral=True)
    gc.freeze()
    gc.enable()
    config = uvicorn.Config(app, lifespan="on", loop="asyncio", log_level="error", timeout_graceful_shutdown=1)
    return uvicorn.Server(config)


if __name__ == "__main__":
    main(int(sys.argv[1]))
