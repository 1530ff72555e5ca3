"""The one instant: the rehearsed statements on what live holds now."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from migrator import ledger
from migrator.backup import MANIFEST_NAME, MAX_LOCK_MS, Progress, no_progress
from migrator.candidate import Candidate, predicted_lock_ms
from migrator.connect import count_rows, opened
from migrator.errors import LockTooLongError, NotOnlineError, PromotionError
from migrator.files import remove_tree
from migrator.findings import Finding
from migrator.guard import naming_what_changed
from migrator.journal_mode import use_wal
from migrator.ledger import WriteLedger
from migrator.one_transaction import in_one_transaction
from migrator.online import promote_online
from migrator.pace import Pace, Tell, throttle_path, untold
from migrator.rehearsal import rehearse_online
from migrator.removal import remove_own


@dataclass(frozen=True)
class Promoted:
    """The migration is in live, committed. `lock_ms`: how long the write lock was held, online the longest time at
    once; `rows`: the rebuilt rows."""

    candidate: Candidate
    strategy: Literal["one_transaction", "online"]
    lock_ms: float
    rows: int
    findings: tuple[Finding, ...] = ()

    def __str__(self) -> str:
        if self.strategy == "online":
            return f"{self.rows:,} rows online, the write lock held for at most {self.lock_ms:.1f} ms at a time"
        return f"{self.rows:,} rows in one transaction, the write lock held for {self.lock_ms:.1f} ms"


def promote(
    candidate: Candidate,
    max_lock_ms: float = MAX_LOCK_MS,
    on_progress: Progress = no_progress,
    tell: Tell = untold,
) -> Promoted:
    """Brings the migration into live while the application goes on; every other connection sees old or new.

    Reads the rows that live holds now, so writes made since the backup are in. What would hold the write lock longer
    than `max_lock_ms` in one transaction is done online; what was the table waits there to be removed (`remove_own`).
    `tell` is told why it waits, for the operator's throttle or for another connection's lock.
    Raises, with live as it was but for this tool's own objects: PromotionError where the application changed the schema
    of a migrated table or of what a value is read from, or wrote a value that has no answer, and where the backup is
    gone, online also in the middle; RehearsalError where a row differs; NotOnlineError where one transaction would take
    too long and nothing else can do it; sqlite3.OperationalError where live stays locked (try it again).
    """
    _refuse_without_backup(candidate)
    # Nobody needs the copies any more; what of them is not on the disk yet would be written beside the application.
    remove_tree(candidate.inspection.backup.scratch)
    if candidate.plan.adopted:
        # Nothing to fill: rows are looked at once more, and all of them under one lock.
        return _in_one_transaction(candidate, max_lock_ms, tell)
    if predicted_lock_ms(candidate, candidate.rows) <= max_lock_ms:
        with suppress(LockTooLongError):
            return _in_one_transaction(candidate, max_lock_ms, tell)
    return _online(candidate, max_lock_ms, on_progress, tell)


def _in_one_transaction(candidate: Candidate, max_lock_ms: float, tell: Tell) -> Promoted:
    live = candidate.inspection.backup.live
    with opened(live.database) as connection:
        lock_ms, rows, found = in_one_transaction(
            connection, live.application, candidate.plan, live.state, _ledger_of(candidate), max_lock_ms, tell
        )
    return Promoted(candidate, "one_transaction", lock_ms, rows, found)


def _online(candidate: Candidate, max_lock_ms: float, on_progress: Progress, tell: Tell) -> Promoted:
    rehearse_online(candidate)
    live = candidate.inspection.backup.live
    with (
        opened(live.database, read_only=True) as connection,
        naming_what_changed(connection, live.application, candidate.plan, live.state),
    ):
        _refuse_much_in_the_swap(connection, candidate, max_lock_ms)
    in_wal = use_wal(live.database)

    def between(done: int, total: int) -> None:
        # Where it is on a disk that hangs, nobody waits for us here.
        _refuse_without_backup(candidate)
        on_progress(done, total)

    pace = Pace(throttle_path(live.database), lambda: between(0, 0), tell=tell)
    filled = {table.table for table in candidate.plan.tables if table.is_filled_online}
    rows_expected = sum(candidate.inspection.backup.contents[table].rows for table in filled)
    with opened(live.database) as connection:
        # What an earlier try of this run left.
        remove_own(connection, live.application)
        lock_ms, rows, found = promote_online(
            connection, live.application, candidate.plan, live.state, _ledger_of(candidate), pace,
            rows_expected, between,
        )  # fmt: skip
    return Promoted(candidate, "online", lock_ms, rows, (*in_wal, *found))


def _refuse_without_backup(candidate: Candidate) -> None:
    """Raises PromotionError where the backup was on something that is not there any more."""
    backup = candidate.inspection.backup.path
    for path in (backup, backup.with_name(MANIFEST_NAME)):
        if not os.path.isfile(path):
            raise PromotionError(
                f"{path} is gone, and nothing is promoted without it; live unchanged",
                "bring back what the backups are kept on, then start again",
            )


def _refuse_much_in_the_swap(connection: sqlite3.Connection, candidate: Candidate, max_lock_ms: float) -> None:
    """Raises NotOnlineError where rows that were put aside come back, in the swap, and that would take too long.

    What takes less than the default limit is never refused: an operator's smaller one asks for the online way.
    """
    own = candidate.inspection.backup.live.state.own
    back = {t.table: t.reads for t in candidate.plan.tables if t.kind == "new" and t.reads in own}
    rows = sum(count_rows(connection, kept) for kept in back.values() if kept is not None)
    if back and predicted_lock_ms(candidate, rows) > max(max_lock_ms, MAX_LOCK_MS):
        raise NotOnlineError(
            f"{rows:,} rows of {', '.join(back)} come back at once, which would hold the write lock for more than "
            f"{max(max_lock_ms, MAX_LOCK_MS):g} ms; live unchanged",
            "allow a longer lock with --max-lock-ms at a quiet hour",
        )


def _ledger_of(candidate: Candidate) -> WriteLedger:
    live, after = candidate.inspection.backup.live, candidate.fingerprints

    def write_ledger(connection: sqlite3.Connection, seconds: float, rows: int) -> None:
        if candidate.plan.reverse:
            ledger.record_reversed(connection, live.application.name, candidate.plan.migrations, live.run_id, after)
            return
        before = live.state.schema.fingerprints_of(candidate.plan.touched)
        # SQLite takes no text that is not UTF-8; a file name may be any bytes.
        backup = os.fsencode(candidate.inspection.backup.path).decode(errors="backslashreplace")
        entry = ledger.Entry(live.run_id, backup, before, after, seconds, rows)
        ledger.record_applied(
            connection, live.application.name, candidate.plan.migrations, candidate.plan.answers, entry
        )

    return write_ledger
