"""`--tool-server`: the application's own tool server as a gate of the run."""

from __future__ import annotations

import json
import re
import shlex
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.faults.tool_servers import SERVERS, free_port, over_http, over_stdio, programs_with
from tests.pipeline.programs import PATIENCE_S, ROOT, ends_within, output_of, stopping
from tests.pipeline.runs import COLUMNS_AFTER, beside, columns, content

pytestmark = pytest.mark.usefixtures("server")

ROW_KEYS = {"name", "status", "before", "after", "p50_ms", "p95_ms", "reason", "extra"}


def migrate(database: Path, command: str, *arguments: str) -> tuple[int, dict[str, Any]]:
    with stopping("", database, "--tool-server", command, *arguments) as program:
        return program.ends()


def test_a_run_with_a_good_server_migrates_and_has_a_row_for_each_tool(demo: Path) -> None:
    command = over_stdio("", demo.with_name("mark"))
    code, report = migrate(demo, command)
    assert (code, report["outcome"], report["error"]) == (0, "migrated", None)
    section = report["tool_server"]
    assert set(section) == {"command", "rows", "stderr"}
    assert section["command"] == command
    assert len(section["rows"]) == 28
    assert all(set(row) == ROW_KEYS for row in section["rows"])
    repaired = [row["name"] for row in section["rows"] if (row["before"], row["after"]) == ("failed", "passed")]
    assert repaired == ["log_code_attempt", "get_code_patterns", "analyze_code_patterns"]
    assert section["stderr"]["after"] == ["the server of the tests starts"]
    assert "validate the tool server" in [step["name"] for step in report["steps"]]
    page = Path(report["backup"]["path"]).with_name("report.html").read_text()
    assert "<h2>Tool server</h2>" in page
    assert "the server of the tests starts" in page
    assert columns(demo) == COLUMNS_AFTER
    assert programs_with(demo.with_name("mark")) == []

    code, report = migrate(demo, over_http("", demo.with_name("mark")), "--to", "0000")
    assert (code, report["outcome"]) == (0, "migrated"), report["error"]
    broken = [row["name"] for row in report["tool_server"]["rows"] if row["after"] == "failed"]
    assert broken == repaired


def test_without_the_option_there_is_no_server_in_the_report(demo: Path) -> None:
    with stopping("", demo) as program:
        _, report = program.ends()
    assert report["tool_server"] is None
    assert "Tool server" not in Path(report["backup"]["path"]).with_name("report.html").read_text()


@pytest.mark.parametrize(("fault", "tool"), [("lie_about_todo@after", "add_todo"), ("old_positions", "list_todos")])
def test_a_tool_that_fails_in_the_server_restores(demo: Path, fault: str, tool: str) -> None:
    before = content(demo)
    code, report = migrate(demo, over_http(fault, demo.with_name("mark")))
    assert (code, report["outcome"]) == (1, "restored")
    assert report["error"].startswith(
        f"validate_tool_server failed: tool {tool} of the tool server worked before and fails on the migrated copy"
    )
    assert f"{demo} is as before" in report["error"]
    rows = {row["name"]: (row["before"], row["after"]) for row in report["tool_server"]["rows"]}
    assert (len(rows), rows[tool]) == (28, ("passed", "failed"))
    assert content(demo) == before


def test_a_server_that_opens_live_restores_and_live_is_as_it_was(demo: Path) -> None:
    before = demo.read_bytes()
    code, report = migrate(demo, over_http("open_other@after", demo))
    assert (code, report["outcome"]) == (1, "restored")
    assert f"the tool server opens the live database {demo}" in report["error"]
    assert demo.read_bytes() == before


IN_A_TOOL = "before migrator.tool_server.side:CopyUnderServer._measured#5"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("over", [over_stdio, over_http])
def test_a_run_that_is_stopped_takes_the_server_along(demo: Path, number: signal.Signals, over: Any) -> None:
    before, mark = content(demo), demo.with_name("mark")
    with stopping(IN_A_TOOL, demo, "--tool-server", over("", mark)) as program:
        program.reaches(IN_A_TOOL)
        running = [pid for pid in programs_with(mark) if pid != program.child.pid]
        # The guard and the server; the run itself has the command as one word among its arguments.
        assert len(running) == 2
        program.send(number)
        if number == signal.SIGKILL:
            assert program.child.wait() == -9
        else:
            code, report = program.ends()
            assert (code, report["outcome"]) == (1, "restored")
        assert all(ends_within(pid, PATIENCE_S) for pid in running)
    assert content(demo) == before
    if number == signal.SIGKILL:
        with stopping("", demo) as program:
            assert program.ends()[1]["outcome"] == "migrated"
        assert not list(demo.parent.glob("demo.db.backups/*/scratch"))
    assert beside(demo) == ["demo.db.backups"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("http://127.0.0.1:5050", "--tool-server: http://127.0.0.1:5050 alone starts no server"),
        ("http://example.org:5050 python s.py", "no address of a server on this machine"),
        ("no-such-program --fast", "there is no program 'no-such-program'"),
        ("", "--tool-server: nothing alone starts no server"),
    ],
)
def test_what_is_no_server_of_the_run_is_refused_before_anything_is_done(
    demo: Path, command: str, message: str
) -> None:
    before = demo.read_bytes()
    code, stdout, stderr = output_of("flows.migrate", demo.parent, "--database", str(demo), "--tool-server", command)
    assert (code, stdout) == (2, "")
    assert message in stderr
    assert stderr.count("\n") == 1
    assert (demo.read_bytes(), beside(demo)) == (before, [])


def test_the_command_of_the_readme_validates_with_a_server(demo: Path) -> None:
    found = re.findall(r"^ {4}(.*--tool-server.*)$", (ROOT / "README.md").read_text(), re.MULTILINE)
    port = str(free_port())
    ours = {
        "python path/to/ltmc_mcp_server.py": f"{sys.executable} {SERVERS / 'stdio_server.py'}",
        "env -C path/to/app": f"env -C {SERVERS}",
        "HTTP_PORT=5051 python -m ltms.mcp_server_http": f"{sys.executable} -m http_server {port}",
        "127.0.0.1:5051": f"127.0.0.1:{port}",
        "path/to/ltmc.db": str(demo),
    }
    for text, back in zip(found, ((), ("--to", "0000")), strict=True):
        for theirs, own in ours.items():
            text = text.replace(theirs, own)
        program, *arguments = shlex.split(text)
        assert (program, arguments[:2]) == (".venv/bin/python", ["-m", "flows.migrate"])
        code, stdout, stderr = output_of("flows.migrate", demo.parent, *arguments[2:], *back, "--json")
        assert (code, len(json.loads(stdout)["tool_server"]["rows"])) == (0, 28), stderr
