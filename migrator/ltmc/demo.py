"""A realistic un-migrated database of the application, awkward rows included, the same for the same seed."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

from migrator.ltmc.probes.tables import RETRIEVAL_WEIGHTS, TABLES

START = datetime.fromisoformat("2025-08-09T02:19:19.817507")
STEP = timedelta(seconds=7, microseconds=123)
MOST_MESSAGES = 100_000
MOST_MOMENTS = 4_000_000
"""Up to the middle of 2026: one tool reads every row that is newer than 30 days, or lies in the future."""
GAP_EVERY = 37

PROSE = (
    "return the rows of a table when its index is missing def connect(path): raise ValueError "
    "for key, value in items: self.cache[key] = value  # größer als 名前 café ✓ import sqlite3 "
    "with open(name) as file: yield json.loads(line) assert result == expected await session.commit()"
)
WORDS = PROSE.split()

AWKWARD_RESULTS = ("success", "PASS", " ok ", "error", "Failed", "passed", "FAILURE", "Partial")
AWKWARD_TIMES = (None, 0, 0.0004, 1.001, 1.005, 2.3, -0.25, 1e300, math.inf, "slow", b"\x00\xff")
AWKWARD_TEXTS = (
    "",
    "two\nlines",
    "a NUL \x00 inside",
    "Überprüfe die Größe",
    "名前を変更 🚀",
    'it\'s "quoted"; DROP TABLE x',
)
AWKWARD_LANGUAGES = (None, "", "python", "Español")
# By their place: what a todo's `completed` may hold that is neither 0 nor 1, a number without a last vector id, and
# messages that only look as if their values were in the wrong order (the first two words of the last one are).
AWKWARD_COMPLETED = {1: None, 2: 2, 4: "true", 5: ""}
NUMBER_WITHOUT_ID = 5
AWKWARD_MESSAGES = {
    3: ("session_0", "user", "assistant"),
    5: ("session 0", "tool", "user"),
    9: ("session_0", "reviewer", "system"),
    11: ("ping", "session_0", "user"),
}
AWKWARD_ROWS = len(AWKWARD_RESULTS) * len(AWKWARD_TIMES)

OBJECTS = (
    "CREATE INDEX patterns_with_error ON CodePatterns (error_message) WHERE error_message IS NOT NULL",
    "CREATE VIEW failed_attempts AS SELECT id, input_prompt, error_message, created_at "
    "FROM CodePatterns WHERE result = 'fail'",
    "CREATE TRIGGER remember_attempt AFTER INSERT ON CodePatterns BEGIN "
    "INSERT INTO CodePatternContext (pattern_id, context_type, context_data) "
    "VALUES (new.id, 'logged', new.created_at); END",
)


def make_demo(path: Path, rows: int = 1000, seed: int = 1, row_bytes: int = 600) -> None:
    """Creates the database `path` with `rows` CodePatterns rows of about `row_bytes` bytes each.

    Ten tables as the application made them, the others filled in proportion (at most 100,000 messages),
    an index, a view and a trigger of a user, planner statistics, gaps in the ids and a deleted newest row.
    Rows go in one by one in a single transaction, so memory does not grow with `rows`.
    Raises FileExistsError where `path` exists; after any other error the file is gone.
    """
    path.touch(exist_ok=False)
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            _fill(connection, rows, Random(seed), row_bytes)
    except BaseException:
        path.unlink()
        raise


def _fill(connection: sqlite3.Connection, rows: int, random: Random, row_bytes: int) -> None:
    connection.execute("PRAGMA journal_mode = OFF")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("BEGIN")
    for table in (*TABLES, RETRIEVAL_WEIGHTS):
        connection.execute(f"CREATE TABLE {table}")
    messages = max(20, min(rows, MOST_MESSAGES))
    _insert_documents(connection, messages // 20 + 2, random)
    _insert_chat(connection, messages, random)
    _insert_todos(connection, messages // 80 + 9, random)
    _insert_patterns(connection, rows, random, row_bytes)
    for statement in OBJECTS:
        connection.execute(statement)
    connection.execute("ANALYZE")
    connection.execute("COMMIT")


def _insert_documents(connection: sqlite3.Connection, count: int, random: Random) -> None:
    """Resources, about 2.6 chunks each; some vector ids belong to no chunk, as after a failed log_code_attempt."""
    kinds = ("document", "document", "document", "code", "chat", "todo")
    connection.executemany(
        "INSERT INTO Resources (file_name, type, created_at) VALUES (?, ?, ?)",
        ((f"notes_{n}.md", random.choice(kinds), _moment(n * 20)) for n in range(count)),
    )
    chunks = count * 13 // 5
    connection.executemany(
        "INSERT INTO ResourceChunks (resource_id, chunk_text, vector_id) VALUES (?, ?, ?)",
        ((1 + n * count // chunks, _text(random, 340), 2 + n + n // 11) for n in range(chunks)),
    )
    connection.executemany(
        "INSERT INTO VectorIdSequence (last_vector_id) VALUES (?)",
        ((None if n == NUMBER_WITHOUT_ID else n,) for n in range(2 + chunks + chunks // 11)),
    )
    connection.execute("INSERT INTO RetrievalWeights VALUES (1, 1.0, 0.2, 0.1, 0.05, 0.1)")


def _insert_chat(connection: sqlite3.Connection, count: int, random: Random) -> None:
    """Messages and as many links; few chunks get most of the links."""
    connection.executemany(
        "INSERT INTO ChatHistory (conversation_id, role, content, timestamp, agent_name, metadata, source_tool) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (_message(n, random) for n in range(count)),
    )
    chunks = connection.execute("SELECT COUNT(*) FROM ResourceChunks").fetchone()[0]
    connection.executemany(
        "INSERT INTO ContextLinks (message_id, chunk_id) VALUES (?, ?)",
        ((1 + n, 1 + int(chunks * random.random() ** 3)) for n in range(count)),
    )


def _message(n: int, random: Random) -> tuple[str | None, ...]:
    """One message in seventy-five has its first three values in the wrong order, as the application wrote them."""
    values = (f"session_{n // 12}", "assistant" if n % 2 else "user", _text(random, 80))
    tool = random.choice((None, None, "claude-code", "cursor", "vscode"))
    metadata = json.dumps({"tokens": random.randrange(2000)}) if tool else None
    if n % 75 == 74:
        return values[2], values[0], values[1], _moment(n), None, None, None
    conversation, role, content = AWKWARD_MESSAGES.get(n, values)
    return conversation, role, content, _moment(n), tool and f"{tool}-agent", metadata, tool


def _insert_todos(connection: sqlite3.Connection, count: int, random: Random) -> None:
    connection.executemany(
        "INSERT INTO Todos (title, description, priority, completed, created_at) VALUES (?, ?, ?, ?, ?)",
        (
            (
                f"Task {n}: {_text(random, 30)}",
                _text(random, 120) if n % 8 else AWKWARD_TEXTS[n // 8 % len(AWKWARD_TEXTS)],
                random.choice(("low", "medium", "high", None)),
                AWKWARD_COMPLETED.get(n, n % 3 == 0),
                _moment(n * 60),
            )
            for n in range(count)
        ),
    )


def _insert_patterns(connection: sqlite3.Connection, rows: int, random: Random, row_bytes: int) -> None:
    """The patterns, a context row for every tenth, and a newest pattern that was deleted again."""
    insert = (
        "INSERT INTO CodePatterns (id, input_prompt, generated_code, result, language, execution_time, error_message, "
        "created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    )
    connection.executemany(insert, _patterns(rows + 1, random, row_bytes))
    connection.execute("DELETE FROM CodePatterns WHERE id = (SELECT MAX(id) FROM CodePatterns)")
    connection.execute(
        "INSERT INTO CodePatternContext (pattern_id, context_type, context_data) "
        "SELECT id, 'session', 'session_' || id / 12 FROM CodePatterns WHERE id % 10 = 0"
    )


def _patterns(count: int, random: Random, row_bytes: int) -> Iterator[tuple[object, ...]]:
    """Rows in order of id and time: first one of each awkward kind, then one in fifty."""
    pool = _text(random, 65_536 + 2 * row_bytes)
    rows_per_moment = 1 + count // MOST_MOMENTS
    for n in range(count):
        row_id, moment = 1 + n + n // GAP_EVERY, _moment(n // rows_per_moment)
        if n < AWKWARD_ROWS or n % 50 == 0:
            yield (row_id, *_awkward(n if n < AWKWARD_ROWS else n // 50, pool[:row_bytes]), moment)
            continue
        chance = random.random()
        start = int(chance * 65_536)
        prompt_end = start + max(1, row_bytes // 5)
        code_end = prompt_end + max(1, int(row_bytes * (0.45 + 0.45 * random.random())))
        result, error = ("pass", None) if chance < 0.7 else ("fail", pool[start : start + 40])
        yield (
            row_id,
            pool[start:prompt_end],
            pool[prompt_end:code_end],
            "partial" if chance > 0.95 else result,
            "python" if n % 3 else None,
            round(chance * 4, 3) if n % 4 else None,
            error,
            moment,
        )


def _awkward(n: int, code: str) -> tuple[object, ...]:
    """The values in turn; within the first 88 rows every result meets every time."""
    text = AWKWARD_TEXTS[n % len(AWKWARD_TEXTS)]
    result = AWKWARD_RESULTS[n % len(AWKWARD_RESULTS)]
    language = AWKWARD_LANGUAGES[n % len(AWKWARD_LANGUAGES)]
    return text, text + code if n % 5 else "", result, language, AWKWARD_TIMES[n % len(AWKWARD_TIMES)], text or None


def _text(random: Random, size: int) -> str:
    """Words of code and prose, `size` characters."""
    return " ".join(random.choices(WORDS, k=size // 4 + 1))[:size]


def _moment(n: int) -> str:
    return (START + n * STEP).isoformat()
