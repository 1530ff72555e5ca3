"""A verified copy of live, made before anything is changed."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from migrator.connect import LOCK_TIMEOUT_S, is_damage, opened, set_pragma
from migrator.content import Content, difference, read_contents
from migrator.errors import BackupError, BackupGoneError, MigratorError, RefusedError
from migrator.files import create_private, make_directory, sha256_of, sync_directory, sync_file, write_private
from migrator.findings import Finding
from migrator.journal import Journal, read_journal, write_journal
from migrator.journal_mode import kept_open, use_wal
from migrator.preflight import Live, read_state
from migrator.schema import Schema, read_schema

BACKUP_NAME, MANIFEST_NAME, SCRATCH_NAME = "backup.db", "manifest.json", "scratch"
_PAGES_AT_A_TIME = 2000
"""8 MB with the usual page size: often enough for progress, a deadline and Ctrl-C."""
_DEADLINE_S = 3600.0
_READ_BYTES_PER_MS = 150_000
"""Copying and hashing 675 MB held a read lock for 3.9 s: outside WAL mode no writer can commit meanwhile."""
MAX_LOCK_MS = 250.0
"""How long the application's writers may have to wait, unless the operator says otherwise."""

Progress = Callable[[int, int], None]


def no_progress(done: int, total: int) -> None:
    """The callback for a caller that does not want any."""


@dataclass(frozen=True)
class Backup:
    """A copy that was compared with live, table by table, in one transaction. `contents` is by table name."""

    live: Live
    path: Path
    sha256: str
    contents: Mapping[str, Content]
    fingerprint: str
    findings: tuple[Finding, ...] = ()

    @property
    def rows(self) -> int:
        return sum(content.rows for table, content in self.contents.items() if table != "sqlite_sequence")

    @property
    def scratch(self) -> Path:
        return self.path.parent / SCRATCH_NAME


def back_up(
    live: Live,
    on_progress: Progress = no_progress,
    timeout_s: float = LOCK_TIMEOUT_S,
    max_lock_ms: float = MAX_LOCK_MS,
) -> Backup:
    """Copies live with SQLite's backup API; reads live in one transaction and changes nothing in it.

    Only a database outside WAL mode that takes longer to read than writers may wait (`max_lock_ms`) is switched to WAL
    first, until the run's end.

    Afterwards `backup.db` and `manifest.json` are in the run's directory, mode 0600, on the disk, and every table of
    the copy has the rows and the hash that live had; the journal beside live names the run. Raises BackupError where
    they differ, BackupGoneError where the run's directory goes away meanwhile, RefusedError where a page of live is
    damaged, sqlite3.OperationalError where live stays locked. sqlite.org/backup.html.
    """
    noted = read_journal(live.database)
    if noted is None or noted.run_id != live.run_id:
        # An earlier try of this run may have noted the journal mode to go back to.
        write_journal(live.database, Journal(live.run_id, str(live.directory)))
    make_directory(live.directory, live.database)
    with _naming_its_loss(live.directory):
        return _back_up(live, on_progress, timeout_s, max_lock_ms)


@contextmanager
def _naming_its_loss(directory: Path) -> Iterator[None]:
    """Raises BackupGoneError, where `directory` is gone, instead of what was raised because of that."""
    try:
        yield
    except (sqlite3.Error, OSError, MigratorError) as error:
        if os.path.isdir(directory):
            raise
        raise BackupGoneError(directory, error) from error


def _back_up(live: Live, on_progress: Progress, timeout_s: float, max_lock_ms: float) -> Backup:
    findings = use_wal(live.database) if live.size_bytes / _READ_BYTES_PER_MS > max_lock_ms else ()
    path = live.directory / BACKUP_NAME
    # What an earlier try of this run left.
    path.unlink(missing_ok=True)
    create_private(path, live.database)
    with kept_open(live.database, timeout_s):
        # Until the log that grew during the copy was carried over: whoever closed last would keep readers out for it.
        schema, contents = _copy(live, path, on_progress, timeout_s)
        _check_copy(path, schema, contents)
        sync_file(path)
    backup = Backup(live, path, sha256_of(path), contents, live.state.schema.fingerprint, findings)
    _write_manifest(backup)
    return backup


def _copy(live: Live, path: Path, on_progress: Progress, timeout_s: float) -> tuple[Schema, Mapping[str, Content]]:
    """What was copied, this tool's own tables as well: they hold originals that are nowhere else."""
    try:
        with (
            opened(live.database, read_only=True, timeout_s=timeout_s) as source,
            opened(path) as target,
            path.open("rb") as file,
        ):

            def written(done: int, total: int) -> None:
                # Piece by piece: one fsync of 700 MB at the end made the application's own wait for 130 ms.
                os.fdatasync(file.fileno())
                on_progress(done, total)

            source.execute("BEGIN")
            if read_state(source, live.application) != live.state:
                raise BackupError(
                    "the application changed the schema while the run began; live unchanged", "start again"
                )
            copy_database(source, target, written)
            schema = read_schema(source)
            contents = read_contents(source, schema)
            source.execute("COMMIT")
            # A copy of a WAL database says WAL in its header; the backup shall be one file.
            set_pragma(target, "journal_mode", "delete")
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        raise RefusedError(
            f"{live.database} is damaged ({error})",
            "repair it first: sqlite3's .recover, or a backup of the application",
        ) from error
    return schema, contents


def _check_copy(path: Path, schema: Schema, contents: Mapping[str, Content]) -> None:
    """On a connection of its own, which has nothing of the copy in its cache."""
    way_out = "check the disk of the backup"
    try:
        with opened(path, read_only=True) as copy:
            differing = difference(contents, read_contents(copy, schema))
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        raise BackupError(f"the backup cannot be read ({error}); live unchanged", way_out) from error
    if differing:
        raise BackupError(f"the backup differs from live in {', '.join(differing)}; live unchanged", way_out)


def copy_database(source: sqlite3.Connection, target: sqlite3.Connection, on_progress: Progress = no_progress) -> None:
    """Copies every page from inside the transaction that `source` has open, so that no writer restarts the copy.

    Raises BackupError after an hour: SQLite itself retries a busy copy for ever.
    """
    started = time.monotonic()

    def progress(status: int, remaining: int, total: int) -> None:
        if time.monotonic() - started > _DEADLINE_S:
            raise BackupError(
                f"the copy took longer than {_DEADLINE_S:g} s; live unchanged", "end what locks the database"
            )
        on_progress(total - remaining, total)

    source.backup(target, pages=_PAGES_AT_A_TIME, progress=progress, sleep=0.01)


def _write_manifest(backup: Backup) -> None:
    live = backup.live
    manifest = {
        "run_id": live.run_id,
        "database": str(live.database),
        "version": live.from_version,
        "sha256": backup.sha256,
        "schema_fingerprint": backup.fingerprint,
        "journal_mode": live.journal_mode,
        "sqlite_version": sqlite3.sqlite_version,
        "tables": {name: {"rows": c.rows, "sha256": c.sha256} for name, c in backup.contents.items()},
    }
    write_private(backup.path.with_name(MANIFEST_NAME), json.dumps(manifest, indent=2) + "\n", live.database)
    sync_directory(backup.path.parent)
    sync_directory(backup.path.parent.parent)
