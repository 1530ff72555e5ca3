"""Two schemas, the migration that is generated from one to the other, and what SQLite itself makes of the rows."""

import re
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from migrator.application import Application
from migrator.authoring.generate import Generated, generate
from migrator.ddl import canonical, folded, parse_create_table, quote
from migrator.loading import load_migrations
from migrator.migration import Migration
from migrator.schema import Schema, columns_of, read_schema, rowid_name
from tests.unit.migrating import database


def schema_of(*statements: str) -> Schema:
    with closing(database(*statements)) as connection:
        return read_schema(connection)


def generated(now: Iterable[str], desired: Iterable[str], renames: Mapping[str, str] | None = None) -> Generated:
    return generate(schema_of(*now), schema_of(*desired), "made_up", (), renames)


def decided(made: Generated) -> Generated:
    """As it is when a person has removed every entry of UNDECIDED."""
    text = re.sub(
        r"^UNDECIDED: .*?^if", "UNDECIDED: tuple[str, ...] = ()\nif", made.text, flags=re.DOTALL | re.MULTILINE
    )
    return replace(made, text=text)


def loaded(text: str, folder: Path, version: int = 1) -> Migration:
    """The migration that stands in the text of its file."""
    (folder / f"m{version:04d}_made_up.py").write_text(text, encoding="utf-8")
    return load_migrations(folder)[version - 1]


def application(migration: Migration) -> Application:
    return Application("made_up", (migration,), (), lambda path, rows: None)


def meaning(connection: sqlite3.Connection, own: Iterable[str] = ()) -> dict[str, object]:
    """What SQLite understands of a schema, by object: its text by meaning, columns, foreign keys and indexes."""
    schema, found = read_schema(connection, own), {}
    for o in schema.objects:
        found[f"{o.kind} {folded(o.name)}"] = (
            canonical(o.sql) if o.kind != "table" else _table(connection, o.name, o.sql)
        )
    return found


def _table(connection: sqlite3.Connection, name: str, sql: str) -> dict[str, object]:
    text = parse_create_table(sql)
    indexes = connection.execute('SELECT name, "unique", origin, partial FROM pragma_index_list(?)', (name,)).fetchall()
    parts = 'SELECT name, "desc", coll, key FROM pragma_index_xinfo(?) ORDER BY seqno'
    return {
        "text": [d.canonical for d in text.definitions],
        "suffix": canonical(text.suffix),
        "columns": [
            (folded(column), *rest)
            for _, column, *rest in connection.execute("SELECT * FROM pragma_table_xinfo(?)", (name,)).fetchall()
        ],
        "foreign keys": sorted(connection.execute("SELECT * FROM pragma_foreign_key_list(?)", (name,)).fetchall()),
        # The number in an automatic name says nothing.
        "indexes": sorted(
            (repr(connection.execute(parts, (index,)).fetchall()), unique, origin, partial)
            for index, unique, origin, partial in indexes
        ),
    }


def as_sqlite_stores(
    was: sqlite3.Connection, desired: Iterable[str], renames: Mapping[str, str] | None = None
) -> sqlite3.Connection:
    """A database of the desired schema into which SQLite itself put the rows of `was`, each column under its name.

    What is new has its DEFAULT, as in any INSERT that leaves it out. Raises sqlite3.IntegrityError where a row does
    not fit.
    """
    connection = database(*(sql for sql in desired if "TRIGGER" not in sql))
    old_names = {folded(new): folded(old) for old, new in (renames or {}).items()}
    for table in read_schema(connection).tables:
        old = {folded(c): c for c in columns_of(was, table)}
        # Of generated columns table_info says nothing.
        pairs = [
            (c, old[name])
            for c in columns_of(connection, table)
            if (name := old_names.get(f"{folded(table)}.{folded(c)}", f".{folded(c)}").rpartition(".")[2]) in old
        ]
        if not pairs:
            continue
        text = parse_create_table(read_schema(connection).table(table).sql)
        rowid = None if text.without_rowid else rowid_name(columns_of(connection, table))
        rowid = rowid and rowid_name([*columns_of(was, table), *columns_of(connection, table)])
        listed = [*([rowid] if rowid else []), *(quote(new) for new, _ in pairs)]
        taken = [*([rowid] if rowid else []), *(quote(name) for _, name in pairs)]
        for row in was.execute(f"SELECT {', '.join(taken)} FROM {quote(table)} NOT INDEXED").fetchall():
            marks = ", ".join("?" * len(row))
            connection.execute(f"INSERT INTO {quote(table)} ({', '.join(listed)}) VALUES ({marks})", row)
    return connection
