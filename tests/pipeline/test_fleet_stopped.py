"""A fleet that is killed, interrupted or cancelled in the middle, and the start that goes on with it."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterParentFlowRunId,
    TaskRunFilter,
    TaskRunFilterName,
)
from prefect.states import Cancelling

from flows.fleet import left
from flows.fleet.flow import fleet
from flows.fleet.request import FleetRequest
from migrator.fleet.state import read_state
from tests.deployments.servers import await_that
from tests.pipeline.fleets import demos, is_migrated, outcomes
from tests.pipeline.programs import PATIENCE_S, Program, children_of, ends_within, started
from tests.pipeline.runs import PLENTY_MS, artifacts_of, beside, content, flow_runs_of

pytestmark = pytest.mark.usefixtures("server")


@contextlib.contextmanager
def waiting_in_the_middle(
    paths: list[Path], tmp_path: Path, child: str = "waits_at_promotion"
) -> Iterator[tuple[Program, int]]:
    """A fleet of which 00.db and 01.db are finished and 02.db waits at its promotion, in the process with that id."""
    # By its full path, which is in the name of the flow run.
    asked = ["--databases", *map(str, paths), "--state", str(tmp_path / "fleet.jsonl"), "--parallel", "1", "--json"]
    arguments = [child, *asked, "--max-lock-ms", str(PLENTY_MS)]
    with started(arguments, tmp_path, "tests.pipeline.fleet_children") as program:
        note = paths[2].with_name("02.db.waits")

        def waits() -> bool:
            assert program.child.poll() is None, program.stderr
            return note.exists()

        await_that(waits, "02.db waits", PATIENCE_S)
        yield program, int(note.read_text())


def finished_run_ids(state: Path) -> dict[str, list[str | None]]:
    stored = read_state(state)
    assert stored is not None
    found: dict[str, list[str | None]] = {}
    for result in stored.results:
        found.setdefault(Path(result.database).stem, []).append(result.run_id)
    return found


def test_a_resume_after_the_kill_of_a_fleet_does_what_is_left_and_nothing_twice(tmp_path: Path) -> None:
    paths, state = demos(tmp_path / "fleet", 4), tmp_path / "fleet.jsonl"
    before = content(paths[2])
    with waiting_in_the_middle(paths, tmp_path) as (program, child):
        others = children_of(program.child.pid)
        assert left.is_at_work(FleetRequest(state=state))
        program.send(signal.SIGKILL)
        assert all(ends_within(pid, PATIENCE_S) for pid in (child, *others))
    assert content(paths[2]) == before
    assert beside(paths[2]) == ["02.db.backups", "02.db.waits"]
    finished = finished_run_ids(state)
    assert [*finished] == ["00", "01"]
    assert not left.is_at_work(FleetRequest(state=state))
    assert left.under_way(FleetRequest(state=state)) == (paths[2],)
    assert left.under_way(FleetRequest(state=tmp_path / "none")) == ()
    told = fleet.fn(FleetRequest(state=state, resume=True))
    assert (told["outcome"], outcomes(told)) == ("migrated", dict.fromkeys(("00", "01", "02", "03"), "migrated"))
    after = finished_run_ids(state)
    assert {name: after[name] for name in finished} == finished
    assert all(map(is_migrated, paths))


def test_a_child_that_hears_no_signal_does_not_outlive_a_killed_fleet_for_long(tmp_path: Path) -> None:
    paths, state = demos(tmp_path / "fleet", 4), tmp_path / "fleet.jsonl"
    before = content(paths[2])
    with waiting_in_the_middle(paths, tmp_path, "deaf_at_promotion") as (program, child):
        program.send(signal.SIGKILL)
        try:
            assert ends_within(child, PATIENCE_S)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
    assert content(paths[2]) == before
    told = fleet.fn(FleetRequest(state=state, resume=True))
    assert (told["outcome"], outcomes(told)) == ("migrated", dict.fromkeys(("00", "01", "02", "03"), "migrated"))
    assert all(map(is_migrated, paths))


def cancel(state: Path) -> None:
    """As a click in Prefect's UI does it."""
    (run,) = flow_runs_of(state)
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run.id, Cancelling())


INTERRUPTIONS: dict[str, Callable[[Program, Path], None]] = {
    # As a terminal does it.
    "Ctrl-C": lambda program, state: program.send_to_all(signal.SIGINT),
    "SIGTERM": lambda program, state: program.send(signal.SIGTERM),
    "cancelled": lambda program, state: cancel(state),
}


@pytest.mark.parametrize("how", [pytest.param("Ctrl-C", marks=pytest.mark.full), "SIGTERM", "cancelled"])
def test_an_interruption_restores_what_is_under_way_and_a_resume_goes_on(how: str, tmp_path: Path) -> None:
    paths, state = demos(tmp_path / "fleet", 4), tmp_path / "fleet.jsonl"
    before = content(paths[2])
    with waiting_in_the_middle(paths, tmp_path) as (program, child):
        INTERRUPTIONS[how](program, state)
        code, told = program.ends()
        assert ends_within(child, 0)
    assert (code, told["outcome"], told["left"]) == (1, "interrupted", [str(paths[3])])
    assert outcomes(told) == {"00": "migrated", "01": "migrated", "02": "interrupted"}
    assert content(paths[2]) == before
    assert beside(paths[2]) == ["02.db.backups", "02.db.waits"]
    if how == "cancelled":
        assert told["error"] == "the flow run was cancelled"
        _check_cancelled_in_prefect(state, paths[2])
    told = fleet.fn(FleetRequest(state=state, resume=True, parallel=2))
    assert (told["outcome"], told["left"]) == ("migrated", [])
    assert all(map(is_migrated, paths))


def _check_cancelled_in_prefect(state: Path, path: Path) -> None:
    (run,) = flow_runs_of(state)
    assert (run.state_name, run.state and run.state.message) == (
        "Cancelled",
        "interrupted: 2 of 4 databases are done; with resume it goes on",
    )
    with get_client(sync_client=True) as client:
        named = TaskRunFilter(name=TaskRunFilterName(any_=[f"migrate {path}"]))
        below = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[run.id]))
        waves = {wave.name: wave.state_name for wave in client.read_flow_runs(flow_run_filter=below)}
        artifacts = {key: str(artifact.data) for key, artifact in artifacts_of(run, client).items()}
        (third,) = client.read_task_runs(task_run_filter=named)
    assert (third.state_name, str(third.state and third.state.message)[:13]) == ("Cancelled", "interrupted: ")
    assert waves == {"canary": "Completed", "wave 1": "Completed", "wave 2": "Cancelled"}
    assert artifacts["fleet"].startswith("# interrupted\n")
    assert "the flow run was cancelled" in artifacts["fleet"]
    assert '"outcome": "interrupted"' in artifacts["databases"]
