"""Original and migrated databases in memory, and the way a probe is called: in a transaction that is rolled back."""

import sqlite3
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from migrator.errors import ProbeError
from migrator.ltmc import LTMC
from migrator.ltmc.demo import make_demo
from migrator.ltmc.probes import CATALOGUE
from tests.unit.migrating import forward

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "ltmc_20250809.db"

TARGET = """
CREATE TABLE CodePatterns (
    id INTEGER PRIMARY KEY AUTOINCREMENT, function_name TEXT, file_name TEXT, module_name TEXT,
    input_prompt TEXT NOT NULL, generated_code TEXT NOT NULL,
    result TEXT CHECK(result IN ('pass', 'fail', 'partial')), execution_time_ms INTEGER, error_message TEXT,
    tags TEXT, created_at TEXT NOT NULL, vector_id INTEGER UNIQUE,
    FOREIGN KEY (vector_id) REFERENCES ResourceChunks (id)
)"""
PATTERNS = """
INSERT INTO CodePatterns (function_name, file_name, module_name, input_prompt, generated_code, result,
    execution_time_ms, error_message, tags, created_at)
VALUES ('connect', 'connect.py', 'app', 'Connect.', 'connect()', 'pass', 12, NULL, '["a", "b"]', '2025-08-09'),
    (NULL, NULL, NULL, '', '', 'fail', NULL, 'no such file', NULL, '2025-08-10'),
    (NULL, NULL, NULL, 'Größe', 'x = 1', NULL, -250, NULL, NULL, '2025-08-11')"""
CALLED = [probe.tool for probe in CATALOGUE if probe.call]


def call(connection: sqlite3.Connection, tool: str, version: int = 1) -> object:
    """What `tool` of the application that expects schema `version` answers."""
    (probe,) = (probe for probe in LTMC.probes_at(version) if probe.tool == tool)
    connection.execute("BEGIN IMMEDIATE")
    try:
        answer = probe.call(connection)
        assert connection.in_transaction
        return answer
    finally:
        connection.execute("ROLLBACK")


def failures(connection: sqlite3.Connection, version: int = 1) -> dict[str, str]:
    failed = {}
    for tool in CALLED:
        try:
            call(connection, tool, version)
        except (ProbeError, sqlite3.Error) as error:
            failed[tool] = f"{type(error).__name__}: {error}"
    return failed


def migrate(connection: sqlite3.Connection) -> None:
    connection.execute("DROP TABLE CodePatterns")
    connection.execute(TARGET)
    connection.execute(PATTERNS)


def at_version(version: int, database: bytes | None = None) -> sqlite3.Connection:
    """A demo database, or another, migrated to `version`."""
    connection = in_memory(demo_bytes() if database is None else database)
    for migration in LTMC.migrations[:version]:
        forward(connection, migration)
    return connection


def original_database() -> sqlite3.Connection:
    return in_memory(demo_bytes())


def migrated_database() -> sqlite3.Connection:
    connection = original_database()
    migrate(connection)
    return connection


def in_memory(database: bytes) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.deserialize(database)
    return connection


@cache
def demo_bytes() -> bytes:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "ltmc.db"
        make_demo(path, rows=100, row_bytes=100)
        return path.read_bytes()
