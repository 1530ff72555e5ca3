"""0004 on VectorIdSequence: whatever ids are in use, the next one is free, before and after the way back too."""

import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from migrator.ltmc import LTMC
from migrator.ltmc.migrations.m0004_vector_id_sequence import USED
from migrator.ltmc.probes.rows import next_vector_id
from migrator.ltmc.probes.sequence_row import next_of_row_one
from migrator.ltmc.probes.tables import RESOURCE_CHUNKS, VECTOR_ID_SEQUENCE, create_tables
from migrator.promotion import promote as promote_live
from tests.runs import PLENTY_MS, end_of_run, live_of, rehearsed, restored, run_sql
from tests.unit.going_online import cleaned, made, online
from tests.unit.ltmc_databases import REAL, at_version, call, failures
from tests.unit.ltmc_patterns import M0001
from tests.unit.migrating import back, database, everything, forward, one, plan_for, promote, rehearse

M0004 = LTMC.migrations[3]
ROW_1 = "SELECT last_vector_id FROM VectorIdSequence WHERE id = 1"
PATTERN = "INSERT INTO CodePatterns (input_prompt, generated_code, created_at, vector_id) VALUES ('', '', '', {})"
CHUNK = "INSERT INTO ResourceChunks (chunk_text, vector_id) VALUES ('text', {})"


def sequence(*statements, text=VECTOR_ID_SEQUENCE):
    """An application that has given the ids 2 to 4: to two chunks, and to a call that failed."""
    connection = database(f"CREATE TABLE {RESOURCE_CHUNKS}", f"CREATE TABLE {text}", M0001.changes[0].after)
    connection.execute("INSERT INTO VectorIdSequence (last_vector_id) VALUES (0), (1), (2), (3)")
    for statement in (CHUNK.format(2), CHUNK.format(3), *statements):
        connection.execute(statement)
    return connection


SET_ROW_1 = "UPDATE VectorIdSequence SET last_vector_id = {} WHERE id = 1"
HIGHEST_INTEGER = 2**63 - 1
STATES = {
    "the highest id is lost": ((), 4),
    "a chunk from elsewhere is above the sequence": ((CHUNK.format(900),), 900),
    "a pattern is above the chunks": ((PATTERN.format(70),), 70),
    "the rows of the sequence are gone but for the first": (("DELETE FROM VectorIdSequence WHERE id > 1",), 4),
    "the mark is gone": (("DELETE FROM sqlite_sequence WHERE name = 'VectorIdSequence'",), 4),
    "no chunk is left": (("DELETE FROM ResourceChunks",), 4),
    "row 1 holds nothing": (("UPDATE VectorIdSequence SET last_vector_id = NULL",), 4),
    "row 1 holds a text": ((SET_ROW_1.format("'x'"),), 4),
    "row 1 holds a text that begins with a number": ((SET_ROW_1.format("'5000 or so'"),), 5000),
    "row 1 holds a fraction": ((SET_ROW_1.format(5000.7),), 5000),
    "row 1 is below zero": ((SET_ROW_1.format(-7),), 4),
    "row 1 is far above": ((SET_ROW_1.format(5000),), 5000),
    "row 1 leaves no next id": ((SET_ROW_1.format(HIGHEST_INTEGER),), 4),
    "row 1 is above all integers": ((SET_ROW_1.format("1e300"),), 4),
    "a vector id is a text": ((CHUNK.format("'x'"),), 4),
    "a vector id is a fraction": ((CHUNK.format(70.5),), 4),
    "a vector id leaves no next one": ((CHUNK.format(HIGHEST_INTEGER), PATTERN.format(HIGHEST_INTEGER - 1)), 4),
    "ids below zero": ((CHUNK.format(-5),), 4),
}


@pytest.mark.parametrize("patterns", [10, 5000])
def test_patterns_without_a_vector_id_are_not_looked_at_under_the_lock(patterns):
    connection = sequence(*[PATTERN.format("NULL")] * patterns)
    opcodes = []
    connection.set_progress_handler(lambda: opcodes.append(1), 1)
    assert connection.execute(f"SELECT {USED}").fetchone() == (3,)
    assert len(opcodes) < 100


