"""0001 on CodePatterns: every starting state arrives at one table, every value at its own, and all comes back."""

import sqlite3
from itertools import combinations
from random import Random

import pytest

from migrator.errors import RefusedError
from migrator.migration import Answers
from tests.unit.ltmc_patterns import (
    LANGUAGES,
    M0001,
    NEW_COLUMNS,
    NULLABLE,
    ORIGINAL,
    RESULTS,
    TARGET_COLUMNS,
    TIMES,
    assert_target,
    awkward_rows,
    expected_ms,
    expected_result,
    expected_truncated_ms,
    fill,
    patterns,
    stored_values,
)
from tests.unit.migrating import (
    NO_ANSWERS,
    back,
    cells,
    columns_of,
    everything,
    forward,
    one,
    plan_for,
    promote,
    read_schema,
    rehearse,
    tables,
)

TYPES = {"vector_id": "INTEGER", "execution_time_ms": "INTEGER"}
SUBSETS = [subset for size in range(len(NEW_COLUMNS) + 1) for subset in combinations(NEW_COLUMNS, size)]
ROWS = [("success", "python", 1.001), ("Fail", None, None), ("partial", "", "slow"), (" pass", "c", 2.3)]
EXPECTED = [("pass", 1001), ("fail", None), ("partial", None), ("pass", 2300)]


def added(*columns: str) -> list[str]:
    return [f"ALTER TABLE CodePatterns ADD COLUMN {c} {TYPES.get(c.lower(), 'TEXT')}" for c in columns]


def results_and_times(connection: sqlite3.Connection) -> list[tuple[object, ...]]:
    return stored_values(connection, "result, execution_time_ms")


@pytest.fixture(params=[promote, rehearse], ids=["promoted", "rehearsed"])
def carry_out(request):
    return request.param


@pytest.mark.parametrize("subset", SUBSETS, ids="-".join)
def test_any_of_the_columns_may_be_there_already(subset, carry_out):
    connection = patterns(*added(*subset))
    fill(connection, ROWS)
    carry_out(connection, plan_for(connection, [M0001]))
    assert_target(connection)
    assert results_and_times(connection) == EXPECTED


def test_what_somebody_wrote_into_the_added_columns_stays(carry_out):
    connection = patterns(*added(*NEW_COLUMNS))
    fill(connection, ROWS)
    connection.execute("UPDATE CodePatterns SET function_name = 'f' || id, tags = '[\"a\"]', vector_id = id * 7")
    carry_out(connection, plan_for(connection, [M0001]))
    assert_target(connection)
    assert stored_values(connection, "function_name, tags, vector_id, file_name") == [
        (f"f{i}", '["a"]', i * 7, None) for i in (1, 4, 7, 10)
    ]


def test_times_that_the_plans_own_cast_converted_are_converted_anew(carry_out):
    connection = patterns(*added("execution_time_ms"))
    fill(connection, ROWS)
    connection.execute("UPDATE CodePatterns SET execution_time_ms = CAST(execution_time * 1000 AS INTEGER)")
    assert [ms for _, ms in results_and_times(connection)] == [1000, None, 0, 2300]
    carry_out(connection, plan_for(connection, [M0001]))
    assert results_and_times(connection) == EXPECTED


def test_times_that_the_application_wrote_stay(carry_out):
    connection = patterns(*added("execution_time_ms"))
    fill(connection, ROWS)
    connection.execute("UPDATE CodePatterns SET execution_time_ms = 77 WHERE id IN (1, 4)")
    carry_out(connection, plan_for(connection, [M0001]))
    assert [ms for _, ms in results_and_times(connection)] == [77, 77, None, 2300]


def test_the_way_back_gives_the_time_beside_which_the_application_wrote_another():
    connection = patterns(*added("execution_time_ms"))
    fill(connection, ROWS)
    connection.execute("UPDATE CodePatterns SET execution_time_ms = 77 WHERE id = 10")
    forward(connection, M0001)
    back(connection, M0001)
    assert stored_values(connection, "result, language, execution_time") == ROWS


