"""No id is given twice, whatever goes back: an AUTOINCREMENT mark that a migration raised falls only on an order."""

import shutil

import pytest

from migrator import restoration
from migrator.errors import RefusedError
from migrator.ltmc import LTMC
from migrator.promotion import promote
from migrator.restoration import recover
from migrator.return_to_backup import return_to_backup
from tests.notes import change, make_notes, migration, notes_application
from tests.runs import PLENTY_MS, end_of_run, holds, live_of, rehearsed, restored, rows, run_sql

GIVEN = "CREATE TABLE given (id INTEGER PRIMARY KEY)"
TO_BE_RAISED = notes_application(migration(change(mark="SELECT max(id) FROM given")))
"""Ids of notes are given elsewhere too: the migration raises the mark of notes above them."""
NEW = "INSERT INTO notes (body, mood) VALUES ('new', 'good')"
LEDGER = ("_sqlite_migrations", "_migration_history")


@pytest.fixture(params=["one transaction", "online"])
def way(request, monkeypatch):
    """Forth and back; the lock that is allowed."""
    monkeypatch.setattr(restoration, "_ROWS_AT_ONCE", 0 if request.param == "online" else 10_000)
    return 0.0 if request.param == "online" else PLENTY_MS


@pytest.fixture
def notes_db(tmp_path):
    """Ids up to 101 were given by the table, which has them up to 100, and 900 elsewhere."""
    path = tmp_path / "notes.db"
    make_notes(path)
    run_sql(path, GIVEN, "INSERT INTO given VALUES (900)")
    return path


def mark(database):
    return rows(database, "SELECT seq FROM sqlite_sequence WHERE name = 'notes'")


def next_id(database):
    return rows(database, NEW + " RETURNING id")


def without_marks(database):
    return {name: held for name, held in holds(database).items() if name != "sqlite_sequence"}


def test_an_id_that_was_given_since_the_promotion_stays_used_up_though_its_row_is_gone(notes_db, way):
    done = promote(rehearsed(notes_db, TO_BE_RAISED), way)
    assert next_id(notes_db) == [(901,)]
    run_sql(notes_db, "DELETE FROM notes WHERE id = 901")
    assert restored(notes_db, live_of(done)).how == "reversed"
    assert next_id(notes_db) == [(902,)]


def test_so_does_one_that_was_given_elsewhere_since(notes_db, way):
    done = promote(rehearsed(notes_db, TO_BE_RAISED), way)
    run_sql(notes_db, "INSERT INTO given VALUES (950)")
    assert restored(notes_db, live_of(done)).how == "reversed"
    assert next_id(notes_db) == [(951,)]


def test_a_mark_that_stays_raised_is_all_that_a_restore_leaves_and_it_says_so(notes_db, way):
    before = without_marks(notes_db)
    done = promote(rehearsed(notes_db, TO_BE_RAISED), way)
    live = live_of(done)
    result = restored(notes_db, live)
    assert (mark(notes_db), without_marks(notes_db)) == ([(900,)], before)
    backup = live.directory / "backup.db"
    assert [(f.code, f.message, f.count) for f in result.findings] == [
        (
            "mark_stays_raised",
            "the AUTOINCREMENT mark of notes stays at 900, the backup's is 101: which of the ids between were given is "
            "not known, so none of them is given again; only going back to the whole backup lowers it: "
            f"python -m flows.restore --database {notes_db} --backup {backup} --discard-later-writes",
            799,
        )
    ]


def test_a_mark_that_nothing_raised_goes_back_without_a_word(notes_db, way):
    run_sql(notes_db, "DELETE FROM given")
    before = holds(notes_db)
    result = restored(notes_db, live_of(promote(rehearsed(notes_db, TO_BE_RAISED), way)))
    assert (result.findings, holds(notes_db)) == ((), before)


def test_whether_an_id_was_given_before_the_promotion_raised_the_mark_nothing_in_the_database_tells(tmp_path):
    """Why it stays: in one of the two the backup's mark would give an id for the second time."""
    found = []
    for name, meanwhile in (("quiet", ()), ("busy", (NEW, "DELETE FROM notes WHERE body = 'new'"))):
        (tmp_path / name).mkdir()
        database = tmp_path / name / "notes.db"
        make_notes(database)
        run_sql(database, GIVEN, "INSERT INTO given VALUES (900)")
        candidate = rehearsed(database, TO_BE_RAISED)
        run_sql(database, *meanwhile)
        assert mark(database) == [(102,)] if meanwhile else [(101,)]
        done = promote(candidate, PLENTY_MS)
        held = {table: there for table, there in holds(database).items() if table not in LEDGER}
        found.append((held, holds(live_of(done).directory / "backup.db")))
        assert restored(database, live_of(done)).how == "reversed"
        assert next_id(database) == [(901,)]
    assert found[0] == found[1]


def test_a_promotion_that_a_killed_run_committed_and_that_cannot_stand_leaves_the_mark_too(notes_db):
    done = promote(rehearsed(notes_db, TO_BE_RAISED), PLENTY_MS)
    assert next_id(notes_db) == [(901,)]
    run_sql(notes_db, "DELETE FROM notes WHERE id = 901", "DROP INDEX notes_mood")
    result = recover(notes_db, TO_BE_RAISED)
    assert (result.how, result.run_id) == ("reversed", live_of(done).run_id)
    assert [f.code for f in result.findings] == ["recovered", "promotion_reversed", "mark_stays_raised"]
    assert next_id(notes_db) == [(902,)]


def test_an_order_gives_back_the_mark_of_the_backup_as_well(notes_db):
    before = holds(notes_db)
    live = live_of(promote(rehearsed(notes_db, TO_BE_RAISED), PLENTY_MS))
    restored(notes_db, live)
    backup = live.directory / "backup.db"
    marks = r"differs from the backup in AUTOINCREMENT marks \(ids that were given since would be given again\); going"
    with pytest.raises(RefusedError, match=marks) as caught:
        return_to_backup(notes_db, backup)
    assert "--to 0000" not in str(caught.value)
    assert mark(notes_db) == [(900,)]
    present = return_to_backup(notes_db, backup, discard_later_writes=True).present
    assert holds(notes_db) == before
    assert mark(present) == [(900,)]


def test_an_order_that_would_give_an_id_again_is_refused_unless_that_is_asked_for(notes_db):
    live = live_of(end_of_run(rehearsed(notes_db)))
    assert next_id(notes_db) == [(102,)]
    run_sql(notes_db, "DELETE FROM notes WHERE id = 102")
    later = shutil.copyfile(notes_db, notes_db.with_name("later.db"))
    with pytest.raises(RefusedError, match=r"marks \(ids that were given since would be given again\); going"):
        return_to_backup(notes_db, live.directory / "backup.db")
    assert holds(notes_db) == holds(later)


def test_the_vector_ids_of_the_application_stay_used_up(tmp_path):
    database = tmp_path / "ltmc.db"
    LTMC.make_demo(database, 30)
    run_sql(database, "INSERT INTO ResourceChunks (chunk_text, vector_id) VALUES ('from elsewhere', 900)")
    before, sequence = without_marks(database), "SELECT seq FROM sqlite_sequence WHERE name = 'VectorIdSequence'"
    ((was,),) = rows(database, sequence)
    done = promote(rehearsed(database, LTMC), PLENTY_MS)
    result = restored(database, live_of(done))
    assert was < 900 and rows(database, sequence) == [(900,)]
    assert without_marks(database) == before
    assert [f.code for f in result.findings] == ["mark_stays_raised"]