@pytest.mark.parametrize("carry_out", [promote, rehearse])
@pytest.mark.parametrize(("statements", "expected"), STATES.values(), ids=STATES)
def test_row_1_fits_the_ids_in_use_and_gets_its_old_number_back(carry_out, statements, expected):
    connection = sequence(*statements)
    before, was = everything(connection), one(connection, ROW_1)
    carry_out(connection, plan_for(connection, [M0004]))
    assert connection.execute(ROW_1).fetchall() == [(expected,)]
    assert isinstance(one(connection, ROW_1), int)
    after = everything(connection, M0004.own_tables)
    changed = {table for table in before if after[table] != before[table]} - {"sqlite_sequence"}
    assert changed == ({"VectorIdSequence"} if was != expected else set())
    carry_out(connection, plan_for(connection, [M0004], reverse=True))
    # The mark alone may be higher, so that the old application does not come to ids that are in use, or were.
    marks, now = dict(before.pop("sqlite_sequence")), everything(connection)
    assert dict(now.pop("sqlite_sequence")) == marks | {"VectorIdSequence": expected}
    assert now == before


def test_the_mark_of_a_table_in_lower_case_counts_too():
    connection = sequence("DELETE FROM VectorIdSequence WHERE id > 1", text=VECTOR_ID_SEQUENCE.lower())
    forward(connection, M0004)
    assert one(connection, ROW_1) == 4


@pytest.mark.parametrize("written", ["NULL", "'x'", -7, HIGHEST_INTEGER, "1e300"])
def test_what_the_application_cannot_have_counted_to_raises_no_mark(written):
    connection = sequence()
    forward(connection, M0004)
    connection.execute(SET_ROW_1.format(written))
    new = one(connection, ROW_1)
    back(connection, M0004)
    assert connection.execute("INSERT INTO VectorIdSequence (last_vector_id) VALUES (4)").lastrowid == 5
    assert one(connection, ROW_1) == new


def test_only_row_1_is_written():
    connection = at_version(3)
    rows = connection.execute("SELECT * FROM VectorIdSequence").fetchall()
    written = connection.total_changes
    forward(connection, M0004)
    assert connection.total_changes - written < 10
    assert connection.execute("SELECT * FROM VectorIdSequence").fetchall() == [(1, len(rows)), *rows[1:]]


@pytest.mark.parametrize("stays", [True, False])
def test_each_application_gives_ids_that_nobody_had_however_often_it_goes_forth_and_back(stays):
    connection = at_version(3)
    given = {id_ for (id_,) in connection.execute("SELECT vector_id FROM ResourceChunks")}
    for _ in range(3):
        for next_id, turn in ((next_vector_id, forward), (next_of_row_one, back)):
            for table in (CHUNK, PATTERN, CHUNK):
                id_ = next_id(connection)
                assert id_ not in given
                given.add(id_)
                connection.execute(table.format(id_))
            if not stays:
                for table in ("ResourceChunks", "CodePatterns"):
                    connection.execute(f"DELETE FROM {table} WHERE vector_id > 20")
            turn(connection, M0004)
    assert len(given) > 18


