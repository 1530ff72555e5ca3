"""The commands that are printed, as a shell takes them."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from migrator.commands import command, own_command


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """A virtual environment of its own, of which this program is the Python, in a folder that is the working one."""
    folder = tmp_path / "my project" / ".venv" / "bin"
    folder.mkdir(parents=True)
    for name in ("python", "python3"):
        (folder / name).symlink_to(sys.executable)
    monkeypatch.setattr("sys.executable", str(folder / "python3"))
    monkeypatch.chdir(folder.parent.parent)
    return folder


def test_the_python_of_an_environment_below_the_working_folder_is_named_from_there(environment):
    assert own_command("flows.check", "--docs", "a b") == ".venv/bin/python3 -m flows.check --docs 'a b'"


def test_elsewhere_it_is_named_whole(environment, tmp_path, monkeypatch):
    other = tmp_path / "my pro"
    other.mkdir()
    for folder in ("/", other, environment):
        monkeypatch.chdir(folder)
        assert shlex.split(own_command("flows.check")) == [str(environment / "python3"), "-m", "flows.check"]


def test_where_the_shell_finds_this_one_as_python_nothing_more_is_said(environment, monkeypatch):
    monkeypatch.setenv("PATH", f"{environment}{os.pathsep}{os.environ['PATH']}")
    assert own_command("flows.check") == "python -m flows.check"


def test_another_python_of_that_name_is_not_taken_for_it(environment, monkeypatch):
    other = environment / "python"
    other.unlink()
    other.write_text("#!/bin/sh\n")
    other.chmod(0o700)
    monkeypatch.setenv("PATH", str(environment))
    assert own_command("flows.check").startswith(".venv/bin/python3 -m ")
    monkeypatch.setenv("PATH", "/nowhere")
    assert own_command("flows.check").startswith(".venv/bin/python3 -m ")


def test_what_is_printed_runs_when_it_is_pasted(environment):
    printed = own_command("json.tool", Path("a.json"))
    Path("a.json").write_text("[1]")
    found = subprocess.run(printed, shell=True, capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["[", "1", "]"]


def test_paths_are_whole_and_words_are_quoted_where_they_must_be(environment):
    assert command("cp", Path("a.db"), "it's") == f"""cp '{environment.parent.parent}/a.db' 'it'"'"'s'"""
