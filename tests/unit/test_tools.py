"""The gate of the tools: what each verdict needs, and that nothing stays on the copies."""

import shutil
import sqlite3
from dataclasses import replace

import pytest

from migrator import candidate as candidates
from migrator.candidate import stage
from migrator.errors import ProbeError, RehearsalError, ValidationError
from migrator.inspection import inspect
from migrator.migration import Back, Behaviour, Change
from migrator.probes import Probe
from migrator.projection import Projection
from migrator.tools import ToolFailedError, ToolResult, call, check_constraints, copy_for_tools, validate_tool
from tests.notes import ADD_NOTE, PING, READ_NOTES, change, make_notes, migration, notes_application
from tests.runs import backed_up, holds, migrate, rehearsed, rows, run_sql


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("tools") / "notes.db"
    make_notes(path)
    return copy_for_tools(rehearsed(path))


@pytest.fixture
def scratch(made, tmp_path):
    """Copies that a test may change."""
    before, after = (shutil.copy(path, tmp_path / path.name) for path in (made.before, made.after))
    return replace(made, before=before, after=after)


def probe(call, tool="some_tool"):
    return Probe(tool, call)


def works(connection):
    return connection.execute("SELECT count(*) FROM notes").fetchall()


def uses_place(connection):
    return connection.execute("SELECT place FROM notes WHERE id = 1").fetchall()


def test_a_tool_that_works_on_both_passes(scratch):
    assert validate_tool(scratch, READ_NOTES) == ToolResult("read_notes", "passed", "passed", "passed", None)


def test_a_repaired_tool_passes_and_says_how_it_failed(scratch):
    result = validate_tool(scratch, ADD_NOTE)
    assert (result.status, result.before, result.after) == ("passed", "failed", "passed")
    assert result.reason == "failed before: table notes has no column named stars"


def test_a_tool_that_cannot_be_called_is_skipped_with_its_reason_and_never_passed(scratch):
    result = validate_tool(scratch, PING)
    assert result == ToolResult("ping", "skipped", "skipped", "skipped", "asks a server, not the database")


def test_a_tool_that_stops_working_is_reported_with_its_row(scratch):
    with pytest.raises(
        ToolFailedError, match=r"tool some_tool worked before and fails .*: no such column: place"
    ) as caught:
        validate_tool(scratch, probe(uses_place))
    assert caught.value.result == ToolResult("some_tool", "failed", "passed", "failed", "no such column: place")
    assert "live unchanged" in str(caught.value)


def test_a_tool_that_the_migration_repairs_and_that_still_fails_is_reported(scratch):
    def fails(connection):
        raise ProbeError("not what was stored")

    with pytest.raises(ToolFailedError, match="tool add_note still fails on the migrated copy: not what was stored"):
        validate_tool(scratch, probe(fails, "add_note"))


def test_a_tool_that_failed_before_and_that_nobody_promised_to_repair_stops_nothing(scratch):
    def fails(connection):
        connection.execute("SELECT x FROM nowhere")

    result = validate_tool(scratch, probe(fails))
    assert (result.status, result.before, result.reason) == ("failed", "failed", "no such table: nowhere")


def moods(connection):
    """The mood changes as the migration declares, the body does not; the answer has lists by the one and the other."""
    every, good = "SELECT id, body, mood FROM notes", "SELECT id, body FROM notes WHERE mood = 'good'"
    return [connection.execute(f"{query} ORDER BY id DESC LIMIT 40").fetchall() for query in (every, good)]


def test_an_answer_about_old_data_that_changes_is_reported_with_its_way_out(scratch):
    with pytest.raises(ToolFailedError, match="answers differently about data that was there before") as caught:
        validate_tool(scratch, probe(moods))
    assert caught.value.way_out.startswith("if that is meant, name the tool")
    with pytest.raises(ToolFailedError) as caught:
        validate_tool(scratch, probe(uses_place))
    assert caught.value.way_out == (
        "repair that, or check that the application is the version that the migration is for"
    )


def test_the_answer_of_a_tool_that_the_migration_names_may_change_as_declared(scratch):
    before = holds(scratch.before)
    assert validate_tool(scratch, probe(moods, "add_note")) == ToolResult(
        "add_note", "passed", "passed", "passed", None
    )
    assert holds(scratch.before) == before


