"""What there is to go back to: the backup of every run, and every state that a restore saved before it changed live."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from migrator.backup import BACKUP_NAME, MANIFEST_NAME
from migrator.connect import opened
from migrator.errors import BackupError, RefusedError
from migrator.files import read_regular, remove_tree, sha256_of, sync_directory
from migrator.journal import read_journal
from migrator.pages import PRESENT_NAME
from migrator.preflight import BACKUPS_SUFFIX
from migrator.schema import columns_of

PARTIAL_SUFFIX = ".partial"
"""At the end of a directory's name while it comes or goes: it is no backup, and whoever meets it removes it."""
_NAME = re.compile(r"([0-9]{8}T[0-9]{6}Z)-([0-9a-f]{8})")
"""As preflight and a restore make them."""
_HISTORY_COLUMNS = {"migration_set", "version", "run_id", "reversed_at"}

Kind = Literal["backup", "present", "unfinished"]
"""The backup of a run; a state that a restore saved; a directory that holds neither, left by a killed program."""


@dataclass(frozen=True)
class Manifest:
    """What a run wrote beside its backup when it had verified it."""

    database: str
    version: int
    rows: int
    sha256: str


@dataclass(frozen=True)
class StoredBackup:
    """One directory, here or off the machine. `location` is its path or URL, `size_bytes` that of all files in it.

    `manifest` is None where there is none that can be read. `verified`: whether the file is what the manifest says;
    None: nobody has read it. `present_at`: since when it holds a state that a restore saved. `applied`: the versions in
    force that its run applied, `is_newest` whether the newest one is among them; `is_needed`: a killed run names it.
    """

    location: str
    kind: Kind
    at: datetime
    run_id: str
    size_bytes: int
    manifest: Manifest | None = None
    verified: bool | None = None
    present_at: datetime | None = None
    applied: tuple[int, ...] = ()
    is_newest: bool = False
    is_needed: bool = False

    @property
    def name(self) -> str:
        return self.location.rpartition("/")[2]

    @property
    def file(self) -> str | None:
        """What `flows.restore --backup` takes; None where there is nothing to go back to."""
        names = {"backup": BACKUP_NAME, "present": PRESENT_NAME}
        return f"{self.location}/{names[self.kind]}" if self.kind in names else None


@dataclass(frozen=True)
class Needs:
    """What the ledger and the journal of a database name: `applied` and `newest` by run id, `directory` by name."""

    applied: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    newest: frozenset[str] = frozenset()
    directory: str | None = None