def test_a_default_that_somebody_gave_a_column_that_goes_loses_no_value():
    connection = patterns(table=ORIGINAL.replace("language TEXT", "language TEXT DEFAULT 'c'"))
    fill(connection, [("pass", "c", 1.0), ("pass", None, 1.0)])
    forward(connection, M0001)
    back(connection, M0001)
    assert stored_values(connection, "language") == [("c",), (None,)]


def test_a_table_that_was_made_again_without_null_in_result_is_migrated(carry_out):
    target = M0001.changes[0].after.replace("result TEXT CHECK", "result TEXT NOT NULL CHECK")
    connection = patterns(table=target)
    connection.execute(
        "INSERT INTO CodePatterns (id, input_prompt, generated_code, result, execution_time_ms, created_at, vector_id) "
        "VALUES (5, 'p', 'c', 'fail', 12, 't', 3)"
    )
    carry_out(connection, plan_for(connection, [M0001]))
    assert_target(connection)
    assert stored_values(connection, "id, result, execution_time_ms, vector_id") == [(5, "fail", 12, 3)]


def test_names_in_another_case_are_the_same_names(carry_out):
    table = (
        ORIGINAL.replace("CodePatterns", "codePATTERNS").replace("result", "RESULT").replace("created_at", "Created_At")
    )
    connection = patterns(*added("Tags", "EXECUTION_TIME_MS"), table=table)
    fill(connection, ROWS)
    connection.execute("DELETE FROM CodePatterns WHERE id = 10")
    carry_out(connection, plan_for(connection, [M0001]))
    assert_target(connection)
    assert results_and_times(connection) == EXPECTED[:3]
    assert connection.execute("SELECT * FROM sqlite_sequence").fetchall() == [("codePATTERNS", 10)]
    back(connection, M0001)
    assert stored_values(connection, "result, language, execution_time") == ROWS[:3]


def test_a_column_that_no_schema_knows_is_refused():
    with pytest.raises(RefusedError, match="column 'mine' of table CodePatterns is in neither schema"):
        plan_for(patterns("ALTER TABLE CodePatterns ADD COLUMN mine TEXT"), [M0001])


def test_a_computed_column_is_refused_and_not_lost():
    with pytest.raises(RefusedError, match="column 'size' of table CodePatterns is in neither schema"):
        plan_for(patterns("ALTER TABLE CodePatterns ADD COLUMN size AS (length(input_prompt))"), [M0001])
    with pytest.raises(RefusedError, match=r"'tags' already exists .* as a generated column, expected TEXT"):
        plan_for(patterns("ALTER TABLE CodePatterns ADD COLUMN tags TEXT AS (result)"), [M0001])


@pytest.mark.parametrize(("type_", "said"), [("REAL", "REAL"), ("real", "REAL"), ("", "no type")])
def test_a_column_of_another_type_is_refused_in_these_words(type_, said):
    with pytest.raises(RefusedError) as refused:
        plan_for(patterns(f"ALTER TABLE CodePatterns ADD COLUMN tags {type_}"), [M0001])
    assert str(refused.value) == (
        f"column 'tags' already exists in table 'CodePatterns' as {said}, expected TEXT; "
        "rename or convert the column first"
    )


def test_a_database_without_the_table_is_refused():
    connection = patterns("DROP TABLE CodePatterns")
    with pytest.raises(RefusedError, match="table CodePatterns does not exist in the database; name the application's"):
        plan_for(connection, [M0001])


def test_a_table_of_the_name_for_originals_is_refused_and_not_dropped():
    with pytest.raises(RefusedError, match="table CodePatterns_legacy already exists"):
        plan_for(patterns("CREATE TABLE CodePatterns_legacy (id, mine)"), [M0001])
    with pytest.raises(RefusedError, match="table CodePatterns_ahead has no column id, so this tool did not make it"):
        plan_for(patterns("CREATE TABLE CodePatterns_ahead (mine, tags)"), [M0001])


