"""SIGKILL at any moment of a run, a thousand times: `python -m tests.faults.sweep` (make faults) prints tables.

A case is one database of the application with programs that write to it all the time. Run after run, from one version
to another and back, is killed at a random moment of a phase, each phase as often as any other; after each kill the next
start ends what the killed one began. At the end of the case every write of the writers' own journals is looked up.

Each case is drawn from a number of its own: those of a sweep begin with SEED and count up, so that `SEED=n KILLS=1` is
the case that a fault names.
"""

import json
import os
import platform
import random
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path

from migrator.errors import MigratorError
from migrator.journal import Journal, read_journal
from migrator.ltmc import LTMC
from tests.children import Said, killed_in, running
from tests.faults.kills.drawing import LOCK_MS, SWITCH, Case, draw, quiet
from tests.faults.kills.starts import recovered, run, switch_for_ever
from tests.faults.kills.states import HALF, State, left_behind, look
from tests.faults.kills.summary import A_NEW_RUN, NOTHING, RECOVERY, Kill, Outcome, table
from tests.faults.kills.written import REFUSED, faults_of
from tests.runs import run_sql

KILLS = 15
"""Of a case; then another one: each must be looked up whole, and none shall grow."""
_TRIES = 4
"""So many runs for a kill at most: some have ended when it comes."""
_ALL = ("", "preflight", "back up", "rehearse", "verify", "finish", "give the mode back")
PHASES = {
    "one transaction": (*_ALL, "one transaction", "commit"),
    "online": (*_ALL, "to wal", "set up", "backfill", "catch up", "swap", "remove the old table"),
    SWITCH: ("switch",),
}
"""In which a run says that it is."""
NEVER_OLD = ("verify", "remove the old table", "finish", "give the mode back")
NEVER_NEW = ("", "recover", "preflight", "back up", "to wal", "rehearse", "set up", "backfill", "catch up", "switch")
_WRITE = "from tests.faults.kills.writer import main; main()"
_END_S = 60
_SPAN_S = 0.01
"""About as long as a phase takes that no run has been through yet."""


def sweep(kills: int, seed: int, folder: Path) -> Iterator[Outcome]:
    """Cases from `seed` on, in `folder`, until there were so many kills, or a fault."""
    while kills > 0:
        outcome = carry_out(draw(seed), folder)
        yield outcome
        if outcome.faults:
            return
        kills, seed = kills - len(outcome.kills), seed + 1


def carry_out(case: Case, folder: Path, kills: int = KILLS) -> Outcome:
    """What is met in a case; what it leaves in `folder` goes where nothing was wrong."""
    outcome, started = Outcome(case), time.monotonic()
    place = folder / str(case.seed)
    (place / "live").mkdir(parents=True)
    try:
        _Block(case, place, outcome).carry_out(kills)
    except (AssertionError, sqlite3.Error, MigratorError, OSError) as error:
        outcome.faults.append((RECOVERY, repr(error)))
    if not outcome.faults:
        shutil.rmtree(place)
    outcome.seconds = time.monotonic() - started
    return outcome


