"""One run at a time on one database: an OS lock on a file beside it, which a kill releases."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from migrator.errors import RefusedError
from migrator.files import like_database

_held: dict[Path, int] = {}
"""Lock files that this process holds: the command line takes the lock, and the flow in it uses the same."""


def lock_path(database: Path) -> Path:
    return database.with_name(database.name + ".migration-lock")


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Holds the lock of `database` (a real path); inside a block that holds it already nothing is taken.

    Raises RefusedError where another process holds it, or where no file can be made beside the database.
    The file stays: removing it would let two runs hold two locks of one name.
    """
    path = lock_path(database)
    if path in _held:
        yield
        return
    descriptor = _open(path, database)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            raise RefusedError(
                f"a run on {database} is already under way in process {holder}", "wait for it to end, then start again"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        _held[path] = descriptor
        yield
    finally:
        _held.pop(path, None)
        os.close(descriptor)


def _open(path: Path, database: Path) -> int:
    existed = path.exists()
    try:
        # Not inherited by children (PEP 446): a lock must not live on in a server that the run started.
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise RefusedError(
            f"directory {path.parent} takes no lock file ({error.strerror})",
            "SQLite needs to write beside the database too: make the directory writable for this user",
        ) from error
    if not existed:
        like_database(path, database)
    return descriptor
