"""PostgreSQL on a server of its own, in a folder of its own, with the settings that initdb gives."""

from contextlib import closing

from tests.benchmarks.backends.dialects import POSTGRES, rewritten
from tests.benchmarks.backends.source import CREATE, INDEXES, NAMES


class Postgres:
    name = "PostgreSQL"
    in_one_process = False

    def __init__(self, server, over_tcp=False):
        self.server, self._tcp = server, over_tcp
        if over_tcp:
            self.name += " over TCP"

    def fill(self, source, name):
        self.server.execute(f"CREATE DATABASE {_filled(name)}")
        with closing(Connection(self.server.address(_filled(name)))) as connection:
            for statement in CREATE:
                connection.execute(statement)
            for table in NAMES:
                with connection.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN") as copy:
                    for row in source.rows(table):
                        copy.write_row(row)
            for table, next_id in source.next_ids().items():
                connection.execute(f"ALTER TABLE {table} ALTER id RESTART WITH {next_id}")
            for statement in INDEXES:
                connection.execute(statement)
            connection.commit()
        self.server.execute("VACUUM ANALYZE", _filled(name))

    def start_from(self, name):
        self.server.execute("DROP DATABASE IF EXISTS work")
        self.server.execute(f"CREATE DATABASE work TEMPLATE {_filled(name)} STRATEGY file_copy")
        self.server.execute("CHECKPOINT")

    def connect(self):
        return Connection(self.server.address("work", self._tcp))

    def durability(self):
        names = ("fsync", "synchronous_commit", "wal_sync_method", "full_page_writes")
        with closing(self.connect()) as connection:
            return ", ".join(f"{name}={connection.execute(f'SHOW {name}').fetchone()[0]}" for name in names)

    def size_bytes(self):
        with closing(self.connect()) as connection:
            return connection.execute("SELECT pg_database_size('work')").fetchone()[0]

    def back_up(self, folder):
        target = folder / "backup.dump"
        self.server.run("pg_dump", "-Fc", "-f", target, "work")
        return target

    def restore(self, backup, folder):
        self.server.execute("CREATE DATABASE restored")
        self.server.run("pg_restore", "--exit-on-error", "-d", "restored", backup)
        self.server.execute("DROP DATABASE restored")


class Connection:
    """The part of sqlite3.Connection that the tools use. Every statement is in a transaction, reading ones too.

    psycopg prepares a statement on the server once one connection has sent it five times.
    """

    def __init__(self, address):
        # Here, so that the other backends are measured where the extra is not installed.
        import psycopg
        from psycopg.types.numeric import FloatLoader

        class Cursor(psycopg.Cursor):
            @property
            def lastrowid(self):
                return self.fetchone()[0]

        self._connection = psycopg.connect(address, cursor_factory=Cursor)
        # AVG gives a decimal, where SQLite gives a float.
        self._connection.adapters.register_loader("numeric", FloatLoader)
        self.cursor = self._connection.cursor
        self.commit = self._connection.commit
        self.rollback = self._connection.rollback
        self.close = self._connection.close

    def execute(self, sql, arguments=()):
        return self._connection.execute(rewritten(sql, POSTGRES), arguments or None)


def _filled(name):
    return f"filled_{name}"
