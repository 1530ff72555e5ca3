"""The application's own tool server, started on a copy: what the operator asks for, and the programs while they run."""

from __future__ import annotations

import importlib.util
import io
import ipaddress
import os
import re
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from migrator.commands import command
from migrator.errors import RefusedError

MCP_REQUIREMENT = "mcp>=1.12,<2"
_GUARD = Path(__file__).with_name("guard.py")
_GUARD_ENDS_S = 5.0
"""The guard asks politely for 1 s and then kills: one that takes longer does not do its work."""
_KEPT_LINES, _KEPT_BYTES = 20, 8192
_CONNECT_S, _LAST_WORDS_S = 0.5, 0.5
_GROUP_ENDS_S, _PAUSE_S = 1.0, 0.005


@dataclass(frozen=True)
class ToolServer:
    """`command` starts it; `url` is where it then answers JSON-RPC, None for MCP over its stdin and stdout."""

    command: tuple[str, ...]
    url: str | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of `url`."""
        parts = urlsplit(self.url or "")
        return parts.hostname or "", parts.port or 0

    def __str__(self) -> str:
        return " ".join(filter(None, (self.url, shlex.join(self.command))))


def parse_tool_server(text: str) -> ToolServer:
    """`COMMAND...`: MCP over stdio; `http://HOST:PORT COMMAND...`: JSON-RPC at http://HOST:PORT/jsonrpc.

    Raises RefusedError for anything else, above all for an address without a command: that server runs already, on
    live perhaps.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise RefusedError(f"{text!r} is no command ({error})", "quote it as for a shell") from None
    url = words.pop(0) if words and "://" in words[0] else None
    if url is not None and not _is_loopback(url):
        raise RefusedError(f"{url} is no address of a server on this machine", "give http://127.0.0.1:PORT COMMAND")
    if not words:
        raise RefusedError(
            f"{url or 'nothing'} alone starts no server; one that runs already may have live open",
            f"give the command that starts it too, for example '{url or 'http://127.0.0.1:PORT'} python server.py'",
        )
    return ToolServer(tuple(words), url)


