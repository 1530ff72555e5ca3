"""Where a database is not what its ledger and the declarations of its migrations say. Looks at the schema alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from migrator.application import Application
from migrator.check.promotions import Ledger
from migrator.check.recorded import Left, Recorded, recorded
from migrator.ddl import DdlError, canonical, folded, parse_create_table
from migrator.declared import NO_COLUMN, Declared, declared_tables, differences, one_line
from migrator.findings import Finding
from migrator.schema import Schema, SchemaObject, index_name

_UNDO = "undo the change, or declare it in a new migration"


@dataclass(frozen=True)
class Drift:
    """`what` (a column, an index, ..., of `table` where it is on one) is `now` one thing and should be another.

    `code` is stable and machine-readable; the rest is for people. `expected` is empty where nothing should be there.
    """

    code: str
    table: str
    what: str
    now: str
    expected: str
    way_out: str

    def __str__(self) -> str:
        where = f"{self.what} of {self.table}" if self.table else self.what
        return f"{where}: {self.now}{f', expected {self.expected}' if self.expected else ''}; {self.way_out}"


def ledger_drift(application: Application, ledger: Ledger) -> Iterator[Drift]:
    """Where the ledger and the migrations of this program contradict each other."""
    for label in sorted(ledger.labels - {m.label for m in application.migrations}):
        way_out = "update this program"
        yield Drift("unknown_migration", "", f"migration {label}", "applied, and unknown to this program", "", way_out)
    applied = [m for m in application.migrations if m.label in ledger.labels]
    versions = [m.version for m in applied]
    if versions != list(range(1, len(versions) + 1)):
        listed = ", ".join(f"{v:04d}" for v in versions)
        yield Drift("ledger_gap", "", "the ledger", f"has versions {listed}", "no gaps", "repair _sqlite_migrations")
    for migration in applied:
        made = ledger.standing(migration.version)
        if made is not None and made.checksum != migration.checksum:
            yield Drift(
                "edited_migration", "", f"migration {migration.label}",
                f"declared with checksum {migration.checksum}", f"{made.checksum}, with which it was applied",
                "undo the edit and put the change into a new migration",
            )  # fmt: skip


def ledger_findings(application: Application, ledger: Ledger) -> Iterator[Finding]:
    """What the ledger does not know, though it may be right."""
    for migration in application.migrations:
        if migration.label in ledger.labels and ledger.standing(migration.version) is None:
            message = f"{migration.label} is applied, but the ledger keeps neither its checksum nor its schema"
            yield Finding("no_history", message)


def schema_drift(
    application: Application, schema: Schema, ledger: Ledger, version: int, refused: bool = False
) -> tuple[tuple[Drift, ...], tuple[Finding, ...]]:
    """Compares every migrated table with what the ledger recorded, else with what its migration declares at `version`.

    An object that the application added is a finding. `refused`: a migration does not take the tables as they are.
    """
    known = recorded(application.migrations, ledger)
    now: dict[str, str] = json.loads(schema.fingerprints_of(known.tables))
    declared = declared_tables(application.migrations, version)
    drift = [*_against_ledger(schema, now, declared, known)]
    ahead = None if known.tables else _later_version(application, schema, version)
    if ahead is not None:
        drift.append(_without_ledger(ahead, ledger, version, refused))
    else:
        for table in (d for d in declared if folded(d.table) not in known.tables):
            drift.extend(_against_declaration(application, schema, table, version, refused))
    added = sorted(now.keys() - known.objects.keys())
    return tuple(drift), tuple(Finding("added_since", f"the application made {name}") for name in added)


def _against_ledger(
    schema: Schema, now: Mapping[str, str], declared: Sequence[Declared], known: Recorded
) -> Iterator[Drift]:
    there = {f"{o.kind} {folded(o.name)}": o for o in schema.objects}
    for name, left in sorted(known.objects.items(), key=lambda item: (not item[0].startswith("table "), item[0])):
        if now.get(name) == left.fingerprint:
            continue
        found = there.get(name)
        kind, _, plain = name.partition(" ")
        owner = next((d for d in declared if kind == "index" and d.index(plain) is not None), None)
        if owner is not None:
            # With its table every index has gone.
            if schema.table(owner.table) is not None:
                yield from _index_drift(owner, str(owner.index(plain)), found)
        elif found is None:
            code = "table_missing" if kind == "table" else "object_missing"
            yield Drift(code, "", name, "missing", f"as run {left.run_id} left it", f"make it again; {_before(left)}")
        else:
            table = next((d for d in declared if kind == "table" and folded(d.table) == plain), None)
            told = [] if table is None else [*_table_drift(found, table)]
            yield from told or [_changed(found, left)]


def _changed(found: SchemaObject, left: Left) -> Drift:
    on = "" if found.kind in ("table", "view") else found.table
    expected = f"as run {left.run_id} left it"
    way_out = f"{_UNDO}; {_before(left)}"
    return Drift("object_changed", on, f"{found.kind} {found.name}", one_line(found.sql), expected, way_out)


def _before(left: Left) -> str:
    return f"the state before that run is in {left.backup}" if left.backup else "the ledger names no backup"


def _index_drift(owner: Declared, sql: str, found: SchemaObject | None) -> Iterator[Drift]:
    name = index_name(sql)
    if found is None:
        yield Drift("index_missing", owner.table, f"index {name}", "missing", one_line(sql), "make it again")
    elif canonical(found.sql) != canonical(sql):
        way_out = f"drop {found.kind} {found.name}, and make the index again"
        yield Drift("index_changed", owner.table, f"index {name}", one_line(found.sql), one_line(sql), way_out)


def _table_drift(found: SchemaObject, table: Declared) -> Iterator[Drift]:
    try:
        text = Schema((found,)).text(found.name)
        for difference in differences(text, table) if text is not None else ():
            column = difference.what.startswith("column ")
            code = "column_changed" if column else "table_changed"
            yield Drift(code, table.table, difference.what, difference.now, difference.expected, _UNDO)
    except DdlError as error:
        yield Drift("table_not_understood", "", f"table {table.table}", error.fault, "", _UNDO)


def _later_version(application: Application, schema: Schema, version: int) -> int | None:
    """The first version after `version` whose schema the database has, where it has not that of `version`."""
    versions = range(version, len(application.migrations) + 1)
    first = next((v for v in versions if _has_schema(application, schema, v)), version)
    return None if first == version else first


def _has_schema(application: Application, schema: Schema, version: int) -> bool:
    return all(_is_as_declared(schema, table) for table in declared_tables(application.migrations, version))


def _is_as_declared(schema: Schema, table: Declared) -> bool:
    found = schema.table(table.table)
    if found is None or table.text is None:
        return (found is None) == (table.text is None)
    indexes = ((schema.named(index_name(sql)), sql) for sql in table.indexes)
    there = all(index is not None and canonical(index.sql) == canonical(sql) for index, sql in indexes)
    return there and not [*_table_drift(found, table)]


def _without_ledger(ahead: int, ledger: Ledger, version: int, refused: bool) -> Drift:
    says = f"its ledger says {version:04d}" if ledger.labels else "no ledger"
    now = f"has the schema of version {ahead:04d} but {says}"
    return Drift("no_ledger", "", "the database", now, "", _takes_it(refused))


def _takes_it(refused: bool) -> str:
    return "the plan says why a migration refuses it" if refused else "a migration takes the tables as they are"


def _against_declaration(
    application: Application, schema: Schema, table: Declared, version: int, refused: bool
) -> Iterator[Drift]:
    found = schema.table(table.table)
    if found is None:
        if table.text is not None:
            way_out = "name the application's database with --database, or start the application once"
            yield Drift("table_missing", "", f"table {table.table}", "missing", f"that of {version:04d}", way_out)
        return
    way_out = _takes_it(refused)
    if table.text is None:
        yield Drift("half_altered", "", f"table {found.name}", "there before its migration", "none yet", way_out)
        return
    told = [*_table_drift(found, table)]
    later = _later_columns(application, table.table, version)
    early = {d.what: d for d in told if folded(d.what.removeprefix("column ")) in later and d.expected == NO_COLUMN}
    if early:
        names = ", ".join(what.removeprefix("column ") for what in early)
        now = f"has {names} of a later version: half of a migration"
        yield Drift("half_altered", "", f"table {table.table}", now, f"that of version {version:04d}", way_out)
    yield from (replace(d, way_out=way_out) for d in told if d.what not in early)
    for sql in table.indexes:
        yield from _index_drift(table, sql, schema.named(index_name(sql)))


def _later_columns(application: Application, table: str, version: int) -> frozenset[str]:
    """The columns, folded, that migrations after `version` declare for `table`."""
    changes = (c for m in application.migrations if m.version > version for c in m.changes)
    texts = [c.after for c in changes if c.after is not None and folded(c.table) == folded(table)]
    return frozenset(folded(column) for text in texts for column in parse_create_table(text).columns)
