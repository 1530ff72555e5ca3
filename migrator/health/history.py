"""What the health checks found, one after the other: a small database of its own, beside the backups.

It is the tool's, not the application's, and only ever an aid: what is wrong with it is a finding and never a failure.
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from migrator.connect import LOCK_TIMEOUT_S, Connection, is_damage, opened, pragma, set_pragma, transaction
from migrator.errors import MigratorError
from migrator.files import create_private
from migrator.findings import Finding
from migrator.health.folders import alone
from migrator.health.slowdown import Timed

HISTORY_NAME = "health.db"
NOT_KEPT = "history_failed"
KEPT_CHECKS = 1000
"""Of each database: three years of daily checks, in about 3 MB."""
_APPLICATION_ID, _LAYOUT = 0x4C4D4843, 1
"""Tells our file from any other (sqlite.org/pragma.html#pragma_application_id)."""
_CREATE = (
    """CREATE TABLE checks (
   id INTEGER PRIMARY KEY AUTOINCREMENT,
   database TEXT NOT NULL,
   at TEXT NOT NULL,
   healthy INTEGER NOT NULL,
   speed_accepted INTEGER NOT NULL,
   version INTEGER,
   schema_fingerprint TEXT,
   size_bytes INTEGER,
   faults TEXT NOT NULL
)""",
    "CREATE INDEX checks_of_database ON checks (database, id)",
    """CREATE TABLE tools (
   check_id INTEGER NOT NULL REFERENCES checks (id) ON DELETE CASCADE,
   tool TEXT NOT NULL,
   status TEXT NOT NULL,
   p50_ms REAL,
   p95_ms REAL,
   cpu_ms REAL,
   reference_ms REAL,
   PRIMARY KEY (check_id, tool)
) WITHOUT ROWID""",
    """CREATE TABLE table_rows (
   check_id INTEGER NOT NULL REFERENCES checks (id) ON DELETE CASCADE,
   name TEXT NOT NULL,
   count INTEGER NOT NULL,
   PRIMARY KEY (check_id, name)
) WITHOUT ROWID""",
)
_COMPANIONS = ("", "-journal", "-wal", "-shm")


@dataclass(frozen=True)
class ToolTimes:
    """One tool in one check; the times are None where it was not measured."""

    status: str
    p50_ms: float | None = None
    p95_ms: float | None = None
    cpu_ms: float | None = None
    reference_ms: float | None = None

    @property
    def timed(self) -> Timed | None:
        if self.p50_ms is None or self.p95_ms is None or self.cpu_ms is None or not self.reference_ms:
            return None
        return Timed(self.p50_ms, self.p95_ms, self.cpu_ms, self.reference_ms)


@dataclass(frozen=True)
class Check:
    """One check. `faults` are the codes of what was wrong, `rows` and `tools` by name; what could not be read is None.

    `speed_accepted`: the operator took the tools' speed in this check for the normal one.
    """

    at: datetime
    healthy: bool
    faults: tuple[str, ...] = ()
    version: int | None = None
    schema_fingerprint: str | None = None
    size_bytes: int | None = None
    speed_accepted: bool = False
    rows: Mapping[str, int] = field(default_factory=dict)
    tools: Mapping[str, ToolTimes] = field(default_factory=dict)


def times_of(checks: Sequence[Check], tool: str) -> list[Timed]:
    """The tool's times in the healthy checks since its speed was last accepted, the latest last."""
    accepted = max((n for n, check in enumerate(checks) if check.speed_accepted), default=0)
    found = (check.tools[tool].timed for check in checks[accepted:] if check.healthy and tool in check.tools)
    return [timed for timed in found if timed is not None]


def read_history(
    folder: Path, database: Path, timeout_s: float = LOCK_TIMEOUT_S
) -> tuple[tuple[Check, ...], tuple[Finding, ...]]:
    """The checks of `database` that `folder` holds, the latest last; none where there is no history yet.

    A file that is damaged, or that no health check made, is set aside: renamed, with a finding.
    """
    if not os.path.lexists(folder / HISTORY_NAME):
        return (), ()
    try:
        with alone(folder):
            findings = _set_aside_what_is_not_ours(folder, timeout_s)
            if findings or not (folder / HISTORY_NAME).stat().st_size:
                return (), findings
            with opened(folder / HISTORY_NAME, read_only=True, timeout_s=timeout_s) as connection:
                return tuple(_checks(connection, str(database))), ()
    except (sqlite3.Error, OSError, ValueError, MigratorError) as error:
        return (), (_fault("read", folder, error),)


def record(
    folder: Path, database: Path, check: Check, kept: int = KEPT_CHECKS, timeout_s: float = LOCK_TIMEOUT_S
) -> tuple[Finding, ...]:
    """Afterwards the history in `folder` ends with `check`, and holds `kept` checks of `database` at most.

    Several programs may do so at once. A finding where it cannot be written; what is there is never overwritten.
    """
    try:
        with alone(folder):
            findings = _set_aside_what_is_not_ours(folder, timeout_s)
            with suppress(FileExistsError):
                create_private(folder / HISTORY_NAME, database if database.exists() else folder)
            with _writing(folder / HISTORY_NAME, timeout_s) as connection:
                _insert(connection, str(database), check)
                _prune(connection, str(database), kept)
            return findings
    except (sqlite3.Error, OSError, MigratorError) as error:
        return (_fault("written", folder, error),)


def _fault(what: str, folder: Path, error: Exception) -> Finding:
    return Finding(NOT_KEPT, f"the history {folder / HISTORY_NAME} could not be {what}: {error}")


def _set_aside_what_is_not_ours(folder: Path, timeout_s: float) -> tuple[Finding, ...]:
    path = folder / HISTORY_NAME
    fault = _fault_of_file(path, timeout_s)
    if fault is None:
        return ()
    aside = f"{HISTORY_NAME}.set-aside-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
    # A journal that stayed would be taken for the new file's.
    for suffix in _COMPANIONS:
        with suppress(FileNotFoundError):
            os.rename(folder / (HISTORY_NAME + suffix), folder / (aside + suffix))
    return (Finding("history_set_aside", f"{path} {fault}; it is now {aside}, and a new history begins"),)


def _fault_of_file(path: Path, timeout_s: float) -> str | None:
    """Why `path` is no history that can be used; None where it is one, or where there is none."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return "is no ordinary file"
    if found.st_size == 0:
        return None
    try:
        with opened(path, timeout_s=timeout_s) as connection:
            ours = (pragma(connection, "application_id"), pragma(connection, "user_version"))
            if ours != (_APPLICATION_ID, _LAYOUT):
                return "is no history of health checks that this version knows"
            if pragma(connection, "quick_check(1)") != "ok":
                return "is damaged"
            for _ in _checks(connection, ""):
                pass
    except sqlite3.DatabaseError as error:
        # A statement that fails for another reason than damage or a lock: a table or column is missing.
        if is_damage(error) or getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_ERROR:
            return f"is damaged ({error})"
        raise
    return None


@contextmanager
def _writing(path: Path, timeout_s: float) -> Iterator[Connection]:
    with opened(path, timeout_s=timeout_s) as connection:
        set_pragma(connection, "foreign_keys", 1)
        with transaction(connection):
            if pragma(connection, "user_version") == 0:
                for statement in _CREATE:
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id={_APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version={_LAYOUT}")
            yield connection


def _insert(connection: Connection, database: str, check: Check) -> None:
    check_id = connection.execute(
        "INSERT INTO checks (database, at, healthy, speed_accepted, version, schema_fingerprint, size_bytes, faults) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (database, check.at.isoformat(), check.healthy, check.speed_accepted, check.version, check.schema_fingerprint,
         check.size_bytes, json.dumps(check.faults)),
    ).lastrowid  # fmt: skip
    connection.executemany(
        "INSERT INTO tools VALUES (?, ?, ?, ?, ?, ?, ?)",
        ((check_id, tool, t.status, t.p50_ms, t.p95_ms, t.cpu_ms, t.reference_ms) for tool, t in check.tools.items()),
    )
    connection.executemany(
        "INSERT INTO table_rows VALUES (?, ?, ?)", ((check_id, name, count) for name, count in check.rows.items())
    )


def _prune(connection: Connection, database: str, kept: int) -> None:
    connection.execute(
        "DELETE FROM checks WHERE database = ?1 AND id NOT IN "
        "(SELECT id FROM checks WHERE database = ?1 ORDER BY id DESC LIMIT ?2)",
        (database, kept),
    )


def _checks(connection: Connection, database: str) -> Iterator[Check]:
    of_database = "JOIN checks ON checks.id = check_id WHERE database = ?"
    tools: dict[int, dict[str, ToolTimes]] = {}
    for check_id, tool, *times in connection.execute(
        f"SELECT check_id, tool, status, p50_ms, p95_ms, cpu_ms, reference_ms FROM tools {of_database}", (database,)
    ):
        tools.setdefault(check_id, {})[tool] = ToolTimes(*times)
    rows: dict[int, dict[str, int]] = {}
    for check_id, name, count in connection.execute(
        f"SELECT check_id, name, count FROM table_rows {of_database}", (database,)
    ):
        rows.setdefault(check_id, {})[name] = count
    for check_id, at, healthy, accepted, faults, version, fingerprint, size_bytes in connection.execute(
        "SELECT id, at, healthy, speed_accepted, faults, version, schema_fingerprint, size_bytes "
        "FROM checks WHERE database = ? ORDER BY id",
        (database,),
    ):
        yield Check(
            datetime.fromisoformat(at), bool(healthy), tuple(json.loads(faults)), version, fingerprint, size_bytes,
            bool(accepted), rows.get(check_id, {}), tools.get(check_id, {}),
        )  # fmt: skip
