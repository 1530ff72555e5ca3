"""A copy of a backup elsewhere: a directory of the same name, with the manifest as the proof that it is finished."""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from migrator.backup import BACKUP_NAME, MANIFEST_NAME
from migrator.backups.listing import PARTIAL_SUFFIX, Manifest, StoredBackup, folders_of, parse_manifest, parse_name
from migrator.backups.store import CopyError, Store, open_store, shown, telling
from migrator.commands import command, own_command
from migrator.errors import MigratorError, RefusedError
from migrator.files import create_private, make_directory, remove_tree, sha256_of, sync_directory, sync_file
from migrator.findings import Finding


@dataclass(frozen=True)
class Copied:
    """What became of the copy of a run's backup; where it could not be made the finding says why and what to do."""

    findings: tuple[Finding, ...] = ()


def copy_off_machine(directory: Path, database: Path, url: str) -> Copied:
    """`upload` for a run whose promotion stands: a store that is away must not fail what succeeded.

    So it comes after the promotion: what protects the run is the backup beside the database.
    """
    try:
        upload(directory, url)
    except MigratorError as error:
        again = own_command("flows.backups", "--database", database, "--copy-to", url)
        return Copied((Finding("copy_failed", f"{error.fault}; to copy it again: {again}"),))
    return Copied()


def upload(directory: Path, url: str) -> bool:
    """Afterwards the backup in `directory` (one that a run made) has a copy of the same name under `url`.

    Each file was read back and has the right hash, and none is half there under its name. The manifest comes last;
    without one there is no copy. False: it was there already. Raises CopyError with nothing half there, RefusedError
    for a backup that is not what its manifest says. The backup itself is only read.
    """
    with telling(f"{directory.name} could not be copied to {shown(url)}", "the backup here is untouched; try again"):
        text = (directory / MANIFEST_NAME).read_bytes()
        manifest = _parsed(text, str(directory))
        store = open_store(url)
        backup, proof = (f"{directory.name}/{name}" for name in (BACKUP_NAME, MANIFEST_NAME))
        there = store.read(proof)
        if there not in (None, text):
            raise CopyError(f"{shown(url)} has another backup named {directory.name}", "copy to a URL of its own")
        if there is not None and store.size_bytes(backup) == (directory / BACKUP_NAME).stat().st_size:
            return False
        store.make_directory(directory.name, directory)
        store.put(directory / BACKUP_NAME, backup, manifest.sha256)
        if there is None:
            store.put(directory / MANIFEST_NAME, proof, hashlib.sha256(text).hexdigest())
    return True


def download(url: str, database: Path) -> Path:
    """Brings the copy whose backup.db is at `url` beside `database` (a real path); returns the path of its backup.db.

    Afterwards it is one of the backups there, with the hash that its manifest says; where the same one is there
    already nothing is brought. Raises CopyError, with nothing left behind, where it cannot be read or is not what its
    manifest says; RefusedError where it is no copy, or where no room is for it.
    """
    location, _, file = url.rpartition("/")
    name = location.rpartition("/")[2]
    if file != BACKUP_NAME or parse_name(name) is None:
        raise RefusedError(
            f"{shown(url)} is no {BACKUP_NAME} of a copy", "give it as `flows.restore --list --remote` shows it"
        )
    folder = folders_of(database)[0]
    with telling(f"the copy {shown(url)} could not be brought here", "try again, or use another backup"):
        store = open_store(location)
        text = store.read(MANIFEST_NAME)
        if text is None:
            raise CopyError(f"{shown(location)} holds no copy that was finished", "use another one")
        manifest = _parsed(text, shown(location))
        if os.path.lexists(folder / name):
            return _same(folder / name, text, manifest)
        make_directory(folder, database)
        size = store.size_bytes(BACKUP_NAME) or 0
        if shutil.disk_usage(folder).free < size:
            raise RefusedError(f"{folder} has no room for the {size:,} bytes of {shown(url)}", "make room")
        partial = folder / (name + PARTIAL_SUFFIX)
        remove_tree(partial)
        try:
            make_directory(partial, database)
            if _fetch(store, partial / BACKUP_NAME, database) != manifest.sha256:
                raise CopyError(f"{shown(url)} is not what its manifest says: it was damaged", "use another one")
            create_private(partial / MANIFEST_NAME, database)
            (partial / MANIFEST_NAME).write_bytes(text)
            sync_file(partial / MANIFEST_NAME)
            sync_directory(partial)
            os.rename(partial, folder / name)
        except BaseException:
            remove_tree(partial)
            raise
        sync_directory(folder)
    return folder / name / BACKUP_NAME


def list_copies(url: str, check: bool = False) -> list[StoredBackup]:
    """Every finished copy under `url`, of whichever database, newest first; with `check` each is read and compared.

    Raises CopyError where nothing can be listed there.
    """
    with telling(f"{shown(url)} could not be listed", "see what is there with the store's own tools"):
        store = open_store(url)
        found = [copy for name in store.names() if (copy := _copy_at(store, url, name, check)) is not None]
    return sorted(found, key=lambda stored: (stored.at, stored.location), reverse=True)


def _copy_at(store: Store, url: str, name: str, check: bool) -> StoredBackup | None:
    named = parse_name(name)
    text = None if named is None else store.read(f"{name}/{MANIFEST_NAME}")
    if named is None or text is None:
        return None
    backup = f"{name}/{BACKUP_NAME}"
    size = store.size_bytes(backup)
    stored = StoredBackup(f"{url.rstrip('/')}/{name}", "backup", *named, len(text) + (size or 0))
    try:
        manifest = parse_manifest(text)
    except ValueError:
        return replace(stored, verified=False)
    verified = False if size is None else store.sha256(backup) == manifest.sha256 if check else None
    return replace(stored, manifest=manifest, verified=verified)


def _fetch(store: Store, target: Path, database: Path) -> str:
    """Writes the backup in `store` to `target`, onto the disk; returns the SHA-256 of what came."""
    digest = hashlib.sha256()
    create_private(target, database)
    with target.open("r+b") as file:
        for piece in store.pieces(BACKUP_NAME):
            digest.update(piece)
            file.write(piece)
            file.flush()
            # Piece by piece, as in a backup: one fsync of it all would make the application's own wait.
            os.fdatasync(file.fileno())
    return digest.hexdigest()


def _parsed(text: bytes, place: str) -> Manifest:
    try:
        return parse_manifest(text)
    except ValueError as error:
        raise RefusedError(f"the manifest in {place} is damaged", "use another backup") from error


def _same(directory: Path, text: bytes, manifest: Manifest) -> Path:
    """The backup.db in `directory`, where that is the same backup."""
    backup = directory / BACKUP_NAME
    with suppress(FileNotFoundError):
        if (directory / MANIFEST_NAME).read_bytes() == text and sha256_of(backup) == manifest.sha256:
            return backup
    away = command("mv", directory, directory.with_name(f"{directory.name}.damaged"))
    raise RefusedError(f"{directory} is there already, and is not that copy", f"move it away: {away}")
