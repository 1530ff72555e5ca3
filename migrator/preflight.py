"""Everything that can be known of a live database without reading its rows, and without writing a byte."""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
import stat
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from migrator.application import Application
from migrator.check.under_way import Run, run_on
from migrator.connect import LOCK_TIMEOUT_S, is_damage, is_passing, opened, polling, pragma
from migrator.errors import RefusedError
from migrator.files import is_text
from migrator.findings import Finding
from migrator.journal import Journal, read_journal
from migrator.ledger import Applied, read_ledger, versions_ever_applied
from migrator.migration import Answers
from migrator.pending import plan_pending
from migrator.plan import Plan, State
from migrator.probes import Probe
from migrator.readings import expansions
from migrator.schema import columns_of, own_objects, read_schema

_HEADER, _HEADER_BYTES = b"SQLite format 3\x00", 100
BACKUPS_SUFFIX = ".backups"
_ENCODING, _ENCODINGS = slice(56, 60), tuple(n.to_bytes(4, "big") for n in range(4))
"""sqlite.org/fileformat.html#enc; 0 stands in a database without tables."""
_MOST_EXPANSIONS = 10_000
"""SQLite takes a second to write out as many, and reads from 200 tables at once at most (sqlite.org/limits.html)."""
_COPIES_BESIDE = 4
"""Backup, candidate and the two copies that the tools run on."""


@dataclass(frozen=True)
class Live:
    """The live database as a run found it. `plan` is None where nothing is pending.

    `database` is the real path, `directory` where this run will put its backup, candidate and report.
    """

    database: Path
    application: Application
    run_id: str
    directory: Path
    state: State
    applied: tuple[Applied, ...]
    plan: Plan | None
    journal_mode: str
    size_bytes: int
    findings: tuple[Finding, ...] = ()

    @property
    def from_version(self) -> int:
        return len(self.applied)

    @property
    def to_version(self) -> int:
        return self.from_version if self.plan is None else self.plan.to_version

    @property
    def probes(self) -> tuple[Probe, ...]:
        """The tools of the application that expects the version to be: it is the one that runs afterwards."""
        return self.application.probes_at(self.to_version)


def preflight(
    database: Path,
    application: Application,
    *,
    to_version: int | None = None,
    answers: Answers | None = None,
    backup_dir: Path | None = None,
    only_look: bool = False,
    baseline: bool = False,
    timeout_s: float = LOCK_TIMEOUT_S,
) -> Live:
    """Decides whether and what to migrate; takes constant time and leaves main file and WAL as they are.

    `only_look` asks for no permission to write, `baseline` plans to write the ledger alone. Raises RefusedError, naming
    object, fault and way out. A hot journal (a crash of the application) is rolled back by opening the database, which
    is a finding; with `only_look` it is refused instead. What a killed run left is a finding with `only_look`, for a
    run ends that first.
    """
    real = _real_file(database)
    # Before the look: what a run has in the database is there only as long as its journal.
    journal = read_journal(real)
    findings: list[Finding] = []
    hot = _is_hot(real, timeout_s)
    if hot and only_look:
        raise RefusedError(
            f"{real} has a hot journal: a writer died in a transaction", "start a migration, which rolls it back"
        )
    if hot:
        _roll_back_hot_journal(real, timeout_s)
        findings.append(
            Finding("hot_journal_rolled_back", f"a writer of {real.name} had died; its transaction was rolled back")
        )
    try:
        # Kept open until the writing connection is closed: the last one to close would move the WAL into the main file.
        with opened(real, read_only=True, timeout_s=timeout_s) as connection:
            state, applied, left = _look(connection, application)
            findings.extend(_of_a_run(real, journal, left, only_look))
            journal_mode = str(pragma(connection, "journal_mode"))
            # What a WAL holds counts as well: the main file may be a fraction of the database.
            size = int(str(pragma(connection, "page_count"))) * int(str(pragma(connection, "page_size")))
            if not only_look:
                _check_writable(real, timeout_s)
    except sqlite3.Error as error:
        raise _refusal(real, error, timeout_s) from error
    except UnicodeDecodeError as error:
        # What Python makes of an SQLite error that quotes a name which is no text.
        said = error.object.decode(errors="backslashreplace")
        raise RefusedError(f"{real} cannot be read: {said}", "repair its schema first: sqlite3's .recover") from error
    plan = plan_pending(application.migrations, applied, state, to_version, answers or Answers(), baseline=baseline)
    if plan is not None and baseline:
        said = f"{real.name} has the schema of {plan.to_version:04d} already: only the ledger is written"
        findings.append(Finding("baseline", said))
    run_id = secrets.token_hex(4)
    directory = _run_directory(real, backup_dir, run_id)
    if plan is not None and not only_look:
        _check_space(real, directory, size)
    return Live(real, application, run_id, directory, state, applied, plan, journal_mode, size, tuple(findings))


