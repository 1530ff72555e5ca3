"""docs/migrations.md as somebody follows it: its commands in their order, its example, its table of fields."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import fields, replace
from itertools import chain
from pathlib import Path

import pytest

from migrator.check.status import look
from migrator.ltmc import LTMC
from migrator.migration import Change, Migration
from tests.pipeline.programs import PATIENCE_S, ROOT
from tests.pipeline.runs import NEWEST
from tests.runs import rows, run_sql, stored
from tests.unit.ltmc_databases import at_version
from tests.unit.migrating import everything, plan_for, promote

PAGE = (ROOT / "docs" / "migrations.md").read_text(encoding="utf-8")
BLOCK = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)[0]
COMMANDS = [line.split("  #")[0] for line in BLOCK.splitlines() if not line.startswith("#")]
INDEX = "CREATE INDEX idx_codepatterns_tags ON CodePatterns(tags)"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The packages, an un-migrated copy.db of 100 rows, and a schema.sql that has one index more."""
    for name in ("flows", "tasks", "migrator"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    LTMC.make_demo(tmp_path / "copy.db", 100)
    plan = look(tmp_path / "copy.db", LTMC, 250).plan
    assert plan is not None
    statements = [*(found.sql for found in plan.after.schema.objects), INDEX]
    (tmp_path / "schema.sql").write_text(";\n".join(statements) + ";\n", encoding="utf-8")
    return tmp_path


def said(command: str, folder: Path) -> str:
    """What a command of the page prints; it has to end well."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ended = subprocess.run(
        command, shell=True, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True,
        timeout=2 * PATIENCE_S,
    )  # fmt: skip
    assert ended.returncode == 0, f"{command}\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout


@pytest.mark.usefixtures("server")
def test_each_command_does_what_its_comment_says(checkout: Path) -> None:
    database, wanted = checkout / "copy.db", NEWEST + 1
    drafts, plans, migrates, adopts = COMMANDS
    before = stored(database)
    said(drafts, checkout)
    (file,) = (checkout / "migrator" / "ltmc" / "migrations").glob(f"m{wanted:04d}_*.py")
    assert file.name == f"m{wanted:04d}_what_it_does.py" and INDEX in file.read_text()
    planned = said(plans, checkout)
    assert f"{INDEX};" in planned.splitlines() and "COMMIT;" in planned
    assert stored(database) == before
    assert f"--to {wanted:04d}" in migrates
    assert f"0000 -> {wanted:04d}" in said(migrates, checkout)
    names = [name for (name,) in rows(database, "SELECT name FROM sqlite_master WHERE type = 'table'")]
    run_sql(database, *(f"DROP TABLE {name}" for name in names if name in LTMC.own_tables))
    assert f"has the schema of {wanted:04d} already: only the ledger is written" in said(adopts, checkout)


def test_the_example_is_a_migration_that_leads_there_and_back() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    second = LTMC.migrations[1]
    (change,) = second.changes
    names = {"BEFORE": change.before, "AFTER": change.after, "BY_STATUS": second}
    exec("from migrator.migration import Back, Change, Migration\n" + example, names)
    declared = names["MIGRATION"]
    assert isinstance(declared, Migration)
    declared = replace(declared, version=2, name="status")
    connection = at_version(1)
    before = everything(connection)
    promote(connection, plan_for(connection, [declared]))
    assert everything(connection, declared.own_tables) != before
    promote(connection, plan_for(connection, [declared], reverse=True))
    assert everything(connection) == before


def test_every_field_that_can_be_declared_is_on_the_page_and_it_is_one_page() -> None:
    declared = {field.name for field in chain(fields(Change), fields(Migration))}
    told = set(re.findall(r"`(\w+)`", PAGE))
    # The file's name gives the last two, and the example shows the others.
    assert declared - told == {"table", "changes", "version", "name"}
    assert len(PAGE.splitlines()) <= 90
