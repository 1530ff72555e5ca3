"""What a backend costs when nothing is asked of it: processes, memory, start, backup and restore, disk."""

import os
import time
from contextlib import closing
from pathlib import Path

from tests.benchmarks.backends.crowd import at_once
from tests.benchmarks.backends.tools import TOOLS, call_kept

MIB = 2**20


def operating(backend, given, folder):
    """One row of a table, about the working copy."""
    server = backend.server
    row = {"backend": backend.name, "durability": backend.durability()}
    row["MiB on disk"] = round(backend.size_bytes() / MIB)
    row["processes"] = len(server.pids()) if server else 0
    row["server MiB"] = round(_memory_mib(server.pids())) if server else 0
    row["client MiB"] = round(_client_mib(backend, given))
    row["backup s"], backup = _seconds(lambda: _durable(backend.back_up(folder)))
    row["backup MiB"] = round(backup.stat().st_size / MIB)
    row["restore s"], _ = _seconds(lambda: _durable(backend.restore(backup, folder)))
    if server:
        server.stop()
        row["start s"] = round(server.start(), 2)
        row["MiB on disk with the server's own"] = round(server.folder_bytes() / MIB)
    else:
        row["start s"], _ = _seconds(lambda: backend.connect().close())
        row["MiB on disk with the server's own"] = ""
    return row


def _client_mib(backend, given):
    """By how much a client has grown after a connection and one call of each tool."""

    def grown_kib(stop):
        before_kib = _status_kib("VmRSS")
        with closing(backend.connect()) as connection:
            for tool in TOOLS:
                call_kept(connection, tool, given)
            return _status_kib("VmRSS") - before_kib

    return at_once(grown_kib, [], backend.in_one_process)[0] / 1024


def _status_kib(name):
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(f"{name}:"))


def _memory_mib(pids):
    """Of pages that several share each gets its part."""
    rollups = [Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii") for pid in pids]
    return sum(int(line.split()[1]) for text in rollups for line in text.splitlines() if line.startswith("Pss:")) / 1024


def _durable(path):
    """None where a server has seen to that."""
    if path:
        with path.open("rb") as file:
            os.fsync(file.fileno())
    return path


def _seconds(function):
    began = time.perf_counter()
    result = function()
    return round(time.perf_counter() - began, 2), result
