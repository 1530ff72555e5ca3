"""What a person sees: bars on a terminal, plain lines in a pipe, and no word about a reader that went away."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipeline.programs import ROOT, output_of

pytestmark = pytest.mark.usefixtures("server")
PROGRAM = "tests.pipeline.stopping_run"
COMMAND = [sys.executable, "-m", PROGRAM, "", "--database"]


def test_a_pipe_gets_plain_lines_and_no_bars(demo: Path) -> None:
    code, stdout, stderr = output_of(PROGRAM, demo.parent, "", "--database", str(demo))
    assert code == 0
    assert stdout.startswith(f"{demo}: migrated\n")
    assert "20 passed (8 of them failed before), 0 failed, 8 skipped" in stdout
    assert "promote in" in stderr
    assert "\x1b" not in stdout + stderr
    assert "%" not in stderr


def test_a_terminal_gets_bars(demo: Path) -> None:
    ours, theirs = pty.openpty()
    child = subprocess.Popen([*COMMAND, str(demo)], cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = b""
    while True:
        try:
            seen += os.read(ours, 4096)
        except OSError:
            # Linux: the last writer has closed it.
            break
    os.close(ours)
    assert child.wait() == 0
    text = seen.decode()
    for bar in ("back up", "stage", "convert data", "rebuild table", "copy for tools", "promote"):
        assert bar in text
    assert "100%" in text
    assert "migrated" in text
    assert "INFO" not in text


@pytest.mark.parametrize("arguments", [[], ["--dry-run"], ["--dry-run", "--json"]])
def test_a_reader_that_went_away_is_no_error(demo: Path, arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    child = subprocess.run([*COMMAND, str(demo), *arguments], cwd=ROOT, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert child.returncode == 0
    assert b"Error" not in child.stderr, child.stderr
    assert b"Exception" not in child.stderr, child.stderr
