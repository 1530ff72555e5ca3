"""The command line: exit codes, JSON, and what is answered without Prefect."""

from __future__ import annotations

import json
import os
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import flows.migrate
from migrator.lock import locked
from migrator.ltmc import LTMC
from migrator.preflight import preflight
from migrator.script import promotion_script
from tests.pipeline.programs import ROOT, output_of, stopping
from tests.pipeline.runs import COLUMNS_AFTER, NEWEST, beside, columns, content
from tests.runs import stored

pytestmark = pytest.mark.usefixtures("server")

NO_TEXT = os.fsdecode(b"no\xfftext")
KEYS = {"run_id", "database", "from_version", "to_version", "outcome", "error", "backup", "steps", "tools", "promote"}
KEYS |= {"findings"}


def migrate(database: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    with stopping("", database, *arguments) as program:
        return program.ends()


def changed(database: Path, statement: str) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(statement)


def test_the_json_has_the_keys_that_scripts_rely_on(demo: Path) -> None:
    code, report = migrate(demo, "--report", str(demo.with_name("copy.json")))
    assert (code, report["outcome"], report["error"]) == (0, "migrated", None)
    assert set(report) >= KEYS
    assert (report["database"], report["from_version"], report["to_version"]) == (str(demo), 0, NEWEST)
    assert set(report["backup"]) == {"path", "sha256"}
    assert set(report["steps"][0]) == {"name", "seconds", "rows"}
    assert set(report["tools"][0]) == {"name", "status", "reason", "before", "after", "p50_ms", "p95_ms"}
    assert len(report["tools"]) == 28
    assert set(report["promote"]) == {"strategy", "lock_ms", "rows"}
    assert (report["promote"]["strategy"], report["promote"]["rows"]) == ("one_transaction", 112)
    assert set(report["findings"][0]) == {"code", "message", "count"}
    assert json.loads(demo.with_name("copy.json").read_text()) == report

    directory = Path(report["backup"]["path"]).parent
    stored = json.loads((directory / "report.json").read_text())
    assert (stored["outcome"], stored["run_id"]) == ("migrated", report["run_id"])
    page = (directory / "report.html").read_text()
    assert report["run_id"] in page
    assert "log_code_attempt" in page
    assert not [mark for mark in ("src=", 'href="http', "<link", "@import", "url(") if mark in page]

    _, back = migrate(demo, "--to", "0000")
    assert (back["outcome"], back["from_version"], back["to_version"]) == ("migrated", NEWEST, 0)
    assert "tags" not in columns(demo)


WATCHED = """
import sys
from flows.command_line import main
code = main(sys.argv[1:])
print("prefect" in sys.modules, "jinja2" in sys.modules, file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.usefixtures("quick")
def test_a_second_run_changes_no_byte_and_never_loads_prefect(demo: Path) -> None:
    assert flows.migrate.migrate.fn(flows.migrate.MigrationRequest(database=demo))["outcome"] == "migrated"
    before = demo.read_bytes()
    second = subprocess.run(
        [sys.executable, "-c", WATCHED, "--database", str(demo), "--json"], capture_output=True, text=True, cwd=ROOT
    )
    assert (second.returncode, json.loads(second.stdout)["outcome"]) == (0, "up_to_date")
    assert second.stderr == "False False\n"
    assert demo.read_bytes() == before


def test_a_dry_run_shows_the_plan_and_writes_nothing(demo: Path) -> None:
    before = demo.read_bytes()
    code, stdout, stderr = output_of("flows.migrate", demo.parent, "--database", str(demo), "--dry-run")
    assert (code, stderr) == (0, "")
    assert "planned, nothing changed" in stdout
    (statements,) = (line for line in stdout.splitlines() if line.endswith(" statements; --sql prints them"))
    assert statements.split()[0] == str(len(preflight(demo, LTMC, only_look=True).plan.statements))
    assert "CodePatterns is made anew\n  adds        function_name, file_name, module_name, execution" in stdout
    assert "  removes     language, execution_time\n" in stdout
    assert f"plan          to version {NEWEST:04d}, in one transaction, about " in stdout
    assert not [word for word in ("CREATE", "INSERT", "SELECT", "CASE", "BEGIN") if word in stdout]
    assert max(map(len, stdout.splitlines())) < 300
    code, stdout, _ = output_of("flows.migrate", demo.parent, "--database", str(demo), "--dry-run", "--json")
    assert (code, json.loads(stdout)["outcome"]) == (0, "planned")
    assert demo.read_bytes() == before
    assert [p.name for p in demo.parent.iterdir() if p.name.startswith("demo.db")] == ["demo.db"]


def test_a_refusal_is_exit_code_2_and_names_the_way_out(demo: Path) -> None:
    changed(demo, "UPDATE CodePatterns SET result = 'meh' WHERE id = 1")
    before = content(demo)
    code, looked = migrate(demo, "--dry-run")
    assert (code, looked["outcome"]) == (2, "refused")
    code, report = migrate(demo)
    assert (code, report["outcome"], report["backup"]) == (2, "refused", None)
    assert report["error"] == looked["error"]
    assert "'meh' (1 row)" in report["error"]
    assert "--map-result" in report["error"]
    assert (content(demo), beside(demo)) == (before, [])
    code, report = migrate(demo, "--map-result", "meh=null", "--truncate-times", "--null-duplicate-vector-ids")
    assert (code, report["outcome"]) == (0, "migrated")
    with closing(sqlite3.connect(demo)) as connection:
        assert connection.execute("SELECT result FROM CodePatterns WHERE id = 1").fetchone() == (None,)
        cut = "SELECT count(*) FROM CodePatterns n JOIN CodePatterns_legacy o USING (id) "
        cut += "WHERE o.execution_time = 1.001 AND n.execution_time_ms = 1000"
        assert connection.execute(cut).fetchone()[0] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--no-such-option"], "unrecognized arguments: --no-such-option"),
        (["--to", "last"], "--to: 'last' is no whole number; see python -m flows.migrate --help"),
        (["--to", "-1"], "--to: -1 is less than 0"),
        (["--max-lock-ms", "0"], "--max-lock-ms: 0 is not more than 0"),
        (["--map-result", "meh"], "--map-result: 'meh' is not VALUE=pass"),
        (["--map-result", "pass"], "--map-result: 'pass' is not VALUE=pass"),
        (["--map-result", "meh=maybe"], "--map-result: 'meh=maybe' is not VALUE=pass"),
        (["--backup-dir", NO_TEXT], r"--backup-dir: b'no\xfftext' is not UTF-8"),
        (["--report", NO_TEXT], r"--report: b'no\xfftext' is not UTF-8"),
        (["--demo", "many"], "argument --demo: 'many' is no whole number"),
        (["--dat", "x.db"], "unrecognized arguments: --dat x.db"),
    ],
)
def test_a_wrong_argument_is_one_line_and_exit_code_2(tmp_path: Path, arguments: list[str], message: str) -> None:
    code, stdout, stderr = output_of("flows.migrate", tmp_path, *arguments)
    assert (code, stdout) == (2, "")
    assert message in stderr
    assert stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("module", "defaults"),
    [
        (
            "flows.migrate",
            ["--max-lock-ms N How many milliseconds the application's writes may have to wait. Default: 250."],
        ),
        ("flows.fleet", ["The last is repeated. Default: 10%,30%,100%.", "or which share of it. Default: 0."]),
    ],
)
def test_the_help_names_the_default_of_each_number_and_word(tmp_path: Path, module: str, defaults: list[str]) -> None:
    code, stdout, _ = output_of(module, tmp_path, "--help")
    said = " ".join(stdout.split())
    assert code == 0
    assert [default for default in defaults if default not in said] == []


def test_a_database_that_is_not_there_is_named_by_its_whole_path(tmp_path: Path) -> None:
    code, _, stderr = output_of("flows.migrate", tmp_path)
    assert (code, f"no database at {tmp_path / 'ltmc.db'}; give its path with --database" in stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "settings", "wanted"),
    [
        (["--database", "a.db"], {"LTMC_DATABASE": "b.db", "DB_PATH": "c.db"}, "a.db"),
        ([], {"LTMC_DATABASE": "b.db", "DB_PATH": "c.db"}, "b.db"),
        ([], {"LTMC_DATABASE": "", "DB_PATH": "c.db"}, "c.db"),
        ([], {}, "ltmc.db"),
    ],
)
def test_the_database_is_the_one_named_first(
    tmp_path: Path, arguments: list[str], settings: dict[str, str], wanted: str
) -> None:
    for name in ("a.db", "b.db", "c.db", "ltmc.db"):
        LTMC.make_demo(tmp_path / name, 1)
    code, stdout, _ = output_of("flows.migrate", tmp_path, *arguments, "--dry-run", "--json", **settings)
    assert (code, json.loads(stdout)["database"]) == (0, str(tmp_path / wanted))


def test_a_demo_starts_afresh_on_what_an_earlier_one_left(tmp_path: Path) -> None:
    code, stdout, stderr = output_of("tests.pipeline.stopping_run", tmp_path, "", "--demo", "5", "--json")
    assert code == 0, stderr
    report = json.loads(stdout)
    # The patterns, the todos, and row 1 of the sequence.
    assert (report["outcome"], report["promote"]["rows"]) == ("migrated", 5 + 9 + 1)
    assert beside(tmp_path / "demo" / "ltmc.db") == ["ltmc.db.backups"]
    code, stdout, _ = output_of("flows.migrate", tmp_path, "--demo", "7", "--dry-run", "--json")
    assert (code, json.loads(stdout)["outcome"]) == (0, "planned")
    assert beside(tmp_path / "demo" / "ltmc.db") == []
    with closing(sqlite3.connect(tmp_path / "demo" / "ltmc.db")) as connection:
        assert connection.execute("SELECT count(*) FROM CodePatterns").fetchone() == (7,)


def test_a_demo_that_is_being_migrated_is_left_alone(tmp_path: Path) -> None:
    database = tmp_path / "demo" / "ltmc.db"
    assert output_of("flows.migrate", tmp_path, "--demo", "5", "--dry-run")[0] == 0
    before = database.read_bytes()
    with locked(database):
        code, stdout, stderr = output_of("flows.migrate", tmp_path, "--demo", "--json")
    assert (code, json.loads(stdout)["outcome"]) == (2, "refused"), stderr
    assert database.read_bytes() == before


@pytest.mark.parametrize("prepare", [lambda path: None, lambda path: path.mkdir(), lambda path: path.touch()])
def test_what_is_no_database_is_refused_without_a_trace(tmp_path: Path, prepare: Callable[[Path], None]) -> None:
    prepare(tmp_path / "x.db")
    there = sorted(os.listdir(tmp_path))
    code, stdout, stderr = output_of("flows.migrate", tmp_path, "--database", "x.db")
    assert (code, stdout) == (2, "")
    assert "refused, nothing changed" in stderr
    assert "Traceback" not in stderr
    assert [name for name in sorted(os.listdir(tmp_path)) if not name.startswith("stderr")] == there


@pytest.mark.parametrize("prefect_home", ["a file", None])
def test_a_home_that_cannot_be_written_refuses_and_names_the_way_out(demo: Path, prefect_home: str | None) -> None:
    before, file = demo.read_bytes(), demo.with_name("a file")
    file.touch()
    given = None if prefect_home is None else str(file / "records")
    with stopping("", demo, PREFECT_API_URL=None, PREFECT_HOME=given, HOME=str(file)) as program:
        code, report = program.ends()
    assert (code, report["outcome"]) == (2, "refused")
    assert report["error"] == (
        f"{given or file / '.prefect'} cannot be written (Not a directory), and a run keeps its records there; nothing "
        "was changed; set PREFECT_HOME to a folder that this user may write"
    )
    assert "Traceback" not in program.stderr
    assert (demo.read_bytes(), beside(demo)) == (before, [])


def test_a_report_that_cannot_be_written_is_a_finding(demo: Path) -> None:
    code, report = migrate(demo, "--dry-run", "--report", str(demo.with_name("none") / "report.json"))
    assert (code, report["outcome"]) == (0, "planned")
    assert [f["code"] for f in report["findings"] if not f["code"].startswith("originals_")] == ["report_failed"]


def test_a_database_whose_name_is_no_text_is_refused_in_one_line(demo: Path) -> None:
    odd = demo.rename(demo.with_name(NO_TEXT))
    before, there = odd.read_bytes(), sorted(os.listdir(odd.parent))
    for options in ([], ["--dry-run"]):
        code, stdout, _ = output_of("flows.migrate", odd.parent, "--database", NO_TEXT, "--json", *options)
        report = json.loads(stdout)
        assert (code, report["outcome"]) == (2, "refused")
        assert report["error"] == r"the database's path b'no\xfftext' is not UTF-8; rename it"
    code, stdout, stderr = output_of("flows.migrate", odd.parent, "--database", NO_TEXT)
    assert (code, stdout) == (2, "")
    assert stderr.splitlines()[1:] == [r"the database's path b'no\xfftext' is not UTF-8; rename it"]
    assert odd.read_bytes() == before
    assert [name for name in sorted(os.listdir(odd.parent)) if not name.startswith("stderr")] == there


def buffered() -> dict[str, str]:
    """The environment, in which what a stream did not take fails once more at the program's end."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


def ended(demo: Path, *arguments: str, **streams: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.pipeline.stopping_run", "", "--database", str(demo), *arguments]
    return subprocess.run(command, cwd=ROOT, env=buffered(), text=True, **streams)


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_the_exit_code_is_the_outcomes_whatever_stdout_and_stderr_take(demo: Path, form: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = ended(demo, *form, stdout=full, stderr=subprocess.PIPE)
        assert done.returncode == 0, done.stderr
        said = f"{demo}: migrated; stdout took no report of it ([Errno 28] No space left on device)"
        assert done.stderr.splitlines()[-1] == said
        assert "Traceback" not in done.stderr
        assert columns(demo) == COLUMNS_AFTER
        again = ended(demo, *form, stdout=full, stderr=subprocess.PIPE)
        assert (again.returncode, again.stderr) == (0, said.replace("migrated", "up_to_date") + "\n")
        refused = ended(demo, "--to", "9999", *form, stdout=full, stderr=full)
        wrong = ended(demo, "--no-such-option", *form, stdout=full, stderr=full)
        back = ended(demo, "--to", "0000", *form, stdout=full, stderr=full)
    assert (refused.returncode, wrong.returncode, back.returncode) == (2, 2, 0)
    assert "tags" not in columns(demo)


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_streams_that_are_closed_change_no_exit_code(demo: Path, form: list[str]) -> None:
    command = [sys.executable, "-m", "flows.migrate", "--dry-run", "--database", str(demo), *form]
    closed = subprocess.run(f"{shlex.join(command)} >&- 2>&-", shell=True, cwd=ROOT, env=buffered())
    assert closed.returncode == 0


def test_what_the_encoding_of_stdout_has_not_is_shown_escaped(demo: Path) -> None:
    named = demo.rename(demo.with_name("größe.db"))
    code, stdout, _ = output_of(
        "flows.migrate", named.parent, "--database", str(named), "--dry-run", PYTHONIOENCODING="ascii"
    )
    assert code == 0
    assert r"gr\xf6\xdfe.db: planned, nothing changed" in stdout


def test_a_dry_run_prints_the_sql_of_the_promotion_and_nothing_else(demo: Path) -> None:
    before = stored(demo)
    arguments = ("--database", str(demo), "--dry-run", "--sql")
    code, stdout, stderr = output_of("flows.migrate", demo.parent, *arguments)
    assert (code, stderr, stored(demo)) == (0, "", before)
    assert stdout == promotion_script(preflight(demo, LTMC, only_look=True).plan, LTMC.name)
    assert stdout.count("BEGIN IMMEDIATE;") == stdout.count("COMMIT;") == 1

    migrate(demo)
    code, stdout, stderr = output_of("flows.migrate", demo.parent, *arguments)
    assert (code, stdout, stderr) == (0, f"-- {demo} is up to date: version {NEWEST:04d}\n", "")


@pytest.mark.parametrize("options", [["--sql"], ["--sql", "--dry-run", "--json"]])
def test_sql_goes_with_a_dry_run_alone(demo: Path, options: list[str]) -> None:
    code, _, stderr = output_of("flows.migrate", demo.parent, "--database", str(demo), *options)
    assert (code, "--sql goes with --dry-run, and prints no JSON" in stderr) == (2, True)


def test_a_dry_run_of_the_way_back_says_what_would_be_put_aside(demo: Path) -> None:
    migrate(demo)
    changed(demo, "INSERT INTO TeamMembers (member_id, name, created_at, updated_at) VALUES ('m', 'n', '2026', '2026')")
    before = stored(demo)
    arguments = ("--database", str(demo), "--dry-run", "--to", "0000", "--json")
    code, stdout, _ = output_of("flows.migrate", demo.parent, *arguments)
    (finding,) = (f for f in json.loads(stdout)["findings"] if f["code"] == "originals_kept")
    assert (code, finding["message"], finding["count"], stored(demo)) == (
        0, "rows of TeamMembers, which the schema to be does not have; TeamMembers_ahead keeps them", 1, before,
    )  # fmt: skip


def test_a_database_that_is_up_to_date_by_its_ledger_alone_is_told_so(demo: Path) -> None:
    migrate(demo)
    code, report = migrate(demo)
    assert (code, report["outcome"], report["findings"]) == (0, "up_to_date", [])
    with closing(sqlite3.connect(demo)) as connection:
        connection.execute("DROP INDEX idx_codepatterns_result")
        connection.execute("ALTER TABLE Todos ADD COLUMN mine")
    before = demo.read_bytes()
    for options in ([], ["--dry-run"]):
        code, report = migrate(demo, *options)
        assert (code, report["outcome"]) == (0, "up_to_date")
        (found,) = report["findings"]
        assert (found["code"], found["count"]) == ("drift", 2)
        assert found["message"] == (
            "not as it should be: column mine of Todos, index idx_codepatterns_result of CodePatterns; python -m "
            f"flows.check --database {demo} says what it should be"
        )
    assert demo.read_bytes() == before
