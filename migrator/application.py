"""What this package must be told about the application whose database it migrates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from migrator.ledger import LEDGER_TABLES
from migrator.migration import Migration
from migrator.probes import Probe
from migrator.tool_server.calls import ServerTools


@dataclass(frozen=True)
class Application:
    """`name` is the migration set in the ledger; `make_demo(path, rows)` makes an un-migrated database.

    `probes` are its tools, as long as no migration has other probes for them; `server_tools` is how they are called in
    the application's own server.
    """

    name: str
    migrations: tuple[Migration, ...]
    probes: tuple[Probe, ...]
    make_demo: Callable[[Path, int], None]
    server_tools: ServerTools = field(default_factory=ServerTools)

    @property
    def own_tables(self) -> frozenset[str]:
        """The tables that belong to this tool: outside fingerprints, content hashes and drift."""
        return frozenset(LEDGER_TABLES).union(*(m.own_tables for m in self.migrations))

    def probes_at(self, version: int) -> tuple[Probe, ...]:
        """The tools of the application that expects schema `version`."""
        found = {probe.tool: probe for probe in self.probes}
        for migration in self.migrations[:version]:
            found |= {probe.tool: probe for probe in migration.probes}
        return tuple(found.values())
