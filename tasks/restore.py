"""After a failure: live as it was, whatever else is sent to this process meanwhile."""

from __future__ import annotations

from contextlib import AbstractContextManager

from loguru import logger

from migrator import restoration, signals
from migrator.preflight import Live
from migrator.restoration import Restored
from tasks.step import step


@step("restore ({reason})", retries_on_lock=True, cancellable=False)
def restore(live: Live, reason: str) -> Restored:
    return restoration.restore(live.database, live.application, live.run_id, live.directory)


def undisturbed() -> AbstractContextManager[None]:
    """Ctrl-C, SIGTERM and the alarm of a flow's timeout are noted in the block and have no effect."""
    return signals.undisturbed(lambda name: logger.warning("{} waits: live is being brought back", name))
