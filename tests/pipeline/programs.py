"""The command line as a program of its own, and waiting for what it does. Imports nothing of Prefect."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

PATIENCE_S = 60.0
"""For events that come at once on a quiet machine."""


@dataclass
class Program:
    """A program under way; what it writes to stderr is in a file."""

    child: subprocess.Popen[bytes]
    events: int
    stderr_file: Path

    @property
    def stderr(self) -> str:
        return self.stderr_file.read_text(errors="replace")

    def reaches(self, word: str) -> None:
        """Returns when the program has said `word`."""
        said = b""
        while f"{word}\n".encode() not in said:
            ready, _, _ = select.select([self.events], [], [], PATIENCE_S)
            data = os.read(self.events, 1000) if ready else b""
            assert data, f"did not reach {word}, only {said!r}: {self.stderr}"
            said += data

    def send(self, number: int) -> None:
        os.kill(self.child.pid, number)

    def send_to_all(self, number: int) -> None:
        """As Ctrl-C in a terminal does: to every process of the session's foreground group."""
        os.killpg(self.child.pid, number)

    def ends(self) -> tuple[int, dict[str, Any]]:
        """The exit code and the JSON object on stdout, when stdout's last writer has gone."""
        stdout, _ = self.child.communicate(timeout=PATIENCE_S)
        assert stdout, self.stderr
        return self.child.returncode, json.loads(stdout)


@contextlib.contextmanager
def started(arguments: list[str], tmp_path: Path, module: str, **settings: str | None) -> Iterator[Program]:
    """`python -m module arguments` in a session of its own; killed at the end, where it is still there."""
    reading, writing = os.pipe()
    stderr_file = tmp_path / f"stderr-{reading}"
    environment = {**os.environ, "EVENTS_FD": str(writing), "PYTHONPATH": str(ROOT), **settings}
    with stderr_file.open("wb") as stderr:
        child = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env={name: value for name, value in environment.items() if value is not None},
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            pass_fds=[writing],
            start_new_session=True,
        )
    os.close(writing)
    try:
        yield Program(child, reading, stderr_file)
    finally:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()
        os.close(reading)


def stopping(moments: str, database: Path, *arguments: str, **settings: str | None) -> Any:
    """A migration of `database` that stops at `moments`."""
    return started(
        # On a machine that stalls for a moment the small demo would go online.
        [moments, "--max-lock-ms", "60000", "--database", str(database), "--json", *arguments],
        database.parent,
        "tests.pipeline.stopping_run",
        **settings,
    )


def output_of(module: str, tmp_path: Path, *arguments: str, **settings: str | None) -> Any:
    """The exit code, stdout and stderr of `python -m module`, which takes no server."""
    with started(list(arguments), tmp_path, module, **settings) as program:
        stdout, _ = program.child.communicate(timeout=PATIENCE_S)
        return program.child.returncode, stdout.decode(), program.stderr


def children_of(pid: int) -> list[int]:
    """The processes that `pid` started, the one that looks for them aside."""
    listed = subprocess.run(["ps", "-o", "pid=,comm=", "--ppid", str(pid)], capture_output=True, text=True).stdout
    return [int(line.split()[0]) for line in listed.splitlines() if line.split()[1] != "ps"]


def ends_within(pid: int, seconds: float) -> bool:
    """Whether process `pid` ends in time, or has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)
