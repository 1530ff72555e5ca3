"""The steps of a run in their order, by hand, and what a database holds."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from migrator.application import Application
from migrator.backup import Backup, back_up
from migrator.candidate import Candidate, add_column, convert_data, create_indexes, drop_indexes, rebuild_table, stage
from migrator.ddl import canonical
from migrator.errors import RefusedError
from migrator.inspection import inspect
from migrator.performance import check_performance
from migrator.preflight import Live, preflight
from migrator.probes import Probe
from migrator.promotion import Promoted, promote
from migrator.removal import remove_old
from migrator.restoration import Restored, discard, finish_promoted, restore
from migrator.tools import Scratch, check_constraints, copy_for_tools, validate_tool
from migrator.verification import verify_live
from tests.notes import NOTES

PLENTY_MS = 60_000.0
"""A lock limit for tests that are about something else, on a busy machine too."""


def backed_up(database: Path, application: Application = NOTES, **options) -> Backup:
    return back_up(preflight(database, application, **options))


def rehearsed(database: Path, application: Application = NOTES, **options) -> Candidate:
    return rehearse(backed_up(database, application, **options))


def rehearse(backup: Backup) -> Candidate:
    candidate = stage(inspect(backup))
    for table in candidate.plan.tables:
        for column in table.added:
            candidate = add_column(candidate, table.table, column)
        if table.kind == "rebuild":
            candidate = convert_data(candidate, table)
        if table.kind != "indexes":
            candidate = rebuild_table(candidate, table)
        elif table.drops:
            candidate = drop_indexes(candidate, table)
    return create_indexes(candidate)


def with_plan(candidate: Candidate, **fields) -> Candidate:
    """The candidate with another plan for its table."""
    inspection = candidate.inspection
    tables = tuple(replace(table, **fields) for table in candidate.plan.tables)
    return replace(candidate, inspection=replace(inspection, plan=replace(inspection.plan, tables=tables)))


def with_probes(application: Application, changed: Callable[[Probe], Probe | None]) -> Application:
    """The application with other probes, its own and those of its migrations; None: without that one."""

    def probes(given: tuple[Probe, ...]) -> tuple[Probe, ...]:
        return tuple(probe for probe in map(changed, given) if probe is not None)

    migrations = tuple(replace(m, probes=probes(m.probes)) for m in application.migrations)
    return replace(application, probes=probes(application.probes), migrations=migrations)


def prove(candidate: Candidate) -> Scratch:
    scratch = copy_for_tools(candidate)
    probes = candidate.inspection.backup.live.probes
    results = [validate_tool(scratch, probe) for probe in probes]
    check_constraints(scratch)
    check_performance(scratch, probes, results, memory_s=0.0)
    return scratch


def promoted(database: Path, application: Application = NOTES, **options) -> Promoted:
    return promote(rehearsed(database, application, **options), PLENTY_MS)


def live_of(done: Promoted) -> Live:
    return done.candidate.inspection.backup.live


def restored(database: Path, live: Live) -> Restored:
    return restore(database, live.application, live.run_id, live.directory)


def migrate(database: Path, application: Application = NOTES, *, max_lock_ms: float = PLENTY_MS, **options) -> Promoted:
    """A whole run, ended as the flow ends it; online where `max_lock_ms` is 0."""
    candidate = rehearse(back_up(preflight(database, application, **options), max_lock_ms=max_lock_ms))
    prove(candidate)
    return end_of_run(candidate, max_lock_ms)


def end_of_run(candidate: Candidate, max_lock_ms: float = PLENTY_MS) -> Promoted:
    """What comes after the proof."""
    done = promote(candidate, max_lock_ms)
    verify_live(done)
    if done.strategy == "online":
        remove_old(done)
    finish_promoted(live_of(done))
    return done


def refusal(database: Path, application: Application = NOTES, **options) -> RefusedError:
    """The error of a run that must be refused, cleaned up as the flow does it."""
    live = None
    try:
        live = preflight(database, application, **options)
        inspect(back_up(live))
    except RefusedError as error:
        if live is not None:
            discard(live.database, live.directory)
        return error
    raise AssertionError(f"{database} was not refused")


def run_sql(database: Path, *statements: str) -> None:
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def rows(database: Path, query: str) -> list[tuple]:
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        return connection.execute(query).fetchall()


def columns(database: Path, table: str = "notes") -> list[str]:
    return [name for (name,) in rows(database, f"SELECT name FROM pragma_table_info('{table}')")]


def holds(database: Path) -> dict[str, list[tuple]]:
    """Schema, whatever its layout, and every row of every table, each value with its type."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.text_factory = bytes
        connection.execute("BEGIN")
        schema = connection.execute(
            "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name"
        ).fetchall()
        found = {"schema": [(*row[:3], canonical(row[3].decode()) if row[3] else None) for row in schema]}
        for kind, name, _, sql in schema:
            if kind == b"table" and b"VIRTUAL" not in sql.upper():
                found[name.decode()] = sorted(connection.execute(f'SELECT * FROM "{name.decode()}"'), key=repr)
        return found


def is_sound(database: Path) -> bool:
    return rows(database, "PRAGMA integrity_check") == [("ok",)]


def stored(database: Path) -> dict[str, bytes]:
    """The bytes of the main file and of its log."""
    files = (database, database.with_name(database.name + "-wal"))
    return {os.fspath(file): file.read_bytes() for file in files if file.exists() and file.stat().st_size}


def beside(database: Path) -> set[str]:
    """What lies in the database's directory, without what SQLite itself keeps there."""
    own = {database.name, database.name + "-wal", database.name + "-shm"}
    return {os.fsdecode(name) for name in os.listdir(os.fsencode(database.parent))} - own
