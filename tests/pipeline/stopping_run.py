"""A run of `flows.migrate` that stops at a named moment and says so: the program that tests signal and kill.

Arguments: the moments, separated by commas, then those of the command line. A moment is `how module:function`, where
`how` is `before` or `after` the call, `during` a statement in its place that never ends, or `noting`: it goes on when
two signals came that have no effect; `serverless` does not stop but ends the run's own server. `#2` at the end: the
second call.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from migrator.connect import opened
from tests.pipeline.programs import children_of

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


def say(word: str) -> None:
    os.write(int(os.environ["EVENTS_FD"]), f"{word}\n".encode())


def execute_for_ever(reached: Callable[[], None]) -> NoReturn:
    """Executes a statement that ends only when it is interrupted; `reached` is called while SQLite is at work."""
    with tempfile.NamedTemporaryFile() as file, opened(Path(file.name)) as connection:
        # In another thread: a signal during a function of SQL would end that function, not the statement.
        threading.Timer(0.05, reached).start()
        connection.execute(ENDLESS).fetchone()
    raise AssertionError("the statement ended")


def stop_at(moment: str) -> None:
    how, place = moment.split(" ")
    place, _, count = place.partition("#")
    calls = iter(range(1, int(count or 1)))
    module, names = place.split(":")
    *outer, name = names.split(".")
    owner: Any = importlib.import_module(module)
    for attribute in outer:
        owner = getattr(owner, attribute)
    function = getattr(owner, name)

    def stops(*args: Any, **kwargs: Any) -> Any:
        if next(calls, None) is not None:
            return function(*args, **kwargs)
        setattr(owner, name, function)
        if how == "serverless":
            for server in children_of(os.getpid()):
                os.kill(server, signal.SIGKILL)
            return function(*args, **kwargs)
        if how == "during":
            execute_for_ever(lambda: say(moment))
        if how == "after":
            function(*args, **kwargs)
        say(moment)
        if how != "noting":
            # Again and again: a signal that comes just before a wait without an end would not end it.
            while not threading.Event().wait(0.05):
                pass
        note_two_signals()
        return function(*args, **kwargs)

    setattr(owner, name, stops)


def note_two_signals() -> None:
    """Returns when both signals came and those who care about them now let that pass."""
    for number in (signal.SIGTERM, signal.SIGINT):
        came, handler = threading.Event(), signal.getsignal(number)
        assert callable(handler)

        def note(number: int, frame: Any, handler: Any = handler, came: threading.Event = came) -> None:
            handler(number, frame)
            came.set()

        signal.signal(number, note)
        say(f"ready for {signal.Signals(number).name}")
        came.wait()


def main() -> int:
    from flows import command_line
    from migrator import performance

    # Two seconds in which the tools are called to see whether memory grows.
    performance._check_memory = lambda path, probes, seconds: None
    # A shell that started the tests in the background has it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for moment in filter(None, sys.argv[1].split(",")):
        stop_at(moment)
    return command_line.main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
