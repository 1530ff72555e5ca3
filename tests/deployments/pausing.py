"""A migration that pauses at the moment in $PAUSES, on the command line or as a deployment's flow, until it may go on.

The moment is `before` or `after` and `module:function`. When it comes for the first time the file $PAUSED is made; the
run goes on when somebody removes it.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

QUICK_TOOLS = ("log_code_attempt", "list_todos", "redis_flush_cache")


def pause_as_told() -> None:
    if not os.environ.get("PAUSES"):
        return
    how, place = os.environ["PAUSES"].split(" ")
    module, name = place.split(":")
    owner = importlib.import_module(module)
    function = getattr(owner, name)

    def pauses(*args: Any, **kwargs: Any) -> Any:
        setattr(owner, name, function)
        if how == "before":
            _pause()
            return function(*args, **kwargs)
        result = function(*args, **kwargs)
        _pause()
        return result

    setattr(owner, name, pauses)


def _pause() -> None:
    paused = Path(os.environ["PAUSED"])
    once = paused.with_name(f"{paused.name}.once")
    if once.exists():
        return
    once.touch()
    paused.write_text(f"{os.getpid()}\n")
    # Again and again: a signal that comes just before a wait without an end would not end it.
    while paused.exists():
        threading.Event().wait(0.02)


def _be_quick() -> None:
    """Three tools instead of 28, and not the two seconds that watch for growing memory."""
    from migrator import ltmc, performance

    performance._check_memory = lambda path, probes, seconds: None
    few = tuple(probe for probe in ltmc.LTMC.probes if probe.tool in QUICK_TOOLS)
    ltmc.LTMC = replace(ltmc.LTMC, probes=few)


_be_quick()
pause_as_told()

if __name__ == "__main__":
    from flows import command_line

    # A shell that started the tests in the background has it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(command_line.main(sys.argv[1:]))

# Below: the command line loads Prefect itself, once it knows on which server.
from flows.migrate import migrate as migrate  # noqa: E402
