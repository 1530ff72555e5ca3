"""Online with several pending migrations of one table: what one transaction makes, step by step, comes out."""

import sqlite3
from contextlib import closing

import pytest

from migrator.connect import opened
from migrator.errors import PromotionError, RehearsalError
from migrator.migration import Back, Change, Mapped
from migrator.pace import Pace
from migrator.removal import remove_own
from tests.unit.going_online import (
    BURST,
    NOTES_AFTER,
    STARS,
    WRITES,
    Steady,
    application_of,
    check_forth,
    cleaned,
    in_one,
    made,
    notes,
    online,
    whole,
)
from tests.unit.migrating import Answers, migration
from tests.unit.test_plan_versions import FIRST, SECOND, V0

LOUDER = NOTES_AFTER.replace("stars INTEGER DEFAULT 3", "loud TEXT, stars TEXT")
SECOND_OF_NOTES = migration(
    Change(
        "notes",
        NOTES_AFTER,
        LOUDER,
        values={"loud": "upper(body)", "stars": "coalesce(CAST(stars AS TEXT), 'none') || '*'"},
        # Applied once: the stars of 0001 are numbers.
        where="typeof(stars) <> 'text'",
        back={"stars": Back("stars", "CAST(rtrim(stars, '*') AS INTEGER)")},
        originals="notes_2_legacy",
        ahead="notes_2_ahead",
        indexes=("CREATE INDEX louder ON notes (loud, mood)",),
    ),
    version=2,
)
ROWS_ONLY = migration(
    Change("notes", values={"body": "upper(body)"}, where="id % 3 = 0", originals="notes_3", ahead="notes_3_ahead"),
    version=3,
)
ALL = (STARS, SECOND_OF_NOTES, ROWS_ONLY)
LAST = "UPDATE notes SET body = 'last' WHERE id IN (14, 15)"


def check_both_ways(path, *migrations, rows=10, **writes):
    """So are the way back and the way forth again."""
    twin = check_forth(path, *migrations, rows=rows, **writes)
    for reverse in (True, False):
        in_one(twin, *migrations, reverse=reverse)
        online(path, *migrations, reverse=reverse, pace=Steady(rows))
        assert whole(cleaned(path, *migrations)) == whole(twin)


@pytest.mark.parametrize("rows", [1, 7, 15])
@pytest.mark.parametrize("migrations", [ALL[:2], ALL], ids=["two", "three"])
def test_writes_between_the_transactions_are_in_however_many_migrations_there_are(folder, migrations, rows):
    check_both_ways(notes(folder), *migrations, rows=rows, between=WRITES, last=LAST)


@pytest.mark.parametrize("journal_mode", ["wal", "delete"])
def test_a_burst_that_changes_every_row_is_caught_up_with(folder, journal_mode):
    check_both_ways(notes(folder, journal_mode=journal_mode), *ALL, between=[(), BURST, (), BURST], last=LAST)


def test_two_migrations_that_only_change_rows_leave_the_text_letter_by_letter(folder):
    path = notes(folder)
    quiet = Change("notes", values={"place": "lower(place)"}, where="place GLOB 'P*'", originals="q", ahead="q_ahead")
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT sql FROM sqlite_master WHERE name = 'notes'"
        before = connection.execute(query).fetchall()
        pair = (migration(quiet), migration(ROWS_ONLY.changes[0], version=2))
        check_both_ways(path, *pair, between=["UPDATE notes SET place = 'PLACE' WHERE id < 9"], last=LAST)
        assert connection.execute(query).fetchall() == before


def test_rows_first_and_then_the_table(folder):
    first = Change("notes", values={"body": "trim(body)"}, where="body GLOB ' *'", originals="b", ahead="b_ahead")
    path = notes(folder, "UPDATE notes SET body = '  ' || body WHERE id % 4 = 0")
    then = migration(STARS.changes[0], version=2)
    check_both_ways(path, migration(first), then, between=["UPDATE notes SET body = ' again' WHERE id < 5"])


