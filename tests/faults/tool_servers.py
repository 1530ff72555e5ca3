"""The servers of `tests/tool_servers`, as the option names them, and which of their programs are left."""

import os
import shlex
import socket
import sys
from contextlib import suppress
from pathlib import Path

SERVERS = Path(__file__).parents[1] / "tool_servers"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def over_stdio(fault: str, mark: Path, *prefix: str) -> str:
    """The command; `mark` is a path that no other program has among its arguments, and the faulty ones open it."""
    return shlex.join([*prefix, sys.executable, str(SERVERS / "stdio_server.py"), fault, str(mark)])


def over_http(fault: str, mark: Path, *prefix: str) -> str:
    port = free_port()
    command = shlex.join([*prefix, sys.executable, str(SERVERS / "http_server.py"), str(port), fault, str(mark)])
    return f"http://127.0.0.1:{port} {command}"


def programs_with(mark: Path) -> list[int]:
    """Of all processes those that have `mark` among their arguments, this one and what has ended aside."""
    found = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with suppress(OSError):
            if str(mark).encode() in Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0"):
                found.append(int(name))
    return [program for program in found if program != os.getpid()]