def parse_name(name: str) -> tuple[datetime, str] | None:
    """The time and the run id in a directory's name; None for a name that no run gave."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    try:
        return datetime.strptime(found[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC), found[2]
    except ValueError:
        return None


def parse_manifest(text: str | bytes) -> Manifest:
    """The facts of a manifest; raises ValueError for what is none."""
    try:
        stored = json.loads(text)
        rows = sum(int(table["rows"]) for name, table in stored["tables"].items() if name != "sqlite_sequence")
        sha256 = str(stored["sha256"])
        if not re.fullmatch("[0-9a-f]{64}", sha256):
            raise ValueError("no SHA-256")
        return Manifest(str(stored["database"]), int(stored["version"]), rows, sha256)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no manifest ({type(error).__name__})") from error


def read_needs(database: Path) -> Needs:
    """What must stay because of what is in and beside `database` (a real path); writes nothing.

    Raises RefusedError for a journal that no run wrote, sqlite3.Error where the ledger cannot be read now.
    """
    journal = read_journal(database)
    directory = None if journal is None else Path(journal.directory).name
    query = (
        "SELECT run_id, version, version = max(version) OVER (PARTITION BY migration_set) "
        "FROM _migration_history WHERE reversed_at IS NULL ORDER BY version"
    )
    applied: dict[str, tuple[int, ...]] = {}
    newest = set()
    with opened(database, read_only=True) as connection:
        if set(columns_of(connection, "_migration_history")) >= _HISTORY_COLUMNS:
            for run_id, version, is_newest in connection.execute(query):
                applied[run_id] = (*applied.get(run_id, ()), version)
                if is_newest:
                    newest.add(run_id)
    return Needs(applied, frozenset(newest), directory)


def folders_of(database: Path, backup_dir: Path | None = None) -> tuple[Path, ...]:
    """Where backups of `database` (a real path) lie: beside it, and where the operator has them."""
    beside = database.with_name(database.name + BACKUPS_SUFFIX)
    return tuple(dict.fromkeys((beside, *([] if backup_dir is None else [backup_dir.resolve()]))))


def list_backups(database: Path, backup_dir: Path | None = None, needs: Needs | None = None) -> list[StoredBackup]:
    """Every backup of `database` (a real path), newest first; reads neither the database nor the backups themselves.

    The folder beside the database is its own: what a moved database brought along, or another one put there, is
    listed with that one's name. In a folder that the operator chose others have theirs: only what a manifest says is
    of this database is listed. Directories that no run made, and what is behind a symlink, never are. Raises
    RefusedError for a folder that cannot be read.
    """
    beside = folders_of(database)[0]
    found = [
        stored
        for folder in folders_of(database, backup_dir)
        for stored in _in_folder(folder, needs or Needs())
        if folder == beside or is_of(stored, database)
    ]
    return sorted(found, key=lambda stored: (stored.at, stored.location), reverse=True)


def is_of(stored: StoredBackup, database: Path) -> bool:
    """Whether a manifest says that it is a backup of `database` (a real path)."""
    return stored.manifest is not None and stored.manifest.database == str(database)


def _in_folder(folder: Path, needs: Needs) -> Iterator[StoredBackup]:
    try:
        with os.scandir(folder) as entries:
            directories = [Path(entry) for entry in entries if entry.is_dir(follow_symlinks=False)]
        for directory in directories:
            named = parse_name(directory.name)
            if named is not None:
                yield _read(directory, *named, needs)
    except FileNotFoundError:
        # Nothing was ever backed up there, or the folder went meanwhile.
        return
    except OSError as error:
        raise RefusedError(f"{folder} cannot be read ({error.strerror})", "make it readable for this user") from error


def _read(directory: Path, at: datetime, run_id: str, needs: Needs) -> StoredBackup:
    has_manifest = _is_file(directory / MANIFEST_NAME)
    manifest, verified = None, None
    if has_manifest:
        try:
            manifest = parse_manifest(read_regular(directory / MANIFEST_NAME))
        except ValueError:
            verified = False
    present = directory / PRESENT_NAME
    present_at = datetime.fromtimestamp(present.stat().st_mtime, UTC) if _is_file(present) else None
    return StoredBackup(
        str(directory),
        "backup" if has_manifest else "unfinished" if present_at is None else "present",
        at,
        run_id,
        _size_bytes(directory),
        manifest,
        verified,
        present_at,
        needs.applied.get(run_id, ()),
        run_id in needs.newest,
        directory.name == needs.directory,
    )


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def _size_bytes(directory: Path) -> int:
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            try:
                found = os.lstat(os.path.join(folder, name))
            except FileNotFoundError:
                continue
            total += found.st_size if stat.S_ISREG(found.st_mode) else 0
    return total


def checked(stored: StoredBackup) -> StoredBackup:
    """With `verified` told by reading all of the file, where there is a manifest to compare it with.

    A file that is gone, or that the disk does not give, is not what the manifest says. Raises OSError otherwise.
    """
    if stored.manifest is None:
        return stored
    path = Path(stored.location, BACKUP_NAME)
    try:
        return replace(stored, verified=_is_file(path) and sha256_of(path) == stored.manifest.sha256)
    except OSError as error:
        if error.errno not in (errno.EIO, errno.ENOENT):
            raise
        return replace(stored, verified=False)


def remove_backup(stored: StoredBackup) -> None:
    """Afterwards its directory is gone.

    It loses its name first, at once and for good, so that what a kill or a power cut leaves is taken for a backup by
    nobody. Raises BackupError where a part of it stays, also for want of permission.
    """
    directory = Path(stored.location)
    if parse_name(directory.name) is None:
        raise ValueError(f"{directory} is no directory of a run")
    partial = directory.with_name(directory.name + PARTIAL_SUFFIX)
    try:
        os.rename(directory, partial)
        sync_directory(directory.parent)
    except OSError as error:
        raise BackupError(f"{directory} cannot be removed ({error.strerror})", "remove it by hand") from error
    _remove_partial(partial)


def remove_partial(folder: Path) -> None:
    """Ends what killed programs began: afterwards no directory in `folder` is half there. Raises as remove_backup."""
    for path in folder.glob(f"*{PARTIAL_SUFFIX}") if folder.is_dir() else ():
        if parse_name(path.name.removesuffix(PARTIAL_SUFFIX)) and path.is_dir() and not path.is_symlink():
            _remove_partial(path)


def _remove_partial(partial: Path) -> None:
    remove_tree(partial)
    if os.path.lexists(partial):
        raise BackupError(f"{partial} cannot be removed whole", "remove it by hand, as the owner of what is in it")
