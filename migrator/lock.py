"""One run at a time on one database: an OS lock on a file beside it, which a kill releases."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from migrator.commands import command
from migrator.errors import RefusedError
from migrator.files import belong_to, mode_of


class UnderWayError(RefusedError):
    """Another process holds the lock of the database."""


_held: dict[Path, int] = {}
"""Lock files that this process holds: the command line takes the lock, and the flow in it uses the same."""


def _forget_in_child() -> None:
    """A forked child neither holds the lock nor keeps it alive when its parent has gone."""
    while _held:
        os.close(_held.popitem()[1])


os.register_at_fork(after_in_child=_forget_in_child)


def lock_path(database: Path) -> Path:
    """The file whose lock stands for `database` (a real path)."""
    return database.with_name(database.name + ".migration-lock")


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Holds the lock of `database` (a real path); inside a block that holds it already nothing is taken.

    Raises UnderWayError where another process holds it, RefusedError where there is no database, or where no file can
    be made beside it.
    The file stays: removing it would let two runs hold two locks of one name.
    """
    path = lock_path(database)
    if path in _held:
        yield
        return
    descriptor = _take(path, database)
    _held[path] = descriptor
    try:
        yield
    finally:
        # In a child that was forked inside the block it is closed already, and its number may be another file's.
        if _held.pop(path, None) is not None:
            # To close it would leave the lock to a program that is being started, until that has closed its copy.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)


def _take(path: Path, database: Path) -> int:
    if not database.exists():
        raise RefusedError(f"no database at {database}", "give its path with --database, or copy a backup there")
    existed = path.exists()
    try:
        descriptor, made = _open(path)
    except OSError as error:
        way_out = "SQLite needs to write beside the database too: make the directory writable for this user"
        if existed and isinstance(error, PermissionError):
            way_out = f"as the owner of that file: {command('chmod', f'{_mode(database):o}', path)}"
        raise RefusedError(f"lock file {path} cannot be opened ({error.strerror})", way_out) from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise RefusedError(f"{path} is no lock file but another file's second name", "look at it, and remove it")
        if made:
            belong_to(descriptor, database, _mode(database))
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whose it is is only told to people; on a full disk preflight says so.
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise UnderWayError(
            f"a run on {database} is already under way in process {holder}", "wait for it to end, then start again"
        ) from None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _open(path: Path) -> tuple[int, bool]:
    """The lock file, and whether it was made now.

    Not inherited by programs that are started (PEP 446): a lock must not live on in a server of the run.
    """
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        return os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600), True
    except FileExistsError:
        return os.open(path, flags), False


def _mode(database: Path) -> int:
    """The database's, and writable for its owner: a database may be read-only for a while, its lock file stays."""
    return mode_of(database) | stat.S_IRUSR | stat.S_IWUSR
