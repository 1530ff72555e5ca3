"""SIGKILL at any moment of a run, thousands of times: `python -m tests.faults.sweep` (make faults) prints a table.

A block is one database with a process that writes to it all the time. Run after run is killed at a random moment of a
phase, each phase as often as any other; after each the next start ends what the killed one began. At the end of the
block every write of the writer's own journal is looked up.
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
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from migrator import backup, one_transaction, online, promotion, restoration
from migrator.errors import MigratorError
from migrator.journal import Journal, journal_path, read_journal, write_journal
from migrator.journal_mode import give_back, use_wal
from migrator.lock import locked
from migrator.preflight import preflight
from migrator.promotion import promote
from migrator.removal import remove_old, temporary_objects
from migrator.restoration import finish_promoted, recover
from migrator.verification import verify_live
from tests.children import Said, committed, errors, killed_in, lost, writing
from tests.notes import NOTES, SOURCE_COLUMNS, TARGET_COLUMNS, make_notes
from tests.runs import PLENTY_MS, beside, columns, prove, rehearse, rows

WAYS = {"one transaction": PLENTY_MS, "online": 0.0}
MODES = ("delete", "wal")
KILLS_A_BLOCK = 25
"""Then a new database: each must be looked up whole, and none shall grow."""
NEVER_OLD = ("verify", "remove the old table", "finish", "give the mode back")
NEVER_NEW = ("", "recover", "preflight", "back up", "to wal", "rehearse", "set up", "backfill", "catch up")
ON_THE_TABLE = ("notes", "bodies", "_sqlite_migrations")
"""What was the table keeps its index until it is removed."""
_TRIES = 100
_OF_OTHERS = {"notes.db-journal", "written", "notes.db.backups", "notes.db.migration-lock"}
_HALF_A_JOURNAL = "notes.db.migrating.new"
"""What is left where the kill met the writing of the note itself; the next run's note replaces it."""

Say = Callable[[str], None]


@dataclass
class Tally:
    """What a sweep met. `faults` is empty where all that must hold did hold."""

    way: str
    journal_mode: str
    seed: int
    kills: int = 0
    in_phase: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    ended_by: Counter[str] = field(default_factory=Counter)
    recoveries_killed: int = 0
    writes: int = 0
    lost_writes: int = 0
    refused_writes: int = 0
    half_states: int = 0
    integrity_faults: int = 0
    failed_recoveries: int = 0
    left_behind: int = 0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)

    def fault(self, counter: str, message: str) -> None:
        setattr(self, counter, getattr(self, counter) + 1)
        self.faults.append(f"{self.way}, {self.journal_mode}: {message}")


def sweep(way: str, journal_mode: str, kills: int, folder: Path, seed: int) -> Tally:
    """At least `kills` kills of runs that promote by `way`, in blocks in `folder`."""
    tally, chance, started = (
        Tally(way, journal_mode, seed),
        random.Random(f"{seed} {way} {journal_mode}"),
        time.monotonic(),
    )
    number = 0
    while tally.kills < kills and not tally.faults:
        number += 1
        place = folder / f"{way} {journal_mode} {number}"
        place.mkdir()
        try:
            _block(place, tally, min(kills - tally.kills, KILLS_A_BLOCK), chance)
        except (AssertionError, sqlite3.Error, MigratorError, OSError) as error:
            tally.fault("failed_recoveries", f"block {number}: {error!r}")
        if not tally.faults:
            shutil.rmtree(place)
    tally.seconds = time.monotonic() - started
    return tally


