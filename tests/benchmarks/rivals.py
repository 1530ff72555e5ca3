"""Other ways to migrate CodePatterns: `python rivals.py WAY DATABASE RESULT`, one way per process.

Each reaches the plan's columns, values, UNIQUE, foreign key and indexes as far as it can; none of them verifies,
rehearses, or keeps what the new table cannot hold. The result is JSON: seconds, how long the write lock was held in
all, the most memory that the process had.
"""

import json
import os
import resource
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

ADDED = ("function_name TEXT", "file_name TEXT", "module_name TEXT", "tags TEXT", "vector_id INTEGER",
         "execution_time_ms INTEGER")  # fmt: skip
CONVERT = (
    "UPDATE CodePatterns SET execution_time_ms = CAST(execution_time * 1000 AS INTEGER) "
    "WHERE execution_time IS NOT NULL"
)
MAPPED = (
    "CASE lower(trim(result)) WHEN 'pass' THEN 'pass' WHEN 'success' THEN 'pass' WHEN 'passed' THEN 'pass' "
    "WHEN 'ok' THEN 'pass' WHEN 'fail' THEN 'fail' WHEN 'error' THEN 'fail' WHEN 'failed' THEN 'fail' "
    "WHEN 'failure' THEN 'fail' WHEN 'partial' THEN 'partial' END"
)
TARGET = """CREATE TABLE CodePatterns_new (
    id INTEGER PRIMARY KEY AUTOINCREMENT, function_name TEXT, file_name TEXT, module_name TEXT,
    input_prompt TEXT NOT NULL, generated_code TEXT NOT NULL,
    result TEXT CHECK(result IN ('pass', 'fail', 'partial')), execution_time_ms INTEGER, error_message TEXT, tags TEXT,
    created_at TEXT NOT NULL, vector_id INTEGER UNIQUE, FOREIGN KEY (vector_id) REFERENCES ResourceChunks (id))"""
KEPT = "id, function_name, file_name, module_name, input_prompt, generated_code"
REST = "execution_time_ms, error_message, tags, created_at, vector_id"
ORDER = ["id", "function_name", "file_name", "module_name", "input_prompt", "generated_code", "result",
         "execution_time_ms", "error_message", "tags", "created_at", "vector_id"]  # fmt: skip
INDEXES = {
    "idx_codepatterns_result": ("result",),
    "idx_codepatterns_created_at": ("created_at",),
    "idx_codepatterns_function_result": ("function_name", "result"),
}


def lacking(connection):
    """Name and type of each column of the plan that the table does not have."""
    there = {name for (name,) in connection.execute("SELECT name FROM pragma_table_info('CodePatterns')")}
    return [column.split() for column in ADDED if column.split()[0] not in there]


def create_indexes():
    return [f"CREATE INDEX IF NOT EXISTS {name} ON CodePatterns({', '.join(on)})" for name, on in INDEXES.items()]


def plan(database):
    """The plan's own script, in place: its ALTERs and UPDATE in one transaction; what SQLite refuses in it (ADD COLUMN
    .. UNIQUE) is done as the plan's last comment says, by a new table; then its indexes.

    SQLite's own settings, but for what the rename needs with a view and child tables (facts, section 6). The table's
    own indexes and triggers go with it; the plan does not know them.
    """
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys=OFF")
        connection.execute("PRAGMA legacy_alter_table=ON")
        first = [f"ALTER TABLE CodePatterns ADD COLUMN {name} {kind}" for name, kind in lacking(connection)]
        second = [
            TARGET,
            f"INSERT INTO CodePatterns_new ({KEPT}, result, {REST}) SELECT {KEPT}, {MAPPED}, {REST} FROM CodePatterns",
            "DROP TABLE CodePatterns",
            "ALTER TABLE CodePatterns_new RENAME TO CodePatterns",
        ]
        held_s = 0.0
        for statements in ([*first, CONVERT], second, *([index] for index in create_indexes())):
            connection.execute("BEGIN IMMEDIATE")
            started = time.perf_counter()
            for statement in statements:
                connection.execute(statement)
            connection.execute("COMMIT")
            held_s += time.perf_counter() - started
        return held_s


def sqlite_utils(database):
    """sqlite-utils: its add_column, an UPDATE of both values, its `transform`, its indexes. It knows no CHECK."""
    from sqlite_utils import Database

    with closing(sqlite3.connect(database)) as connection:
        library = Database(connection)
        # Its transform renames no table under a view, and refuses one with an index that has a condition.
        for view in library.view_names():
            library[view].drop()
        connection.execute("DROP INDEX patterns_with_error")
        table = library["CodePatterns"]
        for column in lacking(connection):
            table.add_column(*column)
        with connection:
            connection.execute(CONVERT)
            connection.execute(f"UPDATE CodePatterns SET result = {MAPPED}")
        table.transform(
            drop={"language", "execution_time"}, not_null={"result": False}, column_order=ORDER,
            add_foreign_keys=[("vector_id", "ResourceChunks", "id")],
        )  # fmt: skip
        table.create_index(["vector_id"], unique=True)
        for name, columns in INDEXES.items():
            table.create_index(columns, index_name=name, if_not_exists=True)
        connection.commit()


def alembic(database):
    """Alembic: columns by ALTER, an UPDATE of both values, the rest as one batch with copy and move, its indexes."""
    import sqlalchemy as sa
    from alembic.migration import MigrationContext
    from alembic.operations import Operations

    engine = sa.create_engine(f"sqlite:///{database}")
    with engine.begin() as connection:
        # Its batch cannot rename the table under a view.
        connection.execute(sa.text("DROP VIEW failed_attempts"))
        missing = lacking(connection.connection.driver_connection)
        op = Operations(MigrationContext.configure(connection))
        with op.batch_alter_table("CodePatterns", recreate="never") as batch:
            for name, kind in missing:
                batch.add_column(sa.Column(name, {"TEXT": sa.Text, "INTEGER": sa.Integer}[kind]))
        connection.execute(sa.text(CONVERT))
        connection.execute(sa.text(f"UPDATE CodePatterns SET result = {MAPPED}"))
        with op.batch_alter_table("CodePatterns", recreate="always", table_kwargs={"sqlite_autoincrement": True}) as b:
            b.drop_column("language")
            b.drop_column("execution_time")
            b.alter_column("result", existing_type=sa.Text, nullable=True)
            b.create_check_constraint("known_result", sa.text("result IN ('pass', 'fail', 'partial')"))
            b.create_unique_constraint("one_vector", ["vector_id"])
            b.create_foreign_key("vector", "ResourceChunks", ["vector_id"], ["id"])
        for name, columns in INDEXES.items():
            op.create_index(name, "CodePatterns", list(columns), if_not_exists=True)
    engine.dispose()


def copy(database):
    """cp and fsync: no way to migrate, the floor of every way that makes a copy."""
    with open(database, "rb") as source, open(f"{database}.copy", "wb") as target:
        while os.sendfile(target.fileno(), source.fileno(), None, 1 << 30):
            pass
        os.fsync(target.fileno())


WAYS = {"plan": plan, "sqlite-utils": sqlite_utils, "alembic": alembic, "cp": copy}


def main():
    way, database, result = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    if way in ("sqlite-utils", "alembic"):
        __import__(way.replace("-", "_"))
    started = time.perf_counter()
    held_s = WAYS[way](database)
    seconds = time.perf_counter() - started
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    result.write_text(json.dumps({"seconds": seconds, "held_s": held_s, "peak_mib": peak_mib}), encoding="utf-8")


if __name__ == "__main__":
    main()
