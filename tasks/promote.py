"""The one instant, and the look at live right after it."""

from __future__ import annotations

from loguru import logger

from migrator import promotion, removal, verification
from migrator.candidate import Candidate
from migrator.performance import Performance
from migrator.promotion import Promoted
from migrator.verification import Verified
from tasks.artifacts import ProgressArtifact
from tasks.cancellation import raise_if_cancelled
from tasks.record import current_report, progress
from tasks.step import its_rows, step


@step("promote", retries_on_lock=True, counts_rows=its_rows)
def promote(candidate: Candidate, performance: Performance, max_lock_ms: float) -> Promoted:
    """`performance` is the proof that the gate was passed; it also draws the edge in the run's graph."""
    raise_if_cancelled(at_once=True)
    moved, artifact = progress("promote"), ProgressArtifact()

    def between_holds(done: int, total: int) -> None:
        raise_if_cancelled()
        moved(done, total)
        artifact.show(done, total)

    promoted = promotion.promote(
        candidate, max_lock_ms, between_holds, lambda said: logger.warning("promote: {}", said)
    )
    current_report.get().promoted = promoted
    return promoted


@step("verify live", retries_on_lock=True, cancellable=False)
def verify_live(promoted: Promoted) -> Verified:
    return verification.verify_live(promoted)


@step("remove the old table", retries_on_lock=True, cancellable=False)
def remove_old(promoted: Promoted) -> None:
    removal.remove_old(promoted, lambda said: logger.warning("remove the old table: {}", said))
