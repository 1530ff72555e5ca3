"""What a database is, against its ledger and the declarations: each deviation is named, and no byte is written."""

import json
import os
import shutil
import signal
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from migrator.check.drift import schema_drift
from migrator.check.promotions import Ledger
from migrator.check.status import NotReadableError, look
from migrator.check.wording import KINDS, wording
from migrator.journal import Journal, write_journal
from migrator.ltmc import LTMC
from migrator.ltmc.migrations import m0001_code_patterns
from migrator.migration import Change
from migrator.promotion import promote
from migrator.removal import remove_old
from migrator.restoration import finish_promoted, recover
from migrator.schema import read_schema
from tests.children import holding, killed_in, running
from tests.notes import AFTER, BEFORE, NOTES, change, make_notes, migration, notes_application
from tests.runs import PLENTY_MS, beside, live_of, migrate, rehearsed, restored, rows, run_sql, stored
from tests.unit.made_up import CHAT, MADE_UP, TASKS, TASKS_WITH_STATE

LOCK = """
import sys
from pathlib import Path
from migrator.lock import locked
with locked(Path(sys.argv[1])):
    print("ready", flush=True)
    sys.stdin.read()
"""
TAKEN = "a migration takes the tables as they are"
STARS = "0001_stars"
LENGTH = migration(
    Change(
        "notes",
        before=AFTER,
        after=AFTER.replace("stars INTEGER", "stars INTEGER, length INTEGER"),
        originals="lengths_legacy",
        ahead="lengths_ahead",
    ),
    version=2,
)
TWO = notes_application(migration(), LENGTH)


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "notes.db"
    make_notes(path, rows=20)
    return path


def looked(database, application=NOTES, max_lock_ms=PLENTY_MS):
    """The status, after a check that looking at it left everything as it was."""
    before, around = stored(database), beside(database)
    status = look(database, application, max_lock_ms)
    assert (stored(database), beside(database)) == (before, around)
    return status


def drift(database, application=NOTES):
    return [(d.code, d.table, d.what, d.now, d.expected) for d in looked(database, application).drift]


def codes(status):
    return [d.code for d in status.drift]


def test_a_database_before_its_migration_is_clean_and_says_what_is_pending(database):
    status = looked(database)
    assert (status.version, status.drift, status.findings, status.refusal) == (0, (), (), None)
    assert [m.label for m in status.pending] == [STARS]
    assert status.plan.to_version == 1
    assert status.ledger.last_change is None


def test_a_migrated_database_is_clean_and_says_when_by_whom_and_with_what(database):
    done = migrate(database)
    status = looked(database)
    assert (status.version, status.drift, status.findings, status.pending, status.plan) == (1, (), (), (), None)
    ((applied, made),) = status.applied
    live = done.candidate.inspection.backup.live
    assert (applied.label, made.run_id, made.rows) == (STARS, live.run_id, 20)
    assert made.checksum == NOTES.migrations[0].checksum
    assert made.backup == str(live.directory / "backup.db")
    assert [(str(status.ledger.last_change),)] == rows(database, "SELECT applied_at FROM _migration_history")


def test_a_database_that_went_back_and_forth_is_clean_and_remembers_it(database):
    migrate(database)
    migrate(database, to_version=0)
    status = looked(database)
    assert (status.version, status.drift, status.findings) == (0, (), ())
    assert [p.reversed_at is not None for p in status.ledger.promotions] == [True]
    again = migrate(database)
    status = looked(database)
    assert (status.version, status.drift, status.findings) == (1, (), ())
    assert [p.reversed_at is not None for p in status.ledger.promotions] == [True, False]
    assert status.applied[0][1].run_id == again.candidate.inspection.backup.live.run_id
    migrate(database, to_version=0)
    assert looked(database).ledger.standing(1) is None


def test_a_run_that_was_restored_leaves_no_drift(database):
    migrate(database, to_version=1)
    done = promote(rehearsed(database, to_version=0), PLENTY_MS)
    restored(database, done.candidate.inspection.backup.live)
    assert (looked(database).version, codes(looked(database))) == (1, [])


