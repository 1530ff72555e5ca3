"""Every command of the README, in its order, in a copy of the checkout with an empty home."""

import contextlib
import json
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
    return [c for c in COMMANDS if "prefect" not in c]


def test_the_readme_has_the_two_commands_and_they_are_all_tried():
    assert BLOCKS[0] == ["make migrate"]
    assert BLOCKS[1] == ["make test"]
    assert len(_local_commands()) == 10
    assert len(COMMANDS) == 15


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
    migrated_demo, migrated, planned, again, reversed_, looked, restored, listed, pruned, checked = said
    assert "demo/ltmc.db: migrated" in migrated_demo
    assert f"0000 -> {NEWEST:04d}" in migrated
    assert "nothing changed" in planned
    assert "up to date" in again
    assert f"{NEWEST:04d} -> 0000" in reversed_
    assert "ltmc.db: clean, " in looked and "docs          path/to/docs/schema.md" in looked
    # The reverse gave back every row, but the ledger remembers it; the backup does not.
    assert "restored from the backup" in restored
    assert "ltmc.db.backups: 3, " in listed and "saved state" in listed
    assert "ltmc.db: 0 removed, 0 copied" in pruned
    assert "demo/ltmc.db: healthy" in checked and "20 passed, 0 failed, 8 skipped" in checked


def test_the_sample_output_is_what_a_run_prints(checkout, environment):
    sample = re.search(r"```text\n(demo/.*?)```", README, re.DOTALL)[1]
    printed = _run("make migrate", checkout, environment).stdout
    assert [_words(line) for line in printed.splitlines()] == [_words(line) for line in sample.splitlines()]


def _words(line):
    """A line without what differs from run to run: paths above, run ids, numbers, which tool is slowest."""
    line = re.sub(r"\d{8}T\d{6}Z-[0-9a-f]{8}", "RUN", re.sub(r"/.*?demo/", "demo/", line))
    return re.sub(r"slowest tool +\w+", "slowest tool", re.sub(r"\d[\w.,]*", "N", line)).split()


def test_the_prefect_commands_migrate_a_database_on_a_worker(checkout, environment):
    database = checkout / "scheduled.db"
    LTMC.make_demo(database, 20)
    api = f"http://127.0.0.1:{environment['PREFECT_SERVER_API_PORT']}/api"
    environment = {**environment, "PREFECT_API_URL": api}
    server, pool, deploy, worker, run = (c for c in COMMANDS if "prefect" in c)
    running = []
    try:
        running.append(_start(server, checkout, environment))
        _await(lambda: _answers(f"{api}/health"), running)
        for command in (pool, deploy):
            ended = _run(command + " </dev/null", checkout, environment)
            assert ended.returncode == 0, f"{command}\n{ended.stdout}\n{ended.stderr}"
        running.append(_start(worker, checkout, environment))
        ended = _run(f"{run} --watch".replace("/path/to/ltmc.db", str(database)), checkout, environment)
        assert ended.returncode == 0, f"{run}\n{ended.stdout}\n{ended.stderr}"
        checked = _run(".venv/bin/python -m flows.migrate --json --database scheduled.db", checkout, environment)
        assert json.loads(checked.stdout)["outcome"] == "up_to_date"
    finally:
        _end(reversed(running))


def _start(command, checkout, environment):
    log = (checkout / f"{command.split()[3]}.log").open("w")
    return subprocess.Popen(
        f"exec {command}",
        shell=True,
        cwd=checkout,
        env=environment,
        stdout=log,
        stderr=log,
        # Ctrl-C is ignored in the background, and there Prefect's worker would end on no SIGTERM either.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def _end(programs):
    """Politely, then for good: a program that stays would hold its port and its database."""
    for program in programs:
        program.terminate()
        try:
            program.wait(30)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()


def _answers(url):
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def _await(condition, programs):
    """Asks again and again; pytest's timeout bounds it."""
    while not condition():
        for program in programs:
            with contextlib.suppress(subprocess.TimeoutExpired):
                pytest.fail(f"it ended with {program.wait(0.1)} before it answered")
