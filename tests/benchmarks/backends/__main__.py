"""The application's statements on SQLite, PostgreSQL and DuckDB: `python -m tests.benchmarks.backends [ROWS ..]`.

Makes the demo database of each size, migrated, in all of them, and removes everything at the end. Tables go to the
terminal, JSON to .bench/. With 10000 and 100000, which are the default, it takes some seven minutes.
"""

import os
import signal
import sys
import tempfile
from contextlib import ExitStack, closing
from pathlib import Path

from tests.benchmarks.backends import server
from tests.benchmarks.backends.dialects import DUCKDB, POSTGRES
from tests.benchmarks.backends.in_duckdb import Duckdb, why_absent
from tests.benchmarks.backends.in_postgres import Postgres
from tests.benchmarks.backends.in_sqlite import Sqlite
from tests.benchmarks.backends.measuring import (
    AS_THE_APPLICATION,
    KEPT,
    connecting,
    syncing,
    together,
    tool_latencies,
    write_throughput,
)
from tests.benchmarks.backends.operating import operating
from tests.benchmarks.backends.source import Source
from tests.benchmarks.backends.statements import sent_by_tools, what_breaks
from tests.benchmarks.backends.tools import LIST_TODOS, LOG_CHAT, TOOLS, given
from tests.benchmarks.results import keep

SIZES = (10_000, 100_000)
WRITERS = (1, 2, 4, 8, 16)
WRITERS_OF_A_LOAD, WRITES_A_SECOND = 8, (100, 400, 1600, 6400)
BESIDE = 7
SECONDS_A_TOOL, SECONDS_OF_WRITING = 0.15, 2.0
TIMES = 200


def main(sizes):
    with tempfile.TemporaryDirectory(prefix="backends-") as name, ExitStack() as stack:
        folder = Path(name)
        backends = _backends(folder, stack)
        asked = {rows: _fill(folder, backends, rows) for rows in sizes}
        largest = max(sizes)
        _statements(folder, asked[largest])
        print(f"\nfilled; load average {os.getloadavg()[0]:.2f}", flush=True)
        _disk_and_network(folder, backends, asked[largest], largest)
        _operating(folder, backends, asked[largest], largest)
        for manner in (AS_THE_APPLICATION, KEPT):
            without_a_pause = [(writers, None) for writers in WRITERS]
            offered = [(WRITERS_OF_A_LOAD, rate) for rate in WRITES_A_SECOND]
            _writes(backends, asked[largest], largest, manner, without_a_pause)
            _writes(backends, asked[largest], largest, manner, offered)
            for rows in sizes:
                _tools(backends, asked[rows], rows, manner)
        print(f"load average {os.getloadavg()[0]:.2f}")


def _backends(folder, stack):
    """Those that are there; what is left out is said."""
    made = [Sqlite(_new(folder / mode), mode) for mode in ("delete", "wal")]
    if why := server.why_absent():
        print(f"PostgreSQL is left out: {why}")
    else:
        made.append(Postgres(stack.enter_context(server.server())))
    if why := why_absent():
        print(f"DuckDB is left out: {why}")
    else:
        made.append(Duckdb(_new(folder / "duckdb")))
    return made


def _fill(folder, backends, rows):
    source = Source(folder / f"{rows}.db", rows)
    for backend in backends:
        backend.fill(source, rows)
    _start_anew(backends[0], rows)
    with closing(backends[0].connect()) as connection:
        return given(connection)


def _statements(folder, asked):
    """What moving breaks, counted on the statements of one call of each tool."""
    sent = sent_by_tools(folder / "delete" / "work.db", asked)
    print(f"\n{len(set().union(*sent.values()))} different statements of {len(sent)} tools")
    for name, rules in (("postgres", POSTGRES), ("duckdb", DUCKDB)):
        keep(f"backends_what_breaks_{name}", what_breaks(sent, rules))


def _disk_and_network(folder, backends, asked, rows):
    """The disk alone; connections, and on one that is kept a tool that writes and one that reads."""
    found = [{"what": "write 4 KiB and fdatasync", **_milliseconds(syncing(folder, TIMES))}]
    for backend in backends:
        _start_anew(backend, rows)
        for one in (backend, Postgres(backend.server, over_tcp=True)) if backend.server else (backend,):
            found.append({"what": f"{one.name}: connect and close", **_milliseconds(connecting(one, TIMES))})
            for tool in (LOG_CHAT, LIST_TODOS):
                clock = tool_latencies(one, asked, KEPT, 0, SECONDS_A_TOOL, (tool,))[tool.name]
                found.append({"what": f"{one.name}: {tool.name}", **_milliseconds(clock)})
    keep("backends_connections", found)


def _tools(backends, asked, rows, manner):
    """p50 and p95 of each tool, called by a client alone and beside seven that write."""
    table = {tool.name: {"tool": tool.name} for tool in TOOLS}
    errors = []
    for backend in backends:
        for beside in (0, BESIDE):
            _start_anew(backend, rows)
            for name, clock in tool_latencies(backend, asked, manner, beside, SECONDS_A_TOOL).items():
                table[name][f"{backend.name}, {1 + beside}"] = f"{clock.percentile(50):g} / {clock.percentile(95):g}"
                errors += [f"{backend.name}, {1 + beside}: {name}: {n} x {error}" for error, n in clock.errors.items()]
    keep(f"backends_tools_{rows}_{manner.replace(' ', '_')}", list(table.values()))
    print(*errors, sep="\n", flush=True)


def _writes(backends, asked, rows, manner, loads):
    """A row for each backend and load, which is how many write and how much they want to write in a second."""
    table = []
    for backend in backends:
        for writers, wanted in loads:
            _start_anew(backend, rows)
            read, wrote = write_throughput(backend, asked, manner, writers, SECONDS_OF_WRITING, wanted)
            row = {"backend": backend.name, "writers": writers, "wanted/s": wanted or "all"}
            row["writes/s"] = round(sum(clock.calls_a_second for clock in wrote))
            row |= _milliseconds(every := together(wrote))
            row["reads/s"] = round(read.calls_a_second)
            row |= {f"read {name}": ms for name, ms in _milliseconds(read).items()}
            row["errors"] = "; ".join(f"{n} x {error}" for error, n in (every.errors + read.errors).items())
            table.append(row)
    kind = "offered" if loads[0][1] else "writes"
    keep(f"backends_{kind}_{rows}_{manner.replace(' ', '_')}", table)


def _operating(folder, backends, asked, rows):
    table = []
    for backend in backends:
        _start_anew(backend, rows)
        table.append(operating(backend, asked, _new(folder / f"backup of {backend.name}")))
    keep("backends_operating", table, upright=True)


def _start_anew(backend, rows):
    """The filled database, and nothing of what went before is still to be written to the disk."""
    backend.start_from(rows)
    os.sync()


def _milliseconds(clock):
    return {name: clock.percentile(percent) for name, percent in (("p50", 50), ("p95", 95), ("max", 100))}


def _new(folder):
    folder.mkdir()
    return folder


if __name__ == "__main__":
    # So that the server stops and the files go, as after Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    main(tuple(map(int, sys.argv[1:])) or SIZES)
