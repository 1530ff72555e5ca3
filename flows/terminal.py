"""What a person sees: bars while it runs, a short table at the end; in a pipe, plain lines."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TextIO, cast

from loguru import logger
from rich.console import Console
from rich.markup import escape

from flows.stream import Stream
from migrator.report import MIGRATED, PLANNED, REFUSED, RESTORE_FAILED, RESTORED, UP_TO_DATE, Report

if TYPE_CHECKING:
    from rich.progress import TaskID

_HEADLINES = {
    MIGRATED: "[green]migrated[/green]",
    UP_TO_DATE: "[green]up to date[/green], nothing changed",
    PLANNED: "planned, nothing changed",
    RESTORED: "[red]failed and restored[/red]: the database is as before",
    REFUSED: "[yellow]refused[/yellow], nothing changed",
    RESTORE_FAILED: "[bold red]the restore failed: you must act[/bold red]",
}


class Terminal:
    """stdout for the result, stderr for everything else; nothing here raises because of either."""

    def __init__(self) -> None:
        self._stdout, stderr = Stream(sys.stdout), Stream(sys.stderr)
        self._out = Console(file=cast("TextIO", self._stdout), soft_wrap=True, highlight=False)
        self._err = Console(file=cast("TextIO", stderr), soft_wrap=True, highlight=False)
        self._bars = self._err.is_terminal
        # Prefect's own console lines repeat what is shown here; its API handler still stores every one.
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
        logger.remove()
        logger.add(
            cast("TextIO", stderr),
            format="{time:HH:mm:ss} {level: <7} {message}",
            level="WARNING" if self._bars else "INFO",
        )

    @property
    def fault(self) -> str | None:
        """Why stdout has not all of the result."""
        return self._stdout.fault

    def say(self, message: str) -> None:
        """One line on stderr."""
        self._err.print(escape(message))

    @contextlib.contextmanager
    def progress(self) -> Iterator[Callable[[str, int, int], None] | None]:
        """A callback that moves a bar a step, on a terminal; None in a pipe. A step of unknown length pulses."""
        if not self._bars:
            yield None
            return
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description:<18}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self._err, transient=True) as progress:
            bars: dict[str, TaskID] = {}

            def watch(name: str, done: int, total: int) -> None:
                if name not in bars:
                    bars[name] = progress.add_task(name.replace("_", " "), total=None)
                progress.update(bars[name], completed=done, total=total or None)

            yield watch

    def print_json(self, value: dict[str, object]) -> None:
        """One JSON object on stdout."""
        self._out.out(json.dumps(value, indent=2), highlight=False)

    def print_text(self, text: str) -> None:
        """`text` on stdout, byte for byte: nothing of it is markup, and no line is folded."""
        self._stdout.write(text)
        self._stdout.flush()

    def print_summary(self, report: Report) -> None:
        """The outcome for people: errors and refusals on stderr, results on stdout."""
        failed = report.outcome in (RESTORED, REFUSED, RESTORE_FAILED)
        console = self._err if failed else self._out
        console.print(f"{escape(report.database)}: {_HEADLINES.get(report.outcome or '', 'not finished')}")
        if report.error:
            console.print(escape(report.error))
        for row in _lines(report):
            console.print(row)


def _lines(report: Report) -> Iterator[str]:
    for name, value in report.facts():
        yield f"{name:<14}{escape(value)}"
    for finding in report.findings:
        yield f"[yellow]{'note':<14}[/yellow]{escape(finding.text)}"
