"""Chat history: constants of a class, methods, and a database that is passed in."""

from textwrap import dedent

from database import queries
from database.connection import Database, run


class ChatService:
    COLUMNS = "id, conversation_id, role, content, timestamp, agent_name, metadata, source_tool"
    BY_TOOL = f"SELECT {COLUMNS} FROM ChatHistory WHERE source_tool = ?"

    def __init__(self, db: Database):
        self.db = db

    def log(self, conversation_id, role, content):
        self.db.fetch(
            "INSERT INTO ChatHistory (conversation_id, role, content, timestamp) VALUES (?, ?, ?, datetime('now'))",
            (conversation_id, role, content),
        )

    def by_tool(self, source_tool, conversation_id=None, limit=100):
        query = self.BY_TOOL
        query += " AND conversation_id = ?" if conversation_id else ""
        return self.db.fetch(query + " ORDER BY timestamp DESC LIMIT ?", (source_tool, limit))

    def tools(self):
        return self.db.fetch(
            dedent("""
                SELECT source_tool, COUNT(*), COUNT(DISTINCT conversation_id), MIN(timestamp), MAX(timestamp)
                FROM ChatHistory
                WHERE source_tool IS NOT NULL
                GROUP BY source_tool
            """)
        )


def conversations(source_tool):
    return run(
        "SELECT conversation_id, COUNT(*) AS messages, GROUP_CONCAT(DISTINCT role) FROM ChatHistory "
        "WHERE source_tool = ? GROUP BY conversation_id ORDER BY messages DESC",
        (source_tool,),
    )


def create_indexes(conn):
    for statement in queries.INDEXES:
        conn.execute(statement)
    [conn.execute(statement) for statement in queries.INDEXES]


def remember(conn, rows):
    insert = "INSERT INTO ChatHistory (conversation_id, role, content, timestamp) VALUES " + ", ".join(
        ["(?, ?, ?, ?)"] * 2
    )
    conn.execute(insert, rows)
    script = "INSERT INTO ChatHistory (conversation_id, role, content, timestamp) VALUES "
    for _ in rows:
        script += "(?, ?, ?, ?),"
    conn.execute(script.rstrip(","), rows)
