"""What the tools that a migration is for do after each step, and what a report keeps of it."""

import pytest

from migrator import quick_check
from migrator.candidate import add_column, stage
from migrator.inspection import inspect
from migrator.probes import Probe
from migrator.quick_check import BEFORE, FAILS, TOO_SLOW, WORKS, ToolState, look_at_tools
from migrator.report import Report
from tests.notes import ADD_NOTE, PING, READ_NOTES, notes_application
from tests.runs import backed_up, rehearsed, stored

LACKS_STARS = "table notes has no column named stars"


def staged(database, *probes):
    return stage(inspect(backed_up(database, notes_application(probes=probes))))


def test_only_tools_that_the_migration_names_are_looked_at(database):
    states = list(look_at_tools(staged(database, READ_NOTES, ADD_NOTE, PING), "stage"))
    assert states == [ToolState("add_note", "stage", FAILS, LACKS_STARS)]


def test_a_tool_works_from_the_step_on_that_gives_it_its_column(database):
    candidate = staged(database, ADD_NOTE)
    report = Report(str(database))
    report.note_tools(look_at_tools(candidate, BEFORE))
    for column in candidate.plan.tables[0].added:
        candidate = add_column(candidate, "notes", column)
        report.note_tools(look_at_tools(candidate, column.name))
    assert [c.name for c in candidate.plan.tables[0].added] == ["stars", "code"]
    assert report.tool_changes == [
        ToolState("add_note", BEFORE, FAILS, LACKS_STARS),
        ToolState("add_note", "stars", WORKS),
    ]
    assert [change.when for change in report.tool_changes] == ["before the migration", "after: stars"]


def test_what_a_tool_writes_is_gone_again(database):
    candidate = rehearsed(database)
    before = stored(candidate.path)
    assert [s.state for s in look_at_tools(candidate, "create indexes")] == [WORKS]
    assert stored(candidate.path) == before


@pytest.mark.parametrize("writes", [False, True])
def test_a_tool_that_takes_too_long_is_neither_called_working_nor_failing(database, writes):
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n"
    statement = f"INSERT INTO notes (body, mood) {endless.replace('SELECT x FROM', 'SELECT x, 1 FROM')}"
    slow = Probe("add_note", lambda connection: connection.execute(statement if writes else endless).fetchall())
    assert list(look_at_tools(staged(database, slow), "stage")) == [ToolState("add_note", "stage", TOO_SLOW)]


def test_what_is_over_in_time_works_whatever_it_counts(database):
    # Enough for SQLite to look at the clock.
    some = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 300) SELECT x FROM n"
    counts = Probe("add_note", lambda connection: len(connection.execute(some).fetchall()))
    assert list(look_at_tools(staged(database, counts), "stage")) == [ToolState("add_note", "stage", WORKS)]


def test_what_fails_late_fails(database, monkeypatch):
    monkeypatch.setattr(quick_check, "_DEADLINE_S", 0.0)
    states = list(look_at_tools(staged(database, ADD_NOTE), "stage"))
    assert states == [ToolState("add_note", "stage", FAILS, LACKS_STARS)]


def test_a_report_keeps_the_state_of_each_tool_before_the_migration_and_every_change():
    report = Report("a.db")
    told = [
        ToolState("a", BEFORE, FAILS, "no such column: x"),
        ToolState("b", BEFORE, WORKS),
        ToolState("a", "add x", FAILS, "no such column: y"),
        ToolState("a", "add y", WORKS),
        ToolState("b", "add y", WORKS),
        ToolState("b", "rebuild", FAILS, "no such column: z"),
    ]
    added = [report.note_tools([state]) for state in told]
    assert [bool(a) for a in added] == [True, True, False, True, False, True]
    assert report.tool_changes == [told[0], told[1], told[3], told[5]]
    assert report.as_json()["tool_changes"][-1] == {
        "tool": "b", "step": "rebuild", "state": "fails", "reason": "no such column: z",
    }  # fmt: skip


def test_a_tool_that_is_too_slow_for_a_quick_look_is_no_change():
    report = Report("a.db")
    told = [
        ToolState("a", BEFORE, WORKS),
        ToolState("b", BEFORE, TOO_SLOW),
        ToolState("a", "add x", TOO_SLOW),
        ToolState("b", "add x", FAILS, "no such column: x"),
        ToolState("a", "add y", WORKS),
        ToolState("b", "add y", WORKS),
    ]
    assert [bool(report.note_tools([state])) for state in told] == [True, False, False, False, False, True]
    assert report.tool_changes == [told[0], told[5]]
