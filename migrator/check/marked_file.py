"""Files for people in a directory that an operator named: made there, and replaced only where this tool made them."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from migrator.errors import MigratorError


class NotOursError(MigratorError):
    """Something that this tool did not make is in the way."""


def write_marked(directory: Path, name: str, text: str) -> bool:
    """Afterwards `directory` holds the file `name` with `text`; returns False where it held the same already.

    The first line of `text` marks what may be replaced next time. The directory is made where it is missing, never
    reached through a symlink of its own name, and nothing outside of it is written; the file is the old or the new one,
    never half of it. Raises NotOursError where anything else is in the way, OSError where it cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise NotOursError(f"{directory} cannot be a folder: a file is in the way", "name another folder") from error
    with _opened(directory) as descriptor:
        stored = _stored(descriptor, directory / name)
        mark = text.partition("\n")[0].encode()
        if stored is not None and stored.partition(b"\n")[0] != mark:
            raise NotOursError(
                f"{directory / name} was not made by this command", "move it away, or name another folder"
            )
        if stored == text.encode():
            return False
        _replace(descriptor, name, text)
        return True


@contextmanager
def _opened(directory: Path) -> Iterator[int]:
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if directory.is_symlink():
            raise NotOursError(f"{directory} is a symlink", "name the folder that it leads to") from error
        raise
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _stored(directory: int, path: Path) -> bytes | None:
    """The content of an ordinary file; None where there is nothing. A pipe would wait for its other end."""
    try:
        descriptor = os.open(path.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise NotOursError(f"{path} cannot be read as a file ({error.strerror})", "move it away") from error
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotOursError(f"{path} is no ordinary file", "move it away")
        return file.read()


def _replace(directory: int, name: str, text: str) -> None:
    fresh = f".{name}.{secrets.token_hex(4)}"
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    # What the user's umask allows: the page is made to be shared.
    descriptor = os.open(fresh, flags, 0o666, dir_fd=directory)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(descriptor)
        os.replace(fresh, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(fresh, dir_fd=directory)
        raise
