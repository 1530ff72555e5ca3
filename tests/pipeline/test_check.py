"""`python -m flows.check` as a program: exit codes, JSON, what it prints, and that the database stays to the byte."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from flows.check.command_line import check, main
from flows.check.request import CheckRequest
from flows.migrate import migrate
from flows.request import MigrationRequest
from migrator.journal import Journal, write_journal
from migrator.ltmc import LTMC
from tests.children import as_nobody, in_child, running
from tests.conftest import REAL_DATABASE_ABSENT
from tests.pipeline.programs import ROOT, output_of, started
from tests.pipeline.runs import COLUMNS_AFTER, NEWEST, PLENTY_MS, REAL, columns
from tests.runs import beside, run_sql, stored

KEYS = [
    "database", "outcome", "error", "version", "newest_version", "applied", "pending", "undone", "drift", "findings",
    "refusal", "plan", "docs", "logs", "write_schema", "source", "new",
]  # fmt: skip


@pytest.fixture
def migrated(demo: Path, quick: None) -> Path:
    migrate.fn(MigrationRequest(database=demo, max_lock_ms=PLENTY_MS))
    return demo


def checked(database: Path, *arguments: str, **settings: str) -> tuple[int, dict[str, Any]]:
    """The exit code and the JSON; every byte of the database and its log is as before, and nothing new lies beside."""
    before, around = stored(database), sorted(beside(database))
    with tempfile.TemporaryDirectory() as elsewhere:
        code, stdout, stderr = output_of(
            "flows.check", Path(elsewhere), "--database", str(database), "--json", *arguments, **settings
        )
    assert (stored(database), sorted(beside(database)), stderr) == (before, around, "")
    result = json.loads(stdout)
    assert list(result) == KEYS
    return code, result


def test_something_pending_is_clean_and_the_plan_is_told(demo: Path) -> None:
    code, result = checked(demo)
    assert (code, result["outcome"], result["error"], result["drift"]) == (0, "clean", None, [])
    assert (result["version"], result["newest_version"], result["applied"]) == (0, NEWEST, [])
    assert result["pending"][0] == {"version": 1, "name": "code_patterns"}
    assert len(result["pending"]) == NEWEST
    plan = result["plan"]
    assert plan["to_version"] == NEWEST
    assert set(plan["lock_estimate"]) == {"rows", "counted", "sample", "lock_ms", "way", "max_lock_ms"}
    assert plan["lock_estimate"]["rows"] == plan["lock_estimate"]["sample"] >= 100
    table = plan["tables"][0]
    assert (table["table"], table["kind"], len(table["added"]), len(table["made"])) == ("CodePatterns", "rebuild", 6, 4)
    assert all(set(step) == {"heading", "sql", "only", "about"} for step in plan["statements"])
    sent = [step["sql"].split("(")[0].strip() for step in plan["statements"]]
    assert sent[sent.index('DROP TABLE "CodePatterns"') + 1].endswith('RENAME TO "CodePatterns"')
    assert (sent[5], sent[-1]) == ("BEGIN IMMEDIATE", "COMMIT")


def test_a_migrated_database_is_clean_and_says_how_it_came_to_be(migrated: Path) -> None:
    code, result = checked(migrated)
    assert (code, result["outcome"], result["pending"], result["plan"]) == (0, "clean", [], None)
    applied = result["applied"][0]
    assert len(result["applied"]) == NEWEST
    assert applied["checksum"] == applied["declared_checksum"] == LTMC.migrations[0].checksum
    assert (applied["version"], applied["name"]) == (1, "code_patterns")
    assert applied["rows"] >= 100
    assert Path(applied["backup"]).is_file()
    assert applied["applied_at"].endswith("+00:00")


def test_drift_is_exit_code_2_with_what_it_is_and_what_it_should_be(migrated: Path) -> None:
    run_sql(migrated, "DROP INDEX idx_codepatterns_result")
    code, result = checked(migrated)
    assert (code, result["outcome"]) == (2, "drift")
    expected = "CREATE INDEX idx_codepatterns_result ON CodePatterns(result)"
    (drift,) = result["drift"]
    assert drift == {
        "code": "index_missing",
        "table": "CodePatterns",
        "what": "index idx_codepatterns_result",
        "now": "missing",
        "expected": expected,
        "way_out": "make it again",
        "message": f"index idx_codepatterns_result of CodePatterns: missing, expected {expected}; make it again",
    }


def test_a_run_that_has_not_ended_is_exit_code_2_and_its_journal_stays(demo: Path) -> None:
    directory = demo.with_name(f"{demo.name}.backups") / "20261122T215633Z-2a9f0eaf"
    write_journal(demo, Journal("2a9f0eaf", str(directory)))
    run_sql(demo, "CREATE TABLE _mig_CodePatterns (id)")
    code, result = checked(demo)
    assert (code, [d["code"] for d in result["drift"]]) == (2, ["killed_run", "leftovers"])
    assert result["drift"][0]["what"] == "run 2a9f0eaf"
    assert "would be refused" not in json.dumps(result["drift"])
    assert (result["refusal"], result["plan"]["to_version"]) == (None, NEWEST)


APPLICATION = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode=wal")
connection.execute("PRAGMA wal_autocheckpoint=0")
connection.execute("UPDATE Todos SET title = title || '!'")
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE Todos SET title = title || '?'")
print("ready", flush=True)
sys.stdin.read()
"""


