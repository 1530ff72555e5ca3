"""What ends a program from outside: let in while nothing has begun, only noted where nothing must stop halfway."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_NOTED = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)


def end_as_ctrl_c_does() -> None:
    """Afterwards SIGTERM raises KeyboardInterrupt, and so does a terminal that is gone, unless nohup asked for that."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda number, frame: os.kill(os.getpid(), signal.SIGTERM))


def on_end_signals(handler: Any) -> None:
    """Afterwards Ctrl-C and SIGTERM have that effect: what signal.signal takes."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)


@contextmanager
def undisturbed(note: Callable[[str], None]) -> Iterator[None]:
    """Ctrl-C, SIGTERM and the alarm of a flow's timeout have no effect in the block; `note` is called with their name.

    Only the main thread gets signals: in another one nothing is to be done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _NOTED}
    try:
        for number in _NOTED:
            signal.signal(number, lambda number, frame: note(signal.Signals(number).name))
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