def test_of_two_migrations_by_two_runs_the_last_one_counts(database):
    migrate(database, notes_application())
    migrate(database, TWO)
    assert codes(looked(database, TWO)) == []
    migrate(database, TWO, to_version=1)
    status = looked(database, TWO)
    assert (status.version, status.drift) == (1, ())
    run_sql(database, "ALTER TABLE notes ADD COLUMN length INTEGER")
    assert drift(database, TWO) == [("column_changed", "notes", "column length", "length INTEGER", "no such column")]


@pytest.fixture
def at_two(database):
    run_sql(database, "UPDATE notes SET place = NULL")
    migrate(database, TWO)
    return database


def test_two_migrations_by_one_run_can_be_undone_one_by_one(at_two):
    database = at_two
    assert codes(looked(database, TWO)) == []
    migrate(database, TWO, to_version=1)
    assert (looked(database, TWO).version, codes(looked(database, TWO))) == (1, [])
    run_sql(database, "DROP INDEX notes_mood")
    assert [d[:4] for d in drift(database, TWO)] == [("index_missing", "notes", "index notes_mood", "missing")]
    run_sql(database, "CREATE INDEX notes_mood ON notes(mood)")
    migrate(database, TWO, to_version=0)
    assert codes(looked(database, TWO)) == []


def test_what_a_later_run_found_is_what_counts(database):
    run_sql(database, "UPDATE notes SET place = NULL")
    migrate(database)
    run_sql(database, "DROP TRIGGER tagged")
    assert codes(looked(database)) == ["object_missing"]
    migrate(database, TWO)
    assert codes(looked(database, TWO)) == []


def test_of_a_run_that_is_undone_in_part_the_rest_still_counts(tmp_path):
    tags = "CREATE TABLE tags (id INTEGER PRIMARY KEY, tag TEXT)"
    first = migration(
        Change("notes", after="CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT)"),
        Change("tags", after=tags, indexes=("CREATE INDEX by_tag ON tags (tag)",)),
    )
    second = migration(
        Change(
            "notes",
            before="CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT)",
            after="CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT, mood TEXT)",
            originals="kept",
            indexes=("CREATE INDEX by_mood ON notes (mood)",),
        ),
        version=2,
    )
    application = notes_application(first, replace(second, name="moods"), probes=())
    database = tmp_path / "notes.db"
    run_sql(database, "CREATE TABLE other (x)")
    migrate(database, application)
    migrate(database, application, to_version=1)
    assert (looked(database, application).version, codes(looked(database, application))) == (1, [])
    run_sql(database, "DROP INDEX by_tag")
    assert [d[:3] for d in drift(database, application)] == [("index_missing", "tags", "index by_tag")]


def test_of_a_table_that_is_gone_its_indexes_are_not_asked_for(database):
    migrate(database)
    run_sql(database, "DROP TABLE notes")
    assert [d[:3] for d in drift(database)] == [
        ("table_missing", "", "table notes"), ("object_missing", "", "trigger tagged"),
    ]  # fmt: skip


def test_the_ledger_counts_where_somebody_brought_the_schema_of_another_version(database):
    migrate(database)
    migrate(database, to_version=0)
    run_sql(database, "DROP TABLE notes", AFTER, "CREATE INDEX notes_mood ON notes(mood)")
    found = {d[2]: d[0] for d in drift(database)}
    assert found == {
        "column mood": "column_changed", "column place": "column_changed", "column stars": "column_changed",
        "column code": "column_changed", "trigger tagged": "object_missing",
    }  # fmt: skip


