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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
number = 0
while True:
    number += 1
    connection = sqlite3.connect(database, timeout=5, isolation_level=None)
    try:
        body = f"{os.getpid()} wrote {number}"
        connection.execute("INSERT INTO notes (body, mood) VALUES (?, 'good')", (body,))
        os.write(written, f"{body}\\n".encode())
        if number % 3 == 0:
            connection.execute("UPDATE notes SET body = body || '!' WHERE body = ?", (body,))
            os.write(written, f"{body}!\\n".encode())
    except sqlite3.OperationalError as error:
        os.write(written, f"ERROR {error}\\n".encode())
    finally:
        connection.close()
    if number == 1:
        print("ready", flush=True)
    # Not one write after the other, which would leave nobody else the lock.
    if select.select([sys.stdin], [], [], 0.003)[0]:
        break
"""


@contextmanager
def writing(database: Path, log: Path) -> Iterator[Callable[[], list[str]]]:
    """A process that writes notes all the time, a connection for each; yields what it has committed, and its errors."""
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
    """What a writer had committed and the database does not hold."""
    last = {line.rstrip("!"): line for line in lines if not line.startswith("ERROR")}
    connection = sqlite3.connect(database)
    found = {body for (body,) in connection.execute("SELECT body FROM notes")}
    connection.close()
    # An update may have been committed and not yet noted.
    return [line for line in last.values() if line not in found and f"{line}!" not in found]


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


def killed_after(seconds: float, function: Callable[[], object]) -> bool:
    """Runs `function` in a forked process and kills it after `seconds`; False where it had ended by itself before."""
    reading, writing_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            function()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(writing_end)
    try:
        # The pipe's end closes with the child.
        ended, _, _ = select.select([reading], [], [], seconds)
        os.kill(child, signal.SIGKILL)
    finally:
        os.close(reading)
        _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the child failed by itself"
    return not ended


def as_nobody() -> None:
    """Gives up root, where there is any; an ordinary user stays who he is."""
    if os.geteuid() == 0:
        os.setegid(65534)
        os.seteuid(65534)
