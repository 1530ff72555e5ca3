"""A fleet of real databases: twenty with everything that can be wrong with one, and what a kill leaves of it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, FlowRunFilterParentFlowRunId
from prefect.states import Cancelling

from flows.fleet import here as fleet_here
from flows.fleet.flow import fleet
from flows.fleet.here import Here, start_fork_server
from flows.fleet.request import FleetRequest
from flows.request import MigrationRequest
from migrator.fleet.fleet import Fleet
from migrator.fleet.results import Result
from migrator.fleet.state import Order, read_state
from migrator.fleet.waves import parse_amount, plan_waves
from migrator.ltmc import LTMC
from tests.children import holding
from tests.pipeline import fleet_children
from tests.pipeline.programs import PATIENCE_S, Program, children_of, ends_within, output_of, started
from tests.pipeline.runs import PLENTY_MS, beside, columns, content, flow_runs_of

COMMAND = ("--max-lock-ms", str(PLENTY_MS))
"""On a machine that stalls for a moment the small demos would go online."""


@pytest.fixture(scope="module")
def pattern_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pattern") / "demo.db"
    LTMC.make_demo(path, 20)
    return path


@pytest.fixture
def demos(tmp_path: Path, pattern_database: Path) -> Callable[[int], list[Path]]:
    """Makes so many databases in a folder `fleet`."""

    def make(count: int) -> list[Path]:
        (tmp_path / "fleet").mkdir()
        paths = [tmp_path / "fleet" / f"{n:02}.db" for n in range(count)]
        for path in paths:
            shutil.copyfile(pattern_database, path)
        return paths

    return make


def execute(database: Path, statement: str) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(statement)


def is_migrated(database: Path) -> bool:
    return "execution_time_ms" in columns(database)


def outcomes(told: dict[str, Any]) -> dict[str, str]:
    return {Path(row["database"]).stem: row["outcome"] for row in told["databases"]}


@pytest.mark.usefixtures("server")
def test_twenty_databases_with_all_that_can_be_wrong_with_one(demos: Any, tmp_path: Path) -> None:
    paths = demos(20)
    broken, truncated, endless, unmapped, locked, up_to_date = (
        paths[3],
        paths[5],
        paths[7],
        paths[9],
        paths[11],
        paths[13],
    )
    broken.write_bytes(b"no database")
    os.truncate(truncated, truncated.stat().st_size // 2)
    execute(endless, "CREATE VIEW v0 AS SELECT 1")
    for n in range(1, 20):
        execute(endless, f"CREATE VIEW v{n} AS SELECT * FROM v{n - 1}, v{n - 1} AS again")
    execute(unmapped, "UPDATE CodePatterns SET result = 'timeout' WHERE id = 2")
    from flows.migrate import migrate

    migrate.fn(MigrationRequest(database=up_to_date, max_lock_ms=PLENTY_MS))
    (tmp_path / "inventory").write_text("# one that is not there\nfleet/missing.db\n")
    bad = {"03": broken, "05": truncated, "07": endless, "09": unmapped, "11": locked}
    before = {path: path.read_bytes() for path in bad.values()}
    arguments = ["--glob", "fleet/*", "--inventory", "inventory", "--canary", "fleet/00.db", "--waves", "9,100%"]
    with holding(locked, "BEGIN EXCLUSIVE"):
        code, stdout, stderr = output_of("flows.fleet", tmp_path, *arguments, *COMMAND, "--max-failed", "4", "--json")
    told = json.loads(stdout)
    assert (code, told["outcome"], told["error"], told["left"]) == (1, "failed", None, []), stderr
    assert [(w["wave"], w["databases"], w["failed"]) for w in told["waves"]] == [
        ("canary", 1, 0),
        ("wave 1", 9, 4),
        ("wave 2", 11, 2),
    ]
    expected = {path.stem: "migrated" for path in paths} | dict.fromkeys([*bad, "missing"], "refused")
    assert outcomes(told) == expected | {"13": "up_to_date"}
    assert {path: path.read_bytes() for path in bad.values()} == before
    for path in paths:
        if path.stem not in bad:
            assert is_migrated(path)
            assert beside(path) == [f"{path.name}.backups"]
    report = json.loads(
        Path(next(r["report"] for r in told["databases"] if r["outcome"] == "migrated"))
        .with_name("report.json")
        .read_text()
    )
    assert "memory_not_watched" not in [finding["code"] for finding in report["findings"]]
    last = json.loads(Path(told["databases"][-1]["report"]).with_name("report.json").read_text())
    assert "memory_not_watched" in [finding["code"] for finding in last["findings"]]
    _check_in_prefect(told)


def _check_in_prefect(told: dict[str, Any]) -> None:
    """The waves are flow runs below the fleet's, with a task run for each database."""
    with get_client(sync_client=True) as client:
        parent = next(
            run for run in client.read_flow_runs() if run.name.startswith("fleet ") and told["state"] in run.name
        )
        below = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[parent.id]))
        waves = {run.name: run.state_name for run in client.read_flow_runs(flow_run_filter=below)}
        artifacts = {a.key: a for a in client.read_artifacts() if a.flow_run_id == parent.id}
        runs = client.read_task_runs(
            flow_run_filter=FlowRunFilter(
                id=FlowRunFilterId(any_=[r.id for r in client.read_flow_runs(flow_run_filter=below)])
            )
        )
    assert parent.state_name == "Failed"
    assert waves == {"canary": "Completed", "wave 1": "Failed", "wave 2": "Failed"}
    assert {*artifacts} == {"fleet", "databases"}
    assert len(json.loads(artifacts["databases"].data)) == 21
    states = sorted(run.state_name for run in runs)
    assert states == ["Completed"] * 15 + ["Failed"] * 6


