"""The CodePatterns table in every state that a migration may find, and its values computed a second time, in Python."""

import math
import sqlite3
from itertools import product

from migrator.ltmc import LTMC
from migrator.ltmc.probes.tables import CODE_PATTERN_CONTEXT, CODE_PATTERNS, RESOURCE_CHUNKS
from tests.unit.migrating import database

ORIGINAL = f"CREATE TABLE {CODE_PATTERNS}"
NULLABLE = ORIGINAL.replace("result TEXT NOT NULL", "result TEXT")
M0001 = LTMC.migrations[0]

TARGET_COLUMNS = [
    ("id", "INTEGER", 0, 1),
    ("function_name", "TEXT", 0, 0),
    ("file_name", "TEXT", 0, 0),
    ("module_name", "TEXT", 0, 0),
    ("input_prompt", "TEXT", 1, 0),
    ("generated_code", "TEXT", 1, 0),
    ("result", "TEXT", 0, 0),
    ("execution_time_ms", "INTEGER", 0, 0),
    ("error_message", "TEXT", 0, 0),
    ("tags", "TEXT", 0, 0),
    ("created_at", "TEXT", 1, 0),
    ("vector_id", "INTEGER", 0, 0),
]
NEW_COLUMNS = ("function_name", "file_name", "module_name", "tags", "vector_id", "execution_time_ms")
INDEXES = {
    ("idx_codepatterns_result", ("result",)),
    ("idx_codepatterns_created_at", ("created_at",)),
    ("idx_codepatterns_function_result", ("function_name", "result")),
    ("idx_codepatterns_result_created_at", ("result", "created_at")),
}

TIMES = (
    None, 0, 0.0, 0.0004, 0.0005, 1.001, 1.005, 2.3, -0.25, -0.0005, 3, 1e300, -1e300, math.inf, -math.inf,
    9.2e15, math.nextafter(9.2e15, 0), -9.2e15, math.nextafter(-9.2e15, 0),
    "slow", "", "1.5", "1.5s", b"", b"1.5", b"\xff",
)  # fmt: skip
SPELLINGS = {
    "pass": ("pass", "PASS", "success", "Passed", "oK", " pass", "pass\n", "\t pAss \r\n", b"pass", b" Success\n"),
    "fail": ("fail", "Fail", "error", "FAILED", "failure", "  error  ", b"failed"),
    "partial": ("partial", "Partial", " PARTIAL\v\f", b"partial"),
}
RESULTS = tuple(spelling for spellings in SPELLINGS.values() for spelling in spellings)
LANGUAGES = (None, "", "python", "größe", b"\x00\xff", 5)
TEXTS = ("", "two\nlines", "a NUL \x00 inside", "名前 🚀", 'it\'s "quoted"', b"\x00blob")


def patterns(*statements: str, table: str = ORIGINAL) -> sqlite3.Connection:
    """The tables that have to do with the patterns, without rows, then `statements`."""
    connection = database(table, f"CREATE TABLE {RESOURCE_CHUNKS}", f"CREATE TABLE {CODE_PATTERN_CONTEXT}")
    for statement in statements:
        connection.execute(statement)
    return connection


def fill(connection: sqlite3.Connection, rows: list[tuple[object, ...]]) -> None:
    """`rows` of (result, language, execution_time), in order, with gaps in the ids."""
    connection.executemany(
        "INSERT INTO CodePatterns (id, input_prompt, generated_code, result, language, execution_time, error_message, "
        "created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (3 * n + 1, TEXTS[n % 6], TEXTS[n // 6 % 6], result, language, time, TEXTS[n % 5] or None, f"2025-{n}")
            for n, (result, language, time) in enumerate(rows)
        ),
    )


def awkward_rows() -> list[tuple[object, ...]]:
    """Every result with every time, the languages in turn: about 550 rows."""
    return [(r, LANGUAGES[n % 6], t) for n, (r, t) in enumerate(product(RESULTS, TIMES))]


def expected_result(stored: object) -> str | None:
    """What the plan says a result becomes."""
    if stored is None:
        return None
    text = stored.decode() if isinstance(stored, bytes) else stored
    word = text.strip(" \t\n\v\f\r").lower()
    words = {"success": "pass", "passed": "pass", "ok": "pass", "error": "fail", "failed": "fail", "failure": "fail"}
    return words.get(word, word)


def expected_ms(stored: object) -> int | None:
    """Milliseconds of a stored time: rounded half away from zero; None for what is no time or fits no INTEGER."""
    if not isinstance(stored, int | float) or not abs(stored) < 9.2e15:
        return None
    ms = stored * 1000
    rounded = math.floor(abs(ms) + 0.5) if abs(ms) < 2**52 else abs(ms)
    return int(math.copysign(rounded, ms))


def expected_truncated_ms(stored: object) -> int | None:
    """The literal CAST of the plan: toward zero, clamped to 64 bits, text and blobs by their leading number."""
    if stored is None:
        return None
    if isinstance(stored, str | bytes):
        text = stored.decode(errors="replace") if isinstance(stored, bytes) else stored
        stored = 1.5 if text.startswith("1.5") else 0
    ms = stored * 1000
    return int(ms) if abs(ms) < 2**63 else 2**63 - 1 if ms > 0 else -(2**63)


def stored_values(
    connection: sqlite3.Connection, columns: str, table: str = "CodePatterns"
) -> list[tuple[object, ...]]:
    return connection.execute(f"SELECT {columns} FROM {table} ORDER BY id").fetchall()


def assert_target(connection: sqlite3.Connection) -> None:
    """The table has the schema of the plan, and its constraints work."""
    found = connection.execute("SELECT name, type, \"notnull\", pk FROM pragma_table_xinfo('CodePatterns')").fetchall()
    assert [(name.lower(), *rest) for name, *rest in found] == TARGET_COLUMNS
    foreign = connection.execute('SELECT "table", "from", "to" FROM pragma_foreign_key_list(\'CodePatterns\')')
    assert foreign.fetchall() == [("ResourceChunks", "vector_id", "id")]
    listed = "SELECT name FROM pragma_index_list('CodePatterns') WHERE name LIKE 'idx!_%' ESCAPE '!'"
    indexes = {
        (name, tuple(c for (c,) in connection.execute("SELECT name FROM pragma_index_info(?)", (name,))))
        for (name,) in connection.execute(listed)
    }
    assert {(name, tuple(c.lower() for c in columns)) for name, columns in indexes} == INDEXES
    unique = "SELECT name FROM pragma_index_list('CodePatterns') WHERE \"unique\""
    assert len(connection.execute(unique).fetchall()) == 1
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    insert = (
        "INSERT INTO CodePatterns (input_prompt, generated_code, created_at, result, vector_id) VALUES ('', '', '', {})"
    )
    connection.execute("BEGIN")
    for values, fault in (
        ("'pass', -5", None),
        ("'partial', NULL", None),
        ("NULL, NULL", None),
        ("'success', NULL", "CHECK constraint failed"),
        ("'fail', -5", "UNIQUE constraint failed: CodePatterns.vector_id"),
    ):
        assert _fault(connection, insert.format(values)).lower().startswith((fault or "none").lower())
    connection.execute("ROLLBACK")


def _fault(connection: sqlite3.Connection, statement: str) -> str:
    try:
        connection.execute(statement)
    except sqlite3.IntegrityError as error:
        return str(error)
    return "none"
