"""The file that says how far a fleet's run came: a line for each thing that happened, in JSON, on the disk at once.

The first line says what was ordered, then comes a line for each database with its wave, then what happened. A line is
added whole or not at all; one that a kill cut short counts for nothing.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from migrator.errors import RefusedError
from migrator.files import read_regular, sync_directory
from migrator.fleet.results import Result
from migrator.fleet.waves import Wave


@dataclass(frozen=True)
class Order:
    """What a fleet's run was asked to do: `request` in the words of the command, as the last start that resumed it
    changed them; `checksum` that of the migrations."""

    fleet_id: str
    request: Mapping[str, Any]
    checksum: str
    waves: tuple[Wave, ...]

    @property
    def is_on_machines(self) -> bool:
        """Whether its databases are on machines that are named with them, all of them."""
        return any(part.machine is not None for wave in self.waves for part in wave.parts)


@dataclass(frozen=True)
class Stored:
    """What the file holds: the order, every result in its order, and which databases were under way at its end."""

    order: Order
    results: tuple[Result, ...]
    under_way: tuple[str, ...]

    @property
    def left(self) -> tuple[str, ...]:
        """The databases without a result."""
        done = {result.database for result in self.results}
        return tuple(name for wave in self.order.waves for name in wave.databases if name not in done)


def read_state(path: Path) -> Stored | None:
    """What the file holds; None for an empty one. Raises RefusedError for what no fleet's run wrote."""
    try:
        # What follows the last newline was cut short.
        lines = read_regular(path).split("\n")[:-1]
        return _parsed([json.loads(line) for line in lines]) if lines else None
    except OSError as error:
        raise RefusedError(f"state {path} cannot be read ({error})", "name the file with --state") from error
    except (ValueError, KeyError, TypeError, IndexError) as error:
        fault = f"{path} is not the state of a fleet ({type(error).__name__}: {error})"
        raise RefusedError(fault, "name another file with --state") from error


def _parsed(lines: Sequence[dict[str, Any]]) -> Stored:
    first, count = lines[0], int(lines[0]["databases"])
    waves: dict[str, list[str]] = {}
    for line in lines[1 : count + 1]:
        waves.setdefault(line["wave"], []).append(line["database"])
    if sum(map(len, waves.values())) != count:
        raise ValueError(f"fewer than {count} databases")
    planned = tuple(Wave(name, tuple(databases)) for name, databases in waves.items())
    request = dict(first["request"])
    results: list[Result] = []
    under_way: dict[str, None] = {}
    for line in lines[count + 1 :]:
        if line["event"] == "resumed":
            request = dict(line["request"])
        elif line["event"] == "started":
            under_way[line["database"]] = None
        elif line["event"] == "ended":
            results.append(Result.from_json(line))
            under_way.pop(line["database"], None)
    order = Order(str(first["fleet"]), request, str(first["checksum"]), planned)
    return Stored(order, tuple(results), tuple(under_way))


class StateFile:
    """The file, locked for this run alone until it is closed; the kernel frees it when the run is killed."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    def begin(self, order: Order) -> None:
        """Afterwards the file holds this order and nothing else; before, what it held."""
        first = {"fleet": order.fleet_id, "at": _now(), "checksum": order.checksum}
        databases = [{"wave": wave.name, "database": name} for wave in order.waves for name in wave.databases]
        lines: list[Mapping[str, Any]] = [first | {"databases": len(databases), "request": dict(order.request)}]
        fresh = self.path.with_name(self.path.name + ".new")
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_APPEND, 0o600)
        # Before it gets the name: nobody ever sees it unlocked.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _append(descriptor, "".join(map(_line, [*lines, *databases])))
        os.replace(fresh, self.path)
        sync_directory(self.path.parent)
        os.close(self._descriptor)
        self._descriptor = descriptor

    def cut_torn_line(self) -> None:
        """Afterwards the file ends with a whole line: what a kill cut short would spoil the next one."""
        held = self.path.read_bytes()
        os.ftruncate(self._descriptor, held.rfind(b"\n") + 1)

    def note(self, event: str, **facts: Any) -> None:
        """Adds one line; it is on the disk afterwards. Raises OSError where it cannot be: on a full disk above all."""
        _append(self._descriptor, _line({"at": _now(), "event": event, **facts}))

    def close(self) -> None:
        """Frees the file for the next run."""
        os.close(self._descriptor)


@contextmanager
def opened_state(path: Path, create: bool, waits: Callable[[], None] | None = None) -> Iterator[StateFile]:
    """The state file, locked. Where another run has it `waits` is called, and the end of that is waited for.

    Raises RefusedError where another run has it and there is no `waits`, or where it is not there and is not to be
    made.
    """
    state = StateFile(path, _locked(path, create, waits))
    try:
        yield state
    finally:
        state.close()


def _locked(path: Path, create: bool, waits: Callable[[], None] | None) -> int:
    flags = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | (os.O_CREAT if create else 0)
    while True:
        try:
            descriptor = os.open(path, flags, 0o600)
        except OSError as error:
            fault = f"the fleet's state {path} cannot be opened ({error.strerror})"
            raise RefusedError(fault, "name the file with --state") from error
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise RefusedError(f"{path} is no ordinary file", "name another file with --state")
            _lock(descriptor, waits)
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            raise RefusedError(f"a fleet's run with the state {path} is under way", "wait for its end") from None
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        # Another run has put its own in the place of what was opened.
        os.close(descriptor)


def _lock(descriptor: int, waits: Callable[[], None] | None) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if waits is None:
            raise
        waits()
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def _append(descriptor: int, text: str) -> None:
    # One write: what a full disk or a kill cuts short ends without a newline.
    data = text.encode()
    while data:
        data = data[os.write(descriptor, data) :]
    os.fsync(descriptor)


def _line(facts: Mapping[str, Any]) -> str:
    # ASCII, so that a name that is no UTF-8 is kept as well.
    return json.dumps(facts) + "\n"


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
