"""An operator's order: the database becomes what a backup holds."""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from migrator.backup import MANIFEST_NAME
from migrator.commands import own_command, restore_by_shell
from migrator.connect import is_damage, is_passing, opened
from migrator.content import Content, difference, read_contents
from migrator.errors import MigratorError, RefusedError, RestoreError
from migrator.files import make_directory, sha256_of
from migrator.inspection import integrity_faults
from migrator.journal import Journal, read_journal
from migrator.pages import PRESENT_NAME, copy_back
from migrator.preflight import BACKUPS_SUFFIX
from migrator.restoration import finish, remove_directory
from migrator.schema import Schema, read_schema

_MARKS = "AUTOINCREMENT marks (ids that were given since would be given again)"


@dataclass(frozen=True)
class Returned:
    """The database holds what the backup holds. `present` is a copy of what it held before; None: it was the same."""

    database: Path
    backup: Path
    present: Path | None


def return_to_backup(
    database: Path,
    backup: Path,
    discard_later_writes: bool = False,
    before_change: Callable[[], object] = lambda: None,
) -> Returned:
    """Copies the pages of `backup` over `database`, after saving its present state beside its other backups.

    Afterwards both have the same schema and content, tool's tables and AUTOINCREMENT marks included: with the rows that
    are discarded their ids are free again. Raises RefusedError, with nothing changed, where the backup is no sound
    database, not what its manifest says or of another database, where something holds the database, and where this has
    rows, a schema or marks that the backup has not, unless `discard_later_writes`; RestoreError where the copy did not
    succeed. Until `before_change` is called nothing was changed, and what is raised leaves nothing behind.
    """
    killed = read_journal(database)
    _check_backup(backup, database)
    later = _differing(database, backup)
    if not later:
        before_change()
        _forget_run(database, killed)
        return Returned(database, backup, None)
    if not discard_later_writes:
        reverse = own_command("flows.migrate", "--database", database, "--to", "0000")
        raise RefusedError(
            f"{database} differs from the backup in {', '.join(later)}; going back would discard that",
            ("" if later == (_MARKS,) else f"{reverse} goes back and keeps every row; ")
            + "--discard-later-writes goes back to the backup all the same and saves the present state first",
        )
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
    directory = database.with_name(database.name + BACKUPS_SUFFIX) / name
    make_directory(directory, database)
    present = directory / PRESENT_NAME
    try:
        copy_back(backup, database, present, before_change)
        still = _differing(database, backup)
    except BaseException as error:
        if not present.exists():
            remove_directory(database, directory)
        # What names a way out of its own is not given a second one.
        if not isinstance(error, sqlite3.Error | OSError | MigratorError) or _names_way_out(error):
            raise
        raise _described(error, database, backup, present) from error
    if still:
        raise RestoreError(
            f"{database} still differs from {backup} in {', '.join(still)}", _by_hand(database, backup, present)
        )
    try:
        _forget_run(database, killed)
    except (sqlite3.Error, OSError) as error:
        raise RestoreError(
            f"{database} holds what {backup} holds, and its state before this order is in {present}, but what a killed "
            f"run left beside it could not be removed ({error})",
            "the next start of the migration removes that",
        ) from error
    return Returned(database, backup, present)


def _names_way_out(error: Exception) -> bool:
    return isinstance(error, RestoreError) and bool(error.way_out)


def _described(error: Exception, database: Path, backup: Path, present: Path) -> MigratorError:
    """What ended the copy, with the way out."""
    if isinstance(error, sqlite3.Error) and is_passing(error) and not present.exists():
        return RefusedError(
            f"{database} is in use ({error}); nothing was changed",
            "stop the application or end what holds the database, then try again",
        )
    return RestoreError(f"{database} could not be replaced ({error})", _by_hand(database, backup, present))


def _check_backup(backup: Path, database: Path) -> None:
    if not backup.is_file():
        raise RefusedError(f"no backup at {backup}", "give the path of a backup.db")
    manifest = backup.with_name(MANIFEST_NAME)
    if manifest.exists():
        try:
            stored = json.loads(manifest.read_text(encoding="utf-8"))
            expected, source = stored["sha256"], stored["database"]
        except (ValueError, LookupError, TypeError) as error:
            raise RefusedError(f"{manifest} is damaged ({type(error).__name__})", "use another backup") from error
        if source != os.path.realpath(database):
            raise RefusedError(
                f"{backup} is a backup of {source}, not of {database}",
                f"give one of its own backups; if the database was moved here, copy {backup.name} without its manifest",
            )
        if sha256_of(backup) != expected:
            raise RefusedError(f"{backup} is not what {manifest} says: it was changed or damaged", "use another backup")
    try:
        with opened(backup, read_only=True) as connection:
            faults = integrity_faults(connection)
    except sqlite3.Error as error:
        faults = [str(error)]
    if faults:
        raise RefusedError(f"{backup} is damaged: {faults[0]}", "use another backup")


def _differing(database: Path, backup: Path) -> tuple[str, ...]:
    """The tables in which they differ, the schema named as such; everything where the database cannot be read."""
    wanted_schema, wanted = _held(backup)
    try:
        try:
            schema, found = _held(database)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname != "SQLITE_READONLY_ROLLBACK":
                raise
            # A writer died in a transaction; only a connection that may write can roll that back.
            schema, found = _held(database, read_only=False)
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        return ("every table (it is damaged)",)
    changed = tuple(_MARKS if table == "sqlite_sequence" else table for table in difference(wanted, found))
    return changed if schema.fingerprint == wanted_schema.fingerprint else ("the schema", *changed)


def _held(database: Path, *, read_only: bool = True) -> tuple[Schema, Mapping[str, Content]]:
    with opened(database, read_only=read_only) as connection:
        connection.execute("BEGIN")
        schema = read_schema(connection)
        return schema, read_contents(connection, schema)


def _forget_run(database: Path, killed: Journal | None) -> None:
    """What a killed run left in the database went with its pages; its scratch folder and journal go now."""
    if killed is not None:
        finish(database, Path(killed.directory))


def _by_hand(database: Path, backup: Path, present: Path) -> str:
    saved = f"the state before this order is in {present}; " if present.exists() else ""
    return f"{saved}stop the application, then: {restore_by_shell(database, backup)}"