CHANGED = {
    "DROP INDEX notes_mood": (
        "index_missing", "notes", "index notes_mood", "missing", "CREATE INDEX notes_mood ON notes(mood)",
    ),
    "ALTER TABLE notes ADD COLUMN mine TEXT": (
        "column_changed", "notes", "column mine", "mine TEXT", "no such column",
    ),
    "ALTER TABLE notes DROP COLUMN stars": (
        "column_changed", "notes", "column stars", "missing", "stars INTEGER",
    ),
    "ALTER TABLE notes RENAME TO remarks": (
        "table_missing", "", "table notes", "missing", "as run RUN left it",
    ),
    "DROP TRIGGER tagged": ("object_missing", "", "trigger tagged", "missing", "as run RUN left it"),
    "DROP VIEW bodies": ("object_missing", "", "view bodies", "missing", "as run RUN left it"),
}  # fmt: skip


@pytest.mark.parametrize("statement", CHANGED)
def test_what_is_not_as_the_ledger_recorded_it_is_named_with_what_it_should_be(database, statement):
    run_id = migrate(database).candidate.inspection.backup.live.run_id
    run_sql(database, statement)
    assert tuple(p.replace("RUN", run_id) for p in CHANGED[statement]) in drift(database)
    assert all(d.way_out for d in looked(database).drift)


def test_a_constraint_that_somebody_took_away_is_named(database):
    migrate(database)
    (sql,) = rows(database, "SELECT sql FROM sqlite_master WHERE name = 'notes'")[0]
    run_sql(
        database,
        "PRAGMA writable_schema=1",
        f"""UPDATE sqlite_master SET sql = '{sql.replace(" CHECK(mood IN ('good', 'bad'))", "").replace("'", "''")}'
        WHERE name = 'notes'""",
    )
    expected = "mood TEXT CHECK(mood IN ('good', 'bad'))"
    assert drift(database) == [("column_changed", "notes", "column mood", "mood TEXT", expected)]


def test_columns_in_another_order_are_drift_because_an_application_may_count_them(database):
    migrate(database)
    run_sql(
        database,
        "DROP VIEW bodies",
        "ALTER TABLE notes DROP COLUMN stars",
        "ALTER TABLE notes ADD COLUMN stars INTEGER",
        "CREATE VIEW bodies AS SELECT id, body FROM notes",
    )
    assert drift(database) == [
        ("table_changed", "notes", "order of the columns", "id, body, mood, code, stars", "id, body, mood, stars, code")
    ]


def test_an_index_that_is_another_one_is_named_with_both_texts(database):
    migrate(database)
    run_sql(database, "DROP INDEX notes_mood", "CREATE INDEX notes_mood ON notes(body)")
    now, wanted = "CREATE INDEX notes_mood ON notes(body)", "CREATE INDEX notes_mood ON notes(mood)"
    assert drift(database) == [("index_changed", "notes", "index notes_mood", now, wanted)]


def test_an_object_that_changed_names_the_backup_that_has_the_old_one(database):
    live = migrate(database).candidate.inspection.backup.live
    run_sql(database, "DROP VIEW bodies", "CREATE VIEW bodies AS SELECT body FROM notes")
    (found,) = looked(database).drift
    assert (found.code, found.what, found.now) == (
        "object_changed", "view bodies", "CREATE VIEW bodies AS SELECT body FROM notes",
    )  # fmt: skip
    assert str(live.directory / "backup.db") in found.way_out


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("CREATE INDEX mine ON notes (body)", "index mine"),
        ("CREATE VIEW recent AS SELECT id FROM notes", "view recent"),
        ("CREATE TABLE child (note_id REFERENCES notes(id))", "table child"),
    ],
)
def test_what_the_application_added_is_a_finding_and_no_drift(database, statement, name):
    migrate(database)
    run_sql(database, statement)
    status = looked(database)
    assert status.drift == ()
    assert [(f.code, f.message) for f in status.findings] == [("added_since", f"the application made {name}")]


def test_a_change_of_layout_is_no_drift(database):
    migrate(database)
    run_sql(database, "DROP INDEX notes_mood", "create  index NOTES_MOOD on Notes ( mood ) -- again")
    assert codes(looked(database)) == []


