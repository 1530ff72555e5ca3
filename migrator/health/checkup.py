"""Whether a database is well: looked at on a snapshot, so that live waits for nothing and no byte of it changes."""

from __future__ import annotations

import sqlite3
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from migrator.application import Application
from migrator.backup import MAX_LOCK_MS
from migrator.check.under_way import Run, run_on
from migrator.commands import own_command
from migrator.connect import LOCK_TIMEOUT_S, count_rows, is_damage, is_passing, opened
from migrator.errors import MigratorError, RefusedError
from migrator.findings import Finding
from migrator.health.faults import Fault
from migrator.health.folders import private_folder
from migrator.health.history import Check, ToolTimes
from migrator.health.schema_verdict import judge_schema
from migrator.health.snapshot import take_snapshot
from migrator.health.tool_health import ToolHealth, check_tools
from migrator.inspection import foreign_key_violations, integrity_faults, violation_text
from migrator.preflight import read_state, way_out_of
from migrator.schema import own_objects

FOLDER_PREFIX = "verify-"
_SNAPSHOT_NAME = "snapshot.db"
_REPAIR = "repair it: sqlite3's .recover, or a backup"


@dataclass(frozen=True)
class Health:
    """What one check found. `noted` are its faults and findings; what could not be read is None or empty."""

    database: Path
    at: datetime
    seconds: float
    noted: tuple[Finding, ...]
    version: int | None = None
    schema_fingerprint: str | None = None
    size_bytes: int | None = None
    rows: Mapping[str, int] = field(default_factory=dict)
    tools: tuple[ToolHealth, ...] = ()
    speed_accepted: bool = False

    @property
    def faults(self) -> tuple[Fault, ...]:
        return tuple(n for n in self.noted if isinstance(n, Fault))

    @property
    def findings(self) -> tuple[Finding, ...]:
        return tuple(n for n in self.noted if not isinstance(n, Fault))

    @property
    def healthy(self) -> bool:
        return not self.faults

    def as_check(self) -> Check:
        """What the history keeps of it."""
        tools = {t.name: ToolTimes(t.status, t.p50_ms, t.p95_ms, t.cpu_ms, t.reference_ms) for t in self.tools}
        return Check(
            self.at, self.healthy, tuple(dict.fromkeys(f.code for f in self.faults)), self.version,
            self.schema_fingerprint, self.size_bytes, self.speed_accepted, self.rows, tools,
        )  # fmt: skip


@dataclass(frozen=True)
class _Looked:
    """What the snapshot shows; `own` are the objects in it, text by name, that are named like those of a run."""

    size_bytes: int | None = None
    version: int | None = None
    schema_fingerprint: str | None = None
    rows: Mapping[str, int] = field(default_factory=dict)
    tools: tuple[ToolHealth, ...] = ()
    noted: tuple[Finding, ...] = ()
    own: Mapping[str, str] = field(default_factory=dict)


def check(
    database: Path,
    application: Application,
    folder: Path,
    history: Sequence[Check] = (),
    *,
    max_lock_ms: float = MAX_LOCK_MS,
    accept_speed: bool = False,
    source: Path | None = None,
    timeout_s: float = LOCK_TIMEOUT_S,
) -> Health:
    """Checks `database` (a real path) without writing to it: file, schema, ledger, tools and their speed.

    The snapshot is in a folder of its own in `folder` while the check lasts. Speed is judged against `history`, the
    latest check last; with `accept_speed` a slowdown is a finding. `source` is the application's, where it is to be
    asked which tables it would make. A fault is in what is returned, never raised.
    """
    at, started = datetime.now(UTC).replace(microsecond=0), time.monotonic()
    noted: list[Finding] = []
    looked, before = _Looked(), _run_on(database, noted)
    try:
        _refuse_what_is_no_database(database)
        with private_folder(folder, FOLDER_PREFIX, database) as private:
            path = private / _SNAPSHOT_NAME
            take_snapshot(database, path, max_lock_ms, timeout_s)
            looked = _look(path, application, history, accept_speed, source)
    except MigratorError as error:
        noted.append(Fault("not_checked", str(error)))
    except sqlite3.Error as error:
        noted.append(_unreadable(database, error, timeout_s))
    except OSError as error:
        noted.append(
            Fault("not_checked", f"no snapshot can be made in {folder} ({error}); give another with --backup-dir")
        )
    noted += _about_runs(database, {before, _run_on(database, [])}, looked.own)
    return Health(
        database, at, round(time.monotonic() - started, 3), (*noted, *looked.noted), looked.version,
        looked.schema_fingerprint, looked.size_bytes, looked.rows, looked.tools, accept_speed,
    )  # fmt: skip