def test_dropped_columns_renamed_values_and_gaps_in_the_ids(folder):
    path = made(
        folder / "live.db", V0,
        "INSERT INTO t VALUES (1, 'One', 0.25), (2, 'two', 1.0004), (3, NULL, NULL), (9, 'x', 2)",
        "DELETE FROM t WHERE id = 9", "INSERT INTO t VALUES (7, 'x-y', 2.0)",
    )  # fmt: skip
    between = ["INSERT INTO t (a, b) VALUES ('New', 1.5)", "UPDATE t SET a = 'X', b = 3 WHERE id = 2"]
    check_both_ways(path, FIRST, SECOND, rows=1, between=between, last="DELETE FROM t WHERE id = 1")


def test_the_second_reads_what_a_column_of_the_first_stores_and_compares_as_that_column_does(folder):
    """A text constant equals a number in a column of numbers, and a word any spelling of it in one without case."""
    zero = "CREATE TABLE t (id INTEGER PRIMARY KEY, n TEXT, word TEXT)"
    one = "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER, word TEXT COLLATE NOCASE)"
    two = one.replace("word TEXT", "seven TEXT, hello TEXT, word TEXT")
    first = migration(Change("t", zero, one, values={"n": "CAST(n AS INTEGER)", "word": "trim(word)"}))
    values = {"seven": "CASE WHEN n = '7' THEN 'yes' END", "hello": "CASE WHEN word = 'HELLO' THEN 'yes' END"}
    second = migration(Change("t", one, two, values=values, originals="t_2_legacy", ahead="t_2_ahead"), version=2)
    path = made(folder / "live.db", zero, "INSERT INTO t VALUES (1, '7', ' hello'), (2, '8', 'bye')")
    check_both_ways(path, first, second, last="INSERT INTO t VALUES (3, '7', 'Hello ')")
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT id, seven, hello FROM t"
        assert connection.execute(query).fetchall() == [(1, "yes", "yes"), (2, None, None), (3, "yes", "yes")]


@pytest.mark.parametrize(
    ("text", "key"),
    [("CREATE TABLE t (a TEXT)", "hidden"), ("CREATE TABLE t (a TEXT, k TEXT PRIMARY KEY) WITHOUT ROWID", "its own")],
)
def test_whatever_identifies_the_rows_goes_through_every_stage(folder, text, key):
    one, two = (text.replace("a TEXT", more) for more in ("b TEXT, a TEXT", "c TEXT, b TEXT, a TEXT"))
    first = migration(Change("t", text, one, values={"b": "a || 'b'"}))
    second = migration(
        Change("t", one, two, values={"c": "b || 'c'", "a": "upper(a)"}, originals="t_2_legacy", ahead="t_2_ahead"),
        version=2,
    )
    insert = "INSERT INTO t (a{}) VALUES ('{}'{})"
    own = ", k" if key == "its own" else ""
    rows = [insert.format(own, n, f", 'key {n}'" if own else "") for n in "xyz"]
    path = made(folder / "live.db", text, *rows)
    last = insert.format(own, "last", ", 'a key'" if own else "")
    check_both_ways(path, first, second, rows=1, between=["DELETE FROM t WHERE a = 'y'"], last=last)


def test_a_value_without_an_answer_in_a_later_migration_stops_before_the_swap(folder):
    words = Mapped("stars", {"few": ("1", "2", "few"), "many": ("3", "4", "many")})
    second = Change(
        "notes", NOTES_AFTER, NOTES_AFTER.replace("stars INTEGER DEFAULT 3", "stars TEXT"), values={"stars": words},
        originals="n_2", ahead="n_2_ahead",
    )  # fmt: skip
    path = notes(folder, "ALTER TABLE notes ADD COLUMN stars INTEGER DEFAULT 3")
    before = whole(path)
    both = (STARS, migration(second, version=2))
    with pytest.raises(PromotionError, match=r"since the backup: column stars of notes holds 1 values .* 9 \(1 row\)"):
        online(path, *both, last="UPDATE notes SET stars = 9 WHERE id = 5")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE notes SET stars = 3 WHERE id = 5")
    assert whole(cleaned(path, *both)) == before


ZERO = "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT)"
KIND = ZERO.replace("a TEXT", "kind TEXT, a TEXT")
READ = Mapped("lower(kind)", {"note": ("note", "n"), "task": ("task",)})


