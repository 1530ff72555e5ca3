"""A step that meets another connection's lock is tried again; any other error counts at once."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from migrator import backup, candidate, connect, promotion, restoration, verification
from migrator.backup import no_progress
from tasks import step as steps
from tests.pipeline.runs import COLUMNS_AFTER, columns, content, run

pytestmark = pytest.mark.usefixtures("server", "quick", "impatient")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A try waits 50 ms for a lock and not 5 s."""
    monkeypatch.setitem(connect.opened.__wrapped__.__kwdefaults__, "timeout_s", 0.05)  # type: ignore[attr-defined]
    monkeypatch.setattr(backup.back_up, "__defaults__", (no_progress, 0.05, backup.MAX_LOCK_MS))


class Locker:
    """A second connection that holds a write lock until a step has failed twice because of it."""

    def __init__(self) -> None:
        self.retried: list[str] = []
        self._taken = threading.Event()
        self._release = threading.Event()

    def hold(self, database: Path) -> None:
        def hold() -> None:
            with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as connection:
                connection.execute("BEGIN EXCLUSIVE")
                self._taken.set()
                self._release.wait(30)

        threading.Thread(target=hold, daemon=True).start()
        assert self._taken.wait(10)

    def note(self, task: Any, task_run: Any, state: Any) -> bool:
        """In the place of the retry condition."""
        again = is_locked(task, task_run, state)
        self.retried.append(task_run.name)
        if len(self.retried) == 2:
            self._release.set()
        return again


is_locked = steps.is_locked


@pytest.fixture
def locker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Locker]:
    locker = Locker()

    def condition(task: Any, task_run: Any, state: Any) -> bool:
        return locker.note(task, task_run, state)

    for step in ("back_up", "add_column", "promote", "verify_live"):
        as_task = _task_of(f"flows.migrate.{step}")
        monkeypatch.setattr(as_task, "retry_condition_fn", condition)
    monkeypatch.setattr(_task_of("flows.ending.restore"), "retry_condition_fn", condition)
    yield locker
    locker._release.set()


def _task_of(place: str) -> Any:
    """The Prefect task inside a step."""
    module, name = place.rsplit(".", 1)
    return inspect.getclosurevars(getattr(importlib.import_module(module), name)).nonlocals["as_task"]


def hold_before(monkeypatch: pytest.MonkeyPatch, locker: Locker, owner: Any, name: str, database: Any) -> None:
    """Lets the locker take its lock just before the function is called for the first time."""
    function = getattr(owner, name)
    held = False

    def locked(*args: Any, **kwargs: Any) -> Any:
        nonlocal held
        if not held:
            held = True
            locker.hold(database(*args))
        return function(*args, **kwargs)

    monkeypatch.setattr(owner, name, locked)


@pytest.mark.parametrize(
    ("owner", "name", "step"),
    [
        (backup, "back_up", "back up "),
        (candidate, "add_column", "add column CodePatterns.function_name"),
        (promotion, "promote", "promote"),
        (verification, "verify_live", "verify live"),
    ],
)
def test_a_locked_step_is_tried_again_until_the_lock_is_gone(
    demo: Path, monkeypatch: pytest.MonkeyPatch, locker: Locker, owner: Any, name: str, step: str
) -> None:
    hold_before(monkeypatch, locker, owner, name, lambda fact, *_: fact.path if name == "add_column" else demo)
    ended = run(demo)
    assert (ended.report.outcome, ended.error) == ("migrated", None)
    assert [r.run_count for r in ended.task_runs(step)] == [3]
    assert [r.name for r in ended.task_runs() if r.run_count != 1] == locker.retried[:1]
    assert columns(demo) == COLUMNS_AFTER


def test_a_locked_restore_is_tried_again_until_the_lock_is_gone(
    demo: Path, monkeypatch: pytest.MonkeyPatch, locker: Locker
) -> None:
    before = content(demo)
    monkeypatch.setattr(candidate, "rebuild_table", lambda *_: 1 / 0)
    hold_before(monkeypatch, locker, restoration, "restore", lambda database, *_: database)
    ended = run(demo)
    assert isinstance(ended.error, ZeroDivisionError)
    assert ended.report.outcome == "restored"
    assert [(r.name, r.run_count) for r in ended.task_runs("restore")] == [("restore (ZeroDivisionError)", 3)]
    assert content(demo) == before


def test_a_lock_that_stays_ends_the_run_as_any_error_does(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content(demo)
    locked = sqlite3.OperationalError("database is locked")
    locked.sqlite_errorcode = sqlite3.SQLITE_BUSY
    monkeypatch.setattr(promotion, "promote", _raises(locked))
    monkeypatch.setattr(_task_of("flows.migrate.promote"), "retry_delay_seconds", [0.01, 0.01, 0.01])
    ended = run(demo)
    assert isinstance(ended.error, sqlite3.OperationalError) and str(ended.error) == "database is locked"
    state = ended.flow_run.state
    assert state is not None and (state.name, state.message) == ("Failed", ended.report.error)
    assert "promote failed: another connection kept the database locked" in str(state.message)
    assert f"{demo} is as before" in str(state.message)
    assert ended.report.outcome == "restored"
    assert [(r.state_name, r.run_count) for r in ended.task_runs("promote")] == [("Failed", 4)]
    assert len(ended.task_runs("restore")) == 1
    assert content(demo) == before


@pytest.mark.parametrize("error", [sqlite3.OperationalError("no such table: x"), ValueError("database is locked")])
def test_any_other_error_is_not_tried_again(demo: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(candidate, "add_column", _raises(error))
    ended = run(demo)
    assert ended.error is error
    assert [(r.state_name, r.run_count) for r in ended.task_runs("add column")] == [("Failed", 1)]


def _raises(error: Exception) -> Any:
    def fails(*args: Any, **kwargs: Any) -> Any:
        raise error

    return fails
