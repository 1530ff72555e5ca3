"""System calls on the database's files that fail one by one, and limits on what the process may have or write.

A few of the calls, spread over the run; FAULTS=full takes every one (`make faults`).
"""

import ctypes
import os
import random
import resource
import shutil
import signal
from collections import Counter
from contextlib import nullcontext
from functools import cache, partial
from itertools import pairwise
from pathlib import Path

import pytest

from migrator import one_transaction, online, promotion
from migrator.errors import MigratorError
from migrator.journal import read_journal
from migrator.lock import locked
from tests.children import PATIENCE_S, in_child, killed_after
from tests.faults import io_fault_run
from tests.faults.io_fault_run import (
    Fault,
    Known,
    NotTracedError,
    Said,
    calls_in,
    content,
    faults_after,
    injected_in,
    recovery,
    reversal,
    start,
    under,
)
from tests.faults.sweep import new_folder
from tests.faults.test_online_disk_full import can_mount, mount_small_disk
from tests.notes import SOURCE_COLUMNS, TARGET_COLUMNS, make_notes
from tests.runs import PLENTY_MS, columns

FULL = os.environ.get("FAULTS") == "full"
EACH = 2
"""So many calls of a kind fail in the quick selection, once, and then again with every later one."""
SEED = int(os.environ.get("SEED", random.randrange(10**6)))
WAYS = {"one transaction": PLENTY_MS, "online": 0.001}
MODES = ("delete", "wal")
KINDS = (
    "pwrite64 EIO", "pwrite64 ENOSPC", "write EIO", "write ENOSPC", "pread64 EIO", "fsync EIO", "fdatasync EIO",
    "ftruncate EIO", "unlink EIO", "unlinkat EIO", "rename EIO", "mkdir ENOSPC", "openat EMFILE", "openat EACCES",
    "openat EROFS", "mmap ENOMEM",
)  # fmt: skip
KILLED = ("before its commit", "after its commit")
ROWS, MANY_ROWS = 200, 2000
STEPS = ("preflight", "back_up", "rehearse", "promote", "verify_live", "remove_old", "finish")

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
in_its_time = pytest.mark.timeout(7200 if FULL else 300)
in_every_way = pytest.mark.parametrize("way", WAYS)
in_every_mode = pytest.mark.parametrize("journal_mode", MODES)


@pytest.fixture
def place():
    folder = new_folder()
    yield folder
    shutil.rmtree(folder)


@cache
def known(way, journal_mode, size):
    folder = new_folder()
    try:
        database = folder / "notes.db"
        make_notes(database, rows=size, journal_mode=journal_mode)
        old = content(database)
        said = in_child(lambda: start(database, WAYS[way]))
        assert (said.outcome, said.error, said.second) == ("migrated", None, None)
        return Known(old, content(database), journal_mode)
    finally:
        shutil.rmtree(folder)


def killed(database, way, when):
    """A run that was killed right before or after its promotion was committed."""

    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    def work():
        if when == "after its commit":
            io_fault_run.verify_live = die
        elif way == "online":
            # The same was carried out before, on the schema alone.
            rehearse_online = promotion.rehearse_online
            promotion.rehearse_online = lambda candidate: (
                rehearse_online(candidate),
                setattr(online._Run, "_change_places", die),
            )
        else:
            one_transaction._commit = die
        start(database, WAYS[way])

    killed_after(PATIENCE_S, work)
    assert read_journal(database) is not None
    assert columns(database) == (TARGET_COLUMNS if when == "after its commit" else SOURCE_COLUMNS)


