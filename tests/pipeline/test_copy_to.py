"""`--copy-to`: the run's backup gets a copy elsewhere, and a store that is away fails no migration."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from migrator.backups.off_machine import list_copies
from tests.pipeline.programs import output_of, stopping
from tests.pipeline.runs import COLUMNS_AFTER, beside, columns, run

pytestmark = pytest.mark.usefixtures("server", "quick")


def test_the_backup_of_a_run_is_copied_after_the_promotion(demo: Path) -> None:
    there = demo.with_name("nas")
    there.mkdir()
    ended = run(demo, copy_to=f"file://{there}")
    assert ended.report.outcome == "migrated"
    steps = [r.name for r in ended.task_runs()]
    assert steps[-3:] == ["verify live", f"copy the backup to file://{there}", "report the outcome"]
    assert ended.report.backup is not None
    (copy,) = list_copies(f"file://{there}", check=True)
    assert (copy.name, copy.verified) == (ended.report.backup.path.parent.name, True)
    assert "copy_failed" not in [finding.code for finding in ended.report.findings]


def test_a_store_that_is_away_fails_no_migration_and_says_how_to_copy_again(demo: Path) -> None:
    ended = run(demo, copy_to=f"file://{demo.with_name('nas')}")
    assert (ended.error, ended.report.outcome, ended.report.exit_code) == (None, "migrated", 0)
    assert columns(demo) == COLUMNS_AFTER
    (finding,) = [finding for finding in ended.report.findings if finding.code == "copy_failed"]
    assert finding.message.startswith(f"there is no directory {demo.with_name('nas')}; to copy it again: ")
    assert finding.message.endswith(
        f"python -m flows.backups --database {demo} --copy-to file://{demo.with_name('nas')}"
    )
    assert beside(demo) == ["demo.db.backups"]


def test_a_signal_during_the_copy_leaves_the_promotion_and_no_half_of_a_copy(demo: Path, server: object) -> None:
    there = demo.with_name("nas")
    there.mkdir()
    moment = "before migrator.backups.store:create_private"
    with stopping(moment, demo, "--copy-to", f"file://{there}") as program:
        program.reaches(moment)
        program.send(signal.SIGINT)
        code, report = program.ends()
    assert (code, report["outcome"]) == (0, "migrated"), program.stderr
    assert [f["message"] for f in report["findings"] if f["code"] == "disturbed"] == [
        "after the promotion came Ctrl-C; it stands"
    ]
    assert columns(demo) == COLUMNS_AFTER
    assert list_copies(f"file://{there}") == []
    assert [name for _, _, names in os.walk(there) for name in names] == []


def test_a_url_with_credentials_is_refused_before_anything_happens_and_said_nowhere(demo: Path) -> None:
    before = demo.read_bytes()
    url = "s3://AKIAIOSFODNN7EXAMPLE:wJalrXUtnFEMI@bucket/x"
    code, stdout, stderr = output_of("flows.migrate", demo.parent, "--database", str(demo), "--copy-to", url, "--json")
    assert code == 2 and "credentials come from the environment" in stdout
    assert "wJalr" not in stdout + stderr and "AKIA" not in stdout + stderr
    assert demo.read_bytes() == before
