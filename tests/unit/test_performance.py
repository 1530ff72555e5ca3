"""The performance gate, with tools that are really slow, scan really, and really leak."""

import shutil
from dataclasses import replace

import pytest

from migrator import performance
from migrator.errors import ValidationError
from migrator.performance import check_performance
from migrator.probes import Probe
from migrator.tools import ToolResult, copy_for_tools
from tests.notes import COUNT_GOOD, PING, make_notes
from tests.runs import rehearsed, run_sql

BUSY = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < {}) SELECT count(*) FROM n"


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    path = tmp_path_factory.mktemp("performance") / "notes.db"
    make_notes(path)
    return copy_for_tools(rehearsed(path))


def gate(scratch, *probes, before="passed", after="passed", memory_s=0.0):
    results = [ToolResult(p.tool, after, before, after) for p in probes]
    return check_performance(scratch, probes, results, memory_s=memory_s)


def query(sql, tool="some_tool"):
    return Probe(tool, lambda connection: connection.execute(sql).fetchall())


def by_shape(old, new):
    """A tool that runs `new` where the notes have stars, and `old` where they have none."""

    def call(connection):
        names = {name for (name,) in connection.execute("SELECT name FROM pragma_table_info('notes')")}
        return connection.execute(new if "stars" in names else old).fetchall()

    return Probe("some_tool", call)


def test_a_quick_tool_passes_with_its_numbers(scratch):
    found = gate(scratch, COUNT_GOOD)
    (latency,) = found.latencies
    assert latency.tool == "count_good"
    assert 0 < latency.p50_ms <= latency.p95_ms < 500 and latency.before_p95_ms > 0
    assert found.findings == ()


def test_a_tool_that_failed_before_has_only_the_budget(scratch):
    (latency,) = gate(scratch, COUNT_GOOD, before="failed").latencies
    assert latency.before_p95_ms is None


def test_tools_that_failed_or_were_skipped_are_not_measured(scratch):
    assert gate(scratch, query("SELECT x"), after="failed").latencies == ()
    assert check_performance(scratch, [PING], [ToolResult("ping", "skipped", "skipped", "skipped")]).latencies == ()


def test_a_tool_over_its_budget_is_named(scratch, monkeypatch):
    monkeypatch.setattr(performance, "BUDGET_MS", 1.0)
    with pytest.raises(ValidationError, match=r"tool some_tool is too slow .* \(budget 1 ms\) in 3 measurements"):
        gate(scratch, query(BUSY.format(20_000)), before="failed")


def test_a_tool_that_becomes_slower_is_named_with_both_times(scratch, monkeypatch):
    monkeypatch.setattr(performance, "_WORSE_MS", 2.0)
    with pytest.raises(ValidationError, match=r"tool some_tool is too slow .*: p95 [\d.]+ ms, [\d.]+ ms before"):
        gate(scratch, by_shape("SELECT 1", BUSY.format(1_000_000)))


def test_a_tool_that_was_slow_before_may_stay_so(scratch):
    assert gate(scratch, query(BUSY.format(20_000))).latencies


def test_a_slowdown_that_passes_by_is_no_failure(scratch, monkeypatch):
    monkeypatch.setattr(performance, "_WORSE_MS", 2.0)
    calls = []

    def slow_at_first(connection):
        calls.append(1)
        connection.execute(BUSY.format(50_000) if len(calls) in (2, 4) else "SELECT 1").fetchall()

    assert gate(scratch, Probe("some_tool", slow_at_first)).latencies


@pytest.mark.parametrize(
    "scan",
    [
        "SELECT body FROM notes WHERE stars = 5",
        "SELECT n.body FROM notes n WHERE n.stars = 5",
        "SELECT other.body FROM notes AS other WHERE other.stars = 5",
        'SELECT body FROM "notes" WHERE stars = 5',
        "WITH found AS (SELECT body FROM notes WHERE stars = 5) SELECT * FROM found",
        "SELECT tags.tag FROM tags JOIN notes N ON N.stars = tags.rowid + 0",
        "UPDATE notes SET body = 'x' WHERE stars = 5",
        "  -- why\n  DELETE FROM notes WHERE stars = 5",
        "REPLACE INTO notes (id, body) SELECT id, body FROM notes WHERE stars = 5",
    ],
)
def test_a_full_scan_of_a_table_with_planned_indexes_is_named(scratch, scan):
    with pytest.raises(
        ValidationError, match="tool some_tool reads all of notes although the migration gives it indexes"
    ):
        gate(scratch, query(scan), before="failed")


@pytest.mark.parametrize(
    "search",
    [
        "SELECT body FROM notes WHERE id = 5",
        "SELECT count(*) FROM notes",
        "SELECT * FROM tags",
        "PRAGMA user_version",
    ],
)
def test_what_is_no_full_scan_of_such_a_table_passes(scratch, search):
    assert gate(scratch, query(search), before="failed").latencies


def test_an_index_that_no_tool_uses_is_a_finding(scratch):
    (found,) = gate(scratch, query("SELECT 1")).findings
    assert (found.code, found.message) == ("index_unused", "no tool uses index notes_mood")


def test_a_tool_that_works_on_a_table_of_its_own_has_no_plan_there(scratch):
    def makes_a_table(connection):
        connection.execute("CREATE TABLE mine (x)")
        connection.execute("SELECT * FROM mine").fetchall()

    assert gate(scratch, Probe("some_tool", makes_a_table)).latencies


def test_a_tool_that_keeps_memory_is_noticed_however_short_the_time(scratch):
    kept = []
    leaking = Probe("some_tool", lambda connection: kept.append(bytearray(b"x") * (64 << 20)))
    with pytest.raises(ValidationError, match=r"memory grew by [\d,]+ bytes over \d+ calls"):
        performance._check_memory(scratch.after, [leaking], 0.0)


def test_steady_tools_do_not_leak(scratch):
    performance._check_memory(scratch.after, [COUNT_GOOD], 0.05)


def test_without_proc_the_peak_is_taken(tmp_path):
    assert performance._resident_bytes(tmp_path / "none") > performance._resident_bytes() / 2 > 1 << 20


def test_the_gate_changes_nothing_on_the_copies(scratch, tmp_path):
    copy = replace(scratch, after=shutil.copy(scratch.after, tmp_path / "after.db"))
    before = copy.after.read_bytes()
    gate(copy, query("INSERT INTO tags VALUES (1, 'x')"), before="failed")
    assert copy.after.read_bytes() == before
    run_sql(copy.after, "DROP INDEX notes_mood")
    with pytest.raises(ValidationError, match="tool count_good reads all of notes"):
        gate(copy, COUNT_GOOD, before="failed")
