"""The ledger in the database: what sqlite-utils reads, and that undoing a run leaves what was."""

import sqlite3

import pytest
from sqlite_utils import Database, Migrations

from migrator.errors import RefusedError
from migrator.ledger import (
    Applied,
    Entry,
    Run,
    read_ledger,
    read_run,
    record_applied,
    record_reversed,
    undo_run,
)
from migrator.migration import Answers, Change, Migration
from tests.unit.migrating import everything, tables

ONE, TWO, THREE = (Migration((Change(f"t{n}"),), version=n, name=f"step_{n}") for n in (1, 2, 3))
ALL = (ONE, TWO, THREE)
ANSWERS = Answers({"maybe": None}, frozenset({"truncate_times"}))


def ledger() -> sqlite3.Connection:
    return sqlite3.connect(":memory:", isolation_level=None)


def apply(connection, run_id, *migrations, answers=ANSWERS):
    entry = Entry(run_id, "backup.db", f"before {run_id}", f"after {run_id}", 0.25, 7)
    record_applied(connection, "ltmc", migrations, {m.version: answers for m in migrations}, entry)


def test_a_database_without_a_ledger_has_no_migrations():
    assert read_ledger(ledger(), "ltmc", ALL) == ()
    assert read_run(ledger(), "run") is None


def test_what_was_applied_is_read_with_its_checksum_and_answers():
    connection = ledger()
    apply(connection, "run1", ONE, TWO)
    assert read_ledger(connection, "ltmc", ALL) == (
        Applied(1, "step_1", ONE.checksum, ANSWERS),
        Applied(2, "step_2", TWO.checksum, ANSWERS),
    )
    assert read_ledger(connection, "another set", ALL) == ()


def test_sqlite_utils_reads_what_was_applied():
    connection = ledger()
    apply(connection, "run1", ONE, TWO)
    applied = Migrations("ltmc").applied(Database(connection))
    assert [a.name for a in applied] == ["0001_step_1", "0002_step_2"]
    assert all(a.applied_at.endswith("+00:00") for a in applied)


def test_the_table_is_the_one_that_sqlite_utils_makes():
    ours, theirs = ledger(), ledger()
    apply(ours, "run1", ONE)
    Migrations("ltmc").apply(Database(theirs))
    query = "SELECT type, name, lower(sql) FROM sqlite_master WHERE tbl_name = '_sqlite_migrations' ORDER BY 1, 2"
    assert columns(ours) == columns(theirs)
    assert [row[:2] for row in ours.execute(query)] == [row[:2] for row in theirs.execute(query)]


def columns(connection):
    return connection.execute("PRAGMA table_info(_sqlite_migrations)").fetchall()


def test_a_ledger_of_sqlite_utils_alone_is_read_without_checksums():
    connection = ledger()
    migrations = Migrations("ltmc")
    migrations(name="0001_step_1")(lambda db: None)
    migrations.apply(Database(connection))
    assert read_ledger(connection, "ltmc", ALL) == (Applied(1, "step_1", None, Answers()),)
    apply(connection, "run1", TWO)
    assert [a.version for a in read_ledger(connection, "ltmc", ALL)] == [1, 2]


def test_a_migration_that_was_edited_after_it_was_applied_is_refused_with_both_checksums():
    connection = ledger()
    apply(connection, "run1", ONE)
    edited = Migration((Change("t1", where="x"),), version=1, name="step_1")
    expected = f"applied as {ONE.checksum[:12]}, declared now as {edited.checksum[:12]}"
    with pytest.raises(RefusedError, match=expected):
        read_ledger(connection, "ltmc", [edited])


def test_a_migration_of_a_newer_program_is_refused():
    connection = ledger()
    apply(connection, "run1", *ALL)
    with pytest.raises(RefusedError, match="migration 0003_step_3, which this program does not know; update"):
        read_ledger(connection, "ltmc", ALL[:2])


def test_a_ledger_with_a_gap_is_refused():
    connection = ledger()
    apply(connection, "run1", ONE, THREE)
    with pytest.raises(RefusedError, match=r"versions \[1, 3\], with gaps"):
        read_ledger(connection, "ltmc", ALL)


def test_one_migration_is_recorded_once():
    connection = ledger()
    apply(connection, "run1", ONE)
    with pytest.raises(sqlite3.IntegrityError):
        apply(connection, "run2", ONE)


