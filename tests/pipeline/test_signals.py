"""Signals before the COMMIT restore, once; after it the migration stands. The JSON is whole either way."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from flows.recording import WAITS
from tests.pipeline.programs import ends_within, stopping
from tests.pipeline.runs import COLUMNS_AFTER, beside, columns, content, flow_runs_of, recorded

pytestmark = pytest.mark.usefixtures("server")

BOUNDARY, STATEMENT = "before migrator.candidate:stage", "during migrator.candidate:create_indexes"


def names_and_states(database: Path, name: str) -> list[tuple[str, str | None]]:
    (flow_run,) = flow_runs_of(database)
    return [(r.name, r.state_name) for r in recorded(flow_run.id, name)]


@pytest.mark.parametrize("moment", [BOUNDARY, STATEMENT])
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_signal_before_the_commit_restores_once(demo: Path, name: str, moment: str) -> None:
    before = content(demo)
    with stopping(moment, demo) as program:
        program.reaches(moment)
        program.send(getattr(signal, name))
        code, report = program.ends()
    assert (code, report["outcome"]) == (1, "restored"), program.stderr
    reason = "KeyboardInterrupt" if name == "SIGINT" else "TerminationSignal"
    assert f"was stopped by {'Ctrl-C' if name == 'SIGINT' else 'SIGTERM'}; {demo} is as before" in report["error"]
    assert names_and_states(demo, "restore") == [(f"restore ({reason})", "Completed")]
    assert [step["name"] for step in report["steps"][-2:]] == [f"restore ({reason})", "report the outcome"]
    assert content(demo) == before
    assert beside(demo) == ["demo.db.backups"]
    assert "Traceback" not in program.stderr


@pytest.mark.parametrize(
    ("name", "moment"),
    [
        ("SIGINT", "before prefect.task_engine:_create_task_run_locally#30"),
        ("SIGTERM", "before prefect.task_engine:_create_task_run_locally#30"),
        ("SIGINT", "after prefect.task_engine:_create_task_run_locally#31"),
        ("SIGINT", "before prefect.task_engine:emit_task_run_state_change_event#90"),
        ("SIGINT", "before migrator.tools:validate_tool#9"),
    ],
)
def test_a_signal_while_prefect_begins_or_ends_the_task_of_a_tool_is_told_as_such(
    demo: Path, name: str, moment: str
) -> None:
    before = content(demo)
    with stopping(moment, demo) as program:
        program.reaches(moment)
        program.send(getattr(signal, name))
        # Prefect has no state of a task that was stopped as it began, and 30 s are too long to wait for it.
        assert ends_within(program.child.pid, 20)
        code, report = program.ends()
    assert (code, report["outcome"]) == (1, "restored"), program.stderr
    assert (
        f"validate_tool was stopped by {'Ctrl-C' if name == 'SIGINT' else name}; {demo} is as before" in report["error"]
    )
    assert content(demo) == before
    assert "ValueError" not in program.stderr


def test_more_signals_during_the_restore_are_noted_and_do_not_disturb_it(demo: Path) -> None:
    before = content(demo)
    with stopping(f"{STATEMENT},noting migrator.restoration:restore", demo) as program:
        program.reaches(STATEMENT)
        program.send(signal.SIGTERM)
        program.reaches("ready for SIGTERM")
        program.send(signal.SIGTERM)
        program.reaches("ready for SIGINT")
        program.send_to_all(signal.SIGINT)
        code, report = program.ends()
    assert (code, report["outcome"]) == (1, "restored"), program.stderr
    assert len(names_and_states(demo, "restore")) == 1
    assert content(demo) == before


def test_ctrl_c_reaches_the_run_but_not_its_own_server(demo: Path) -> None:
    before = content(demo)
    with stopping(STATEMENT, demo, PREFECT_API_URL=None) as program:
        program.reaches(STATEMENT)
        program.send_to_all(signal.SIGINT)
        code, report = program.ends()
    assert (code, report["outcome"]) == (1, "restored"), program.stderr
    assert names_and_states(demo, "restore") == [("restore (KeyboardInterrupt)", "Completed")]
    assert content(demo) == before


@pytest.mark.parametrize(
    "moment",
    [
        "after migrator.promotion:promote",
        "before migrator.verification:verify_live",
        "before migrator.restoration:finish",
    ],
)
def test_a_signal_after_the_commit_lets_the_migration_stand(demo: Path, moment: str) -> None:
    with stopping(moment, demo) as program:
        program.reaches(moment)
        program.send(signal.SIGTERM if moment.startswith("before") else signal.SIGINT)
        code, report = program.ends()
    assert (code, report["outcome"], report["error"]) == (0, "migrated", None), program.stderr
    assert "disturbed" in [finding["code"] for finding in report["findings"]]
    assert columns(demo) == COLUMNS_AFTER
    assert names_and_states(demo, "restore") == []


def test_a_signal_as_prefect_begins_the_check_of_what_was_promoted_is_not_waited_for_for_long(demo: Path) -> None:
    moment = "after prefect.task_engine:_create_task_run_locally#62"
    with stopping(moment, demo) as program:
        program.reaches(moment)
        program.send(signal.SIGINT)
        # Prefect has no state of that task, and 30 s are too long to wait for it.
        assert ends_within(program.child.pid, 20)
        code, report = program.ends()
    assert (code, report["outcome"], report["error"]) == (0, "migrated", None), program.stderr
    assert "disturbed" in [finding["code"] for finding in report["findings"]]
    assert program.stderr.count(WAITS) == 1
    assert columns(demo) == COLUMNS_AFTER


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_while_the_server_records_the_run_changes_no_outcome(demo: Path, name: str) -> None:
    moment = "before flows.command_line:wait_until_recorded"
    with stopping(moment, demo) as program:
        program.reaches(moment)
        program.send(getattr(signal, name))
        code, report = program.ends()
    assert (code, report["outcome"]) == (0, "migrated"), program.stderr
    assert columns(demo) == COLUMNS_AFTER


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_before_the_flow_begins_changes_nothing(demo: Path, name: str) -> None:
    before = demo.read_bytes()
    moment = "before flows.server:OwnServer.wait_until_healthy"
    with stopping(moment, demo, PREFECT_API_URL=None) as program:
        program.reaches(moment)
        program.send(getattr(signal, name))
        code, report = program.ends()
    assert (code, report["outcome"], report["steps"]) == (2, "refused", [])
    assert report["error"] == "interrupted before anything was changed"
    assert demo.read_bytes() == before
    assert beside(demo) == []
