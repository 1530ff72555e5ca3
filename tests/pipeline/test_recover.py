"""The flow `recover` ends what a killed run began, once, and disturbs nobody."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from prefect.client.schemas.objects import State

from flows.recover import RecoverRequest, recover
from migrator.journal import journal_path
from tests.pipeline.programs import stopping
from tests.pipeline.runs import COLUMNS_AFTER, beside, columns, content

pytestmark = pytest.mark.usefixtures("server")


def recovered(database: Path) -> State[Any]:
    return recover(RecoverRequest(database=database), return_state=True)


def killed(database: Path, moment: str) -> None:
    with stopping(moment, database) as program:
        program.reaches(moment)
        program.send(signal.SIGKILL)
        program.child.wait(60)


def test_where_no_run_was_killed_it_does_nothing(demo: Path) -> None:
    state = recovered(demo)
    assert (state.name, state.message) == ("Completed", f"nothing to recover: no run on {demo} was killed")
    assert list(demo.parent.iterdir()) == [demo]


def test_what_a_killed_run_had_not_promoted_is_removed_and_told_by_the_states_name(demo: Path) -> None:
    before = content(demo)
    killed(demo, "before migrator.promotion:promote")
    state = recovered(demo)
    assert state.name == "Recovered"
    assert "had promoted nothing; what it left was removed" in str(state.message)
    assert content(demo) == before and beside(demo) == ["demo.db.backups"]
    assert recovered(demo).name == "Completed", "the second one has nothing to do"


def test_a_promotion_that_was_committed_stands(demo: Path) -> None:
    killed(demo, "after migrator.promotion:promote")
    state = recovered(demo)
    assert state.name == "Recovered" and "was verified and stands" in str(state.message)
    assert columns(demo) == COLUMNS_AFTER and not journal_path(demo).exists()


def test_a_run_at_work_is_left_alone(demo: Path) -> None:
    moment = "before migrator.candidate:stage"
    with stopping(moment, demo) as program:
        program.reaches(moment)
        state = recovered(demo)
        assert state.name == "Completed"
        assert f"left to the run at work: a run on {demo} is already under way in process" in str(state.message)
        assert journal_path(demo).exists()


def test_on_a_machine_without_the_database_it_fails_and_makes_nothing(tmp_path: Path) -> None:
    state = recovered(tmp_path / "gone.db")
    assert state.is_failed() and f"no database at {tmp_path / 'gone.db'}; start this where" in str(state.message)
    assert list(tmp_path.iterdir()) == []
