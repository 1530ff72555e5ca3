"""The judges of the sweep find what they are there for."""

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from tests.faults.kills.drawing import NEWEST, draw, quiet
from tests.faults.kills.states import look
from tests.faults.kills.writer import Writer
from tests.faults.kills.written import LOST, REFUSED, faults_of
from tests.faults.sweep import new_folder
from tests.runs import run_sql

CASE = replace(draw(1), start=0, goal=NEWEST, writers=2, foreign_keys=False, rows=300, journal_mode="delete")


def _writer(folder, number):
    return Writer(str(folder / "ltmc.db"), str(folder / f"journal {number}"), number, CASE.writers, CASE.foreign_keys)


@pytest.fixture(scope="module", params=[0, NEWEST])
def original(request):
    """A database at a version, and the journals of two writers that have ended."""
    folder = new_folder()
    (folder / "ltmc.db").write_bytes(quiet(CASE.rows, request.param))
    writers = [_writer(folder, number) for number in range(CASE.writers)]
    for step in range(1, 22):
        for writer in writers:
            writer.step(step)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def written(original):
    folder = shutil.copytree(original, new_folder(), dirs_exist_ok=True)
    yield folder
    shutil.rmtree(folder)


def found(folder):
    journals = [folder / f"journal {number}" for number in range(CASE.writers)]
    return faults_of(folder / "ltmc.db", CASE, journals)


def test_what_the_writers_wrote_is_found_as_they_wrote_it(written):
    writes, faults = found(written)
    # Of each writer a row in four tables at each step, and what it changed of them.
    assert writes > 2 * 21 * 4 + 50
    assert faults == []
    assert look(written / "ltmc.db", CASE).faults == ()


NEWEST_CHUNK = "id = (SELECT max(id) FROM ResourceChunks)"


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM CodePatterns WHERE input_prompt = 'w0.21'",
        "UPDATE CodePatterns SET error_message = NULL WHERE error_message GLOB 'changed in 1?'",
        "UPDATE CodePatterns SET result = 'fail' WHERE input_prompt = 'w1.8'",
        "DELETE FROM CodePatternContext WHERE context_data = 'w0.2'",
        "UPDATE CodePatterns SET error_message = 'w0.14 of ' || id WHERE id = 2",
        "INSERT INTO CodePatterns (input_prompt, generated_code, result, created_at) VALUES ('w0.5', '', 'pass', '')",
        "UPDATE CodePatterns SET generated_code = 'another' WHERE id = 30",
        "DELETE FROM Todos WHERE title = 'w0.4'",
        "UPDATE Todos SET completed = 0 WHERE description GLOB 'changed in 1?'",
        "UPDATE Todos SET id = 1000 WHERE title = 'w0.4'",
        "INSERT INTO Todos (title, description, created_at) VALUES ('w0.4', 'd', 'w0.4')",
        "DELETE FROM Todos WHERE id = 3",
        "UPDATE ChatHistory SET timestamp = 'w0.3' WHERE conversation_id = 'w0.3'",
        "UPDATE ChatHistory SET role = content, content = role WHERE role = 'w1.13' OR conversation_id = 'w1.13'",
        "DELETE FROM ContextLinks WHERE message_id > 300",
        "UPDATE ChatHistory SET agent_name = 'w0.14 of 4' WHERE id = 4",
        "UPDATE ChatHistory SET timestamp = 'w0.14' WHERE id = 150",
        "UPDATE ChatHistory SET content = '' WHERE id = 200",
        f"DELETE FROM ResourceChunks WHERE {NEWEST_CHUNK}",
        f"UPDATE ResourceChunks SET vector_id = vector_id + 1 WHERE {NEWEST_CHUNK}",
        "UPDATE Summaries SET resource_id = resource_id + 1",
        "UPDATE RetrievalWeights SET alpha = 14",
        "UPDATE RetrievalWeights SET delta = 14",
        "UPDATE VectorIdSequence SET last_vector_id = -5 WHERE id IN (1, 2)",
    ],
)
def test_a_write_that_is_lost_stale_back_again_or_twice_is_found(written, statement):
    run_sql(written / "ltmc.db", statement)
    _, faults = found(written)
    assert {kind for kind, _ in faults} == {LOST}


def test_an_id_that_is_given_again_is_found(written):
    with closing(sqlite3.connect(written / "ltmc.db")) as connection:
        connection.execute("DELETE FROM Todos WHERE title = 'w1.21'")
        connection.execute("UPDATE sqlite_sequence SET seq = 0 WHERE name = 'Todos'")
        connection.commit()
    _writer(written, 0).step(22)
    _, faults = found(written)
    assert any("was given 2 times" in what for _, what in faults), faults


def test_a_write_that_is_refused_is_found(written):
    run_sql(written / "ltmc.db", "CREATE TRIGGER no BEFORE INSERT ON Resources BEGIN SELECT raise(ABORT, 'no'); END")
    _writer(written, 0).step(22)
    assert found(written)[1] == [(REFUSED, "store_memory: no")]


@pytest.mark.parametrize(
    "statement",
    [
        "DROP INDEX patterns_with_error",
        "DROP TRIGGER remember_attempt",
        "ALTER TABLE Todos ADD COLUMN more",
        "CREATE TABLE PerformanceMetric (id)",
        "UPDATE ChatHistory SET role = content, content = role WHERE id = 75",
        "INSERT INTO CodePatternContext (pattern_id, context_type, context_data) VALUES (-1, '', '')",
    ],
)
def test_a_state_between_the_versions_is_found(written, statement):
    run_sql(written / "ltmc.db", statement)
    assert len(look(written / "ltmc.db", CASE).faults) == 1


@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM _sqlite_migrations WHERE id = 5", "UPDATE _migration_history SET reversed_at = '' WHERE version = 3"],
)
def test_a_ledger_that_contradicts_itself_is_found(tmp_path, statement):
    database = tmp_path / "ltmc.db"
    database.write_bytes(quiet(300, NEWEST))
    run_sql(database, statement)
    assert any("the ledger has" in what for _, what in look(database, replace(CASE, start=4)).faults)
