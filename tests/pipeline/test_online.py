"""The online way through the whole flow: its steps, its end by a signal or a cancellation, its recovery."""

from __future__ import annotations

import contextlib
import json
import signal
import sqlite3
from pathlib import Path

import pytest
from loguru import logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

import flows.migrate
from migrator import online, shadow
from migrator.pace import throttle_path
from tasks import artifacts, cancellation
from tasks.record import watch_progress
from tests.pipeline.programs import output_of, stopping
from tests.pipeline.runs import COLUMNS_AFTER, beside, columns, content, run
from tests.pipeline.test_cancellation import cancels_after

pytestmark = pytest.mark.usefixtures("server", "quick")

ONLINE = {"max_lock_ms": 0.001}
FILLED = ("CodePatterns", "Todos", "ChatHistory")
ROWS = 100 + 10 + 100
# Each has its turn in the rehearsal first.
ON_LIVE = len(FILLED) + 1


def own_objects(database: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        query = "SELECT name FROM sqlite_master WHERE name GLOB '_mig_*'"
        return [name for (name,) in connection.execute(query)]


def journal_mode(database: Path) -> str:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return str(connection.execute("PRAGMA journal_mode").fetchone()[0])


def test_a_lock_that_would_be_too_long_is_avoided_online(demo: Path) -> None:
    ended = run(demo, **ONLINE)
    assert (ended.report.outcome, ended.error) == ("migrated", None)
    assert ended.report.promoted is not None
    assert (ended.report.promoted.strategy, ended.report.promoted.rows) == ("online", ROWS)
    assert [r.name for r in ended.task_runs("remove")] == ["remove the old table"]
    assert columns(demo) == COLUMNS_AFTER
    assert (own_objects(demo), journal_mode(demo), beside(demo)) == ([], "delete", ["demo.db.backups"])
    assert run(demo, **ONLINE).report.outcome == "up_to_date"


@pytest.mark.parametrize("step", ["stage", "validate_tools", "verify_live"])
def test_the_application_is_never_the_last_to_close_the_database(
    demo: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    logs = []

    def write_and_close(*arguments: object) -> object:
        with contextlib.closing(sqlite3.connect(demo, isolation_level=None)) as application:
            application.execute("UPDATE Todos SET title = title || '.'")
        logs.append(demo.with_name(demo.name + "-wal").exists())
        return original(*arguments)

    original = getattr(flows.migrate, step)
    monkeypatch.setattr(flows.migrate, step, write_and_close)
    with contextlib.closing(sqlite3.connect(demo)) as application:
        application.execute("PRAGMA journal_mode=wal")
    assert run(demo).report.outcome == "migrated"
    assert logs == [True]
    assert beside(demo) == ["demo.db.backups"]


def test_a_long_promotion_shows_its_progress_as_an_artifact(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifacts, "_SHOWN_EVERY_S", 0.0)
    ended = run(demo, **ONLINE)
    wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[ended.flow_run.id]))
    with get_client(sync_client=True) as client:
        shown = [a for a in client.read_artifacts(artifact_filter=wanted) if a.key == "promotion"]
    assert [(a.type, float(str(a.data))) for a in shown] == [("progress", 100.0)]
    assert f"{ROWS} of about {ROWS} rows" in str(shown[0].description)


