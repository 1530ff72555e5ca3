"""What a start does, as flows/migrate.py has it, in a forked child that says where it is and may die there."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

from migrator import backup, one_transaction, online, promotion, restoration
from migrator.application import Application
from migrator.journal import Journal, read_journal, write_journal
from migrator.journal_mode import give_back, kept_open, use_wal
from migrator.lock import locked
from migrator.preflight import preflight
from migrator.promotion import promote
from migrator.removal import remove_old
from migrator.restoration import finish_promoted, recover
from migrator.verification import verify_live
from tests.notes import NOTES
from tests.runs import prove, rehearse

_TRIES = 100

Say = Callable[[str], None]


def run(database: Path, wanted: int, max_lock_ms: float, say: Say, application: Application = NOTES) -> None:
    """A whole run to version `wanted`, after the recovery of the one before it."""
    _say_phases(say)
    with locked(database):
        for _ in range(_TRIES):
            try:
                _run(database, wanted, max_lock_ms, say, application)
                return
            except sqlite3.OperationalError as error:
                # Where a writer was in the way the next try begins anew.
                if "locked" not in str(error):
                    raise
    raise AssertionError("always locked")


def _run(database: Path, wanted: int, max_lock_ms: float, say: Say, application: Application) -> None:
    if read_journal(database):
        say("recover")
        recover(database, application)
    say("preflight")
    live = preflight(database, application, to_version=wanted)
    if live.plan is None:
        return
    say("back up")
    backed_up = backup.back_up(live, max_lock_ms=max_lock_ms)
    with kept_open(live.database):
        say("rehearse")
        candidate = rehearse(backed_up)
        prove(candidate)
        promoted = promote(candidate, max_lock_ms)
        assert (promoted.strategy == "online") == (max_lock_ms == 0), promoted
        say("verify")
        verify_live(promoted)
        if promoted.strategy == "online":
            say("remove the old table")
            remove_old(promoted)
    say("finish")
    finish_promoted(live)


def recovered(database: Path, application: Application) -> str:
    """How the next start ended the run that was killed."""
    for _ in range(_TRIES):
        try:
            return recover(database, application).how
        except sqlite3.OperationalError as error:
            assert "locked" in str(error), error
    raise AssertionError("always locked")


def switch_for_ever(database: Path, note: Journal, say: Say) -> None:
    """Journal mode WAL and back, until it is killed."""
    say("switch")
    write_journal(database, note)
    while True:
        use_wal(database)
        give_back(database)


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