def test_an_edited_declaration_is_a_mismatch_with_both_checksums(database):
    migrate(database)
    edited = notes_application(migration(change(values={})))
    applied, declared = NOTES.migrations[0].checksum, edited.migrations[0].checksum
    assert applied != declared
    status = looked(database, edited)
    assert codes(status) == ["edited_migration"]
    assert declared in status.drift[0].now
    assert applied in status.drift[0].expected
    assert "was edited after it was applied" in status.refusal
    assert status.plan is None


def test_a_migration_that_this_program_does_not_know_is_a_mismatch(at_two):
    assert "unknown_migration" in codes(looked(at_two))
    assert looked(at_two).drift[0].what == "migration 0002_stars"


def test_versions_with_a_gap_are_a_mismatch(at_two):
    run_sql(at_two, "DELETE FROM _sqlite_migrations WHERE name = '0001_stars'")
    assert "ledger_gap" in codes(looked(at_two, TWO))


def test_a_ledger_without_a_history_is_a_finding_and_the_declaration_counts(database):
    migrate(database)
    run_sql(database, "DROP TABLE _migration_history", "DROP TABLE notes_legacy")
    status = looked(database)
    assert (status.drift, [f.code for f in status.findings]) == ((), ["no_history"])
    run_sql(database, "DROP INDEX notes_mood")
    assert [d[:3] for d in drift(database)] == [("index_missing", "notes", "index notes_mood")]


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("ALTER TABLE _migration_history DROP COLUMN checksum", "is not this tool's ledger"),
        ("UPDATE _migration_history SET schema_after = 'x'", "row of version 1 is not as this tool writes it"),
        ("UPDATE _migration_history SET schema_after = '[]'", "row of version 1 is not as this tool writes it"),
        ("UPDATE _migration_history SET applied_at = 'once'", "row of version 1 is not as this tool writes it"),
    ],
)
def test_a_ledger_that_is_not_as_this_tool_writes_it_is_drift(database, statement, message):
    migrate(database)
    run_sql(database, statement)
    status = looked(database)
    assert (codes(status), status.version) == (["ledger"], None)
    assert message in str(status.drift[0])


def test_the_target_schema_without_a_ledger_is_said_to_be_so_and_a_migration_takes_it(database):
    migrate(database)
    for table in ("_sqlite_migrations", "_migration_history", *NOTES.own_tables):
        run_sql(database, f"DROP TABLE IF EXISTS {table}")
    assert drift(database) == [("no_ledger", "", "the database", "has the schema of version 0001 but no ledger", "")]
    assert looked(database).drift[0].way_out == TAKEN
    migrate(database)
    assert codes(looked(database)) == []


def test_a_half_altered_table_is_named_with_the_columns_and_a_migration_takes_it(database):
    run_sql(database, "ALTER TABLE notes ADD COLUMN stars INTEGER", "ALTER TABLE notes ADD COLUMN code INTEGER")
    now = "has stars, code of a later version: half of a migration"
    assert drift(database) == [("half_altered", "", "table notes", now, "that of version 0000")]
    assert looked(database).drift[0].way_out == TAKEN
    migrate(database)
    assert codes(looked(database)) == []


def test_a_column_of_another_type_is_drift_and_the_way_out_is_the_refusal(database):
    run_sql(database, "ALTER TABLE notes ADD COLUMN stars TEXT", "ALTER TABLE notes ADD COLUMN mine")
    status = looked(database)
    assert codes(status) == ["half_altered", "column_changed"]
    assert (status.plan, status.drift[0].way_out) == (None, "the plan says why a migration refuses it")
    assert "column 'stars' already exists in table 'notes' as TEXT, expected INTEGER" in status.refusal


@pytest.mark.parametrize(
    ("stored_text", "what", "now"),
    [("mood TEXT NOT NULL DEFAULT ''", "column mood", "mood TEXT NOT NULL DEFAULT ''"), ("", "column mood", "missing")],
)
def test_a_column_that_is_not_as_declared_before_its_migration_is_drift(tmp_path, stored_text, what, now):
    database = tmp_path / "notes.db"
    table = BEFORE.replace(" mood TEXT NOT NULL,", f" {stored_text}," if stored_text else "")
    run_sql(database, table)
    assert drift(database) == [("column_changed", "notes", what, now, "mood TEXT NOT NULL")]


