"""Whatever step fails: the database is old or new, one restore is recorded, and the first error is the run's."""

from __future__ import annotations

import contextlib
import shlex
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from migrator import journal, restoration, verification
from migrator.errors import MigratorError, RefusedError, RestoreError, VerificationError
from migrator.ltmc import LTMC
from tasks import report as reports
from tests.pipeline.runs import COLUMNS_AFTER, beside, columns, content, run
from tests.runs import with_probes

pytestmark = pytest.mark.usefixtures("server", "quick")


class BrokenError(Exception):
    """What a test makes a step raise."""


def broken(monkeypatch: pytest.MonkeyPatch, place: str, error: BaseException) -> None:
    """Makes `module.function` of the migrator raise `error`."""

    def fails(*args: Any, **kwargs: Any) -> Any:
        raise error

    monkeypatch.setattr(f"migrator.{place}", fails)


@pytest.mark.parametrize(
    ("place", "error"),
    [
        ("preflight.preflight", BrokenError("a bug in preflight")),
        ("preflight.preflight", RefusedError("it does not fit")),
        ("backup.back_up", RefusedError("a page is damaged")),
        ("inspection.inspect", BrokenError("a bug in inspect")),
        ("inspection.inspect", RefusedError("a value does not fit")),
    ],
)
def test_before_the_rehearsal_a_failure_refuses_and_leaves_nothing(
    demo: Path, monkeypatch: pytest.MonkeyPatch, place: str, error: Exception
) -> None:
    before = demo.read_bytes()
    broken(monkeypatch, place, error)
    ended = run(demo)
    assert ended.error is error
    assert (ended.report.outcome, ended.report.exit_code) == ("refused", 2)
    assert str(error) in str(ended.report.error)
    assert ended.report.backup is None
    assert ended.task_runs("restore") == []
    assert ended.flow_run.state_name == "Failed"
    assert beside(demo) == []
    assert demo.read_bytes() == before


@pytest.mark.parametrize(
    ("place", "step"),
    [
        ("backup.back_up", "back_up"),
        ("backup.sha256_of", "back_up"),
        ("candidate.stage", "stage"),
        ("candidate.add_column", "add_column"),
        ("candidate.convert_data", "convert_data"),
        ("candidate.rebuild_table", "rebuild_table"),
        ("candidate.create_indexes", "create_indexes"),
        ("tools.copy_for_tools", "copy_for_tools"),
        ("tools.validate_tool", "validate_tool"),
        ("tools.check_constraints", "check_constraints"),
        ("performance.check_performance", "check_performance"),
        ("files.write_private", "report"),
        ("promotion.promote", "promote"),
        ("one_transaction.check_unchanged", "promote"),
        ("one_transaction._commit", "promote"),
    ],
)
def test_a_step_that_fails_before_the_commit_restores_once(
    demo: Path, monkeypatch: pytest.MonkeyPatch, place: str, step: str
) -> None:
    before = content(demo)
    error = BrokenError(f"a bug in {place}")
    if step == "report":
        monkeypatch.setattr("migrator.report.Report.write", lambda report, directory: _raise_once(report, error))
    else:
        broken(monkeypatch, place, error)
    ended = run(demo)
    assert ended.error is error
    assert (ended.report.outcome, ended.report.exit_code) == ("restored", 1)
    assert f"{step} failed: BrokenError: a bug in {place}" in str(ended.report.error)
    assert f"{demo} is as before" in str(ended.report.error)
    assert [(r.name, r.state_name, r.run_count) for r in ended.task_runs("restore")] == [
        ("restore (BrokenError)", "Completed", 1)
    ]
    assert [r.name for r in ended.task_runs() if r.state_name == "Failed" and r.run_count != 1] == []
    assert ended.flow_run.state_name == "Failed"
    assert content(demo) == before
    assert not journal.journal_path(demo).exists()


def _raise_once(report: Any, error: Exception) -> None:
    if report.outcome is None:
        raise error