@pytest.mark.parametrize(
    "defect",
    [
        "DELETE FROM notes WHERE id = 90",
        "INSERT INTO notes (body, mood) SELECT body, mood FROM notes WHERE id = 90",
        "UPDATE notes SET body = 'note 90' WHERE id = 90",
        "UPDATE notes SET body = (SELECT body FROM notes AS other WHERE other.id = 181 - notes.id) WHERE id > 80",
        "UPDATE notes SET mood = 'bad' WHERE id = 97",
        "UPDATE notes SET mood = NULL WHERE id = 97",
    ],
)
def test_any_other_change_of_its_answer_is_reported(scratch, defect):
    run_sql(scratch.after, defect)
    with pytest.raises(ToolFailedError, match=r"add_note worked before .* answers differently about data that was"):
        validate_tool(scratch, probe(moods, "add_note"))


def test_a_fault_of_the_projection_itself_is_reported(tmp_path, monkeypatch):
    sql = Projection.sql
    mixed_up = (', "body" AS "body"', ", 'note ' || (id % 7) AS \"body\"")
    monkeypatch.setattr(Projection, "sql", lambda *given, **only: sql(*given, **only).replace(*mixed_up))
    path = tmp_path / "notes.db"
    make_notes(path)
    with pytest.raises(RehearsalError, match=r"the way back would not give the rows of notes .*\d+ with another body"):
        rehearsed(path)
    monkeypatch.setattr(candidates, "compare_way_back", lambda *_: None)
    with pytest.raises(ToolFailedError, match="answers differently about data that was there before"):
        validate_tool(copy_for_tools(rehearsed(path)), probe(moods, "add_note"))


def test_what_several_migrations_declare_adds_up(tmp_path):
    shout = Change("notes", values={"body": "upper(body)"}, originals="notes_quiet", ahead="notes_loud")
    ideas = Change("ideas", after="CREATE TABLE ideas (id INTEGER PRIMARY KEY, body TEXT)")
    path = tmp_path / "notes.db"
    make_notes(path)
    scratch = copy_for_tools(rehearsed(path, notes_application(migration(), migration(shout, ideas, version=2))))
    assert validate_tool(scratch, probe(moods, "add_note")).status == "passed"
    run_sql(scratch.after, "UPDATE notes SET body = 'note 90' WHERE id = 90")
    with pytest.raises(ToolFailedError, match="answers differently"):
        validate_tool(scratch, probe(moods, "add_note"))


def test_a_tool_that_fails_on_the_declared_values_is_reported_with_its_fault(scratch):
    def needs_both(connection):
        found = connection.execute("SELECT DISTINCT mood FROM notes ORDER BY mood").fetchall()
        index = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'notes_mood'").fetchone()
        if ("Happy",) not in found and index is None:
            raise ProbeError("neither old nor new")
        return found

    with pytest.raises(ToolFailedError, match=r"add_note worked before and fails .*: neither old nor new"):
        validate_tool(scratch, probe(needs_both, "add_note"))


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_a_probe_that_ends_its_transaction_stops_the_run(scratch, end):
    def ends(connection):
        connection.execute(end)

    with pytest.raises(ValidationError, match="probe of tool some_tool ended the transaction that it was called in"):
        validate_tool(scratch, probe(ends))


@pytest.mark.parametrize("fails", [False, True])
def test_what_a_tool_wrote_is_rolled_back_on_both_copies(scratch, fails):
    before = holds(scratch.before), holds(scratch.after)

    def writes(connection):
        connection.execute("DELETE FROM notes")
        if fails:
            raise ProbeError("after the write")

    validate_tool(scratch, probe(writes))
    assert (holds(scratch.before), holds(scratch.after)) == before


def test_rows_that_a_repaired_tool_writes_against_a_foreign_key_are_a_finding(scratch):
    def adds_tag(connection):
        connection.execute("INSERT INTO tags VALUES (-5, 'orphan')")

    found = validate_tool(scratch, probe(adds_tag, "add_note")).findings
    assert [(f.code, f.message) for f in found] == [
        (
            "foreign_key_not_honoured",
            "what the application writes breaks the foreign key tags -> notes; SQLite enforces none unless the "
            "application asks for it",
        )
    ]


def test_the_way_back_may_break_the_tools_that_the_migration_repaired_and_no_others(tmp_path):
    path = tmp_path / "notes.db"
    make_notes(path)
    migrate(path)
    scratch = copy_for_tools(rehearsed(path, to_version=0))
    result = validate_tool(scratch, ADD_NOTE)
    assert (result.status, result.before) == ("failed", "passed")

    def uses_stars(connection):
        connection.execute("SELECT stars FROM notes")

    with pytest.raises(ToolFailedError, match="no such column: stars"):
        validate_tool(scratch, probe(uses_stars))
    check_constraints(scratch)


