"""A run, a recovery or a restore in which system calls on the database's files fail, and what must hold afterwards.

The calls fail by strace's fault injection: a forked child has itself traced before it begins, so that Python's own
start is not hit, and only calls on the paths given here are.
"""

import ctypes
import os
import re
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from migrator import ledger
from migrator.backup import back_up
from migrator.connect import opened
from migrator.errors import MigratorError, RefusedError
from migrator.journal import journal_path, read_journal
from migrator.lock import locked
from migrator.preflight import Live, preflight
from migrator.promotion import promote
from migrator.removal import remove_old, temporary_objects
from migrator.restoration import discard, finish_promoted, recover, restore
from migrator.schema import OWN_PREFIX
from migrator.verification import shows_nothing, verify, verify_live
from tests.children import in_child
from tests.notes import NOTES, SOURCE_COLUMNS, TARGET_COLUMNS
from tests.runs import beside, columns, holds, is_sound, rehearse, rows

RUN_ID = "0badd15c"
"""The run under faults always has the same folder: strace selects by path."""
EXPECTED = (sqlite3.Error, OSError, MigratorError, MemoryError)
"""What may end a run or a restore here; anything else is a fault of its own."""
_PR_SET_PTRACER, _ANY = 0x59616D61, -1
_CALL = re.compile(r"^(?:\d+ +)?(\w+)\((.*)$")


@dataclass(frozen=True)
class Fault:
    """The `nth` call of `call` on the database's files fails with `error`; with `lasting` every later one as well."""

    call: str
    error: str
    nth: int = 0
    lasting: bool = False

    def __str__(self) -> str:
        return f"{self.call} {self.error} at {self.nth}{' and later' if self.lasting else ''}"

    @property
    def option(self) -> str:
        return f"inject=?{self.call}:error={self.error}:when={self.nth}{'+' if self.lasting else ''}"


@dataclass(frozen=True)
class Said:
    """What the child says: the outcome, what ended the run, and what ended the restore after it."""

    outcome: str
    step: str
    error: BaseException | None = None
    second: BaseException | None = None


def files_of(database: Path) -> list[Path]:
    """Every file that a run by RUN_ID has or may have, and their directories."""
    directory = directory_of(database)
    copies = [directory / "backup.db", *(directory / "scratch" / name for name in ("candidate.db", "schema.db"))]
    sqlite_files = [
        Path(f"{path}{suffix}") for path in (database, *copies) for suffix in ("", "-journal", "-wal", "-shm")
    ]
    notes = [journal_path(database), directory / "manifest.json"]
    return [
        database.parent, directory.parent, directory, directory / "scratch", *sqlite_files, *notes,
        *(path.with_name(path.name + ".new") for path in notes), database.with_name(database.name + ".migration-lock"),
    ]  # fmt: skip


def directory_of(database: Path) -> Path:
    return database.with_name(database.name + ".backups") / f"20000101T000000Z-{RUN_ID}"


def under(fault: Fault | None, calls: str, database: Path, log: Path, function: Callable[[], object]) -> object:
    """What `function` returns in a forked child in which the fault is injected; `log` has its `calls` on the files."""

    def work() -> object:
        with _traced(fault, calls, database, log):
            return function()

    return in_child(work)


@contextmanager
def _traced(fault: Fault | None, calls: str, database: Path, log: Path) -> Iterator[None]:
    """This process under strace, which is its own child: Linux may allow that only where the traced one agrees."""
    ctypes.CDLL(None).prctl(_PR_SET_PTRACER, ctypes.c_long(_ANY), 0, 0, 0)
    # Not every machine has every one of them.
    names = ",".join(f"?{call}" for call in calls.split(","))
    command = ["strace", "-f", "-y", "-s0", "-o", os.fspath(log), "-p", str(os.getpid()), "-e", f"trace={names}"]
    for path in files_of(database):
        command += ["-P", os.fspath(path)]
    if fault is not None:
        command += ["-e", fault.option]
    strace = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while b"attached" not in (line := strace.stderr.readline()):
        if not line or b"not permitted" in line:
            strace.kill()
            strace.wait()
            raise NotTracedError(f"strace cannot attach to a process here: {line.decode().strip()}")
    try:
        yield
    finally:
        # It detaches, which writes the rest of its log.
        strace.send_signal(signal.SIGINT)
        strace.wait()
        strace.stderr.close()


