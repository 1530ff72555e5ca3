"""Makes the table as it was before the migration, which is what the service does not expect."""


def create_tables(conn):
    conn.execute("""
        CREATE TABLE IF NOT EXISTS CodePatterns (  -- OLD SCHEMA
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            input_prompt TEXT NOT NULL,
            generated_code TEXT NOT NULL,
            result TEXT NOT NULL,
            language TEXT,
            execution_time REAL,
            error_message TEXT,
            created_at TEXT NOT NULL
        )
    """)
    conn.execute("CREATE TABLE IF NOT EXISTS ToolCalls (id INTEGER PRIMARY KEY, tool TEXT NOT NULL)")
    # FAULT[CREATE INDEX on a column]: no such column: state
    conn.execute("CREATE INDEX IF NOT EXISTS by_state ON Todos (state)")
    # FAULT[CREATE TABLE that SQLite cannot read]: near ",": syntax error
    conn.execute("CREATE TABLE IF NOT EXISTS Broken (id INTEGER PRIMARY KEY,, x)")
