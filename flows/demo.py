"""The demo folder: a realistic database that nobody minds."""

from __future__ import annotations

import shutil
from pathlib import Path

from migrator.application import Application
from migrator.lock import locked

_BESIDE = ("", "-wal", "-shm", "-journal", ".migrating", ".backups")


def fresh_demo(folder: Path, rows: int, application: Application) -> Path:
    """Afterwards `folder` holds a new un-migrated database of `rows` rows, and nothing of an earlier demo.

    Removes only what a demo makes. Raises RefusedError while a run is under way on it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    database = (folder / f"{application.name}.db").resolve()
    if database.exists():
        with locked(database):
            for suffix in _BESIDE:
                path = database.with_name(database.name + suffix)
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
    application.make_demo(database, rows)
    return folder / database.name