def migrated(rows, answers=NO_ANSWERS, table=ORIGINAL):
    connection = patterns(table=table)
    fill(connection, rows)
    forward(connection, M0001, answers=answers)
    return connection


def test_every_awkward_value_becomes_what_a_second_computation_says():
    rows = awkward_rows()
    before = patterns()
    fill(before, rows)
    was = stored_values(before, "*")
    connection = migrated(rows)
    assert_target(connection)
    assert stored_values(connection, ", ".join(name for name, *_ in TARGET_COLUMNS)) == [
        (id_, None, None, None, prompt, code, expected_result(result), expected_ms(time), error, None, at, None)
        for id_, prompt, code, result, _, time, error, at in was
    ]


def test_the_originals_are_what_the_new_table_cannot_hold_and_nothing_else():
    rows = [
        *awkward_rows(),
        *[(r, None, t) for r in ("pass", "fail", "partial") for t in (None, 0.5, 1.001, 2.3, -0.25)],
    ]
    before = patterns()
    fill(before, rows)
    expected = []
    for id_, result, language, time in stored_values(before, "id, result, language, execution_time"):
        ms = expected_ms(time)
        comes_back = (
            language is None and result == expected_result(result) and time == (None if ms is None else ms / 1000)
        )
        if not comes_back:
            expected.append((id_, result, language, time))
    connection = migrated(rows)
    assert stored_values(connection, "id, result, language, execution_time", "CodePatterns_legacy") == expected
    assert {id_ for id_, *_ in cells(connection, "CodePatterns")} - {id_ for id_, *_ in expected}
    kept = ("id", "result", "language", "execution_time", "_same_created_at")
    assert columns_of(connection, "CodePatterns_legacy") == kept


def test_where_nothing_is_lost_there_is_no_table_of_originals():
    connection = migrated([("pass", None, 1.25), ("fail", None, None)])
    assert tables(connection) == {"CodePatterns", "ResourceChunks", "CodePatternContext"}


def test_a_hundred_thousand_times_are_exact_and_come_back_bit_by_bit():
    connection = patterns()
    connection.execute(
        "INSERT INTO CodePatterns (id, input_prompt, generated_code, result, execution_time, created_at) "
        "WITH r(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM r WHERE k < 100000) "
        "SELECT k, '', '', 'pass', k / 1000.0, '' FROM r"
    )
    assert (
        one(connection, "SELECT count(*) FROM CodePatterns WHERE CAST(execution_time * 1000 AS INTEGER) <> id") == 741
    )
    forward(connection, M0001)
    assert one(connection, "SELECT count(*) FROM CodePatterns WHERE execution_time_ms IS id") == 100_000
    assert "CodePatterns_legacy" not in tables(connection)
    back(connection, M0001)
    assert [t for (t,) in connection.execute("SELECT execution_time FROM CodePatterns ORDER BY id")] == [
        k / 1000 for k in range(1, 100_001)
    ]


def test_the_literal_cast_is_there_for_those_who_ask_for_it():
    rows = [("pass", None, time) for _, _, time in awkward_rows()[:26]]
    before = patterns()
    fill(before, rows)
    connection = migrated(rows, Answers(switches=frozenset({"truncate_times"})))
    assert [ms for _, ms in results_and_times(connection)] == [
        expected_truncated_ms(time) for (time,) in stored_values(before, "execution_time")
    ]


@pytest.mark.parametrize("value", ["maybe", "", "pass!", "p ass", b"\xff", "\u00a0pass", "0"])
def test_a_result_without_a_meaning_is_found_with_its_count(value):
    connection = patterns()
    fill(connection, [("pass", None, 1), (value, None, 1), (value, "x", 2)])
    ((column, query),) = plan_for(connection, [M0001]).tables[0].unmapped
    connection.text_factory = bytes
    stored = value if isinstance(value, bytes) else value.encode()
    assert (column, connection.execute(query).fetchall()) == ("result", [(stored, 2)])


