"""After a failure: live as it was, whatever else is sent to this process meanwhile."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from loguru import logger

from migrator import restoration
from migrator.preflight import Live
from migrator.restoration import Restored
from tasks.step import step


@step("restore ({reason})", retries_on_lock=True, cancellable=False)
def restore(live: Live, reason: str) -> Restored:
    return restoration.restore(live.database, live.application, live.run_id, live.directory)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Ctrl-C, SIGTERM and the alarm of a flow's timeout are noted in the block and have no effect."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    noted = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
    before = {number: signal.signal(number, _note) for number in noted}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _note(number: int, frame: object) -> None:
    logger.warning("{} waits: live is being brought back", signal.Signals(number).name)
