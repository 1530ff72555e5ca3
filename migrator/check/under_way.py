"""Whether a run is at work on a database, or one was killed, told without getting in the way of either."""

from __future__ import annotations

import fcntl
import os
from enum import Enum
from pathlib import Path

from migrator.journal import read_journal
from migrator.lock import lock_path


class Run(Enum):
    """NONE: no run; UNDER_WAY: one holds the lock; KILLED: its journal is there and nobody holds the lock."""

    NONE = "none"
    UNDER_WAY = "under way"
    KILLED = "killed"


def run_on(database: Path) -> Run:
    """What is known of a run on `database` (a real path). Writes nothing; raises RefusedError as `read_journal` does.

    The lock is tried, shared and for an instant, only where a journal says that there is or was a run, or where the
    process that held it last is alive: a run that starts in that very instant would be refused.
    """
    if read_journal(database) is None and not _holder_lives(database):
        return Run.NONE
    try:
        descriptor = os.open(lock_path(database), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return Run.KILLED if read_journal(database) is not None else Run.NONE
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        # Read again: the run may have ended in between, and no other can begin while the lock is held here.
        return Run.KILLED if read_journal(database) is not None else Run.NONE
    except BlockingIOError:
        return Run.UNDER_WAY
    finally:
        os.close(descriptor)


def _holder_lives(database: Path) -> bool:
    """Whether the process that the lock file names is there; the file keeps the name when that has ended."""
    try:
        os.kill(int(lock_path(database).read_text(encoding="ascii")), 0)
    except PermissionError:
        return True
    except (OSError, ValueError, OverflowError):
        return False
    return True
