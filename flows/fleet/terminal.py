"""What a person sees of a fleet: a table that moves while it runs, and one at the end; in a pipe, plain lines."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from loguru import logger
from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from flows.fleet.request import FleetRequest
from flows.terminal import Terminal
from migrator.commands import own_command
from migrator.fleet.fleet import ABORTED, Fleet
from migrator.fleet.report import wave_rows
from migrator.fleet.results import FAILED, INTERRUPTED
from migrator.report import MIGRATED, PLANNED

_HEADLINES = {
    MIGRATED: "[green]all migrated[/green]",
    PLANNED: "planned, nothing changed",
    FAILED: "[yellow]some failed[/yellow], within the limit",
    ABORTED: "[red]aborted[/red]",
    INTERRUPTED: "[yellow]interrupted[/yellow]",
}
_COLUMNS = ("wave", "databases", "migrated", "planned", "up to date", "failed", "under way", "left")
_SHOWN_UNDER_WAY = 5


class FleetTerminal(Terminal):
    """stdout for the result, stderr for everything else; nothing here raises because of either."""

    def __init__(self) -> None:
        super().__init__()
        if self._bars:
            # Through the console, which moves the table out of the way.
            logger.remove()
            logger.add(lambda line: self._err.print(escape(line.rstrip())), format="{message}", level="WARNING")

    @contextlib.contextmanager
    def watching(self, fleet: Fleet) -> Iterator[None]:
        """On a terminal a table of the waves and of what is under way is shown in the block."""
        if not self._bars:
            yield
            return
        from rich.live import Live

        with Live(console=self._err, transient=True, get_renderable=lambda: _moving(fleet), refresh_per_second=4):
            yield

    def print_fleet(self, fleet: Fleet, request: FleetRequest, facts: dict[str, Any]) -> None:
        """The outcome for people: the table on stdout; why it stopped, what failed and what to do on stderr."""
        self._out.print(f"fleet {fleet.order.fleet_id}: {_HEADLINES[fleet.outcome]}")
        self._out.print(_table(fleet))
        if fleet.new:
            rate = f"{facts['per_minute']:,.0f} a minute, p50 {facts['p50_s']:.2f} s, p95 {facts['p95_s']:.2f} s"
            self._out.print(f"{len(fleet.new):,} in {facts['seconds']:,.1f} s: {rate}")
        for result in fleet.failures:
            self.say(f"{result.database}: {result.outcome}: {result.error}")
        if fleet.why_stopped is not None:
            self.say(f"stopped: {fleet.why_stopped}")
        if fleet.exit_code and fleet.outcome != PLANNED and facts["state"] is not None:
            again = own_command("flows.fleet", "--state", request.state, "--resume")
            answered = request.map_result or request.truncate_times or request.null_duplicate_vector_ids
            kept = ", with the answers that were given" if answered else ""
            self.say(f"to go on{kept}: {again}{' --retry-failed' if fleet.failures else ''}")


def _moving(fleet: Fleet) -> Group:
    now = time.monotonic()
    under_way = sorted(fleet.under_way.copy().items(), key=lambda entry: entry[1])
    lines = [f"{now - began:6.1f} s  {database}" for database, began in under_way[:_SHOWN_UNDER_WAY]]
    if len(under_way) > _SHOWN_UNDER_WAY:
        lines.append(f"{'':10}and {len(under_way) - _SHOWN_UNDER_WAY} more")
    ended, minutes = len(fleet.new), (now - fleet.started_at) / 60
    lines.append(f"{ended:,} done, {ended / minutes:,.0f} a minute, {len(fleet.left):,} left")
    return Group(_table(fleet), *(Text(line, no_wrap=True, overflow="ellipsis") for line in lines))


def _table(fleet: Fleet) -> Table:
    """A row for each wave; a column of which nothing is to be said is left out."""
    rows = [
        (r.wave, r.databases, r.migrated, r.planned, r.up_to_date, r.failed, r.under_way, r.left)
        for r in wave_rows(fleet)
    ]
    kept = [n for n, _ in enumerate(_COLUMNS) if n < 2 or any(row[n] for row in rows)]
    table = Table(box=None, pad_edge=False)
    for n in kept:
        table.add_column(_COLUMNS[n], justify="left" if n == 0 else "right")
    for row in rows:
        table.add_row(*(f"{row[n]:,}" if n else str(row[0]) for n in kept), style="red" if row[5] else None)
    return table
