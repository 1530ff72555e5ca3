"""Carrying out the databases of a fleet here: each in a child of a fork server, which has imported all there is."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from flows.fleet.child import GRACE_S, migrate_one, recover_one
from flows.fleet.request import FleetRequest
from migrator.commands import own_command
from migrator.fleet.fleet import Fleet
from migrator.fleet.parts import Part
from migrator.fleet.results import INTERRUPTED, SUCCESSES, Result
from migrator.report import REFUSED, RESTORE_FAILED, RESTORED

_CONTEXT = multiprocessing.get_context("forkserver")
_LOOK_S = 0.2
_STARTING = threading.Lock()
"""multiprocessing looks at all its children at the start and the end of each, from whatever thread."""


def start_fork_server() -> None:
    """Starts what the children are forked from; it imports in the background. Once, before the first child."""
    _CONTEXT.set_forkserver_preload(["flows.fleet.imports"])
    forkserver.ensure_running()


@dataclass(frozen=True)
class _Ended:
    """What a child sent as its last act (None: it died before), how it died, and why it had been told to end."""

    facts: dict[str, Any] | None
    death: str
    told: str | None


class Here:
    """Called with a part, it migrates its database in a child; the child's death, hang or refusal is that one's result.

    What a child has to say besides goes to `log`.
    """

    def __init__(self, request: FleetRequest, fleet: Fleet, log: Path | None) -> None:
        self._request, self._fleet = request, fleet
        self._log = None if log is None else str(log)

    def __call__(self, part: Part) -> Iterator[Result]:
        """Its result; afterwards no process of this database's run is left."""
        (database,) = part.databases
        started = time.monotonic()
        asked = self._request.migration_of(database).model_dump_json()
        ended = self._child(migrate_one, asked, not self._fleet.is_proven, heeds_interrupt=True)
        facts = self._after_death(database, asked, ended) if ended.facts is None else ended.facts
        if ended.told == INTERRUPTED and facts["outcome"] in (RESTORED, REFUSED):
            facts["outcome"] = INTERRUPTED
        elif ended.told is not None and facts["outcome"] not in SUCCESSES:
            facts["error"] = f"it {ended.told}; {facts['error']}"
        yield Result(database=database, seconds=round(time.monotonic() - started, 3), **facts)

    def _after_death(self, database: str, asked: str, ended: _Ended) -> dict[str, Any]:
        """What became of a database whose child died: another child ends what that one began."""
        none: dict[str, Any] = dict.fromkeys(("run_id", "from_version", "to_version", "backup", "report"))
        if self._request.dry_run:
            return none | {"outcome": REFUSED, "error": f"the look at it {ended.death}"}
        recovery = self._child(recover_one, asked, heeds_interrupt=False)
        if recovery.facts is None:
            again = own_command("flows.migrate", "--database", Path(database))
            fault = f"its run {ended.death}, and its recovery {recovery.death}; to try it by itself: {again}"
            return none | {"outcome": RESTORE_FAILED, "error": fault}
        return recovery.facts | {"error": f"its run {ended.death}; {recovery.facts['error']}"}

    def _child(self, target: Callable[..., None], *arguments: Any, heeds_interrupt: bool) -> _Ended:
        reading, writing = _CONTEXT.Pipe(duplex=False)
        child = _CONTEXT.Process(target=target, args=(*arguments, self._log, writing), daemon=True)
        try:
            with _STARTING:
                child.start()
            # The child's is the only one then: its death ends the pipe, whoever else dies.
            writing.close()
            told = self._awaited(child, reading, heeds_interrupt)
            facts = None
            with suppress(EOFError, ConnectionResetError):
                facts = json.loads(reading.recv_bytes())
            with _STARTING:
                child.join()
                death = _death(child.exitcode)
                child.close()
            return _Ended(facts, death, told)
        finally:
            writing.close()
            reading.close()

    def _awaited(self, child: ForkServerProcess, reading: Connection, heeds_interrupt: bool) -> str | None:
        """Returns when the child has sent something or is gone; why it was told to end, where it was."""
        late, told, kill_at = time.monotonic() + self._request.timeout_s, None, 0.0
        while not reading.poll(_LOOK_S):
            now = time.monotonic()
            if told is not None and now > kill_at:
                _send(child, signal.SIGKILL)
            elif told is None and now > late:
                told = f"took longer than {self._request.timeout_s:g} s"
            elif told is None and heeds_interrupt and self._fleet.is_interrupted:
                told = INTERRUPTED
            else:
                continue
            if not kill_at:
                kill_at = now + GRACE_S
                _send(child, signal.SIGTERM)
        return told


def _send(child: ForkServerProcess, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(child.pid or 0, number)


def _death(code: int | None) -> str:
    if code is not None and code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"died (exit code {code})"
