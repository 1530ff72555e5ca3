"""WAL for the time of a run, and back to what it was."""

import json
import shutil
import sqlite3
from contextlib import closing
from functools import partial

import pytest

from migrator import journal_mode
from migrator.connect import opened
from migrator.errors import RefusedError
from migrator.journal import Journal, journal_path, read_journal, write_journal
from migrator.journal_mode import give_back, kept_open, use_wal
from tests.children import await_more, reading
from tests.runs import rows, run_sql


@pytest.fixture
def database(folder, monkeypatch):
    path = folder / "live.db"
    run_sql(path, "CREATE TABLE t (x)", "INSERT INTO t VALUES (1)")
    monkeypatch.setattr(journal_mode, "opened", partial(opened, timeout_s=0.05))
    write_journal(path, Journal("abcd1234", str(folder / "20260101T000000Z-abcd1234")))
    return path


def mode(path):
    return rows(path, "PRAGMA journal_mode")[0][0]


def held(path, *statements):
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement).fetchall()
    return closing(connection)


def test_there_and_back_again(database):
    assert use_wal(database) == ()
    assert mode(database) == "wal"
    assert read_journal(database) == Journal("abcd1234", str(database.parent / "20260101T000000Z-abcd1234"), "delete")
    assert give_back(database) == ()
    assert mode(database) == "delete"
    assert rows(database, "SELECT * FROM t") == [(1,)]


def test_a_database_in_wal_mode_is_left_alone(database):
    run_sql(database, "PRAGMA journal_mode=wal")
    assert use_wal(database) == ()
    assert read_journal(database).journal_mode is None
    assert give_back(database) == ()
    assert mode(database) == "wal"


def log_bytes(path):
    log = path.with_name(path.name + "-wal")
    return log.stat().st_size if log.exists() else 0


def test_while_it_is_kept_open_no_close_of_the_application_carries_the_log_over(database):
    use_wal(database)
    with kept_open(database):
        run_sql(database, "INSERT INTO t VALUES (2)")
        assert log_bytes(database) > 0
    assert (log_bytes(database), rows(database, "SELECT x FROM t")) == (0, [(1,), (2,)])
    assert give_back(database) == ()


def test_when_it_is_let_go_little_is_left_for_the_last_close_of_the_application(database, tmp_path):
    use_wal(database)
    with opened(database) as application:
        with kept_open(database):
            application.execute("INSERT INTO t VALUES (2)")
        shutil.copyfile(database, tmp_path / "without the log.db")
    assert rows(tmp_path / "without the log.db", "SELECT x FROM t") == [(1,), (2,)]


def test_what_is_kept_open_can_be_switched_to_wal_and_written(database):
    with kept_open(database):
        assert use_wal(database) == ()
        run_sql(database, "BEGIN EXCLUSIVE", "INSERT INTO t VALUES (2)", "COMMIT")
    assert give_back(database) == ()
    assert (mode(database), rows(database, "SELECT x FROM t")) == ("delete", [(1,), (2,)])


def test_asking_twice_does_not_forget_the_mode_of_before(database):
    use_wal(database)
    assert use_wal(database) == ()
    assert read_journal(database).journal_mode == "delete"
    assert (give_back(database), give_back(database)) == ((), ())
    assert mode(database) == "delete"


def test_the_note_is_there_before_the_mode_changes(database):
    with held(database, "BEGIN", "SELECT * FROM t"):
        use_wal(database, 0.0)
        assert read_journal(database).journal_mode == "delete"
        assert mode(database) == "delete"


@pytest.mark.parametrize("holds", [("BEGIN IMMEDIATE",), ("BEGIN", "SELECT * FROM t")])
def test_somebody_who_holds_the_database_keeps_it_in_its_mode(database, holds):
    with held(database, *holds):
        (found,) = use_wal(database, 0.02)
    assert found.code == "wal_refused"
    assert found.message == (
        "live.db stays in journal mode delete, because somebody holds it; its writers may wait longer"
    )
    assert mode(database) == "delete"
    assert give_back(database) == () and mode(database) == "delete"


