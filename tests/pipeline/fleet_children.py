"""What a child of a fleet does in the place of `flows.fleet.child`: it dies, hangs, waits to promote or to restore."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from flows.fleet import child as fleet_child
from flows.fleet import here as fleet_here
from flows.request import MigrationRequest
from migrator import promotion, restoration
from migrator.connect import opened
from migrator.files import write_private
from tests.pipeline.stopping_run import ENDLESS


def killed_before_commit(*arguments: Any) -> None:
    _at_promotion(before=_kill_me)
    fleet_child.migrate_one(*arguments)


def killed_after_commit(*arguments: Any) -> None:
    _at_promotion(after=_kill_me)
    fleet_child.migrate_one(*arguments)


def dies_at_once(*arguments: Any) -> None:
    os._exit(3)


def deaf_before_commit(*arguments: Any) -> None:
    """Hangs where nothing lets a signal in, as a disk does that is gone."""
    _at_promotion(before=_hang_deaf)
    fleet_child.migrate_one(*arguments)


def in_an_endless_statement(*arguments: Any) -> None:
    _at_promotion(before=_execute_for_ever)
    fleet_child.migrate_one(*arguments)


def _at_promotion(before: Callable[[], Any] = lambda: None, after: Callable[[], Any] = lambda: None) -> None:
    plain = promotion.promote

    def promote(*args: Any, **kwargs: Any) -> Any:
        before()
        promoted = plain(*args, **kwargs)
        after()
        return promoted

    promotion.promote = promote


def _kill_me() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _hang_deaf() -> NoReturn:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    while True:
        threading.Event().wait()


def _hang() -> NoReturn:
    while True:
        threading.Event().wait(0.05)


def _execute_for_ever() -> NoReturn:
    with tempfile.NamedTemporaryFile() as file, opened(Path(file.name)) as connection:
        connection.execute(ENDLESS).fetchone()
    raise AssertionError("the statement ended")


def waits_at_promotion(request: str, *arguments: Any) -> None:
    """The run of 02.db writes its process id to 02.db.waits and waits there until it is told to end."""
    _waits(request, _hang, *arguments)


def waits_for_another(request: str, *arguments: Any) -> None:
    """The run of 01.db begins when the file $AWAITED is there."""
    if MigrationRequest.model_validate_json(request).database.name == "01.db":
        while not Path(os.environ["AWAITED"]).exists():
            threading.Event().wait(0.05)
    fleet_child.migrate_one(request, *arguments)


def deaf_at_promotion(request: str, *arguments: Any) -> None:
    """As `waits_at_promotion`, but it does not hear that it is told to end, and has little time for it."""
    fleet_child.GRACE_S = 0.3
    _waits(request, _hang_deaf, *arguments)


def _waits(request: str, wait: Callable[[], NoReturn], *arguments: Any) -> None:
    database = MigrationRequest.model_validate_json(request).database
    if database.name == "02.db":

        def noted() -> NoReturn:
            write_private(database.with_name("02.db.waits"), str(os.getpid()))
            wait()

        _at_promotion(before=noted)
    fleet_child.migrate_one(request, *arguments)


def slow_to_restore(request: str, *arguments: Any) -> None:
    """As `waits_at_promotion`; told to end, it makes 02.db.restores, and restores once somebody has removed that."""
    restore = restoration.restore

    def restores(database: Path, *args: Any) -> Any:
        note = database.with_name("02.db.restores")
        write_private(note, str(os.getpid()))
        while note.exists():
            threading.Event().wait(0.05)
        return restore(database, *args)

    restoration.restore = restores
    waits_at_promotion(request, *arguments)


def main() -> int:
    """`python -m tests.pipeline.fleet_children CHILD ARGUMENTS`: flows.fleet with one of these children."""
    from flows.fleet.command_line import main as fleet_main

    # A shell that started the tests in the background has it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    fleet_here.migrate_one = globals()[sys.argv[1]]
    return fleet_main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
