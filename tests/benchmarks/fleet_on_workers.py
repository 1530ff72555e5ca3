"""How fast workers migrate a fleet: `python -m tests.benchmarks.fleet_on_workers 40,1 100,2 200,2,killed`.

Each word is a whole run: so many databases, so many workers of one pool with two runs at a time each. `killed`: the
last worker is killed, with its runs, in the middle. `fleet`: all databases are one run of the deployment `fleet`.
Prefect's server has a PostgreSQL of its own; all of it is on one machine. That no database is lost is an assertion. The
last columns are seconds of processor time for each database. Nothing of it is left, also after Ctrl-C or SIGTERM.
"""

import os
import shutil
import signal
import sys
import tempfile
import time
import uuid
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from migrator.fleet.state import read_state
from migrator.ltmc import LTMC
from migrator.performance import percentile
from migrator.report import MIGRATED, UP_TO_DATE
from migrator.signals import end_as_ctrl_c_does, undisturbed
from tests.benchmarks.results import FOLDER, keep
from tests.deployments.servers import Postgres, PrefectServer, Program, await_that, processes
from tests.pipeline.programs import children_of

POOL = "migrations"
RUNS_EACH = 2
ROWS_EACH = 100
KILLED_AFTER = 0.45
PATIENCE_S = 3600.0
SET_UP = (
    ["prefect", "work-pool", "create", POOL, "--type", "process"],
    ["prefect", "--no-prompt", "deploy", "--all"],
    ["deployments.automations"],
)
_TICKS = os.sysconf("SC_CLK_TCK")


class Worker(Program):
    """A worker of the pool, and the runs that it starts: each in a session of its own, with the worker's mark."""

    def __init__(self, name, environment, folder):
        self.mark = f"WORKER_OF_BENCHMARK={uuid.uuid4().hex}"
        words = ["prefect", "worker", "start", "--pool", POOL, "--limit", str(RUNS_EACH), "--name", name]
        marked = environment | dict([self.mark.split("=")])
        super().__init__([sys.executable, "-m", *words], marked, folder / f"{name}.log")

    def has_a_run(self):
        return len(processes(self.mark)) > 1

    def used(self):
        """Seconds of processor time of the runs so far, those that have ended and those that have not."""
        found = -_seconds_of(self.pid)
        for pid in processes(self.mark):
            with suppress(OSError):
                found += _seconds_of(pid) + _seconds_of(pid, ended_children=True)
        return found

    def end(self):
        """Afterwards neither it nor a run of it is left; as with its machine, nobody was told."""
        super().end()
        await_that(self._is_gone, "the runs of the worker are killed")

    def _is_gone(self):
        left = processes(self.mark)
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not left


class Site:
    """Prefect's server on PostgreSQL with this checkout's deployments and automations, and workers."""

    def __init__(self, folder, held):
        """What is started here ends with `held`."""
        self.folder, self.workers = folder, []
        self.postgres = Postgres()
        held.callback(self.postgres.remove)
        self.server = PrefectServer(folder, PREFECT_SERVER_DATABASE_CONNECTION_URL=self.postgres.url)
        held.callback(self.server.end)
        held.callback(lambda: [worker.end() for worker in self.workers])

    def start(self, workers):
        self.postgres.start()
        self.postgres.make_database()
        self.server.start()
        for words in SET_UP:
            ended = self.program("setting-up", *words)
            ended.start()
            assert ended.child.wait() == 0, ended.said
        for number in range(workers):
            self.workers.append(Worker(f"worker-{number}", self.environment, self.folder))
            self.workers[-1].start()
        for worker in self.workers:
            await_that(lambda worker=worker: "started!" in worker.said, f"{worker.log} says that it started")

    @property
    def environment(self):
        # A heartbeat as `make ui` sets it: what goes silent is Crashed after 90 s.
        return self.server.environment | self.server.client_settings() | {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}

    def program(self, name, *words):
        return Program([sys.executable, "-m", *words], self.environment, self.folder / f"{name}.log")

    def used(self):
        """Seconds of processor time so far; those of a worker that was killed are not in it."""
        postmaster, backends = self.postgres._server.pid, 0.0
        for pid in children_of(postmaster):
            with suppress(OSError):
                backends += _seconds_of(pid)
        return {
            "server s": _seconds_of(self.server.pid),
            "PostgreSQL s": _seconds_of(postmaster, ended_children=True) + backends,
            "workers s": sum(_seconds_of(worker.pid) for worker in self.workers),
            "runs s": sum(worker.used() for worker in self.workers),
        }