def test_beside_an_application_that_writes_in_wal_mode_no_byte_changes(demo: Path) -> None:
    with running(APPLICATION, demo):
        code, result = checked(demo)
        assert demo.with_name(demo.name + "-wal").stat().st_size > 0
    assert (code, result["outcome"]) == (0, "clean")


def test_a_log_that_a_killed_application_left_is_not_carried_over(demo: Path) -> None:
    with running(APPLICATION, demo):
        pass
    assert demo.with_name(demo.name + "-wal").stat().st_size > 0
    assert checked(demo)[0] == 0


def test_a_database_in_wal_mode_that_nobody_has_open_stays_to_the_byte(demo: Path) -> None:
    run_sql(demo, "PRAGMA journal_mode=wal")
    assert checked(demo)[0] == 0


def test_a_hot_journal_is_reported_and_left(demo: Path) -> None:
    hot = demo.with_name("hot.db")
    with closing(sqlite3.connect(demo, isolation_level=None)) as connection:
        connection.execute("PRAGMA cache_size=1")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE ChatHistory SET content = hex(zeroblob(5000))")
        shutil.copy(demo, hot)
        shutil.copy(f"{demo}-journal", f"{hot}-journal")
    before = Path(f"{hot}-journal").read_bytes()
    code, result = checked(hot)
    assert (code, [d["code"] for d in result["drift"]], result["version"]) == (2, ["hot_journal"], None)
    assert Path(f"{hot}-journal").read_bytes() == before


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A demo where every user may look, in a directory that nobody but root may write to."""
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "demo.db"
        LTMC.make_demo(database, 20)
        database.chmod(0o444)
        database.parent.chmod(0o555)
        yield database
        database.parent.chmod(0o755)


def test_a_database_that_this_user_may_only_read_is_checked(reachable: Path) -> None:
    def looked() -> dict[str, Any]:
        return check(CheckRequest(database=reachable))

    result = in_child(looked, as_nobody)
    assert (result["outcome"], result["plan"]["lock_estimate"]["rows"]) == (
        "clean",
        result["plan"]["lock_estimate"]["sample"],
    )
    reachable.chmod(0o644)
    run_sql(reachable, "PRAGMA journal_mode=wal")
    reachable.chmod(0o444)
    reachable.parent.chmod(0o555)
    result = in_child(looked, as_nobody)
    assert (result["outcome"], result["version"]) == ("error", None)
    assert "or its directory cannot be written" in result["error"]


@pytest.mark.parametrize("form", [[], ["--json"]])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--database", "none.db"], "no database at"),
        (["--database", "."], "is a directory"),
        (["--database", "noise.db"], "is no SQLite database, or an encrypted one"),
        (["--no-such-option"], "unrecognized arguments: --no-such-option; see python -m flows.check --help"),
        (["--max-lock-ms", "0"], "--max-lock-ms: "),
        (["--logs"], "argument --logs: expected at least one argument"),
        (["--database", "good.db", "--logs", "none.log"], "log none.log cannot be read to its end"),
        (["--database", "good.db", "--docs", "noise.db"], "noise.db"),
    ],
)
def test_what_cannot_be_told_is_exit_code_1_in_few_lines(
    tmp_path: Path, arguments: list[str], message: str, form: list[str]
) -> None:
    (tmp_path / "noise.db").write_bytes(os.urandom(4096))
    LTMC.make_demo(tmp_path / "good.db", 1)
    code, stdout, stderr = output_of("flows.check", tmp_path, *arguments, *form)
    assert code == 1
    assert "Traceback" not in stderr
    if form:
        result = json.loads(stdout)
        assert (list(result), result["outcome"], stderr) == (KEYS, "error", "")
        assert message in result["error"]
    else:
        assert stdout == ""
        assert message in " ".join(stderr.split())


def test_the_help_says_how_wrong_arguments_end(tmp_path: Path) -> None:
    code, stdout, _ = output_of("flows.check", tmp_path, "--help")
    assert (code, "1: it could not be told; wrong arguments end so too." in " ".join(stdout.split())) == (0, True)


def test_what_was_found_before_an_error_is_told(demo: Path) -> None:
    code, result = checked(demo, "--logs", "none.log")
    assert (code, result["outcome"], result["version"], result["plan"]["to_version"]) == (1, "error", 0, NEWEST)


@pytest.mark.parametrize(
    ("arguments", "settings", "wanted"),
    [
        (["--database", "a.db"], {"LTMC_DATABASE": "b.db", "DB_PATH": "c.db"}, "a.db"),
        ([], {"LTMC_DATABASE": "b.db", "DB_PATH": "c.db"}, "b.db"),
        ([], {"LTMC_DATABASE": "", "DB_PATH": "c.db"}, "c.db"),
        ([], {}, "ltmc.db"),
    ],
)
def test_the_database_is_found_as_by_a_migration(
    tmp_path: Path, arguments: list[str], settings: dict[str, str], wanted: str
) -> None:
    for name in ("a.db", "b.db", "c.db", "ltmc.db"):
        LTMC.make_demo(tmp_path / name, 1)
    code, stdout, _ = output_of("flows.check", tmp_path, *arguments, "--json", **settings)
    assert (code, json.loads(stdout)["database"]) == (0, str(tmp_path / wanted))


def test_the_documentation_is_written_where_told_and_the_same_the_second_time(migrated: Path, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere" / "docs"
    folder.parent.mkdir()
    code, result = checked(migrated, "--docs", str(folder))
    assert (code, result["docs"]) == (0, {"path": str(folder / "schema.md"), "changed": True})
    page = (folder / "schema.md").read_text()
    assert "# Schema of `demo.db`" in page
    assert "- Applied `" in page
    assert checked(migrated, "--docs", str(folder))[1]["docs"]["changed"] is False
    assert (folder / "schema.md").read_text() == page
    (folder / "schema.md").write_text("mine")
    code, result = checked(migrated, "--docs", str(folder))
    assert (code, result["outcome"]) == (1, "error")
    assert "was not made by this command" in result["error"]
    assert (folder / "schema.md").read_text() == "mine"


def test_what_the_logs_miss_since_the_promotion_is_exit_code_2(migrated: Path, tmp_path: Path) -> None:
    old, new = tmp_path / "old.log", tmp_path / "new.log"
    old.write_text("2020-01-01T00:00:00Z no such column: function_name\n")
    new.write_text("2099-01-01T00:00:00Z no such column: language\nno such table: gone\n")
    code, result = checked(migrated, "--logs", str(old))
    assert (code, result["logs"]["missing"], result["logs"]["earlier"]) == (0, [], 1)
    code, result = checked(migrated, "--logs", str(old), str(new), "--logs", str(old))
    assert (code, result["outcome"], result["drift"]) == (2, "drift", [])
    assert result["logs"]["files"] == list(map(str, (old, new, old)))
    assert result["logs"]["since"] == result["applied"][0]["applied_at"]
    at = "2099-01-01 00:00:00+00:00"
    assert result["logs"]["missing"] == [
        {"kind": "column", "name": "language", "count": 1, "undated": 0, "first": at, "last": at},
        {"kind": "table", "name": "gone", "count": 1, "undated": 1, "first": None, "last": None},
    ]


def test_for_people_it_fits_80_columns_and_says_what_matters_first(migrated: Path, tmp_path: Path) -> None:
    run_sql(migrated, "DROP INDEX idx_codepatterns_result", "ALTER TABLE CodePatterns ADD COLUMN mine")
    log = tmp_path / "app.log"
    log.write_text("2099-01-01T00:00:00Z no such column: language\n")
    code, stdout, stderr = output_of(
        "flows.check", tmp_path, "--database", migrated.name, "--logs", "app.log", "--docs", "docs", COLUMNS="80"
    )
    assert (code, stderr) == (2, "")
    lines = stdout.splitlines()
    assert lines[0] == f"{migrated}: drift, 2 not as it should be"
    assert lines[1] == f"version       {NEWEST:04d} of {NEWEST:04d}"
    assert [line for line in lines[1:] if len(line) > 80 and " " in line.strip()] == []
    assert "drift         column mine of CodePatterns: mine, expected no such column; undo" in lines
    assert any(line.startswith("column language                      1        0  01-01 00:00:00") for line in lines)
    assert "docs          docs/schema.md" in lines


def test_the_plan_for_people_fits_80_columns_and_its_statements_run(demo: Path) -> None:
    code, stdout, _ = output_of("flows.check", demo.parent, "--database", str(demo), COLUMNS="80")
    assert code == 0
    assert [line for line in stdout.splitlines()[1:] if len(line) > 80] == []
    assert stdout.startswith(f"{demo}: clean, {NEWEST} migration")
    assert "CodePatterns is made anew\n  why         ALTER TABLE cannot change the definition of result\n" in stdout
    script = stdout[stdout.index("-- settings of this connection alone") :]
    statements = [s for part in script.split("\n\n") if (s := re.sub("^--.*\n?", "", part, flags=re.MULTILINE).strip())]
    with closing(sqlite3.connect(demo, isolation_level=None)) as connection:
        found = {statement: connection.execute(statement).fetchall() for statement in statements}
    assert [rows for statement, rows in found.items() if statement.startswith("SELECT")][:2] == [[(100,)], [(0,)]]
    assert columns(demo) == COLUMNS_AFTER


WATCHED = """
import sys
from flows.check.command_line import main
code = main(sys.argv[1:])
slow = {"prefect", "jinja2", "loguru", "rich", "migrator.source.check"}
print(sorted(slow & set(sys.modules)), file=sys.stderr)
sys.exit(code)
"""


def test_it_loads_nothing_that_takes_long(demo: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, "--database", str(demo), "--json"], capture_output=True, text=True, cwd=ROOT
    )
    assert (done.returncode, done.stderr) == (0, "[]\n")


def test_an_interruption_is_exit_code_1(demo: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    arguments = ["--database", str(demo), "--json", "--logs", str(tmp_path / "pipe")]
    # The pipe can be opened once the program reads it: then it waits there for a line.
    with started(arguments, tmp_path, "flows.check") as program, (tmp_path / "pipe").open("wb"):
        program.send(signal.SIGTERM)
        code, result = program.ends()
    assert (code, result["outcome"], result["error"]) == (1, "error", "interrupted before the check was over")


def test_the_exit_code_is_the_same_whatever_stdout_takes(migrated: Path) -> None:
    run_sql(migrated, "DROP INDEX idx_codepatterns_result")
    command = [sys.executable, "-m", "flows.check", "--database", str(migrated)]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert done.stderr == "drift; stdout took no report of it ([Errno 28] No space left on device)\n"


@pytest.mark.skipif(not REAL.exists(), reason=REAL_DATABASE_ABSENT)
def test_the_real_database_is_clean_and_one_migration_behind(tmp_path: Path) -> None:
    shutil.copy(REAL, tmp_path / "ltmc.db")
    (tmp_path / "x").mkdir()
    code, result = checked(tmp_path / "ltmc.db", "--docs", str(tmp_path / "x" / "docs"))
    assert (code, result["outcome"], len(result["pending"]), result["findings"]) == (0, "clean", NEWEST, [])
    assert "751 rows" in (tmp_path / "x" / "docs" / "schema.md").read_text()


def test_main_returns_what_the_program_ends_with(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        assert main(["--database", str(demo), "--json"]) == 0
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert json.loads(capsys.readouterr().out)["outcome"] == "clean"
