"""A database that has the schema of a version although this tool never migrated it: only its ledger is to be written.

Whatever the pending migrations declare is compared with what is there: first the schema and, on the backup, the rows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from migrator.ddl import TableText, canonical, folded
from migrator.declared import indexes_after
from migrator.errors import RefusedError
from migrator.migration import UNMAPPED, Answers, Change, Migration
from migrator.plan import Adopted, Plan, State
from migrator.planning import make_plan
from migrator.schema import Schema, index_name

BASELINE = "baseline"
"""The switch among a migration's answers that says, in the ledger too: it was there already."""

_WAY_OUT = "migrate without --baseline"
_BY_HAND = "mend by hand what differs, then give --baseline again"


def plan_adoption(migrations: Sequence[Migration], state: State, answers: Mapping[int, Answers]) -> Plan:
    """The plan that changes no table, after which the ledger says that `migrations` were applied.

    Raises RefusedError with every difference between the schema that they lead to and the one that is there; the way
    out is the newest version whose schema is there or, without one, a migration where that would not be refused.
    """
    kept = sorted(name for m in migrations for name in m.own_tables & state.own.keys())
    if kept:
        raise RefusedError(f"table {kept[0]} keeps values for the next migration forward", _WAY_OUT)
    tables, differences = _compared(migrations, state, answers)
    there = [m.version for n, m in enumerate(migrations[:-1], 1) if not _compared(migrations[:n], state, answers)[1]]
    otherwise = _WAY_OUT if _can_be_migrated(migrations, state, answers) else _BY_HAND

    def way_out(before: int) -> str:
        older = [version for version in there if version < before]
        return f"adopt what is there with --baseline --to {max(older):04d}, then {_WAY_OUT}" if older else otherwise

    if differences:
        version = max(m.version for m in migrations)
        fault = f"the database has not the schema of version {version:04d}: {'; '.join(differences)}"
        raise RefusedError(fault, way_out(version))
    adopted = (Adopted(table, m.label, differing, way_out(m.version)) for m, table, differing in tables)
    return Plan(tuple(migrations), False, answers, (), state, tuple(adopted))


def _compared(
    migrations: Sequence[Migration], state: State, answers: Mapping[int, Answers]
) -> tuple[list[tuple[Migration, str, str]], list[str]]:
    """The tables that `migrations` lead to, each with the query that counts its differing rows, and in what the schema
    is not so."""
    differences: list[str] = []
    absent: list[str] = []
    tables: list[tuple[Migration, str, str]] = []
    for migration, change in _lasting(migrations):
        if change.table_goes:
            if state.schema.table(change.table) is not None:
                differences.append(f"table {change.table} is there, which migration {migration.label} takes away")
            continue
        alone = replace(migration, changes=(replace(change, indexes=(), drops=()),))
        try:
            (table,) = make_plan([alone], state, answers).tables
        except RefusedError as error:
            differences.append(error.fault)
            continue
        present = state.schema.text(table.table)
        if present is None or table.target is None or table.projection is None:
            absent.append(table.table)
            continue
        differences += _differences(table.target, present)
        differing = table.projection.differing_from(table.table, UNMAPPED, "false" if change.only_indexes else "")
        tables.append((migration, table.table, differing))
    if absent:
        one = len(absent) == 1
        differences.append(f"table{'s' * (not one)} {', '.join(absent)} {'does' if one else 'do'} not exist")
    return tables, [*differences, *_index_differences(migrations, state.schema)]


def _can_be_migrated(migrations: Sequence[Migration], state: State, answers: Mapping[int, Answers]) -> bool:
    try:
        make_plan(migrations, state, answers)
    except RefusedError:
        return False
    return True


def refuse_other_rows(connection: sqlite3.Connection, adopted: Adopted) -> None:
    """Raises RefusedError where a row is not what the migration would make of it."""
    differing = int(connection.execute(adopted.differing).fetchone()[0])
    if differing:
        raise RefusedError(
            f"{differing} rows of {adopted.table} are not as migration {adopted.label} would leave them",
            adopted.way_out,
        )


def _lasting(migrations: Sequence[Migration]) -> Iterator[tuple[Migration, Change]]:
    """The changes whose table has their form at the end: the last that gives it one, and those of rows after that."""
    changes = [(m, c) for m in migrations for c in m.changes]
    for place, (migration, change) in enumerate(changes):
        later = (c for _, c in changes[place + 1 :] if folded(c.table) == folded(change.table))
        if not any(c.declares_form for c in later):
            yield migration, change


def _differences(declared: TableText, present: TableText) -> Iterator[str]:
    """What of the declared table is not so in the one that is there; constraints that it has besides do not count."""
    table = present.name
    if [*map(folded, declared.columns)] != [*map(folded, present.columns)]:
        lacks = [c for c in declared.columns if present.definition(c) is None]
        has = [c for c in present.columns if declared.definition(c) is None]
        said = [f"{verb} {', '.join(columns)}" for verb, columns in (("lacks", lacks), ("has also", has)) if columns]
        order = f"has the columns in the order {', '.join(present.columns)}, declared {', '.join(declared.columns)}"
        yield f"table {table} {' and '.join(said) or order}"
        return
    for column in declared.columns:
        wanted, found = declared.definition(column), present.definition(column)
        if wanted is not None and found is not None and wanted.canonical != found.canonical:
            yield f"column {column} of {table} is {found.text.strip()!r}, declared {wanted.text.strip()!r}"
    there = {d.canonical for d in present.constraints}
    yield from (f"table {table} lacks {d.text.strip()!r}" for d in declared.constraints if d.canonical not in there)
    if canonical(declared.suffix) != canonical(present.suffix):
        yield f"table {table} ends with {present.suffix.strip()!r}, declared {declared.suffix.strip()!r}"


def _index_differences(migrations: Sequence[Migration], schema: Schema) -> Iterator[str]:
    changes = [change for m in migrations for change in m.changes]
    missing: list[str] = []
    for table in dict.fromkeys(folded(change.table) for change in changes):
        mine = [change for change in changes if folded(change.table) == table]
        standing = indexes_after(mine)
        for sql in standing:
            found = schema.named(index_name(sql))
            if found is None:
                missing.append(index_name(sql))
            elif canonical(found.sql) != canonical(sql):
                yield f"{found.kind} {found.name} is {found.sql!r}, declared {sql!r}"
        dropped = {canonical(sql) for change in mine for sql in change.drops} - {canonical(sql) for sql in standing}
        for found in schema.on_table(table, "index"):
            if canonical(found.sql) in dropped:
                yield f"index {found.name} is there, which a migration drops"
    if missing:
        one = len(missing) == 1
        yield f"index{'es' * (not one)} {', '.join(missing)} {'is' if one else 'are'} missing"
