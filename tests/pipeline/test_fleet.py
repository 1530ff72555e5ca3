"""A fleet of real databases: twenty with everything that can be wrong with one, and what the death of a run leaves."""

from __future__ import annotations

import json
import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, FlowRunFilterParentFlowRunId

from flows.fleet import here as fleet_here
from flows.fleet.begin import begun
from flows.fleet.flow import fleet
from flows.fleet.here import Here, start_fork_server
from flows.fleet.request import FleetRequest
from flows.request import MigrationRequest
from migrator.fleet.fleet import Fleet
from migrator.fleet.parts import Part
from migrator.fleet.results import Result
from migrator.fleet.state import Order, read_state
from migrator.fleet.waves import parse_amount, plan_waves
from tests.children import holding
from tests.pipeline import fleet_children
from tests.pipeline.fleets import demos, is_migrated, outcomes
from tests.pipeline.programs import output_of
from tests.pipeline.runs import PLENTY_MS, artifacts_of, beside, content, flow_runs_of

COMMAND = ("--max-lock-ms", str(PLENTY_MS))
"""On a machine that stalls for a moment the small demos would go online."""


def execute(database: Path, statement: str) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(statement)


@pytest.mark.usefixtures("server")
def test_twenty_databases_with_all_that_can_be_wrong_with_one(tmp_path: Path) -> None:
    paths = demos(tmp_path / "fleet", 20)
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
    # By its full path, which is in the name of the flow run.
    arguments = ["--glob", "fleet/*", "--inventory", "inventory", "--state", str(tmp_path / "fleet.jsonl")]
    arguments += ["--canary", "fleet/00.db", "--waves", "9,100%"]
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
        (parent,) = flow_runs_of(Path(told["state"]), client)
        below = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[parent.id]))
        waves = {run.name: run.state_name for run in client.read_flow_runs(flow_run_filter=below)}
        artifacts = artifacts_of(parent, client)
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


@pytest.mark.usefixtures("server")
def test_the_order_to_go_on_keeps_the_answers_and_a_path_is_told_once(tmp_path: Path) -> None:
    database, state = tmp_path / "broken.db", tmp_path / "fleet.jsonl"
    database.write_bytes(b"no database")
    arguments = ("--databases", "broken.db", "--map-result", "timeout=fail")
    code, _, stderr = output_of("flows.fleet", tmp_path, *arguments)
    assert code == 1
    (why,) = [line for line in stderr.splitlines() if line.startswith("stopped: ")]
    assert why.startswith("stopped: the canary failed: ") and why.count(str(database)) == 1
    go_on = f"--state {state} --resume --retry-failed"
    assert f"to go on, with the answers that were given: python -m flows.fleet {go_on}\n" in stderr
    assert output_of("flows.fleet", tmp_path, *go_on.split())[0] == 1
    stored = read_state(state)
    assert stored is not None and stored.order.request["map_result"] == ["timeout=fail"]
    assert [line for line in state.read_text().splitlines() if '"resumed"' in line]


def carried_out(database: Path, monkeypatch: pytest.MonkeyPatch, child: Any, **options: Any) -> Result:
    """What becomes of one database whose child is `child`."""
    request = FleetRequest(databases=[database], max_lock_ms=PLENTY_MS, **options)
    run = Fleet(Order("f", {}, "", plan_waves([str(database)], ())), parse_amount("0"))
    run.is_proven = True
    monkeypatch.setattr(fleet_here, "migrate_one", child)
    start_fork_server()
    (result,) = Here(request, run, database.with_name("log"))(Part((str(database),)))
    return result


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


def test_a_look_makes_no_file(tmp_path: Path) -> None:
    paths = demos(tmp_path / "fleet", 3)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    code, stdout, _ = output_of("flows.fleet", tmp_path, "--glob", "fleet/*.db", "--dry-run", "--json")
    told = json.loads(stdout)
    assert (code, told["outcome"], told["state"]) == (0, "planned", None)
    assert outcomes(told) == dict.fromkeys(("00", "01", "02"), "planned")
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and "stderr" not in path.name}
    assert after == before
    assert len(paths) == 3


def test_a_look_says_of_which_database_the_rows_would_be_refused(tmp_path: Path) -> None:
    paths = demos(tmp_path / "fleet", 2)
    with closing(sqlite3.connect(paths[1])) as connection, connection:
        connection.execute("UPDATE CodePatterns SET result = 'timeout' WHERE id = 1")
    code, stdout, _ = output_of("flows.fleet", tmp_path, "--glob", "fleet/*.db", "--dry-run", "--json")
    told = json.loads(stdout)
    assert (code, outcomes(told)) == (1, {"00": "planned", "01": "refused"})
    (error,) = (each["error"] for each in told["databases"] if each["outcome"] == "refused")
    assert "result of CodePatterns holds 1 values that the migration does not map: 'timeout'" in error


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
    arguments: list[str], fault: str, tmp_path: Path
) -> None:
    demos(tmp_path / "fleet", 2)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    code, stdout, stderr = output_of("flows.fleet", tmp_path, *arguments, "--json")
    assert (code, json.loads(stdout)["outcome"]) == (2, "refused")
    assert fault in json.loads(stdout)["error"]
    assert fault in stderr
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and "stderr" not in path.name}
    assert after == before


@pytest.mark.parametrize("resume", [False, True])
def test_a_home_that_cannot_be_written_refuses_before_anything_is_made(tmp_path: Path, resume: bool) -> None:
    demos(tmp_path / "fleet", 2)
    (tmp_path / "file").touch()
    if resume:
        with begun(FleetRequest(glob=[f"{tmp_path}/fleet/*.db"], state=tmp_path / "fleet.jsonl")):
            pass
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    asked = ["--resume"] if resume else ["--glob", "fleet/*.db"]
    home = {"PREFECT_API_URL": None, "PREFECT_HOME": None, "HOME": str(tmp_path / "file")}
    code, stdout, _ = output_of("flows.fleet", tmp_path, *asked, "--json", **home)
    assert (code, json.loads(stdout)["outcome"]) == (2, "refused")
    assert json.loads(stdout)["error"] == (
        f"{tmp_path}/file/.prefect cannot be written (Not a directory), and a run keeps its records there; nothing was "
        "changed; set PREFECT_HOME to a folder that this user may write"
    )
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and "stderr" not in path.name}
    assert after == before
    code, stdout, _ = output_of("flows.fleet", tmp_path, "--glob", "fleet/*.db", "--dry-run", "--json", **home)
    assert (code, json.loads(stdout)["outcome"]) == (0, "planned")
