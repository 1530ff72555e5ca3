"""Faults in a second owner of two tables, in replaced marks and in generators."""

from database.queries import CHUNKS

# FAULT[tuple of columns, joined]: no such column: zeta
WEIGHTS = ("alpha", "beta", "zeta")


def weights(conn):
    conn.execute(
        """
        CREATE TABLE IF NOT EXISTS ResourceChunks ( -- DIFFERS
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            resource_id INTEGER,
            chunk_text TEXT NOT NULL,
            vector_id INTEGER UNIQUE NOT NULL,
            archived INTEGER DEFAULT 0,
            FOREIGN KEY(resource_id) REFERENCES Resources(id)
        )
        """
    )
    # TWICE
    conn.execute("CREATE TABLE IF NOT EXISTS ToolCalls (id INTEGER PRIMARY KEY, tool TEXT, at TEXT)")
    return conn.execute("SELECT " + ", ".join(WEIGHTS) + " FROM RetrievalWeights WHERE id = 1").fetchone()


def retrieve(conn, vector_id):
    return conn.execute(CHUNKS + " JOIN Resources r ON rc.resource_id = r.id WHERE rc.vector_id = ?", (vector_id,))


def archived(conn):
    return conn.execute(
        # FAULT[column that only another CREATE TABLE has]: no such column: archived
        "SELECT id FROM ResourceChunks WHERE archived = 0"
    ).fetchall()


def next_vector_id(conn):
    # FAULT[mark that replace() fills in]: table VectorIdSequence has no column named last_id
    sequence = "INSERT INTO @sequence (last_id) VALUES (1)"
    return conn.execute(sequence.replace("@sequence", "VectorIdSequence")).lastrowid


def statements():
    # FAULT[UPDATE that a generator yields]: no such column: body
    yield "UPDATE ResourceChunks SET body = trim(chunk_text)"
    # FAULT[DELETE that a generator yields]: no such column: kind
    yield "DELETE FROM Resources WHERE kind IS NULL"


def tidy(conn):
    for statement in statements():
        conn.execute(statement)


def log_call(conn):
    conn.execute(
        # FAULT[INSERT into a table that the source itself makes]: table ToolCalls has no column named moment
        "INSERT INTO ToolCalls (tool, moment) VALUES (?, ?)"
    )


def upsert(conn, row):
    conn.execute(
        # FAULT[ON CONFLICT of a column that is not unique]: ON CONFLICT clause does not match any PRIMARY KEY or UNIQUE constraint
        "INSERT INTO VectorIdSequence (id, last_vector_id) VALUES (?, ?) ON CONFLICT (last_vector_id) DO NOTHING",
        row,
    )
