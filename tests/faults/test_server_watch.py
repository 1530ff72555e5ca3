"""A server is kept out of every database but its copy: from inside where it is Python, by its open files otherwise."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from migrator.tool_server.programs import listens, opened_by, programs_of
from migrator.tool_server.server import ToolServer, started
from migrator.tool_server.watch import OtherDatabaseError, Watch
from tests.children import PATIENCE_S


@pytest.fixture
def live(tmp_path):
    path = tmp_path / "live.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (a)")
    return path


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "folder"
    path.mkdir()
    return path


@pytest.fixture
def watch(live, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    return Watch(live, folder)


def in_server(watch: Watch, code: str, tmp_path: Path, **environment: str) -> str:
    """What a program under the watch says; `code` finds sqlite3 imported."""
    found = subprocess.run(
        [sys.executable, "-c", f"import os, sqlite3, pathlib\n{code}"],
        env=watch.environment({**os.environ, **environment}),
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    return found.stdout + found.stderr


@pytest.mark.parametrize(
    "code",
    [
        "sqlite3.connect('live.db')",
        "sqlite3.connect(pathlib.Path('live.db').absolute())",
        "sqlite3.connect(b'live.db')",
        "sqlite3.connect('file:live.db?mode=ro', uri=True)",
        "sqlite3.connect('file://localhost' + os.path.abspath('live.db').replace('l', '%6c'), uri=True)",
        "sqlite3.connect('link.db')",
        "open('live.db').read()",
        "os.open('hard.db', os.O_RDONLY)",
    ],
)
def test_live_cannot_be_opened_by_whatever_name(watch, live, tmp_path, code):
    (tmp_path / "link.db").symlink_to(live)
    (tmp_path / "hard.db").hardlink_to(live)
    assert "PermissionError" in in_server(watch, code, tmp_path)
    with pytest.raises(OtherDatabaseError, match="the tool server opens the live database"):
        watch.refuse_others()


@pytest.mark.parametrize(
    ("name", "real"),
    [("other.db", "other.db"), ("folder-beside/x.db", "folder-beside/x.db"), ("folder/link.db", "other.db")],
)
def test_another_database_is_not_even_created(watch, tmp_path, name, real):
    (tmp_path / "folder-beside").mkdir()
    (tmp_path / "folder" / "link.db").symlink_to(tmp_path / "other.db")
    assert "PermissionError" in in_server(watch, f"sqlite3.connect({name!r})", tmp_path)
    assert not (tmp_path / name).exists()
    with pytest.raises(OtherDatabaseError, match=f"the tool server opens {tmp_path / real}, which is not the copy"):
        watch.refuse_others()


def test_the_copy_and_memory_are_open_to_the_server(watch, tmp_path):
    names = ("folder/copy.db", "folder/../folder/second.db", ":memory:", "", "file::memory:", "file:x?mode=memory")
    code = f"for name in {names}: sqlite3.connect(name, uri=name.startswith('file')).execute('CREATE TABLE t (a)')"
    assert in_server(watch, f"{code}\nopen('some file', 'w')", tmp_path) == ""
    watch.refuse_others()
    assert watch.findings == ()


def test_a_database_in_the_cache_is_a_finding_and_no_fault(watch, tmp_path):
    assert in_server(watch, "sqlite3.connect('cache/packages.db')", tmp_path) == ""
    watch.refuse_others()
    assert [(f.code, f.message) for f in watch.findings] == [
        ("tool_server_cache", f"the tool server keeps the database {tmp_path / 'cache' / 'packages.db'}")
    ]


def test_live_in_the_cache_is_a_fault(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    live = tmp_path / "live.db"
    sqlite3.connect(live).close()
    watch = Watch(live, folder)
    assert "PermissionError" in in_server(watch, "sqlite3.connect('live.db')", tmp_path)
    with pytest.raises(OtherDatabaseError, match="the live database"):
        watch.refuse_others()


def test_no_variable_of_the_environment_leads_to_live(watch, live, tmp_path):
    leading = {"LTMC_DATABASE": str(live), "RELATIVE": os.path.relpath(live)}
    environment = watch.environment({**leading, "OTHER": str(tmp_path), "PYTHONPATH": "p"})
    assert sorted(environment) == ["MIGRATOR_WATCH", "OTHER", "PYTHONPATH"]
    assert environment["PYTHONPATH"].endswith(f"in_the_server{os.pathsep}p")


def test_a_sitecustomize_of_the_server_s_own_runs_as_well(watch, tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text("MARK = 7\nprint('its own')\n")
    said = in_server(watch, "import sitecustomize; print(sitecustomize.MARK)", tmp_path, PYTHONPATH=str(own))
    assert said == "its own\n7\n"
    said = in_server(watch, "sqlite3.connect('live.db')", tmp_path, PYTHONPATH=str(own))
    assert "PermissionError" in said


KEEPS = "import os, sys; os.open(sys.argv[1], os.O_RDWR); print('opened', flush=True); sys.stdin.read()"


@contextmanager
def keeping_open(path: Path) -> Iterator[object]:
    """A server that has `path` open and that no audit hook watches."""
    with started(ToolServer((sys.executable, "-c", KEEPS, str(path))), {}) as running:
        assert running.streams[1].readline() == b"opened\n"
        yield running


@pytest.mark.parametrize("suffix", ["", "-wal"])
def test_a_server_that_has_live_open_is_ended_at_once(watch, live, suffix):
    path = live.with_name(live.name + suffix)
    path.touch()
    with keeping_open(path) as running, watch.looking_at(running):
        assert running.ended(PATIENCE_S) == "was ended by SIGKILL"
    with pytest.raises(OtherDatabaseError, match="the live database"):
        watch.refuse_others()


def test_a_server_that_has_another_database_open_is_ended_at_once(watch, tmp_path):
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection:
        connection.execute("CREATE TABLE t (a)")
    with keeping_open(tmp_path / "other.db") as running, watch.looking_at(running):
        assert running.ended(PATIENCE_S) == "was ended by SIGKILL"
    with pytest.raises(OtherDatabaseError, match=r"other\.db, which is not the copy"):
        watch.refuse_others()


def test_the_files_of_a_server_that_are_no_databases_are_its_own_affair(watch, tmp_path):
    (tmp_path / "log").write_text("no database")
    with keeping_open(tmp_path / "log") as running:
        assert watch._place_of(str(tmp_path / "log")) is None
        assert any(str(tmp_path / "log") in opened_by(program) for program in programs_of(running.group))


def test_looking_at_live_s_files_drops_no_lock_on_them(watch, live):
    """POSIX locks go when any descriptor of the file is closed, in the whole program."""
    with closing(sqlite3.connect(live, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        assert watch._place_of(str(live)) == "live"
        tried = f"sqlite3.connect({str(live)!r}, timeout=0).execute('BEGIN IMMEDIATE')"
        second = subprocess.run([sys.executable, "-c", f"import sqlite3; {tried}"], capture_output=True, text=True)
        assert "database is locked" in second.stderr


LISTENS = """
import socket, sys
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
sys.stdin.read()
"""


def test_only_the_server_itself_counts_as_listening():
    with started(ToolServer((sys.executable, "-c", LISTENS)), {}) as running:
        port = int(running.streams[1].readline())
        assert listens(running.group, port)
        assert not listens(os.getpgrp(), port)
        assert not listens(running.group, port + 1)
