"""The candidate when all steps are done, held against the plan, the declaration and the backup: all but its rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Set
from pathlib import Path

from migrator import rebuild
from migrator.application import Application
from migrator.backup import Backup
from migrator.connect import Connection, opened, pragma
from migrator.content import difference, read_contents
from migrator.ddl import TableText, folded, parse_create_table, words
from migrator.declared import declared_tables, differences, one_line
from migrator.errors import RehearsalError
from migrator.plan import Plan
from migrator.preflight import read_state
from migrator.readings import broken_objects
from migrator.schema import Schema, columns_of, index_name, is_virtual, own_objects, read_schema

_HEADER_NUMBERS = ("user_version", "application_id")
"""What the file's header holds for the application to set."""


def compare_schema(candidate: Path, backup: Backup, plan: Plan) -> Schema:
    """Returns the candidate's schema, which is the planned and the declared one. Writes nothing.

    Every table that the migration does not name equals the backup's in content, AUTOINCREMENT mark and planner's
    statistics, every view and trigger that worked still compiles and names no column that is gone, and no foreign key
    leads to a table that is. Raises RehearsalError otherwise, which names what differs.
    """
    before = backup.live.state.schema
    # What the application's own connections compile has to compile here, virtual tables in triggers for one.
    with (
        opened(backup.path, read_only=True, trusts_schema=True) as original,
        opened(candidate, read_only=True, trusts_schema=True) as connection,
    ):
        _check_others(connection, backup, plan)
        schema = read_state(connection, backup.live.application).schema
        refuse_broken(original, before, connection, schema)
        faults = dict.fromkeys(
            (
                *_not_planned(plan.after.schema, schema),
                *(f"{name} is left over" for name in own_objects(connection)),
                *_not_declared(schema, backup.live.application, plan),
            )
        )
        if faults:
            raise RehearsalError(f"the candidate has not the schema to be: {', '.join(faults)}; live unchanged")
        raised = {folded(table.table) for table in plan.tables if table.mark}
        changed = [*_changed_beside(original, connection, before, plan.after.schema, raised)]
        if changed:
            raise RehearsalError(f"the migration changed {', '.join(changed)}; live unchanged")
    return schema


def refuse_broken(original: Connection, before: Schema, connection: Connection, schema: Schema) -> None:
    """Raises RehearsalError where a view or trigger that worked does not, or a foreign key leads to what is gone."""
    broken = [*broken_objects(original, before, connection, schema), *orphaned(connection, before, schema)]
    if broken:
        raise RehearsalError(
            f"the migrated schema breaks {', '.join(sorted(broken))}; live unchanged",
            "change or drop them before the migration",
        )


def orphaned(connection: sqlite3.Connection, before: Schema, schema: Schema) -> Iterator[str]:
    """The tables with a foreign key to one that goes: where the application enforces it, their writes would fail."""
    for table in schema.tables:
        parents = connection.execute('SELECT DISTINCT "table" FROM pragma_foreign_key_list(?)', (table,))
        for (parent,) in parents.fetchall():
            if before.table(parent) is not None and schema.table(parent) is None:
                yield f"table {table} (its foreign key leads to {parent}, which is gone)"


def _check_others(connection: sqlite3.Connection, backup: Backup, plan: Plan) -> None:
    """Raises RehearsalError where a table whose rows the migration does not name holds something else, or is gone."""
    written = [p for p in plan.tables if p.kind != "indexes"]
    named = {folded(name) for p in written for name in (p.table, p.reads, p.writes) if name}
    others = {t: content for t, content in backup.contents.items() if folded(t) not in named and t != "sqlite_sequence"}
    schema = read_schema(connection)
    differing = difference(others, read_contents(connection, schema, [t for t in others if schema.table(t)]))
    if differing:
        raise RehearsalError(
            f"the migration changed tables whose rows it does not name: {', '.join(differing)}; live unchanged"
        )


def _changed_beside(
    original: sqlite3.Connection, connection: sqlite3.Connection, before: Schema, after: Schema, raised: Set[str]
) -> Iterator[str]:
    """What SQLite keeps beside the rows and the schema, and an application's program may rest on.

    The marks of the tables `raised` (folded) may only be higher.
    """
    for found in (after.table(table) for table in before.tables):
        if found is None:
            continue
        if "autoincrement" in words(found.sql):
            was, now = _marks(original, found.name), _marks(connection, found.name)
            if now != was and not (folded(found.name) in raised and max(now, default=0) > max(was, default=0)):
                yield f"the AUTOINCREMENT mark of {found.name}"
        staying = {o.canonical for o in before.on_table(found.name, "index")}
        about = {None, found.name, *(o.name for o in after.objects if o.canonical in staying)}
        if _statistics(original, found.name, about) != _statistics(connection, found.name, about):
            yield f"the planner's statistics of {found.name}"
    yield from (f"PRAGMA {name}" for name in _HEADER_NUMBERS if pragma(original, name) != pragma(connection, name))


def _marks(connection: sqlite3.Connection, table: str) -> list[int]:
    if not columns_of(connection, "sqlite_sequence"):
        return []
    marks = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = ? ORDER BY seq", (table,))
    return [seq for (seq,) in marks]


def _statistics(connection: sqlite3.Connection, table: str, about: Set[str | None]) -> list[object]:
    found = rebuild.statistics(connection, table)
    return [(name, row) for name, rows in found for row in sorted(rows, key=repr) if row[1] in about]


def _not_planned(planned: Schema, found: Schema) -> Iterator[str]:
    wanted, there = ({(o.kind, folded(o.name)): o for o in schema.objects} for schema in (planned, found))
    for kind, name in sorted(wanted.keys() | there.keys()):
        one, other = wanted.get((kind, name)), there.get((kind, name))
        if other is None:
            yield f"{kind} {name if one is None else one.name} is missing"
        elif one is None:
            yield f"{kind} {other.name} was not planned"
        elif one.canonical != other.canonical:
            is_text = kind == "table" and not is_virtual(other.sql)
            how = _parts_that_differ(*map(parse_create_table, (one.sql, other.sql))) if is_text else ""
            yield f"{kind} {other.name} is not as planned{how}"


def _parts_that_differ(planned: TableText, found: TableText) -> str:
    wanted, there = ({d.canonical: one_line(d.text) for d in text.definitions} for text in (planned, found))
    lacks, has = [wanted[c] for c in wanted if c not in there], [there[c] for c in there if c not in wanted]
    parts = [f"{verb} {', '.join(texts)}" for verb, texts in (("lacks", lacks), ("has", has)) if texts]
    if not parts and planned.columns != found.columns:
        parts = [f"has the order {', '.join(found.columns)}"]
    return f": it {' and '.join(parts)}" if parts else ""


def _not_declared(found: Schema, application: Application, plan: Plan) -> Iterator[str]:
    """What a declaration says and the table has not: the plan is made of more than that, and may have lost it."""
    touched = {folded(table) for table in plan.touched}
    for declared in declared_tables(application.migrations, plan.to_version):
        now = found.text(declared.table)
        if now is None or folded(declared.table) not in touched:
            continue
        for other in differences(now, declared):
            # What an operator wrote after the table's last parenthesis stays.
            if other.what != "suffix":
                yield f"{other.what} of table {now.name} is {other.now}, expected {other.expected}"
        yield from (f"index {name} is missing" for name in map(index_name, declared.indexes) if not found.named(name))
