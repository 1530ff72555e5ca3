"""What befalls a run of the command line from outside: a Prefect server that dies or hangs, clocks that jump."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from flows.server import fault_of
from tests.deployments.machines import database_in
from tests.deployments.servers import (
    ROOT,
    PrefectServer,
    Program,
    await_that,
    clean_environment,
)
from tests.pipeline.runs import COLUMNS_AFTER, beside, columns

STAGE = "before migrator.candidate:stage"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """As `prefect server start` on an operator's machine."""
    server = PrefectServer(tmp_path_factory.mktemp("server"))
    try:
        server.start()
        yield server
    finally:
        server.end()


def command_line(database: Path, *arguments: str, **settings: str) -> Program:
    command = [sys.executable, "-m", "tests.deployments.pausing", "--database", str(database), "--json", *arguments]
    report = ["--report", str(database.parent / "report.json")]
    home = database.parent
    return Program([*command, *report], clean_environment(home, **settings), home / "run.log")


def ended(run: Program, database: Path) -> tuple[int, dict[str, Any]]:
    """The exit code and the report."""
    assert run.child is not None
    code = run.child.wait(120)
    return code, json.loads((database.parent / "report.json").read_text())


@contextmanager
def writing(database: Path) -> Iterator[list[str]]:
    """An application that writes all the time and waits 2 s for the write lock; yields what it was refused."""
    refused: list[str] = []
    over = threading.Event()

    def write() -> None:
        while not over.wait(0.01):
            with closing(sqlite3.connect(database, timeout=2, isolation_level=None)) as connection:
                try:
                    connection.execute("BEGIN IMMEDIATE")
                    connection.execute("ROLLBACK")
                except sqlite3.OperationalError as error:
                    refused.append(str(error))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield refused
    finally:
        over.set()
        writer.join()


@pytest.mark.full
@pytest.mark.parametrize("fate", ["hangs", "dies"])
def test_a_server_that_is_lost_in_the_middle_delays_neither_the_migration_nor_the_application(
    server: PrefectServer, tmp_path: Path, fate: str
) -> None:
    database, paused = database_in(tmp_path / "db"), tmp_path / "paused"
    # Online: between its holds of the lock it asks whether it was cancelled, and shows how far it is.
    settings = {**server.client_settings(), "PREFECT_API_REQUEST_TIMEOUT": "3", "PAUSES": STAGE, "PAUSED": str(paused)}
    run = command_line(database, "--max-lock-ms", "20", **settings)
    # One that is busy with its own start is not used.
    await_that(lambda: fault_of(server.api_url) is None, "the server answers as fast as a run asks of it")
    try:
        run.start()
        await_that(paused.exists, "the run pauses")
        server.send_to_all(signal.SIGSTOP if fate == "hangs" else signal.SIGKILL)
        with writing(database) as refused:
            paused.unlink()
            code, report = ended(run, database)
    finally:
        run.end()
        server.send_to_all(signal.SIGCONT)
    assert (code, report["outcome"], report["error"]) == (0, "migrated", None), run.said
    assert [finding["code"] for finding in report["findings"]].count("server_unreachable") == 1
    assert "the Prefect server did not record every task run; the report has them all" in run.said
    assert refused == []
    assert columns(database) == COLUMNS_AFTER
    assert beside(database) == ["ltmc.db.backups"]


HOUR_S = 3600
RUN = """
import sys
from tests.deployments.pausing import migrate
from flows.request import MigrationRequest
migrate.fn(MigrationRequest(database=sys.argv[1], to=sys.argv[2] or None, max_lock_ms=60_000))
"""


class Clock:
    """A machine's clock that is set while programs run; what counts up from the start goes on."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        (library,) = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
        self.settings = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self.set(0)

    def set(self, ahead_s: int) -> None:
        self._file.write_text(f"{ahead_s:+d}\n")


def answer(clock: Clock, database: Path, module: str, *arguments: str) -> tuple[int, Any]:
    """The exit code and the JSON of `python -m module`, by that clock."""
    ended = subprocess.run(
        [sys.executable, "-m", module, "--database", str(database), "--json", *arguments],
        cwd=ROOT,
        env=clean_environment(database.parent, **clock.settings),
        capture_output=True,
        text=True,
        timeout=60,
    )
    return ended.returncode, json.loads(ended.stdout)


@pytest.mark.system("faketime")
def test_a_clock_that_jumps_an_hour_to_and_fro_confuses_no_run_no_ledger_and_no_backup(tmp_path: Path) -> None:
    database, paused, clock = database_in(tmp_path / "db"), tmp_path / "paused", Clock(tmp_path)

    def migrated(to: str, jump_s: int) -> str:
        """Migrates, with the clock set in the middle; returns the name of the backup."""
        before = backups()
        settings = {**clock.settings, "PAUSES": STAGE, "PAUSED": str(paused)}
        run = Program(
            [sys.executable, "-c", RUN, str(database), to],
            clean_environment(tmp_path, **settings),
            tmp_path / "run.log",
        )
        try:
            run.start()
            await_that(lambda: paused.exists() or (run.child and run.child.poll() is not None), "the run pauses")
            clock.set(jump_s)
            paused.unlink()
            paused.with_name("paused.once").unlink()
            assert run.child is not None
            assert run.child.wait(60) == 0, run.said
        finally:
            run.end()
        (made,) = backups() - before
        return made

    def backups() -> set[str]:
        return {path.parent.name for path in database.parent.glob("ltmc.db.backups/*/backup.db")}

    first = migrated("", +HOUR_S)
    back = migrated("0", -HOUR_S)
    again = migrated("", 0)
    # Made third, and by its name the first.
    assert sorted([first, back, again]) == [again, first, back]

    code, found = answer(clock, database, "flows.check")
    assert (code, found["drift"]) == (0, [])
    with closing(sqlite3.connect(database)) as connection:
        history = connection.execute(
            "SELECT version, backup, reversed_at IS NULL FROM _migration_history WHERE version = 1 ORDER BY id"
        ).fetchall()
    assert [(version, Path(backup).parent.name, bool(stands)) for version, backup, stands in history] == [
        (1, first, False),
        (1, again, True),
    ]
    assert columns(database) == COLUMNS_AFTER

    code, pruned = answer(clock, database, "flows.backups", "--keep-last", "1")
    assert code == 0
    # Whatever the names say: the one from before the migration in force stays.
    assert again in backups()
    assert pruned["error"] is None
    for ahead_s in (+HOUR_S, -HOUR_S):
        clock.set(ahead_s)
        code, health = answer(clock, database, "flows.verify")
        assert (code, health["healthy"]) == (0, True), health