def _is_loopback(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host, named = parts.hostname or "", parts.hostname == "localhost"
        is_local = named or ipaddress.ip_address(host).is_loopback
        return parts.scheme == "http" and is_local and bool(parts.port) and parts.path.rstrip("/") in ("", "/jsonrpc")
    except ValueError:
        return False


def refuse_what_cannot_start(server: ToolServer) -> None:
    """Raises RefusedError where the program is missing, the `mcp` package, or where something listens already."""
    if shutil.which(server.command[0]) is None:
        raise RefusedError(f"there is no program {server.command[0]!r}", "give its path")
    if server.url is None and importlib.util.find_spec("mcp") is None:
        raise mcp_missing()
    if server.url is not None and is_reachable(*server.address):
        raise RefusedError(
            f"something listens at {server.url} already, a server on live perhaps", "give another port, or stop it"
        )


def mcp_missing() -> RefusedError:
    """The refusal for a server that speaks MCP where the official package is not installed."""
    install = command(sys.executable, "-m", "pip", "install", MCP_REQUIREMENT)
    return RefusedError("a server that speaks MCP over stdio needs the Python package mcp", install)


def is_reachable(host: str, port: int) -> bool:
    """Whether something accepts connections there, within half a second."""
    try:
        socket.create_connection((host, port), timeout=_CONNECT_S).close()
    except OSError:
        return False
    return True


class RunningServer:
    """The programs of a server, in a process group and session of their own.

    They end with `end`, and by themselves within 1 s of the death of this program, however that came.
    """

    def __init__(self, guard: subprocess.Popen[bytes], life: int, told: int) -> None:
        self._guard, self._life, self._told = guard, life, told
        self._exit: str | None = None
        self._said = bytearray()
        # With stdin there is a conversation on stdout; else both streams are for people.
        noise = (guard.stderr if guard.stdin else guard.stdout) or io.BytesIO()
        self._listener = threading.Thread(target=self._listen, args=(noise,), daemon=True)
        self._listener.start()

    @property
    def group(self) -> int:
        """The number of the process group, this run's own until `end` has returned."""
        return self._guard.pid

    @property
    def streams(self) -> tuple[IO[bytes], IO[bytes]]:
        """stdin and stdout of a server that is spoken to over them."""
        if self._guard.stdin is None or self._guard.stdout is None:
            raise ValueError("this server is spoken to over HTTP")
        return self._guard.stdin, self._guard.stdout

    @property
    def last_lines(self) -> tuple[str, ...]:
        """The end of what it wrote for people: at most 20 lines, of 8 KiB, as it wrote them.

        Of lines in a row that differ in digits alone, such as one for each request, only the last.
        """
        if self.ended():
            self._listener.join(_LAST_WORDS_S)
        said = bytes(self._said)
        # Of a line whose beginning is gone nobody can say what it quotes.
        whole = said if len(said) < _KEPT_BYTES else said.partition(b"\n")[2]
        lines = whole.decode(errors="replace").splitlines()
        kept = [list(alike)[-1] for _, alike in groupby(lines, lambda line: re.sub(r"\d+", "0", line))]
        return tuple(kept[-_KEPT_LINES:])

    def ended(self, within_s: float = 0.0) -> str | None:
        """How the command ended, `within_s` seconds at the latest; None while it runs."""
        if self._exit is None and select.select([self._told], [], [], within_s)[0]:
            # Nothing but the end of the pipe: the guard itself was killed.
            code = os.read(self._told, 100).decode().strip() or f"-{signal.SIGKILL}"
            name = signal.Signals(-int(code)).name if int(code) < 0 else ""
            self._exit = f"was ended by {name}" if name else f"ended with code {code}"
        return self._exit

    def kill(self) -> None:
        """Ends all of its programs at once; `end` must still be called."""
        with suppress(ProcessLookupError):
            os.killpg(self.group, signal.SIGKILL)

    def end(self) -> None:
        """Ends all of its programs, politely for 1 s; none is left of the group when this returns."""
        with suppress(OSError):
            os.close(self._life)
        until = time.monotonic() + _GUARD_ENDS_S
        # The guard's end of the pipe closes with the guard, which is not waited for yet: its number is still its own.
        while (left := until - time.monotonic()) > 0 and select.select([self._told], [], [], left)[0]:
            if not os.read(self._told, 100):
                break
        self.kill()
        self._guard.wait()
        self._wait_for_group()
        os.close(self._told)
        self._listener.join(_GUARD_ENDS_S)
        for stream in (self._guard.stdin, self._guard.stdout, self._guard.stderr):
            if stream is not None:
                with suppress(OSError):
                    stream.close()

    def _wait_for_group(self) -> None:
        """A killed program may hold its port for a moment; a zombie that nobody waits for counts as one for ever."""
        until = time.monotonic() + _GROUP_ENDS_S
        with suppress(ProcessLookupError):
            while time.monotonic() < until:
                os.killpg(self.group, 0)
                time.sleep(_PAUSE_S)

    def _listen(self, stream: IO[bytes]) -> None:
        """Takes whatever it says, so that it never waits for a reader, and keeps the end."""
        with suppress(OSError, ValueError):
            while data := os.read(stream.fileno(), 65536):
                self._said += data
                del self._said[:-_KEPT_BYTES]


@contextmanager
def started(server: ToolServer, environment: Mapping[str, str]) -> Iterator[RunningServer]:
    """The server while the block lasts; every program of its group is gone afterwards.

    The guard between it and this program ends the group when this program is gone: PR_SET_PDEATHSIG would end only the
    direct child, and also when merely the thread that started it ends (prctl(2)).
    """
    lives, life = os.pipe()
    told, tells = os.pipe()
    try:
        guard = subprocess.Popen(  # noqa: S603 - the operator's own command
            [sys.executable, "-I", "-S", str(_GUARD), str(lives), str(tells), *server.command],
            stdin=subprocess.DEVNULL if server.url else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if server.url else subprocess.PIPE,
            bufsize=0,
            env=dict(environment),
            pass_fds=[lives, tells],
            start_new_session=True,
        )
    except BaseException:
        os.close(life)
        os.close(told)
        raise
    finally:
        os.close(lives)
        os.close(tells)
    running = RunningServer(guard, life, told)
    try:
        yield running
    finally:
        running.end()