def test_results_that_have_a_meaning_are_not_asked_for():
    connection = patterns(table=NULLABLE)
    fill(connection, [(r, None, 1) for r in (*RESULTS, None)])
    assert connection.execute(plan_for(connection, [M0001]).tables[0].unmapped[0][1]).fetchall() == []


def test_the_operator_says_what_another_result_becomes():
    answers = Answers({"maybe": "partial", "\tODD one": "fail", "": None, "pass": "fail"})
    values = ("Maybe ", "\tODD one", "", b"maybe", "pass")
    rows = [(value, None, 1) for value in values]
    connection = patterns()
    fill(connection, rows)
    plan = plan_for(connection, [M0001], answers)
    assert connection.execute(plan.tables[0].unmapped[0][1]).fetchall() == []
    before = cells(connection, "CodePatterns")
    promote(connection, plan)
    assert [r for r, _ in results_and_times(connection)] == ["partial", "fail", None, "partial", "pass"]
    back(connection, M0001, answers=answers)
    assert cells(connection, "CodePatterns") == before


def test_duplicate_vector_ids_are_found_and_the_lowest_id_keeps_one_where_asked():
    connection = patterns(*added("vector_id"))
    fill(connection, ROWS)
    connection.execute("UPDATE CodePatterns SET vector_id = CASE WHEN id = 7 THEN 9 WHEN id = 10 THEN NULL ELSE 5 END")
    before = everything(connection)
    schema = read_schema(connection)
    unique = plan_for(connection, [M0001]).tables[0].duplicates
    assert [(found.name, connection.execute(query).fetchall()) for found, query in unique] == [("vector_id", [(5, 2)])]
    answers = Answers(switches=frozenset({"null_duplicate_vector_ids"}))
    plan = plan_for(connection, [M0001], answers)
    assert connection.execute(plan.tables[0].duplicates[0][1]).fetchall() == []
    promote(connection, plan)
    assert stored_values(connection, "vector_id") == [(5,), (None,), (9,), (None,)]
    back(connection, M0001, answers=answers, exactly=schema)
    assert everything(connection) == before


def test_the_way_back_gives_every_byte_back(carry_out):
    connection = patterns()
    fill(connection, awkward_rows())
    connection.execute("DELETE FROM CodePatterns WHERE id > 1500")
    before = everything(connection)
    carry_out(connection, plan_for(connection, [M0001]))
    carry_out(connection, plan_for(connection, [M0001], reverse=True))
    assert everything(connection) == before


def test_the_way_back_keeps_the_rows_written_since_and_what_changed_since():
    connection = migrated([("success", "python", 1.0004), ("error", "c", 2.0), ("ok", "go", "slow"), ("ok", None, 3.0)])
    connection.execute("UPDATE CodePatterns SET execution_time_ms = 5 WHERE id = 1")
    connection.execute("UPDATE CodePatterns SET result = 'pass' WHERE id = 4")
    connection.execute("DELETE FROM CodePatterns WHERE id = 10")
    connection.execute(
        "INSERT INTO CodePatterns (input_prompt, generated_code, result, execution_time_ms, created_at) "
        "VALUES ('new', 'code', 'fail', 1500, 'now')"
    )
    back(connection, M0001)
    assert stored_values(connection, "id, result, language, execution_time") == [
        (1, "success", "python", 0.005),
        (4, "pass", "c", 2.0),
        (7, "ok", "go", "slow"),
        (11, "fail", None, 1.5),
    ]
    assert "CodePatterns_ahead" not in tables(connection)
    assert "CodePatterns_legacy" not in tables(connection)