def test_somebody_who_keeps_even_readers_out_is_an_error_that_says_so(database):
    with held(database, "BEGIN EXCLUSIVE"), pytest.raises(sqlite3.OperationalError, match="locked"):
        use_wal(database, 0.02)
    assert mode(database) == "delete" and read_journal(database).journal_mode is None


def test_while_it_waits_for_a_reader_others_can_read(database, monkeypatch, tmp_path):
    monkeypatch.setattr(journal_mode, "opened", partial(opened, timeout_s=0.3))
    run_sql(database, "CREATE TABLE notes (x)")
    with held(database, "BEGIN", "SELECT * FROM t"), reading(database, tmp_path / "seen", 0.0) as lines:
        await_more(lines)
        before = len(lines())
        use_wal(database, 0.2)
        meanwhile = lines()[before:]
    assert len([line for line in meanwhile if line.startswith("ERROR")]) < len(meanwhile) / 2


def test_somebody_who_merely_has_it_open_is_in_nobodys_way_to_wal(database):
    with held(database, "SELECT * FROM t"):
        assert use_wal(database) == ()
        assert mode(database) == "wal"


@pytest.mark.parametrize("holds", [("SELECT * FROM t",), ("BEGIN IMMEDIATE",)])
def test_somebody_who_has_it_open_keeps_it_in_wal_and_the_command_is_said(database, holds):
    use_wal(database)
    with held(database, *holds) as other:
        (found,) = give_back(database, 0.02)
        assert mode(database) == "wal"
        other.execute("INSERT INTO t VALUES (2)")
    assert found.code == "journal_mode_left"
    assert found.message == (
        "live.db stays in WAL mode, because somebody has it open; to go back when nobody has: "
        f"sqlite3 {database} 'PRAGMA journal_mode=delete'"
    )
    run_sql(database, "PRAGMA journal_mode=delete")
    assert mode(database) == "delete"


def test_who_lets_go_in_time_was_in_nobodys_way(database, monkeypatch):
    with held(database, "BEGIN IMMEDIATE") as other:
        monkeypatch.setattr("migrator.journal_mode.time.sleep", lambda _: other.in_transaction and other.commit())
        assert use_wal(database) == ()
    assert mode(database) == "wal"


@pytest.mark.parametrize("stored", ["delete", "truncate", "persist"])
def test_the_journal_says_which_mode_to_go_back_to(database, stored):
    use_wal(database)
    write_journal(database, Journal("abcd1234", str(database.parent / "20260101T000000Z-abcd1234"), stored))
    assert give_back(database) == ()
    # The other two last only as long as a connection: SQLite stores no more than "not WAL".
    assert mode(database) == "delete"


def test_without_a_journal_there_is_nothing_to_go_back_to(database):
    run_sql(database, "PRAGMA journal_mode=wal")
    journal_path(database).unlink()
    assert give_back(database) == ()
    assert mode(database) == "wal"


@pytest.mark.parametrize("stored", ["off", "memory", "wal", "delete; DROP TABLE t", "", 1, ["delete"]])
def test_a_mode_that_is_none_to_go_back_to_is_refused(database, stored):
    use_wal(database)
    note = json.loads(journal_path(database).read_text()) | {"journal_mode": stored}
    journal_path(database).write_text(json.dumps(note))
    with pytest.raises(RefusedError, match="is not the journal of a run"):
        give_back(database)
    assert mode(database) == "wal" and rows(database, "SELECT * FROM t") == [(1,)]


def test_a_journal_of_before_there_were_modes_is_understood(database):
    note = json.loads(journal_path(database).read_text())
    del note["journal_mode"]
    journal_path(database).write_text(json.dumps(note))
    assert read_journal(database).journal_mode is None
    assert give_back(database) == ()
