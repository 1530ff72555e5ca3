"""Files beside the database: created for its owner only, never through a symlink, and on the disk when we say so."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_CHUNK_BYTES = 1 << 20
_PIECE_BYTES, _PIECE_PAUSE_S = 16 << 20, 0.01


def make_directory(directory: Path, database: Path) -> None:
    """Afterwards `directory` is there, also after a power cut; what was made here is for the database's owner only.

    Raises FileExistsError where anything else is in its place, a symlink included.
    """
    if not directory.parent.is_dir():
        make_directory(directory.parent, database)
    try:
        directory.mkdir(mode=0o700)
    except FileExistsError:
        if directory.is_symlink() or not directory.is_dir():
            raise
        return
    if os.geteuid() == 0:
        owner = database.stat()
        os.chown(directory, owner.st_uid, owner.st_gid, follow_symlinks=False)
    sync_directory(directory.parent)


def create_private(path: Path, database: Path) -> None:
    """Creates an empty file for the database's owner only; FileExistsError for anything there, also a symlink."""
    descriptor = _create(path)
    try:
        belong_to(descriptor, database, 0o600)
    finally:
        os.close(descriptor)


def write_private(path: Path, text: str, database: Path | None = None, mode: int = 0o600) -> None:
    """Afterwards `path` holds `text` and is on the disk; the old file or the new one, never half of it.

    With `database`, the file belongs to that one's owner. Raises FileExistsError where a device, a pipe or a directory
    has the name: root would put a file in the place of /dev/null.
    """
    if os.path.lexists(path) and not (path.is_symlink() or path.is_file()):
        raise FileExistsError(errno.EEXIST, "it is no ordinary file", str(path))
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    try:
        with os.fdopen(_create(fresh), "w", encoding="utf-8") as file:
            if database is not None:
                belong_to(file.fileno(), database, mode)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def remove_tree(directory: Path) -> None:
    """Afterwards `directory` is gone, as far as this user may remove it.

    Large files go a piece at a time: after an unlink of 700 MB at once an fsync of the application took 2 s (ext4).
    """
    for path in directory.rglob("*") if directory.is_dir() and not directory.is_symlink() else ():
        with suppress(OSError):
            # Under another name of the file its content stays.
            if path.is_file() and not path.is_symlink() and path.stat().st_nlink == 1:
                _shrink(path)
    shutil.rmtree(directory, ignore_errors=True)


def _shrink(path: Path) -> None:
    size = path.stat().st_size
    while size > _PIECE_BYTES:
        size -= _PIECE_BYTES
        os.truncate(path, size)
        time.sleep(_PIECE_PAUSE_S)


def read_regular(path: Path) -> str:
    """The text of a file; OSError for what is none: a pipe would wait for its other end."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, encoding="utf-8") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{path} is no ordinary file")
        return file.read()


def belong_to(descriptor: int, database: Path, mode: int) -> None:
    """Gives an open file `mode` and the database's owner, so that whoever runs the application can run this tool."""
    os.fchmod(descriptor, mode)
    if os.geteuid() == 0:
        owner = database.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def is_text(path: Path) -> bool:
    """Whether the name can be stored as text; a name in a file system is any bytes."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def mode_of(database: Path) -> int:
    """The permission bits of the database."""
    return database.stat().st_mode & 0o777


def _create(path: Path) -> int:
    return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600)


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