def take(path, next_id):
    """The id that an application of this kind gives next; the chunk that it gave it to is deleted again."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        id_ = next_id(connection)
        connection.execute(CHUNK.format(id_))
        connection.execute(f"DELETE FROM ResourceChunks WHERE vector_id = {id_}")
        return id_


@pytest.fixture
def live(folder):
    """The ids of the demo, and 900 from elsewhere."""
    path = folder / "ltmc.db"
    LTMC.make_demo(path, 30)
    run_sql(path, CHUNK.format(900))
    return path


@pytest.mark.parametrize("max_lock_ms", [PLENTY_MS, 0.0], ids=["one transaction", "online"])
def test_an_id_whose_chunk_is_gone_is_given_by_no_application_again(live, max_lock_ms):
    def to(version):
        end_of_run(rehearsed(live, LTMC, to_version=version), max_lock_ms)

    to(5)
    assert take(live, next_of_row_one) == 901
    to(3)
    assert take(live, next_vector_id) == 902
    to(4)
    assert [take(live, next_of_row_one) for _ in range(2)] == [903, 904]
    to(0)
    assert take(live, next_vector_id) == 905


def test_neither_is_it_after_a_promotion_that_could_not_stand(live):
    done = promote_live(rehearsed(live, LTMC), PLENTY_MS)
    assert take(live, next_of_row_one) == 901
    result = restored(live, live_of(done))
    assert (result.how, [f.code for f in result.findings]) == ("reversed", ["mark_stays_raised"])
    assert take(live, next_vector_id) == 902


def test_exactly_the_tools_that_give_ids_fail_on_the_old_row_and_work_on_the_new():
    assert set(failures(at_version(3), version=4)) == {"store_memory", "log_code_attempt"} == set(M0004.tools)
    message = failures(at_version(3), version=4)["store_memory"]
    assert "the next vector id is 1, but ResourceChunks has 20 already; UPDATE VectorIdSequence SET" in message
    assert failures(at_version(4), version=4) == {}
    assert failures(at_version(4), version=3) == {}


def test_the_reading_tools_try_rows_under_an_id_that_is_free_in_every_version():
    connection = at_version(4)
    connection.execute(CHUNK.format(next_of_row_one(connection)))
    # What the old application would give next is taken now: only what gives ids cares.
    assert set(failures(connection, version=3)) == {"store_memory"}
    assert failures(connection, version=4) == {}


def test_a_way_out_of_a_sequence_that_is_behind_is_named():
    connection = at_version(4)
    connection.execute(PATTERN.format(4000))
    found = failures(connection, version=4)["store_memory"]
    assert "the next vector id is 22, but CodePatterns has 4000 already" in found
    connection.execute(found.partition("; ")[2].partition(" puts")[0])
    assert failures(connection, version=4) == {}


@pytest.mark.parametrize("written", ["NULL", "'x'", 7000.7, HIGHEST_INTEGER])
def test_a_row_1_that_leaves_no_next_id_fails_what_gives_ids_and_says_why(written):
    connection = at_version(4)
    connection.execute(SET_ROW_1.format(written))
    found = failures(connection, version=4)
    assert set(found) == set(M0004.tools)
    assert found["store_memory"].startswith("ProbeError: last_vector_id of row 1 of VectorIdSequence is no number")


def test_a_chunk_under_the_highest_integer_is_in_the_way_of_no_tool():
    connection = at_version(3)
    connection.execute(CHUNK.format(HIGHEST_INTEGER))
    assert failures(connection, version=3) == {}
    forward(connection, M0004)
    assert failures(connection, version=4) == {}


def test_a_new_id_is_the_number_that_row_1_holds_and_no_row_is_added():
    connection = at_version(4)
    before = connection.execute("SELECT * FROM VectorIdSequence WHERE id > 1").fetchall()
    call(connection, "store_memory", version=4)
    assert [next_of_row_one(connection) for _ in range(3)] == [22, 23, 24]
    assert connection.execute("SELECT * FROM VectorIdSequence WHERE id > 1").fetchall() == before
    assert one(connection, ROW_1) == 24


def test_a_database_that_the_application_has_just_made_gives_id_1():
    connection = database()
    create_tables(connection)
    for migration in LTMC.migrations[:4]:
        forward(connection, migration)
    assert one(connection, ROW_1) == 1
    assert failures(connection, version=4) == {}


def test_ids_that_are_given_during_an_online_promotion_are_fitted_in(folder):
    path = made(
        folder / "live.db", f"CREATE TABLE {RESOURCE_CHUNKS}", f"CREATE TABLE {VECTOR_ID_SEQUENCE}",
        M0001.changes[0].after, "INSERT INTO VectorIdSequence VALUES (1, 0), (2, 1)", CHUNK.format(2),
    )  # fmt: skip
    alone = replace(M0004, version=1)
    taken = ("INSERT INTO VectorIdSequence (last_vector_id) VALUES (2)", CHUNK.format(3))
    online(path, alone, last=taken)
    with sqlite3.connect(path) as connection:
        assert connection.execute(ROW_1).fetchall() == [(3,)]
    online(cleaned(path, alone), alone, reverse=True, last=CHUNK.format(40))
    with sqlite3.connect(path) as connection:
        assert next_vector_id(connection) == 41


@pytest.mark.skipif(not REAL.exists(), reason="the real database is not beside the checkout")
def test_the_real_database_goes_on_at_115():
    connection = at_version(4, REAL.read_bytes())
    assert one(connection, ROW_1) == 114
    assert next_of_row_one(connection) == 115