def test_a_run_that_is_cancelled_while_rows_are_copied_is_restored(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content(demo)
    monkeypatch.setattr(cancellation, "_ASK_EVERY_S", 0.0)
    cancels_after(monkeypatch, online._Run, "_fill")
    ended = run(demo, **ONLINE)
    assert (ended.report.outcome, ended.flow_run.state_name) == ("restored", "Cancelled")
    assert len(ended.task_runs("restore")) == 1
    assert (content(demo), own_objects(demo), journal_mode(demo)) == (before, [], "delete")


def test_an_error_while_rows_are_copied_restores_once(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content(demo)
    monkeypatch.setattr(shadow.Shadow, "advance_to", lambda *_: 1 / 0)
    ended = run(demo, **ONLINE)
    assert isinstance(ended.error, ZeroDivisionError)
    assert (ended.report.outcome, len(ended.task_runs("restore"))) == ("restored", 1)
    assert (content(demo), own_objects(demo), beside(demo)) == (before, [], ["demo.db.backups"])


def test_an_old_table_that_cannot_be_removed_now_waits_for_the_next_start(
    demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("migrator.removal._empty", lambda *_: 1 / 0)
        ended = run(demo, **ONLINE)
    assert (ended.report.outcome, ended.error, ended.report.exit_code) == ("migrated", None, 0)
    assert {"disturbed", "leftovers"} <= {f.code for f in ended.report.findings}
    assert set(own_objects(demo)) == {f"_mig_{table}.old" for table in FILLED}
    assert columns(demo) == COLUMNS_AFTER
    assert run(demo, **ONLINE).report.outcome == "up_to_date"
    assert (own_objects(demo), journal_mode(demo), beside(demo)) == ([], "delete", ["demo.db.backups"])


@pytest.mark.parametrize(
    "moment", [f"before migrator.shadow:Shadow.advance_to#{ON_LIVE}", f"before migrator.swap:swap_table#{ON_LIVE}"]
)
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_while_rows_are_copied_restores_once(demo: Path, name: str, moment: str) -> None:
    before = content(demo)
    with stopping(moment, demo, "--max-lock-ms", "0.001") as program:
        program.reaches(moment)
        assert own_objects(demo)
        program.send(getattr(signal, name))
        code, report = program.ends()
    assert (code, report["outcome"]) == (1, "restored"), program.stderr
    assert (content(demo), own_objects(demo), journal_mode(demo)) == (before, [], "delete")


@pytest.mark.parametrize(
    ("moment", "outcome"),
    [
        (f"before migrator.shadow:Shadow.advance_to#{ON_LIVE}", "migrated"),
        (f"before migrator.swap:swap_table#{ON_LIVE}", "migrated"),
        ("before migrator.verification:verify", "up_to_date"),
        ("before migrator.removal:_empty", "up_to_date"),
        ("before migrator.journal_mode:give_back", "up_to_date"),
    ],
)
def test_the_next_start_ends_a_killed_online_run(demo: Path, moment: str, outcome: str) -> None:
    with stopping(moment, demo, "--max-lock-ms", "0.001") as program:
        program.reaches(moment)
        program.child.kill()
        assert program.child.wait() == -9
    code, stdout, _ = output_of("flows.migrate", demo.parent, "--database", str(demo), "--dry-run", "--json")
    looked, left = json.loads(stdout), own_objects(demo)
    assert (code, looked["outcome"]) == (0, "planned" if outcome == "migrated" else outcome)
    (said,) = [found["message"] for found in looked["findings"] if found["code"] == "killed_run"]
    assert said.startswith("a migration first ends what run ")
    assert ("do not drop them by hand" in said) == bool(left)
    assert all(name in said for name in left)
    ended = run(demo)
    assert ended.report.outcome == outcome
    assert columns(demo) == COLUMNS_AFTER
    assert (own_objects(demo), journal_mode(demo), beside(demo)) == ([], "delete", ["demo.db.backups"])


def test_the_operators_throttle_holds_the_promotion_until_it_is_taken_away(demo: Path) -> None:
    throttle, waited, told = throttle_path(demo), [], []
    throttle.write_text("banana\n")

    def watch(step: str, done: int, total: int) -> None:
        if step == "promote" and total == 0:
            waited.append(columns(demo) == COLUMNS_AFTER)
            if len(waited) > 2:
                throttle.unlink(missing_ok=True)

    token, sink = watch_progress.set(watch), logger.add(lambda message: told.append(message.record), level="WARNING")
    assert run(demo, **ONLINE).report.outcome == "migrated"
    logger.remove(sink)
    watch_progress.reset(token)
    said = f"promote: paused by {throttle} ('banana' is no number); remove that file to go on"
    assert [record["message"] for record in told if "paused" in record["message"]] == [said]
    # The first says that the step began.
    assert len(waited) > 2 and not any(waited)
