"""Opening SQLite: explicit transactions only, pragmas read back, signals let in during long statements."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TypeVar

from migrator.ddl import quote
from migrator.errors import MigratorError, RefusedError

T = TypeVar("T")

LOCK_TIMEOUT_S = 5.0
"""How long a statement waits for another connection's lock: the application's own busy timeout."""

_OPCODES_PER_TICK = 20_000
"""A progress handler called this often costs nothing measurable and lets a signal in within milliseconds."""

_POLL_S = 0.001
"""SQLite's own handler sleeps up to 100 ms between tries and would miss the gaps that a busy writer leaves."""
_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")


class PragmaError(MigratorError):
    """SQLite did not take a setting that the migration's safety rests on."""


class Connection(sqlite3.Connection):
    """`arrived` is what a signal handler or a timeout raised while a statement ran, until `opened` raises it again."""

    arrived: BaseException | None = None


def connect(
    database: Path,
    *,
    read_only: bool = False,
    timeout_s: float = LOCK_TIMEOUT_S,
    trusts_schema: bool = False,
) -> Connection:
    """Opens an existing database; nothing is ever created.

    One that `trusts_schema` speaks for the application, on a copy: its views and triggers may use what they use in
    the application's own connections, virtual tables above all.
    Python opens no transaction by itself on this connection (isolation_level None), text that is not UTF-8
    is the caller's affair, and a signal that arrives during a statement ends the statement
    (sqlite3.OperationalError "interrupted") instead of waiting for it.
    """
    if not read_only:
        _refuse_other_names(database)
    mode = "ro" if read_only else "rw"
    uri = f"{database.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, timeout=timeout_s, isolation_level=None, factory=Connection)
    try:
        if not trusts_schema:
            distrust_schema(connection)
    except BaseException:
        connection.close()
        raise
    let_signals_in(connection)
    return connection


def distrust_schema(connection: sqlite3.Connection) -> None:
    """From here on no view, trigger or table reaches a function with side effects (sqlite.org/security.html)."""
    if not json_is_unsafe():
        set_pragma(connection, "trusted_schema", 0)


@cache
def json_is_unsafe() -> bool:
    """Whether this SQLite takes its own JSON functions for ones with side effects, as 3.40.1 does.

    Without trust it then calls a database damaged that has one in a CHECK, an index or a computed column. With trust
    it still refuses there what really has side effects, and this program brings no functions of its own
    (sqlite.org/c3ref/c_deterministic.html#sqlitedirectonly).
    """
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute("PRAGMA trusted_schema=0")
        connection.execute("CREATE VIEW v AS SELECT json_valid('1')")
        connection.execute("SELECT * FROM v")
    except sqlite3.OperationalError as error:
        return str(error).startswith("unsafe use of json")
    finally:
        connection.close()
    return False


def _refuse_other_names(database: Path) -> None:
    """A rollback journal may end with the name of another one (sqlite.org/atomiccommit.html#_multi_file_commit).

    To roll it back SQLite removes the file of that name, whatever it is.
    """
    try:
        with database.with_name(database.name + "-journal").open("rb") as file:
            file.seek(-len(_JOURNAL_MAGIC), os.SEEK_END)
            names_another = file.read() == _JOURNAL_MAGIC
    except (OSError, ValueError):
        return
    if names_another:
        raise RefusedError(
            f"the rollback journal of {database} belongs to a transaction over several databases",
            "open it once with the application that wrote it",
        )


@contextmanager
def opened(
    database: Path,
    *,
    read_only: bool = False,
    timeout_s: float = LOCK_TIMEOUT_S,
    trusts_schema: bool = False,
) -> Iterator[Connection]:
    """`connect`, closed at the end whatever happens; an open transaction is rolled back by the close.

    Where a signal or a timeout ended a statement, its own exception is raised, not SQLite's "interrupted".
    """
    connection = connect(database, read_only=read_only, timeout_s=timeout_s, trusts_schema=trusts_schema)
    try:
        yield connection
    except Exception as error:
        if connection.arrived is not None:
            raise connection.arrived from error
        raise
    finally:
        connection.close()


