"""A run that is killed takes its server along, and the next start ends what it began."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from flows.recover import RecoverRequest, recover, recover_after_crash
from migrator.journal import journal_path, read_journal
from tests.pipeline.programs import children_of, ends_within, stopping
from tests.pipeline.runs import COLUMNS_AFTER, beside, columns, content, flow_runs_of, recorded, run

pytestmark = pytest.mark.usefixtures("server", "quick")


@pytest.mark.parametrize(
    ("moment", "how"),
    [
        ("after migrator.backup:write_journal", "unchanged"),
        ("during migrator.candidate:rebuild_table", "unchanged"),
        ("before migrator.one_transaction:_commit", "unchanged"),
        ("after migrator.one_transaction:_commit", "finished"),
        ("before migrator.restoration:finish", "finished"),
    ],
)
def test_the_next_start_ends_what_a_killed_run_began(demo: Path, moment: str, how: str) -> None:
    before = content(demo)
    with stopping(moment, demo) as program:
        program.reaches(moment)
        program.child.kill()
        assert program.child.wait() == -9
    assert journal_path(demo).exists()
    if how == "unchanged":
        assert content(demo) == before
    else:
        assert columns(demo) == COLUMNS_AFTER

    ended = run(demo)
    assert ended.report.outcome == ("migrated" if how == "unchanged" else "up_to_date")
    assert [
        (r.name, r.state_name) for r in ended.task_runs("re") if r.name[:5] != "repor" and r.name[:4] != "rebu"
    ] == [(f"recover {demo}", "Completed")]
    assert columns(demo) == COLUMNS_AFTER
    assert beside(demo) == ["demo.db.backups"]
    assert not list(demo.parent.glob("demo.db.backups/*/scratch"))
    with contextlib.closing(sqlite3.connect(demo)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_killed_run_takes_its_own_server_along_and_the_command_line_recovers(demo: Path) -> None:
    moment = "before migrator.restoration:finish"
    with stopping(moment, demo, PREFECT_API_URL=None) as program:
        program.reaches(moment)
        (server,) = children_of(program.child.pid)
        program.child.kill()
        assert program.child.stdout is not None
        assert program.child.stdout.read() == b"", "somebody else holds the run's stdout"
        assert ends_within(server, 10)
    with stopping("", demo) as program:
        code, report = program.ends()
    assert (code, report["outcome"]) == (0, "up_to_date"), program.stderr
    assert report["steps"][0]["name"] == f"recover {demo}"
    again = flow_runs_of(demo)[-1]
    assert [r.state_name for r in recorded(again.id, "recover")] == ["Completed"]
    assert columns(demo) == COLUMNS_AFTER


def killed(database: Path) -> None:
    moment = "before migrator.candidate:stage"
    with stopping(moment, database) as program:
        program.reaches(moment)
        program.child.kill()
        program.child.wait()
    assert read_journal(database) is not None


def test_the_crash_hook_of_a_worker_recovers_in_a_flow_run_of_its_own(demo: Path) -> None:
    before = content(demo)
    killed(demo)
    (flow_run,) = flow_runs_of(demo)
    assert isinstance(flow_run.parameters["request"], dict)
    recover_after_crash(None, flow_run, flow_run.state)
    assert content(demo) == before
    assert beside(demo) == ["demo.db.backups"]
    assert [(r.name, r.state_name) for r in flow_runs_of(demo)][1:] == [(f"recover {demo}", "Recovered")]

    # The second one finds nothing to do and makes no flow run.
    recover_after_crash(None, flow_run, flow_run.state)
    assert len(flow_runs_of(demo)) == 2
    state = recover(RecoverRequest(database=demo), return_state=True)
    assert (state.is_completed(), state.message) == (True, f"nothing to recover: no run on {demo} was killed")


def test_a_hook_that_comes_while_a_run_is_under_way_touches_nothing(
    demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.recover._WAIT_S", 0.0)
    moment = "before migrator.candidate:stage"
    with stopping(moment, demo) as program:
        program.reaches(moment)
        (flow_run,) = flow_runs_of(demo)
        recover_after_crash(None, flow_run, flow_run.state)
        assert journal_path(demo).exists()
        state = flow_runs_of(demo)[-1].state
        assert state is not None and state.is_completed()
        assert f"left to the run at work: a run on {demo}" in str(state.message)
        assert f"already under way in process {program.child.pid}" in str(state.message)
