"""Figures for people: pandas, match, and SQL of every length."""

import pandas as pd

TABLES = ["Resources", "ResourceChunks", "ChatHistory"]


def frame(conn, kind):
    match kind:
        case "chats":
            sql = "SELECT role, COUNT(*) AS messages FROM ChatHistory GROUP BY role"
        case "todos":
            sql = "SELECT priority, completed FROM Todos"
        case _:
            sql = "SELECT type, created_at FROM Resources"
    return pd.read_sql(sql, conn)


def sizes(conn):
    union = " UNION ALL ".join(f"SELECT '{name}' AS name, COUNT(*) AS n FROM {name}" for name in TABLES)
    return pd.read_sql_query(sql=union, con=conn)


def summaries(conn, since=None, model=None):
    query = ["SELECT s.summary_text, s.model", "FROM Summaries s", "JOIN Resources r ON r.id = s.resource_id"]
    filters = []
    if since:
        filters.append("s.created_at >= ?")
    if model:
        filters.append("s.model = ?")
    if filters:
        query.append("WHERE " + " AND ".join(filters))
    return conn.execute("\n".join(query), filters).fetchall()


def upsert(conn, row):
    conn.execute(
        "INSERT INTO VectorIdSequence (id, last_vector_id) VALUES (?, ?) "
        "ON CONFLICT (id) DO UPDATE SET last_vector_id = excluded.last_vector_id",
        row,
    )
    conn.execute("BEGIN IMMEDIATE")
    conn.execute("PRAGMA foreign_keys = ON")
    conn.execute("COMMIT")


def columns(conn):
    return lambda: conn.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
