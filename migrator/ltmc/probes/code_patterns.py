"""The three code pattern tools: they need the twelve columns that the original table does not have."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping

from migrator.errors import ProbeError
from migrator.ltmc.probes.rows import (
    NextId,
    Row,
    expect,
    expect_among,
    insert,
    last_moment,
    named,
    next_vector_id,
    now,
    unused_vector_id,
)
from migrator.ltmc.probes.tables import create_tables
from migrator.probes import Probe

PATTERN_KEYS = (
    "id",
    "function_name",
    "file_name",
    "module_name",
    "input_prompt",
    "generated_code",
    "result",
    "execution_time_ms",
    "error_message",
    "tags",
    "created_at",
    "vector_id",
)
TAGS = PATTERN_KEYS.index("tags")
RESULTS = ("pass", "fail", "partial")
OWN_FUNCTION = "a_function_of_the_probe"
TOP_K = 5
TIME_RANGE_DAYS = 30


def log_code_attempt(connection: sqlite3.Connection, next_vector_id: NextId = next_vector_id) -> None:
    """Takes the next vector id and INSERTs one row with it into CodePatterns.

    Once with the optional arguments and once with none of them; the embedding is left out, the tool throws it
    away. Checks that both rows read back, their vector ids grow and the tags are the list that went in.
    """
    create_tables(connection)
    tags = ["sqlite", "größe"]
    # Four texts that look like numbers: a column of another type would not give them back as they were written.
    texts = {"function_name": "0042", "file_name": "1e3", "module_name": "1.50", "error_message": "007"}
    full = _log(connection, next_vector_id(connection), **texts, execution_time_ms=1005, tags=json.dumps(tags))
    bare = _log(
        connection, next_vector_id(connection), file_name=None, module_name=None, result="partial", error_message=None
    )
    (stored_tags, vector_id), (bare_tags, bare_vector_id) = (
        _tags_and_vector_id(connection, pattern[0]) for pattern in (full, bare)
    )
    expect("CodePatterns.tags", (json.loads(stored_tags), bare_tags), (tags, None))
    expect("CodePatterns.vector_id: the second is above the first", bare_vector_id > vector_id, True)


def get_code_patterns(connection: sqlite3.Connection) -> object:
    """SELECTs the newest patterns: of all, of each result, of one function (the newest pattern's, if it has one).

    The query's embedding is left out, the tool ignores it. Checks that tags are JSON, that every row fits its
    filter, and that a pattern logged here leads each list it belongs to, column for column.
    """
    create_tables(connection)
    newest = _patterns(connection, {})
    answer = {"all": named(PATTERN_KEYS, newest)}
    for result in RESULTS:
        answer[result] = named(PATTERN_KEYS, _patterns(connection, {"result": result}))
    for function_name in [row[1] for row in newest if row[1] is not None][:1]:
        answer["function"] = named(PATTERN_KEYS, _patterns(connection, {"function_name": function_name}))
    latest = last_moment(connection, "CodePatterns", "created_at")
    unused = unused_vector_id(connection, "CodePatterns")
    own = _log(connection, unused, function_name=OWN_FUNCTION, tags='["probe"]', created_at=latest)
    expected = (*own[:TAGS], ["probe"], *own[TAGS + 1 :])
    for conditions in ({}, {"result": "pass"}, {"function_name": OWN_FUNCTION}):
        expect_among(f"get_code_patterns with {conditions}", _patterns(connection, conditions), expected)
    return answer


def analyze_code_patterns(connection: sqlite3.Connection) -> None:
    """Counts the patterns of the last 30 days by result and averages execution_time_ms; of all, then of a function.

    Its answer depends on the clock, so there is none to compare. Checks that the results do not exceed the total,
    and the numbers of a function whose two patterns are logged here.
    """
    create_tables(connection)
    total, *by_result, _ = _analyze(connection, {})
    if sum(by_result) > total:
        raise ProbeError(f"analyze_code_patterns counts {by_result} by result, but {total} patterns in all")
    for result, milliseconds in (("pass", 40), ("fail", 61)):
        unused = unused_vector_id(connection, "CodePatterns")
        _log(connection, unused, function_name=OWN_FUNCTION, result=result, execution_time_ms=milliseconds)
    of_function = _analyze(connection, {"function_name": OWN_FUNCTION})
    expect("analyze_code_patterns of a function", of_function, (2, 1, 1, 0, 50.5))


def _log(connection: sqlite3.Connection, vector_id: int, **given: object) -> Row:
    """Logs one attempt and returns its row in the order of PATTERN_KEYS.

    No two have the same prompt or code: a user may have made these unique. Raises ProbeError where a pattern has that
    vector id already: the tool would fail in the same way.
    """
    values: dict[str, object] = {
        "function_name": None,
        "file_name": "probe.py",
        "module_name": "probes",
        "input_prompt": f"Write probe {vector_id}.\nZwei Zeilen.",
        "generated_code": f"def probe_{vector_id}() -> None: ...",
        "result": "pass",
        "execution_time_ms": None,
        "error_message": "",
        "tags": None,
        "created_at": now(),
        "vector_id": vector_id,
    } | given
    try:
        return (insert(connection, "CodePatterns", **values), *values.values())
    except sqlite3.IntegrityError as error:
        if "codepatterns.vector_id" not in str(error).casefold():
            raise
        highest = connection.execute("SELECT MAX(vector_id) FROM CodePatterns").fetchone()[0]
        raise ProbeError(
            f"{error}: the next number of VectorIdSequence, {values['vector_id']}, is a pattern's already",
            f"INSERT INTO VectorIdSequence (id, last_vector_id) VALUES ({highest}, {highest}) puts it above them",
        ) from error


def _tags_and_vector_id(connection: sqlite3.Connection, pattern_id: object) -> tuple[str, int]:
    row: tuple[str, int] | None = connection.execute(
        "SELECT tags, vector_id FROM CodePatterns WHERE id = ?", (pattern_id,)
    ).fetchone()
    if row is None:
        raise ProbeError(
            f"the pattern of id {pattern_id}, logged here, is gone",
            "look for a constraint with ON CONFLICT REPLACE, or a trigger, that deletes it",
        )
    return row


def _patterns(connection: sqlite3.Connection, conditions: Mapping[str, object]) -> list[Row]:
    """The newest patterns. The tool leaves the order of equal times to SQLite, where it is another with each index;
    here the higher id comes first, which is the order that an index on created_at gives."""
    rows = connection.execute(
        "SELECT id, function_name, file_name, module_name, input_prompt, generated_code, result, execution_time_ms, "
        f"error_message, tags, created_at, vector_id FROM CodePatterns {_where(conditions)}"
        "ORDER BY created_at DESC, id DESC LIMIT ?",
        (*conditions.values(), TOP_K),
    ).fetchall()
    for column, value in conditions.items():
        for row in rows:
            expect(f"CodePatterns.{column} of row {row[0]}", row[PATTERN_KEYS.index(column)], value)
    return [(*row[:TAGS], _decoded(row[0], row[TAGS]), *row[TAGS + 1 :]) for row in rows]


def _where(conditions: Mapping[str, object]) -> str:
    return f"WHERE {' AND '.join(f'{column} = ?' for column in conditions)} " if conditions else ""


def _decoded(pattern_id: int, tags: str | None) -> object:
    if not tags:
        return None
    try:
        return json.loads(tags)
    except (TypeError, ValueError):
        raise ProbeError(f"CodePatterns.tags of row {pattern_id} is not JSON") from None


def _analyze(connection: sqlite3.Connection, conditions: Mapping[str, object]) -> tuple[int, int, int, int, object]:
    filters = "".join(f" AND {column} = ?" for column in conditions)
    total, passed, failed, partial, average = connection.execute(
        "SELECT COUNT(*), SUM(CASE WHEN result = 'pass' THEN 1 ELSE 0 END), "
        "SUM(CASE WHEN result = 'fail' THEN 1 ELSE 0 END), SUM(CASE WHEN result = 'partial' THEN 1 ELSE 0 END), "
        f"AVG(execution_time_ms) FROM CodePatterns WHERE created_at >= datetime('now', ?){filters}",
        (f"-{TIME_RANGE_DAYS} days", *conditions.values()),
    ).fetchone()
    return total, passed or 0, failed or 0, partial or 0, average


PROBES = (
    Probe("log_code_attempt", log_code_attempt),
    Probe("get_code_patterns", get_code_patterns),
    Probe("analyze_code_patterns", analyze_code_patterns),
)
