"""LTMC: a memory server for AI assistants. The only place of the project that knows the application."""

from pathlib import Path

from migrator.application import Application
from migrator.loading import load_migrations
from migrator.ltmc.demo import make_demo
from migrator.ltmc.probes import CATALOGUE
from migrator.ltmc.tool_calls import SERVER_TOOLS

LTMC = Application(
    name="ltmc",
    migrations=load_migrations(Path(__file__).parent / "migrations", (probe.tool for probe in CATALOGUE)),
    probes=CATALOGUE,
    make_demo=make_demo,
    server_tools=SERVER_TOOLS,
)
