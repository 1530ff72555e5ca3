"""What must be known of an application's tools to call them in its server: the counterpart of its probes."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from migrator.tool_server.server import is_reachable

Arguments = dict[str, Any]
Answer = Mapping[str, Any]
Check = Callable[[sqlite3.Connection, Arguments, Answer], None]


@dataclass(frozen=True)
class Backend:
    """A service that tools use beside SQLite, where the server looks for it: `address` is HOST:PORT.

    Every server of the application uses the same one; `disposable` says that this run may change what it holds.
    """

    name: str
    address: str
    disposable: bool = False

    @property
    def reachable(self) -> bool:
        host, _, port = self.address.rpartition(":")
        return is_reachable(host.strip("[]"), int(port))

    def __str__(self) -> str:
        return f"{self.name} at {self.address}"


@dataclass(frozen=True)
class ServerCall:
    """How one tool is called.

    `arguments(connection)` makes them from what the copy holds now; `check(connection, arguments, answer)` looks
    inside an answer that says success: it raises ProbeError, LookupError, TypeError or ValueError where that is not
    what the tool promises or not what the copy holds. Both get a connection that reads the copy.
    `also_named` is another name under which a server may list it. `backend` names what it needs beside SQLite and
    `changes_backend` says that it writes there. Of `attempts` calls one that succeeds is enough.
    """

    tool: str
    arguments: Callable[[sqlite3.Connection], Arguments]
    check: Check
    also_named: str | None = None
    backend: str | None = None
    changes_backend: bool = False
    attempts: int = 1


@dataclass(frozen=True)
class ServerTools:
    """An application's tools in its server.

    `calls` in the order in which they are made. `environment(database, folder)` names the copy to the server, and
    places for its other files in `folder`, which nobody else uses. `backends()` are the services as they are looked for
    in this run, by name.
    """

    calls: tuple[ServerCall, ...] = ()
    environment: Callable[[Path, Path], Mapping[str, str]] = lambda database, folder: {}
    backends: Callable[[], Mapping[str, Backend]] = dict
