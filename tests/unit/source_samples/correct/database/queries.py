"""SQL that several services share."""

CHUNK_COLUMNS = "rc.id, rc.resource_id, rc.chunk_text, rc.vector_id"
CHUNKS = f"SELECT {CHUNK_COLUMNS} FROM ResourceChunks rc"
TODO_TABLE = "Todos"

MAINTENANCE = """
-- Empty links go first; a ; in a comment ends nothing.
DELETE FROM ContextLinks WHERE chunk_id NOT IN (SELECT id FROM ResourceChunks);
UPDATE Todos SET completed_at = created_at WHERE completed = 1 AND completed_at IS NULL;
DROP VIEW IF EXISTS open_todos;
"""

NIGHTLY = """
    DELETE FROM Todos WHERE completed = 1 AND completed_at < date('now', '-1 year');
    UPDATE Todos SET priority = lower(priority)
"""

BY_STATUS = {
    "open": "SELECT id, title FROM Todos WHERE completed = 0",
    "done": "SELECT id, title, completed_at FROM Todos WHERE completed = 1",
}

INDEXES = (
    "CREATE INDEX IF NOT EXISTS idx_chat_conversation ON ChatHistory (conversation_id)",
    "CREATE INDEX IF NOT EXISTS idx_chunks_resource ON ResourceChunks (resource_id)",
)
