"""What a probe is: one tool of the application, reduced to what it does to SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Probe:
    """One tool.

    `call` gets an open connection inside a transaction that the caller rolls back; it never commits,
    does to the database what the tool does, checks what it wrote by reading it back, and returns what
    the tool would answer about the data that was there before (None where the tool only writes).
    The answer is compared before and after a migration, so it holds no clock time and no new id, and where an index
    could change the order of equal rows it ranks them itself.
    It raises `ProbeError` on a wrong value and lets `sqlite3.Error` pass.

    `skip_reason` says why a tool that does not touch SQLite is not called; then `call` is None.
    """

    tool: str
    call: Callable[[sqlite3.Connection], object] | None
    skip_reason: str | None = None

    def __post_init__(self) -> None:
        if (self.call is None) == (self.skip_reason is None):
            raise ValueError(f"probe of {self.tool}: give either a call or the reason why it is skipped")
