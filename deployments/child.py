"""Prefect's command line as a program that ends with the one that started it, however that ends.

Started as a file with the words after `prefect` as arguments. When its stdin ends it gets the Ctrl-C on which Prefect's
server and worker stop. Imports nothing of this project.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time

POLITE_S = 8.0


def main() -> None:
    """Runs `prefect` with this program's arguments; gone at the latest 8 s after stdin ended."""
    # A shell that starts programs in the background has it ignored, and Prefect would keep that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    runpy.run_module("prefect", run_name="__main__", alter_sys=True)


def _end_with_stdin() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(POLITE_S)
    os._exit(1)


if __name__ == "__main__":
    main()
