"""What a database's schema says: read once, compared by meaning, never by layout."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from sqlite_utils import Database

from migrator.ddl import DdlError, TableText, canonical, folded, parse_create_table, quote, tokens, unquoted, words
from migrator.errors import RefusedError

OWN_PREFIX = "_mig_"
"""Shadow tables and whatever else this tool leaves in a database only while a run lasts."""
_VALUES = frozenset({"null", "true", "false", "current_date", "current_time", "current_timestamp"})
"""Words that are a value by themselves."""


@dataclass(frozen=True)
class SchemaObject:
    """One row of sqlite_master with a statement: `kind` is table, index, view or trigger, `table` what it is on."""

    kind: str
    name: str
    table: str
    sql: str

    @property
    def canonical(self) -> tuple[str, str, str, str]:
        return (self.kind, folded(self.name), folded(self.table), canonical(self.sql))


@dataclass(frozen=True)
class Column:
    """A column as SQLite reports it: declared type, and what it stores of its DEFAULT, as a literal in parentheses.

    None: no default, or one that is another value each time, which gives none to a row that is there.
    """

    name: str
    type: str
    default: str | None

    @property
    def holds_no_number(self) -> bool:
        """Whether its affinity is TEXT, which stores a number as text (sqlite.org/datatype3.html, section 3.1)."""
        type_ = self.type.upper()
        return "INT" not in type_ and any(part in type_ for part in ("CHAR", "CLOB", "TEXT"))


@dataclass(frozen=True)
class Unique:
    """What no two rows of `table` for which `where` holds ("": of all) may have alike: `terms`, SQL over a row.

    `name` is what people call that; `index` the index that a statement makes for it, "" for a constraint of the table.
    """

    table: str
    name: str
    terms: tuple[str, ...]
    where: str = ""
    index: str = ""


@dataclass(frozen=True)
class Shape:
    """What a CREATE TABLE text means: its stored columns in order, what identifies a row for good, what must be unique.

    `key` is the rowid's alias, else ("rowid",), else the primary key of a WITHOUT ROWID table. `generated` are the
    columns that SQLite computes.
    """

    columns: tuple[Column, ...]
    generated: tuple[str, ...]
    key: tuple[str, ...]
    not_null: tuple[str, ...]
    unique: tuple[tuple[str, ...], ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.columns)

    def unique_of(self, table: str) -> tuple[Unique, ...]:
        return tuple(Unique(table, " and ".join(columns), tuple(map(quote, columns))) for columns in self.unique)

    def column(self, name: str) -> Column | None:
        return next((c for c in self.columns if folded(c.name) == folded(name)), None)


@dataclass(frozen=True)
class Schema:
    """Every object that an application or a user made, in the order of creation, without this tool's own."""

    objects: tuple[SchemaObject, ...]

    def table(self, name: str) -> SchemaObject | None:
        wanted = folded(name)
        return next((o for o in self.objects if o.kind == "table" and folded(o.name) == wanted), None)

    def text(self, name: str) -> TableText | None:
        """The split CREATE TABLE of `name`; None where there is no such table. Raises DdlError for a virtual one."""
        found = self.table(name)
        return None if found is None else parse_create_table(found.sql)

    def on_table(self, name: str, *kinds: str) -> tuple[SchemaObject, ...]:
        """The indexes and triggers on table `name`, of the `kinds` asked for."""
        wanted = folded(name)
        return tuple(o for o in self.objects if o.kind in kinds and folded(o.table) == wanted)

    def named(self, name: str) -> SchemaObject | None:
        wanted = folded(name)
        return next((o for o in self.objects if folded(o.name) == wanted), None)

    def naming(self, tables: Iterable[str]) -> frozenset[tuple[str, str, str, str]]:
        """The migrated tables and everything that names them: indexes, triggers, views, child tables."""
        wanted = {folded(t) for t in tables}
        return frozenset(o.canonical for o in self.objects if folded(o.table) in wanted or wanted & set(words(o.sql)))

    def fingerprints_of(self, tables: Iterable[str]) -> str:
        """A JSON object with a SHA-256 for each object of `naming`: what a promotion of `tables` leaves."""
        found = {f"{o[0]} {o[1]}": hashlib.sha256(repr(o).encode()).hexdigest() for o in self.naming(tables)}
        return json.dumps(found, sort_keys=True)

    @property
    def tables(self) -> tuple[str, ...]:
        """Ordinary tables, shadow tables of virtual ones included, virtual ones not."""
        return tuple(o.name for o in self.objects if o.kind == "table" and not is_virtual(o.sql))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the objects: equal = the same schema to SQLite, whatever the layout, case and quotes of names."""
        return hashlib.sha256(repr(sorted(o.canonical for o in self.objects)).encode()).hexdigest()

    def without(self, names: Iterable[str]) -> Schema:
        """The schema less the named tables and what is on them."""
        gone = {folded(n) for n in names}
        return Schema(tuple(o for o in self.objects if folded(o.table) not in gone))


def read_schema(connection: sqlite3.Connection, own: Iterable[str] = ()) -> Schema:
    """The schema now, without SQLite's internal objects and without this tool's (`own` tables, `_mig_` names)."""
    rows = connection.execute(
        "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid"
    )
    found = [SchemaObject(*row) for row in rows]
    odd = [o for o in found if not all(isinstance(part, str) and "\x00" not in part for part in vars(o).values())]
    if odd:
        raise RefusedError(
            f"the schema has an object that is no text SQLite wrote: {odd[0].name!r}", "drop it with the sqlite3 shell"
        )
    return Schema(tuple(o for o in found if not (_is_internal(o.name) or _is_internal(o.table)))).without(own)


def _is_internal(name: str) -> bool:
    return folded(name).startswith(("sqlite_", OWN_PREFIX))


def own_objects(connection: sqlite3.Connection) -> dict[str, str]:
    """What this tool has in the database only while a run lasts: shadow tables, logs, triggers; the text by name."""
    query = "SELECT name, sql FROM sqlite_master WHERE lower(substr(name, 1, 5)) = ? AND sql IS NOT NULL"
    return dict(connection.execute(query, (OWN_PREFIX,)).fetchall())


def shape_of(text: TableText) -> Shape:
    """What SQLite makes of a CREATE TABLE text, asked of an empty table in memory; DdlError where it refuses it."""
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute(text.sql)
        # The library's columns come without the generated ones.
        rows = connection.execute(f"PRAGMA table_xinfo({quote(text.name)})").fetchall()
        indexes = Database(connection, recursive_triggers=False, execute_plugins=False).table(text.name).indexes
    except sqlite3.Error as error:
        raise DdlError(f"SQLite refuses the definition of table {text.name}: {error}") from error
    finally:
        connection.close()
    primary = [name for _, name, _, _, _, position, _ in sorted(rows, key=lambda row: row[5]) if position]
    strict = "strict" in words(text.suffix)
    stored = [(name, type_, default) for _, name, type_, _, default, _, hidden in rows if not hidden]
    return Shape(
        columns=tuple(
            Column(name, type_, default and _stored(type_, default, strict)) for name, type_, default in stored
        ),
        generated=tuple(name for _, name, _, _, _, _, hidden in rows if hidden),
        key=_key(text, primary, has_index="pk" in {i.origin for i in indexes}),
        not_null=tuple(name for _, name, _, not_null, _, _, hidden in rows if not_null and not hidden),
        unique=tuple(tuple(i.columns) for i in indexes if i.unique),
    )


def _stored(type_: str, default: str, strict: bool) -> str | None:
    """What a column of `type_` stores of its `default`; None where that is not the same each time, or refused."""
    suffix = " STRICT" if strict else ""
    found = list(tokens(default))
    # A name, in quotes or not, is a string only without parentheses, and then it is constant.
    is_text = len(found) == 1 and found[0].name is not None and found[0].keyword not in _VALUES
    # SQLite computes no column of what is another value each time.
    computed = "" if is_text else f", d ANY AS ({default})"
    written = default if is_text else f"({default})"
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        connection.execute(f"CREATE TABLE t (k INTEGER PRIMARY KEY, c {type_} DEFAULT {written}{computed}){suffix}")
        connection.execute("INSERT INTO t DEFAULT VALUES")
        return f"({connection.execute('SELECT quote(c), * FROM t').fetchone()[0]})"
    except sqlite3.Error:
        return None
    finally:
        connection.close()


def rowid_name(columns: Iterable[str]) -> str | None:
    """The name by which the rowid of a table with `columns` can be read; None where they take all three."""
    taken = {folded(c) for c in columns}
    return next((name for name in ("rowid", "_rowid_", "oid") if name not in taken), None)


def columns_of(connection: sqlite3.Connection, table: str) -> tuple[str, ...]:
    """The names of the columns of `table`, found without regard to case, in their order; empty where there is none."""
    # The library's own look-up takes the spelling for part of the name, which SQLite does not.
    return tuple(name for (name,) in connection.execute("SELECT name FROM pragma_table_info(?)", (table,)))


def index_name(sql: str) -> str:
    """The name in a CREATE INDEX statement."""
    found = list(tokens(sql))
    on = next(i for i, token in enumerate(found) if token.keyword == "on")
    return found[on - 1].name or unquoted(found[on - 1].text)


def index_table(sql: str) -> str | None:
    """The table in a CREATE INDEX statement; None where it is another statement."""
    found = list(tokens(sql))
    on = next((i for i, token in enumerate(found) if token.keyword == "on"), len(found))
    if not is_index(sql) or len(found) < on + 2:
        return None
    return found[on + 1].name or unquoted(found[on + 1].text)


def is_index(sql: str) -> bool:
    """Whether a CREATE statement makes an index."""
    return "index" in [token.keyword for token in islice(tokens(sql), 3)]


def unique_index(sql: str) -> Unique | None:
    """What a CREATE INDEX statement keeps apart; None where it is not UNIQUE. sqlite.org/lang_createindex.html."""
    found = [token for token in tokens(sql) if token.text != ";"]
    if found[1].keyword != "unique":
        return None
    opening = next(i for i, token in enumerate(found) if token.text == "(")
    terms, first, depth, closing = list[str](), opening + 1, 0, opening
    for closing, token in enumerate(found[opening:], opening):
        depth += (token.text == "(") - (token.text == ")")
        if depth == 0 or (depth == 1 and token.text == ","):
            last = closing - (2 if found[closing - 1].keyword in ("asc", "desc") else 1)
            terms.append(sql[found[first].start : found[last].end])
            first = closing + 1
        if depth == 0:
            break
    # After it stands WHERE, or nothing.
    where = sql[found[closing + 2].start : found[-1].end] if found[closing + 1 :] else ""
    table = found[opening - 1].name or unquoted(found[opening - 1].text)
    return Unique(table, " and ".join(terms), tuple(terms), where, index_name(sql))


def is_virtual(sql: str) -> bool:
    """Whether a CREATE statement makes a virtual table."""
    return words(sql)[:2] == ("create", "virtual")


def _key(text: TableText, primary: list[str], has_index: bool) -> tuple[str, ...]:
    if text.without_rowid:
        return tuple(primary)
    # Every primary key but an alias of the rowid has an index (sqlite.org/lang_createtable.html#rowid).
    if primary and not has_index:
        return (primary[0],)
    rowid = rowid_name(text.columns)
    if rowid is None:
        raise DdlError(f"the columns of table {text.name} hide its rowid, so nothing identifies a row")
    return (rowid,)
