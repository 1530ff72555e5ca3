"""What a health check finds, and that it changes nothing: with tools that really fail and really are slow."""

import os
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from migrator import connect
from migrator.files import make_directory
from migrator.health import slowdown, tool_health
from migrator.health.checkup import check
from migrator.health.history import Check, ToolTimes
from migrator.journal import Journal, journal_path, write_journal
from migrator.lock import lock_path
from migrator.migration import Change, Migration
from migrator.probes import Probe
from tests.children import holding, running
from tests.notes import AFTER, NOTES, READ_NOTES, TAGS, make_notes, notes_application
from tests.runs import migrate, run_sql, stored
from tests.unit.test_under_way import LOCK

BUSY = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < {}) SELECT count(*) FROM n"
SHORT = "history_short"


@pytest.fixture(autouse=True)
def brisk(monkeypatch):
    """Few calls, and limits to which little work is much: slower is 1 ms more, not 20."""
    monkeypatch.setattr(tool_health, "_CALLS", 5)
    monkeypatch.setattr(slowdown, "_LEAST_MS", 1.0)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A migrated database as bytes, by journal mode."""
    found = {}
    for mode in ("delete", "wal"):
        path = tmp_path_factory.mktemp(mode) / "notes.db"
        make_notes(path, journal_mode=mode)
        migrate(path)
        found[mode] = path.read_bytes()
    return found


@pytest.fixture
def database(made, folder):
    path = folder / "notes.db"
    path.write_bytes(made["delete"])
    return path


def health(database, application=NOTES, history=(), **options):
    return check(database, application, database.parent / "notes.db.backups", history, **options)


def codes(noted):
    return [finding.code for finding in noted]


def faults(database, *arguments, **options):
    return codes(health(database, *arguments, **options).faults)


def tool(call, name="some_tool"):
    return Probe(name, call)


def query(sql, name="some_tool"):
    return tool(lambda connection: connection.execute(sql).fetchall(), name)


def with_tools(*probes):
    return notes_application(probes=probes)


def remembered(name, cpu_ms, checks=10):
    """A history in which the tool took `cpu_ms`, and the reference a hundred: nothing can look like a slow machine."""
    times = ToolTimes("passed", cpu_ms, cpu_ms, cpu_ms, 100.0)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return [Check(start + timedelta(days=n), healthy=True, tools={name: times}) for n in range(checks)]


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_migrated_database_is_healthy_and_all_is_known_of_it(made, folder, mode):
    database = folder / "notes.db"
    database.write_bytes(made[mode])
    found = health(database)
    assert (found.healthy, found.faults, codes(found.findings)) == (True, (), [SHORT])
    assert found.version == 1 and len(found.schema_fingerprint) == 64
    assert found.rows == {"notes": 100, "tags": 50}
    assert found.size_bytes == len(made[mode])
    assert [(t.name, t.status) for t in found.tools] == [
        ("read_notes", "passed"), ("add_note", "passed"), ("count_good", "passed"), ("ping", "skipped"),
    ]  # fmt: skip
    assert all(0 < t.p50_ms <= t.p95_ms < 500 and t.cpu_ms > 0 and t.reference_ms > 0 for t in found.tools[:3])
    assert found.tools[3].reason == "asks a server, not the database" and found.tools[3].p95_ms is None


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_not_a_byte_of_main_file_or_log_changes(made, folder, mode):
    database = folder / "notes.db"
    database.write_bytes(made[mode])
    with closing(sqlite3.connect(database, isolation_level=None)) as application:
        application.execute("INSERT INTO notes (body, mood) VALUES ('only in the log, where there is one', 'good')")
        before = stored(database)
        assert len(before) == (2 if mode == "wal" else 1)
        found = health(database)
        assert stored(database) == before
    assert found.healthy and found.rows["notes"] == 101


def test_live_is_only_ever_opened_for_reading(database, monkeypatch):
    opened, real = [], connect.connect

    def noting(path, **options):
        opened.append((path, options.get("read_only", False)))
        return real(path, **options)

    monkeypatch.setattr(connect, "connect", noting)
    assert health(database).healthy
    assert {read_only for path, read_only in opened if path == database} == {True}


def test_nothing_is_left_of_a_check(database):
    health(database)
    assert sorted(os.listdir(database.parent)) == ["notes.db", "notes.db.backups"]
    assert os.listdir(database.parent / "notes.db.backups") == []


def test_a_database_that_is_not_migrated_has_its_tools_judged(folder):
    make_notes(folder / "notes.db")
    found = health(folder / "notes.db")
    assert found.version == 0
    assert [f.message for f in found.faults] == ["tool add_note fails: table notes has no column named stars"]
    assert codes(found.findings) == ["pending", SHORT]


def test_the_schema_alone_says_the_version_where_there_is_no_ledger(folder):
    run_sql(folder / "notes.db", AFTER, TAGS, "CREATE INDEX notes_mood ON notes(mood)")
    found = health(folder / "notes.db")
    assert (found.healthy, found.version) == (True, 1)
    assert codes(found.findings) == ["no_ledger", SHORT]


def test_versions_of_which_only_the_rows_tell_are_all_named(folder):
    run_sql(folder / "notes.db", AFTER, TAGS, "CREATE INDEX notes_mood ON notes(mood)")
    only_rows = Change("notes", values={"stars": "coalesce(stars, 0)"}, originals="stars_legacy", ahead="stars_ahead")
    later = replace(NOTES, migrations=(*NOTES.migrations, Migration((only_rows,), version=2, name="no_null")))
    found = health(folder / "notes.db", later)
    assert found.version == 2
    (told,) = (f.message for f in found.findings if f.code == "no_ledger")
    assert told == "the schema is that of versions 0001 to 0002, and no ledger says who made it so"


def test_a_ledger_that_was_dropped_leaves_the_schema(database):
    run_sql(database, "DROP TABLE _migration_history", "DROP TABLE _sqlite_migrations")
    found = health(database)
    assert (found.healthy, found.version) == (True, 1)


DRIFT = {
    "DROP INDEX notes_mood": ["index_missing"],
    "ALTER TABLE notes ADD COLUMN mine": ["column_changed"],
    "DROP VIEW bodies": ["object_missing"],
    "UPDATE _sqlite_migrations SET name = '0007_unknown'": ["unknown_migration"],
    "UPDATE _migration_history SET checksum = 'edited'": ["edited_migration"],
    "UPDATE _migration_history SET schema_after = 'no object'": ["ledger"],
}


@pytest.mark.parametrize("statement", DRIFT)
def test_drift_is_a_fault(database, statement):
    run_sql(database, statement)
    found = health(database, with_tools(READ_NOTES))
    assert set(DRIFT[statement]) <= set(codes(found.faults))
    assert found.tools[0].status == "passed"


def test_what_the_application_added_is_a_finding(database):
    run_sql(database, "CREATE TABLE child (note_id REFERENCES notes(id))")
    found = health(database)
    assert found.healthy and "added_since" in codes(found.findings)


def test_rows_that_break_a_foreign_key_are_a_finding_with_their_count(database):
    run_sql(database, "INSERT INTO tags VALUES (-1, 'x')", "INSERT INTO tags VALUES (-2, 'x')")
    found = health(database)
    assert found.healthy
    assert [f.count for f in found.findings if f.code == "foreign_key_violations"] == [2]


def test_a_tool_that_fails_is_a_fault_and_the_others_are_still_tried(database):
    found = health(database, with_tools(query("SELECT x FROM nowhere"), READ_NOTES))
    assert [(f.code, f.message) for f in found.faults] == [
        ("tool_failed", "tool some_tool fails: no such table: nowhere")
    ]
    assert [(t.status, t.p95_ms is None) for t in found.tools] == [("failed", True), ("passed", False)]


def test_a_tool_that_ends_its_transaction_is_a_fault(database):
    found = health(database, with_tools(tool(lambda connection: connection.execute("COMMIT")), READ_NOTES))
    assert codes(found.faults) == ["tool_failed"] and "ended the transaction" in found.faults[0].message
    assert [t.status for t in found.tools] == ["failed", "passed"]


def test_a_tool_that_fails_only_now_and_then_is_a_fault(database):
    calls = []

    def second_time(connection):
        calls.append(1)
        connection.execute("SELECT 1" if len(calls) == 1 else "SELECT x FROM nowhere").fetchall()

    assert faults(database, with_tools(tool(second_time))) == ["tool_failed"]


def test_what_a_tool_writes_is_gone_for_the_next(database):
    empties = query("DELETE FROM notes", "empties")
    found = health(database, with_tools(empties, query("SELECT 1 / (SELECT count(*) FROM notes)", "reads")))
    assert found.healthy and found.rows["notes"] == 100


def test_a_p95_over_budget_is_a_fault(database, monkeypatch):
    monkeypatch.setattr(tool_health, "BUDGET_MS", 1.0)
    found = health(database, with_tools(query(BUSY.format(20_000)), query("SELECT 1", "quick")))
    assert codes(found.faults) == ["over_budget"]
    assert "tool some_tool is over the budget of 1 ms in each of 3 measurements: p95 " in found.faults[0].message


@pytest.mark.parametrize(
    ("scan", "expected"),
    [("SELECT body FROM notes WHERE stars = 5", ["full_scan"]), ("SELECT body FROM notes WHERE mood = 'good'", [])],
)
def test_a_full_scan_of_a_table_with_declared_indexes_is_a_fault(database, scan, expected):
    found = health(database, with_tools(query(scan)))
    assert codes(found.faults) == expected
    assert all("stars" not in f.message for f in found.faults)


def test_before_the_migration_gives_indexes_a_full_scan_is_none(folder):
    make_notes(folder / "notes.db")
    assert faults(folder / "notes.db", with_tools(query("SELECT body FROM notes WHERE place = 'x'"))) == []


def test_a_tool_slower_than_its_history_is_a_fault_with_the_way_out(database):
    slow = with_tools(query(BUSY.format(150_000)))
    found = health(database, slow, remembered("some_tool", 1.0))
    assert codes(found.faults) == ["slower"]
    assert "ms of processor time, usually 1.0 ms and noise up to 2.0 ms, in each of 3 me" in found.faults[0].message
    assert "--accept-speed" in found.faults[0].message
    (times,) = found.tools
    assert times.status == "passed" and times.cpu_ms > times.limit_cpu_ms == 2.0


def test_an_accepted_slowdown_is_a_finding_and_remembered_as_accepted(database):
    slow = with_tools(query(BUSY.format(150_000)))
    found = health(database, slow, remembered("some_tool", 1.0), accept_speed=True)
    assert found.healthy and codes(found.findings) == ["speed_accepted"]
    assert found.as_check().speed_accepted


def test_a_tool_as_fast_as_ever_is_healthy_and_no_history_is_too_short(database):
    found = health(database, with_tools(query("SELECT 1")), remembered("some_tool", 1.0, checks=8))
    assert (found.faults, found.findings) == ((), ())
    assert (found.tools[0].usual_cpu_ms, found.tools[0].limit_cpu_ms) == (1.0, 2.0)


def test_with_fewer_than_eight_checks_it_says_that_nothing_was_judged(database):
    found = health(database, with_tools(query("SELECT 1"), READ_NOTES), remembered("some_tool", 1.0, checks=7))
    assert [(f.code, f.count) for f in found.findings] == [(SHORT, 2)]
    assert found.tools[0].limit_cpu_ms is None


def test_a_slow_machine_is_said_and_no_tool_is_blamed_for_it(database):
    history = [
        Check(c.at, healthy=True, tools={"some_tool": ToolTimes("passed", 1.0, 1.0, 0.001, 0.001)})
        for c in remembered("some_tool", 1.0)
    ]
    found = health(database, with_tools(query(BUSY.format(150_000))), history)
    assert found.healthy and codes(found.findings) == ["slow_machine"]


def test_waiting_for_a_processor_is_no_slowness(tmp_path):
    schedstat = tmp_path / "schedstat"
    schedstat.write_text("5000000 7500000 42\n")
    assert tool_health._waited_ms(schedstat) == 7.5
    assert tool_health._waited_ms(tmp_path / "none") == 0.0


def test_what_a_call_waited_for_a_processor_is_taken_off_the_clock(database, monkeypatch):
    waited = iter([7.5, 1007.5])
    monkeypatch.setattr(tool_health, "_waited_ms", lambda: next(waited))
    monkeypatch.setattr(tool_health, "timed_ms", lambda path, probe: 1200.0)
    assert tool_health._timed(database, READ_NOTES)[0] == 200.0


def test_what_was_found_is_what_the_history_keeps(database):
    run_sql(database, "DROP INDEX notes_mood")
    found = health(database)
    kept = found.as_check()
    assert (kept.at, kept.healthy, kept.version) == (found.at, False, 1)
    assert kept.faults == ("index_missing", "full_scan")
    assert (kept.rows, kept.size_bytes) == (found.rows, found.size_bytes)
    assert kept.tools["ping"] == ToolTimes("skipped")
    assert kept.tools["read_notes"].cpu_ms == found.tools[0].cpu_ms


def test_a_damaged_page_is_a_fault_and_its_tools_are_not_called_passed(database):
    run_sql(database, "CREATE TABLE big (x)", "INSERT INTO big VALUES (hex(zeroblob(20000)))")
    with database.open("r+b") as file:
        file.seek(-8192, 2)
        file.write(b"\xff" * 8192)
    found = health(database)
    assert codes(found.faults) == ["damaged"] and found.tools == ()


def truncated(path):
    os.truncate(path, path.stat().st_size - 8192)


def nonsense(path):
    path.write_bytes(b"no database at all" * 500)


def empty(path):
    path.write_bytes(b"")


def missing(path):
    path.unlink()


def a_directory(path):
    path.unlink()
    path.mkdir()


def a_pipe(path):
    path.unlink()
    os.mkfifo(path)


UNREADABLE = {
    truncated: ("damaged", "is damaged"), nonsense: ("damaged", "no SQLite database"),
    empty: ("not_checked", "is empty"), missing: ("not_checked", "no database at"),
    a_directory: ("not_checked", "is no ordinary file"), a_pipe: ("not_checked", "is no ordinary file"),
}  # fmt: skip


@pytest.mark.parametrize("make", UNREADABLE)
def test_what_is_no_sound_database_is_a_fault(database, make):
    make(database)
    found = health(database)
    code, said = UNREADABLE[make]
    assert codes(found.faults) == [code]
    assert str(database) in found.faults[0].message and said in found.faults[0].message
    assert (found.size_bytes, found.tools) == (None, ())


def test_beside_a_database_that_is_not_there_nothing_is_made(database):
    database.unlink()
    health(database)
    assert os.listdir(database.parent) == []


DIE = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size=2")
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE notes SET body = 'half' || hex(randomblob(2000))")
print("ready", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_hot_journal_is_a_fault_and_stays_as_it_is(database):
    with running(DIE, database) as child:
        child.wait()
    journal = database.with_name("notes.db-journal")
    before = stored(database), journal.read_bytes()
    found = health(database)
    assert codes(found.faults) == ["hot_journal"]
    assert "a writer died in a transaction" in found.faults[0].message
    assert (stored(database), journal.read_bytes()) == before


def test_a_database_that_stays_locked_is_a_fault(database):
    with holding(database, "BEGIN EXCLUSIVE"):
        assert faults(database, timeout_s=0.05) == ["locked"]


def begun(database):
    write_journal(database, Journal("0a1b2c3d", str(database.parent / "20260101T000000Z-0a1b2c3d")))


def test_a_killed_run_is_a_fault_and_what_it_left_is_no_second_one(database):
    begun(database)
    run_sql(database, "CREATE TABLE _mig_notes (id)")
    found = health(database)
    assert codes(found.faults) == ["killed_run"]
    assert "python -m flows.migrate --database" in found.faults[0].message
    assert journal_path(database).exists() and not lock_path(database).exists()


def test_a_run_at_work_is_a_finding_and_what_it_has_in_the_database_is_its_own(database):
    run_sql(database, "CREATE TABLE _mig_notes (id)")
    with running(LOCK, database):
        begun(database)
        found = health(database)
    assert found.healthy and codes(found.findings) == ["run_under_way", SHORT]


def test_objects_of_a_run_without_a_run_are_a_fault(database):
    run_sql(database, "CREATE TABLE _mig_notes (id)")
    found = health(database)
    assert [(f.code, "_mig_notes" in f.message) for f in found.faults] == [("leftovers", True)]


def test_a_journal_that_no_run_wrote_is_a_fault_and_the_rest_is_still_checked(database):
    journal_path(database).write_text("{}")
    found = health(database)
    assert codes(found.faults) == ["journal"] and found.rows["notes"] == 100


def test_a_folder_that_takes_no_snapshot_is_a_fault(database):
    (database.parent / "notes.db.backups").write_text("a file in its place")
    found = health(database)
    assert codes(found.faults) == ["not_checked"] and "--backup-dir" in found.faults[0].message


def test_what_a_killed_check_left_goes_with_the_next(database):
    left = database.parent / "notes.db.backups" / "verify-0a1b2c3d"
    make_directory(left, database)
    (left / "snapshot.db").write_text("half a copy")
    health(database)
    assert os.listdir(database.parent / "notes.db.backups") == []
