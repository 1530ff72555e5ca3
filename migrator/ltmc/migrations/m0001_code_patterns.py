"""0001: CodePatterns gets the columns that the application's code expects.

Three of the 28 tools fail without them. The two CREATE TABLE texts are those of the schema migration plan.
"""

from migrator.migration import Back, Behaviour, Change, Mapped, Migration, Switch

BEFORE = """
CREATE TABLE CodePatterns (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    input_prompt TEXT NOT NULL,
    generated_code TEXT NOT NULL,
    result TEXT NOT NULL,
    language TEXT,
    execution_time REAL,
    error_message TEXT,
    created_at TEXT NOT NULL
)"""

AFTER = """
CREATE TABLE CodePatterns (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    function_name TEXT,
    file_name TEXT,
    module_name TEXT,
    input_prompt TEXT NOT NULL,
    generated_code TEXT NOT NULL,
    result TEXT CHECK(result IN ('pass', 'fail', 'partial')),
    execution_time_ms INTEGER,
    error_message TEXT,
    tags TEXT,
    created_at TEXT NOT NULL,
    vector_id INTEGER UNIQUE,
    FOREIGN KEY (vector_id) REFERENCES ResourceChunks (id)
)"""

# CAST alone is 1 ms short for 741 of the 100,000 times k/1000 (1.001 s -> 1000 ms). From 9.2e15 s on the product no
# longer fits an INTEGER; text and blobs hold no time. All of these stay in the originals.
ROUNDED = """CASE WHEN typeof(execution_time) IN ('real', 'integer') AND abs(execution_time) < 9.2e15
    THEN CAST(ROUND(execution_time * 1000) AS INTEGER) END"""
TRUNCATED = "CAST(execution_time * 1000 AS INTEGER)"


def _ms(conversion: str) -> str:
    """A column that somebody filled by the plan's own script is converted anew; what the application wrote stays."""
    anew = f"execution_time_ms IS NULL OR execution_time_ms = {TRUNCATED}"
    return f"CASE WHEN {anew} THEN {conversion} ELSE execution_time_ms END"


# At a million rows lower() and trim() for what is spelt right already took a second of the lock.
SPELLING = """CASE WHEN result COLLATE BINARY IN ('pass', 'fail', 'partial') THEN result
    ELSE lower(trim(result, ' ' || char(9, 10, 11, 12, 13))) END"""

LOWEST_ID_ONLY = """CASE WHEN vector_id IS NOT NULL AND id NOT IN
    (SELECT min(id) FROM {rows} WHERE vector_id IS NOT NULL GROUP BY vector_id) THEN NULL ELSE vector_id END"""

_UNUSED = "(SELECT coalesce(max(vector_id), 0) + 1 FROM CodePatterns)"
_USED = "(SELECT max(vector_id) FROM CodePatterns)"


def _row(number: int, result: str, vector_id: str = "NULL") -> str:
    """A row as the application writes it, no two alike: a constraint of a user's own has nothing against it."""
    return (
        "INSERT INTO CodePatterns (input_prompt, generated_code, result, created_at, vector_id) VALUES "
        f"('Write function {number}.', 'def function_{number}(): ...', {result}, "
        f"'2025-08-09T02:21:40.30649{number}', {vector_id})"
    )


MIGRATION = Migration(
    tools=("log_code_attempt", "get_code_patterns", "analyze_code_patterns"),
    changes=(
        Change(
            "CodePatterns",
            before=BEFORE,
            after=AFTER,
            values={
                "result": Mapped(
                    SPELLING,
                    {
                        "pass": ("pass", "success", "passed", "ok"),
                        "fail": ("fail", "error", "failed", "failure"),
                        "partial": ("partial",),
                    },
                    option="map_result",
                ),
                "execution_time_ms": Switch("truncate_times", on=_ms(TRUNCATED), off=_ms(ROUNDED)),
                "vector_id": Switch("null_duplicate_vector_ids", on=LOWEST_ID_ONLY),
            },
            back={
                "execution_time": Back(of="execution_time_ms", sql="execution_time_ms / 1000.0"),
                # The old column has no NULL; the row's NULL waits in the table of what the old schema cannot hold.
                "result": Back(of="result", sql="coalesce(result, '')"),
            },
            identity=("created_at",),
            originals="CodePatterns_legacy",
            indexes=(
                "CREATE INDEX idx_codepatterns_result ON CodePatterns(result)",
                "CREATE INDEX idx_codepatterns_created_at ON CodePatterns(created_at)",
                "CREATE INDEX idx_codepatterns_function_result ON CodePatterns(function_name, result)",
                # Not in the plan: at 1,000,000 rows `result = ? ORDER BY created_at DESC LIMIT 5` took 474 ms without.
                "CREATE INDEX idx_codepatterns_result_created_at ON CodePatterns(result, created_at)",
            ),
            behaviours=(
                Behaviour(
                    "a duplicate vector_id is refused",
                    (_row(1, "'pass'", _UNUSED), _row(2, "'pass'", _USED)),
                    refused="UNIQUE constraint failed: CodePatterns.vector_id",
                ),
                Behaviour(
                    "rows without a vector_id are allowed",
                    (_row(1, "'pass'"), _row(2, "NULL")),
                ),
                Behaviour(
                    "the result 'success' is refused",
                    (_row(1, "'success'"),),
                    refused="CHECK constraint failed",
                ),
            ),
        ),
    ),
)
