"""Every command of the README, in its order, in a copy of the checkout with an empty home."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from migrator.ltmc import LTMC
from tests.pipeline.runs import NEWEST
from tests.unit.source_trees import CORRECT

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("flows", "tasks", "migrator", "deployments", "Makefile", "pyproject.toml", "constraints.txt", "prefect.yaml")
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = [block.strip().splitlines() for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)]
# This test is part of what `make test` runs.
COMMANDS = [line for block in BLOCKS for line in block if line != "make test"]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of what git has, with the installed .venv, a database where the README says, and nothing else."""
    folder = tmp_path_factory.mktemp("a newcomer") / "ltmc-migrate"
    folder.mkdir()
    for name in COPIED:
        source = ROOT / name
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, folder / name, ignore=ignored) if source.is_dir() else shutil.copy2(
            source, folder / name
        )
    (folder / ".venv").symlink_to(Path(sys.prefix))
    (folder / "path" / "to").mkdir(parents=True)
    LTMC.make_demo(folder / "path" / "to" / "ltmc.db", 50)
    shutil.copytree(CORRECT, folder / "path" / "to" / "app")
    return folder


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PREFECT_", "LTMC_", "DB_PATH", "MAKE", "MFLAGS"))
    }
    return {**kept, "HOME": str(home), "PREFECT_HOME": str(home / ".prefect"), "PREFECT_SERVER_API_PORT": port}


def _run(command, checkout, environment):
    return subprocess.run(
        command, shell=True, cwd=checkout, env=environment, capture_output=True, text=True, timeout=240
    )


def _local_commands():
    return [c for c in COMMANDS if not c.startswith("make ui") and c not in _fleet_commands()]


def _fleet_commands():
    return [c for c in COMMANDS if "flows.fleet" in c]


def test_the_readme_has_the_two_commands_and_they_are_all_tried():
    assert BLOCKS[0] == ["make migrate"]
    assert BLOCKS[1] == ["make test"]
    assert len(_local_commands()) == 12
    assert len(_fleet_commands()) == 3
    assert len(COMMANDS) == 16


def test_each_local_command_succeeds_in_the_order_of_the_readme(checkout, environment):
    backups = checkout / "path" / "to" / "ltmc.db.backups"
    said = []
    for command in _local_commands():
        if "backup.db" in command:
            first = min(backups.glob("*/backup.db"), key=lambda path: path.stat().st_mtime_ns)
            shutil.copy2(first, checkout / "path" / "to" / "backup.db")
        ended = _run(command, checkout, environment)
        assert ended.returncode == 0, f"{command}\n{ended.stdout}\n{ended.stderr}"
        said.append(ended.stdout)
    migrated_demo, migrated, planned, again, reversed_, looked, *source, restored, listed, pruned, checked = said
    assert "demo/ltmc.db: migrated" in migrated_demo
    assert f"0000 -> {NEWEST:04d}" in migrated
    assert "nothing changed" in planned
    assert "up to date" in again
    assert f"{NEWEST:04d} -> 0000" in reversed_
    assert "ltmc.db: clean, " in looked and "docs          path/to/docs/schema.md" in looked
    assert "0 mismatches" in source[0] and "makes CodePatterns" in source[1] and "as the schema has it" in source[1]
    # The reverse gave back every row, but the ledger remembers it; the backup does not.
    assert "restored from the backup" in restored
    assert "ltmc.db.backups: 3, " in listed and "saved state" in listed
    assert "ltmc.db: 0 removed, 0 copied" in pruned
    assert "demo/ltmc.db: healthy" in checked and "20 passed, 0 failed, 8 skipped" in checked


def test_the_commands_of_a_fleet_migrate_it_and_find_nothing_left(checkout, environment):
    fleet = checkout / "path" / "to" / "fleet" / "east"
    fleet.mkdir(parents=True)
    for name in ("a.db", "b.db"):
        LTMC.make_demo(fleet / name, 20)
    ended = [_run(command, checkout, environment) for command in _fleet_commands()]
    assert [said.returncode for said in ended] == [0, 0, 0], [said.stderr for said in ended]
    planned, migrated, again = (said.stdout for said in ended)
    assert "planned, nothing changed" in planned
    assert "all migrated" in migrated and "\n2 in " in migrated
    assert "all migrated" in again and " in " not in again


def test_the_sample_output_is_what_a_run_prints(checkout, environment):
    sample = re.search(r"```text\n(demo/.*?)```", README, re.DOTALL)[1]
    printed = _run("make migrate", checkout, environment).stdout
    assert [_words(line) for line in printed.splitlines()] == [_words(line) for line in sample.splitlines()]


def _words(line):
    """A line without what differs from run to run: paths above, run ids, numbers, which tool is slowest."""
    line = re.sub(r"\d{8}T\d{6}Z-[0-9a-f]{8}", "RUN", re.sub(r"/.*?demo/", "demo/", line))
    return re.sub(r"slowest tool +\w+", "slowest tool", re.sub(r"\d[\w.,]*", "N", line)).split()


def test_make_ui_serves_until_it_is_told_to_stop(checkout, environment):
    (command,) = (c for c in COMMANDS if c.startswith("make ui"))
    api = f"http://127.0.0.1:{environment['PREFECT_SERVER_API_PORT']}/api"
    with _started(command, checkout, environment) as program:
        _await(lambda: "Ctrl-C ends it." in (checkout / "make-ui.log").read_text(), program)
        assert _answers(f"{api}/health")
        program.terminate()
        program.wait(60)
    said = (checkout / "make-ui.log").read_text()
    assert f"All deployments work on {checkout / 'path' / 'to' / 'ltmc.db'}, and their schedules are on." in said
    assert "\nstopping\nstopped\n" in said
    assert not _answers(f"{api}/health")


@contextlib.contextmanager
def _started(command, checkout, environment):
    with (checkout / "make-ui.log").open("w") as log:
        # Ctrl-C is ignored in the background, and whoever starts Prefect there would have it so.
        program = subprocess.Popen(
            f"exec {command}",
            shell=True,
            cwd=checkout,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
    try:
        yield program
    finally:
        # Its children end with it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(program.pid, signal.SIGKILL)
        program.wait()


def _answers(url):
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def _await(condition, program):
    """Asks again and again; pytest's timeout bounds it."""
    while not condition():
        with contextlib.suppress(subprocess.TimeoutExpired):
            pytest.fail(f"it ended with {program.wait(0.1)} before it answered")
