"""A conversation with a tool server: what both ways of speaking to one have in common."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from migrator.errors import MigratorError
from migrator.tool_server.server import RunningServer

LONGEST_ANSWER_BYTES = 16 << 20
"""What is longer than this is not kept in memory, and is no answer to a call that asks for ten rows."""
_LINES_TOLD = 3


class LostServerError(MigratorError):
    """The server ended, or gave no answer in time: nothing more can be asked of it."""

    def __init__(self, fault: str, running: RunningServer) -> None:
        lines = [line for line in running.last_lines if line.strip()][-_LINES_TOLD:]
        super().__init__(f"{fault}; it said: {' | '.join(lines)}" if lines else fault)


class AnswerError(MigratorError):
    """The server answered that the call failed, or in a form that no tool answers in."""


@dataclass(frozen=True)
class ListedTool:
    """A tool as the server lists it: `schema` is the JSON schema of its arguments; `destructive` where it says so."""

    name: str
    schema: Mapping[str, Any]
    destructive: bool = False


class Session(Protocol):
    """Both methods raise AnswerError, and LostServerError at their deadline and when the server has ended."""

    def tools(self) -> tuple[ListedTool, ...]:
        """Every tool of the server."""

    def call(self, name: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """What the tool answers."""


def listed(tool: Any) -> ListedTool:
    """One entry of the result of `tools/list` (modelcontextprotocol.io/specification, server/tools)."""
    if not isinstance(tool, Mapping) or not isinstance(tool.get("name"), str):
        raise AnswerError("the server lists something that is no tool")
    schema, hints = tool.get("inputSchema"), tool.get("annotations")
    destructive = isinstance(hints, Mapping) and hints.get("destructiveHint") is True
    return ListedTool(tool["name"], schema if isinstance(schema, Mapping) else {}, destructive)


def answer_in(result: Any) -> Mapping[str, Any]:
    """The tool's own answer in the result of `tools/call`: the result itself, or what MCP wraps it in.

    Raises AnswerError where the result says that the call failed.
    """
    if not isinstance(result, Mapping):
        raise AnswerError(f"it answers with {type(result).__name__}, not with an object")
    content = result.get("content")
    if not isinstance(content, list) or not all(isinstance(part, Mapping) and "type" in part for part in content):
        return result
    text = "\n".join(str(part.get("text", "")) for part in content)
    if result.get("isError"):
        raise AnswerError(text or "an error without a text")
    answer = result.get("structuredContent")
    if not isinstance(answer, Mapping):
        try:
            answer = json.loads(text)
        except ValueError:
            answer = {"text": text}
    inner = answer.get("result") if isinstance(answer, Mapping) and len(answer) == 1 else None
    answer = inner if isinstance(inner, Mapping) else answer
    return answer if isinstance(answer, Mapping) else {"result": answer}