def read_state(connection: sqlite3.Connection, application: Application) -> State:
    """The schema and this tool's own tables, as `connection` sees them now."""
    own = {name: columns for name in application.own_tables if (columns := columns_of(connection, name))}
    return State(read_schema(connection, application.own_tables), own)


def _real_file(database: Path) -> Path:
    """The file itself, checked without opening a connection: plain reads here can drop no lock of ours."""
    real = Path(os.path.realpath(database))
    for name in (database, real):
        if not is_text(name):
            # Prefect's server, the journal and the report all keep the name as text.
            raise RefusedError(f"the database's path {os.fsencode(name)!r} is not UTF-8", "rename it")
    try:
        found = real.stat()
        # Opening a pipe would wait for its other end.
        header = _read_header(real) if stat.S_ISREG(found.st_mode) else b""
    except FileNotFoundError:
        raise RefusedError(f"no database at {os.path.abspath(database)}", "give its path with --database") from None
    except OSError as error:
        raise RefusedError(f"{database} cannot be read ({error.strerror})", "run as a user who may read it") from error
    if stat.S_ISDIR(found.st_mode):
        raise RefusedError(f"{database} is a directory", "give the path of the database file in it")
    if not stat.S_ISREG(found.st_mode):
        raise RefusedError(f"{database} is no ordinary file", "give the path of the database file")
    if found.st_nlink > 1:
        raise RefusedError(
            f"{real} has {found.st_nlink} hard links: two names would use two locks for one database",
            "remove the other names",
        )
    if not header:
        raise RefusedError(f"{database} is empty", "start the application once to create its tables")
    if not header.startswith(_HEADER):
        raise RefusedError(f"{database} is no SQLite database, or an encrypted one", "give an unencrypted SQLite file")
    if header[_ENCODING] not in _ENCODINGS:
        raise RefusedError(
            f"{database} is damaged (its header names no text encoding)", "restore it from a backup of the application"
        )
    _check_not_truncated(real, header)
    return real


def _read_header(real: Path) -> bytes:
    with real.open("rb") as file:
        return file.read(_HEADER_BYTES)


def _check_not_truncated(real: Path, header: bytes) -> None:
    """The header's page count holds where the change counter beside it does (sqlite.org/fileformat.html#filesize)."""
    page_size = int.from_bytes(header[16:18], "big")
    page_size = 65536 if page_size == 1 else page_size
    expected = int.from_bytes(header[28:32], "big") * page_size
    has_log = any(real.with_name(real.name + suffix).exists() for suffix in ("-wal", "-journal"))
    size = real.stat().st_size
    # In this order: a writer may have checkpointed, or shrunk the file, since the header was read.
    if header[24:28] == header[92:96] and size < expected and not has_log and _read_header(real) == header:
        raise RefusedError(
            f"{real} is truncated: {size} bytes of {expected}", "restore it from a backup of the application"
        )


def _is_hot(real: Path, timeout_s: float) -> bool:
    """Whether a rollback journal lies there whose writer died: only SQLite can tell it from one of a writer at work."""
    if not real.with_name(real.name + "-journal").exists():
        return False
    try:
        with opened(real, read_only=True, timeout_s=timeout_s) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error as error:
        if error.sqlite_errorname == "SQLITE_READONLY_ROLLBACK":
            return True
        raise _refusal(real, error, timeout_s) from error
    return False


def _roll_back_hot_journal(real: Path, timeout_s: float) -> None:
    try:
        with opened(real, timeout_s=timeout_s) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error as error:
        raise _refusal(real, error, timeout_s) from error


def _look(
    connection: sqlite3.Connection, application: Application
) -> tuple[State, tuple[Applied, ...], Mapping[str, str]]:
    connection.execute("BEGIN")
    state = read_state(connection, application)
    applied = read_ledger(connection, application.name, application.migrations)
    _refuse_foreign(state, application, versions_ever_applied(connection, application.name))
    left = own_objects(connection)
    connection.execute("COMMIT")
    _refuse_endless_views(state)
    return state, applied, left


