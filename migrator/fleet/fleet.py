"""A fleet's run under way: which databases are left, what became of the others, whether another one may start."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Collection

from migrator.fleet.parts import Part, machine_of
from migrator.fleet.results import FAILED, INTERRUPTED, OPERATOR, SUCCESSES, Result
from migrator.fleet.state import Order, StateFile, Stored
from migrator.fleet.waves import CANARY, Amount, Wave
from migrator.report import MIGRATED, PLANNED, RESTORE_FAILED

ABORTED = "aborted"


class Fleet:
    """Several threads may tell it of results. With `state` each is on the disk before another database starts.

    `results` holds the last of each database; `new` are those of this start; `task_runs` is how many Prefect was asked
    for, by flow run. What `is_proven` needs no canary; of what is there `for_proof` nothing is left once that is found.
    """

    def __init__(
        self,
        order: Order,
        limit: Amount,
        state: StateFile | None = None,
        *,
        is_proven: bool = False,
        for_proof: bool = False,
    ) -> None:
        self.order = order
        self.results: dict[str, Result] = {}
        self.under_way: dict[str, float] = {}
        self.new: list[Result] = []
        self.task_runs: Counter[str] = Counter()
        self.why_stopped: str | None = None
        self.is_interrupted = False
        self.is_proven = is_proven
        self.started_at = time.monotonic()
        self._limit, self._state, self._lock = limit, state, threading.Lock()
        self._for_proof = for_proof
        self._wave_of = {name: wave for wave in order.waves for name in wave.databases}
        self._failures: Counter[str] = Counter()
        self._passed_limit: str | None = None

    def take_over(self, stored: Stored, retry_failed: bool, of: Collection[str] | None = None) -> None:
        """Goes on from what an earlier start left: what is finished stays so.

        A failed database stays failed unless `retry_failed`, which holds for those `of` them alone where these are
        given. Tried again in any case: one that needs an operator, who has been there meanwhile; one that was
        interrupted; one that was under way, whose own run ends what was killed.
        """
        for result in stored.results:
            self.results[result.database] = result
        for result in [*self.results.values()]:
            again = retry_failed and result.is_failure and (of is None or result.database in of)
            if again or result.outcome in (RESTORE_FAILED, INTERRUPTED):
                del self.results[result.database]
        for result in self.results.values():
            self.is_proven |= _proves(result)
        for result in self.results.values():
            self._judge(result)

    @property
    def left(self) -> list[str]:
        """The databases without a result, in their order."""
        if self._for_proof and self.is_proven:
            return []
        return [name for name in self._wave_of if name not in self.results]

    @property
    def failures(self) -> list[Result]:
        """What failed, in the order of the databases."""
        found = (self.results.get(name) for name in self._wave_of)
        return [result for result in found if result is not None and result.is_failure]

    def wave_of(self, database: str) -> str:
        """The name of the wave that was planned for a database."""
        return self._wave_of[database].name

    def may_start(self, wave: Wave) -> bool:
        """Whether another database of `wave` may be started now; of canaries only until one has proved something."""
        return self.why_stopped is None and not (wave.name == CANARY and self.is_proven)

    def may_fail(self, part: Part) -> int:
        """How many databases of a part may fail, those of its machine that have with them, where no other one of the
        wave does."""
        wave = self._wave_of[part.databases[0]]
        elsewhere = (self.results.get(name) for name in wave.databases if machine_of(name) != part.machine)
        failed = sum(result is not None and result.is_failure for result in elsewhere)
        return max(0, self._limit.at_most(len(wave.databases)) - failed)

    def started(self, part: Part) -> bool:
        """Notes that the run of a part begins; False where the fleet was stopped and it must not."""
        with self._lock:
            if self.why_stopped is not None:
                return False
            self.under_way |= dict.fromkeys(part.databases, time.monotonic())
            if self._state is not None:
                if part.machine is None:
                    self._state.note("started", database=part.databases[0])
                else:
                    # Which of them have begun is known there.
                    self._state.note("ordered", machine=part.machine, databases=len(part.databases))
            return True

    def ended(self, result: Result) -> None:
        """Notes a result, and stops the fleet where it is one failure too many."""
        with self._lock:
            self.under_way.pop(result.database, None)
            self.results[result.database] = result
            self.new.append(result)
            self.is_proven |= _proves(result)
            self._judge(result)
            if self._state is not None:
                self._state.note("ended", **result.as_json())

    def stop(self, why: str) -> None:
        """No further database starts; the first reason stays."""
        self.why_stopped = self.why_stopped or why

    def interrupt(self, why: str) -> None:
        """As `stop`, from outside: whoever carries out a database tells it to end."""
        self.is_interrupted = True
        self.stop(why)

    def close(self) -> None:
        """Notes how this start ended."""
        if self._state is not None:
            self._state.note(self.outcome, why=self.why_stopped)

    def _judge(self, result: Result) -> None:
        if not result.is_failure:
            return
        error = str(result.error)
        said = error if result.database in error else f"{result.database}: {error}"
        wave = self._wave_of[result.database]
        self._failures[wave.name] += 1
        failed, allowed = self._failures[wave.name], self._limit.at_most(len(wave.databases))
        if result.outcome == RESTORE_FAILED:
            self.stop(f"an operator is needed for {said}")
        elif not self.is_proven:
            self.stop(f"the canary failed: {said}")
        elif failed > allowed and self.why_stopped in (None, self._passed_limit):
            # Those that were under way beside the one too many are counted as well.
            self._passed_limit = f"of {wave.name} {failed} failed where {allowed} may, the last one: {said}"
            self.why_stopped = self._passed_limit

    @property
    def outcome(self) -> str:
        """migrated, planned, failed (some did, within the limit), aborted (some were not tried) or interrupted."""
        if self.is_interrupted:
            return INTERRUPTED
        if self.why_stopped is not None or self.left:
            return ABORTED
        if self.failures:
            return FAILED
        return PLANNED if any(result.outcome == PLANNED for result in self.results.values()) else MIGRATED

    @property
    def exit_code(self) -> int:
        """0 all are migrated or up to date, or the plan was shown; 1 some are not; 3 one needs an operator."""
        if any(result.outcome == RESTORE_FAILED for result in self.results.values()):
            return OPERATOR
        return 0 if self.outcome in SUCCESSES else 1


def _proves(result: Result) -> bool:
    """A database that was up to date shows nothing about the migration."""
    return result.outcome in (MIGRATED, PLANNED)
