"""What this tool leaves in live goes a few rows at a time, whoever was killed while it went."""

import sqlite3
from contextlib import closing

import pytest

from migrator.connect import opened
from migrator.ddl import quote
from migrator.errors import PromotionError
from migrator.migration import Change
from migrator.removal import free_pages, remove_own
from tests.unit.going_online import Steady, application_of, applied, made, online, twin_of, whole
from tests.unit.migrating import migration

BEFORE = "CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT)"
AFTER = "CREATE TABLE notes (id INTEGER PRIMARY KEY, stars INTEGER, body TEXT)"
STARS = migration(Change("notes", BEFORE, AFTER, values={"body": "upper(body)"}))
ROWS = (
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 95) INSERT INTO notes SELECT x, x FROM n"
)


class Killed(BaseException):
    pass


class Noting(Steady):
    """Notes the rows of every hold; raises in the pause after so many holds."""

    def __init__(self, rows=10, killed_after=None):
        super().__init__(rows)
        self.holds, self.killed_after = [], killed_after

    def held(self, seconds, rows):
        self.holds.append(rows)

    def pause(self):
        if len(self.holds) == self.killed_after:
            raise Killed


def stopped(folder, journal_mode="wal"):
    """A promotion that ended when all was copied: triggers, a log, indexes and a filled shadow table are left."""
    path = made(folder / "live.db", BEFORE, ROWS, "CREATE INDEX mine ON notes (body)", journal_mode=journal_mode)
    with pytest.raises(Killed):
        online(path, STARS, between=[*([()] * 10), "UPDATE notes SET body = 'x' WHERE id < 40", _kill])
    return path


def _kill(connection):
    raise Killed


def promoted(folder):
    path = made(folder / "live.db", BEFORE, ROWS, "CREATE INDEX mine ON notes (body)")
    online(path, STARS)
    return path


def removed(path, pace=None):
    pace = pace or Noting()
    with opened(path) as connection:
        remove_own(connection, application_of(STARS), pace)
    return pace.holds


def ours(path):
    return sorted((row[0], row[1]) for row in whole(path)[""] if row[1].startswith("_mig_"))


@pytest.mark.parametrize("journal_mode", ["wal", "delete"])
def test_what_a_stopped_promotion_left_goes_and_nothing_else(folder, journal_mode):
    path = stopped(folder, journal_mode)
    assert len(ours(path)) == 7
    held = whole(path)
    removed(path)
    assert ours(path) == []
    assert whole(path) == {
        name: rows if name else [row for row in rows if "_mig_" not in row[1] + row[2]]
        for name, rows in held.items()
        if not name.startswith("_mig_")
    }


def test_what_was_the_table_goes_and_nothing_else(folder):
    path = promoted(folder)
    held = whole(path)["notes"]
    assert ours(path) == [("index", "_mig_mine.old"), ("table", "_mig_notes.old")]
    removed(path)
    assert ours(path) == [] and whole(path)["notes"] == held


def test_a_large_table_goes_in_several_holds(folder):
    path = promoted(folder)
    holds = removed(path, Noting(20))
    assert [rows for rows in holds if rows] == [21, 21, 21, 21]
    # One for the index, one for the table with the last rows.
    assert len(holds) == 4 + 2


def test_triggers_go_first_then_indexes_then_rows(folder):
    path = stopped(folder)
    statements = []
    with opened(path) as connection:
        connection.set_trace_callback(statements.append)
        remove_own(connection, application_of(STARS), Noting())
    done = [s.split()[:2] for s in statements if s.startswith(("DROP", "DELETE"))]
    kinds = ["rows" if verb == "DELETE" else kind.lower() for verb, kind in done]
    assert kinds[:4] == ["trigger", "trigger", "trigger", "index"]
    assert {"trigger", "index"} & set(kinds[4:]) == set()
    assert kinds.count("table") == 3 and kinds.count("rows") >= 8


def test_again_there_is_nothing_to_do(folder):
    path = promoted(folder)
    removed(path)
    before = path.read_bytes()
    assert removed(path) == []
    assert path.read_bytes() == before


@pytest.mark.parametrize("left_by", [stopped, promoted])
def test_a_removal_that_was_killed_anywhere_is_ended_by_the_next(folder, left_by):
    path = left_by(folder)
    applied(path, "PRAGMA wal_checkpoint(TRUNCATE)")
    whole_removal = twin_of(path)
    total = len(removed(whole_removal))
    wanted = whole(whole_removal)
    for holds in range(1, total):
        twin = twin_of(path)
        with pytest.raises(Killed):
            removed(twin, Noting(killed_after=holds))
        assert ours(twin) != []
        assert whole(twin)["notes"] == wanted["notes"]
        assert len(removed(twin)) <= total - holds + 1
        assert whole(twin) == wanted


