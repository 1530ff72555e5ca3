"""The three cache tools: Redis only."""

from __future__ import annotations

from migrator.probes import Probe

REDIS = "touches no SQLite: needs Redis at localhost:6382"

PROBES = (
    Probe("redis_cache_stats", None, REDIS),
    Probe("redis_flush_cache", None, REDIS),
    Probe("redis_health_check", None, REDIS),
)