class NotTracedError(Exception):
    """Nothing can be injected on this machine."""


def calls_in(log: Path) -> list[str]:
    """The name of each call in the log."""
    return [found[1] for line in log.read_text().splitlines() if (found := _CALL.match(line)) and "=" in line]


def injected_in(log: Path) -> list[str]:
    """The calls that failed, each with the name of the file."""
    hit = [line for line in log.read_text().splitlines() if "(INJECTED)" in line]
    return [re.sub(r"^\d+ +", "", line)[:160] for line in hit]


def start(
    database: Path,
    max_lock_ms: float,
    run_id: str = RUN_ID,
    at: Callable[[str], object] = lambda step: None,
    lock: Callable[[Path], AbstractContextManager[None]] = locked,
) -> Said:
    """A whole start as flows/migrate.py and flows/ending.py have it, without the tools; `at` hears each step begin."""
    running, live = "lock", None

    def begin(step: str) -> None:
        nonlocal running
        running = step
        at(step)

    try:
        with lock(database):
            try:
                begin("recover")
                if read_journal(database):
                    recover(database, NOTES)
                begin("preflight")
                found = preflight(database, NOTES)
                live = replace(found, run_id=run_id, directory=found.directory.with_name(f"20000101T000000Z-{run_id}"))
                begin("back_up")
                backup = back_up(live, max_lock_ms=max_lock_ms)
                begin("rehearse")
                candidate = rehearse(backup)
                begin("promote")
                promoted = promote(candidate, max_lock_ms)
                begin("verify_live")
                verify_live(promoted)
                if promoted.strategy == "online":
                    begin("remove_old")
                    remove_old(promoted)
                begin("finish")
                return _end(live, running)
            except Exception as error:
                return Said("refused", running, error) if live is None else _end_badly(live, running, error)
    except Exception as error:
        return Said("refused", running, error)


def _end(live: Live, running: str, error: Exception | None = None) -> Said:
    """What goes wrong from here on is a finding."""
    try:
        finish_promoted(live)
    except Exception as second:
        return Said("migrated", running, error, second)
    return Said("migrated", running, error)


def _end_badly(live: Live, running: str, error: Exception) -> Said:
    refused = running == "back_up" and isinstance(error, RefusedError)
    try:
        if not refused and _stands(live, running, error):
            return _end(live, running, error)
        if refused:
            discard(live.database, live.directory)
            return Said("refused", running, error)
        restore(live.database, NOTES, live.run_id, live.directory)
    except Exception as second:
        return Said("refused" if refused else "restore_failed", running, error, second)
    return Said("restored", running, error)


def _stands(live: Live, running: str, error: Exception) -> bool:
    if running == "verify_live" and not shows_nothing(error):
        return False
    try:
        with opened(live.database, read_only=True) as connection:
            if ledger.read_run(connection, live.run_id) is None:
                return False
        verify(live.database, live.application, live.run_id)
    except (sqlite3.Error, MigratorError):
        return False
    return True


def recovery(database: Path) -> Said:
    """The next start, of which only the recovery is of interest."""
    try:
        with locked(database):
            return Said(recover(database, NOTES).how, "recover")
    except Exception as error:
        return Said("recover_failed", "recover", error)


def reversal(database: Path) -> Said:
    """The restore of a run whose promotion was committed."""
    try:
        with locked(database):
            return Said(restore(database, NOTES, RUN_ID, directory_of(database)).how, "restore")
    except Exception as error:
        return Said("restore_failed", "restore", error)


