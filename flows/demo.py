"""The demo folder: a realistic database that nobody minds."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from migrator.application import Application
from migrator.errors import RefusedError
from migrator.lock import locked

_BESIDE = ("", "-wal", "-shm", "-journal", ".migrating", ".backups")
_MARK = ".made-by-flows-migrate"


def fresh_demo(folder: Path, rows: int, application: Application) -> Path:
    """Afterwards `folder` holds a new un-migrated database of `rows` rows, and nothing of an earlier demo.

    Removes only what a demo made. Raises RefusedError, with nothing removed, for a symlink, for a database that no
    demo made, and while a run is under way on it.
    """
    database = folder / f"{application.name}.db"
    mark = folder / _MARK
    beside = [database.with_name(database.name + suffix) for suffix in _BESIDE]
    foreign = [path for path in beside if path.is_symlink() or (os.path.lexists(path) and not mark.is_file())]
    if folder.is_symlink() or foreign:
        raise RefusedError(f"{(foreign or [folder])[0]} was not made by a demo", "run the demo in another folder")
    folder.mkdir(parents=True, exist_ok=True)
    mark.touch()
    if database.exists():
        with locked(database.resolve()):
            for path in beside:
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
    application.make_demo(database, rows)
    return database
