"""Programs that start at the same moment on one database: one works, the others are refused."""

import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from flows.restore import main as restore_order
from migrator.backup import back_up
from migrator.lock import locked
from migrator.ltmc import LTMC
from migrator.preflight import preflight
from migrator.restoration import finish
from tests.runs import beside, columns, is_sound, rows, run_sql

WAITING = """
import sys
from flows import command_line, restore
# Two seconds in which the tools are called to see whether memory grows.
from migrator import performance
performance._check_memory = lambda path, probes, seconds: None
program = {"migrate": command_line, "restore": restore}[sys.argv[1]]
sys.stdout.write("ready\\n")
sys.stdout.flush()
sys.stdin.read(1)
sys.exit(program.main(sys.argv[2:]))
"""
PATIENCE_S = 60


@contextmanager
def at_the_barrier(*arguments):
    """A program of the command line that has loaded all it needs for an answer and waits for its stdin to end."""
    child = subprocess.Popen(
        [sys.executable, "-c", WAITING, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        start_new_session=True,
    )
    try:
        assert child.stdout.readline() == b"ready\n", child.stderr.read().decode()
        yield child
    finally:
        if child.poll() is None:
            os.kill(child.pid, signal.SIGKILL)
        child.communicate()


def started_together(*orders):
    """The exit code and the JSON answer of each."""
    with ExitStack() as held:
        programs = [held.enter_context(at_the_barrier(*order)) for order in orders]
        for program in programs:
            program.stdin.close()
            program.stdin = None
        ended = []
        for program in programs:
            answer, said = program.communicate(timeout=PATIENCE_S)
            assert answer, said.decode()
            ended.append((program.returncode, json.loads(answer)))
        return ended


@pytest.fixture
def demo(tmp_path):
    LTMC.make_demo(tmp_path / "demo.db", 100)
    return tmp_path / "demo.db"


def test_of_four_programs_started_at_the_same_moment_one_migrates_and_three_are_refused(demo):
    ended = started_together(*[("migrate", "--database", demo, "--json", "--max-lock-ms", "0.001")] * 4)
    assert sorted((code, answer["outcome"]) for code, answer in ended) == [(0, "migrated")] + [(2, "refused")] * 3
    for _, answer in ended:
        assert answer["outcome"] == "migrated" or "is already under way in process" in answer["error"]
    (migrated,) = (answer for code, answer in ended if code == 0)
    assert migrated["promote"]["strategy"] == "online"
    assert "execution_time_ms" in columns(demo, "CodePatterns") and is_sound(demo)
    assert beside(demo) == {"demo.db.backups", "demo.db.migration-lock"}
    assert len(list(demo.parent.glob("demo.db.backups/*/backup.db"))) == 1


@pytest.fixture
def earlier(demo):
    """A backup of the demo database, which has a row more since."""
    live = preflight(demo, LTMC)
    backup = back_up(live).path
    finish(live.database, live.directory)
    run_sql(
        demo,
        "INSERT INTO CodePatterns (input_prompt, generated_code, result, created_at) "
        "VALUES ('since', 'x', 'pass', '2026-01-01')",
    )
    return backup


def test_a_restore_and_a_migration_started_together_never_mix(demo, earlier):
    order = ("restore", "--database", demo, "--backup", earlier, "--discard-later-writes", "--json")
    restored, migrated = started_together(order, ("migrate", "--database", demo, "--json", "--max-lock-ms", "0.001"))
    since = rows(demo, "SELECT count(*) FROM CodePatterns WHERE input_prompt = 'since'")
    is_new = "execution_time_ms" in columns(demo, "CodePatterns")
    assert restored[0] in (0, 2) and migrated[0] in (0, 2)
    assert (restored[0], migrated[0]) != (2, 2)
    assert is_new == (migrated[0] == 0)
    assert since == [(0 if restored[0] == 0 else 1,)]
    assert is_sound(demo) and beside(demo) == {"demo.db.backups", "demo.db.migration-lock"}


def test_a_restore_beside_a_migration_is_refused_and_changes_nothing(demo, earlier, capsys):
    with (
        locked(demo),
        at_the_barrier(
            "restore", "--database", demo, "--backup", earlier, "--discard-later-writes", "--json"
        ) as program,
    ):
        program.stdin.close()
        program.stdin = None
        answer, _ = program.communicate(timeout=PATIENCE_S)
        assert (program.returncode, json.loads(answer)["outcome"]) == (2, "refused")
        assert f"under way in process {os.getpid()}" in json.loads(answer)["error"]
    assert rows(demo, "SELECT count(*) FROM CodePatterns WHERE input_prompt = 'since'") == [(1,)]
    assert restore_order(["--database", str(demo), "--backup", str(earlier), "--discard-later-writes", "--json"]) == 0
    assert rows(demo, "SELECT count(*) FROM CodePatterns WHERE input_prompt = 'since'") == [(0,)]
