"""Faults behind classes, wrappers, imports and loops."""

from textwrap import dedent

from database import queries
from database.connection import Database, run


class ChatService:
    # FAULT[class constant made of a class constant]: no such column: text
    COLUMNS = "id, role, text"
    BY_TOOL = f"SELECT {COLUMNS} FROM ChatHistory WHERE source_tool = ?"

    def __init__(self, db: Database):
        self.db = db

    def by_tool(self, source_tool):
        return self.db.fetch(self.BY_TOOL, (source_tool,))

    def log(self, row):
        self.db.fetch(
            # FAULT[INSERT through a method that runs SQL]: table ChatHistory has no column named conversation
            "INSERT INTO ChatHistory (conversation, role) VALUES (?, ?)",
            row,
        )

    def tools(self):
        return self.db.fetch(
            dedent("""
                SELECT source_tool, COUNT(*)
                FROM ChatHistory
                GROUP BY source -- FAULT[GROUP BY in a dedented triple-quoted string]: no such column: source
            """)
        )


def conversations(tool):
    # FAULT[function of another module that runs SQL]: no such column: tool
    return run("SELECT conversation_id FROM ChatHistory WHERE tool = ?", (tool,))


def create_indexes(conn):
    for statement in queries.INDEXES:
        conn.execute(statement)


def remember(conn, rows):
    # FAULT[+= in a loop and rstrip]: table ChatHistory has no column named contents
    script = "INSERT INTO ChatHistory (role, contents) VALUES "
    for _ in rows:
        script += "(?, ?),"
    conn.execute(script.rstrip(","), rows)
