"""The gates on the candidate: the application's tools, the new constraints, the latency."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar

from migrator import performance, tools
from migrator.candidate import Candidate
from migrator.findings import Finding
from migrator.performance import MEMORY_S, Performance
from migrator.probes import Probe
from migrator.tool_server import validation as server_validation
from migrator.tool_server.calls import ServerTools
from migrator.tool_server.validation import ServerValidation
from migrator.tools import Scratch, ToolFailedError, ToolResult
from tasks.cancellation import raise_if_cancelled
from tasks.record import current_report, progress
from tasks.step import step

TOOL_TIMEOUT_S = 60.0

watches_memory: ContextVar[bool] = ContextVar("watches_memory", default=True)
"""False for a database of a fleet, where the same tools on the same schema were watched on another one before."""


@step("copy for the tools")
def copy_for_tools(candidate: Candidate) -> Scratch:
    return tools.copy_for_tools(candidate, progress("copy_for_tools"))


def validate_tools(scratch: Scratch, probes: Sequence[Probe]) -> list[ToolResult]:
    """Runs every tool, also after one has failed: the report has a row for each. Then raises the first failure."""
    results: list[ToolResult] = []
    failures: list[ToolFailedError] = []
    for probe in probes:
        try:
            results.append(validate_tool(scratch, probe))
        except ToolFailedError as error:
            failures.append(error)
    if failures:
        raise failures[0]
    return results


@step("tool {probe.tool}", timeout_s=TOOL_TIMEOUT_S)
def validate_tool(scratch: Scratch, probe: Probe) -> ToolResult:
    report = current_report.get()
    try:
        result = tools.validate_tool(scratch, probe)
    except ToolFailedError as error:
        report.tools.append(error.result)
        raise
    report.tools.append(result)
    return result


@step("check constraints")
def check_constraints(scratch: Scratch) -> None:
    tools.check_constraints(scratch)


@step("check performance")
def check_performance(scratch: Scratch, probes: Sequence[Probe], results: Sequence[ToolResult]) -> Performance:
    memory_s = MEMORY_S if watches_memory.get() else 0.0
    measured = performance.check_performance(scratch, probes, results, progress("check_performance"), memory_s)
    if not watches_memory.get():
        noted = Finding("memory_not_watched", "memory was watched on the fleet's canary only")
        current_report.get().add_findings([noted])
    current_report.get().latencies = measured.latencies
    return measured


@step("validate the tool server")
def validate_tool_server(scratch: Scratch, command: str, server_tools: ServerTools) -> ServerValidation:
    moved = progress("validate_tool_server")

    def before_tool(done: int, total: int) -> None:
        raise_if_cancelled()
        moved(done, total)

    validation = server_validation.validate_tool_server(scratch, command, server_tools, before_tool)
    current_report.get().tool_server = validation
    validation.raise_failure()
    return validation
