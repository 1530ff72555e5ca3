"""Runs a command for as long as the program that asked for it lives; `migrator.tool_server.server` starts it.

Arguments: the end of a pipe whose other end that program holds, a pipe for the command's exit code, the command. When
the first one closes, every program of the process group is ended. Runs as a file and imports nothing of the project.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

POLITE_S = 1.0
NOT_STARTED = 127
"""As a shell says it."""


def main(lives: int, tells: int, command: list[str]) -> None:
    """Never returns: it is ended with the group."""
    # SIGTERM is sent to the whole group below. A handler, because what is ignored would be so in the command as well.
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    children: list[subprocess.Popen[bytes]] = []
    ended = threading.Event()
    threading.Thread(target=_run, args=(command, tells, children, ended), daemon=True).start()
    while os.read(lives, 1):
        pass
    os.killpg(0, signal.SIGTERM)
    if not ended.wait(POLITE_S):
        # The command first, and waited for: what it listens at is free again when the guard is gone.
        for child in children:
            child.kill()
        ended.wait(POLITE_S)
    os.killpg(0, signal.SIGKILL)


def _run(command: list[str], tells: int, children: list[subprocess.Popen[bytes]], ended: threading.Event) -> None:
    try:
        child = subprocess.Popen(command)  # noqa: S603 - the operator's own command
        children.append(child)
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
        code = NOT_STARTED
    else:
        _let_go_of_streams()
        code = child.wait()
    _let_go_of_streams()
    ended.set()
    os.write(tells, f"{code}\n".encode())


def _let_go_of_streams() -> None:
    """Whoever reads the command's output sees its end when the command ends."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