def test_the_type_counts_also_where_a_migration_keeps_the_definition(tmp_path):
    database = tmp_path / "notes.db"
    run_sql(database, BEFORE.replace("body TEXT", "body BLOB"))
    assert drift(database) == [("column_changed", "notes", "column body", "body BLOB NOT NULL", "body TEXT NOT NULL")]
    assert "expected TEXT" in looked(database).refusal


def test_the_target_table_without_its_indexes_is_half_a_migration(tmp_path):
    database = tmp_path / "notes.db"
    run_sql(database, AFTER)
    assert codes(looked(database))[0] == "half_altered"


def test_a_column_of_an_earlier_version_is_no_half_of_a_later_one(tmp_path):
    without = migration(
        Change("notes", before=AFTER, after=AFTER.replace("stars INTEGER, ", ""), originals="kept"), version=2
    )
    database = tmp_path / "notes.db"
    run_sql(database, AFTER, "CREATE INDEX notes_mood ON notes(mood)")
    with closing(sqlite3.connect(database)) as connection:
        schema = read_schema(connection)
    ledger = Ledger(frozenset({STARS, "0002_stars"}))
    found, _ = schema_drift(notes_application(migration(), without), schema, ledger, 2)
    assert [(d.code, d.what) for d in found] == [("column_changed", "column stars")]


def test_a_definition_that_a_migration_keeps_is_no_drift(tmp_path):
    database = tmp_path / "notes.db"
    run_sql(database, BEFORE.replace("body TEXT NOT NULL", "body TEXT NOT NULL COLLATE NOCASE"))
    assert codes(looked(database)) == []
    migrate(database, notes_application(probes=()))
    assert codes(looked(database)) == []


def test_a_missing_table_is_drift(tmp_path):
    database = tmp_path / "other.db"
    run_sql(database, "CREATE TABLE other (x)")
    assert drift(database) == [("table_missing", "", "table notes", "missing", "that of 0000")]


def test_a_table_that_a_migration_will_make_is_drift_where_it_is_there(tmp_path):
    application = notes_application(MADE_UP)
    database = tmp_path / "tasks.db"
    run_sql(database, TASKS, CHAT)
    assert codes(looked(database, application)) == []
    run_sql(database, "CREATE TABLE steps (id INTEGER PRIMARY KEY)")
    assert ("half_altered", "", "table steps", "there before its migration", "none yet") in drift(database, application)


def test_what_a_run_leaves_only_while_it_lasts_is_reported_and_stays(database):
    run_sql(database, "CREATE TABLE _mig_notes (id)")
    status = looked(database)
    assert [(d.code, d.what, d.way_out) for d in status.drift] == [("leftovers", "_mig_notes", "rename or drop them")]
    assert "named like this tool's own" in status.refusal


def killed_while_copying(database):
    """An online promotion that was killed when it had copied some rows; returns the id of the run."""
    candidate = rehearsed(database)
    live = candidate.inspection.backup.live
    write_journal(database, Journal(live.run_id, str(live.directory)))

    def stop_halfway(say):
        promote(candidate, 0, lambda *_: (say("copying"), signal.pause()))

    assert killed_in("copying", 0, 0.0, stop_halfway).killed
    return live.run_id


def test_what_a_killed_run_left_is_reported_and_stays(database):
    planned = looked(database).plan
    run_id = killed_while_copying(database)
    status = looked(database)
    assert codes(status) == ["killed_run", "leftovers"]
    assert status.drift[0].what == f"run {run_id}"
    assert "_mig_notes.log" in status.drift[1].what
    assert status.drift[1].way_out == (
        "start the migration again, which removes what a run left; do not drop them by hand"
    )
    assert (status.refusal, status.plan, status.forecast.rows) == (None, planned, 20)
    recover(database, NOTES)
    assert codes(looked(database)) == []