def _seconds_of(pid, ended_children=False):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[13:15] if ended_children else fields[11:13])) / _TICKS


@contextmanager
def a_site(folder, workers):
    held = ExitStack()
    try:
        site = Site(folder, held)
        site.start(workers)
        yield site
    finally:
        with undisturbed(lambda signal_name: print(f"{signal_name}: ending what was started")):
            held.close()


def databases_in(folder, count):
    folder.mkdir()
    pattern = folder / "pattern"
    LTMC.make_demo(pattern, ROWS_EACH)
    for number in range(count):
        shutil.copyfile(pattern, folder / f"{number:05}.db")


def measured(folder, count, workers, how):
    """One run over `count` new databases, as a row of the table."""
    databases_in(folder / "databases", count)
    state = folder / "fleet.jsonl"
    with a_site(folder, workers) as site:
        before, began = site.used(), time.monotonic()
        said = (_as_one_run if how == "fleet" else _as_runs)(site, state, count, is_killed=how == "killed")
        seconds, after = time.monotonic() - began, site.used()
    results = read_state(state).results
    # A run that is killed after its COMMIT leaves a database that the one after it finds up to date.
    expected = {MIGRATED, UP_TO_DATE} if how == "killed" else {MIGRATED}
    assert len(results) == count and {result.outcome for result in results} <= expected, said
    died = [result.error for result in results if result.error]
    print(*died, sep="\n")
    each = [result.seconds for result in results]
    return {
        "databases": count,
        "workers": workers,
        "how": how,
        "seconds": round(seconds),
        "a minute": round(60 * count / seconds, 1),
        "p50 s": round(percentile(each, 50), 1),
        "p95 s": round(percentile(each, 95), 1),
        "runs that died": len(died),
        **{name: "" if how == "killed" else round((after[name] - before[name]) / count, 2) for name in after},
    }


def _as_runs(site, state, count, is_killed):
    """Each database as a run of the deployment `migrate`; returns what the command said."""
    words = ["flows.fleet", "--glob", f"{site.folder}/databases/*.db", "--state", str(state)]
    words += ["--deployment", "migrate/migrate", "--parallel", str(len(site.workers) * RUNS_EACH)]
    fleet = site.program("fleet", *words)
    try:
        fleet.start()
        if is_killed:
            last = site.workers.pop()
            try:
                await_that(lambda: _ended(state) >= KILLED_AFTER * count, "enough are migrated", PATIENCE_S)
                await_that(last.has_a_run, "the worker has taken a run")
            finally:
                last.end()
        assert fleet.child.wait(PATIENCE_S) == 0, fleet.said
        return fleet.said
    finally:
        fleet.end()


def _as_one_run(site, state, count, is_killed):
    """All of them as one run of the deployment `fleet`; returns its last state."""
    ordered = site.server.api.order("fleet/fleet", glob=[f"{site.folder}/databases/*.db"], state=str(state))

    def ended():
        last = site.server.api.run(ordered)["state"]
        return last if last["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") else None

    # Each answer is work that is measured.
    return await_that(ended, "the fleet ends", PATIENCE_S, every_s=1.0)


def _ended(state):
    return state.read_text().count('"event": "ended"') if state.exists() else 0


def main():
    end_as_ctrl_c_does()
    FOLDER.mkdir(exist_ok=True)
    rows = []
    for word in sys.argv[1:] or ["40,1"]:
        count, workers, *how = word.split(",")
        with tempfile.TemporaryDirectory(prefix="fleet-", dir=FOLDER) as name:
            rows.append(measured(Path(name), int(count), int(workers), "".join(how)))
            print(rows[-1], flush=True)
    keep("fleet-on-workers", rows)


if __name__ == "__main__":
    main()
