"""`flows.verify` as a program: exit codes, the stable form, the report, and that live is never written to."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flows.migrate import migrate
from flows.request import MigrationRequest, VerifyRequest
from flows.verify import verify
from migrator.health import checkup as health
from migrator.health.history import Check, ToolTimes, read_history, record
from migrator.journal import Journal, write_journal
from migrator.ltmc import LTMC
from tests.children import running
from tests.pipeline.programs import ROOT, output_of
from tests.pipeline.runs import NEWEST, REAL
from tests.unit.source_trees import CORRECT, SEEDED

KEYS = [
    "database", "healthy", "at", "seconds", "version", "schema_fingerprint", "size_bytes", "rows", "tools", "faults",
    "findings", "history", "report",
]  # fmt: skip
TOOL_KEYS = ["name", "status", "reason", "p50_ms", "p95_ms", "cpu_ms", "usual_cpu_ms", "limit_cpu_ms"]


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database; copied for each test."""
    path = tmp_path_factory.mktemp("migrated") / "ltmc.db"
    LTMC.make_demo(path, 100)
    few = replace(LTMC, probes=tuple(p for p in LTMC.probes if p.tool == "log_code_attempt"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("flows.migrate.LTMC", few)
        patched.setattr("tasks.prove.MEMORY_S", 0.0)
        migrate.fn(MigrationRequest(database=path, max_lock_ms=60_000))
    return path


@pytest.fixture
def live(migrated: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(migrated, tmp_path / "ltmc.db"))


def verified(database: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    code, stdout, stderr = output_of("flows.verify", database.parent, "--database", str(database), "--json", *arguments)
    assert stderr == ""
    return code, json.loads(stdout)


def codes(found: list[dict[str, Any]]) -> list[str]:
    return [f["code"] for f in found]


def backups_of(database: Path) -> Path:
    return database.with_name(database.name + ".backups")


def run_sql(database: Path, *statements: str) -> None:
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def stored(database: Path) -> dict[str, bytes]:
    """The bytes of the main file and of its log."""
    files = (database, database.with_name(database.name + "-wal"))
    return {file.name: file.read_bytes() for file in files if file.exists()}


def test_a_migrated_database_is_healthy_with_every_tool_accounted_for(live: Path) -> None:
    before = stored(live)
    code, found = verified(live)
    assert (code, found["healthy"], found["faults"]) == (0, True, [])
    assert [*found] == KEYS and [*found["tools"][0]] == TOOL_KEYS
    assert found["database"] == str(live) and found["version"] == NEWEST
    assert found["rows"]["CodePatterns"] == 100 and found["size_bytes"] == live.stat().st_size
    statuses = [tool["status"] for tool in found["tools"]]
    assert (statuses.count("passed"), statuses.count("skipped"), len(statuses)) == (20, 8, 28)
    assert codes(found["findings"]) == ["history_short"]
    assert stored(live) == before
    assert sorted(path.name for path in backups_of(live).iterdir()) == ["health.db", "health.html", "health.json"]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in backups_of(live).iterdir())


def test_an_un_migrated_database_is_not_because_three_tools_fail(demo: Path) -> None:
    code, found = verified(demo)
    assert (code, found["healthy"], found["version"]) == (1, False, 0)
    assert codes(found["faults"]) == ["tool_failed"] * 3
    assert {t["name"] for t in found["tools"] if t["status"] == "failed"} == {
        "log_code_attempt", "get_code_patterns", "analyze_code_patterns",
    }  # fmt: skip


def test_an_application_that_would_make_the_old_table_on_a_new_file_is_a_fault(live: Path) -> None:
    before = stored(live)
    code, found = verified(live, "--source", str(SEEDED))
    assert (code, found["healthy"], codes(found["faults"])) == (1, False, ["old_schema"])
    file = SEEDED / "database" / "schema.py"
    assert found["faults"][0]["message"] == (
        f"on a new file {file}:6 would make CodePatterns otherwise than its migration: it lacks column function_name "
        f"TEXT and 9 more; python -m flows.check --write-schema {file} shows the change"
    )
    assert stored(live) == before


def test_an_application_that_makes_the_migrated_table_is_none(live: Path) -> None:
    code, found = verified(live, "--source", str(CORRECT))
    assert (code, found["healthy"], found["faults"]) == (0, True, [])


def test_what_the_source_does_not_tell_is_said(live: Path, demo: Path) -> None:
    empty = live.parent / "empty"
    empty.mkdir()
    code, found = verified(live, "--source", str(empty))
    assert (code, codes(found["faults"])) == (1, ["source_not_checked"])
    (empty / "app.py").write_text("x = 1")
    code, found = verified(live, "--source", str(empty))
    (said,) = [f["message"] for f in found["findings"] if f["code"] == "source_not_compared"]
    assert (code, said.startswith("no CREATE TABLE of "), said.endswith(f" can be read in {empty}")) == (0, True, True)
    assert "CodePatterns" in said
    code, found = verified(demo, "--source", str(SEEDED))
    assert {*codes(found["faults"])} == {"tool_failed"}
    assert "source_not_compared" in codes(found["findings"])


def killed_run(live: Path) -> None:
    write_journal(live, Journal("0a1b2c3d", str(backups_of(live) / "20260101T000000Z-0a1b2c3d")))


def leftover(live: Path) -> None:
    run_sql(live, "CREATE TABLE _mig_CodePatterns (id)")


def drift(live: Path) -> None:
    run_sql(live, "ALTER TABLE CodePatterns ADD COLUMN mine TEXT")


def refusal(live: Path) -> None:
    run_sql(live, "CREATE TRIGGER full BEFORE INSERT ON Todos BEGIN SELECT RAISE(ABORT, 'no more todos'); END")


def damage(live: Path) -> None:
    with live.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096)


def slowdown(live: Path) -> None:
    """A history in which a tool needed next to nothing, and a trigger that makes its insert dear."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    times = {"add_todo": ToolTimes("passed", 1.0, 1.0, 1.0, 100.0)}
    for day in range(10):
        record(backups_of(live), live, Check(start + timedelta(days=day), healthy=True, tools=times))
    count = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 600000) SELECT count(*) FROM n"
    run_sql(live, f"CREATE TRIGGER dear AFTER INSERT ON Todos BEGIN {count}; END")


REASONS = {
    killed_run: "killed_run", leftover: "leftovers", drift: "column_changed", refusal: "tool_failed",
    damage: "damaged", slowdown: "slower", Path.unlink: "not_checked",
}  # fmt: skip


@pytest.mark.parametrize("make", REASONS, ids=lambda make: REASONS[make])
def test_each_reason_to_be_unhealthy_ends_with_1_and_its_code(live: Path, make: Any) -> None:
    backups_of(live).mkdir()
    make(live)
    before = stored(live)
    code, found = verified(live)
    assert (code, found["healthy"]) == (1, False)
    assert set(codes(found["faults"])) == {REASONS[make]}
    assert stored(live) == before
    (*_, recorded), _ = read_history(backups_of(live), live)
    assert (recorded.healthy, set(recorded.faults)) == (False, {REASONS[make]})


def test_an_accepted_slowdown_is_normal_from_then_on(live: Path) -> None:
    backups_of(live).mkdir()
    slowdown(live)
    code, found = verified(live, "--accept-speed")
    assert (code, codes(found["findings"])) == (0, ["added_since", "speed_accepted", "history_short"])
    code, found = verified(live)
    assert (code, codes(found["findings"])) == (0, ["added_since", "history_short"])


def test_from_the_ninth_check_on_nothing_is_left_unsaid(live: Path) -> None:
    for _ in range(8):
        assert verify(VerifyRequest(database=live)).exit_code == 0
    report = verify(VerifyRequest(database=live))
    assert (report.health.healthy, report.health.findings, len(report.checks)) == (True, (), 9)
    assert all(t.limit_cpu_ms is not None for t in report.health.tools if t.status == "passed")


WRITE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=5, isolation_level=None)
number = 0
with open(sys.argv[2], "w") as acknowledged:
    print("ready", flush=True)
    while True:
        number += 1
        connection.execute("INSERT INTO Todos (title, description, created_at) VALUES (?, 'mine', '2026')", (number,))
        print(number, file=acknowledged, flush=True)
"""


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_beside_a_writing_application_it_is_healthy_and_changes_no_byte(live: Path, mode: str) -> None:
    run_sql(live, f"PRAGMA journal_mode={mode}")
    acknowledged = live.with_name("acknowledged")
    with running(WRITE, live, acknowledged) as application:
        code, found = verified(live)
        # Stopped wherever it is: what changes from now on would be the check's doing.
        application.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, application.pid, os.WSTOPPED | os.WNOWAIT)
        before = stored(live)
        verified(live)
        assert stored(live) == before
        application.send_signal(signal.SIGCONT)
        written = len(acknowledged.read_text())
        while len(acknowledged.read_text()) == written:
            assert application.poll() is None
    assert (code, found["faults"]) == (0, [])
    with closing(sqlite3.connect(live)) as connection:
        rows = connection.execute("SELECT title FROM Todos WHERE description = 'mine' ORDER BY id").fetchall()
        lines = acknowledged.read_text().split()
        assert [title for (title,) in rows[: len(lines)]] == lines
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA journal_mode").fetchone() == (mode,)


