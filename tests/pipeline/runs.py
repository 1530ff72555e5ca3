"""Runs of the flow in this program, and what Prefect's server and the database know of them afterwards."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import Artifact, FlowRun, TaskRun
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    temporary_settings,
)

from flows.ending import report_to_fill
from flows.migrate import migrate
from flows.recording import _task_runs, wait_until_recorded
from flows.request import MigrationRequest
from migrator.ltmc import LTMC
from migrator.report import Report
from migrator.schema import read_schema
from tests.pipeline.programs import ROOT

REAL = ROOT.parent / "shared" / "data" / "ltmc_20250809.db"
COLUMNS_AFTER = ["id", "function_name", "file_name", "module_name", "input_prompt", "generated_code", "result"]
COLUMNS_AFTER += ["execution_time_ms", "error_message", "tags", "created_at", "vector_id"]
PLENTY_MS = 60_000.0
NEWEST = len(LTMC.migrations)
ADDED = ("function_name", "file_name", "module_name", "execution_time_ms", "tags", "vector_id")


@contextlib.contextmanager
def on_server(api_url: str) -> Iterator[None]:
    """Flow runs in the block are recorded by the server at `api_url`."""
    settings = {PREFECT_API_URL: api_url, PREFECT_CLIENT_MAX_RETRIES: 1, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    with temporary_settings(settings):
        yield


@dataclass
class Ended:
    """How a run of the flow ended."""

    report: Report
    error: BaseException | None

    @property
    def flow_run(self) -> FlowRun:
        with get_client(sync_client=True) as client:
            return client.read_flow_run(self.report.flow_run_id)

    def task_runs(self, name: str = "") -> list[TaskRun]:
        """The recorded task runs, in the order of their start, or those whose name begins so."""
        assert wait_until_recorded(self.report.flow_run_id, self.report.task_runs, 20)
        return recorded(self.report.flow_run_id, name)


def recorded(flow_run_id: Any, name: str = "") -> list[TaskRun]:
    """What the server has now."""
    with get_client(sync_client=True) as client:
        runs = sorted(_task_runs(client, flow_run_id), key=lambda run: (run.start_time is None, run.start_time))
    return [run for run in runs if run.name.startswith(name)]


def run(database: Path, flow: Flow = migrate, **options: Any) -> Ended:
    """Runs the flow to its end, whatever that is."""
    report = Report(str(database))
    token = report_to_fill.set(report)
    try:
        # On a machine that stalls for a moment the small demo would go online.
        flow(MigrationRequest(database=database, **{"max_lock_ms": PLENTY_MS, **options}))
    except BaseException as error:
        return Ended(report, error)
    finally:
        report_to_fill.reset(token)
    return Ended(report, None)


def flow_runs_of(database: Path, client: SyncPrefectClient | None = None) -> list[FlowRun]:
    """Every flow run named after `database`, the first one first."""
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName
    from prefect.client.schemas.sorting import FlowRunSort

    with contextlib.ExitStack() as held:
        client = client or held.enter_context(get_client(sync_client=True))
        chosen = FlowRunFilter(name=FlowRunFilterName(like_=str(database)))
        return client.read_flow_runs(flow_run_filter=chosen, sort=FlowRunSort.START_TIME_ASC)


def artifacts_of(flow_run: FlowRun, client: SyncPrefectClient) -> dict[str | None, Artifact]:
    """Those of the flow run, by their keys."""
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

    # Of all that a server has one answer holds 200.
    chosen = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run.id]))
    return {artifact.key: artifact for artifact in client.read_artifacts(artifact_filter=chosen)}


def content(database: Path) -> tuple[str, dict[str, list[tuple[Any, ...]]]]:
    """The fingerprint of the application's schema, and every row of every table."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.text_factory = bytes
        names = [n.decode() for (n,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = {n: connection.execute(f'SELECT rowid, * FROM "{n}" ORDER BY rowid').fetchall() for n in sorted(names)}
        connection.text_factory = str
        return read_schema(connection, LTMC.own_tables).fingerprint, rows


def columns(database: Path, table: str = "CodePatterns") -> list[str]:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]


def beside(database: Path) -> list[str]:
    """The files beside the database that a run made, the lock aside, which stays."""
    return sorted(
        path.name for path in database.parent.iterdir() if path.name.startswith(database.name + ".")
        and not path.name.endswith(".migration-lock")
    )  # fmt: skip
