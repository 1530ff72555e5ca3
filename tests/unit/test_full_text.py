"""Full-text indexes of content in the application's tables, kept up to date by triggers (sqlite.org/fts5.html)."""

import pytest

from migrator.connect import json_is_unsafe, opened
from migrator.errors import RehearsalError
from migrator.probes import Probe
from migrator.promotion import promote
from migrator.removal import remove_own
from migrator.restoration import finish
from migrator.verification import verify_live
from tests.notes import NOTES, make_notes, notes_application
from tests.runs import PLENTY_MS, is_sound, live_of, promoted, prove, rehearsed, restored, rows, run_sql, stored


def full_text(index, table, key, column):
    """The documented form: an index without content of its own, and three triggers."""
    add = f"INSERT INTO {index} (rowid, {column}) VALUES (new.{key}, new.{column});"
    take = f"INSERT INTO {index} ({index}, rowid, {column}) VALUES ('delete', old.{key}, old.{column});"
    return (
        f"CREATE VIRTUAL TABLE {index} USING fts5({column}, content='{table}', content_rowid='{key}')",
        f"INSERT INTO {index} ({index}) VALUES ('rebuild')",
        f"CREATE TRIGGER {index}_i AFTER INSERT ON {table} BEGIN {add} END",
        f"CREATE TRIGGER {index}_d AFTER DELETE ON {table} BEGIN {take} END",
        f"CREATE TRIGGER {index}_u AFTER UPDATE ON {table} BEGIN {take} {add} END",
    )


def add_tag(connection):
    connection.execute("INSERT INTO tags VALUES (1, 'by a tool')")
    return connection.execute("SELECT rowid FROM tags_text WHERE tags_text MATCH 'note'").fetchall()


WITH_TAGS = notes_application(probes=(*NOTES.probes, Probe("add_tag", add_tag)))


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "notes.db"
    make_notes(path)
    run_sql(path, *full_text("notes_text", "notes", "id", "body"), *full_text("tags_text", "tags", "rowid", "tag"))
    return path


def assert_found(path, body):
    """Both indexes fit their tables, and the triggers keep them so."""
    run_sql(
        path,
        "INSERT INTO notes_text (notes_text, rank) VALUES ('integrity-check', 1)",
        "INSERT INTO tags_text (tags_text, rank) VALUES ('integrity-check', 1)",
        f"UPDATE notes SET body = '{body}' WHERE id = 7",
        f"UPDATE tags SET tag = '{body}' WHERE note_id = 7",
    )
    assert rows(path, f"SELECT rowid FROM notes_text WHERE notes_text MATCH '{body}'") == [(7,)]
    assert rows(path, f"SELECT tag FROM tags_text WHERE tags_text MATCH '{body}'") == [(body,)]
    assert is_sound(path)


@pytest.mark.parametrize(("max_lock_ms", "strategy"), [(PLENTY_MS, "one_transaction"), (0.0, "online")])
def test_indexes_over_the_migrated_table_and_over_another_go_forth_and_back(database, max_lock_ms, strategy):
    for to_version, word in ((1, "forth"), (0, "back")):
        candidate = rehearsed(database, WITH_TAGS, to_version=to_version)
        prove(candidate)
        done = promote(candidate, max_lock_ms)
        assert done.strategy == strategy
        verify_live(done)
        live = live_of(done)
        with opened(database) as connection:
            remove_own(connection, live.application)
        assert finish(live.database, live.directory) == ()
        assert_found(database, word)


def test_a_restore_keeps_the_indexes_and_what_was_written_since(database):
    done = promoted(database, WITH_TAGS)
    run_sql(database, "INSERT INTO notes (body, mood) VALUES ('since', 'good')")
    assert restored(database, live_of(done)).how == "reversed"
    assert rows(database, "SELECT count(*) FROM notes_text WHERE notes_text MATCH 'since'") == [(1,)]
    assert_found(database, "restored")


def test_an_index_of_a_column_that_goes_is_named_and_live_is_untouched(database):
    content = "content='notes', content_rowid='id'"
    run_sql(database, f"CREATE VIRTUAL TABLE places USING fts5(place, {content})")
    before = stored(database)
    with pytest.raises(RehearsalError, match=r"breaks table places \(no such column: .*place\); live unchanged"):
        rehearsed(database)
    assert stored(database) == before


def test_only_a_copy_that_speaks_for_the_application_trusts_the_schema(database):
    with opened(database) as live, opened(database, trusts_schema=True) as copy:
        trusted = [connection.execute("PRAGMA trusted_schema").fetchone()[0] for connection in (live, copy)]
    assert trusted == [int(json_is_unsafe()), 1]