def test_one_tool_that_fails_does_not_keep_the_others_from_running(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(connection: sqlite3.Connection) -> Any:
        if "tags" in {row[1] for row in connection.execute("PRAGMA table_info(CodePatterns)")}:
            raise LookupError("the tool got no row")
        return ()

    with_a_bug = with_probes(LTMC, lambda p: replace(p, call=fails) if p.tool == "list_todos" else p)
    monkeypatch.setattr("flows.migrate.LTMC", with_a_bug)
    ended = run(demo)
    assert ended.report.outcome == "restored"
    assert "tool list_todos worked before and fails on the migrated copy" in str(ended.report.error)
    assert len(ended.task_runs("tool ")) == 28
    assert [r.name for r in ended.task_runs("tool ") if r.state_name == "Failed"] == ["tool list_todos"]
    assert [t.name for t in ended.report.tools] == [p.tool for p in LTMC.probes]
    assert [t.name for t in ended.report.tools if t.status == "failed"] == ["list_todos"]


def write_a_pattern(database: Path) -> None:
    """What the application does with the new schema."""
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(
            "INSERT INTO CodePatterns (input_prompt, generated_code, result, created_at, execution_time_ms) "
            "VALUES ('written since', 'x', 'pass', 't', 1500)"
        )


def test_a_failed_look_at_live_reverses_and_keeps_what_was_written_since(
    demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fingerprint, before = content(demo)
    error = VerificationError("an index is missing")

    def verify_live(promoted: Any) -> Any:
        write_a_pattern(demo)
        raise error

    monkeypatch.setattr(verification, "verify_live", verify_live)
    ended = run(demo)
    assert ended.error is error
    assert (ended.report.outcome, ended.report.exit_code) == ("restored", 1)
    assert [(r.name, r.state_name) for r in ended.task_runs("restore")] == [
        ("restore (VerificationError)", "Completed")
    ]
    after_fingerprint, after = content(demo)
    assert after_fingerprint == fingerprint
    assert "tags" not in columns(demo)
    rows = after["CodePatterns"]
    assert rows[:-1] == before["CodePatterns"]
    assert rows[-1][2:7] == (b"written since", b"x", b"pass", None, 1.5)


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), MemoryError(), sqlite3.OperationalError("I/O")])
def test_a_look_at_live_that_could_not_be_made_is_made_again(
    demo: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    if isinstance(error, sqlite3.Error):
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_READ
    broken(monkeypatch, "verification.verify_live", error)
    ended = run(demo)
    assert (ended.error, ended.report.outcome) == (None, "migrated")
    assert [f.code for f in ended.report.findings if f.code in ("disturbed", "checks_left")] == ["disturbed"]
    assert ended.task_runs("restore") == []
    assert columns(demo) == COLUMNS_AFTER
    assert beside(demo) == ["demo.db.backups"]


def test_an_interrupted_look_at_a_live_that_is_not_sound_reverses(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fingerprint, _ = content(demo)

    def verify_live(promoted: Any) -> Any:
        with contextlib.closing(sqlite3.connect(demo)) as connection:
            connection.execute("DROP INDEX idx_codepatterns_result")
        raise KeyboardInterrupt

    monkeypatch.setattr(verification, "verify_live", verify_live)
    ended = run(demo)
    assert isinstance(ended.error, KeyboardInterrupt)
    assert (ended.report.outcome, ended.report.exit_code) == ("restored", 1)
    assert len(ended.task_runs("restore")) == 1
    assert content(demo)[0] == fingerprint


def test_a_run_that_the_ledger_lost_after_the_commit_is_not_called_restored(
    demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verify = verification.verify_live

    def verify_live(promoted: Any) -> Any:
        with contextlib.closing(sqlite3.connect(demo, isolation_level=None)) as connection:
            connection.execute("DROP TABLE _sqlite_migrations")
            connection.execute("DROP TABLE _migration_history")
        return verify(promoted)

    monkeypatch.setattr(verification, "verify_live", verify_live)
    ended = run(demo)
    assert (ended.report.outcome, ended.report.exit_code) == ("restore_failed", 3)
    assert "holds what was promoted, and its ledger does not know the run" in str(ended.report.error)
    assert columns(demo) == COLUMNS_AFTER


@pytest.mark.parametrize("place", ["the report", "the clean-up"])
def test_after_the_commit_a_failure_is_a_finding(demo: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    if place == "the report":
        write = reports.Report.write

        def write_outcome(report: Any, directory: Path) -> None:
            if report.outcome is not None:
                raise OSError(28, "No space left on device")
            write(report, directory)

        monkeypatch.setattr(reports.Report, "write", write_outcome)
    else:
        broken(monkeypatch, "restoration.finish", OSError(13, "Permission denied"))
    ended = run(demo)
    monkeypatch.undo()
    assert ended.error is None
    assert (ended.report.outcome, ended.report.exit_code, ended.report.error) == ("migrated", 0, None)
    code = "report_failed" if place == "the report" else "clean_up_failed"
    assert [f.code for f in ended.report.findings if f.code.endswith("_failed")] == [code]
    assert columns(demo) == COLUMNS_AFTER
    assert ended.task_runs("restore") == []
    assert run(demo).report.outcome == "up_to_date"


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), MigratorError("bug"), BrokenError("bug")])
def test_an_error_of_any_kind_after_the_commit_leaves_the_migration(
    demo: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    broken(monkeypatch, "restoration.finish", error)
    ended = run(demo)
    assert (ended.report.outcome, ended.report.exit_code) == ("migrated", 0)
    assert columns(demo) == COLUMNS_AFTER


@pytest.mark.parametrize("error", [KeyboardInterrupt(), sqlite3.OperationalError("database is locked")])
def test_a_lock_on_live_after_the_commit_reverses_nothing(
    demo: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    monkeypatch.setattr("tasks.step.LOCK_RETRY_DELAYS_S", [0, 0, 0])
    error.sqlite_errorcode = sqlite3.SQLITE_BUSY  # type: ignore[attr-defined]
    locked = sqlite3.OperationalError("database is locked")
    locked.sqlite_errorcode = sqlite3.SQLITE_BUSY
    broken(monkeypatch, "verification.verify_live", error)
    broken(monkeypatch, "verification.verify", locked)
    ended = run(demo)
    monkeypatch.undo()
    assert (ended.error, ended.report.outcome, ended.report.exit_code) == (None, "migrated", 0)
    assert [f.code for f in ended.report.findings if f.code == "checks_left"] == ["checks_left"]
    assert ended.task_runs("restore") == []
    assert columns(demo) == COLUMNS_AFTER
    assert journal.read_journal(demo) is not None
    again = run(demo)
    assert again.report.outcome == "up_to_date"
    assert [r.name for r in again.task_runs("recover")] == [f"recover {demo}"]
    assert journal.read_journal(demo) is None


def test_a_clean_up_that_fails_masks_no_refusal(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error = RefusedError("a value does not fit")
    broken(monkeypatch, "inspection.inspect", error)
    broken(monkeypatch, "restoration.discard", OSError(30, "Read-only file system"))
    ended = run(demo)
    assert ended.error is error
    assert (ended.report.outcome, ended.report.exit_code) == ("refused", 2)
    assert ended.report.error == "a value does not fit"
    assert [f.code for f in ended.report.findings] == ["clean_up_failed"]


def test_a_failed_restore_carries_both_errors_and_the_next_start_recovers(
    demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo = demo.rename(demo.with_name("it's a demo.db"))
    before = content(demo)
    first, second = BrokenError("the first error"), BrokenError("the second error")
    with monkeypatch.context() as patched:
        broken(patched, "candidate.rebuild_table", first)
        broken(patched, "restoration.restore", second)
        ended = run(demo)
    assert isinstance(ended.error, RestoreError)
    assert ended.error.__cause__ is first
    assert (ended.report.outcome, ended.report.exit_code) == ("restore_failed", 3)
    assert "rebuild_table failed: BrokenError: the first error" in str(ended.report.error)
    assert "the restore failed: BrokenError: the second error" in str(ended.report.error)
    assert ended.report.backup is not None
    way_out = str(ended.report.error).partition("; start the migration again, which finishes or restores; ")[2]
    order = way_out.removeprefix("or, to go back to the backup: ")
    paths = ["--database", str(demo), "--backup", str(ended.report.backup.path)]
    assert shlex.split(order) == ["python", "-m", "flows.restore", *paths, "--discard-later-writes"]
    assert [(r.state_name, r.run_count) for r in ended.task_runs("restore")] == [("Failed", 1)]
    assert ended.flow_run.state_name == "Failed"
    assert journal.journal_path(demo).exists()
    assert content(demo) == before

    again = run(demo)
    assert (again.report.outcome, again.error) == ("migrated", None)
    assert [(r.name, r.state_name) for r in again.task_runs("recover")] == [(f"recover {demo}", "Completed")]
    assert beside(demo) == [f"{demo.name}.backups"]


def test_a_failed_restore_without_a_backup_names_no_command_that_needs_one(
    demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(monkeypatch, "backup._copy", BrokenError("the first error"))
    broken(monkeypatch, "restoration.restore", BrokenError("the second error"))
    ended = run(demo)
    assert ended.report.outcome == "restore_failed"
    said = "no backup was finished; start the migration again, which finishes or restores"
    assert str(ended.report.error).endswith(said)


def test_a_second_restore_changes_nothing(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content(demo)
    broken(monkeypatch, "candidate.rebuild_table", BrokenError("once"))
    ended = run(demo)
    assert ended.report.directory is not None
    restoration.restore(demo, LTMC, ended.report.run_id, ended.report.directory)
    assert content(demo) == before


def test_a_journal_that_no_run_made_refuses(demo: Path) -> None:
    journal.journal_path(demo).write_text("{}")
    ended = run(demo)
    assert isinstance(ended.error, RefusedError)
    assert (ended.report.outcome, ended.report.exit_code) == ("refused", 2)
