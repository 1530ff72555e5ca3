"""Constants, each with one fault."""

# FAULT: no such column: rc.chunk
COLUMNS = "rc.id, rc.chunk, rc.vector_id"
CHUNKS = f"SELECT {COLUMNS} FROM ResourceChunks rc"
# FAULT: no such table: Todo
TODO_TABLE = "Todo"

SCRIPT = """
DELETE FROM ContextLinks WHERE chunk_id NOT IN (SELECT id FROM ResourceChunks);
UPDATE Todos
SET finished_at = created_at -- FAULT: no such column: finished_at
WHERE completed = 1;
DROP VIEW open_todos; -- FAULT: no such view: open_todos
"""

BY_STATUS = {
    "pending": "SELECT id, title FROM Todos WHERE completed = 0",
    # FAULT: no such column: done_at
    "completed": "SELECT id, done_at FROM Todos WHERE completed = 1",
}

INDEXES = (
    "CREATE INDEX IF NOT EXISTS idx_chat ON ChatHistory (conversation_id)",
    # FAULT: no such table: main.Summary
    "CREATE INDEX IF NOT EXISTS idx_model ON Summary (model)",
)
