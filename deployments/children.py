"""Prefect's server and worker as programs under this one: each in a session of its own, so that Ctrl-C in the terminal
reaches only this program, which ends them in the right order; and none of them outlives it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO

from deployments.child import POLITE_S

_LOG_LIMIT_BYTES = 5_000_000


class ChildError(RuntimeError):
    """A program that must live has ended, or does not answer."""


class Child:
    """`prefect` with `words` and `settings`, under way. What it says is in `log`, or where this program's goes."""

    def __init__(
        self, words: Sequence[str], log: Path | None = None, settings: Mapping[str, str] | None = None
    ) -> None:
        self.log = log
        self._started = time.monotonic()
        # -P: this package's module names must not hide top-level ones.
        command = [sys.executable, "-P", str(Path(__file__).with_name("child.py")), *words]
        with nullcontext() if log is None else _emptied_if_outgrown(log) as output:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env={**os.environ, **(settings or {})},
            )

    @property
    def alive(self) -> bool:
        return self._child.poll() is None

    @property
    def age_s(self) -> float:
        return time.monotonic() - self._started

    def wait(self) -> None:
        """Returns when it has ended by itself."""
        self._child.wait()

    def stop(self) -> None:
        """Ends it, politely first. Does nothing the second time."""
        if self._child.stdin is not None and not self._child.stdin.closed:
            self._child.stdin.close()
        try:
            self._child.wait(POLITE_S + 2)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()


def _emptied_if_outgrown(log: Path) -> BinaryIO:
    outgrown = log.exists() and log.stat().st_size > _LOG_LIMIT_BYTES
    return log.open("wb" if outgrown else "ab")
