"""A migration carried out forth and back on a schema without rows: what it leads to, before a file of it is written."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from migrator import rebuild
from migrator.authoring.difference import inner_tables
from migrator.connect import Connection, distrust_schema
from migrator.ddl import folded
from migrator.errors import RefusedError
from migrator.migration import Answers, Migration
from migrator.plan import State
from migrator.planning import make_plan
from migrator.schema import Schema, columns_of, is_virtual, read_schema


def there_and_back(schema: Schema, migration: Migration) -> tuple[Schema, Schema]:
    """The schemas after the migration and after its reverse, made by the functions of the promotion.

    Raises RefusedError where the plan or SQLite refuses the migration.
    """
    with closing(in_memory(schema)) as connection:
        reached = []
        for reverse in (False, True):
            own = {name: found for name in migration.own_tables if (found := columns_of(connection, name))}
            state = State(read_schema(connection, migration.own_tables), own)
            plan = make_plan((migration,), state, {migration.version: Answers()}, reverse=reverse)
            try:
                with rebuild.rebuild_settings(connection):
                    connection.execute("BEGIN")
                    for table in plan.tables:
                        rebuild.keep_originals(connection, table)
                        rebuild.rebuild_table(connection, table)
                        rebuild.create_indexes(connection, table)
                    connection.execute("COMMIT")
            except sqlite3.Error as error:
                way = "back" if reverse else "forth"
                raise RefusedError(f"SQLite refuses the way {way}: {error}", "change the desired schema") from error
            reached.append(read_schema(connection, migration.own_tables))
    return reached[0], reached[1]


def in_memory(schema: Schema) -> Connection:
    """A database with the schema and no rows; without virtual tables, and the tables that they keep.

    Raises RefusedError where SQLite refuses a statement.
    """
    connection = sqlite3.connect(":memory:", isolation_level=None, factory=Connection)
    try:
        distrust_schema(connection)
        left_out = {*inner_tables(schema), *(folded(o.name) for o in schema.objects if is_virtual(o.sql))}
        for found in sorted(schema.objects, key=lambda o: o.kind != "table"):
            if folded(found.table) not in left_out:
                connection.execute(found.sql)
    except sqlite3.Error as error:
        connection.close()
        raise RefusedError(
            f"SQLite refuses {found.kind} {found.name} in a database of its own: {error}",
            "the application may bring a function or a collation that this program has not",
        ) from error
    return connection
