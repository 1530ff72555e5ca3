"""Runs in the tool server, before its own code: keeps its Python out of every database but the copy.

`migrator.tool_server.watch` puts this file's folder on PYTHONPATH and says in MIGRATOR_WATCH, as JSON, what holds:
`folder` (where databases may be opened), `cache` (where they are only noted), `live` (device and inode),
`log` (what was noted).
Imports only the standard library, because the server's Python is another one. A sitecustomize of the server's own
runs as it would without this one.
"""

from __future__ import annotations

import json
import os
import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from typing import Any
from urllib.parse import unquote

IN_MEMORY = ("", ":memory:")


def watch(folder: str, cache: str, live: list[int], log: str) -> None:
    """Afterwards sqlite3.connect raises PermissionError outside `folder` and `cache`, and so does open on live."""

    def note(path: str, place: str) -> None:
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(descriptor, (json.dumps({"path": path, "place": place}) + "\n").encode())
        os.close(descriptor)
        if place != "cache":
            raise PermissionError(f"{path} is not the copy that this run is about")

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        # docs.python.org/3/library/audit_events.html
        if event == "sqlite3.connect":
            path = database_of(arguments[0])
            if path is None or is_below(path, folder):
                return
            note(path, "live" if is_file(path, live) else "cache" if is_below(path, cache) else "elsewhere")
        elif event == "open" and is_file(arguments[0], live):
            note(os.path.realpath(arguments[0]), "live")

    sys.addaudithook(hook)


def database_of(given: Any) -> str | None:
    """The real path of what sqlite3.connect was given (sqlite.org/uri.html); None for a database in memory."""
    name = os.fsdecode(given)
    if name.startswith("file:"):
        name, _, query = name[5:].partition("#")[0].partition("?")
        if "mode=memory" in query.split("&"):
            return None
        if name.startswith("//"):
            name = "/" + name[2:].partition("/")[2]
        name = unquote(name)
    return None if name in IN_MEMORY else os.path.realpath(name)


def is_below(path: str, folder: str) -> bool:
    """Whether the real path lies in the real folder."""
    return path.startswith(folder.rstrip(os.sep) + os.sep)


def is_file(path: Any, identity: list[int]) -> bool:
    """Whether the path, or the descriptor, is the file of that device and inode, by whatever name."""
    try:
        found = os.stat(path)
    except (OSError, TypeError, ValueError):
        return False
    return [found.st_dev, found.st_ino] == identity


def run_hidden() -> None:
    """Runs the sitecustomize that this one hides."""
    own = os.path.dirname(os.path.abspath(__file__))
    spec = PathFinder.find_spec("sitecustomize", [path for path in sys.path if os.path.abspath(path) != own])
    if spec is not None and spec.loader is not None:
        module = sys.modules["sitecustomize"] = module_from_spec(spec)
        spec.loader.exec_module(module)


if __name__ == "sitecustomize":
    if "MIGRATOR_WATCH" in os.environ:
        watch(**json.loads(os.environ["MIGRATOR_WATCH"]))
    run_hidden()