def carried_out(database: Path, monkeypatch: pytest.MonkeyPatch, child: Any, **options: Any) -> Result:
    """What becomes of one database whose child is `child`."""
    request = FleetRequest(databases=[database], max_lock_ms=PLENTY_MS, **options)
    run = Fleet(Order("f", {}, "", plan_waves([str(database)], ())), parse_amount("0"))
    run.is_proven = True
    monkeypatch.setattr(fleet_here, "migrate_one", child)
    start_fork_server()
    return Here(request, run, database.with_name("log"))(str(database))


def test_a_child_killed_before_its_promotion_leaves_the_database_as_it_was(
    demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = content(demo)
    result = carried_out(demo, monkeypatch, fleet_children.killed_before_commit)
    assert result.outcome == "restored"
    assert result.error is not None
    assert result.error.startswith("its run was killed by SIGKILL; killed run ")
    assert content(demo) == before
    assert beside(demo) == ["demo.db.backups"]


def test_a_child_killed_after_its_promotion_has_migrated_the_database(
    demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = carried_out(demo, monkeypatch, fleet_children.killed_after_commit)
    assert result.outcome == "migrated"
    assert "was verified and stands" in str(result.error)
    assert is_migrated(demo)
    assert beside(demo) == ["demo.db.backups"]


def test_where_the_recovery_dies_too_an_operator_is_needed(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_here, "recover_one", fleet_children.dies_at_once)
    result = carried_out(demo, monkeypatch, fleet_children.killed_before_commit)
    assert result.outcome == "restore_failed"
    fault = "its run was killed by SIGKILL, and its recovery died (exit code 3); to try it by itself: "
    assert result.error == f"{fault}python -m flows.migrate --database {demo}"
    monkeypatch.undo()
    assert (
        fleet.fn(FleetRequest(databases=[demo], state=demo.with_name("state"), max_lock_ms=PLENTY_MS))["outcome"]
        == "migrated"
    )


def test_a_database_that_takes_too_long_is_restored(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content(demo)
    result = carried_out(demo, monkeypatch, fleet_children.in_an_endless_statement, timeout_s=2.0)
    assert result.outcome == "restored"
    # In the endless statement, or on a busy machine before it.
    assert re.match("it took longer than 2 s; [a-z_]+ was stopped by Ctrl-C; ", str(result.error))
    assert content(demo) == before


def test_one_that_hears_no_signal_is_killed_and_recovered(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content(demo)
    monkeypatch.setattr(fleet_here, "GRACE_S", 0.3)
    result = carried_out(demo, monkeypatch, fleet_children.deaf_before_commit, timeout_s=2.0)
    assert result.outcome == "restored"
    assert str(result.error).startswith("it took longer than 2 s; its run was killed by SIGKILL; killed run ")
    assert content(demo) == before
    assert beside(demo) == ["demo.db.backups"]


@contextlib.contextmanager
def waiting_in_the_middle(paths: list[Path], tmp_path: Path) -> Iterator[tuple[Program, int]]:
    """A fleet of which 00.db and 01.db are finished and 02.db waits at its promotion, in the process with that id."""
    # By its full path, which is in the name of the flow run.
    asked = ["--databases", *map(str, paths), "--state", str(tmp_path / "fleet.jsonl"), "--parallel", "1", "--json"]
    arguments = ["waits_at_promotion", *asked, *COMMAND]
    with started(arguments, tmp_path, "tests.pipeline.fleet_children") as program:
        note, patience = paths[2].with_name("02.db.waits"), time.monotonic() + PATIENCE_S
        while not note.exists():
            assert program.child.poll() is None and time.monotonic() < patience, program.stderr
        yield program, int(note.read_text())


def finished_run_ids(state: Path) -> dict[str, list[str | None]]:
    stored = read_state(state)
    assert stored is not None
    found: dict[str, list[str | None]] = {}
    for result in stored.results:
        found.setdefault(Path(result.database).stem, []).append(result.run_id)
    return found


@pytest.mark.usefixtures("server")
def test_a_resume_after_the_kill_of_a_fleet_does_what_is_left_and_nothing_twice(demos: Any, tmp_path: Path) -> None:
    paths, state = demos(4), tmp_path / "fleet.jsonl"
    before = content(paths[2])
    with waiting_in_the_middle(paths, tmp_path) as (program, child):
        others = children_of(program.child.pid)
        program.send(signal.SIGKILL)
        assert all(ends_within(pid, PATIENCE_S) for pid in (child, *others))
    assert content(paths[2]) == before
    assert beside(paths[2]) == ["02.db.backups", "02.db.waits"]
    finished = finished_run_ids(state)
    assert [*finished] == ["00", "01"]
    assert read_state(state).under_way == (str(paths[2]),)
    told = fleet.fn(FleetRequest(state=state, resume=True))
    assert (told["outcome"], outcomes(told)) == ("migrated", dict.fromkeys(("00", "01", "02", "03"), "migrated"))
    after = finished_run_ids(state)
    assert {name: after[name] for name in finished} == finished
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


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("how", [pytest.param("Ctrl-C", marks=pytest.mark.full), "SIGTERM", "cancelled"])
def test_an_interruption_restores_what_is_under_way_and_a_resume_goes_on(how: str, demos: Any, tmp_path: Path) -> None:
    paths, state = demos(4), tmp_path / "fleet.jsonl"
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
        _check_cancelled_in_prefect(state)
    told = fleet.fn(FleetRequest(state=state, resume=True, parallel=2))
    assert (told["outcome"], told["left"]) == ("migrated", [])
    assert all(map(is_migrated, paths))


def _check_cancelled_in_prefect(state: Path) -> None:
    (run,) = flow_runs_of(state)
    assert (run.state_name, run.state and run.state.message) == (
        "Cancelled",
        "interrupted: 2 of 4 databases are done; with resume it goes on",
    )
    with get_client(sync_client=True) as client:
        below = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[run.id]))
        waves = {wave.name: wave.state_name for wave in client.read_flow_runs(flow_run_filter=below)}
        artifacts = {a.key: str(a.data) for a in client.read_artifacts() if a.flow_run_id == run.id}
    assert waves == {"canary": "Completed", "wave 1": "Completed", "wave 2": "Cancelled"}
    assert artifacts["fleet"].startswith("# interrupted\n")
    assert "the flow run was cancelled" in artifacts["fleet"]
    assert '"outcome": "interrupted"' in artifacts["databases"]


def test_a_look_makes_no_file(demos: Any, tmp_path: Path) -> None:
    paths = demos(3)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    code, stdout, _ = output_of("flows.fleet", tmp_path, "--glob", "fleet/*.db", "--dry-run", "--json")
    told = json.loads(stdout)
    assert (code, told["outcome"], told["state"]) == (0, "planned", None)
    assert outcomes(told) == dict.fromkeys(("00", "01", "02"), "planned")
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and "stderr" not in path.name}
    assert after == before
    assert len(paths) == 3


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--glob", "*.sqlite"], "'*.sqlite' matches nothing"),
        (["--databases", "fleet/00.db", "--waves", "some"], "--waves: 'some' is neither a number nor a percentage"),
        (["--databases", "fleet/00.db", "--canary", "other.db"], "other.db is none of the databases"),
        (["--databases", "fleet/00.db", "--retry-failed"], "--retry-failed: it goes with --resume"),
        (["--databases", "fleet/00.db", "--state", "fleet/01.db"], "fleet/01.db is not the state of a fleet"),
        (["--resume"], "the fleet's state fleet.jsonl cannot be opened"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_made(
    arguments: list[str], fault: str, demos: Any, tmp_path: Path
) -> None:
    demos(2)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    code, stdout, stderr = output_of("flows.fleet", tmp_path, *arguments, "--json")
    assert (code, json.loads(stdout)["outcome"]) == (2, "refused")
    assert fault in json.loads(stdout)["error"]
    assert fault in stderr
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and "stderr" not in path.name}
    assert after == before