def test_a_second_check_at_the_same_time_is_no_fault(live: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        ended = [*pool.map(lambda _: verified(live)[0], range(3))]
    assert ended == [0, 0, 0]
    checks, findings = read_history(backups_of(live), live)
    assert (len(checks), findings) == (3, ())
    assert sorted(path.name for path in backups_of(live).iterdir()) == ["health.db", "health.html", "health.json"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_check_that_is_interrupted_leaves_nothing_and_is_not_healthy(live: Path, number: int) -> None:
    run_sql(live, "CREATE TRIGGER dear AFTER INSERT ON Todos BEGIN WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL "
                  "SELECT x + 1 FROM n WHERE x < 300000000) SELECT count(*) FROM n; END")  # fmt: skip
    command = [sys.executable, "-m", "flows.verify", "--database", str(live), "--json"]
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not [*backups_of(live).glob("verify-*/reference.db")]:
        assert child.poll() is None
    child.send_signal(number)
    stdout, stderr = child.communicate(timeout=60)
    assert (child.returncode, stderr) == (1, b"")
    assert codes(json.loads(stdout)["faults"]) == ["interrupted"]
    assert [*backups_of(live).iterdir()] == []


def test_what_a_killed_check_left_goes_with_the_next(live: Path) -> None:
    left = backups_of(live) / "verify-0a1b2c3d"
    left.mkdir(parents=True)
    (left / "snapshot.db").write_bytes(b"half a copy")
    assert verified(live)[0] == 0
    assert not left.exists()


def test_the_report_is_one_file_that_asks_nothing_of_others_and_has_the_charts(live: Path) -> None:
    verified(live)
    code, found = verified(live)
    html = Path(found["report"]).read_text(encoding="utf-8")
    assert found["report"] == str(backups_of(live) / "health.html")
    assert json.loads((backups_of(live) / "health.json").read_text()) == found
    assert html.count('class="pygal-chart"') == 3
    for title in ("Slowest tools, p95, budget 500 ms", "Rows of the largest tables", "File size"):
        assert f"<h2>{title}</h2>" in html
    assert "<script" not in html and "src=" not in html and "href" not in html
    assert {*re.findall(r"https?://[^\"<> ]+", html)} <= {"http://www.w3.org/2000/svg"}
    assert all(tool["name"] in html for tool in found["tools"])
    assert ">budget</text>" in html
    assert (code, found["history"]["checks"]) == (0, 2)


def test_report_and_backup_dir_say_where_things_are_kept(live: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    code, found = verified(live, "--backup-dir", str(elsewhere), "--report", str(tmp_path / "today.html"))
    assert (code, found["history"]["path"], found["report"]) == (
        0, str(elsewhere / "health.db"), str(tmp_path / "today.html"),
    )  # fmt: skip
    assert [path.name for path in elsewhere.iterdir()] == ["health.db"]
    assert json.loads((tmp_path / "today.json").read_text())["healthy"]
    assert not backups_of(live).exists()
    assert verified(live, "--backup-dir", str(elsewhere), "--report", str(tmp_path / "today.html"))[0] == 0


def test_a_report_that_would_replace_something_else_is_refused(live: Path, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<!doctype html>mine")
    (tmp_path / "other.json").write_text("{}")
    for name, fault in (
        ("page.html", "would replace what is no health report"),
        ("other.html", "would replace what is no health report"),
        ("report.txt", "does not end in .html"),
    ):
        report = ("--report", str(tmp_path / name), "--json")
        code, stdout, stderr = output_of("flows.verify", tmp_path, "--database", str(live), *report)
        found = json.loads(stdout)
        assert (code, found["healthy"], codes(found["faults"])) == (2, False, ["usage"])
        assert fault in stderr and fault in found["faults"][0]["message"]
    assert (tmp_path / "page.html").read_text() == "<!doctype html>mine"
    assert not backups_of(live).exists()


def test_a_report_that_cannot_be_written_is_a_finding(live: Path, tmp_path: Path) -> None:
    code, found = verified(live, "--report", str(tmp_path / "none" / "today.html"))
    assert (code, codes(found["findings"]), found["report"]) == (0, ["history_short", "report_failed"], None)


def test_how_long_writers_may_wait_is_the_operators_word(live: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    allowed: list[float] = []
    real = health.take_snapshot

    def noting(database: Path, target: Path, max_lock_ms: float, timeout_s: float) -> None:
        allowed.append(max_lock_ms)
        real(database, target, max_lock_ms, timeout_s)

    monkeypatch.setattr(health, "take_snapshot", noting)
    assert verify(VerifyRequest(database=live, max_lock_ms=123)).exit_code == 0
    assert verify(VerifyRequest(database=live)).exit_code == 0
    assert allowed == [123.0, 250.0]


def test_people_read_it_in_eighty_columns(live: Path) -> None:
    verified(live)
    code, stdout, stderr = output_of("flows.verify", live.parent, "--database", str(live))
    assert (code, stderr) == (0, "")
    assert stdout.startswith(f"{live}: healthy\nversion       {NEWEST:04d}\n")
    assert "\ntools         20 passed, 0 failed, 8 skipped\n" in stdout
    head, _, table = stdout.partition("\n\n")
    assert "2 checks in the history" in head
    lines = table.splitlines()
    assert len(lines) == 21 and max(map(len, lines)) <= 80
    assert lines[0].split() == ["tool", "p50", "ms", "p95", "ms", "cpu", "ms", "usual", "limit"]


def test_a_check_that_is_kept_nowhere_is_not_counted(tmp_path: Path) -> None:
    code, stdout, _ = output_of("flows.verify", tmp_path, "--database", "none.db")
    assert code == 1 and " s; no check in the history\nfault         no database at " in stdout
    code, found = verified(tmp_path / "none.db")
    assert (code, found["history"]["checks"]) == (1, 0)
    assert not backups_of(tmp_path / "none.db").exists()


def test_a_check_that_cannot_be_kept_beside_others_is_not_counted(live: Path) -> None:
    verified(live)
    with closing(sqlite3.connect(backups_of(live) / "health.db")) as history:
        history.execute("CREATE TRIGGER full BEFORE INSERT ON checks BEGIN SELECT raise(ABORT, 'full'); END")
    code, stdout, _ = output_of("flows.verify", live.parent, "--database", str(live))
    assert code == 0 and " s; 1 check in the history\n" in stdout and "health.db could not be written: full" in stdout
    assert "1 check in the history" in (backups_of(live) / "health.html").read_text()


def test_people_read_what_is_wrong(demo: Path) -> None:
    code, stdout, _ = output_of("flows.verify", demo.parent, "--database", str(demo))
    assert code == 1 and stdout.startswith(f"{demo}: NOT HEALTHY\n")
    assert "\nfault         tool get_code_patterns fails: no such column: function_name\n" in stdout


def test_it_needs_no_prefect(live: Path) -> None:
    code = "import sys; import flows.verify; sys.exit(any(name in sys.modules for name in ('prefect', 'pygal')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_a_reader_that_went_away_is_no_error(live: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "flows.verify", "--database", str(live)]
    child = subprocess.run(command, cwd=ROOT, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (child.returncode, child.stderr) == (0, b"")


@pytest.mark.skipif(not REAL.exists(), reason="the real database is not beside the checkout")
def test_the_real_database_is_told_from_a_migrated_one(tmp_path: Path) -> None:
    live = Path(shutil.copy(REAL, tmp_path / "ltmc.db"))
    code, found = verified(live)
    assert (code, codes(found["faults"]), found["version"]) == (1, ["tool_failed"] * 3, 0)
    assert live.read_bytes() == REAL.read_bytes()
    migrate.fn(MigrationRequest(database=live, max_lock_ms=60_000))
    code, found = verified(live)
    assert (code, found["faults"], found["version"]) == (0, [], NEWEST)
