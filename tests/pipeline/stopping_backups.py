"""A run of `flows.backups` that stops at named moments, as `stopping_run` is one of `flows.migrate`."""

from __future__ import annotations

import signal
import sys

import flows.backups
from tests.pipeline.stopping_run import stop_at

if __name__ == "__main__":
    # A shell that started the tests in the background has it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for moment in filter(None, sys.argv[1].split(",")):
        stop_at(moment)
    sys.exit(flows.backups.main(sys.argv[2:]))
