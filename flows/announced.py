"""How the command line finds the server of `make ui`, on whichever port: a file that says where it is.

Imports nothing of Prefect.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FILE_NAME = "ltmc-ui.json"


def announced_url(home: Path) -> str | None:
    """The API's URL of the server that a living program announces in `home` (Prefect's); None where none does."""
    try:
        announced = json.loads((home / FILE_NAME).read_text(encoding="utf-8"))
        url = str(announced["api_url"])
        # Killed, it could not take its word back. The lock would tell too, but whoever tries it is in the way.
        os.kill(int(announced["process"]), 0)
    except PermissionError:
        # Another user's program.
        return url
    except (OSError, ValueError, LookupError, TypeError, OverflowError):
        return None
    return url


@contextmanager
def announced(home: Path, api_url: str) -> Iterator[str | None]:
    """In the block `announced_url` is `api_url`; yields None, or the URL of the program that announces one already.

    The lock on the file tells that from what a killed program left. Raises OSError where nothing can be written.
    """
    home.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(home / FILE_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield announced_url(home) or "its address is not known yet"
            return
        _write(descriptor, json.dumps({"api_url": api_url, "process": os.getpid()}))
        try:
            yield None
        finally:
            # The file stays: removed, two programs could hold the locks of two files of one name.
            _write(descriptor, "{}")
    finally:
        os.close(descriptor)


def _write(descriptor: int, text: str) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text.encode(), 0)
