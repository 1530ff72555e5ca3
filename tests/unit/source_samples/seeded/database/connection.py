"""The functions through which other modules run their SQL."""

import sqlite3


def run(sql, params=()):
    return sqlite3.connect("ltmc.db").execute(sql, params).fetchall()


class Database:
    # FAULT[table name in a class attribute]: no such table: Chats
    table = "Chats"

    def __init__(self, path):
        self.path = path
        # FAULT[clause in an attribute that __init__ sets]: no such column: sent_at
        self.order = "ORDER BY sent_at DESC"

    def fetch(self, sql, params=()):
        return sqlite3.connect(self.path).cursor().execute(sql, params).fetchall()

    def latest(self):
        return self.fetch(f"SELECT id, content FROM {self.table} LIMIT 1")

    def ordered(self):
        return self.fetch("SELECT id, content FROM ChatHistory " + self.order)
