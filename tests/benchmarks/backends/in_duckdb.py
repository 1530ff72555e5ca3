"""DuckDB: one file, which one process at a time has open."""

import importlib.util
import json
import shutil
import threading
from contextlib import closing

from tests.benchmarks.backends.dialects import DUCKDB, rewritten
from tests.benchmarks.backends.source import CREATE, INDEXES, NAMES


def why_absent():
    """What is missing, in words; None where nothing is."""
    return None if importlib.util.find_spec("duckdb") else "duckdb is not installed (the extra bench)"


class Duckdb:
    name = "DuckDB"
    in_one_process = True
    server = None

    def __init__(self, folder):
        self._folder = folder
        self.path = folder / "work.duckdb"

    def fill(self, source, name):
        with closing(Connection(self._filled(name))) as connection:
            for table, next_id in source.next_ids().items():
                connection.execute(f"CREATE SEQUENCE {table}_id START {next_id}")
            for statement in CREATE:
                connection.execute(statement)
            for table in NAMES:
                self._load(connection, table, source)
            for statement in (*INDEXES, "ANALYZE"):
                connection.execute(statement)
            connection.commit()
            connection.execute("CHECKPOINT")

    def _load(self, connection, table, source):
        # executemany takes a millisecond a row.
        path, columns = self._folder / "rows.json", source.columns(table)
        with path.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(dict(zip(columns, row, strict=True))) + "\n" for row in source.rows(table))
        described = connection.execute(f"DESCRIBE {table}").fetchall()
        types = ", ".join(f"{name}: '{kind}'" for name, kind, *_ in described)
        read = f"read_json('{path}', format = 'newline_delimited', columns = {{{types}}})"
        connection.execute(f"INSERT INTO {table} SELECT * FROM {read}")
        path.unlink()

    def _filled(self, name):
        return self._folder / f"filled_{name}.duckdb"

    def start_from(self, name):
        for path in self._folder.glob(f"{self.path.name}*"):
            path.unlink()
        shutil.copyfile(self._filled(name), self.path)

    def connect(self):
        return Connection(self.path)

    def durability(self):
        with closing(self.connect()) as connection:
            names = ("fsync_mode", "checkpoint_threshold")
            values = (connection.execute(f"SELECT current_setting('{name}')").fetchone()[0] for name in names)
            return ", ".join(f"{name}={value}" for name, value in zip(names, values, strict=True))

    def size_bytes(self):
        return sum(path.stat().st_size for path in self._folder.glob(f"{self.path.name}*"))

    def back_up(self, folder):
        target = folder / "backup.duckdb"
        with closing(self.connect()) as connection:
            connection.execute(f"ATTACH '{target}' AS backup")
            connection.commit()
            connection.execute(f"COPY FROM DATABASE {self.path.stem} TO backup")
            connection.commit()
            connection.execute("DETACH backup")
        return target

    def restore(self, backup, folder):
        return shutil.copyfile(backup, folder / "restored.duckdb")


_OPENING = threading.Lock()


class Connection:
    """The part of sqlite3.Connection that the tools use. Every statement is in a transaction, reading ones too."""

    def __init__(self, path):
        # Here, so that the other backends are measured where the extra is not installed.
        import duckdb

        # Two threads that open the file at once meet "Unique file handle conflict".
        with _OPENING:
            self._connection = duckdb.connect(path)
        self._in_transaction = False

    def execute(self, sql, arguments=()):
        if not self._in_transaction:
            self._connection.execute("BEGIN")
            self._in_transaction = True
        result = self._connection.execute(rewritten(sql, DUCKDB), arguments or None)
        return Rows(result.fetchall(), result.rowcount)

    def commit(self):
        if self._in_transaction:
            self._in_transaction = False
            self._connection.execute("COMMIT")

    def rollback(self):
        if self._in_transaction:
            self._in_transaction = False
            self._connection.execute("ROLLBACK")

    def close(self):
        self.rollback()
        self._connection.close()


class Rows(list):
    def __init__(self, rows, rowcount):
        super().__init__(rows)
        self.rowcount = rowcount

    def fetchone(self):
        return self.pop(0) if self else None

    def fetchall(self):
        return self

    @property
    def lastrowid(self):
        return self[0][0]
