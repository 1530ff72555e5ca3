"""Constants, each with one fault."""

# FAULT[constant of columns in an f-string, imported]: no such column: rc.chunk
COLUMNS = "rc.id, rc.chunk, rc.vector_id"
CHUNKS = f"SELECT {COLUMNS} FROM ResourceChunks rc"
# FAULT[table name in a constant of another module]: no such table: Todo
TODO_TABLE = "Todo"

SCRIPT = """
DELETE FROM ContextLinks WHERE chunk_id NOT IN (SELECT id FROM ResourceChunks);
UPDATE Todos
SET finished_at = created_at -- FAULT[UPDATE in a script]: no such column: finished_at
WHERE completed = 1;
DROP VIEW open_todos; -- FAULT[DROP VIEW in a script]: no such view: open_todos
"""

BY_STATUS = {
    "pending": "SELECT id, title FROM Todos WHERE completed = 0",
    # FAULT[dictionary of statements]: no such column: done_at
    "completed": "SELECT id, done_at FROM Todos WHERE completed = 1",
}

INDEXES = (
    "CREATE INDEX IF NOT EXISTS idx_chat ON ChatHistory (conversation_id)",
    # FAULT[tuple of statements, run in a loop]: no such table: main.Summary
    "CREATE INDEX IF NOT EXISTS idx_model ON Summary (model)",
)
