"""`python -m flows.check --source` and `--write-schema` as a program: the bug before it ships."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from flows.migrate import migrate
from flows.request import MigrationRequest
from migrator.ltmc import LTMC
from tests.conftest import REAL_DATABASE_ABSENT
from tests.pipeline.programs import output_of
from tests.pipeline.runs import PLENTY_MS, REAL
from tests.runs import run_sql, stored
from tests.unit.source_trees import CORRECT, SEEDED, marked, write

SIDES = {"": ["before", "after"], "()": [], "(before)": ["before"], "(after)": ["after"]}
PENDING = f"{len(LTMC.migrations)} migration{'s' if len(LTMC.migrations) > 1 else ''}"
TABLES = {"OLD SCHEMA": "old-schema", "DIFFERS": "table-differs", "TWICE": "table-made-otherwise"}


class Seed(NamedTuple):
    """A fault in the seeded tree: the shape of SQL that it is in, its line, what SQLite says of it, and when."""

    shape: str
    file: str
    line: int
    message: str
    sides: list[str]


def seeds() -> Iterator[Seed]:
    for file, line, mark in marked(SEEDED, "FAULT"):
        found = re.fullmatch(r"(\(\w*\))?\[(.*?)\]: (.*)", mark)
        assert found is not None, mark
        yield Seed(found[2], file, line, found[3], SIDES[found[1] or ""])


SEEDS = tuple(seeds())


@pytest.fixture(scope="module")
def unmigrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("unmigrated") / "ltmc.db"
    LTMC.make_demo(path, 100)
    return path


@pytest.fixture(scope="module")
def migrated(unmigrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = Path(shutil.copy(unmigrated, tmp_path_factory.mktemp("migrated") / "ltmc.db"))
    few = replace(LTMC, probes=tuple(p for p in LTMC.probes if p.tool == "log_code_attempt"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("flows.migrate.LTMC", few)
        patched.setattr("tasks.prove.MEMORY_S", 0.0)
        migrate.fn(MigrationRequest(database=path, max_lock_ms=PLENTY_MS))
    return path


def checked(database: Path, folder: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    """The exit code and the JSON of a check started in `folder`; no byte of the database changed."""
    before = stored(database)
    code, stdout, stderr = output_of("flows.check", folder, "--database", str(database), "--json", *arguments)
    assert (stored(database), stderr) == (before, "")
    return code, json.loads(stdout)


def of_source(database: Path, source: Path, folder: Path | None = None) -> tuple[int, dict[str, Any]]:
    code, result = checked(database, folder or database.parent, "--source", str(source))
    assert result["error"] is None
    return code, result["source"]


@pytest.fixture(scope="module")
def seeded(unmigrated: Path) -> tuple[int, dict[str, Any]]:
    """What the program says of the seeded tree, before the migration."""
    return of_source(unmigrated, SEEDED)


@pytest.mark.parametrize("seed", SEEDS, ids=[seed.shape for seed in SEEDS])
def test_a_fault_is_found_in_every_shape_of_sql(seed: Seed, seeded: tuple[int, dict[str, Any]]) -> None:
    found = [f for f in seeded[1]["findings"] if (f["file"], f["line"]) == (seed.file, seed.line)]
    # As a warning, of what only looks like SQL, it would be found without following the code that runs it.
    assert (seed.message, seed.sides, "error") in [(f["message"], f["sides"], f["level"]) for f in found]


@pytest.mark.parametrize(("mark", "code"), TABLES.items())
def test_a_table_in_another_form_is_found(mark: str, code: str, seeded: tuple[int, dict[str, Any]]) -> None:
    places = [(file, line) for file, line, _ in marked(SEEDED, mark)]
    assert [(f["file"], f["line"]) for f in seeded[1]["findings"] if f["code"] == code] == places != []


def test_there_are_more_than_30_shapes_each_with_a_name_of_its_own() -> None:
    assert len({seed.shape for seed in SEEDS}) == len(SEEDS) == 51


def test_nothing_else_in_the_seeded_tree_is_a_mismatch(seeded: tuple[int, dict[str, Any]]) -> None:
    code, found = seeded
    lines = {(seed.file, seed.line) for seed in SEEDS}
    tables = {(file, line) for mark in TABLES for file, line, _ in marked(SEEDED, mark)}
    mismatches = {(f["file"], f["line"]) for f in found["findings"] if f["mismatch"]}
    mended = {(f["file"], f["line"]) for f in found["findings"] if f["mended"]}
    assert (code, mended) == (2, {(s.file, s.line) for s in SEEDS if s.sides == ["before"]})
    assert mismatches == (lines | tables) - mended
    assert found["mismatches"] == len(SEEDS) + len(tables) - len(mended)
    others = [f["code"] for f in found["findings"] if not (f["mismatch"] or f["mended"])]
    assert sorted(others) == ["insert-by-position", "no-such-column"]
    assert [(n["file"], n["line"]) for n in found["not_checked"]] == [m[:2] for m in marked(SEEDED, "NOT CHECKED")]


def test_every_table_that_is_made_twice_is_named_with_its_owner(seeded: tuple[int, dict[str, Any]]) -> None:
    twice = [table for table in seeded[1]["tables"] if len(table["places"]) > 1]
    places = ["database/schema.py:17", "tools/retrieve.py:23"]
    assert twice == [{"name": "ToolCalls", "owner": "database/schema.py", "places": places}]


def test_before_the_migration_the_correct_tree_has_only_what_that_mends(unmigrated: Path) -> None:
    code, found = of_source(unmigrated, CORRECT)
    assert (code, found["against"], found["mismatches"]) == (0, ["before", "after"], 0)
    assert found["mended"] == len(found["findings"]) > 10
    assert {f["file"] for f in found["findings"]} == {"services/code_patterns.py", "database/schema.py"}


def test_after_the_migration_the_correct_tree_has_nothing(migrated: Path) -> None:
    code, found = of_source(migrated, CORRECT)
    assert (code, found["against"], found["findings"]) == (0, ["now"], [])
    assert (found["files"], found["statements"], found["unconcerned"]) == (13, 95, 4)
    assert (found["compiled"], found["assumed"]) == (87, 2)
    assert [(n["file"], n["line"]) for n in found["not_checked"]] == [
        ("database/schema.py", 49),
        ("tools/retrieve.py", 31),
    ]


def test_after_the_migration_an_application_that_makes_the_old_table_is_told(migrated: Path) -> None:
    code, found = of_source(migrated, SEEDED)
    (old,) = [f for f in found["findings"] if f["code"] == "old-schema"]
    assert (code, old["file"], old["line"], old["sides"], old["mismatch"]) == (
        2,
        "database/schema.py",
        6,
        ["now"],
        True,
    )
    assert old["message"].startswith(
        "CREATE TABLE CodePatterns makes another table than the migrated one: it lacks column function_name TEXT, "
    )


def test_nothing_of_the_source_is_run(unmigrated: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    source = f"import pathlib, absent\npathlib.Path({str(ran)!r}).touch()\nc.execute('SELECT id FROM Todos')\n"
    code, found = of_source(unmigrated, write(tmp_path / "app", {"app.py": source, "json.py": source}))
    assert (code, found["statements"], ran.exists()) == (0, 2, False)
    assert sorted(path.name for path in (tmp_path / "app").iterdir()) == ["app.py", "json.py"]


@pytest.mark.skipif(not REAL.exists(), reason=REAL_DATABASE_ABSENT)
def test_the_correct_tree_fits_the_real_database(tmp_path: Path) -> None:
    code, found = of_source(Path(shutil.copy(REAL, tmp_path / "ltmc.db")), CORRECT)
    assert (code, found["mismatches"]) == (0, 0)


def test_where_a_migration_would_be_refused_only_the_schema_that_is_there_counts(
    unmigrated: Path, tmp_path: Path
) -> None:
    odd = Path(shutil.copy(unmigrated, tmp_path / "odd.db"))
    run_sql(odd, "ALTER TABLE CodePatterns ADD COLUMN mine")
    code, result = checked(odd, tmp_path, "--source", str(CORRECT))
    assert (code, result["source"]["against"], result["refusal"] is None) == (2, ["now"], False)
    file = str(CORRECT / "database" / "schema.py")
    code, result = checked(odd, tmp_path, "--write-schema", file)
    assert (code, result["write_schema"]) == (1, None)
    assert result["error"].startswith("what the tables will be is not known: ")


def test_sarif_is_written_relative_to_where_the_check_was_started(unmigrated: Path, tmp_path: Path) -> None:
    shutil.copytree(SEEDED, tmp_path / "lib" / "app")
    arguments = ("--source", "lib/app", "--sarif", "out/check.sarif")
    code, result = checked(unmigrated, tmp_path, *arguments)
    assert (code, result["source"]["sarif"]) == (2, "out/check.sarif")
    written = (tmp_path / "out" / "check.sarif").read_text()
    (run,) = json.loads(written)["runs"]
    assert len(run["results"]) == len(result["source"]["findings"]) + len(result["source"]["not_checked"])
    artifacts = [r["locations"][0]["physicalLocation"]["artifactLocation"] for r in run["results"]]
    assert {a["uriBaseId"] for a in artifacts} == {"%SRCROOT%"}
    assert all((tmp_path / a["uri"]).is_file() for a in artifacts)
    assert checked(unmigrated, tmp_path, *arguments)[0] == 2
    assert (tmp_path / "out" / "check.sarif").read_text() == written


def test_sarif_replaces_nothing_that_is_none(unmigrated: Path, tmp_path: Path) -> None:
    shutil.copytree(CORRECT, tmp_path / "app")
    server = (tmp_path / "app" / "server.py").read_bytes()
    code, result = checked(unmigrated, tmp_path, "--source", "app", "--sarif", "app/server.py")
    assert (code, result["source"]) == (1, None)
    assert "was not made by this command" in result["error"]
    assert (tmp_path / "app" / "server.py").read_bytes() == server


def test_for_people_it_fits_80_columns_with_the_worst_first(unmigrated: Path, tmp_path: Path) -> None:
    shutil.copytree(SEEDED, tmp_path / "app")
    code, stdout, stderr = output_of(
        "flows.check", tmp_path, "--database", str(unmigrated), "--source", "app", COLUMNS="80"
    )
    assert (code, stderr) == (2, "")
    lines = stdout.splitlines()
    assert lines[0] == f"{unmigrated}: the source does not fit, 50 mismatches, {PENDING} pending"
    assert [line for line in lines[1:] if len(line) > 80] == []
    assert [line for line in lines if re.fullmatch(r"[a-z ,]+: \d+", line)] == [
        "fails before and after the pending migration: 43",
        "fails after the pending migration: 3",
        "fails whatever the schema: 1",
        "tables: 3",
        "fails before the pending migration, which mends it: 4",
        "worth a look: 2",
        "not checked: 4",
    ]
    first = lines.index("  database/queries.py:7  no such table: Todo")
    assert lines[first + 1 : first + 3] == [
        "      INSERT INTO Todo (title) VALUES (?)",
        "      run at services/todos.py:8",
    ]
    assert "  -> --write-schema app/database/schema.py  shows the change" in lines
    assert "BEGIN IMMEDIATE;" not in lines


def test_for_people_the_columns_that_a_line_misses_stand_together(unmigrated: Path, tmp_path: Path) -> None:
    source = "c.execute('SELECT id, here, there, gone FROM Todos')\nc.execute(QQQSELECT a,\nb FROM TodosQQQ)\n"
    write(tmp_path / "app", {"app.py": source.replace("QQQ", 3 * "'")})
    _, stdout, _ = output_of("flows.check", tmp_path, "--database", str(unmigrated), "--source", "app", COLUMNS="80")
    assert stdout.partition("\n\n")[2].splitlines() == [
        "fails before and after the pending migration: 5",
        "  app.py:1  no such column: here, there, gone",
        "      SELECT id, here, there, gone FROM Todos",
        "  app.py:2  no such column: a",
        "  app.py:3  no such column: b",
        "      SELECT a, b FROM Todos",
    ]


def test_for_people_a_tree_that_fits_is_a_few_lines(migrated: Path, tmp_path: Path) -> None:
    shutil.copytree(CORRECT, tmp_path / "app")
    code, stdout, _ = output_of("flows.check", tmp_path, "--database", str(migrated), "--source", "app", COLUMNS="100")
    lines = stdout.splitlines()
    assert (code, lines[0]) == (0, f"{migrated}: clean")
    counted = "0 mismatches, 2 not checked, 2 with a table that only a run knows"
    assert f"source app, 95 SQL statements in 13 Python files: {counted}" in " ".join(stdout.split())
    assert len(lines) < 10 + 2 * len(LTMC.migrations)


OLD = """
    conn.execute('''CREATE TABLE IF NOT EXISTS CodePatterns (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        input_prompt TEXT NOT NULL, -- as typed
        generated_code TEXT NOT NULL,
        result TEXT NOT NULL,
        language TEXT,
        execution_time REAL,
        error_message TEXT,
        created_at TEXT NOT NULL
    )''')