def swept(kinds, place, make, act, known):
    """What does not hold where calls of these kinds fail, one by one, while `act` works on what `make` made."""
    folder, kept, log = place / "at", place / "kept", place / "log"
    folder.mkdir()
    make(folder / "notes.db")
    folder.rename(kept)

    def attempt(call, fault):
        # The journal of a killed run names paths: always the same.
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(kept, folder)
        database = folder / "notes.db"
        said = under(fault, call, database, log, partial(act, database))
        return said, [] if fault is None else faults_after(said, database, known)

    found, counts, tries, hits = [], Counter(), 0, 0
    calls = {kind.split()[0] for kind in kinds}
    try:
        attempt(",".join(sorted(calls)), None)
    except NotTracedError as reason:
        pytest.skip(str(reason))
    counts.update(calls_in(log))
    for kind in kinds:
        call, error = kind.split()
        for lasting in (False, True):
            for nth in chosen(counts[call], f"{kind} {lasting} {known.journal_mode}"):
                fault = Fault(call, error, nth, lasting)
                said, faults = attempt(call, fault)
                hit = injected_in(log)[:1]
                tries, hits = tries + 1, hits + len(hit)
                found += [f"{fault} of {counts[call]}, {hit}: {said}: {fault_}" for fault_ in faults]
    # Not every run makes as many calls as the one in which they were counted.
    assert 2 * hits >= tries, f"of {tries} faults only {hits} came to pass"
    return found


