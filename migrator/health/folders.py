"""Folders that several programs use at once: one at a time in short, and a private one that goes with its program."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from migrator.files import make_directory, remove_tree


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """No other program is in such a block on `folder` meanwhile; one that was killed in it has left it."""
    descriptor = _locked(folder, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(descriptor)


@contextmanager
def private_folder(parent: Path, prefix: str, database: Path) -> Iterator[Path]:
    """A new folder `prefix`... in `parent`, for the database's owner only, that is gone afterwards whatever happens.

    `parent` is made where it is not there. Those in it whose program was killed go first: a lock on the folder itself,
    which a kill releases, tells them from those in use.
    """
    make_directory(parent, database)
    with alone(parent):
        for left in parent.glob(f"{prefix}*"):
            _remove_left(left)
        folder = parent / f"{prefix}{secrets.token_hex(4)}"
        make_directory(folder, database)
        descriptor = _locked(folder, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
        remove_tree(folder)
        os.close(descriptor)


def _remove_left(folder: Path) -> None:
    # In use, or no folder.
    with suppress(OSError):
        descriptor = _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            remove_tree(folder)
        finally:
            os.close(descriptor)


def _locked(folder: Path, how: int) -> int:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, how)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
