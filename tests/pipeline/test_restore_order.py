"""`flows.restore`: an operator's order, carried out without Prefect."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import flows.restore
from flows.migrate import migrate
from flows.request import MigrationRequest, RestoreRequest
from migrator import connect
from migrator.journal import Journal, journal_path, write_journal
from migrator.lock import locked
from tests.pipeline.programs import ROOT, started
from tests.pipeline.runs import COLUMNS_AFTER, columns, content

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def backup(demo: Path) -> Path:
    """The backup of the migration that `demo` has had."""
    report = migrate.fn(MigrationRequest(database=demo))
    return Path(report["backup"]["path"])


def restore(database: Path, backup: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-m", "flows.restore", "--database", str(database), "--backup", str(backup), "--json"]
    ended = subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert ended.stderr == ""
    return ended.returncode, json.loads(ended.stdout)


def test_an_order_that_would_discard_later_writes_is_refused(demo: Path, backup: Path) -> None:
    before = demo.read_bytes()
    code, result = restore(demo, backup)
    assert (code, result["outcome"], result["present"]) == (2, "refused", None)
    assert (
        "differs from the backup in the schema, BlueprintCodeLinks, ChatHistory, ChatHistory_legacy, CodePatterns,"
        in result["error"]
    )
    assert f"; python -m flows.migrate --database {demo} --to 0000 goes back and keeps every row" in result["error"]
    assert "--discard-later-writes" in result["error"]
    assert demo.read_bytes() == before


def test_discarding_later_writes_saves_the_present_state_first(demo: Path, backup: Path) -> None:
    migrated = content(demo)
    killed = backup.parent.with_name("20250101T000000Z-abc")
    (killed / "scratch").mkdir(parents=True)
    write_journal(demo, Journal("abc", str(killed)))
    code, result = restore(demo, backup, "--discard-later-writes")
    assert (code, result["outcome"], result["error"]) == (0, "restored", None)
    assert content(demo) == content(backup)
    assert "tags" not in columns(demo)
    assert content(Path(result["present"])) == migrated
    assert not journal_path(demo).exists()
    assert not (killed / "scratch").exists()

    code, result = restore(demo, backup)
    assert (code, result["outcome"], result["present"]) == (0, "same", None)
    # And forward again from there.
    assert migrate.fn(MigrationRequest(database=demo))["outcome"] == "migrated"
    assert columns(demo) == COLUMNS_AFTER


def test_a_damaged_database_is_replaced_and_its_bytes_are_kept(demo: Path, backup: Path) -> None:
    with demo.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 8192)
    damaged = demo.read_bytes()
    code, result = restore(demo, backup)
    assert (code, result["outcome"]) == (2, "refused")
    code, result = restore(demo, backup, "--discard-later-writes")
    assert (code, result["outcome"]) == (0, "restored"), result
    assert content(demo) == content(backup)
    assert len(Path(result["present"]).read_bytes()) == len(damaged)


@pytest.mark.parametrize(
    "damage", ["a flipped byte", "no manifest and damaged", "a broken manifest", "missing", "folder"]
)
def test_a_backup_that_is_not_sound_is_refused(demo: Path, backup: Path, damage: str) -> None:
    before = demo.read_bytes()
    if damage in ("a flipped byte", "no manifest and damaged"):
        with backup.open("r+b") as file:
            file.seek(5000)
            file.write(b"\xff" * 5000)
    if damage == "no manifest and damaged":
        backup.with_name("manifest.json").unlink()
    if damage == "a broken manifest":
        backup.with_name("manifest.json").write_text("{")
    chosen = {"missing": backup.with_name("none.db"), "folder": backup.parent}.get(damage, backup)
    code, result = restore(demo, chosen, "--discard-later-writes")
    assert (code, result["outcome"], result["present"]) == (2, "refused", None)
    assert demo.read_bytes() == before


def test_an_order_beside_a_journal_that_no_run_wrote_is_refused(demo: Path, backup: Path) -> None:
    journal_path(demo).touch()
    before = demo.read_bytes()
    code, result = restore(demo, backup, "--discard-later-writes")
    assert (code, result["outcome"]) == (2, "refused")
    assert "is not the journal of a run" in result["error"]
    assert demo.read_bytes() == before


@pytest.mark.parametrize("program", ["flows.migrate", "flows.restore"])
def test_a_wrong_argument_is_answered_in_json_where_json_was_asked_for(program: str) -> None:
    command = [sys.executable, "-m", program, "--json", "--no-such-option"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    result = json.loads(ended.stdout)
    assert (ended.returncode, result["outcome"]) == (2, "refused")
    assert f"see python -m {program} --help" in result["error"]


def test_an_order_during_a_run_is_refused(demo: Path, backup: Path) -> None:
    with locked(demo):
        code, result = restore(demo, backup, "--discard-later-writes")
    assert (code, result["outcome"]) == (2, "refused")
    assert "is already under way" in result["error"]


def test_an_order_for_a_missing_database_is_refused_and_makes_nothing(backup: Path, tmp_path: Path) -> None:
    there = sorted(tmp_path.iterdir())
    code, result = restore(tmp_path / "none.db", backup)
    assert (code, result["outcome"]) == (2, "refused")
    assert "no database at" in result["error"]
    assert sorted(tmp_path.iterdir()) == there


def test_a_database_that_stays_locked_is_no_failed_restore(
    demo: Path, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_journal(demo, Journal("abc", "20250101T000000Z-abc"))
    monkeypatch.setitem(connect.opened.__wrapped__.__kwdefaults__, "timeout_s", 0.05)  # type: ignore[attr-defined]
    with closing(sqlite3.connect(demo, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        result = flows.restore.restore(RestoreRequest(database=demo, backup=backup, discard_later_writes=True))
    assert result["outcome"] == "refused"
    assert "nothing was changed; try again" in str(result["error"])
    assert journal_path(demo).exists()


def test_an_order_that_fails_says_what_to_do_by_hand(demo: Path, backup: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*paths: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("migrator.return_to_backup.copy_back", full)
    result = flows.restore.restore(RestoreRequest(database=demo, backup=backup, discard_later_writes=True))
    assert result["outcome"] == "restore_failed"
    assert f"stop the application, then: sqlite3 {demo} '.restore \"{backup}\"'" in str(result["error"])
    assert flows.restore._EXIT_CODES["restore_failed"] == 3


def ordering(moments: str, database: Path, backup: Path) -> Any:
    """An order that stops at `moments`."""
    arguments = [moments, "--database", str(database), "--backup", str(backup), "--discard-later-writes", "--json"]
    return started(arguments, database.parent, "tests.pipeline.stopping_order")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
@pytest.mark.parametrize(
    "moment",
    [
        "before migrator.return_to_backup:_differing",
        "before migrator.pages:copy_database",
        "during migrator.pages:copy_database",
        "before migrator.pages:sync_file",
    ],
)
def test_a_signal_before_the_database_is_changed_refuses_and_leaves_nothing(
    demo: Path, backup: Path, moment: str, name: str
) -> None:
    before, folders = demo.read_bytes(), sorted(backup.parents[1].iterdir())
    with ordering(moment, demo, backup) as program:
        program.reaches(moment)
        program.send(getattr(signal, name))
        code, result = program.ends()
    assert (code, result["outcome"], result["present"]) == (2, "refused", None), program.stderr
    assert (result["database"], result["error"]) == (str(demo), "interrupted before anything was changed")
    assert program.stderr == ""
    assert demo.read_bytes() == before
    assert sorted(backup.parents[1].iterdir()) == folders
    assert restore(demo, backup, "--discard-later-writes")[1]["outcome"] == "restored"


@pytest.mark.parametrize("function", ["migrator.pages:sync_directory", "migrator.return_to_backup:_forget_run"])
def test_signals_while_the_database_is_changed_are_only_noted(demo: Path, backup: Path, function: str) -> None:
    migrated = content(demo)
    with ordering(f"noting {function}", demo, backup) as program:
        for name in ("SIGTERM", "SIGINT"):
            program.reaches(f"ready for {name}")
            program.send(getattr(signal, name))
        code, result = program.ends()
    assert (code, result["outcome"], result["error"]) == (0, "restored", None), program.stderr
    assert program.stderr == "".join(
        f"{name} waits: the database is being restored\n" for name in ("SIGTERM", "SIGINT")
    )
    assert content(demo) == content(backup)
    assert content(Path(result["present"])) == migrated


def test_an_order_is_carried_out_without_prefect(demo: Path, backup: Path) -> None:
    code = "import flows.restore, sys; flows.restore.main(sys.argv[1:]); print('prefect' in sys.modules)"
    arguments = ["--database", str(demo), "--backup", str(backup), "--discard-later-writes"]
    ended = subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert ended.stdout.startswith(f"{demo}: restored from the backup\n"), ended.stderr
    assert ended.stdout.endswith("\nFalse\n")


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_full_stdout_changes_neither_the_restore_nor_its_exit_code(demo: Path, backup: Path, form: list[str]) -> None:
    command = [sys.executable, "-m", "flows.restore", "--database", str(demo), "--backup", str(backup), *form]
    # Without a buffer nothing is left that fails at the program's end.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with open("/dev/full", "w") as full:
        refused = subprocess.run(command, cwd=ROOT, env=environment, stdout=full, stderr=full)
        command.append("--discard-later-writes")
        done = subprocess.run(command, cwd=ROOT, env=environment, stdout=full, stderr=subprocess.PIPE, text=True)
        again = subprocess.run(command, cwd=ROOT, env=environment, stdout=full, stderr=full)
    assert (refused.returncode, done.returncode, again.returncode) == (2, 0, 0)
    assert done.stderr.startswith(f"{demo}: restored from the backup\nwhat it held before is in ")
    assert done.stderr.endswith("stdout took no report of it ([Errno 28] No space left on device)\n")
    assert content(demo) == content(backup)


def test_a_signal_before_the_order_is_understood_refuses_it(demo: Path, backup: Path) -> None:
    with ordering("before flows.restore:parse", demo, backup) as program:
        program.reaches("before flows.restore:parse")
        program.send(signal.SIGTERM)
        code, result = program.ends()
    assert (code, result["outcome"], result["error"]) == (2, "refused", "interrupted before anything was changed")
