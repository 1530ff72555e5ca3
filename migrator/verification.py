"""What an application's write cannot change, checked on live after the promotion."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from migrator.application import Application
from migrator.connect import opened
from migrator.ddl import words
from migrator.errors import VerificationError
from migrator.findings import Finding
from migrator.inspection import foreign_key_violations, integrity_faults
from migrator.ledger import read_ledger, read_run
from migrator.preflight import read_state
from migrator.promotion import Promoted
from migrator.schema import columns_of, read_schema


@dataclass(frozen=True)
class Verified:
    """Live holds the promoted schema, is sound, and the ledger says so."""

    version: int
    findings: tuple[Finding, ...]


_COULD_NOT_BE_READ = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
    }
)


def shows_nothing(error: BaseException) -> bool:
    """Whether a look at live that ended so says nothing about live: it was stopped, or live could not be read."""
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", 0) & 0xFF in _COULD_NOT_BE_READ
    return not isinstance(error, Exception) or isinstance(error, OSError | MemoryError)


def verify_live(promoted: Promoted) -> Verified:
    """Checks live, read-only, against what was rehearsed.

    Raises VerificationError where a promoted object is missing or changed, live is damaged, or the ledger does not
    know the run. Objects that name the tables and foreign keys that rows break are findings where they came since
    the promotion: the application made them.
    """
    inspection = promoted.candidate.inspection
    live = inspection.backup.live
    verified = verify(live.database, live.application, live.run_id, inspection.violations)
    fallen = tuple(_fallen_marks(live.database, inspection.backup.path))
    return replace(verified, findings=(*verified.findings, *fallen))


def verify(
    database: Path, application: Application, run_id: str, violations_before: Mapping[str, int] | None = None
) -> Verified:
    """`verify_live` for a run of which only the ledger is left."""
    with opened(database, read_only=True) as connection:
        run = read_run(connection, run_id)
        if run is None:
            raise VerificationError(f"the ledger of {database} does not know run {run_id} after its promotion")
        migrations = [m for m in application.migrations if m.version in run.versions]
        touched = {change.table for m in migrations for change in m.changes}
        now = json.loads(read_state(connection, application).schema.fingerprints_of(touched))
        promoted = json.loads(run.schema_after)
        lost = sorted(name for name in promoted if now.get(name) != promoted[name])
        if lost:
            raise VerificationError(
                f"the schema of {', '.join(sorted(touched))} in {database} is not the promoted one: "
                f"{', '.join(lost)} missing or changed"
            )
        faults = integrity_faults(connection)
        if faults:
            raise VerificationError(f"{database} is damaged: {faults[0]} ({len(faults)} faults)")
        applied = read_ledger(connection, application.name, application.migrations)
        made = [
            Finding("schema_changed_since", f"the application made {name}") for name in sorted(now.keys() - promoted)
        ]
        return Verified(len(applied), (*made, *_new_violations(connection, violations_before)))


def _fallen_marks(database: Path, backup: Path) -> Iterator[Finding]:
    """AUTOINCREMENT marks below those of the backup, of tables that still have one: no write to the rows lowers it."""
    with opened(backup, read_only=True) as original, opened(database, read_only=True) as connection:
        was, now = (_marks(c) for c in (original, connection))
        tables = [o for o in read_schema(connection).objects if o.kind == "table" and "autoincrement" in words(o.sql)]
    for table in (t.name for t in tables):
        if now.get(table, 0) < was.get(table, 0):
            yield Finding("mark_fell_since", f"the AUTOINCREMENT mark of {table} fell: ids may be given again")


def _marks(connection: sqlite3.Connection) -> dict[str, int]:
    there = columns_of(connection, "sqlite_sequence")
    return dict(connection.execute("SELECT name, seq FROM sqlite_sequence").fetchall()) if there else {}


def _new_violations(connection: sqlite3.Connection, before: Mapping[str, int] | None) -> tuple[Finding, ...]:
    if before is None:
        return ()
    now = foreign_key_violations(connection)
    return tuple(
        Finding(
            "foreign_key_violations_since", f"rows written since the backup break {key}", count - before.get(key, 0)
        )
        for key, count in now.items()
        if count > before.get(key, 0)
    )