def _of_a_run(real: Path, journal: Journal | None, left: Mapping[str, str], only_look: bool) -> Iterator[Finding]:
    """What the run that starts next would first end. Refuses what is `left` of this tool's own where none would."""
    names = ", ".join(left)
    if journal is None and left:
        raise RefusedError(f"the database has objects named like this tool's own: {names}", way_out_of(left))
    if journal is None:
        return
    killed = run_on(real) is Run.KILLED
    if left and not killed:
        raise RefusedError(f"a run is at work on {real}", "wait until it has ended")
    if left and not only_look:
        raise RefusedError(
            f"run {journal.run_id} left {names} in the database",
            "start the migration again, which removes them; do not drop them by hand",
        )
    if killed:
        told = f": {names}; do not drop them by hand" if left else ""
        yield Finding("killed_run", f"a migration first ends what run {journal.run_id} left{told}")


def way_out_of(left: Mapping[str, str]) -> str:
    """What to do with objects, text by name, that are named like this tool's own where no run is to end them."""
    if any(sql.startswith("CREATE TRIGGER") for sql in left.values()):
        return (
            "drop the triggers first, then the tables, in one transaction: a trigger without its table makes every "
            "write fail"
        )
    return "rename or drop them"


def _refuse_endless_views(state: State) -> None:
    """SQLite would write them out inside one call, in which no signal and no deadline is noticed."""
    for view, count in expansions(state.schema).items():
        if count > _MOST_EXPANSIONS:
            raise RefusedError(
                f"view {view} stands for {count:,} SELECTs, because it names views that name views; nobody can read it",
                "drop it, or the view below it that it names most often",
            )


def _refuse_foreign(state: State, application: Application, ever_applied: Collection[int]) -> None:
    """A table named like one of this tool's, where no migration of this tool has made it, is somebody's."""
    for migration in application.migrations:
        if migration.version not in ever_applied:
            for name in sorted(migration.own_tables & state.own.keys()):
                raise RefusedError(
                    f"table {name} already exists, and migration {migration.label} would keep values under that name",
                    "rename it",
                )


def _check_writable(real: Path, timeout_s: float) -> None:
    """In a directory that takes no journal even BEGIN IMMEDIATE succeeds; only the first write fails."""
    with opened(real, timeout_s=timeout_s) as connection:
        polling(connection, lambda: connection.execute("BEGIN IMMEDIATE"))
        connection.execute("CREATE TABLE _mig_probe (x)")
        connection.execute("ROLLBACK")


def _run_directory(real: Path, backup_dir: Path | None, run_id: str) -> Path:
    parent = backup_dir.resolve() if backup_dir is not None else real.with_name(real.name + BACKUPS_SUFFIX)
    return parent / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{run_id}"


def _check_space(real: Path, directory: Path, size_bytes: int) -> None:
    """Room for the copies, and on live's own filesystem for the new table, its journal and the old one."""
    place = directory.parent
    while not os.path.lexists(place):
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK, effective_ids=True):
        raise RefusedError(
            f"{place} takes no backup: it is no directory that this user may write to",
            "make it writable, or put the backup elsewhere with --backup-dir",
        )
    needed = {place: _COPIES_BESIDE * size_bytes}
    same = os.stat(place).st_dev == os.stat(real.parent).st_dev
    beside = place if same else real.parent
    needed[beside] = needed.get(beside, 0) + 2 * size_bytes
    for where, size in needed.items():
        free = shutil.disk_usage(where).free
        if free < size:
            raise RefusedError(
                f"{where} has {free:,} bytes free, the migration of {real.name} needs {size:,}",
                "make room, or put the backup elsewhere with --backup-dir",
            )


def _refusal(real: Path, error: sqlite3.Error, timeout_s: float) -> RefusedError:
    """What SQLite said, with object and way out."""
    text = str(error)
    if is_passing(error):
        return RefusedError(
            f"{real} is locked by another process for more than {timeout_s:g} s", "end the long transaction"
        )
    if is_damage(error):
        return RefusedError(f"{real} is damaged ({text})", "restore it from a backup of the application")
    if "readonly" in text or "unable to open" in text:
        return RefusedError(f"{real} or its directory cannot be written ({text})", "make both writable for this user")
    return RefusedError(f"{real} cannot be used ({text})", "check the file with the sqlite3 shell")
