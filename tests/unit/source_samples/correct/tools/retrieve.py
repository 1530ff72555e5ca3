"""Retrieval: its own connection, a column that it looks for, and a replaced mark."""

import os
import sqlite3

from database.queries import CHUNKS

WEIGHTS = ("alpha", "beta", "gamma", "delta", "epsilon")


def _column_exists(connection, table, column):
    return any(row[1] == column for row in connection.execute(f"PRAGMA table_info({table})"))


def weights():
    conn = sqlite3.connect(os.environ["DB_PATH"])
    conn.execute(
        "CREATE TABLE IF NOT EXISTS RetrievalWeights ("
        "id INTEGER PRIMARY KEY CHECK (id = 1), "
        "alpha REAL, beta REAL, gamma REAL, delta REAL, epsilon REAL)"
    )
    row = conn.execute("SELECT " + ", ".join(WEIGHTS) + " FROM RetrievalWeights WHERE id = 1").fetchone()
    if row is None:
        names, marks = ", ".join(WEIGHTS), ", ".join(["?"] * len(WEIGHTS))
        conn.execute(f"INSERT INTO RetrievalWeights (id, {names}) VALUES (1, {marks})", (1.0, 0.2, 0.1, 0.05, 0.1))
    return row


def retrieve(conn, vector_id, kind=None):
    if _column_exists(conn, "ResourceChunks", "archived"):
        sql = "SELECT rc.chunk_text, rc.archived FROM ResourceChunks rc WHERE rc.vector_id = ?"
    else:
        sql = "SELECT rc.chunk_text, 0 AS archived FROM ResourceChunks rc WHERE rc.vector_id = ?"
    found = conn.execute(sql, (vector_id,)).fetchall()
    joined = CHUNKS + " JOIN Resources r ON rc.resource_id = r.id WHERE rc.vector_id = ?"
    if kind is not None:
        joined += " AND r.type = ?"
    return found + conn.execute(joined, (vector_id, kind)).fetchall()


def next_vector_id(conn):
    sequence = "INSERT INTO @sequence (last_vector_id) SELECT MAX(last_vector_id) + 1 FROM @sequence"
    return conn.execute(sequence.replace("@sequence", "VectorIdSequence")).lastrowid


def statements():
    yield "UPDATE ResourceChunks SET chunk_text = trim(chunk_text)"
    yield "DELETE FROM Resources WHERE id NOT IN (SELECT resource_id FROM ResourceChunks)"


def tidy(conn):
    for statement in statements():
        conn.execute(statement)


def log_call(conn, tool):
    conn.execute("INSERT INTO ToolCalls (tool, at) VALUES (?, datetime('now'))", (tool,))
