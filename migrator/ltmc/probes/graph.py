"""The four graph tools: Neo4j only."""

from __future__ import annotations

from migrator.probes import Probe

NEO4J = "touches no SQLite: needs Neo4j at bolt://localhost:7687"

PROBES = (
    Probe("link_resources", None, NEO4J),
    Probe("query_graph", None, NEO4J),
    Probe("auto_link_documents", None, NEO4J),
    Probe("get_document_relationships", None, NEO4J),
)