def test_the_application_writes_on_between_the_holds(folder):
    path = stopped(folder)
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as other:

        class Writing(Noting):
            def pause(self):
                other.execute("INSERT INTO notes (body) VALUES ('meanwhile')")

        holds = removed(path, Writing())
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM notes WHERE body = 'meanwhile'").fetchone() == (len(holds),)


def test_what_is_only_named_alike_stays(folder):
    path = promoted(folder)
    applied(path, ("CREATE TABLE migrants (x)", "CREATE TABLE mig_notes (x)", "CREATE INDEX _migx ON migrants (x)"))
    removed(path)
    assert {row[1] for row in whole(path)[""]} == {"notes", "mine", "migrants", "mig_notes", "_migx"}


def test_child_rows_of_the_old_table_stay(folder):
    path = made(
        folder / "live.db", BEFORE, ROWS, "CREATE TABLE child (note REFERENCES notes (id) ON DELETE CASCADE)",
        "INSERT INTO child SELECT id FROM notes",
    )  # fmt: skip
    online(path, STARS)
    with opened(path) as connection:
        connection.execute("PRAGMA foreign_keys=ON")
        remove_own(connection, application_of(STARS), Noting())
        assert connection.execute("PRAGMA foreign_keys").fetchone() == (1,)
        assert connection.execute("SELECT count(*) FROM child").fetchone() == (95,)


def test_a_lock_that_is_not_to_be_had_is_said(folder, monkeypatch):
    monkeypatch.setattr("migrator.paced._PATIENCE_S", 0.02)
    path = promoted(folder)
    held = whole(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(PromotionError, match="another connection keeps the write lock"):
            removed(path)
    assert whole(path) == held


KINDS = {
    "no rowid": "CREATE TABLE t (a, b, PRIMARY KEY (b DESC, a)) WITHOUT ROWID",
    "a rowid that is no column": "CREATE TABLE t (a, b, rowid)",
    "computed columns": "CREATE TABLE t (id INTEGER PRIMARY KEY, a, b, c AS (a + b) STORED)",
}


@pytest.mark.parametrize("kind", KINDS)
def test_tables_of_every_kind_go_in_several_holds(folder, kind):
    before = KINDS[kind]
    change = migration(Change("t", before, before.replace("(a,", "(n, a,").replace("KEY, a", "KEY, n, a")))
    fill = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 55) INSERT INTO t (a, b) "
    path = made(folder / "live.db", before, fill + "SELECT x % 5, x / 5 FROM n")
    online(path, change)
    pace = Noting(10)
    with opened(path) as connection:
        remove_own(connection, application_of(change), pace)
    assert [rows for rows in pace.holds if rows] == [11, 11, 11, 11, 11]
    assert ours(path) == []


def check_odd_name(folder, name):
    q = quote(name)
    before = f"CREATE TABLE {q} (id INTEGER PRIMARY KEY, body TEXT)"
    change = migration(Change(name, before, before.replace("body", "stars, body")))
    path = made(folder / "live.db", before, f"INSERT INTO {q} VALUES (1, 'x')")
    with pytest.raises(Killed):
        online(path, change, between=[_kill])
    assert len(ours(path)) == 5
    with opened(path) as connection:
        remove_own(connection, application_of(change), Noting())
    return ours(path)


@pytest.mark.parametrize("name", ["a.b", 'a"; b', "größe", "Notes"])
def test_what_a_stopped_promotion_of_an_odd_name_left_goes(folder, name):
    assert check_odd_name(folder, name) == []


@pytest.mark.parametrize("name", ["log", "old", "a.log", "a.old", "after insert"])
def test_what_a_stopped_promotion_of_a_name_like_ours_left_goes(folder, name):
    assert check_odd_name(folder, name) == []


@pytest.mark.parametrize(
    ("kept_bytes", "freed_bytes", "tells"),
    [
        (100_000, 1_100_000, True),
        (100_000, 950_000, False),
        (8_000_000, 1_100_000, True),
        (12_000_000, 1_100_000, False),
        (12_000_000, 0, False),
    ],
)
def test_free_pages_are_told_of_above_a_megabyte_and_a_tenth_of_the_file(tmp_path, kept_bytes, freed_bytes, tells):
    path = made(tmp_path / "live.db", "CREATE TABLE kept (x)", "CREATE TABLE freed (x)")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("INSERT INTO kept VALUES (zeroblob(?))", (kept_bytes,))
        connection.execute("INSERT INTO freed VALUES (zeroblob(?))", (freed_bytes,))
        connection.execute("DROP TABLE freed")
    with opened(path, read_only=True) as connection:
        assert [found.code for found in free_pages(connection)] == ["free_pages"] * tells