@pytest.fixture
def on_the_way_back(tmp_path):
    path = tmp_path / "notes.db"
    make_notes(path)
    migrate(path)
    return copy_for_tools(rehearsed(path, to_version=0))


def test_an_answer_that_changes_on_the_way_back_as_declared_passes(on_the_way_back):
    assert validate_tool(on_the_way_back, probe(moods, "add_note")).status == "passed"


def test_what_only_the_way_back_makes_is_declared_too(tmp_path):
    path = tmp_path / "notes.db"
    make_notes(path)
    louder = notes_application(migration(change(back={"body": Back("body", "body || '!'")})))
    migrate(path, louder)
    run_sql(path, "INSERT INTO notes (body, mood) VALUES ('since', 'good')")
    scratch = copy_for_tools(rehearsed(path, louder, to_version=0))
    assert rows(scratch.after, "SELECT body FROM notes ORDER BY id DESC LIMIT 2") == [("since!",), ("note 99",)]
    assert validate_tool(scratch, probe(moods, "add_note")).status == "passed"


def test_any_other_change_of_an_answer_on_the_way_back_is_told_and_stops_no_tool_that_the_migration_names(
    on_the_way_back,
):
    run_sql(on_the_way_back.after, "UPDATE notes SET body = 'note 90' WHERE id = 90")
    result = validate_tool(on_the_way_back, probe(moods, "add_note"))
    assert (result.status, result.reason) == ("failed", "answers differently about data that was there before")


def test_a_promise_that_holds_passes_and_leaves_no_row(scratch):
    before = holds(scratch.after)
    check_constraints(scratch)
    assert holds(scratch.after) == before


def test_a_promise_that_the_candidate_breaks_is_named(scratch):
    run_sql(
        scratch.after,
        "ALTER TABLE notes RENAME TO old",
        "CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT, mood TEXT, stars INTEGER, code INTEGER)",
    )
    with pytest.raises(ValidationError, match="promise 'a code is given once': SQLite said 'nothing'"):
        check_constraints(scratch)


def test_a_promise_that_is_kept_for_another_reason_is_not_kept(scratch):
    run_sql(scratch.after, "DROP TABLE notes")
    with pytest.raises(ValidationError, match="SQLite said 'no such table: notes'"):
        check_constraints(scratch)


def test_a_promise_that_cannot_be_tried_says_what_is_in_the_way(scratch):
    run_sql(scratch.after, "CREATE UNIQUE INDEX one_body ON notes (body)")
    message = (
        "promise 'a code is given once' cannot be tried .* SQLite said 'UNIQUE constraint failed: notes.body', "
        "not 'UNIQUE constraint failed: notes.code'; live unchanged; drop the constraint, index or trigger"
    )
    with pytest.raises(ValidationError, match=message):
        check_constraints(scratch)


def test_a_promise_is_kept_by_a_table_in_another_case(tmp_path):
    path = tmp_path / "notes.db"
    make_notes(path, rows=3)
    run_sql(path, "ALTER TABLE notes RENAME TO other", "ALTER TABLE other RENAME TO NOTES")
    check_constraints(copy_for_tools(rehearsed(path)))


def test_what_is_promised_to_be_allowed_must_be_allowed(tmp_path):
    path = tmp_path / "notes.db"
    make_notes(path, rows=3)
    free = Behaviour("any mood", ("INSERT INTO notes (body, mood) VALUES ('b', 'grim')",))
    application = notes_application(migration(change(behaviours=(free,))))
    with pytest.raises(ValidationError, match=r"promise 'any mood': SQLite said .CHECK constraint failed"):
        check_constraints(copy_for_tools(rehearsed(path, application)))


def test_a_copy_of_an_earlier_try_is_replaced(tmp_path):
    path = tmp_path / "notes.db"
    make_notes(path, rows=3)
    candidate = stage(inspect(backed_up(path)))
    scratch = copy_for_tools(candidate)
    run_sql(scratch.before, "DROP TABLE notes")
    assert holds(copy_for_tools(candidate).before) == holds(path)


def test_a_tool_that_is_skipped_is_never_called():
    with pytest.raises(ValueError, match="tool ping is never called: asks a server"):
        call(PING, sqlite3.connect(":memory:"))