def test_what_the_old_table_cannot_hold_waits_and_is_read_again(carry_out):
    connection = migrated(ROWS)
    connection.execute("UPDATE CodePatterns SET tags = '[1]', vector_id = 9 WHERE id = 1")
    connection.execute("UPDATE CodePatterns SET result = NULL WHERE id = 4")
    connection.execute(f"UPDATE CodePatterns SET execution_time_ms = {2**53 + 1} WHERE id = 7")
    new = everything(connection, M0001.own_tables)
    carry_out(connection, plan_for(connection, [M0001], reverse=True))
    assert stored_values(connection, "id, tags, vector_id, result, execution_time_ms", "CodePatterns_ahead") == [
        (1, "[1]", 9, "pass", 1001),
        (4, None, None, None, None),
        (7, None, None, "partial", 2**53 + 1),
    ]
    assert stored_values(connection, "result") == [("success",), ("",), ("partial",), (" pass",)]
    old = everything(connection)
    carry_out(connection, plan_for(connection, [M0001]))
    assert everything(connection, M0001.own_tables) == new
    carry_out(connection, plan_for(connection, [M0001], reverse=True))
    assert everything(connection) == old


def test_what_changed_while_it_waited_is_not_given_back():
    connection = migrated([("pass", None, 1.0), ("pass", None, 2.0)])
    connection.execute("UPDATE CodePatterns SET result = NULL, tags = 'x'")
    back(connection, M0001)
    connection.execute("UPDATE CodePatterns SET result = 'fail', execution_time = 7.0 WHERE id = 1")
    forward(connection, M0001)
    assert stored_values(connection, "result, execution_time_ms, tags") == [("fail", 7000, "x"), (None, 2000, "x")]
    assert "CodePatterns_ahead" not in tables(connection)


def test_up_down_up_is_the_same_as_up():
    connection = migrated(awkward_rows())
    up = everything(connection)
    back(connection, M0001)
    forward(connection, M0001)
    assert everything(connection) == up


@pytest.mark.parametrize("switches", [(), ("truncate_times",), ("null_duplicate_vector_ids",)])
def test_applied_twice_is_applied_once(switches):
    answers = Answers(switches=frozenset(switches))
    connection = migrated(awkward_rows(), answers)
    connection.execute("DROP TABLE CodePatterns_legacy")
    once = everything(connection)
    forward(connection, M0001, answers=answers)
    assert everything(connection) == once


ALTERED = ORIGINAL.replace(
    "language TEXT,",
    "Language TEXT COLLATE NOCASE DEFAULT 'c', -- mine\n"
    "tags TEXT DEFAULT '[]', vector_id INTEGER, execution_time_ms INTEGER,",
).replace(
    "created_at TEXT NOT NULL\n",
    "created_at TEXT NOT NULL CHECK (created_at <> 'x'), -- a comment\n UNIQUE (created_at, id)\n",
)


@pytest.mark.parametrize("table", [ORIGINAL, ALTERED], ids=["original", "altered"])
def test_a_restore_returns_to_exactly_what_was_there(table):
    connection = patterns("CREATE INDEX mine ON CodePatterns (created_at)", table=table)
    connection.execute("CREATE INDEX idx_codepatterns_result ON CodePatterns(result)")
    fill(connection, awkward_rows())
    if table == ALTERED:
        connection.execute(
            "UPDATE CodePatterns SET execution_time_ms = CAST(execution_time * 1000 AS INTEGER) WHERE id % 2"
        )
        connection.execute("UPDATE CodePatterns SET vector_id = id, tags = x'00' WHERE id % 3 = 1 AND id % 4 = 1")
    text = one(connection, "SELECT sql FROM sqlite_master WHERE name = 'CodePatterns'")
    before, schema = everything(connection), read_schema(connection)
    forward(connection, M0001)
    assert everything(connection)["CodePatterns"] != before["CodePatterns"]
    back(connection, M0001, exactly=schema)
    assert everything(connection) == before
    restored = one(connection, "SELECT sql FROM sqlite_master WHERE name = 'CodePatterns'")
    assert restored.partition("(")[2] == text.partition("(")[2]