"""
NEW = """
    conn.execute('''CREATE TABLE IF NOT EXISTS CodePatterns (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        function_name TEXT,
        file_name TEXT,
        module_name TEXT,
        input_prompt TEXT NOT NULL, -- as typed
        generated_code TEXT NOT NULL,
        result TEXT CHECK(result IN ('pass', 'fail', 'partial')),
        execution_time_ms INTEGER,
        error_message TEXT,
        tags TEXT,
        created_at TEXT NOT NULL,
        vector_id INTEGER UNIQUE,
        FOREIGN KEY (vector_id) REFERENCES ResourceChunks (id)
    )''')
"""
AROUND = ("# äöü\ndef make(conn):\t \n", "\n\n\nx = 1;   y = '\\x00'  # no line break at the end")


@pytest.mark.parametrize("database", ["unmigrated", "migrated"])
def test_the_statement_is_shown_then_written_and_nothing_else(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    path: Path = request.getfixturevalue(database)
    file = tmp_path / "app" / "schema.py"
    file.parent.mkdir()
    file.write_bytes(OLD.join(AROUND).encode())
    file.chmod(0o750)
    code, result = checked(path, tmp_path, "--write-schema", "app/schema.py")
    shown = result["write_schema"]
    assert (code, result["outcome"], shown["changed"], shown["applied"]) == (2, "drift", ["CodePatterns"], False)
    assert file.read_bytes() == OLD.join(AROUND).encode()
    assert shown["diff"].startswith("--- a/app/schema.py\n+++ b/app/schema.py\n@@ ")
    code, result = checked(path, tmp_path, "--write-schema", "app/schema.py", "--apply", "--source", "app")
    assert (code, result["write_schema"]) == (0, {**shown, "applied": True})
    assert file.read_bytes() == NEW.join(AROUND).encode()
    assert stat.S_IMODE(file.stat().st_mode) == 0o750
    assert os.listdir(file.parent) == ["schema.py"]
    code, result = checked(path, tmp_path, "--write-schema", "app/schema.py", "--apply")
    assert (code, result["write_schema"]) == (0, {**shown, "changed": [], "diff": ""})


def test_the_diff_is_what_patch_takes(unmigrated: Path, tmp_path: Path) -> None:
    file = tmp_path / "schema.py"
    file.write_bytes(OLD.join(AROUND).encode())
    _, stdout, _ = output_of("flows.check", tmp_path, "--database", str(unmigrated), "--write-schema", "schema.py")
    assert "write-schema  schema.py: CodePatterns would change, with --apply" in stdout.splitlines()
    done = subprocess.run(["git", "apply", "-"], input=stdout.encode(), cwd=tmp_path, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert file.read_bytes() == NEW.join(AROUND).encode()


def test_a_link_stays_one_and_line_ends_and_encoding_stay(unmigrated: Path, tmp_path: Path) -> None:
    text = ("# coding: latin-1\n# größe\nif True:" + OLD).replace("\n", "\r\n")
    (tmp_path / "real.py").write_bytes(text.encode("latin-1"))
    (tmp_path / "link.py").symlink_to("real.py")
    code, result = checked(unmigrated, tmp_path, "--write-schema", "link.py", "--apply")
    assert (code, result["write_schema"]["applied"]) == (0, True)
    assert (tmp_path / "link.py").is_symlink()
    written = text.replace(OLD.replace("\n", "\r\n"), NEW.replace("\n", "\r\n"))
    assert (tmp_path / "real.py").read_bytes() == written.encode("latin-1")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"\xff\xfe", "app.py is no Python source"),
        (b"def", "app.py is no Python source"),
        (
            b"x = 1",
            "app.py has no CREATE TABLE of a table in the database; --source DIR names the files that make them",
        ),
        (b"x = f'CREATE TABLE Todos ({y})'", "app.py:1: this CREATE TABLE is no plain string"),
        (b"\nx = 'CREATE TABLE Todos (' + 'id)'", "app.py:2: this CREATE TABLE is no plain string"),
        (b"x = 'CREATE TABLE Todos (id'", "app.py:1: "),
        (None, "app.py cannot be read (No such file or directory); give the path of a Python source file"),
    ],
)
def test_what_cannot_be_written_is_exit_code_1_with_the_reason(
    unmigrated: Path, tmp_path: Path, source: bytes | None, message: str
) -> None:
    if source is not None:
        (tmp_path / "app.py").write_bytes(source)
    code, result = checked(unmigrated, tmp_path, "--write-schema", "app.py", "--apply")
    assert (code, result["outcome"], result["write_schema"]) == (1, "error", None)
    assert result["error"].startswith(message)
    assert source is None or (tmp_path / "app.py").read_bytes() == source


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--source", "absent"], "absent is no folder; give the folder of the application's source with --source"),
        (["--source", "empty"], "empty holds no Python source"),
        (["--sarif", "x.sarif"], "--sarif: it needs --source"),
        (["--apply"], "--apply: it needs --write-schema"),
    ],
)
def test_wrong_arguments_are_exit_code_1(unmigrated: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "empty").mkdir()
    code, result = checked(unmigrated, tmp_path, *arguments)
    assert (code, result["outcome"]) == (1, "error")
    assert result["error"].startswith(message)
    assert not (tmp_path / "x.sarif").exists()


def test_a_file_that_cannot_be_read_is_not_called_clean_unless_it_is_excluded(migrated: Path, tmp_path: Path) -> None:
    app = write(tmp_path / "app", {"app.py": "c.execute('SELECT title FROM Todos')", "vendor/old.py": "print 'old'"})
    code, result = checked(migrated, tmp_path, "--source", str(app))
    assert (code, result["outcome"], result["source"]["mismatches"], result["source"]["unread"]) == (2, "drift", 0, 1)
    (skipped,) = result["source"]["skipped"]
    assert (skipped["name"], skipped["unread"]) == ("vendor/old.py", True)
    asked = ("--database", str(migrated), "--source", str(app))
    code, stdout, _ = output_of("flows.check", tmp_path, *asked)
    assert code == 2
    assert stdout.splitlines()[0] == f"{migrated}: not all of the source could be read"
    assert ": 0 mismatches, 1 not readable\n" in stdout.replace("\n              ", " ")
    assert "could not be read: 1\n  vendor/old.py  no Python source (" in stdout
    for pattern in ("vendor", "vendor/*", "*/old.py"):
        code, result = checked(migrated, tmp_path, "--source", str(app), "--exclude", pattern)
        assert (code, result["source"]["unread"], len(result["source"]["skipped"])) == (0, 0, 1)
    code, stdout, _ = output_of("flows.check", tmp_path, *asked, "--exclude", "vendor")
    assert (code, stdout.splitlines()[0]) == (0, f"{migrated}: clean")
    assert "left out: 1\n  vendor/  excluded\n" in stdout
    code, _, stderr = output_of("flows.check", tmp_path, "--database", str(migrated), "--exclude", "vendor")
    assert code == 1 and "--exclude: it needs --source" in stderr
