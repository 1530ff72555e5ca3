"""A database's first table migrated forth and back in every way, while its application writes."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from string import ascii_letters

from migrator.ddl import folded, quote
from migrator.migration import Change, Migration
from migrator.schema import read_schema
from tests.unit.going_online import LEDGER, Steady, applied, cleaned, in_one, online
from tests.unit.migrating import cells, migration
from tests.unit.rebuilds.case import ENFORCED

OTHER_CASE = str.maketrans(ascii_letters, ascii_letters.swapcase())


def rebuilt(path: Path) -> Migration:
    """The table's column `gone` goes, `added` comes before all others.

    The migration says the least: of every column the name, once in another case, and the type, and of a computed one
    that it is computed.
    """
    with closing(sqlite3.connect(path)) as connection:
        table = _first_table(connection)
        query = "SELECT name, type, hidden FROM pragma_table_xinfo(?)"
        found = connection.execute(query, (table,)).fetchall()
    said = [(c, f"{type_}{' AS (NULL)' if hidden else ''}") for c, type_, hidden in found]
    before = ", ".join(f"{quote(c.translate(OTHER_CASE))} {what}" for c, what in said)
    after = ", ".join(["added INTEGER DEFAULT 3", *(f"{quote(c)} {what}" for c, what in said if folded(c) != "gone")])
    name = table.translate(OTHER_CASE)
    return migration(Change(name, *(f"CREATE TABLE {quote(name)} ({listed})" for listed in (before, after))))


def repaired(path: Path) -> Migration:
    """Of some rows `gone` has another value; the table stays."""
    with closing(sqlite3.connect(path)) as connection:
        table = _first_table(connection)
    return migration(Change(table.translate(OTHER_CASE), values={"GONE": "'missing'"}, where="gone IS NULL"))


def _first_table(connection: sqlite3.Connection) -> str:
    return str(connection.execute("SELECT name FROM sqlite_master ORDER BY rowid LIMIT 1").fetchone()[0])


def in_one_transaction(path: Path, change: Migration, writes: Sequence[str], reverse: bool) -> Iterator[Path]:
    applied(path, (ENFORCED, *writes))
    in_one(path, change, reverse=reverse)
    yield path


def gone_online(path: Path, change: Migration, writes: Sequence[str], reverse: bool) -> Iterator[Path]:
    """First as the swap leaves it, with what was the table beside it."""
    online(path, change, between=[ENFORCED, writes], last=writes, reverse=reverse, pace=Steady(1))
    yield path
    yield cleaned(path, change)


CHANGES = {"rebuilt": rebuilt, "rows only": repaired}
WAYS = {"in one transaction": in_one_transaction, "online": gone_online}


def forth_and_back(path: Path, changed: str, way: str, touched: bool = True) -> Iterator[Path]:
    """The database after each step of the migration and of the way back, which gives every row back.

    Where it may be `touched` the application writes every row meanwhile, in a column that nobody asks for.
    """
    change, before = CHANGES[changed](path), rows(path)
    for reverse in (False, True):
        unseen = "added" if reverse and change.changes[0].after else "gone"
        update = f"UPDATE {quote(change.changes[0].table)} SET {unseen} = {unseen}"
        yield from WAYS[way](path, change, [update] if touched else [], reverse)
    assert rows(path) == before


def rows(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Those of every table but the ledger, with their rowids and types."""
    with closing(sqlite3.connect(path)) as connection:
        tables = [name for name in read_schema(connection).tables if name not in LEDGER]
        return {table: cells(connection, table) for table in tables}
