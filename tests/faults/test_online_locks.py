"""The online promotion beside connections that hold on: it waits and makes nobody wait, and what it cannot wait for it
undoes."""

import itertools
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager

import pytest

from migrator import backup, connect, journal_mode, online, paced, promotion
from migrator.errors import PromotionError
from migrator.preflight import preflight
from migrator.promotion import promote
from migrator.restoration import recover
from tests.children import await_more, committed, errors, holding, lost, reading, writing
from tests.notes import NOTES, SOURCE_COLUMNS, TARGET_COLUMNS, make_notes
from tests.runs import (
    beside,
    columns,
    end_of_run,
    holds,
    is_sound,
    migrate,
    rehearse,
    rehearsed,
    restored,
    rows,
    run_sql,
)

ONLINE = 0.0
TIMEOUT_S = 0.1
"""In place of five seconds: how long a statement waits for a lock."""


@pytest.fixture(params=["wal", "delete"])
def notes(request, tmp_path, monkeypatch):
    """In delete mode somebody is always in the way of WAL."""
    path = tmp_path / "notes.db"
    make_notes(path, rows=500, journal_mode=request.param)
    if request.param == "delete":
        in_delete_mode(monkeypatch)
    monkeypatch.setitem(connect.opened.__wrapped__.__kwdefaults__, "timeout_s", TIMEOUT_S)
    return path


def in_delete_mode(monkeypatch):
    monkeypatch.setattr(promotion, "use_wal", lambda database: journal_mode.use_wal(database, patience_s=-1.0))
    monkeypatch.setattr(journal_mode, "_set", lambda *_: False)


