"""A cancelled run, a run that takes too long, and a server that dies: the database is old or new, and the run ends."""

from __future__ import annotations

import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.context import FlowRunContext
from prefect.states import Cancelling

from flows.migrate import migrate
from migrator import candidate, promotion, restoration
from tasks import cancellation
from tasks.record import current_report
from tasks.step import step
from tests.pipeline.programs import stopping
from tests.pipeline.runs import COLUMNS_AFTER, beside, columns, content, run
from tests.pipeline.stopping_run import execute_for_ever

pytestmark = pytest.mark.usefixtures("server", "quick")


def cancels_after(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
    """Somebody cancels the run, in the UI, while the function is at work."""
    function = getattr(owner, name)

    def cancelled_meanwhile(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        context = FlowRunContext.get()
        assert context is not None
        assert context.flow_run is not None
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(context.flow_run.id, Cancelling())
        return result

    monkeypatch.setattr(owner, name, cancelled_meanwhile)


def test_a_cancelled_run_ends_before_its_next_step(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content(demo)
    monkeypatch.setattr(cancellation, "_ASK_EVERY_S", 0.0)
    cancels_after(monkeypatch, candidate, "convert_data")
    ended = run(demo)
    assert ended.error is None or type(ended.error).__name__ == "CancelledRun"
    assert (ended.report.outcome, ended.report.exit_code) == ("restored", 1)
    assert ended.flow_run.state_name == "Cancelled"
    assert [(r.name, r.state_name) for r in ended.task_runs("restore")] == [
        ("restore (RunCancelledError)", "Completed")
    ]
    assert ended.task_runs("rebuild table") == []
    assert content(demo) == before
    assert beside(demo) == ["demo.db.backups"]


def test_a_cancellation_is_seen_before_the_promotion_however_short_ago_was_asked(
    demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = content(demo)
    monkeypatch.setattr(cancellation, "_ASK_EVERY_S", 3600.0)
    cancels_after(monkeypatch, candidate, "convert_data")
    monkeypatch.setattr(promotion, "promote", lambda *_: pytest.fail("it was promoted"))
    ended = run(demo)
    assert (ended.report.outcome, ended.flow_run.state_name) == ("restored", "Cancelled")
    assert len(ended.task_runs("restore")) == 1
    assert content(demo) == before


def test_a_cancellation_after_the_commit_lets_the_migration_stand(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancellation, "_ASK_EVERY_S", 0.0)
    cancels_after(monkeypatch, promotion, "promote")
    ended = run(demo)
    assert (ended.report.outcome, ended.report.exit_code) == ("migrated", 0)
    assert ended.task_runs("restore") == []
    assert ended.flow_run.state_name == "Cancelled"
    assert "migrated" in str(ended.flow_run.state and ended.flow_run.state.message)
    assert columns(demo) == COLUMNS_AFTER


def test_a_flow_that_takes_too_long_is_restored_out_of_a_running_statement(
    demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = content(demo)
    reached: list[float] = []
    monkeypatch.setattr(candidate, "create_indexes", lambda *_: execute_for_ever(lambda: reached.append(time.time())))
    ended = run(demo, migrate.with_options(timeout_seconds=3))
    assert reached
    assert isinstance(ended.error, TimeoutError)
    assert ended.report.outcome == "restored"
    assert ended.flow_run.state_name == "TimedOut"
    assert len(ended.task_runs("restore")) == 1
    assert content(demo) == before


def test_a_timeout_during_the_restore_does_not_disturb_it(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content(demo)
    restore = restoration.restore

    def restored(*args: Any) -> Any:
        signal.raise_signal(signal.SIGALRM)
        return restore(*args)

    monkeypatch.setattr(restoration, "restore", restored)
    monkeypatch.setattr(candidate, "stage", lambda *_: 1 / 0)
    ended = run(demo, migrate.with_options(timeout_seconds=60))
    assert isinstance(ended.error, ZeroDivisionError)
    assert ended.report.outcome == "restored"
    assert [r.state_name for r in ended.task_runs("restore")] == ["Completed"]
    assert content(demo) == before


def test_a_step_that_takes_too_long_is_ended_in_the_middle_of_a_statement(
    demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = content(demo)

    @step("create indexes", timeout_s=0.3)
    def create_indexes(candidate: Any) -> Any:
        execute_for_ever(lambda: None)

    monkeypatch.setattr("flows.migrate.create_indexes", create_indexes)
    ended = run(demo)
    assert isinstance(ended.error, TimeoutError)
    assert ended.report.outcome == "restored"
    assert [r.state_name for r in ended.task_runs("create indexes")] == ["TimedOut"]
    assert [r.name for r in ended.task_runs("restore")] == ["restore (TaskRunTimeoutError)"]
    assert ended.flow_run.state_name in ("TimedOut", "Failed")
    assert content(demo) == before


def test_a_server_that_does_not_answer_is_asked_again_only_where_it_matters(
    demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        closed = f"http://127.0.0.1:{listening.getsockname()[1]}/api"

    def client_of_nobody(**options: Any) -> SyncPrefectClient:
        asked.append(current_report.get().running)
        return SyncPrefectClient(closed)

    monkeypatch.setattr(cancellation, "_ASK_EVERY_S", 0.0)
    monkeypatch.setattr(cancellation, "get_client", client_of_nobody)
    ended = run(demo)
    assert (ended.report.outcome, ended.error) == ("migrated", None)
    assert asked == ["preflight", "promote", "report"]
    assert [finding.code for finding in ended.report.findings].count("server_unreachable") == 1


def test_a_server_that_dies_does_not_keep_the_migration_from_its_end(demo: Path) -> None:
    began = time.monotonic()
    with stopping("serverless migrator.candidate:stage", demo, PREFECT_API_URL=None) as program:
        code, report = program.ends()
    assert (code, report["outcome"], report["error"]) == (0, "migrated", None), program.stderr
    # Prefect's own last calls to its server are tried twice, 10 s in all.
    assert time.monotonic() - began < 45
    assert [finding["code"] for finding in report["findings"]].count("server_unreachable") == 1
    assert columns(demo) == COLUMNS_AFTER
    assert beside(demo) == ["demo.db.backups"]
