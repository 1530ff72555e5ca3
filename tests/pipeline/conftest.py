"""One Prefect server for all tests of the pipeline, with the settings that a run's own server has."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.recording import _send_what_is_queued
from flows.server import OwnServer
from migrator.ltmc import LTMC
from tests.pipeline.runs import on_server
from tests.runs import with_probes


@pytest.fixture(scope="session")
def server() -> Iterator[OwnServer]:
    """A server that answers; programs that a test starts find it in the environment."""
    environment = dict(os.environ)
    own = OwnServer.start()
    own.wait_until_healthy()
    with on_server(own.api_url):
        yield own
        _send_what_is_queued(time.monotonic() + 3)
    own.stop()
    os.environ.clear()
    os.environ.update(environment)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three tools instead of 28, and not the two seconds that watch for growing memory: test_migration.py has them."""
    tools = ("log_code_attempt", "list_todos", "redis_flush_cache")
    monkeypatch.setattr("flows.migrate.LTMC", with_probes(LTMC, lambda p: p if p.tool in tools else None))
    monkeypatch.setattr("tasks.prove.MEMORY_S", 0.0)


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """An un-migrated database of 100 rows, the 88 awkward ones among them."""
    LTMC.make_demo(tmp_path / "demo.db", 100)
    return tmp_path / "demo.db"
