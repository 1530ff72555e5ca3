"""An S3-compatible store on this machine, and a way to it that can break; nothing here leaves the machine."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from moto.server import ThreadedMotoServer

ACCESS_KEY, SECRET_KEY = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
"""The example of docs.aws.amazon.com."""


@contextmanager
def small_s3() -> Iterator[tuple[str, int]]:
    """Where a store listens that has no bucket yet."""
    # It would write a line to stderr for each request.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield server.get_host_and_port()
    finally:
        server.stop()


class BreakingWay:
    """A port that leads to a server until `bytes_left` went either way; then it is as if the server had died."""

    def __init__(self, server: tuple[str, int], bytes_left: int) -> None:
        self.bytes_left = bytes_left
        self._server, self._open = server, []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
                far = socket.create_connection(self._server)
            except OSError:
                return
            self._open += [near, far]
            for ends in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=ends, daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self.bytes_left -= len(data)
                if self.bytes_left < 0:
                    break
                target.sendall(data)
        if self.bytes_left < 0:
            self.close()
        else:
            target.close()

    def close(self) -> None:
        """Nobody listens any more, and every connection is cut."""
        for one in (self._listening, *self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


@contextmanager
def answering(status: int, code: str, message: str) -> Iterator[int]:
    """The port of a store that has nothing and answers every attempt to put something there with this error."""
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self, status: int, content: bytes) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_PUT(self) -> None:
            self._answer(status, body)

        def do_GET(self) -> None:
            self._answer(404, body.replace(code.encode(), b"NoSuchKey"))

        def do_HEAD(self) -> None:
            self._answer(404, b"")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
