"""A PostgreSQL server for the time of a benchmark: made, started, stopped and removed."""

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

START_S = 30.0
POLL_S = 0.002


def program(name):
    """The path of one of PostgreSQL's programs; Debian keeps them off the PATH. None where there is none."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True)
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), *map(str, versions)]))


def why_absent():
    """What is missing for a server and connections to it, in words; None where nothing is."""
    if not importlib.util.find_spec("psycopg"):
        return "psycopg is not installed (the extra bench)"
    return None if program("initdb") else "there is no initdb, neither on the PATH nor in /usr/lib/postgresql"


@contextmanager
def server(*settings):
    """A running server; `settings` as name=value, for the rest it has what initdb and the server take by themselves.

    The server refuses to be root: then it runs as a user that owns nothing else here.
    """
    folder = Path(tempfile.mkdtemp(prefix="bench-postgres-"))
    try:
        user = _another_user() if os.geteuid() == 0 else {}
        if user:
            os.chown(folder, user["user"], user["group"])
        made = Server(folder, settings, user)
        try:
            made.start()
            yield made
        finally:
            made.stop()
    finally:
        shutil.rmtree(folder)


def _another_user():
    for name in ("postgres", "nobody"):
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": ()}
    raise LookupError("the server does not run as root, and here is neither a user postgres nor a user nobody")


class Server:
    def __init__(self, folder, settings, user):
        self._folder, self._settings, self._user = folder, settings, user
        self._child = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        # Texts sort by their bytes, as in SQLite.
        self.run("initdb", "-D", folder / "data", "-U", "bench", "-A", "trust", "-E", "UTF8", "--no-locale", "-N")

    def address(self, database, over_tcp=False):
        return f"host={'127.0.0.1' if over_tcp else self._folder} port={self._port} user=bench dbname={database}"

    def start(self):
        """Returns seconds until the first connection was accepted."""
        import psycopg

        options = [word for setting in self._settings for word in ("-c", setting)]
        command = [program("postgres"), "-D", "data", "-h", "127.0.0.1", "-p", str(self._port), "-k", self._folder]
        began = time.perf_counter()
        with (self._folder / "log").open("ab") as log:
            self._child = subprocess.Popen(
                [*command, *options], cwd=self._folder, stdout=log, stderr=log, **self._user, start_new_session=True
            )
        pause = threading.Event()
        while True:
            try:
                psycopg.connect(self.address("postgres")).close()
            except psycopg.OperationalError as error:
                if self._child.poll() is not None or time.perf_counter() - began > START_S:
                    raise RuntimeError((self._folder / "log").read_text(encoding="utf-8")) from error
                pause.wait(POLL_S)
            else:
                return time.perf_counter() - began

    def stop(self):
        """Ends all connections, writes everything to the disk, as a shutdown of the machine would."""
        if self._child is not None:
            self._child.send_signal(signal.SIGINT)
            self._child.wait()

    def run(self, name, *arguments):
        """One of PostgreSQL's programs: initdb as the server's user, the others as its clients."""
        client = [] if name == "initdb" else ["-h", self._folder, "-p", str(self._port), "-U", "bench"]
        user = self._user if name == "initdb" else {}
        subprocess.run([program(name), *client, *arguments], check=True, capture_output=True, cwd=self._folder, **user)

    def execute(self, statement, database="postgres"):
        """What may not stand in a transaction."""
        import psycopg

        with psycopg.connect(self.address(database), autocommit=True) as connection:
            connection.execute(statement)

    def pids(self):
        """Of the processes that stay when nobody is connected."""
        import psycopg

        stay = "backend_type NOT IN ('client backend', 'autovacuum worker')"
        with psycopg.connect(self.address("postgres")) as connection:
            rows = connection.execute(f"SELECT pid FROM pg_stat_activity WHERE {stay}").fetchall()
        return [self._child.pid, *(pid for (pid,) in rows)]

    def folder_bytes(self):
        """All that lies in the server's folder, its own tables and log of changes included."""
        return sum(path.stat().st_size for path in self._folder.rglob("*") if path.is_file())
