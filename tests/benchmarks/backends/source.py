"""The data that every backend gets: the demo database, migrated, the application's own tables only."""

import sqlite3
from contextlib import closing

from migrator.ltmc import LTMC
from migrator.ltmc.probes.tables import CODE_PATTERNS, RETRIEVAL_WEIGHTS, TABLES
from tests.unit.migrating import plan_for, promote

MIGRATION = LTMC.migrations[0]
"""After it all 28 tools work; the probes speak for this schema."""
(CHANGE,) = MIGRATION.changes
CREATE = tuple(
    CHANGE.after.strip() if table is CODE_PATTERNS else f"CREATE TABLE {table}"
    for table in (*TABLES, RETRIEVAL_WEIGHTS)
)
"""The texts of SQLite; users' triggers, views and indexes, and the migration's own tables, are left out."""
INDEXES = CHANGE.indexes
TYPES = {"INTEGER": int, "BOOLEAN": int, "REAL": float, "TEXT": str}
NAMES = tuple(text.split()[2] for text in CREATE)


class Source:
    """The rows of a database file that is read and never changed again."""

    def __init__(self, path, rows):
        LTMC.make_demo(path, rows)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            promote(connection, plan_for(connection, (MIGRATION,)))
            # The newest pattern is one of today: analyze_code_patterns reads those of the last 30 days.
            connection.execute("DROP TRIGGER remember_attempt")
            connection.execute(
                "UPDATE CodePatterns SET created_at = strftime('%Y-%m-%dT%H:%M:%f', created_at, "
                "(SELECT CAST(julianday('now') - julianday(MAX(created_at)) AS INTEGER) FROM CodePatterns) || ' days')"
            )
        self._path = path

    def rows(self, table):
        """Tuples in order of id, without what only SQLite stores: a value of another type than its column's becomes
        NULL, a NUL in a text another character."""
        types = [TYPES[kind] for kind in self.columns(table).values()]
        with closing(sqlite3.connect(self._path)) as connection:
            for row in connection.execute(f"SELECT * FROM {table} ORDER BY id"):
                typed = (value if isinstance(value, kind) else None for value, kind in zip(row, types, strict=True))
                yield tuple(v.replace("\0", "\N{SYMBOL FOR NULL}") if isinstance(v, str) else v for v in typed)

    def columns(self, table):
        """Name: the type that it is declared with."""
        with closing(sqlite3.connect(self._path)) as connection:
            return {column[1]: column[2] for column in connection.execute(f"PRAGMA table_info({table})")}

    def next_ids(self):
        """Table: the id that its next row gets, above every id that it ever had."""
        with closing(sqlite3.connect(self._path)) as connection:
            used = dict(connection.execute("SELECT name, seq FROM sqlite_sequence"))
        return {table: used.get(table, 0) + 1 for table in NAMES if table != "RetrievalWeights"}