@pytest.mark.parametrize("is_back", [False, True])
def test_a_run_that_promoted_was_not_killed_before_its_end(database, is_back):
    if is_back:
        migrate(database)
    done = promote(rehearsed(database, to_version=0 if is_back else 1), 0)
    live = live_of(done)
    write_journal(database, Journal(live.run_id, str(live.directory)))
    removes = "start the migration again, which removes them"
    told = [(d.code, d.what, d.now, d.way_out) for d in looked(database).drift]
    assert told[0] == ("promoted_run", f"run {live.run_id}", "promoted, but left tables to remove", removes)
    assert [code for code, *_ in told[1:]] == ["leftovers"]
    remove_old(done)
    ends = "start the migration again, which ends it"
    (said,) = looked(database).drift
    assert (said.code, said.now, said.way_out) == ("promoted_run", "promoted, but did not end", ends)
    assert [f.code for f in finish_promoted(live)] == []
    assert codes(looked(database)) == []


def test_without_the_journal_nobody_is_told_to_drop_what_the_triggers_write_to(database):
    killed_while_copying(database)
    database.with_name("notes.db.migrating").unlink()
    status = looked(database)
    (found,) = status.drift
    assert found.code == "leftovers"
    assert found.way_out.startswith("drop the triggers first, then the tables, in one transaction: ")
    assert status.refusal.endswith(found.way_out)
    left = rows(database, "SELECT type, name FROM sqlite_master WHERE name LIKE '!_mig!_%' ESCAPE '!' AND sql NOTNULL")
    assert {"trigger", "table"} <= {kind for kind, _ in left}
    dropped = [f'DROP {kind} "{name}"' for wanted in ("trigger", "table") for kind, name in left if kind == wanted]
    run_sql(database, "BEGIN", *dropped, "COMMIT")
    run_sql(database, "INSERT INTO notes (body, mood) VALUES ('after', 'good')")
    assert codes(looked(database)) == []


def test_what_a_run_at_work_has_in_the_database_is_no_drift(database):
    write_journal(database, Journal("0a1b2c3d", str(database.parent / "20260101T000000Z-0a1b2c3d")))
    run_sql(database, "CREATE TABLE _mig_notes (id)")
    assert codes(looked(database)) == ["killed_run", "leftovers"]
    with running(LOCK, database):
        status = looked(database)
        assert (status.drift, [f.code for f in status.findings]) == ((), ["run_under_way"])
        assert status.refusal == f"a run is at work on {database}; wait until it has ended"
        run_sql(database, "ALTER TABLE notes ADD COLUMN stars INTEGER")
        assert codes(looked(database)) == ["half_altered"]


def test_a_journal_that_no_run_made_is_reported(database):
    database.with_name("notes.db.migrating").write_text(json.dumps({"run_id": "ab12", "directory": "/tmp"}))
    (found,) = looked(database).drift
    assert (found.code, found.what) == ("journal", "the journal beside the database")
    assert "names a directory that no run made" in found.now


def test_a_hot_journal_is_reported_and_not_rolled_back(database):
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA cache_size=1")
        connection.execute("UPDATE notes SET body = hex(zeroblob(5000))")
        copy = database.with_name("hot.db")
        shutil.copy(database, copy)
        shutil.copy(f"{database}-journal", f"{copy}-journal")
        connection.rollback()
    journal = copy.with_name("hot.db-journal").read_bytes()
    status = looked(copy)
    assert (codes(status), status.version) == (["hot_journal"], None)
    assert copy.with_name("hot.db-journal").read_bytes() == journal
    assert "has a hot journal" in status.refusal
    migrate(copy)
    assert codes(looked(copy)) == []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "no database at .*; give its path with --database"),
        (lambda path: path.mkdir(), "is a directory; give the path of the database file in it"),
        (lambda path: path.write_bytes(b"no database" * 1000), "is no SQLite database, or an encrypted one"),
        (lambda path: path.write_bytes(b"SQLite format 3\x00" + bytes(range(84)) * 100), "damaged|cannot be used"),
    ],
)
def test_what_cannot_be_read_is_an_error_with_the_way_out(tmp_path, make, message):
    make(tmp_path / "x.db")
    with pytest.raises(NotReadableError, match=message):
        look(tmp_path / "x.db", NOTES, PLENTY_MS)