def _block(place: Path, tally: Tally, kills: int, chance: random.Random) -> None:
    database = place / "notes.db"
    size = chance.choice((200, 800, 2000))
    make_notes(database, rows=size, journal_mode=tally.journal_mode)
    wanted_kills = tally.kills + kills
    with writing(database, place / "written") as lines:
        known = {wanted: _attempt(database, wanted, tally.way, "no such", 0, 0.0) for wanted in (1, 0)}
        to_come: list[str] = []
        while tally.kills < wanted_kills and not tally.faults:
            wanted = 0 if columns(database) == TARGET_COLUMNS else 1
            if not to_come:
                to_come = sorted({name for name, _ in known[wanted].phases})
                chance.shuffle(to_come)
            said = _killed_once(database, wanted, tally.way, to_come.pop(), known[wanted], chance)
            if said.killed:
                tally.kills += 1
                tally.in_phase[said.last or "start"] += 1
                _look_and_recover(database, tally, said.last, wanted, chance)
    written = lines()
    tally.writes += len(committed(written))
    for fault in errors(written):
        tally.fault("refused_writes", fault)
    for fault in lost(database, written):
        tally.fault("lost_writes", fault)
    for what, query, wanted_rows in (
        ("notes", "SELECT count(*) FROM notes WHERE body LIKE 'note %' OR body LIKE 'batch %'", size),
        ("tags", "SELECT count(*) FROM tags", (size + 1) // 2),
    ):
        if (kept := rows(database, query)) != [(wanted_rows,)]:
            tally.fault("lost_writes", f"{kept} {what}, not {wanted_rows}")


def _killed_once(database: Path, wanted: int, way: str, phase: str, known: Said, chance: random.Random) -> Said:
    spans = [seconds for name, seconds in known.phases if name == phase] or [0.01]
    occurrence = chance.randrange(len(spans))
    return _attempt(database, wanted, way, phase, occurrence, chance.uniform(0, 1.1 * spans[occurrence]))


def _attempt(database: Path, wanted: int, way: str, phase: str, occurrence: int, seconds: float) -> Said:
    return killed_in(phase, occurrence, seconds, partial(run, database, wanted, WAYS[way]))


def run(database: Path, wanted: int, max_lock_ms: float, say: Say) -> None:
    """What a start does, as flows/migrate.py has it, in a forked child that says where it is."""
    _say_phases(say)
    with locked(database):
        for _ in range(_TRIES):
            try:
                if read_journal(database):
                    say("recover")
                    recover(database, NOTES)
                say("preflight")
                live = preflight(database, NOTES, to_version=wanted)
                if live.plan is None:
                    return
                say("back up")
                backed_up = backup.back_up(live, max_lock_ms=max_lock_ms)
                say("rehearse")
                candidate = rehearse(backed_up)
                prove(candidate)
                promoted = promote(candidate, max_lock_ms)
                say("verify")
                verify_live(promoted)
                if promoted.strategy == "online":
                    say("remove the old table")
                    remove_old(promoted)
                say("finish")
                finish_promoted(live)
                return
            except sqlite3.OperationalError as error:
                # Where the writer was in the way the next try begins anew.
                if "locked" not in str(error):
                    raise
    raise AssertionError("always locked")


def _say_phases(say: Say) -> None:
    """Lets the functions below say their names when they begin; only in a child, because it is for good."""
    silent = [False]

    def said(module: object, name: str, phase: str, after: str = "") -> None:
        function = getattr(module, name)

        def announced(*args: object, **kwargs: object) -> object:
            if not silent[0]:
                say(phase)
            try:
                return function(*args, **kwargs)
            finally:
                if after and not silent[0]:
                    say(after)

        setattr(module, name, announced)

    said(backup, "use_wal", "to wal", after="back up")
    said(promotion, "use_wal", "to wal", after="set up")
    said(online._Run, "_set_up", "set up")
    said(online._Run, "_fill", "backfill")
    said(online._Run, "_catch_up", "catch up")
    said(online._Run, "_change_places", "swap")
    said(promotion, "in_one_transaction", "one transaction")
    said(one_transaction, "_commit", "commit")
    said(restoration, "give_back", "give the mode back")
    said(restoration, "remove_own", "remove what is left")
    rehearse_online = promotion.rehearse_online

    def rehearsed_in_silence(*args: object) -> None:
        silent[0] = True
        rehearse_online(*args)
        silent[0] = False

    promotion.rehearse_online = rehearsed_in_silence


def _look_and_recover(database: Path, tally: Tally, phase: str, wanted: int, chance: random.Random) -> None:
    where = f"kill {tally.kills} in {phase!r} on the way to {wanted}"
    is_new = _look(database, tally, where)
    arrived = is_new == (wanted == 1)
    if phase in (NEVER_OLD if not arrived else NEVER_NEW):
        tally.fault("half_states", f"{where}: {'arrived' if arrived else 'not arrived'}")
    if read_journal(database) is None:
        tally.ended_by["nothing to end"] += 1
    else:
        # Often the recovery is killed too, and that of the recovery.
        while chance.random() < 0.5 and read_journal(database) is not None:
            moment = chance.choice((0.005, 0.02, 0.1))
            tally.recoveries_killed += killed_in(
                "", 0, chance.uniform(0, moment), lambda say: _recovered(database)
            ).killed
            _look(database, tally, f"{where}, recovery killed", is_new)
        if chance.random() < 0.25:
            # The next start is a whole run.
            assert not _attempt(database, wanted, tally.way, "no such", 0, 0.0).killed
            tally.ended_by["a new run"] += 1
            is_new = wanted == 1
        elif read_journal(database) is not None:
            how = _recovered(database)
            tally.ended_by[how] += 1
            if how != ("finished" if arrived else "unchanged"):
                tally.fault("failed_recoveries", f"{where}: {how}")
    _look(database, tally, f"{where}, recovered", is_new)
    _check_nothing_is_left(database, tally, where)


def _recovered(database: Path) -> str:
    for _ in range(_TRIES):
        try:
            return recover(database, NOTES).how
        except sqlite3.OperationalError as error:
            assert "locked" in str(error), error
    raise AssertionError("always locked")


def _look(database: Path, tally: Tally, where: str, expected: bool | None = None) -> bool:
    """Whether it is new; takes note of what it found, of a state between old and new, and of damage."""
    with _reader(database) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM pragma_table_info('notes')")]
        made = {
            name for name, on in connection.execute("SELECT name, tbl_name FROM sqlite_master") if on in ON_THE_TABLE
        }
        applied = "_sqlite_migrations" in made and connection.execute(
            "SELECT count(*) FROM _sqlite_migrations"
        ).fetchone() == (1,)
        ours = temporary_objects(connection, NOTES)
        faults = [fault for (fault,) in connection.execute("PRAGMA integrity_check") if fault != "ok"]
        mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    if faults:
        tally.fault("integrity_faults", f"{where}: {faults[0]}")
    state = names, "notes_mood" in made, applied
    if state not in ((SOURCE_COLUMNS, False, False), (TARGET_COLUMNS, True, True)) or not {"tagged", "bodies"} <= made:
        tally.fault("half_states", f"{where}: {state}")
    is_new = names == TARGET_COLUMNS
    if expected is None:
        switched = f", in {mode}" if mode != tally.journal_mode else ""
        tally.found[f"{'new' if is_new else 'old'}{' + ours' if ours else ''}{switched}"] += 1
    elif is_new != expected:
        tally.fault("half_states", f"{where}: went from one to the other")
    return is_new


@contextmanager
def _reader(database: Path):
    """One connection in one read transaction."""
    connection = sqlite3.connect(database, isolation_level=None)
    try:
        connection.execute("BEGIN")
        yield connection
        connection.execute("COMMIT")
    finally:
        connection.close()


def _check_nothing_is_left(database: Path, tally: Tally, where: str) -> None:
    with _reader(database) as connection:
        ours = temporary_objects(connection, NOTES)
        mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    others = beside(database) - _OF_OTHERS - {_HALF_A_JOURNAL}
    scratch = list(database.parent.glob("notes.db.backups/*/scratch"))
    if ours or others or mode != tally.journal_mode or (scratch and read_journal(database)):
        tally.fault("left_behind", f"{where}: {ours} {others} {mode} {scratch}")


def sweep_switch(kills: int, folder: Path, seed: int) -> Tally:
    """Kills of a process that switches the journal mode to and fro."""
    tally, chance, started = Tally("only the switch", "delete", seed), random.Random(seed), time.monotonic()
    place = folder / "switch"
    place.mkdir()
    database = place / "notes.db"
    make_notes(database)
    with writing(database, place / "written") as lines:
        while tally.kills < kills and not tally.faults:
            run_id = f"{chance.randrange(16**8):08x}"
            note = Journal(run_id, str(place / "notes.db.backups" / f"20260101T000000Z-{run_id}"))
            said = killed_in("", 0, chance.uniform(0, 0.05), partial(_switch_for_ever, database, note))
            tally.kills += said.killed
            tally.in_phase["switch"] += 1
            _look(database, tally, f"kill {tally.kills}")
            if journal_path(database).exists():
                tally.ended_by[_recovered(database)] += 1
            else:
                tally.ended_by["nothing to end"] += 1
            _look(database, tally, f"kill {tally.kills}, recovered", False)
            _check_nothing_is_left(database, tally, f"kill {tally.kills}")
    written = lines()
    tally.writes = len(committed(written))
    for counter, found in (("refused_writes", errors(written)), ("lost_writes", lost(database, written))):
        for fault in found:
            tally.fault(counter, fault)
    tally.seconds = time.monotonic() - started
    return tally


def _switch_for_ever(database: Path, note: Journal, say: Say) -> None:
    write_journal(database, note)
    while True:
        use_wal(database)
        give_back(database)


COLUMNS = {
    "kills": "kills", "found old": "", "found new": "", "recoveries killed": "recoveries_killed",
    "writes": "writes", "lost or stale": "lost_writes", "refused": "refused_writes", "half states": "half_states",
    "integrity faults": "integrity_faults", "failed recoveries": "failed_recoveries", "left behind": "left_behind",
}  # fmt: skip


def table(tallies: list[Tally]) -> str:
    """Markdown, a row for each sweep and their sum."""
    lines = [f"| promotion, journal mode | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 1) + "|"]
    sums: Counter[str] = Counter()
    for tally in tallies:
        numbers = {name: getattr(tally, attribute) for name, attribute in COLUMNS.items() if attribute}
        for state in ("old", "new"):
            numbers[f"found {state}"] = sum(n for found, n in tally.found.items() if found.startswith(state))
        sums.update(numbers)
        lines.append(_line(f"{tally.way}, {tally.journal_mode}", numbers))
    return "\n".join([*lines, _line("**all**", sums)])


def _line(title: str, numbers: dict[str, int]) -> str:
    return f"| {title} | {' | '.join(f'{numbers[name]:,}' for name in COLUMNS)} |"


def new_folder() -> Path:
    """A new folder, in memory where that is possible: a kill leaves the same there, and sooner."""
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="faults-", dir=memory if os.access(memory, os.W_OK) else None))