def content(database: Path) -> dict[str, object]:
    """`holds`, without this tool's temporary objects and without what a ledger says of one run."""
    found = holds(database)
    own = OWN_PREFIX.encode()
    found["schema"] = [row for row in found["schema"] if not row[1].startswith(own) and not row[2].startswith(own)]
    kept = {}
    for name, held in found.items():
        if not name.startswith(OWN_PREFIX):
            kept[name] = len(held) if name in ledger.LEDGER_TABLES else held
    if "sqlite_sequence" in kept:
        kept["sqlite_sequence"] = [row for row in kept["sqlite_sequence"] if not row[0].startswith(own)]
    return kept


@dataclass(frozen=True)
class Known:
    """What the database holds before and after a migration, and its journal mode."""

    old: dict[str, object]
    new: dict[str, object]
    journal_mode: str


def faults_after(said: Said, database: Path, known: Known) -> list[str]:
    """What does not hold, without any injection, from the first look to the end of a second run; [] if all does."""
    faults = [
        f"{type(error).__name__} ended the {what}: {error}"
        for what, error in (("run", said.error), ("restore", said.second))
        if error is not None and not (isinstance(error, EXPECTED) and (str(error) or isinstance(error, MemoryError)))
    ]
    is_new = _is_new(database, known, faults, "at the first look")
    if said.outcome in ("migrated", "finished") and not is_new:
        faults.append(f"it said {said.outcome}, and the database is old")
    if said.outcome in ("restored", "refused", "unchanged", "reversed"):
        if is_new:
            faults.append(f"it said {said.outcome}, and the database is new")
        if ours := _ours(database):
            faults.append(f"it said {said.outcome}, and left {ours}")
    if read_journal(database) is not None:
        how = recover(database, NOTES).how
        if how != ("finished" if is_new else "unchanged"):
            faults.append(f"{'new' if is_new else 'old'} before the recovery, which said {how}")
        if _is_new(database, known, faults, "after the recovery") != is_new:
            faults.append("the recovery went from one to the other")
    _check_nothing_is_left(database, known, faults, "at the end")
    if not is_new:
        again = start(database, 60_000.0, "00000002")
        if again.outcome != "migrated" or again.error or again.second:
            faults.append(f"a second run ended with {again}")
        elif not _is_new(database, known, faults, "after the second run"):
            faults.append("a second run did not migrate")
        _check_nothing_is_left(database, known, faults, "after the second run")
    return faults


def _is_new(database: Path, known: Known, faults: list[str], when: str) -> bool:
    if not is_sound(database):
        faults.append(f"{when}: {rows(database, 'PRAGMA integrity_check')[:2]}")
    held, is_new = content(database), columns(database) == TARGET_COLUMNS
    expected = known.new if is_new else known.old
    if not is_new and columns(database) != SOURCE_COLUMNS:
        faults.append(f"{when}: columns {columns(database)}")
    for name in sorted(held.keys() | expected.keys()):
        if held.get(name) != expected.get(name):
            faults.append(f"{when}: {'new' if is_new else 'old'}, but {name} differs")
    return is_new


def _ours(database: Path) -> list[tuple[str, str]]:
    with opened(database, read_only=True) as connection:
        return temporary_objects(connection, NOTES)


def _check_nothing_is_left(database: Path, known: Known, faults: list[str], when: str) -> None:
    allowed = {f"{database.name}{suffix}" for suffix in (".backups", ".migration-lock", "-journal")}
    # What is left where it could not be removed; the next run's note replaces it.
    allowed.add(f"{database.name}.migrating.new")
    if ours := _ours(database):
        faults.append(f"{when}: {ours} left")
    if others := beside(database) - allowed:
        faults.append(f"{when}: {others} left")
    if (mode := rows(database, "PRAGMA journal_mode")) != [(known.journal_mode,)]:
        faults.append(f"{when}: journal mode {mode}")
