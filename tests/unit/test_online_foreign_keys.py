"""Beside connections that enforce foreign keys no row of the shadow table or of the old one refuses a write."""

import sqlite3
from contextlib import closing

import pytest

from migrator.ltmc import LTMC
from migrator.promotion import promote
from tests.runs import rehearsed, rows

ONLINE_MS = 0.001


@pytest.fixture
def database(tmp_path):
    """Patterns of a hand-altered table point at chunks that nothing else needs."""
    path = tmp_path / "ltmc.db"
    LTMC.make_demo(path, 300)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("ALTER TABLE CodePatterns ADD COLUMN vector_id INTEGER")
        (resource,) = connection.execute("SELECT resource_id FROM ResourceChunks LIMIT 1").fetchone()
        patterns = connection.execute("SELECT id FROM CodePatterns ORDER BY id LIMIT 4").fetchall()
        insert = "INSERT INTO ResourceChunks (resource_id, chunk_text, vector_id) VALUES (?, 'x', ?)"
        for (pattern,) in patterns:
            chunk = connection.execute(insert, (resource, 900_000 + pattern)).lastrowid
            connection.execute("UPDATE CodePatterns SET vector_id = ? WHERE id = ?", (chunk, pattern))
    return path


def let_go_of(path, chunk):
    """What the live table allows: no pattern points at the chunk any more, so it may be deleted."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("UPDATE CodePatterns SET vector_id = NULL WHERE vector_id = ?", (chunk,))
        connection.execute("DELETE FROM ResourceChunks WHERE id = ?", (chunk,))


def test_a_parent_may_be_deleted_before_during_and_after_the_swap(database):
    chunks = [chunk for (chunk,) in rows(database, "SELECT vector_id FROM CodePatterns WHERE vector_id NOTNULL")]
    candidate = rehearsed(database, LTMC)

    def meanwhile(done, total):
        if done and len(chunks) > 1:
            let_go_of(database, chunks.pop())

    done = promote(candidate, ONLINE_MS, meanwhile)
    assert (done.strategy, len(chunks)) == ("online", 1)
    let_go_of(database, chunks[0])
    assert rows(database, "SELECT count(*) FROM CodePatterns WHERE vector_id NOTNULL") == [(0,)]
    key = 'SELECT "table", "from", "to" FROM pragma_foreign_key_list(?)'
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute(key, ("CodePatterns",)).fetchall() == [("ResourceChunks", "vector_id", "id")]


def test_the_new_tables_foreign_key_is_enforced_where_a_connection_asks_for_it(database):
    promote(rehearsed(database, LTMC), ONLINE_MS)
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys=ON")
        with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY constraint failed"):
            connection.execute("UPDATE CodePatterns SET vector_id = -1 WHERE id = (SELECT max(id) FROM CodePatterns)")