@pytest.mark.parametrize("stage", [1, 2])
def test_a_value_without_an_answer_is_named_by_what_its_stage_reads(folder, stage):
    made_of_a, read = Change("t", ZERO, KIND, values={"kind": "a"}), {"kind": READ}
    dropped = Change("t", KIND, ZERO, originals="t_2_legacy", ahead="t_2_ahead")
    first, second = (
        (Change("t", ZERO, KIND, values={"kind": Mapped("lower(a)", READ.spellings)}), dropped)
        if stage == 1
        else (made_of_a, Change("t", KIND, KIND, values=read, originals="t_2_legacy", ahead="t_2_ahead"))
    )
    path = made(folder / "live.db", ZERO, "INSERT INTO t VALUES (1, 'n'), (2, 'Task')")
    with pytest.raises(PromotionError, match=r"column kind of t holds 1 values .*: 'odd' \(1 row\)"):
        online(path, migration(first), migration(second, version=2), last="INSERT INTO t VALUES (3, 'odd')")


def test_a_value_of_the_wrong_type_is_noticed_in_the_stage_where_it_is_stored(folder):
    first = migration(Change("t", ZERO, KIND.replace("kind TEXT", "kind INTEGER"), values={"kind": "'7'"}))
    dropped = Change("t", KIND.replace("kind TEXT", "kind INTEGER"), ZERO, originals="t_2_legacy", ahead="t_2_ahead")
    path = made(folder / "live.db", ZERO, "INSERT INTO t VALUES (1, 'n')")
    with pytest.raises(RehearsalError, match="a row of the new t is not what the migration says"):
        online(path, first, migration(dropped, version=2))


def test_a_row_that_only_the_form_in_between_refuses_stops_it_as_in_one_transaction(folder):
    zero = "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT)"
    one = zero.replace("a TEXT", "a TEXT UNIQUE")
    first = migration(Change("t", zero, one))
    second = migration(Change("t", one, zero, originals="t_2_legacy", ahead="t_2_ahead"), version=2)
    path = made(folder / "live.db", zero, "INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    with pytest.raises(PromotionError, match="rows written since the backup do not fit the new table"):
        online(path, first, second, last="INSERT INTO t VALUES (3, 'a')")
    assert tables_of(cleaned(path, first, second)) == ["t"]


def test_unique_values_that_go_round_between_rows_are_followed_through_every_stage(folder):
    round_ = (
        "UPDATE notes SET code = -9 WHERE id = 11",
        "UPDATE notes SET code = 110 WHERE id = 12",
        "UPDATE notes SET code = 120 WHERE id = 11",
    )
    check_both_ways(notes(folder), *ALL, rows=3, between=[(), (), round_, (), round_[::-1]], last=round_)


def tables_of(path):
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT GLOB 'sqlite_*'"
        return sorted(name for (name,) in connection.execute(query))


def test_the_stages_in_between_are_left_to_be_removed_a_few_rows_at_a_time(folder):
    path = notes(folder)
    online(path, *ALL)
    left = [name for name in tables_of(path) if name.startswith("_mig_")]
    assert left == ["_mig_notes.1", "_mig_notes.2", "_mig_notes.old"]
    held = []

    class Counting(Steady):
        def held(self, seconds, rows):
            held.append(rows)

    with opened(path) as connection:
        remove_own(connection, application_of(*ALL), Counting(10))
    assert max(held) <= 11
    assert not [name for name in tables_of(path) if name.startswith("_mig_")]


def test_what_a_killed_promotion_left_of_every_stage_is_removed(folder):
    path = notes(folder)
    before = whole(path)

    class Stops(Pace):
        def pause(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        online(path, *ALL, pace=Stops())
    assert {"_mig_notes", "_mig_notes.1", "_mig_notes.2", "_mig_notes.log"} <= set(tables_of(path))
    assert whole(cleaned(path, *ALL)) == before


def test_the_answers_of_the_operator_count_in_every_stage(folder):
    path = notes(folder, "UPDATE notes SET mood = 'odd' WHERE id % 10 = 0")
    check_forth(path, *ALL, answers=Answers({"odd": "bad"}), last="UPDATE notes SET mood = 'odd' WHERE id = 1")
