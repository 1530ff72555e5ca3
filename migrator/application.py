"""What this package must be told about the application whose database it migrates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from migrator.ledger import LEDGER_TABLES
from migrator.migration import DeclarationError, Migration
from migrator.probes import Probe
from migrator.tool_server.calls import ServerTools


@dataclass(frozen=True)
class Application:
    """`name` is the migration set in the ledger; `make_demo(path, rows)` makes an un-migrated database.

    `probes` are its tools, as long as no migration has other probes for them; `server_tools` is how they are called in
    the application's own server. Raises DeclarationError where a migration names a tool that is none of them: it would
    be tried by nobody.
    """

    name: str
    migrations: tuple[Migration, ...]
    probes: tuple[Probe, ...]
    make_demo: Callable[[Path, int], None]
    server_tools: ServerTools = field(default_factory=ServerTools)

    def __post_init__(self) -> None:
        for number, migration in enumerate(self.migrations, 1):
            unknown = {*migration.tools} - {probe.tool for probe in self.probes_at(number)}
            if unknown:
                raise DeclarationError(
                    f"migration {migration.label} names the tool {min(unknown)!r}, which the application does not have",
                    "correct the name, or give the migration a probe of it",
                )

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
