"""What the run under way knows of itself: its report, its task runs, and who watches its progress."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

from migrator.report import Report

current_report: ContextVar[Report] = ContextVar("current_report")
"""The report of the run under way; steps add themselves to it."""

watch_progress: ContextVar[Callable[[str, int, int], None] | None] = ContextVar("watch_progress", default=None)
"""Who is told how far a step is: its name, what is done, and of how much (0: nobody knows)."""


def progress(name: str) -> Callable[[int, int], None]:
    """The `on_progress` of a step."""
    watch = watch_progress.get()
    return (lambda done, total: watch(name, done, total)) if watch else (lambda done, total: None)