def set_pragma(connection: sqlite3.Connection, name: str, value: str | int) -> None:
    """Sets a pragma and reads it back.

    Raises PragmaError where SQLite kept another value (foreign_keys inside a transaction is a silent no-op).
    """
    if connection.in_transaction:
        raise PragmaError(f"PRAGMA {name} inside an open transaction would be ignored")
    connection.execute(f"PRAGMA {name}={value}").fetchall()
    found = connection.execute(f"PRAGMA {name}").fetchone()
    if found is not None and str(found[0]).casefold() != str(value).casefold():
        raise PragmaError(f"PRAGMA {name} stayed {found[0]!r} where {value!r} was set")


def pragma(connection: sqlite3.Connection, name: str) -> object:
    """The value of a pragma that yields one row."""
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def path_of(connection: sqlite3.Connection) -> Path:
    """The file of the database."""
    return Path(connection.execute("PRAGMA database_list").fetchone()[2])


def let_signals_in(connection: Connection) -> None:
    """Lets Python run its signal handlers while SQLite executes a statement."""
    _on_tick(connection, lambda: False, _OPCODES_PER_TICK)


def _on_tick(connection: Connection, is_over: Callable[[], bool], opcodes_per_tick: int) -> None:
    ticks = _ticks(connection, is_over)
    # Up to its first yield a generator is as open to a signal's exception as a function.
    next(ticks)
    connection.set_progress_handler(ticks.__next__, opcodes_per_tick)


def _ticks(connection: Connection, is_over: Callable[[], bool]) -> Iterator[bool]:
    """A progress handler as a generator: True ends the statement.

    sqlite3 swallows what a handler raises. A function would be hit by a signal's exception before its first line;
    a generator resumes inside its `try`, so the exception is kept.
    """
    over = False
    while True:
        try:
            yield over
            over = is_over()
        except GeneratorExit:
            raise
        except BaseException as error:
            over = True
            connection.arrived = error


@contextmanager
def deadline(connection: Connection, seconds: float, opcodes_per_tick: int = 1000) -> Iterator[Callable[[], float]]:
    """Interrupts any statement that is running `seconds` after the start; yields a clock of elapsed seconds.

    SQLite rolls back the whole transaction when the handler fires inside a write
    (sqlite.org/c3ref/interrupt.html): test `in_transaction` before sending another statement.
    """
    started = time.monotonic()

    def elapsed_s() -> float:
        return time.monotonic() - started

    _on_tick(connection, lambda: elapsed_s() > seconds, opcodes_per_tick)
    try:
        yield elapsed_s
    finally:
        let_signals_in(connection)


@contextmanager
def transaction(connection: sqlite3.Connection, kind: str = "IMMEDIATE") -> Iterator[None]:
    """BEGIN .. COMMIT; on any error ROLLBACK, unless SQLite rolled back already."""
    connection.execute(f"BEGIN {kind}")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def polling(
    connection: Connection,
    attempt: Callable[[], T],
    timeout_s: float | None = None,
    waited: Callable[[float], None] = lambda seconds: None,
) -> T:
    """What `attempt` returns, tried every millisecond while another connection's lock refuses it.

    `waited` is called after each refusal with the seconds since the first try. Raises its last
    sqlite3.OperationalError after `timeout_s` (None: the connection's own timeout); any other error, and a signal's, at
    once.
    """
    busy_timeout_ms = int(str(pragma(connection, "busy_timeout")))
    began = time.monotonic()
    until = began + (busy_timeout_ms / 1000 if timeout_s is None else timeout_s)
    connection.execute("PRAGMA busy_timeout=0")
    try:
        while True:
            try:
                return attempt()
            except sqlite3.OperationalError as error:
                if not is_passing(error) or connection.arrived is not None or time.monotonic() > until:
                    raise
            waited(time.monotonic() - began)
            time.sleep(_POLL_S)
    finally:
        connection.execute(f"PRAGMA busy_timeout={busy_timeout_ms}")


def is_damage(error: sqlite3.Error) -> bool:
    """Whether SQLite says that the file itself is broken; a lock, a signal or a full disk is no damage."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_passing(error: sqlite3.Error) -> bool:
    """Whether the same statement may succeed later: another connection's lock, or a signal, ended it."""
    passing = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_INTERRUPT)
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in passing


def count_rows(connection: sqlite3.Connection, table: str) -> int:
    """The number of rows of `table`."""
    return int(connection.execute(f"SELECT count(*) FROM {quote(table)}").fetchone()[0])
