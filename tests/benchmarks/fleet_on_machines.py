"""How fast several machines migrate a fleet: `python -m tests.benchmarks.fleet_on_machines 20,2 200,2,killed`.

Each word is a whole run: so many databases, on so many machines. `killed`: in the middle the last machine loses its
worker and all that this has started, and gets another, as systemd gives it one. Prefect's server has a PostgreSQL of
its own, and all of it is this one machine, whose processors the others share. That no database is lost is an assertion.
Nothing of it is left, also after Ctrl-C or SIGTERM.
"""

import json
import os
import shutil
import signal
import sys
import tempfile
import uuid
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from migrator.fleet.state import read_state
from migrator.ltmc import LTMC
from migrator.report import MIGRATED, UP_TO_DATE
from migrator.signals import end_as_ctrl_c_does, undisturbed
from tests.benchmarks.results import FOLDER, keep
from tests.deployments.servers import Postgres, PrefectServer, Program, await_that, processes
from tests.pipeline.programs import children_of

ROWS_EACH = 100
KILLED_AFTER = 0.45
PATIENCE_S = 3600.0
_TICKS = os.sysconf("SC_CLK_TCK")


class Machine(Program):
    """The worker of a machine, and all that it starts, with a mark."""

    def __init__(self, name, environment, folder):
        self.mark = f"MACHINE_OF_BENCHMARK={uuid.uuid4().hex}"
        words = [sys.executable, "-m", "deployments.machine", "--name", name]
        super().__init__(words, environment | dict([self.mark.split("=")]), folder / f"{name}.log")

    def start(self):
        before = self.said.count("started!") if self.log.exists() else 0
        super().start()
        await_that(lambda: self.said.count("started!") > before, f"{self.log} says that the worker started")

    def end(self):
        """Afterwards nothing of it is left; as with a machine that goes down, nobody was told."""
        super().end()
        await_that(self._is_gone, "the runs of the worker are killed")

    def _is_gone(self):
        left = processes(self.mark)
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not left


class Site:
    """Prefect's server on PostgreSQL, and the workers of some machines."""

    def __init__(self, folder, machines, held):
        """What is started here ends with `held`."""
        self.postgres = Postgres()
        held.callback(self.postgres.remove)
        self.server = PrefectServer(folder, PREFECT_SERVER_DATABASE_CONNECTION_URL=self.postgres.url)
        held.callback(self.server.end)
        self.environment = self.server.environment | self.server.client_settings()
        self.machines = [Machine(f"m{number}", self.environment, folder) for number in range(machines)]
        held.callback(lambda: [machine.end() for machine in self.machines])

    def start(self):
        self.postgres.start()
        self.postgres.make_database()
        self.server.start()
        for machine in self.machines:
            machine.start()

    def used(self):
        """Seconds of processor time so far."""
        postmaster, backends = self.postgres._server.pid, 0.0
        for pid in children_of(postmaster):
            with suppress(OSError):
                backends += _seconds_of(pid)
        return {
            "server s": _seconds_of(self.server.pid),
            "PostgreSQL s": _seconds_of(postmaster, ended_children=True) + backends,
        }


def _seconds_of(pid, ended_children=False):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[13:15] if ended_children else fields[11:13])) / _TICKS


@contextmanager
def a_site(folder, machines):
    held = ExitStack()
    try:
        site = Site(folder, machines, held)
        site.start()
        yield site
    finally:
        with undisturbed(lambda signal_name: print(f"{signal_name}: ending what was started")):
            held.close()


def inventory_in(folder, count, machines):
    """So many new databases, shared out to the machines, and the file that lists them."""
    (folder / "databases").mkdir()
    pattern = folder / "databases" / "pattern"
    LTMC.make_demo(pattern, ROWS_EACH)
    lines = []
    for number in range(count):
        lines.append(f"m{number % machines}:{shutil.copyfile(pattern, pattern.with_name(f'{number:05}.db'))}")
    (folder / "inventory").write_text("\n".join(lines))
    return folder / "inventory"


def measured(folder, count, machines, is_killed):
    """One run over `count` new databases, as a row of the table."""
    state, inventory = folder / "fleet.jsonl", inventory_in(folder, count, machines)
    # The machines share the processors of this one.
    parallel = max(1, (os.cpu_count() or 1) // machines)
    words = ["--inventory", str(inventory), "--state", str(state), "--parallel", str(parallel), "--json"]
    with a_site(folder, machines) as site:
        fleet = Program([sys.executable, "-m", "flows.fleet", *words], site.environment, folder / "fleet.log")
        before = site.used()
        try:
            fleet.start()
            if is_killed:
                await_that(lambda: _ended(state) >= KILLED_AFTER * count, "enough are migrated", PATIENCE_S)
                site.machines[-1].end()
                site.machines[-1].start()
            assert fleet.child.wait(PATIENCE_S) == 0, fleet.said
        finally:
            fleet.end()
        after = site.used()
    told = json.loads(fleet.said[fleet.said.index("\n{") :] if "\n{" in fleet.said else fleet.said)
    results = read_state(state).results
    # A run that is killed after its COMMIT leaves a database that the one after it may find up to date.
    expected = {MIGRATED, UP_TO_DATE} if is_killed else {MIGRATED}
    assert len(results) == count and {result.outcome for result in results} <= expected, fleet.said
    return {
        "databases": count,
        "machines": machines,
        "killed": "one" if is_killed else "",
        "seconds": round(told["seconds"]),
        "a minute": round(told["per_minute"]),
        "p50 s": round(told["p50_s"], 2),
        "p95 s": round(told["p95_s"], 2),
        "up to date": sum(result.outcome == UP_TO_DATE for result in results),
        **{name: round((after[name] - before[name]) / count, 2) for name in after},
    }


def _ended(state):
    return state.read_text().count('"event": "ended"') if state.exists() else 0


def main():
    end_as_ctrl_c_does()
    FOLDER.mkdir(exist_ok=True)
    rows = []
    for word in sys.argv[1:] or ["20,2"]:
        count, machines, *how = word.split(",")
        with tempfile.TemporaryDirectory(prefix="fleet-", dir=FOLDER) as name:
            rows.append(measured(Path(name), int(count), int(machines), how == ["killed"]))
            print(rows[-1], flush=True)
    keep("fleet-on-machines", rows)


if __name__ == "__main__":
    main()
