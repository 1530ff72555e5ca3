"""What the command line writes never replaces a database that is somebody's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from migrator.ltmc import LTMC
from tests.pipeline.programs import output_of


@pytest.mark.parametrize(
    "name",
    ["demo.db", "link.db", "demo.db-wal", "demo.db.backups/x.json", "other.db", "other.db-wal", "empty", "folder"],
)
def test_a_report_over_a_database_or_its_files_is_refused(demo: Path, name: str) -> None:
    (demo.parent / "link.db").symlink_to(demo)
    (demo.parent / "folder").mkdir()
    (demo.parent / "empty").touch()
    LTMC.make_demo(demo.with_name("other.db"), 1)
    before = {path: path.read_bytes() for path in demo.parent.glob("*.db")}
    arguments = ("--database", "demo.db", "--report", name, "--dry-run", "--json")
    code, stdout, _ = output_of("flows.migrate", demo.parent, *arguments)
    assert (code, json.loads(stdout)["outcome"]) == (2, "refused")
    assert "would replace what is no report" in json.loads(stdout)["error"]
    assert {path: path.read_bytes() for path in demo.parent.glob("*.db")} == before
    assert not (demo.parent / "demo.db-wal").exists()


def test_a_report_beside_the_database_replaces_an_earlier_one(demo: Path) -> None:
    for outcome, options in (("planned", ["--dry-run"]), ("refused", ["--to", "9999"])):
        arguments = ("--database", "demo.db", "--report", "demo.db.json", *options)
        output_of("flows.migrate", demo.parent, *arguments)
        assert json.loads((demo.parent / "demo.db.json").read_text())["outcome"] == outcome


@pytest.mark.parametrize(
    "text", ['{"name": "app", "version": "1.0"}', '{"run_id": 1, "outcome": "x"}', "{}", "[]", '"run_id outcome steps"']
)
def test_a_report_replaces_no_other_json(demo: Path, text: str) -> None:
    (demo.parent / "package.json").write_text(text)
    arguments = ("--database", "demo.db", "--report", "package.json", "--json")
    for options in ((), ("--dry-run",)):
        code, stdout, _ = output_of("flows.migrate", demo.parent, *arguments, *options)
        assert (code, json.loads(stdout)["outcome"]) == (2, "refused")
        assert "would replace what is no report" in json.loads(stdout)["error"]
        assert (demo.parent / "package.json").read_text() == text


@pytest.mark.parametrize("how", ["a link to a database", "a link to a folder", "a database", "a backup"])
def test_a_demo_replaces_nothing_that_no_demo_made(demo: Path, how: str) -> None:
    folder = demo.parent / "demo"
    if how == "a link to a folder":
        (demo.parent / "elsewhere").mkdir()
        folder.symlink_to(demo.parent / "elsewhere")
        demo = demo.rename(demo.parent / "elsewhere" / "ltmc.db")
    elif how == "a link to a database":
        folder.mkdir()
        (folder / ".made-by-flows-migrate").touch()
        (folder / "ltmc.db").symlink_to(demo)
    elif how == "a backup":
        (folder / "ltmc.db.backups").mkdir(parents=True)
        demo = demo.rename(folder / "ltmc.db.backups" / "backup.db")
    else:
        folder.mkdir()
        demo = demo.rename(folder / "ltmc.db")
    before = demo.read_bytes()
    code, stdout, _ = output_of("flows.migrate", folder.parent, "--demo", "5", "--dry-run", "--json")
    assert (code, json.loads(stdout)["outcome"]) == (2, "refused")
    assert "was not made by a demo" in json.loads(stdout)["error"]
    assert demo.read_bytes() == before


def test_a_demo_takes_no_database(demo: Path) -> None:
    code, _, stderr = output_of("flows.migrate", demo.parent, "--demo", "--database", "demo.db")
    assert code == 2
    assert "--demo makes its own database" in stderr
