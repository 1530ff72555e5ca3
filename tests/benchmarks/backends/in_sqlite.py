"""SQLite as the application opens it: `sqlite3.connect(path)`, no PRAGMA; the journal mode is the file's."""

import shutil
import sqlite3
from contextlib import closing

from tests.benchmarks.backends.source import CREATE, INDEXES, NAMES


class Sqlite:
    in_one_process = False
    server = None

    def __init__(self, folder, journal_mode):
        self.name = f"SQLite {journal_mode}"
        self._mode, self._folder = journal_mode, folder
        self.path = folder / "work.db"

    def fill(self, source, name):
        path = self._filled(name)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(f"PRAGMA journal_mode={self._mode}")
            for statement in CREATE:
                connection.execute(statement)
            for table in NAMES:
                marks = ", ".join("?" * len(source.columns(table)))
                connection.executemany(f"INSERT INTO {table} VALUES ({marks})", source.rows(table))
            for table, next_id in source.next_ids().items():
                connection.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = ?", (next_id - 1, table))
            for statement in (*INDEXES, "ANALYZE"):
                connection.execute(statement)
            connection.commit()

    def _filled(self, name):
        return self._folder / f"filled_{name}.db"

    def start_from(self, name):
        """What is connected to from here on is a new copy of the filled database."""
        for path in self._folder.glob(f"{self.path.name}*"):
            path.unlink()
        shutil.copyfile(self._filled(name), self.path)

    def connect(self):
        return sqlite3.connect(self.path)

    def durability(self):
        with closing(self.connect()) as connection:
            names = ("journal_mode", "synchronous")
            return ", ".join(f"{name}={connection.execute(f'PRAGMA {name}').fetchone()[0]}" for name in names)

    def size_bytes(self):
        return sum(path.stat().st_size for path in self._folder.glob(f"{self.path.name}*"))

    def back_up(self, folder):
        target = folder / "backup.db"
        with closing(self.connect()) as source, closing(sqlite3.connect(target)) as connection:
            source.backup(connection)
        return target

    def restore(self, backup, folder):
        return shutil.copyfile(backup, folder / "restored.db")
