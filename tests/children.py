"""Other processes: one that holds a lock, one that writes all the time, one that dies."""

import os
import pickle
import select
import signal
import sqlite3
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

PATIENCE_S = 60.0


@contextmanager
def running(code: str, *arguments: object) -> Iterator[subprocess.Popen]:
    """A Python program that printed a line when it was ready; killed at the end."""
    command = [sys.executable, "-c", code, *map(os.fspath, map(_text, arguments))]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[1])
    try:
        assert child.stdout.readline() == b"ready\n"
        yield child
    finally:
        child.kill()
        child.wait()
        child.stdin.close()
        child.stdout.close()


def _text(argument: object) -> str | os.PathLike:
    return argument if isinstance(argument, str | os.PathLike) else str(argument)


HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
for statement in sys.argv[2:]:
    connection.execute(statement).fetchall()
print("ready", flush=True)
sys.stdin.read()
"""


def holding(database: Path, *statements: str):
    """A process whose connection has executed `statements` and keeps what they locked."""
    return running(HOLD, database, *statements)


WRITE = """
import os, select, sqlite3, sys
database, log = sys.argv[1:]
written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

def write(name, statement, *values):
    os.write(written, f"? {name}\\n".encode())
    connection = sqlite3.connect(database, timeout=5, isolation_level=None)
    try:
        # After an insert that was refused there is nothing to update.
        if connection.execute(statement, values).rowcount:
            os.write(written, f"{name}\\n".encode())
    except sqlite3.OperationalError as error:
        os.write(written, f"ERROR {error}\\n".encode())
    finally:
        connection.close()

def body(number):
    return f"{os.getpid()} wrote {number}"

number = 0
while True:
    number += 1
    write(body(number), "INSERT INTO notes (body, mood) VALUES (?, 'good')", body(number))
    if number % 3 == 0:
        write(f"{body(number)}!", "UPDATE notes SET body = body || '!' WHERE body = ?", body(number))
    if number % 5 == 0:
        gone = body(number - 4)
        write(f"-{gone}", "DELETE FROM notes WHERE body IN (?, ? || '!')", gone, gone)
    if number % 7 == 0:
        write(f"batch {number}", "UPDATE notes SET body = ? || id WHERE id <= 60", f"batch {number} of ")
    if number == 1:
        print("ready", flush=True)
    # Not one write after the other, which would leave nobody else the lock.
    if select.select([sys.stdin], [], [], 0.003)[0]:
        break
"""


@contextmanager
def writing(database: Path, log: Path) -> Iterator[Callable[[], list[str]]]:
    """A process that writes notes all the time, a connection for each; yields what reads its own journal.

    A line before each write (`? name`) and one when it is committed (`name`), or its error. After the block the
    journal is complete.
    """
    with running(WRITE, database, log) as child:

        def lines() -> list[str]:
            return log.read_text().splitlines()

        yield lines
        assert child.poll() is None, "the writer died"


READ = """
import os, select, sqlite3, sys
database, log, timeout = sys.argv[1:]
seen = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
first = True
while True:
    connection = sqlite3.connect(database, timeout=float(timeout))
    try:
        found = connection.execute("SELECT * FROM notes LIMIT 1")
        # A statement that is not read to its end keeps the lock of a closed connection.
        found.fetchall()
        os.write(seen, (" ".join(column[0] for column in found.description) + "\\n").encode())
    except sqlite3.Error as error:
        os.write(seen, f"ERROR {error}\\n".encode())
    connection.close()
    if first:
        print("ready", flush=True)
    first = False
    if select.select([sys.stdin], [], [], 0.001)[0]:
        break
