"""Connections, and the functions through which other modules run their SQL."""

import os
import sqlite3
from contextlib import closing

DB_PATH = os.environ.get("DB_PATH", "ltmc.db")


def run(sql, params=()):
    with closing(sqlite3.connect(DB_PATH)) as conn:
        return conn.execute(sql, params).fetchall()


class Database:
    """A connection per call, as the tools need it."""

    table = "ChatHistory"

    def __init__(self, path=DB_PATH):
        self.path = path
        self.order = "ORDER BY timestamp DESC"

    def fetch(self, sql, params=()):
        conn = sqlite3.connect(self.path)
        try:
            return conn.cursor().execute(sql, params).fetchall()
        finally:
            conn.close()

    def latest(self, source_tool, limit):
        return self.fetch(
            f"SELECT id, content FROM {self.table} WHERE source_tool = ? {self.order} LIMIT ?", (source_tool, limit)
        )

    def column_exists(self, table, column):
        return column in {row[1] for row in self.fetch(f"PRAGMA table_info({table})")}
