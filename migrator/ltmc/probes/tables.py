"""What the application's tools do to the schema before their own statement.

The CREATE TABLE texts are those of the original application, character for character as an un-migrated
database stores them after `CREATE TABLE `.
"""

from __future__ import annotations

import sqlite3

RESOURCES = """Resources (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            file_name TEXT,
            type TEXT NOT NULL,
            created_at TEXT NOT NULL
        )"""
RESOURCE_CHUNKS = """ResourceChunks (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            resource_id INTEGER,
            chunk_text TEXT NOT NULL,
            vector_id INTEGER UNIQUE NOT NULL,
            FOREIGN KEY (resource_id) REFERENCES Resources (id)
        )"""
CHAT_HISTORY = """ChatHistory (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            conversation_id TEXT NOT NULL,
            role TEXT NOT NULL,
            content TEXT NOT NULL,
            timestamp TEXT NOT NULL,
            agent_name TEXT,
            metadata TEXT,
            source_tool TEXT
        )"""
CONTEXT_LINKS = """ContextLinks (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            message_id INTEGER,
            chunk_id INTEGER,
            FOREIGN KEY (message_id) REFERENCES ChatHistory (id),
            FOREIGN KEY (chunk_id) REFERENCES ResourceChunks (id)
        )"""
SUMMARIES = """Summaries (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            resource_id INTEGER,
            doc_id TEXT,
            summary_text TEXT NOT NULL,
            model TEXT,
            created_at TEXT NOT NULL,
            FOREIGN KEY (resource_id) REFERENCES Resources (id)
        )"""
TODOS = """Todos (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            title TEXT NOT NULL,
            description TEXT NOT NULL,
            priority TEXT DEFAULT 'medium',
            completed BOOLEAN DEFAULT 0,
            created_at TEXT NOT NULL,
            completed_at TEXT
        )"""
CODE_PATTERNS = """CodePatterns (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            input_prompt TEXT NOT NULL,
            generated_code TEXT NOT NULL,
            result TEXT NOT NULL,
            language TEXT,
            execution_time REAL,
            error_message TEXT,
            created_at TEXT NOT NULL
        )"""
CODE_PATTERN_CONTEXT = """CodePatternContext (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            pattern_id INTEGER,
            context_type TEXT NOT NULL,
            context_data TEXT NOT NULL,
            FOREIGN KEY (pattern_id) REFERENCES CodePatterns (id)
        )"""
VECTOR_ID_SEQUENCE = """VectorIdSequence (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            last_vector_id INTEGER DEFAULT 0
        )"""
RETRIEVAL_WEIGHTS = (
    "RetrievalWeights (id INTEGER PRIMARY KEY CHECK (id = 1), "
    "alpha REAL, beta REAL, gamma REAL, delta REAL, epsilon REAL)"
)

TABLES = (
    RESOURCES,
    RESOURCE_CHUNKS,
    CHAT_HISTORY,
    CONTEXT_LINKS,
    SUMMARIES,
    TODOS,
    CODE_PATTERNS,
    CODE_PATTERN_CONTEXT,
    VECTOR_ID_SEQUENCE,
)


def create_tables(connection: sqlite3.Connection) -> None:
    """What every SQLite tool but the retrieving ones does first.

    Creates the nine tables that are missing, row 1 of VectorIdSequence, and ChatHistory.source_tool;
    that the column exists already is the one error it passes over.
    """
    for table in TABLES:
        connection.execute(f"CREATE TABLE IF NOT EXISTS {table}")
    connection.execute("INSERT OR IGNORE INTO VectorIdSequence (id, last_vector_id) VALUES (1, 0)")
    try:
        connection.execute("ALTER TABLE ChatHistory ADD COLUMN source_tool TEXT")
    except sqlite3.OperationalError as error:
        if "duplicate column name" not in str(error):
            raise


def create_retrieval_tables(connection: sqlite3.Connection) -> None:
    """What the retrieving tools do first: their two tables, RetrievalWeights and its only row."""
    for table in (RESOURCES, RESOURCE_CHUNKS, RETRIEVAL_WEIGHTS):
        connection.execute(f"CREATE TABLE IF NOT EXISTS {table}")
    if connection.execute("SELECT COUNT(*) FROM RetrievalWeights").fetchone() == (0,):
        connection.execute(
            "INSERT INTO RetrievalWeights (id, alpha, beta, gamma, delta, epsilon) VALUES (1, ?, ?, ?, ?, ?)",
            (1.0, 0.2, 0.1, 0.05, 0.1),
        )
