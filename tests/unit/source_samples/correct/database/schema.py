"""The one place that makes the tables."""

import sqlite3


def create_tables(conn):
    """Every tool calls this first."""
    cursor = conn.cursor()
    cursor.execute("""
        CREATE TABLE IF NOT EXISTS Resources (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            file_name TEXT,
            type TEXT NOT NULL,
            created_at TEXT NOT NULL
        )
    """)
    cursor.execute("""
        CREATE TABLE IF NOT EXISTS ResourceChunks (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            resource_id INTEGER,
            chunk_text TEXT NOT NULL,
            vector_id INTEGER UNIQUE NOT NULL,
            FOREIGN KEY (resource_id) REFERENCES Resources (id)
        )
    """)
    cursor.execute("""
        CREATE TABLE IF NOT EXISTS CodePatterns (
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
        )
    """)
    # Makes nothing that the others make: this one is in no database yet.
    cursor.execute(
        "CREATE TABLE IF NOT EXISTS ToolCalls (id INTEGER PRIMARY KEY, tool TEXT NOT NULL, at TEXT NOT NULL)"
    )
    cursor.execute("INSERT OR IGNORE INTO VectorIdSequence (id, last_vector_id) VALUES (1, 0)")
    try:
        cursor.execute("ALTER TABLE ChatHistory ADD COLUMN source_tool TEXT")
    except sqlite3.OperationalError as error:
        if "duplicate column name" not in str(error).lower():
            raise
    conn.commit()