def _refuse_what_is_no_database(database: Path) -> None:
    """Asked of the directory alone: opened and closed here, the file would lose this process's locks."""
    try:
        found = database.stat()
    except FileNotFoundError:
        raise RefusedError(f"no database at {database}", "give its path with --database") from None
    if not stat.S_ISREG(found.st_mode):
        raise RefusedError(f"{database} is no ordinary file", "give the path of the database file")
    if found.st_size == 0:
        raise RefusedError(f"{database} is empty", "start the application once to create its tables")


def _unreadable(database: Path, error: sqlite3.Error, timeout_s: float) -> Fault:
    name = getattr(error, "sqlite_errorname", "")
    if name == "SQLITE_READONLY_ROLLBACK":
        return Fault(
            "hot_journal",
            f"{database} has a hot journal: a writer died in a transaction; the next program that opens it for writing "
            f"rolls it back, {own_command('flows.migrate', '--database', database)} for one",
        )
    if is_damage(error):
        return Fault("damaged", f"{database} is damaged, or no SQLite database ({error}); {_REPAIR}")
    if is_passing(error):
        return Fault("locked", f"{database} is locked by another program for more than {timeout_s:g} s; end that")
    return Fault("not_checked", f"{database} cannot be checked ({error})")


def _run_on(database: Path, noted: list[Finding]) -> Run:
    try:
        return run_on(database)
    except RefusedError as error:
        noted.append(Fault("journal", str(error)))
        return Run.NONE


def _about_runs(database: Path, runs: set[Run], own: Mapping[str, str]) -> Iterator[Finding]:
    """What a run at work has in the database is its own affair; without one it is what a killed run left."""
    if Run.UNDER_WAY in runs:
        yield Finding("run_under_way", "a migration or a restore is at work on the database")
    elif Run.KILLED in runs:
        ends = own_command("flows.migrate", "--database", database)
        yield Fault("killed_run", f"a run on {database} was killed, or could not end; {ends} ends what it began")
    elif own:
        yield Fault(
            "leftovers", f"the database has objects named like this tool's own: {', '.join(own)}; {way_out_of(own)}"
        )


def _look(
    path: Path, application: Application, history: Sequence[Check], accept_speed: bool, source: Path | None
) -> _Looked:
    """What cannot be read in a damaged file is not tried."""
    size = path.stat().st_size
    with opened(path, read_only=True) as connection:
        damage = integrity_faults(connection)
        if damage:
            message = f"the database is damaged: {damage[0]}; {_REPAIR}"
            return _Looked(size, noted=(Fault("damaged", message, len(damage)),))
        state = read_state(connection, application)
        verdict = judge_schema(connection, application, state)
        rows = {table: count_rows(connection, table) for table in state.schema.tables}
        own = own_objects(connection)
        broken = tuple(
            Finding("foreign_key_violations", violation_text(key, "rows break the foreign key"), count)
            for key, count in foreign_key_violations(connection).items()
        )
    tools, noted = check_tools(path, path.parent, application, history, verdict.version or 0, accept_speed)
    if source is not None and verdict.version is not None:
        # Reading source costs an import that only this needs.
        from migrator.health.source_verdict import judge_source

        noted = (*noted, *judge_source(source, state.schema, application, verdict.version))
    return _Looked(size, verdict.version, state.schema.fingerprint, rows, tools, (*verdict.noted, *noted, *broken), own)
