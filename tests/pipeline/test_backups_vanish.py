"""The folder of the backups goes away while a run works in it: live is as before, and the error says what is gone."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.ending import report_to_fill
from flows.migrate import migrate
from flows.request import MigrationRequest
from migrator.errors import BackupGoneError
from migrator.journal import read_journal
from migrator.report import Report
from tests.pipeline.runs import beside, content

pytestmark = pytest.mark.usefixtures("quick")


def removed(folder: Path) -> None:
    """Somebody makes room."""
    (run,) = folder.iterdir()
    shutil.rmtree(run)


def taken_away(folder: Path) -> None:
    """What has files open there can go on with them."""
    folder.rename(folder.with_name("elsewhere"))
    folder.mkdir()


WAYS = [removed, taken_away]
STEPS = {
    "backup.create_private": "back_up",
    "backup._check_copy": "back_up",
    "backup._write_manifest": "back_up",
    "inspection.inspect": "inspect",
    "candidate.stage": "stage",
    "candidate.rebuild_table": "rebuild_table",
    "candidate.create_indexes": "create_indexes",
    "tools.copy_for_tools": "copy_for_tools",
    "tools.validate_tool": "validate_tool",
    "performance.check_performance": "check_performance",
}


def migrated_while(
    monkeypatch: pytest.MonkeyPatch, demo: Path, place: str, happens: Callable[[Path], None]
) -> tuple[Report, Exception | None]:
    """The report of a run, before whose call of `module.function` something happens to the folder of its backups."""
    module, name = place.split(".")
    function, folder = getattr(importlib.import_module(f"migrator.{module}"), name), demo.with_name("backups")
    folder.mkdir()
    waiting = [happens]

    def called(*args: Any, **kwargs: Any) -> Any:
        if waiting:
            waiting.pop()(folder)
        return function(*args, **kwargs)

    monkeypatch.setattr(f"migrator.{place}", called)
    report = Report(str(demo))
    token = report_to_fill.set(report)
    try:
        migrate.fn(MigrationRequest(database=demo, backup_dir=folder))
    except Exception as error:
        return report, error
    finally:
        report_to_fill.reset(token)
    return report, None


@pytest.mark.parametrize("happens", WAYS)
@pytest.mark.parametrize(("place", "step"), STEPS.items())
def test_the_error_names_the_folder_and_no_file_or_tool_is_blamed(
    demo: Path, monkeypatch: pytest.MonkeyPatch, place: str, step: str, happens: Callable[[Path], None]
) -> None:
    before = content(demo)
    report, error = migrated_while(monkeypatch, demo, place, happens)
    run = f"{demo.with_name('backups')}/"
    assert isinstance(error, BackupGoneError) and error.__cause__ is not None
    said = str(report.error)
    assert said.partition(run)[0] == ("" if step == "inspect" else f"{step} failed: ")
    assert " is gone, removed or with what the backups are kept on (" in said and "; live unchanged; " in said
    assert "bring back what the backups are kept on, then start again, which makes a new one" in said
    assert "the backup is" not in said and report.backup is None
    assert report.outcome == ("refused" if step == "inspect" else "restored")
    assert content(demo) == before and read_journal(demo) is None
    assert [name for name in beside(demo) if name not in ("backups", "elsewhere")] == []


@pytest.mark.parametrize("happens", WAYS)
def test_a_promotion_that_is_refused_for_it_says_nothing_of_a_backup_that_is_there(
    demo: Path, monkeypatch: pytest.MonkeyPatch, happens: Callable[[Path], None]
) -> None:
    report, _ = migrated_while(monkeypatch, demo, "promotion.promote", happens)
    said = str(report.error)
    assert "is gone, and nothing is promoted without it; live unchanged" in said and said.endswith(" is as before")
    assert said.count(" is gone") == 1 and report.backup is None


@pytest.mark.parametrize("happens", WAYS)
def test_what_was_promoted_before_stands(
    demo: Path, monkeypatch: pytest.MonkeyPatch, happens: Callable[[Path], None]
) -> None:
    report, error = migrated_while(monkeypatch, demo, "verification.verify", happens)
    assert (report.outcome, error) == ("migrated", None)