def test_a_database_that_stays_locked_is_an_error(database):
    with (
        holding(database, "PRAGMA locking_mode=exclusive", "BEGIN EXCLUSIVE"),
        pytest.raises(NotReadableError, match="is locked by another process"),
    ):
        look(database, NOTES, PLENTY_MS, timeout_s=0.05)


def test_a_pipe_is_no_database_and_nobody_waits_for_its_other_end(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotReadableError, match="is no ordinary file"):
        look(tmp_path / "pipe", NOTES, PLENTY_MS)


def test_a_refusal_that_nothing_else_explains_is_drift(database):
    database.with_name("second-name.db").hardlink_to(database)
    (found,) = look(database, NOTES, PLENTY_MS).drift
    assert (found.code, found.way_out) == ("refused", "remove the other names")
    assert "hard links" in found.now


def test_the_plan_says_what_happens_to_each_table_and_why(database):
    run_sql(database, "CREATE INDEX by_place ON notes (body)")
    (table,) = looked(database).explanations
    assert (table.table, table.kind, table.moved) == ("notes", "rebuild", ())
    assert table.why == (
        "ALTER TABLE cannot change the definition of mood",
        "ALTER TABLE cannot add a UNIQUE column: code",
    )
    assert table.added == ("stars INTEGER", "code INTEGER UNIQUE")
    assert table.removed == ("place TEXT",)
    assert table.changed == (("mood TEXT NOT NULL", "mood TEXT CHECK(mood IN ('good', 'bad'))"),)
    assert table.values == (("mood", "good from 'good', 'happy'; bad from 'bad', 'sad'"),)
    assert table.made == ("CREATE INDEX notes_mood ON notes(mood)",)
    assert [sql.split(" ON ")[0] for sql in table.made_again] == [
        "CREATE TRIGGER tagged AFTER INSERT", "CREATE INDEX by_place",
    ]  # fmt: skip
    assert (table.originals, table.comes_back) == ("notes_legacy", None)


def test_the_plan_of_several_tables_and_versions_tells_each_step(tmp_path):
    later = migration(
        Change("tasks", before=TASKS_WITH_STATE, after=TASKS_WITH_STATE.replace("state TEXT", "state TEXT, due TEXT")),
        version=2,
    )
    application = notes_application(MADE_UP, later)
    database = tmp_path / "tasks.db"
    run_sql(database, TASKS, CHAT, "INSERT INTO tasks VALUES (1, 'one', 0)")
    status = looked(database, application)
    assert [(t.table, t.kind, t.version) for t in status.explanations] == [
        ("tasks", "rebuild", 1), ("steps", "new", 1), ("chat", "rows", 1), ("tasks", "rebuild", 2),
    ]  # fmt: skip
    first, steps, chat, second = status.explanations
    assert first.why == ("ALTER TABLE adds columns only at the end",)
    assert steps.why == ("there is no such table",)
    assert chat.why == ("values of its rows change",)
    assert chat.values[0] == ("who", "role, only where said IN ('user', 'bot')")
    assert (second.added, second.removed, second.moved) == (("due TEXT CHECK (state IN ('open', 'closed'))",), (), ())
    assert (status.forecast.rows, status.forecast.counted) == (1, True)


@pytest.mark.parametrize(("max_lock_ms", "way"), [(PLENTY_MS, "one_transaction"), (0.001, "online")])
def test_the_way_follows_from_the_estimate_and_the_limit(database, max_lock_ms, way):
    found = looked(database, max_lock_ms=max_lock_ms).forecast
    assert (found.rows, found.counted, found.sample, found.way) == (20, True, 20, way)
    assert found.lock_ms > 0


