"""The programs of a process group, and what they have open: from /proc, which only Linux has (proc_pid_fd(5))."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_LISTENING = "0A"


def programs_of(group: int) -> Iterator[int]:
    """Their numbers; none where the system does not list them."""
    with suppress(FileNotFoundError):
        for name in filter(str.isdecimal, os.listdir("/proc")):
            # One that ends just now may leave an empty text.
            with suppress(OSError, IndexError):
                # proc_pid_stat(5): the name in parentheses may hold anything; state, ppid and pgrp come after it.
                fields = Path(f"/proc/{name}/stat").read_bytes().rpartition(b")")[2].split()
                if int(fields[2]) == group:
                    yield int(name)


def opened_by(program: int) -> Iterator[str]:
    """The paths of its open files, and the names of its sockets and pipes; none of a program that has ended."""
    with suppress(OSError):
        for name in os.listdir(f"/proc/{program}/fd"):
            with suppress(OSError):
                yield os.readlink(f"/proc/{program}/fd/{name}")


def listens(group: int, port: int) -> bool:
    """Whether one of them, and not a program of somebody else, listens at the port; True where nobody can say."""
    sockets: set[str] = set()
    for table in map(Path, ("/proc/net/tcp", "/proc/net/tcp6")):
        if not table.exists():
            continue
        for fields in map(str.split, table.read_text(encoding="ascii").splitlines()[1:]):
            # proc_pid_net(5): the second field is the local address, then remote address, state, .., and inode
            if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                sockets.add(f"socket:[{fields[9]}]")
    names = {name for program in programs_of(group) for name in opened_by(program)}
    return not Path("/proc/net/tcp").exists() or bool(names & sockets)
