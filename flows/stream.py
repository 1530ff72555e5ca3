"""stdout and stderr of a program whose exit code is decided by what it did, whatever becomes of what it says."""

from __future__ import annotations

import contextlib
import os
from typing import Any, TextIO


class Stream:
    """stdout or stderr. One that takes no more falls silent: what it would have shown decides nothing.

    `fault` says why, where it was no reader that merely went away.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._silent = stream is None
        self.fault: str | None = None

    def write(self, text: str) -> int:
        """Writes what the stream's encoding has, and the rest of the text escaped."""
        try:
            self._attempt("write", text)
        except UnicodeEncodeError:
            self._attempt("write", text.encode("ascii", "backslashreplace").decode())
        return len(text)

    def flush(self) -> None:
        """Sends what was written on its way."""
        self._attempt("flush")

    def _attempt(self, act: str, *arguments: str) -> None:
        if self._silent:
            return
        try:
            getattr(self._stream, act)(*arguments)
        except UnicodeEncodeError:
            raise
        except (OSError, ValueError) as error:
            self._silent = True
            self.fault = None if isinstance(error, BrokenPipeError) else str(error)
            # What is still buffered would fail again at the program's end, and change its exit code.
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