class _Block:
    def __init__(self, case: Case, place: Path, outcome: Outcome) -> None:
        self._case, self._place, self._outcome = case, place, outcome
        self._database = place / "live" / "ltmc.db"
        self._spans_s: dict[int, dict[str, list[float]]] = {case.start: {}, case.goal: {}}

    def carry_out(self, kills: int) -> None:
        case = self._case
        self._database.write_bytes(quiet(case.rows, case.start))
        run_sql(self._database, f"PRAGMA journal_mode={case.journal_mode}")
        with self._writers() as journals:
            wanted = case.goal
            for number, phase in enumerate(_phases(case, _TRIES * kills)):
                said = self._attempt(number, wanted, phase)
                if said.killed:
                    self._look_and_recover(number, wanted, said.last)
                else:
                    self._look_after(f"attempt {number}, a whole run to {wanted}", wanted)
                if self._outcome.faults:
                    return
                if len(self._outcome.kills) == kills:
                    break
                if case.promotion != SWITCH:
                    wanted = case.start if self._look().version == case.goal else case.goal
        self._outcome.writes, faults = faults_of(self._database, case, journals)
        self._outcome.faults += faults

    @contextmanager
    def _writers(self) -> Iterator[list[Path]]:
        """Programs that write all the time; yields their journals, which are complete afterwards."""
        case = self._case
        journals = [self._place / f"journal {number}" for number in range(case.writers)]
        with ExitStack() as stack:
            children = [
                stack.enter_context(
                    running(_WRITE, self._database, journal, number, case.writers, int(case.foreign_keys))
                )
                for number, journal in enumerate(journals)
            ]
            yield journals
            for child in children:
                child.stdin.close()
            if any(child.wait(_END_S) for child in children):
                self._fault(REFUSED, "a writer died")

    def _fault(self, kind: str, message: str) -> None:
        self._outcome.faults.append((kind, message))

    def _start(self, wanted: int) -> Callable[[Callable[[str], None]], None]:
        if self._case.promotion == SWITCH:
            run_id = f"{self._case.seed:08x}"
            directory = f"{self._database}.backups/20260101T000000Z-{run_id}"
            return partial(switch_for_ever, self._database, Journal(run_id, directory))
        limit_ms = LOCK_MS[self._case.promotion]
        return lambda say: run(self._database, wanted, limit_ms, say, LTMC)

    def _attempt(self, number: int, wanted: int, phase: str) -> Said:
        """The moment is drawn as a part of the phase, so that it is the same part on any machine."""
        chance, known = random.Random(f"{self._case.seed} {number} moment"), self._spans_s[wanted]
        spans_s = known.get(phase, [_SPAN_S])
        occurrence = int(chance.random() * len(spans_s))
        seconds = chance.uniform(0, 1.1) * spans_s[occurrence]
        said = killed_in(phase, occurrence, seconds, self._start(wanted))
        for name in {name for name, _ in said.phases[:-1]}:
            known[name] = max(known.get(name, []), [s for of, s in said.phases[:-1] if of == name], key=len)
        return said

    def _look(self, where: str = "", expected: int | None = None) -> State:
        """The state, with a note of what is wrong with it."""
        state = look(self._database, self._case)
        for kind, what in state.faults:
            self._fault(kind, f"{where}: {what}")
        if expected is not None and state.version != expected:
            self._fault(HALF, f"{where}: went from {expected} to {state.version}")
        return state

    def _look_after(self, where: str, expected: int) -> None:
        """A run has ended, or another one in its place."""
        self._look(where, expected)
        for kind, what in left_behind(self._database, self._case):
            self._fault(kind, f"{where}: {what}")

    def _look_and_recover(self, number: int, wanted: int, phase: str) -> None:
        case, chance = self._case, random.Random(f"{self._case.seed} {number} recovery")
        source = case.start if wanted == case.goal else case.goal
        where = f"attempt {number} killed in {phase!r} on the way to {wanted}"
        state = self._look(where)
        arrived = state.version == wanted
        if phase in (NEVER_OLD if not arrived else NEVER_NEW):
            self._fault(HALF, f"{where}: {'arrived' if arrived else 'not arrived'}")
        ended_by, reached, recoveries_killed = NOTHING, state.version, 0
        if read_journal(self._database) is not None:
            # Often the recovery is killed too, and that of the recovery.
            while chance.random() < 0.5 and read_journal(self._database) is not None:
                seconds = chance.uniform(0, chance.choice((0.005, 0.02, 0.1)))
                said = killed_in("", 0, seconds, lambda say: recovered(self._database, LTMC))
                recoveries_killed += said.killed
                self._look(f"{where}, recovery killed", state.version)
            if chance.random() < 0.25 and case.promotion != SWITCH:
                # The next start is a whole run.
                assert not killed_in("no such", 0, 0.0, self._start(wanted)).killed
                ended_by, reached = A_NEW_RUN, wanted
            elif read_journal(self._database) is not None:
                ended_by = recovered(self._database, LTMC)
                if ended_by != ("finished" if arrived else "unchanged"):
                    self._fault(RECOVERY, f"{where}: {ended_by}")
        self._look_after(f"{where}, recovered", reached)
        way = f"{source:04} -> {wanted:04}" if case.promotion != SWITCH else SWITCH
        found = "new" if arrived else "old"
        self._outcome.kills.append(Kill(way, phase, found, state.ours, ended_by, recoveries_killed))


def _phases(case: Case, attempts: int) -> list[str]:
    """In which phases the runs of a case are to be killed: each as often as any other."""
    chance, phases = random.Random(f"{case.seed} phases"), list[str]()
    while len(phases) < attempts:
        phases += chance.sample(PHASES[case.promotion], len(PHASES[case.promotion]))
    return phases[:attempts]


def new_folder() -> Path:
    """A new folder, in memory where that is possible: a kill leaves the same there, and sooner."""
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="faults-", dir=memory if os.access(memory, os.W_OK) else None))


def main() -> int:
    kills, seed = int(os.environ.get("KILLS", "1000")), int(os.environ.get("SEED", random.randrange(10**6)))
    print(f"{kills} kills, seed {seed}", file=sys.stderr)
    folder, outcomes, started = new_folder(), list[Outcome](), time.monotonic()
    for outcome in sweep(kills, seed, folder):
        outcomes.append(outcome)
        print(f"{len(outcome.kills)} kills in {outcome.seconds:.0f} s: {outcome.case}", file=sys.stderr)
    result = Path(".bench/faults.json")
    result.parent.mkdir(exist_ok=True)
    machine = {
        "python": platform.python_version(), "sqlite": sqlite3.sqlite_version, "system": platform.platform(),
        "cores": os.cpu_count(), "folder": str(folder.parent), "seconds": time.monotonic() - started,
    }  # fmt: skip
    cases = [asdict(outcome) for outcome in outcomes]
    result.write_text(json.dumps({"seed": seed, **machine, "cases": cases}, indent=2) + "\n")
    print(table(outcomes))
    print(
        f"\nseed {seed}, {machine['seconds']:.0f} s, Python {machine['python']}, SQLite {machine['sqlite']}, "
        f"{machine['cores']} cores; {result}"
    )
    for fault in outcomes[-1].faults:
        print("FAULT", *fault)
    if outcomes[-1].faults:
        print(f"{outcomes[-1].case}\nwhat was left is in {folder}; again: SEED={outcomes[-1].case.seed} KILLS=1")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
