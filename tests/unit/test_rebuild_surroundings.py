"""What stands around a table that is rebuilt and names a column that goes, or only seems to; see also rebuilds/."""

import pytest

from migrator.errors import RefusedError
from migrator.migration import Change
from tests.unit.migrating import back, database, forward, migration, one, plan_for
from tests.unit.notes_in_memory import AFTER, BEFORE, NOTES, ROWS, notes


@pytest.mark.parametrize(
    "index", ["i ON notes (place)", 'i ON notes (body, "Place")', "i ON notes (body) WHERE place > 'x'"]
)
def test_an_index_on_a_column_that_goes_is_refused(index):
    with pytest.raises(
        RefusedError, match="index i of table notes names column 'place', which the migration removes; drop"
    ):
        plan_for(notes(f"CREATE INDEX {index}"), [NOTES])


@pytest.mark.parametrize("columns", ["place", 'mood, "Place"'])
def test_a_trigger_that_waits_for_a_column_that_goes_is_refused(columns):
    waiting = f"CREATE TRIGGER moved AFTER UPDATE OF {columns} ON notes BEGIN SELECT 1; END"
    with pytest.raises(
        RefusedError, match="trigger moved of table notes names column 'place', which the migration rem"
    ):
        plan_for(notes(waiting), [NOTES])


def test_a_trigger_that_waits_for_a_new_column_is_refused_on_the_way_back():
    connection = notes()
    forward(connection, NOTES)
    connection.execute("CREATE TRIGGER rated UPDATE OF stars ON notes BEGIN SELECT 1; END")
    with pytest.raises(RefusedError, match="trigger rated of table notes names column 'stars'"):
        plan_for(connection, [NOTES], reverse=True)


def test_a_trigger_that_writes_a_table_called_of_stays():
    connection = notes(
        "CREATE TABLE of (place)",
        "CREATE TRIGGER t DELETE ON notes BEGIN UPDATE of SET place = 1; END",
        "CREATE TRIGGER u AFTER UPDATE OF body ON notes BEGIN UPDATE of SET place = 1; END",
    )
    for way in (forward, back):
        way(connection, NOTES)
        assert one(connection, "SELECT count(*) FROM sqlite_master WHERE type = 'trigger'") == 2


def test_an_index_that_only_has_the_name_of_such_a_column_stays():
    connection = notes("CREATE INDEX place ON notes (body)")
    forward(connection, NOTES)
    assert one(connection, "SELECT sql FROM sqlite_master WHERE name = 'place'") == "CREATE INDEX place ON notes (body)"


def test_statistics_stay_for_what_still_exists():
    table = BEFORE.replace("body TEXT NOT NULL", "body TEXT NOT NULL UNIQUE")
    after = AFTER.replace("stars INTEGER", "stars INTEGER UNIQUE").replace(
        "body TEXT NOT NULL", "body TEXT NOT NULL UNIQUE"
    )
    changed = migration(Change("notes", table, after))
    connection = database(table, ROWS, "CREATE TABLE other (x)", "INSERT INTO other VALUES (1)")
    connection.execute("CREATE INDEX mine ON notes (mood, body)")
    connection.execute("ANALYZE")
    query = "SELECT tbl, idx, stat FROM sqlite_stat1 ORDER BY 1, 2"
    before = connection.execute(query).fetchall()
    assert before == [
        ("notes", "mine", "3 1 1"),
        ("notes", "sqlite_autoindex_notes_1", "3 1"),
        ("other", None, "1"),
    ]
    forward(connection, changed)
    # Number 1 is the index on stars now, of which nothing is known.
    assert connection.execute(query).fetchall() == [("notes", "mine", "3 1 1"), ("other", None, "1")]
    connection.execute("ANALYZE")
    back(connection, changed)
    assert connection.execute(query).fetchall() == [("notes", "mine", "3 1 1"), ("other", None, "1")]