def test_a_table_of_which_only_rows_change_keeps_its_place_and_only_those_are_counted(tmp_path):
    database = tmp_path / "chat.db"
    run_sql(database, TASKS, CHAT, "CREATE TRIGGER heard AFTER INSERT ON chat BEGIN SELECT 1; END")
    run_sql(database, "INSERT INTO chat VALUES (1, 'hello', 's1', 'user'), (2, 's1', 'bot', 'hi'), (3, '', '', 'bot')")
    status = looked(database, notes_application(MADE_UP))
    assert (status.forecast.rows, status.forecast.counted, status.forecast.sample) == (2, True, 2)
    (chat,) = [table for table in status.explanations if table.table == "chat"]
    assert KINDS[chat.kind] == "keeps its place; only the rows that match change"
    said = list(wording(chat))
    assert ("originals", "chat_legacy keeps the old values of the rows that change") in said
    assert ("makes again", "CREATE TRIGGER heard AFTER INSERT ON chat BEGIN SELECT 1; END") in said
    assert said[-1] == ("because", "they must not fire for what a migration does")


def test_of_many_rows_the_rowids_say_how_many_there_can_be(database, monkeypatch):
    monkeypatch.setattr("migrator.check.forecast._COUNTED_ROWS", 1000)
    run_sql(database, "UPDATE notes SET id = 2000 WHERE id = 20")
    found = looked(database, max_lock_ms=0.001).forecast
    assert (found.rows, found.counted, found.sample, found.way) == (2000, False, 20, "online")


@pytest.mark.parametrize(("counted", "rows_counted"), [(21, 20), (20, None)])
def test_more_rows_than_the_file_has_room_for_are_counted_or_not_known(database, monkeypatch, counted, rows_counted):
    monkeypatch.setattr("migrator.check.forecast._COUNTED_ROWS", counted)
    run_sql(database, f"UPDATE notes SET id = {2**63 - 2} WHERE id = 20")
    status = looked(database)
    if rows_counted is not None:
        assert (status.forecast.rows, status.forecast.counted) == (rows_counted, True)
    else:
        (said,) = status.findings
        assert (said.code, status.forecast) == ("no_forecast", None)
        assert said.message.startswith("no lock time can be estimated, because how many rows notes has is not known: ")


def test_rows_that_do_not_fit_make_an_estimate_all_the_same(database):
    run_sql(database, "UPDATE notes SET mood = 'strange' WHERE id = 20")
    assert looked(database).forecast.sample == 20


def test_without_an_estimate_the_plan_is_still_told(database):
    application = notes_application(migration(change(values={"code": "7", **change().values})))
    status = looked(database, application)
    assert (status.forecast, [f.code for f in status.findings]) == (None, ["no_forecast"])
    assert "UNIQUE constraint failed" in status.findings[0].message
    assert status.explanations


def test_the_real_migration_finds_each_starting_state(tmp_path):
    database = tmp_path / "ltmc.db"
    LTMC.make_demo(database, 10)
    assert codes(look(database, LTMC, PLENTY_MS)) == []
    run_sql(database, "ALTER TABLE CodePatterns ADD COLUMN tags TEXT")
    assert codes(look(database, LTMC, PLENTY_MS)) == ["half_altered"]
    run_sql(database, "DROP TABLE CodePatterns", m0001_code_patterns.AFTER)
    run_sql(database, *m0001_code_patterns.MIGRATION.changes[0].indexes)
    assert codes(look(database, LTMC, PLENTY_MS)) == ["no_ledger"]
    run_sql(database, "DROP TABLE CodePatterns")
    run_sql(database, m0001_code_patterns.AFTER.replace("result TEXT CHECK", "result TEXT NOT NULL CHECK"))
    assert codes(look(database, LTMC, PLENTY_MS))[0] == "half_altered"