def main() -> int:
    kills, seed = int(os.environ.get("KILLS", "500")), int(os.environ.get("SEED", random.randrange(10**6)))
    print(f"{kills} kills each, seed {seed}", file=sys.stderr)
    folder, tallies = new_folder(), []
    for way in WAYS:
        for mode in MODES:
            tallies.append(sweep(way, mode, kills, folder, seed))
            print(f"{way}, {mode}: {tallies[-1].kills} kills in {tallies[-1].seconds:.0f} s", file=sys.stderr)
    tallies.append(sweep_switch(kills, folder, seed))
    print(f"only the switch: {tallies[-1].kills} kills in {tallies[-1].seconds:.0f} s", file=sys.stderr)
    faults = [fault for tally in tallies for fault in tally.faults]
    result = Path(".bench/faults.json")
    result.parent.mkdir(exist_ok=True)
    machine = {
        "python": platform.python_version(), "sqlite": sqlite3.sqlite_version, "system": platform.platform(),
        "cores": os.cpu_count(), "folder": str(folder.parent),
    }  # fmt: skip
    result.write_text(json.dumps({"seed": seed, **machine, "sweeps": [vars(t) for t in tallies]}, indent=2) + "\n")
    print(table(tallies))
    print(f"\nseed {seed}, Python {machine['python']}, SQLite {machine['sqlite']}, {machine['cores']} cores; {result}")
    for fault in faults:
        print("FAULT", fault)
    if faults:
        print(f"what was left is in {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
