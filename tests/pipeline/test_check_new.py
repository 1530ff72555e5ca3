"""`python -m flows.check --new` as a program, in a copy of the checkout into which it may write."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from migrator.check.status import look
from migrator.ltmc import LTMC
from tests.pipeline.programs import ROOT, output_of
from tests.runs import run_sql, stored

NEXT = len(LTMC.migrations) + 1
FILE = f"m{NEXT:04d}_stars.py"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The packages, a demo database of 100 rows that has none of the migrations, and the schema after all of them."""
    for name in ("flows", "tasks", "migrator"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    database = tmp_path / "demo.db"
    LTMC.make_demo(database, 100)
    plan = look(database, LTMC, 250).plan
    assert plan is not None
    statements = (found.sql for found in plan.after.schema.objects)
    (tmp_path / "desired.sql").write_text(";\n".join(statements) + ";\n", encoding="utf-8")
    return tmp_path


def desire(checkout: Path, table: str, *changes: tuple[str, str]) -> None:
    """Changes the CREATE TABLE of `table` in the desired schema: each text once."""
    path = checkout / "desired.sql"
    before, statement, after = re.split(
        rf"(CREATE TABLE \"?{table}\"? \(.*?\n?\);\n)", path.read_text(), flags=re.DOTALL
    )
    for old, new in changes:
        assert old in statement, statement
        statement = statement.replace(old, new, 1)
    path.write_text(before + statement + after)


def made(checkout: Path, *arguments: str, name: str = "stars") -> tuple[int, dict[str, Any]]:
    """The exit code and the JSON; the database stays to the byte."""
    database = checkout / "demo.db"
    before = stored(database)
    given = ("--database", "demo.db", "--new", name, "--desired", "desired.sql", "--json", *arguments)
    code, stdout, stderr = output_of("flows.check", checkout, *given)
    assert (stored(database), stderr) == (before, "")
    return code, json.loads(stdout)


def written(checkout: Path) -> list[str]:
    """The migrations that were not there."""
    there = {path.name for path in (ROOT / "migrator" / "ltmc" / "migrations").glob("m*.py")}
    return sorted({p.name for p in (checkout / "migrator" / "ltmc" / "migrations").glob("m*.py")} - there)


def test_the_next_migration_is_written_and_is_the_next_that_runs(checkout: Path) -> None:
    desire(checkout, "Summaries", ("    model TEXT,", "    model TEXT,\n    stars INTEGER DEFAULT 0,"))
    code, result = made(checkout)
    file = str(checkout / "migrator" / "ltmc" / "migrations" / FILE)
    assert (code, result["outcome"], result["new"]) == (
        0,
        "clean",
        {
            "file": file,
            "version": NEXT,
            "name": "stars",
            "changes": [{"kind": "column_added", "text": "column stars of Summaries is new"}],
            "undecided": [],
            "lint": [
                {
                    "severity": "note",
                    "code": "foreign_key_without_index",
                    "message": "the foreign key Summaries (resource_id) -> Resources has no index: each delete in "
                    "Resources reads all of Summaries",
                    "way_out": "CREATE INDEX ... ON Summaries (resource_id)",
                    "count": 1,
                }
            ],
        },
    )
    code, stdout, _ = output_of("flows.migrate", checkout, "--database", "demo.db", "--dry-run", "--json")
    planned = json.loads(stdout)
    assert (code, planned["outcome"], planned["to_version"]) == (0, "planned", NEXT)
    code, result = made(checkout, name="again")
    assert (code, result["pending"][-1], result["new"]["file"]) == (0, {"version": NEXT, "name": "stars"}, None)
    assert written(checkout) == [FILE]


def test_where_nothing_differs_no_file_is_written(checkout: Path) -> None:
    code, result = made(checkout)
    assert (code, result["new"]["file"], result["new"]["changes"]) == (0, None, [])
    assert written(checkout) == []


def test_a_column_is_renamed_only_where_that_is_told(checkout: Path) -> None:
    desire(checkout, "Resources", ("file_name TEXT", "title TEXT"))
    told = made(checkout, "--rename", "Resources.file_name=Resources.title")[1]["new"]
    assert [change["kind"] for change in told["changes"]] == ["column_renamed"]
    assert "column_dropped" not in {found["code"] for found in told["lint"]}
    (checkout / "migrator" / "ltmc" / "migrations" / FILE).unlink()
    untold = made(checkout)[1]["new"]
    assert [change["kind"] for change in untold["changes"]] == ["column_added", "column_dropped"]
    assert {"column_dropped", "maybe_renamed"} <= {found["code"] for found in untold["lint"]}


@pytest.mark.parametrize(
    ("table", "change", "severity", "code"),
    [
        ("Resources", ("type TEXT NOT NULL", "type TEXT CHECK (type = '')"), "error", "check"),
        ("Resources", ("created_at TEXT NOT NULL", "created_at TEXT UNIQUE"), "error", "unique"),
        ("Resources", ("file_name TEXT", "file_name INTEGER"), "warning", "other_type"),
        ("Resources", ("    type TEXT NOT NULL,\n", ""), "warning", "column_dropped"),
        (
            "ResourceChunks",
            ("FOREIGN KEY (resource_id)", "FOREIGN KEY (vector_id)"),
            "warning",
            "orphans",
        ),
    ],
)
def test_what_the_rows_do_not_fit_is_told_before_anything_runs(
    checkout: Path, table: str, change: tuple[str, str], severity: str, code: str
) -> None:
    run_sql(checkout / "demo.db", "UPDATE Resources SET created_at = '2025-08-09'")
    desire(checkout, table, change)
    exit_code, result = made(checkout)
    found = {(each["severity"], each["code"]) for each in result["new"]["lint"]}
    assert (severity, code) in found
    assert severity != "error" or exit_code == 2
    assert written(checkout) == [FILE]


def test_a_lock_that_is_too_long_is_told(checkout: Path) -> None:
    desire(checkout, "Resources", ("file_name TEXT", "file_name TEXT, stars INTEGER DEFAULT 0"))
    lint = made(checkout, "--max-lock-ms", "0.01")[1]["new"]["lint"]
    assert {"online", "long_lock"} & {found["code"] for found in lint}


def test_rows_that_a_pending_migration_changes_first_are_not_called_looked_at(checkout: Path) -> None:
    desire(checkout, "CodePatterns", ("    tags TEXT,\n", ""))
    desire(checkout, "Todos", ("title TEXT NOT NULL", "title TEXT"))
    desire(checkout, "TeamMembers", ("name TEXT NOT NULL", "name TEXT NOT NULL, born TEXT"))
    (said,) = made(checkout)[1]["new"]["lint"]
    assert (said["severity"], said["code"], said["count"]) == ("warning", "not_looked_at", 3)
    assert said["message"] == (
        "the rows of CodePatterns, Todos, TeamMembers were not looked at, because pending migrations change them first"
    )
    assert said["way_out"] == "run --new on a migrated copy of the database"


def test_what_is_undecided_is_exit_code_2_and_keeps_every_command_from_running(checkout: Path) -> None:
    desire(checkout, "Resources", ("file_name TEXT", "file_name TEXT, owner TEXT NOT NULL"))
    code, result = made(checkout)
    assert (code, result["outcome"]) == (2, "drift")
    (open_,) = result["new"]["undecided"]
    assert open_["what"].startswith("column owner of Resources is NOT NULL without a constant DEFAULT")
    assert open_["way_out"].startswith("declare values={'owner': ...}")
    for module, expected in (("check", 1), ("verify", 1), ("migrate", 2)):
        for form in ([], ["--json"]):
            code, stdout, stderr = output_of(f"flows.{module}", checkout, "--database", "demo.db", *form)
            said = json.loads(stdout)["error"] if form else stderr
            assert (code, "Traceback" in stderr) == (expected, False), stderr
            assert f"the migrations in {checkout}/migrator/ltmc/migrations cannot be loaded: migration" in said
            assert said.rstrip().endswith(f"decide what UNDECIDED in {FILE} lists")
            assert (stderr if form else stdout) == ""
    # Who imports a flow, a worker for one, gets the error itself.
    imported = subprocess.run([sys.executable, "-c", "import flows.verify"], cwd=checkout, capture_output=True)
    assert (imported.returncode, b"DeclarationError: migration" in imported.stderr) == (1, True)
    file = checkout / "migrator" / "ltmc" / "migrations" / FILE
    decided = re.sub(r"UNDECIDED: .*?\n\)\n", "UNDECIDED = ()\n", file.read_text(), flags=re.DOTALL)
    file.write_text(decided.replace("after=RESOURCES_AFTER,", "after=RESOURCES_AFTER, values={'owner': \"''\"},"))
    code, stdout, _ = output_of("flows.check", checkout, "--database", "demo.db", "--json")
    assert (code, json.loads(stdout)["plan"]["to_version"]) == (0, NEXT)


def test_a_desired_schema_of_one_table_takes_no_other_away_unasked(checkout: Path) -> None:
    whole = (checkout / "desired.sql").read_text()
    (summaries,) = re.findall(r'CREATE TABLE "?Summaries"? \(.*?\n?\);\n', whole, flags=re.DOTALL)
    (checkout / "desired.sql").write_text(summaries)
    code, result = made(checkout)
    goes = [item["text"] for item in result["new"]["changes"] if item["kind"] == "table_dropped"]
    assert (code, result["outcome"], len(goes)) == (2, "drift", whole.count("CREATE TABLE") - 1)
    assert "table ChatHistory goes" in goes
    asked = [question["what"] for question in result["new"]["undecided"]]
    assert all(any(what.startswith(each) or f"{each[:-5]} cannot be" in what for what in asked) for each in goes)
    code, _, stderr = output_of("flows.migrate", checkout, "--database", "demo.db")
    assert (code, f"decide what UNDECIDED in {FILE} lists" in stderr) == (2, True)
    (checkout / "migrator" / "ltmc" / "migrations" / FILE).unlink()
    arguments = ("--database", "demo.db", "--new", "stars", "--desired", "desired.sql")
    code, stdout, _ = output_of("flows.check", checkout, *arguments)
    assert (code, ": the new migration is not ready, " in stdout.splitlines()[0]) == (2, True)


def test_a_database_that_is_not_as_its_migrations_say_is_no_start(checkout: Path) -> None:
    run_sql(checkout / "demo.db", "CREATE TABLE _mig_left (id)")
    desire(checkout, "Resources", ("file_name TEXT", "file_name TEXT, stars INTEGER DEFAULT 0"))
    code, result = made(checkout)
    assert (code, result["outcome"], result["new"], written(checkout)) == (1, "error", None, [])
    assert "is not as its migrations say, so the next one would start from the wrong schema" in result["error"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--new", "stars"], "--desired: --new and --desired belong together"),
        (["--desired", "desired.sql"], "--desired: --new and --desired belong together"),
        (["--rename", "a.b=a.c"], "--rename: it needs --new"),
        (["--new", "stars", "--desired", "desired.sql", "--rename", "a=b"], "'a=b' is not TABLE.OLD=TABLE.NEW"),
        (["--new", "stars", "--desired", "desired.sql", "--rename", "a.b=a.c"], "there is no column 'a.b' to rename"),
        (["--new", "Two Stars", "--desired", "desired.sql"], "cannot be named 'Two Stars'; use small letters"),
        (["--new", "stars", "--desired", "absent.sql"], "absent.sql cannot be read"),
        (["--new", "stars", "--desired", "other.sql"], "other.sql:2: 'DROP TABLE t': only CREATE TABLE"),
    ],
)
def test_what_cannot_be_begun_is_exit_code_1(checkout: Path, arguments: list[str], message: str) -> None:
    (checkout / "other.sql").write_text("CREATE TABLE t (a);\nDROP TABLE t")
    desire(checkout, "Resources", ("file_name TEXT", "file_name TEXT, stars INTEGER DEFAULT 0"))
    code, stdout, stderr = output_of("flows.check", checkout, "--database", "demo.db", "--json", *arguments)
    result = json.loads(stdout)
    assert (code, result["outcome"], stderr, written(checkout)) == (1, "error", "", [])
    assert message in result["error"]


def test_for_people_it_fits_80_columns_and_says_first_what_is_to_decide(checkout: Path) -> None:
    desire(checkout, "Resources", ("file_name TEXT", "file_name TEXT, owner TEXT NOT NULL"))
    arguments = ("--database", "demo.db", "--new", "stars", "--desired", "desired.sql")
    code, stdout, stderr = output_of("flows.check", checkout, *arguments, COLUMNS="80")
    lines = stdout.splitlines()
    assert (code, stderr) == (2, "")
    assert lines[0].endswith(f"demo.db: the new migration is not ready, {NEXT - 1} migrations pending")
    assert [line for line in lines[1:] if len(line) > 80 and " " in line.strip()] == []
    assert [line for line in lines if re.fullmatch(r"[a-z ,]+: \d+", line)] == [
        "to decide: 1",
        "would fail: 1",
        "changes: 1",
    ]
