"""What is wrong with live after a promotion is found, whatever it is."""

import shutil

import pytest

from migrator.errors import VerificationError
from migrator.verification import verify, verify_live
from tests.notes import NOTES, make_notes
from tests.runs import migrate, promoted, run_sql, stored


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "notes.db"
    make_notes(path)
    return path


@pytest.fixture
def done(database):
    return promoted(database)


def test_a_promotion_that_stands_is_verified_and_left_to_the_byte(done, database):
    before = stored(database)
    verified = verify_live(done)
    assert (verified.version, verified.findings) == (1, ())
    assert stored(database) == before


DRIFT = {
    "an index is missing": "DROP INDEX notes_mood",
    "a column was added": "ALTER TABLE notes ADD COLUMN mine",
    "the trigger is missing": "DROP TRIGGER tagged",
    "the view is missing": "DROP VIEW bodies",
    "the table is missing": "DROP TABLE notes",
}


@pytest.mark.parametrize("what", DRIFT)
def test_a_schema_that_is_not_the_promoted_one_is_named(done, database, what):
    run_sql(database, DRIFT[what])
    with pytest.raises(VerificationError, match=r"the schema of notes in .* is not the promoted one: .* missing or"):
        verify_live(done)


@pytest.mark.parametrize(
    ("statement", "made"),
    [
        ("CREATE INDEX mine ON notes (body)", "index mine"),
        ("CREATE VIEW recent AS SELECT id, body FROM notes", "view recent"),
        ("CREATE TABLE child (note_id REFERENCES notes(id))", "table child"),
    ],
)
def test_what_the_application_made_since_is_a_finding(done, database, statement, made):
    run_sql(database, statement)
    expected = [("schema_changed_since", f"the application made {made}")]
    assert [(f.code, f.message) for f in verify_live(done).findings] == expected


def test_a_change_elsewhere_is_the_applications(done, database):
    run_sql(database, "CREATE TABLE mine (x)", "DROP INDEX IF EXISTS none")
    assert verify_live(done).version == 1


@pytest.mark.parametrize("statement", ["DROP TABLE _migration_history", "DELETE FROM _migration_history"])
def test_a_ledger_that_does_not_know_the_run_is_named(done, database, statement):
    run_sql(database, statement)
    with pytest.raises(VerificationError, match=r"the ledger of .* does not know run [0-9a-f]{8} after its promotion"):
        verify_live(done)


def test_a_damaged_page_is_named(done, database):
    run_sql(database, "CREATE TABLE big (x)", "INSERT INTO big VALUES (hex(zeroblob(20000)))")
    with database.open("r+b") as file:
        file.seek(-8192, 2)
        file.write(b"\xff" * 8192)
    with pytest.raises(VerificationError, match="is damaged: "):
        verify_live(done)


def test_rows_that_break_a_foreign_key_since_are_a_finding_with_their_count(done, database):
    run_sql(database, "INSERT INTO tags VALUES (-1, 'x')", "INSERT INTO tags VALUES (-2, 'x')")
    assert [(f.code, f.count) for f in verify_live(done).findings] == [("foreign_key_violations_since", 2)]


def test_rows_that_broke_a_foreign_key_before_are_none(database):
    run_sql(database, "INSERT INTO tags VALUES (-1, 'x')")
    assert verify_live(promoted(database)).findings == ()


def test_a_way_back_is_verified_against_what_was_rehearsed(database):
    run_sql(database, "ALTER TABLE notes ADD COLUMN stars INTEGER")
    migrate(database)
    run_sql(database, "CREATE INDEX mine ON notes (body)")
    done = promoted(database, to_version=0)
    live = done.candidate.inspection.backup.live
    assert verify_live(done).version == 0
    assert verify(database, NOTES, live.run_id).version == 0
    run_sql(database, "DROP INDEX mine")
    with pytest.raises(VerificationError, match="is not the promoted one"):
        verify_live(done)


def test_a_run_of_which_only_the_ledger_is_left_is_verified(done, database):
    live = done.candidate.inspection.backup.live
    shutil.rmtree(live.directory)
    assert verify(database, NOTES, live.run_id).version == 1
