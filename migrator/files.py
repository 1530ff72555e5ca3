"""Files beside the database: created for its owner only, never through a symlink, and on the disk when we say so."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

_CHUNK_BYTES = 1 << 20


def create_private(path: Path) -> None:
    """Creates an empty file with mode 0600; raises FileExistsError where anything is there, a symlink included."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600))


def write_private(path: Path, text: str) -> None:
    """Afterwards `path` holds `text`, mode 0600, and is on the disk; the old file or the new one, never half of it."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)
    sync_directory(path.parent)


def like_database(path: Path, database: Path) -> None:
    """Gives `path` the owner and mode of `database`, so that whoever runs the application can run this tool."""
    wanted = database.stat()
    path.chmod(wanted.st_mode & 0o777)
    if os.geteuid() == 0:
        os.chown(path, wanted.st_uid, wanted.st_gid, follow_symlinks=False)


def sync_directory(directory: Path) -> None:
    """Makes the names in `directory` survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Makes the content of `path` survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path, on_progress: Callable[[int], None] = lambda size: None) -> str:
    """SHA-256 of a file that no connection has open."""
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            done += len(chunk)
            on_progress(done)
    return digest.hexdigest()