"""


@contextmanager
def reading(database: Path, log: Path, timeout_s: float = 5.0) -> Iterator[Callable[[], list[str]]]:
    """A process that reads notes all the time, a connection for each; yields the columns it saw, and its errors."""
    with running(READ, database, log, timeout_s):
        yield lambda: log.read_text().splitlines()


def await_more(lines: Callable[[], list[str]], count: int = 5) -> None:
    """Returns once another process has written `count` lines more."""
    wanted, patience = len(lines()) + count, time.monotonic() + PATIENCE_S
    while len(lines()) < wanted:
        assert time.monotonic() < patience, "the other process has stopped"


def lost(database: Path, lines: list[str]) -> list[str]:
    """What a writer that has ended had committed and the database does not hold so: lost, stale, back again, twice."""
    wanted: dict[str, set[str]] = {}
    begun = None
    for line in lines:
        # A line may have been cut short by the kill, but only the last.
        if line.startswith("? "):
            begun = line[2:]
            continue
        if not line.startswith("ERROR"):
            wanted[_written(line)] = {line}
        begun = None
    if begun is not None:
        # It may have been committed and not yet noted.
        name = _written(begun)
        wanted[name] = wanted.get(name, {f"-{name}"}) | {begun}
    connection = sqlite3.connect(database)
    bodies = connection.execute("SELECT id, body FROM notes").fetchall()
    connection.close()
    times = Counter(body for _, body in bodies)
    batches = {body.removesuffix(f" of {id_}") for id_, body in bodies if 0 < id_ <= 60}
    allowed = wanted.pop("batch", {"-batch"})
    faults = [] if "-batch" in allowed or (len(batches) == 1 and batches <= allowed) else [f"{batches}, not {allowed}"]
    for name, states in wanted.items():
        found = [body for body in (name, f"{name}!") for _ in range(times[body])] or [f"-{name}"]
        if len(found) > 1 or found[0] not in states:
            faults.append(f"{found}, not {states}")
    return faults


def _written(line: str) -> str:
    """Which note, or which notes, a line of the writer's journal is about."""
    return "batch" if line.startswith("batch") else line.strip("-!")


def committed(lines: list[str]) -> list[str]:
    """What a writer has committed, in its order."""
    return [line for line in lines if not line.startswith(("? ", "ERROR"))]


def errors(lines: list[str]) -> list[str]:
    """How often and why a process was turned away."""
    return [line for line in lines if line.startswith("ERROR")]


def in_child(function: Callable[[], object], before: Callable[[], None] = lambda: None) -> object:
    """What `function` returns, or raises, in a forked process that called `before` first."""
    reading, writing_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            try:
                before()
                result = (True, function())
            except Exception as error:
                result = (False, (error, traceback.format_exc()))
            with os.fdopen(writing_end, "wb") as pipe:
                pickle.dump(result, pipe)
        finally:
            os._exit(0)
    os.close(writing_end)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    succeeded, value = pickle.loads(answer)
    if succeeded:
        return value
    raise value[0] from Exception(value[1])


@dataclass(frozen=True)
class Said:
    """What a child said it was doing, each with the seconds for which it did that, and whether it was killed then."""

    phases: list[tuple[str, float]]
    killed: bool

    @property
    def last(self) -> str:
        return self.phases[-1][0]


def killed_in(phase: str, occurrence: int, seconds: float, function: Callable[[Callable[[str], None]], object]) -> Said:
    """Runs `function(say)` in a forked process and kills it `seconds` after it has said `phase` the n-th time."""
    reading, writing_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)

        def say(phase: str) -> None:
            os.write(writing_end, f"{time.monotonic()} {phase}\n".encode())

        try:
            say("")
            function(say)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(writing_end)
    said, kill_at = b"", None
    try:
        while True:
            left = PATIENCE_S if kill_at is None else max(0.0, kill_at - time.monotonic())
            # The pipe's end closes with the child.
            ready, _, _ = select.select([reading], [], [], left)
            data = os.read(reading, 4096) if ready else b""
            if not data:
                break
            said += data
            moments = [at for at, name in _phases(said) if name == phase]
            if kill_at is None and len(moments) > occurrence:
                kill_at = moments[occurrence] + seconds
        ended = bool(ready)
        os.kill(child, signal.SIGKILL)
        ended_at = time.monotonic()
        while data := os.read(reading, 4096):
            said += data
    finally:
        os.close(reading)
        _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the child failed by itself"
    assert ended or kill_at is not None, f"the child is stuck: {said.decode()}"
    moments = [*_phases(said), (ended_at, "")]
    return Said([(name, until - at) for (at, name), (until, _) in pairwise(moments)], not ended)


def _phases(said: bytes) -> list[tuple[float, str]]:
    lines = [line.partition(" ") for line in said.decode().split("\n")[:-1]]
    return [(float(at), name) for at, _, name in lines]


def killed_after(seconds: float, function: Callable[[], object]) -> bool:
    """Runs `function` in a forked process and kills it after `seconds`; False where it had ended by itself before."""
    return killed_in("", 0, seconds, lambda say: function()).killed


def as_nobody() -> None:
    """Gives up root, where there is any; an ordinary user stays who he is."""
    if os.geteuid() == 0:
        os.setegid(65534)
        os.seteuid(65534)
