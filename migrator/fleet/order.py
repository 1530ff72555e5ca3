"""The order of a fleet's run: a canary, then wave after wave. Who carries out a part of a wave is handed in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from migrator import signals
from migrator.fleet.fleet import Fleet
from migrator.fleet.parts import Part
from migrator.fleet.results import Result
from migrator.fleet.waves import CANARY, Wave

_LOOK_S = 0.1


def in_order(fleet: Fleet, carry_out: Callable[[Wave], None]) -> None:
    """Has every database that is left carried out, wave after wave, until the fleet is stopped.

    The canary goes alone; where it was up to date already the next database is the canary, until one was migrated. A
    part on another machine looks for it by itself.
    """
    if not fleet.is_proven and fleet.left:
        _whole(fleet, Wave(CANARY, tuple(fleet.left)), carry_out)
    for wave in fleet.order.waves:
        left = {*fleet.left}
        of_wave = tuple(name for name in wave.databases if name in left)
        if of_wave and fleet.why_stopped is None:
            _whole(fleet, Wave(wave.name, of_wave), carry_out)


def _whole(fleet: Fleet, wave: Wave, carry_out: Callable[[Wave], None]) -> None:
    carry_out(wave)
    skipped = [name for name in wave.databases if name not in fleet.results]
    if skipped and fleet.may_start(wave):
        fleet.stop(f"{len(skipped)} databases of {wave.name} were not carried out, the first is {skipped[0]}")


def in_parallel(
    fleet: Fleet, wave: Wave, submit: Callable[[Part], Future[Any]], parallel: int, note: Callable[[str], None]
) -> None:
    """Submits the parts of `wave`, as many at a time as it allows, while the fleet may start one.

    Afterwards every one that was started has ended, also where a signal comes: then nothing more starts, whoever
    carries one out tells it to end, and what the signal raised is raised again. Later signals go to `note`.
    """
    ended: SimpleQueue[object] = SimpleQueue()
    # Once: both look at every name.
    waiting, at_a_time, running = list(reversed(wave.parts)), wave.at_a_time(parallel), 0
    try:
        while True:
            while waiting and running < at_a_time and fleet.may_start(wave):
                running += 1
                submit(waiting.pop()).add_done_callback(ended.put)
            if not running:
                return
            ended.get()
            running -= 1
    except BaseException as error:
        fleet.interrupt(type(error).__name__)
        with signals.undisturbed(note):
            while fleet.under_way:
                # Not for ever: where the signal came in the middle of a submission, nobody says when that one ends.
                with suppress(Empty):
                    ended.get(timeout=_LOOK_S)
        raise


def carried_out(fleet: Fleet, part: Part, migrate: Callable[[Part], Iterator[Result]]) -> list[Result] | None:
    """What `migrate` made of the databases of one part, each noted when it comes; None where the fleet was stopped
    before the part began. Some may be without a result, where the part was stopped.

    A fault of `migrate` itself, which is no result, stops the fleet.
    """
    try:
        if not fleet.started(part):
            return None
        results = []
        for result in migrate(part):
            fleet.ended(result)
            results.append(result)
        return results
    except BaseException as error:
        fleet.stop(f"{part} could not be carried out: {type(error).__name__}: {error}")
        raise
    finally:
        for database in part.databases:
            fleet.under_way.pop(database, None)
