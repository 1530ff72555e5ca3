"""A small web server that keeps what it is told; one more kind of place where notifications go."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.deployments.servers import await_that


@dataclass
class Told:
    """What it was told at `url`."""

    url: str
    messages: list[dict[str, Any]] = field(default_factory=list)

    def of(self, database: object, word: str) -> dict[str, Any]:
        """The message about `database` with `word` in it, as soon as it has come."""
        found: dict[str, Any] = await_that(
            lambda: next((m for m in self.messages if str(database) in m["run"] and word in m["text"]), None),
            f"a message about {database} says {word!r}; there are {self.messages}",
        )
        return found


@contextmanager
def told_at() -> Iterator[Told]:
    class Listener(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Listener)
    found = Told(f"http://127.0.0.1:{server.server_port}/secret-path")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
