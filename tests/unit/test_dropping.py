"""What an earlier migration made goes with a later one: an index, one that changes, a table."""

from dataclasses import replace
from pathlib import Path

import pytest

from migrator.application import Application
from migrator.check.status import look
from migrator.migration import Change, Migration
from migrator.promotion import promote
from tests.runs import PLENTY_MS, holds, live_of, migrate, refusal, rehearsed, restored, rows, run_sql

T = "CREATE TABLE t (id INTEGER PRIMARY KEY, a, b)"
U, BY_C = "CREATE TABLE u (id INTEGER PRIMARY KEY, c)", "CREATE INDEX by_c ON u (c)"
GOES, CHANGES = "CREATE INDEX goes ON t (a)", "CREATE INDEX changes ON t (b)"
CHANGED = "CREATE INDEX changes ON t (b DESC)"
MAKES = Migration(
    (Change("t", before=T.replace(", b", ""), after=T, indexes=(GOES, CHANGES)), Change("u", after=U, indexes=(BY_C,))),
    version=1,
    name="makes",
)
DROPS = Migration(
    (
        Change("t", drops=(GOES, CHANGES), indexes=(CHANGED,), originals="t_2", ahead="t_2_ahead"),
        Change("u", before=U, drops=(BY_C,), originals="u_2", ahead="u_2_ahead"),
    ),
    version=2,
    name="drops",
)
APPLICATION = Application("made_up", (MAKES, DROPS), (), lambda path, rows: None)
WAYS = [PLENTY_MS, 0.0]


@pytest.fixture
def database(folder: Path) -> Path:
    path = folder / "live.db"
    run_sql(path, T.replace(", b", ""), "INSERT INTO t VALUES (1, 'one'), (2, 'two')")
    return path


def found(path: Path) -> list[str]:
    query = "SELECT sql FROM sqlite_master WHERE tbl_name IN ('t', 'u') AND type = 'index' ORDER BY name"
    return [sql for (sql,) in rows(path, query)]


@pytest.mark.parametrize("max_lock_ms", WAYS)
def test_what_an_earlier_migration_made_goes_and_comes_back(database, max_lock_ms):
    migrate(database, APPLICATION, to_version=1)
    run_sql(database, "INSERT INTO u VALUES (7, 'seven')")
    assert found(database) == [BY_C, CHANGES, GOES]
    migrate(database, APPLICATION, max_lock_ms=max_lock_ms)
    assert found(database) == [CHANGED]
    assert (look(database, APPLICATION, PLENTY_MS).drift, rows(database, "SELECT * FROM u_2")) == ((), [(7, "seven")])
    migrate(database, APPLICATION, to_version=1, max_lock_ms=max_lock_ms)
    assert (found(database), rows(database, "SELECT * FROM u")) == ([BY_C, CHANGES, GOES], [(7, "seven")])
    assert look(database, APPLICATION, PLENTY_MS).drift == ()


def test_both_in_one_go_and_back_leave_what_was_there(database):
    before = holds(database)
    migrate(database, APPLICATION)
    assert (found(database), look(database, APPLICATION, PLENTY_MS).drift) == ([CHANGED], ())
    migrate(database, APPLICATION, to_version=0)
    now = holds(database)
    assert {table: cells for table, cells in now.items() if table in before} | {"schema": []} == before | {"schema": []}
    assert [row for row in now["schema"] if row[2] == b"t"] == before["schema"]


@pytest.fixture
def without_a_ledger(database: Path) -> Path:
    migrate(database, APPLICATION)
    run_sql(database, "DROP TABLE _sqlite_migrations", "DROP TABLE _migration_history")
    return database


def test_a_database_without_them_is_adopted(without_a_ledger):
    assert look(without_a_ledger, APPLICATION, PLENTY_MS).drift[0].code == "no_ledger"
    migrate(without_a_ledger, APPLICATION, baseline=True)
    assert (found(without_a_ledger), look(without_a_ledger, APPLICATION, PLENTY_MS).drift) == ([CHANGED], ())


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (GOES, "index goes is there, which a migration drops"),
        (U, "table u is there, which migration 0002_drops takes away"),
        ("DROP INDEX changes", "index changes is missing"),
    ],
)
def test_a_database_that_still_has_them_is_not(without_a_ledger, statement, message):
    run_sql(without_a_ledger, statement)
    assert message in str(refusal(without_a_ledger, APPLICATION, baseline=True))


def test_an_index_that_a_third_migration_makes_again_is_asked_for(without_a_ledger):
    third = Migration((Change("t", indexes=(GOES,), originals="t_3", ahead="t_3_ahead"),), version=3, name="again")
    application = replace(APPLICATION, migrations=(MAKES, DROPS, third))
    assert "index goes is missing" in str(refusal(without_a_ledger, application, baseline=True))
    run_sql(without_a_ledger, GOES)
    migrate(without_a_ledger, application, baseline=True)
    assert look(without_a_ledger, application, PLENTY_MS).drift == ()


def test_a_plan_says_what_goes_and_how_long_it_takes(database):
    migrate(database, APPLICATION, to_version=1)
    status = look(database, APPLICATION, PLENTY_MS)
    assert status.forecast is not None and status.forecast.rows == 2
    assert status.plan is not None and status.plan.statements[-1] == 'ALTER TABLE "u" RENAME TO "u_2"'
    t, u = status.explanations
    assert (t.why, t.dropped, t.made) == (("only its indexes change",), (GOES, CHANGES), (CHANGED,))
    assert (u.kind, u.originals) == ("drop", "u_2")


@pytest.mark.parametrize("max_lock_ms", WAYS)
def test_a_restore_after_the_promotion_makes_them_again(database, max_lock_ms):
    migrate(database, APPLICATION, to_version=1)
    run_sql(database, "INSERT INTO u VALUES (7, 'seven')")
    before = holds(database)
    done = promote(rehearsed(database, APPLICATION), max_lock_ms)
    assert found(database) == [CHANGED]
    restored(database, live_of(done))
    assert holds(database) == before
