"""Which databases the tool server has open: only the copy that it was given may be among them.

Two looks. A server in Python is kept out of others by an audit hook before it opens them (`in_the_server`). Whatever
it is written in, its open files are listed a hundred times a second (/proc, Linux only): that finds what is kept open,
and by chance what is opened for a moment.

A database in the cache folder is a finding and not a fault: what lies there is non-essential by definition
(specifications.freedesktop.org/basedir-spec), packages keep SQLite files there, and no tool passes because of it: what
a tool claims to have written is looked for in the copy. Live is a fault wherever it is.
"""

from __future__ import annotations

import json
import os
import stat
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from migrator.errors import ValidationError
from migrator.findings import Finding
from migrator.tool_server.programs import opened_by, programs_of
from migrator.tool_server.server import RunningServer

_IN_THE_SERVER = Path(__file__).with_name("in_the_server")
_EVERY_S, _ROUNDS_PER_GROUP = 0.01, 10
"""Listing a program's open files takes 0.1 ms; finding the programs of a group among all others takes longer."""
_MAGIC = b"SQLite format 3\x00"
_BESIDE = ("", "-wal", "-shm", "-journal")


class OtherDatabaseError(ValidationError):
    """The server opened a database that is not its copy."""


class Watch:
    """What one server, whose copy lies in `folder`, may open and what it did open; `live` is a real path."""

    def __init__(self, live: Path, folder: Path) -> None:
        self._live, self._folder = live, os.path.realpath(folder)
        self._cache = os.path.realpath(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        self._log = folder / "opened.jsonl"
        self._seen: set[str] = set()
        self._found: dict[str, str] = {}

    def environment(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """`inherited` with the hook. A name whose value is live is left out: nobody shall find live by it."""
        kept = {name: value for name, value in inherited.items() if not self._is_live(value)}
        found = self._live.stat()
        watch = {"folder": self._folder, "cache": self._cache, "live": [found.st_dev, found.st_ino]}
        path = os.pathsep.join(filter(None, (str(_IN_THE_SERVER), inherited.get("PYTHONPATH"))))
        return {**kept, "PYTHONPATH": path, "MIGRATOR_WATCH": json.dumps({**watch, "log": str(self._log)})}

    @contextmanager
    def looking_at(self, server: RunningServer) -> Iterator[None]:
        """Looks at the server's open files while the block lasts; ends it at once where one is another database."""
        over = threading.Event()
        thread = threading.Thread(target=self._look, args=(server, over), daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The databases of its own that the server keeps in the cache folder."""
        kept = sorted(path for path, place in self._all().items() if place == "cache")
        return tuple(Finding("tool_server_cache", f"the tool server keeps the database {path}") for path in kept)

    def refuse_others(self) -> None:
        """Raises OtherDatabaseError where the server opened, or tried to open, a database that is not its copy."""
        others = {path: place for path, place in self._all().items() if place != "cache"}
        if live := [path for path, place in others.items() if place == "live"]:
            raise OtherDatabaseError(
                f"the tool server opens the live database {live[0]}, not the copy that it was given; it was stopped, "
                "and this run has changed nothing in live",
                "make it open the file that the environment names, and look at what it may have written to live",
            )
        if others:
            raise OtherDatabaseError(
                f"the tool server opens {min(others)}, which is not the copy that it was given, so its answers prove "
                "nothing; live unchanged",
                f"make it open the file that the environment names; a cache belongs below {self._cache}",
            )

    def _all(self) -> dict[str, str]:
        with suppress(FileNotFoundError):
            for line in self._log.read_text(encoding="utf-8").splitlines():
                noted = json.loads(line)
                self._found[noted["path"]] = noted["place"]
        return dict(self._found)

    def _look(self, server: RunningServer, over: threading.Event) -> None:
        rounds, programs, ended = 0, list[int](), False
        while not ended:
            # Once more after the last call: on a busy machine this thread may not have had a turn before.
            ended = over.wait(_EVERY_S)
            if rounds % _ROUNDS_PER_GROUP == 0 or ended or not programs:
                programs = list(programs_of(server.group))
            rounds += 1
            open_now = {name for program in programs for name in opened_by(program) if name.startswith(os.sep)}
            for path in open_now - self._seen:
                self._seen.add(path)
                place = self._place_of(path)
                if place is not None:
                    self._found[path] = place
                if place in ("live", "elsewhere"):
                    server.kill()

    def _place_of(self, path: str) -> str | None:
        """Where the database lies; None for what is no database, and for the copy."""
        if path.startswith(self._folder + os.sep):
            return None
        # By its identity, and never by its content: closing a file of live would drop this program's own locks on it.
        if self._is_live(path):
            return "live"
        if not _is_database(path):
            return None
        return "cache" if path.startswith(self._cache + os.sep) else "elsewhere"

    def _is_live(self, path: str) -> bool:
        with suppress(OSError, ValueError):
            found = os.stat(path)
            for suffix in _BESIDE:
                with suppress(FileNotFoundError):
                    if os.path.samestat(found, os.stat(f"{self._live}{suffix}")):
                        return True
        return False


def _is_database(path: str) -> bool:
    with suppress(OSError):
        if stat.S_ISREG(os.stat(path).st_mode):
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                return os.read(descriptor, len(_MAGIC)) == _MAGIC
            finally:
                os.close(descriptor)
    return False
