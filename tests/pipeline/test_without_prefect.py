"""Outside a flow run the flow's body is the same pipeline, without a server and without one call to an API."""

from __future__ import annotations

import socket
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from flows.ending import report_to_fill
from flows.migrate import migrate
from flows.request import MigrationRequest
from migrator import candidate
from migrator.errors import RefusedError
from migrator.journal import Journal, write_journal
from migrator.report import Report
from tests.pipeline.runs import ADDED, COLUMNS_AFTER, NEWEST, beside, columns, content

pytestmark = pytest.mark.usefixtures("quick", "no_sockets")


@pytest.fixture
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("a socket was made")

    monkeypatch.setattr(socket, "socket", denied)
    monkeypatch.setattr(socket, "create_connection", denied)


def test_the_plain_function_migrates_and_goes_back(demo: Path) -> None:
    before = content(demo)
    report = migrate.fn(MigrationRequest(database=demo))
    assert (report["outcome"], report["from_version"], report["to_version"]) == ("migrated", 0, NEWEST)
    assert columns(demo) == COLUMNS_AFTER
    added = [step["name"] for step in report["steps"] if step["name"].startswith("add column ")]
    assert added == [*(f"add column CodePatterns.{column}" for column in ADDED), "add column Todos.status"]
    assert migrate.fn(MigrationRequest(database=demo))["outcome"] == "up_to_date"
    assert migrate.fn(MigrationRequest(database=demo, to=0))["outcome"] == "migrated"
    fingerprint, rows = content(demo)
    assert fingerprint == before[0]
    assert {table: in_any_order(table, rows[table]) for table in before[1]} == {
        table: in_any_order(table, held) for table, held in before[1].items()
    }
    assert migrate.fn(MigrationRequest(database=demo))["outcome"] == "migrated"
    assert columns(demo) == COLUMNS_AFTER


def in_any_order(table: str, rows: list[Any]) -> list[Any]:
    """Where SQLite keeps a table's mark and statistics means nothing."""
    return sorted((row[1:] for row in rows), key=repr) if table.startswith("sqlite_") else rows


def test_the_plain_function_restores(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content(demo)
    monkeypatch.setattr(candidate, "create_indexes", lambda *_: 1 / 0)
    report = Report(str(demo))
    token = report_to_fill.set(report)
    with pytest.raises(ZeroDivisionError):
        migrate.fn(MigrationRequest(database=demo))
    report_to_fill.reset(token)
    assert (report.outcome, report.task_runs, report.flow_run_id) == ("restored", 0, None)
    # What the rehearsal put aside is gone with it.
    assert any(step.name.startswith("convert data") for step in report.steps)
    assert "originals_kept" not in {finding.code for finding in report.findings}
    assert [step.name for step in report.steps[-2:]] == ["restore (ZeroDivisionError)", "report the outcome"]
    assert content(demo) == before


def test_a_dry_run_writes_nothing(demo: Path) -> None:
    before = demo.read_bytes()
    report = migrate.fn(MigrationRequest(database=demo, dry_run=True))
    assert report["outcome"] == "planned"
    assert demo.read_bytes() == before
    assert beside(demo) == []


def test_a_dry_run_leaves_what_a_killed_run_left_to_the_next_run(demo: Path) -> None:
    write_journal(demo, Journal("abc", str(demo.parent / "20250101T000000Z-abc")))
    before, there = demo.read_bytes(), beside(demo)
    report = migrate.fn(MigrationRequest(database=demo, dry_run=True))
    assert report["outcome"] == "planned"
    assert (demo.read_bytes(), beside(demo)) == (before, there)


def test_a_dry_run_is_refused_where_the_run_would_be_and_writes_nothing(demo: Path) -> None:
    with closing(sqlite3.connect(demo)) as connection, connection:
        connection.execute("UPDATE CodePatterns SET result = 'timeout' WHERE id = 1")
    before = demo.read_bytes()
    report = Report(str(demo))
    token = report_to_fill.set(report)
    with pytest.raises(RefusedError, match=r"say what each becomes, e\.g\. --map-result 'timeout'="):
        migrate.fn(MigrationRequest(database=demo, dry_run=True))
    report_to_fill.reset(token)
    assert (report.outcome, report.failed_step, report.backup) == ("refused", "look_ahead", None)
    assert (demo.read_bytes(), beside(demo)) == (before, [])


def test_a_missing_database_is_refused_and_nothing_is_made(tmp_path: Path) -> None:
    report = Report("")
    token = report_to_fill.set(report)
    with pytest.raises(RefusedError, match="no database at"):
        migrate.fn(MigrationRequest(database=tmp_path / "none.db"))
    report_to_fill.reset(token)
    assert report.outcome == "refused"
    assert list(tmp_path.iterdir()) == []