def test_a_reversed_migration_is_no_longer_applied_and_can_be_applied_again():
    connection = ledger()
    apply(connection, "run1", ONE, TWO)
    record_reversed(connection, "ltmc", [TWO], "run2", "back")
    assert [a.version for a in read_ledger(connection, "ltmc", ALL)] == [1]
    apply(connection, "run3", TWO, answers=Answers())
    assert [(a.version, a.answers) for a in read_ledger(connection, "ltmc", ALL)] == [(1, ANSWERS), (2, Answers())]
    history = "SELECT version, run_id, reversed_by, reversed_at IS NULL FROM _migration_history ORDER BY id"
    assert connection.execute(history).fetchall() == [
        (1, "run1", None, 1),
        (2, "run1", "run2", 0),
        (2, "run3", None, 1),
    ]


def test_a_run_is_known_by_what_it_committed():
    connection = ledger()
    apply(connection, "run1", ONE, TWO)
    assert read_run(connection, "run1") == Run({1: ANSWERS, 2: ANSWERS}, False, "before run1", "after run1")
    assert read_run(connection, "run2") is None


def test_a_run_that_reversed_is_known_by_that_and_the_reversed_one_no_more():
    connection = ledger()
    apply(connection, "run1", ONE, TWO)
    record_reversed(connection, "ltmc", [ONE, TWO], "run2", "back")
    assert read_run(connection, "run1") is None
    assert read_run(connection, "run2") == Run({1: ANSWERS, 2: ANSWERS}, True, "after run1", "back")


def test_a_run_that_reversed_a_part_leads_to_a_schema_of_its_own():
    connection = ledger()
    apply(connection, "run1", ONE, TWO)
    record_reversed(connection, "ltmc", [TWO], "run2", "between")
    assert read_run(connection, "run2") == Run({2: ANSWERS}, True, "after run1", "between")
    assert read_run(connection, "run1") == Run({1: ANSWERS}, False, "before run1", "after run1")


def test_undoing_the_first_run_leaves_no_ledger():
    connection = ledger()
    apply(connection, "run1", ONE, TWO)
    undo_run(connection, "ltmc", ALL, "run1")
    assert tables(connection) == set()


def test_undoing_a_later_run_leaves_the_ledger_as_it_was():
    connection = ledger()
    apply(connection, "run1", ONE)
    before = everything(connection)
    apply(connection, "run2", TWO, THREE)
    undo_run(connection, "ltmc", ALL, "run2")
    assert everything(connection) == before


@pytest.mark.parametrize("reversed_ones", [[THREE], [TWO, THREE], [ONE, TWO, THREE]])
def test_undoing_a_run_that_reversed_leaves_the_ledger_as_it_was(reversed_ones):
    connection = ledger()
    apply(connection, "run1", ONE)
    apply(connection, "run2", TWO, THREE)
    before = everything(connection)
    record_reversed(connection, "ltmc", reversed_ones, "run3", schema_after="x")
    assert everything(connection) != before
    undo_run(connection, "ltmc", ALL, "run3")
    assert everything(connection) == before


def test_undoing_a_run_after_all_was_reversed_keeps_the_history():
    connection = ledger()
    apply(connection, "run1", ONE)
    record_reversed(connection, "ltmc", [ONE], "run2", "back")
    before = everything(connection)
    apply(connection, "run3", ONE)
    undo_run(connection, "ltmc", ALL, "run3")
    assert everything(connection) == before


def test_undoing_a_run_leaves_what_another_applied_again():
    connection = ledger()
    apply(connection, "run1", ONE)
    record_reversed(connection, "ltmc", [ONE], "run2", "back")
    apply(connection, "run3", ONE)
    undo_run(connection, "ltmc", ALL, "run1")
    assert [a.version for a in read_ledger(connection, "ltmc", ALL)] == [1]


def test_another_programs_migrations_stay():
    connection = ledger()
    others = Migrations("other")
    others(name="0001_step_1")(lambda db: None)
    others.apply(Database(connection))
    before = everything(connection)
    apply(connection, "run1", ONE)
    record_reversed(connection, "ltmc", [ONE], "run2", "back")
    apply(connection, "run3", ONE)
    undo_run(connection, "ltmc", ALL, "run3")
    undo_run(connection, "ltmc", ALL, "run2")
    undo_run(connection, "ltmc", ALL, "run1")
    assert everything(connection) == before