def chosen(count, name):
    """Which of so many calls fail: one of each part of the run, at random."""
    if FULL or count <= EACH:
        return range(1, count + 1)
    chance = random.Random(f"{SEED} {name}")
    edges = [1 + count * part // EACH for part in range(EACH + 1)]
    return [chance.randrange(first, after) for first, after in pairwise(edges)]


@needs_strace
@in_its_time
@pytest.mark.parametrize("kind", KINDS)
@in_every_mode
@in_every_way
def test_a_call_that_fails_in_a_run_leaves_old_or_new_and_a_second_run_migrates(place, way, journal_mode, kind):
    make = partial(make_notes, rows=ROWS, journal_mode=journal_mode)
    act = partial(start, max_lock_ms=WAYS[way])
    assert swept([kind], place, make, act, known(way, journal_mode, ROWS)) == [], SEED


@needs_strace
@in_its_time
@pytest.mark.parametrize("when", KILLED)
@in_every_mode
@in_every_way
def test_a_call_that_fails_while_a_killed_run_is_recovered_changes_nothing(place, way, journal_mode, when):
    def make(database):
        make_notes(database, rows=ROWS, journal_mode=journal_mode)
        killed(database, way, when)

    assert swept(KINDS, place, make, recovery, known(way, journal_mode, ROWS)) == [], SEED


@needs_strace
@in_its_time
@in_every_mode
@in_every_way
def test_a_call_that_fails_while_a_promotion_is_reversed_leaves_old_or_new(place, way, journal_mode):
    def make(database):
        make_notes(database, rows=ROWS, journal_mode=journal_mode)
        killed(database, way, "after its commit")

    assert swept(KINDS, place, make, reversal, known(way, journal_mode, ROWS)) == [], SEED


def limited(kind, value):
    """Sets the limit that this process may lift again; returns what lifts it."""
    was = resource.getrlimit(kind)
    resource.setrlimit(kind, (value, was[1]))
    return partial(resource.setrlimit, kind, was)


def no_file_beyond(size_bytes):
    """A disk that is full for every file of that size: Python ignores the signal, so a write fails."""
    return limited(resource.RLIMIT_FSIZE, size_bytes)


def so_many_files(count):
    """The process can open that many files besides those it has open."""
    used = set(map(int, os.listdir("/proc/self/fd")))
    free = [number for number in range(len(used) + count + 1) if number not in used]
    return limited(resource.RLIMIT_NOFILE, free[count])


def so_much_memory(size_bytes):
    """The process can map that much besides what it has mapped."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return limited(resource.RLIMIT_AS, pages * resource.getpagesize() + size_bytes)


LIMITS = {"file size": (no_file_beyond, 2048), "open files": (so_many_files, 1)}
MOST_TRIES = 300


@pytest.mark.parametrize("limit", LIMITS)
@in_every_mode
@in_every_way
def test_with_too_little_of_it_a_run_says_so_and_with_a_little_more_it_migrates(place, way, journal_mode, limit):
    set_limit, unit = LIMITS[limit]
    found, ended = [], set()
    kept = known(way, journal_mode, ROWS)

    def attempt(database, much):
        lift = set_limit(much)
        try:
            return start(database, WAYS[way])
        finally:
            lift()

    for much in range(0, MOST_TRIES * unit, unit):
        database = place / str(much) / "notes.db"
        database.parent.mkdir()
        make_notes(database, rows=ROWS, journal_mode=journal_mode)
        said = in_child(partial(attempt, database, much))
        found += [f"{limit} {much}: {said}: {fault}" for fault in faults_after(said, database, kept)]
        ended.add(said.outcome)
        if said == Said("migrated", "finish"):
            break
    assert found == []
    assert said == Said("migrated", "finish") and len(ended) > 1


@in_every_mode
@in_every_way
def test_a_run_that_gets_no_more_memory_from_some_step_on_leaves_old_or_new(place, way, journal_mode):
    found, kept = [], known(way, journal_mode, MANY_ROWS)

    def attempt(database, step, size_bytes):
        lift = []
        try:
            return start(
                database, WAYS[way], at=lambda begun: begun == step and lift.append(so_much_memory(size_bytes))
            )
        finally:
            for undo in lift:
                undo()

    for step in STEPS:
        for size_bytes in (0, 256 << 10):
            database = place / f"{step} {size_bytes}" / "notes.db"
            database.parent.mkdir()
            make_notes(database, rows=MANY_ROWS, journal_mode=journal_mode)
            said = in_child(partial(attempt, database, step, size_bytes))
            found += [f"{step} {size_bytes}: {said}: {fault}" for fault in faults_after(said, database, kept)]
            shutil.rmtree(database.parent)
    assert found == []


_REMOUNT, _READ_ONLY = 0x20, 0x1


def remount(place, flags):
    """Another way to mount the file system at `place`; refused while a file on it is open for writing."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"none", os.fsencode(place), None, ctypes.c_ulong(_REMOUNT | flags), None) != 0:
        raise OSError(ctypes.get_errno(), "no other mount of it")


@pytest.mark.parametrize(
    ("way", "step"), [(way, step) for way in WAYS for step in STEPS if (way, step) != ("one transaction", "remove_old")]
)
@in_every_mode
def test_a_disk_that_turns_read_only_under_a_run_costs_nothing_once_it_can_be_written_again(
    place, way, journal_mode, step
):
    disk = place / "disk"
    disk.mkdir()
    can_mount(disk)
    kept = known(way, journal_mode, ROWS)

    def turn_read_only(begun):
        if begun == step:
            remount(disk, _READ_ONLY)

    def work():
        mount_small_disk(disk)
        database = disk / "notes.db"
        make_notes(database, rows=ROWS, journal_mode=journal_mode)
        # The file of the lock is open for writing, and the file system would stay as it is.
        said = start(database, WAYS[way], at=turn_read_only, lock=nullcontext)
        remount(disk, 0)
        return said, faults_after(said, database, kept)

    said, faults = in_child(work)
    assert faults == [], said
    assert said.error is not None or said.second is not None
    assert said.outcome in {
        "preflight": ("refused",), "verify_live": ("restore_failed", "migrated"), "remove_old": ("migrated",),
        "finish": ("migrated",),
    }.get(step, ("restore_failed",))  # fmt: skip


def test_a_disk_too_full_for_the_lock_files_note_is_named_by_the_error(place):
    database = place / "notes.db"
    make_notes(database)

    def attempt():
        no_file_beyond(0)
        with locked(database):
            pass

    try:
        in_child(attempt)
    except MigratorError as error:
        assert str(database) in str(error)
