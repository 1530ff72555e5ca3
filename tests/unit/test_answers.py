"""The way back of each migration converts by the answers that its own way forth was given."""

import pytest

from migrator.migration import Answers, Change, Migration
from migrator.restoration import restore
from tests.notes import change, make_notes, migration, notes_application
from tests.runs import holds, migrate, promoted, rows, run_sql

SECOND = Migration(
    (Change("weights", after="CREATE TABLE weights (note_id INTEGER, weight REAL)"),), version=2, name="w"
)
TWO = notes_application(migration(change()), SECOND)
FIRST_GIVEN, MOODS = Answers({"meh": "bad"}), "SELECT mood FROM notes WHERE id = 1"


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "notes.db"
    make_notes(path)
    run_sql(path, "UPDATE notes SET mood = 'meh' WHERE id = 1")
    return path


@pytest.fixture(params=[None, Answers({"meh": "good"})], ids=["no answers", "other answers"])
def up_up(database, request):
    migrate(database, TWO, to_version=1, answers=FIRST_GIVEN)
    migrate(database, TWO, answers=request.param)
    assert rows(database, MOODS) == [("bad",)]
    return database


def test_up_up_and_down_gives_the_originals_back(up_up):
    migrate(up_up, TWO, to_version=0)
    assert rows(up_up, MOODS) == [("meh",)]


def test_a_way_back_over_both_that_fails_is_undone_by_the_same_answers(up_up):
    before = holds(up_up)
    live = promoted(up_up, TWO, to_version=0).candidate.inspection.backup.live
    assert restore(up_up, TWO, live.run_id, live.directory).how == "reversed"
    assert holds(up_up) == before


def test_a_second_way_forth_that_fails_leaves_the_first_with_its_answers(database):
    migrate(database, TWO, to_version=1, answers=FIRST_GIVEN)
    before = holds(database)
    live = promoted(database, TWO).candidate.inspection.backup.live
    assert restore(database, TWO, live.run_id, live.directory).how == "reversed"
    assert holds(database) == before
    migrate(database, TWO, to_version=0)
    assert rows(database, MOODS) == [("meh",)]