def test_a_restore_of_a_reverse_returns_to_exactly_the_new_table():
    connection = migrated(awkward_rows())
    connection.execute("UPDATE CodePatterns SET tags = '[1]', vector_id = id WHERE id % 2")
    connection.execute("DROP INDEX idx_codepatterns_created_at")
    kept = "id, result, language, execution_time"
    before, originals = everything(connection, M0001.own_tables), stored_values(connection, kept, "CodePatterns_legacy")
    schema = read_schema(connection, M0001.own_tables)
    promote(connection, plan_for(connection, [M0001], reverse=True))
    promote(connection, plan_for(connection, [M0001], exactly=schema))
    assert everything(connection, M0001.own_tables) == before
    assert stored_values(connection, kept, "CodePatterns_legacy") == originals


def test_languages_of_every_type_come_back():
    connection = migrated([("pass", language, 1.0) for language in LANGUAGES])
    back(connection, M0001)
    assert stored_values(connection, "language") == [(None,), ("",), ("python",), ("größe",), (b"\x00\xff",), ("5",)]


def test_times_that_only_the_application_knew_survive_back_and_forth():
    connection = patterns(*(f"ALTER TABLE CodePatterns ADD COLUMN {c} {t}" for c, t in HAND_MADE))
    times = [(None, 77), (1.0, 1017), (None, None), (1.001, 1000), (2.0, None), (None, "odd"), (0.5, 3.7)]
    for time_s, ms in times:
        connection.execute(
            "INSERT INTO CodePatterns (input_prompt, generated_code, result, execution_time, execution_time_ms, "
            "created_at) VALUES ('p', 'c', 'success', ?, ?, 't')",
            (time_s, ms),
        )
    for _ in range(3):
        forward(connection, M0001)
        found = [ms for (ms,) in stored_values(connection, "execution_time_ms")]
        assert found == [77, 1017, None, 1001, 2000, "odd", 3.7]
        back(connection, M0001)
        assert [time_s for (time_s,) in stored_values(connection, "execution_time")] == [time_s for time_s, _ in times]
    connection.execute("UPDATE CodePatterns SET execution_time = 9.0 WHERE id = 1")
    forward(connection, M0001)
    assert stored_values(connection, "execution_time_ms")[:2] == [(9000,), (1017,)]


def test_any_mix_of_times_and_results_goes_back_and_forth_for_ever():
    random = Random(20251122)
    connection = patterns(*(f"ALTER TABLE CodePatterns ADD COLUMN {c} {t}" for c, t in HAND_MADE))
    for n in range(500):
        connection.execute(
            "INSERT INTO CodePatterns (input_prompt, generated_code, result, language, execution_time, "
            "execution_time_ms, tags, created_at, vector_id) VALUES ('p', 'c', ?, ?, ?, ?, ?, 't', ?)",
            (random.choice(RESULTS), random.choice(LANGUAGES), random.choice(TIMES),
             random.choice((*TIMES, None, 1000, 1001, 77)), random.choice((None, "[]", 5)), random.choice((None, n))),
        )  # fmt: skip
    columns = [c for c, *_ in TARGET_COLUMNS]
    old = stored_values(connection, "result, language, execution_time")
    forward(connection, M0001)
    new = stored_values(connection, ", ".join(columns))
    for _ in range(3):
        back(connection, M0001)
        assert stored_values(connection, "result, language, execution_time") == old
        forward(connection, M0001)
        assert stored_values(connection, ", ".join(columns)) == new


HAND_MADE = (
    ("function_name", "TEXT"),
    ("file_name", "TEXT"),
    ("module_name", "TEXT"),
    ("tags", "TEXT"),
    ("vector_id", "INTEGER"),
    ("execution_time_ms", "INTEGER"),
)
