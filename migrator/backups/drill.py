"""Whether the newest backup can be gone back to: it is restored into a scratch folder and looked at there.

A backup that nobody has restored is a hope. Nothing here opens the live database.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from migrator.application import Application
from migrator.backup import BACKUP_NAME, MANIFEST_NAME
from migrator.backups.listing import StoredBackup, checked, folders_of, is_of, list_backups
from migrator.backups.off_machine import download, list_copies
from migrator.connect import opened
from migrator.content import Content, difference, read_contents
from migrator.errors import MigratorError, RefusedError
from migrator.files import create_private, read_regular, write_private
from migrator.findings import Finding
from migrator.health.faults import Fault
from migrator.health.folders import alone, private_folder
from migrator.health.schema_verdict import judge_schema
from migrator.inspection import integrity_faults
from migrator.pages import PRESENT_NAME, copy_back
from migrator.preflight import read_state
from migrator.report import JSON_NAME
from migrator.schema import read_schema
from migrator.tools import FAILED, PASSED, SKIPPED, attempt

DRILLS_NAME = "drills.json"
KEPT_DRILLS = 500
_FOLDER_PREFIX = "drill-"


@dataclass(frozen=True)
class ToolTried:
    """`status` is passed, failed or skipped, `reason` why it is not passed; `before` is its status when the backup was
    made, None where no report says."""

    name: str
    status: str
    reason: str | None = None
    before: str | None = None


@dataclass(frozen=True)
class Drill:
    """One drill. `backup` is the path or URL of the backup.db that was restored in `restore_s`, None where there was
    none; a copy off the machine was brought here in `download_s`. `noted` are its faults and findings."""

    database: Path
    at: datetime
    seconds: float
    noted: tuple[Finding, ...] = ()
    backup: str | None = None
    backup_at: datetime | None = None
    size_bytes: int | None = None
    rows: int | None = None
    version: int | None = None
    download_s: float | None = None
    restore_s: float | None = None
    tools: tuple[ToolTried, ...] = ()

    @property
    def faults(self) -> tuple[Fault, ...]:
        return tuple(n for n in self.noted if isinstance(n, Fault))

    @property
    def succeeded(self) -> bool:
        return not self.faults

    def as_json(self) -> dict[str, Any]:
        """The stable form; scripts rely on its keys."""
        findings = [asdict(n) for n in self.noted if not isinstance(n, Fault)]
        return {
            "database": str(self.database),
            "succeeded": self.succeeded,
            "at": self.at.isoformat(),
            "seconds": self.seconds,
            "backup": self.backup,
            "backup_at": None if self.backup_at is None else self.backup_at.isoformat(),
            "size_bytes": self.size_bytes,
            "rows": self.rows,
            "version": self.version,
            "download_s": self.download_s,
            "restore_s": self.restore_s,
            "tools": [asdict(tool) for tool in self.tools],
            "faults": [asdict(fault) for fault in self.faults],
            "findings": findings,
        }


def drill(database: Path, application: Application, backup_dir: Path | None = None, remote: str | None = None) -> Drill:
    """Restores the newest verified backup of `database` (a real path), or its newest copy under the URL `remote`.

    It goes, with the function that `flows.restore` uses, over another database in a folder that is gone afterwards,
    and there has the rows, hashes and schema of its manifest; every tool that worked when it was made works. Whatever
    does not hold is a fault, and so is a newer backup that is damaged; nothing is raised for what is found.
    """
    at, started = datetime.now(UTC).replace(microsecond=0), time.monotonic()
    noted: list[Finding] = []
    done = Drill(database, at, 0.0)
    try:
        folder = folders_of(database, backup_dir)[-1]
        # A copy may come to where no backup was yet; for anything else nothing is made where there is nothing.
        if not (folder.is_dir() or (remote is not None and folder.parent.is_dir())):
            raise RefusedError(
                f"{database} has no verified backup: there is no folder {folder}", "every migration makes one"
            )
        owner = database if database.exists() else database.parent
        with private_folder(folder, _FOLDER_PREFIX, owner) as private:
            done = _drilled(done, application, private, backup_dir, remote, noted)
    except (MigratorError, OSError) as error:
        noted.append(Fault("not_restored", str(error)))
    except sqlite3.Error as error:
        noted.append(Fault("not_restored", f"the backup could not be restored ({error})"))
    return replace(done, noted=(*done.noted, *noted), seconds=round(time.monotonic() - started, 3))


def record_drill(drill: Drill, backup_dir: Path | None = None) -> Path:
    """Afterwards the drill is the last one in drills.json beside the backups, whose path is returned. Raises OSError,
    ValueError for a file that holds no drills."""
    folder = folders_of(drill.database, backup_dir)[-1]
    path = folder / DRILLS_NAME
    with alone(folder):
        try:
            drills = json.loads(read_regular(path))
        except FileNotFoundError:
            drills = []
        if not isinstance(drills, list):
            raise ValueError(f"{path} holds no list of drills; move it away")
        kept = [*drills, drill.as_json()][-KEPT_DRILLS:]
        write_private(path, json.dumps(kept, indent=1) + "\n", drill.database if drill.database.exists() else None)
    return path


def _drilled(
    done: Drill,
    application: Application,
    private: Path,
    backup_dir: Path | None,
    remote: str | None,
    noted: list[Finding],
) -> Drill:
    """`done` with what was found. What is wrong with the backups themselves goes to `noted`, which outlives errors."""
    scratch = private / done.database.name
    create_private(scratch, private)
    with opened(scratch) as connection:
        # What a restore overwrites.
        connection.execute("CREATE TABLE what_there_was (id INTEGER PRIMARY KEY)")
    if remote is None:
        stored = _newest(done.database, backup_dir, noted)
        backup, download_s = Path(stored.location, BACKUP_NAME), None
    else:
        stored = _newest_copy(done.database, remote)
        began = time.monotonic()
        backup = download(str(stored.file), scratch)
        download_s = round(time.monotonic() - began, 3)
    size = backup.stat().st_size
    done = replace(done, backup=stored.file, backup_at=stored.at, size_bytes=size, download_s=download_s)
    free = shutil.disk_usage(private).free
    if free < 2 * size:
        raise RefusedError(f"{private.parent} has {free:,} bytes free, the drill needs {2 * size:,}", "make room")
    began = time.monotonic()
    copy_back(backup, scratch, private / PRESENT_NAME)
    done = replace(done, restore_s=round(time.monotonic() - began, 3))
    return _looked_at(
        done, scratch, application, _manifest_of(backup), _tools_before(done.database, backup_dir, stored)
    )


def _newest(database: Path, backup_dir: Path | None, noted: list[Finding]) -> StoredBackup:
    own = [s for s in list_backups(database, backup_dir) if s.kind == "backup"]
    for stored in own:
        if stored.manifest is not None and not is_of(stored, database):
            continue
        if checked(stored).verified:
            return stored
        noted.append(Fault("damaged_backup", f"{stored.file} is not what its manifest says"))
    raise RefusedError(f"{database} has no verified backup", "every migration makes one")


def _newest_copy(database: Path, url: str) -> StoredBackup:
    for stored in list_copies(url):
        if is_of(stored, database):
            return stored
    raise RefusedError(f"no copy of a backup of {database} is under that URL", "flows.backups --copy-to makes them")


def _looked_at(
    done: Drill, scratch: Path, application: Application, manifest: Mapping[str, Any], before: Mapping[str, str]
) -> Drill:
    noted: list[Finding] = []
    with opened(scratch, read_only=True) as connection:
        connection.execute("BEGIN")
        damage = integrity_faults(connection)
        if damage:
            fault = Fault("damaged", f"the restored database is damaged: {damage[0]}", len(damage))
            return replace(done, noted=(fault,))
        state = read_state(connection, application)
        contents = read_contents(connection, read_schema(connection))
        noted += _differences(contents, state.schema.fingerprint, manifest)
        verdict = judge_schema(connection, application, state)
        noted += verdict.noted
    tools = tuple(_tried(scratch, application, verdict.version or 0, before))
    newest = verdict.version == len(application.migrations)
    for tool in tools:
        if tool.status != FAILED:
            continue
        said = f"tool {tool.name} fails on the restored database: {tool.reason}"
        expected = tool.before == FAILED or (tool.before is None and not newest)
        noted.append(Finding("tool_failed_before", f"{said}, as before") if expected else Fault("tool_failed", said))
    rows = sum(content.rows for table, content in contents.items() if table != "sqlite_sequence")
    return replace(done, rows=rows, version=verdict.version, tools=tools, noted=tuple(noted))


def _differences(contents: Mapping[str, Content], fingerprint: str, manifest: Mapping[str, Any]) -> Iterator[Fault]:
    wanted = {name: Content(table["rows"], table["sha256"]) for name, table in manifest["tables"].items()}
    differing = difference(wanted, contents)
    if differing:
        yield Fault("rows_differ", f"restored, it differs from its manifest in {', '.join(differing)}", len(differing))
    if fingerprint != manifest["schema_fingerprint"]:
        yield Fault("schema_differs", "restored, its schema is not the one that its manifest names")


def _manifest_of(backup: Path) -> Mapping[str, Any]:
    """What the run wrote; `checked` or `download` have read the same file, so it is one."""
    stored: Mapping[str, Any] = json.loads(read_regular(backup.with_name(MANIFEST_NAME)))
    return stored


def _tools_before(database: Path, backup_dir: Path | None, stored: StoredBackup) -> dict[str, str]:
    """The status of each tool when the backup was made, where the report of its run is here and says so."""
    for folder in folders_of(database, backup_dir):
        try:
            report = json.loads(read_regular(folder / stored.name / JSON_NAME))
            return {str(tool["name"]): str(tool["before"]) for tool in report["tools"]}
        except (OSError, ValueError, LookupError, TypeError):
            continue
    return {}


def _tried(scratch: Path, application: Application, version: int, before: Mapping[str, str]) -> Iterator[ToolTried]:
    for probe in application.probes_at(version):
        was = before.get(probe.tool)
        if probe.call is None:
            yield ToolTried(probe.tool, SKIPPED, probe.skip_reason, was)
            continue
        try:
            fault, _ = attempt(scratch, probe)
        except MigratorError as error:
            fault = str(error)
        yield ToolTried(probe.tool, PASSED if fault is None else FAILED, fault, was)