@contextmanager
def under_way(candidate, on_progress=lambda done, total: None):
    """A promotion in a thread; yields its future."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(promote, candidate, ONLINE, on_progress)


def at_call(number, act):
    """A callback that acts when it is called the n-th time."""
    calls = itertools.count(1)

    def callback(*_):
        if next(calls) == number:
            act()

    return callback


@pytest.mark.parametrize("kind", ["IMMEDIATE", "EXCLUSIVE"])
@pytest.mark.parametrize("moment", [1, 3])
def test_a_writer_that_holds_on_for_longer_than_the_timeout_is_waited_for(notes, kind, moment):
    candidate, taken, held = rehearsed(notes), threading.Event(), ExitStack()

    def hold():
        held.enter_context(holding(notes, f"BEGIN {kind}", "INSERT INTO notes (body, mood) VALUES ('x', 'good')"))
        taken.set()

    with held, under_way(candidate, at_call(moment, hold)) as promotion_:
        assert taken.wait(10)
        with pytest.raises(TimeoutError):
            promotion_.result(timeout=5 * TIMEOUT_S)
        held.close()
        done = promotion_.result(timeout=30)
    assert done.strategy == "online"
    assert columns(notes) == TARGET_COLUMNS and is_sound(notes)
    assert rows(notes, "SELECT count(*) FROM notes") == [(500,)]


def test_a_writer_that_never_lets_go_ends_the_promotion_and_live_is_as_before(notes, monkeypatch):
    monkeypatch.setattr(paced, "_PATIENCE_S", 0.2)
    candidate, before, held = rehearsed(notes), holds(notes), ExitStack()
    hold = at_call(3, lambda: held.enter_context(holding(notes, "BEGIN IMMEDIATE")))
    with held, pytest.raises(PromotionError, match="another connection keeps the write lock"):
        promote(candidate, ONLINE, hold)
    live = candidate.inspection.backup.live
    assert restored(notes, live).how == "unchanged"
    assert holds(notes) == before
    assert beside(notes) <= {"notes.db.backups", "notes.db.migration-lock"}


def test_a_reader_that_holds_on_makes_no_new_reader_wait_for_more_than_a_moment(tmp_path, monkeypatch):
    path = tmp_path / "notes.db"
    make_notes(path, rows=500)
    in_delete_mode(monkeypatch)
    candidate = rehearsed(path)
    # A COMMIT that is not given up would turn new readers away after this time.
    with reading(path, tmp_path / "seen", timeout_s=0.5) as seen, ExitStack() as held:
        held.enter_context(holding(path, "BEGIN", "SELECT * FROM notes"))
        with under_way(candidate) as promotion_:
            with pytest.raises(TimeoutError):
                promotion_.result(timeout=1.5)
            await_more(seen)
            held.close()
            done = promotion_.result(timeout=30)
        states = seen()
    assert errors(states) == []
    assert (done.strategy, [f.code for f in done.findings]) == ("online", ["wal_refused"])
    assert columns(path) == TARGET_COLUMNS and is_sound(path)


def test_a_commit_that_waits_for_a_reader_is_given_up_within_50_ms_and_made_again(tmp_path, monkeypatch):
    path = tmp_path / "notes.db"
    make_notes(path, rows=500)
    in_delete_mode(monkeypatch)
    candidate, tries, held = rehearsed(path), [], ExitStack()
    pause = online.Pace.pause

    def noted(self):
        tries.append(self)
        if len(tries) == 10:
            held.close()
        pause(self)

    monkeypatch.setattr("migrator.pace.Pace.pause", noted)
    holds_s = []
    note = online.Pace.held
    monkeypatch.setattr("migrator.pace.Pace.held", lambda self, s, n: (holds_s.append(s), note(self, s, n))[1])
    with held, closing(sqlite3.connect(path, isolation_level=None)) as writer:
        hold = at_call(2, lambda: held.enter_context(holding(path, "BEGIN", "SELECT * FROM notes")))
        promote(candidate, ONLINE, hold)
        writer.execute("INSERT INTO notes (body, mood) VALUES ('after', 'good')")
    waited = sorted(holds_s)
    assert len([s for s in waited if s > 0.05]) >= 3
    # The 50 ms of waiting, and the work itself on a busy machine.
    assert waited[-1] < 0.5
    assert columns(path) == TARGET_COLUMNS and rows(path, "SELECT count(*) FROM notes") == [(501,)]


def test_a_reader_that_never_lets_go_ends_the_promotion_and_the_next_start_undoes_it(tmp_path, monkeypatch):
    path = tmp_path / "notes.db"
    make_notes(path, rows=500)
    in_delete_mode(monkeypatch)
    monkeypatch.setattr(paced, "_PATIENCE_S", 0.3)
    candidate, before, held = rehearsed(path), holds(path), ExitStack()
    with held:
        hold = at_call(3, lambda: held.enter_context(holding(path, "BEGIN", "SELECT * FROM notes")))
        with pytest.raises(PromotionError, match="a reader keeps every COMMIT from ending"):
            promote(candidate, ONLINE, hold)
    assert recover(path, NOTES).how == "unchanged"
    assert holds(path) == before and is_sound(path)


def at_the_swap(monkeypatch, act):
    """`act` is called when all is copied and the swap is about to begin."""
    change_places = online._Run._change_places

    def after_that(self, *arguments):
        # Not in the rehearsal on the schema alone.
        if self._folder.name != "scratch":
            act()
        return change_places(self, *arguments)

    monkeypatch.setattr(online._Run, "_change_places", after_that)


def test_a_write_transaction_that_is_open_at_the_swap_is_waited_for_and_its_rows_are_in(notes, monkeypatch):
    with closing(sqlite3.connect(notes, isolation_level=None, check_same_thread=False)) as application:
        open_ = threading.Event()

        def begin():
            application.execute("BEGIN IMMEDIATE")
            application.execute("INSERT INTO notes (body, mood) VALUES ('open', 'Happy')")
            application.execute("UPDATE notes SET body = 'changed' WHERE id = 7")
            application.execute("DELETE FROM notes WHERE id = 8")
            open_.set()

        at_the_swap(monkeypatch, begin)
        with under_way(rehearsed(notes)) as promotion_:
            assert open_.wait(30)
            with pytest.raises(TimeoutError):
                promotion_.result(timeout=0.3)
            assert application.execute("SELECT * FROM notes LIMIT 1").description[3][0] == "place"
            application.execute("COMMIT")
            promotion_.result(timeout=30)
        found = application.execute("SELECT id, body, mood FROM notes WHERE id IN (7, 8) OR body = 'open'").fetchall()
    assert found == [(7, "changed", "bad"), (502, "open", "good")]
    assert columns(notes) == TARGET_COLUMNS


def test_a_read_transaction_across_the_swap_sees_the_old_table_to_its_end_and_then_the_new(tmp_path):
    path = tmp_path / "notes.db"
    make_notes(path, rows=500, journal_mode="wal")
    with closing(sqlite3.connect(path, isolation_level=None)) as application:
        candidate = rehearsed(path)
        application.execute("BEGIN")
        (place,) = application.execute("SELECT place FROM notes WHERE id = 2").fetchone()
        promote(candidate, ONLINE)
        assert application.execute("SELECT place FROM notes WHERE id = 2").fetchone() == (place,)
        # A write would be one on what is no more.
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            application.execute("INSERT INTO notes (body, mood) VALUES ('late', 'good')")
        application.execute("COMMIT")
        application.execute("INSERT INTO notes (body, mood, stars) VALUES ('late', 'good', 5)")
        assert application.execute("SELECT id, stars FROM notes WHERE body = 'late'").fetchall() == [(502, 5)]


def test_a_statement_prepared_before_the_swap_writes_to_the_new_table_after_it(notes, monkeypatch):
    insert = "INSERT INTO notes (body, mood) VALUES (?, 'good')"
    with closing(sqlite3.connect(notes, isolation_level=None)) as application:
        application.execute(insert, ("before",))
        candidate = rehearsed(notes)
        application.execute(insert, ("between",))
        end_of_run(candidate, ONLINE)
        application.execute(insert, ("after",))
        found = application.execute("SELECT id, body, stars FROM notes WHERE id > 500").fetchall()
    assert found == [(502, "before", None), (503, "between", None), (504, "after", None)]


def test_a_transaction_that_began_before_the_swap_and_writes_after_it_writes_to_the_new_table(notes):
    with closing(sqlite3.connect(notes, isolation_level=None)) as application:
        candidate = rehearsed(notes)
        # Deferred: it holds nothing before its first statement.
        application.execute("BEGIN")
        promote(candidate, ONLINE)
        application.execute("INSERT INTO notes (body, mood) VALUES ('late', 'good')")
        application.execute("COMMIT")
    assert rows(notes, "SELECT id, stars FROM notes WHERE body = 'late'") == [(502, None)]


def test_a_schema_change_by_the_application_in_the_middle_ends_the_promotion(notes):
    candidate = rehearsed(notes)
    with pytest.raises(PromotionError, match="the schema of notes or of what names it changed"):
        promote(
            candidate, ONLINE, at_call(3, lambda: run_sql(notes, "CREATE VIEW IF NOT EXISTS v AS SELECT id FROM notes"))
        )
    live = candidate.inspection.backup.live
    assert restored(notes, live).how == "unchanged"
    assert columns(notes) == SOURCE_COLUMNS
    assert [
        name for (name,) in rows(notes, "SELECT name FROM sqlite_master WHERE name LIKE '\\_mig%' ESCAPE '\\'")
    ] == []


def test_a_table_that_the_application_makes_in_the_middle_is_a_finding_and_stays(notes):
    made = at_call(3, lambda: run_sql(notes, "CREATE TABLE IF NOT EXISTS its_own (id INTEGER PRIMARY KEY)"))
    done = promote(rehearsed(notes), ONLINE, made)
    assert ("schema_changed_meanwhile", "the application made, changed or dropped its_own") in [
        (f.code, f.message) for f in done.findings
    ]
    assert columns(notes, "its_own") == ["id"] and columns(notes) == TARGET_COLUMNS


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_nobody_is_turned_away_by_online_promotions_there_and_back(tmp_path, mode):
    path = tmp_path / "notes.db"
    make_notes(path, rows=1000, journal_mode=mode)
    with writing(path, tmp_path / "written") as lines, reading(path, tmp_path / "seen") as seen:
        for direction in (1, 0, 1):
            await_more(lines)
            assert migrate(path, to_version=direction, max_lock_ms=ONLINE).strategy == "online"
        await_more(lines)
        states = seen()
    written = lines()
    assert errors(written) == [] and errors(states) == []
    assert set(states) == {" ".join(SOURCE_COLUMNS), " ".join(TARGET_COLUMNS)}
    assert len(committed(written)) > 50 and lost(path, written) == []
    assert rows(path, "PRAGMA journal_mode") == [(mode,)] and is_sound(path)


def test_the_journal_mode_comes_back_where_the_backup_needed_a_second_try(tmp_path, monkeypatch):
    path = tmp_path / "notes.db"
    make_notes(path, rows=500)
    monkeypatch.setitem(connect.opened.__wrapped__.__kwdefaults__, "timeout_s", TIMEOUT_S)
    live = preflight(path, NOTES)
    kept_open = backup.kept_open

    @contextmanager
    def beside_a_connection_that_lets_nobody_in(database, timeout_s):
        monkeypatch.setattr(backup, "kept_open", kept_open)
        alone = ("PRAGMA locking_mode=EXCLUSIVE", "BEGIN IMMEDIATE", "UPDATE notes SET body = body", "COMMIT")
        with holding(path, *alone), kept_open(database, TIMEOUT_S):
            yield

    monkeypatch.setattr(backup, "kept_open", beside_a_connection_that_lets_nobody_in)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        backup.back_up(live, max_lock_ms=ONLINE)
    end_of_run(rehearse(backup.back_up(live, max_lock_ms=ONLINE)), ONLINE)
    assert columns(path) == TARGET_COLUMNS
    assert rows(path, "PRAGMA journal_mode") == [("delete",)]
