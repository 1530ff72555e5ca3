"""The application's 28 tools as probes, in the order of its catalogue.

They speak for the application that expects the migrated schema: on an un-migrated database the three
code pattern tools fail, as they do in the application.
"""

from __future__ import annotations

from migrator.ltmc.probes import chat, code_patterns, context, graph, memory, redis, todo, tracking
from migrator.probes import Probe

CATALOGUE: tuple[Probe, ...] = (
    *memory.PROBES,
    *chat.PROBES,
    *todo.PROBES,
    *context.PROBES,
    *graph.PROBES,
    *tracking.PROBES,
    *code_patterns.PROBES,
    *redis.PROBES,
)

__all__ = ["CATALOGUE"]
