"""The application's source against the database's schema, as it is and as it will be."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from migrator.ddl import canonical, folded
from migrator.schema import Schema
from migrator.source.compiling import Compiler
from migrator.source.findings import Judged, Level, Side, SourceFinding
from migrator.source.holes import Verdict
from migrator.source.kinds import NAMES_NOTHING, alteration, first_word
from migrator.source.memory import Memory, made_name
from migrator.source.statements import FoundStatement, NotChecked, find_statements, sql_of
from migrator.source.tables import CreatedTable, SourceTable, created_tables, recreated, source_tables
from migrator.source.tree import Skipped

_MAKES = re.compile(r"CREATE\s+(?:TEMP\s+|TEMPORARY\s+|VIRTUAL\s+|UNIQUE\s+)?(TABLE|VIEW|INDEX)\b", re.IGNORECASE)
_MADE_ORDER = ("TABLE", "VIEW", "INDEX")
MADE_TWICE, MADE_OTHERWISE = "table-made-twice", "table-made-otherwise"
DIFFERS, OLD_SCHEMA = "table-differs", "old-schema"
_OTHER_FORMS = frozenset({MADE_OTHERWISE, DIFFERS, OLD_SCHEMA})


@dataclass(frozen=True)
class SourceCheck:
    """What the source of an application says of its database.

    `compiled` of the `statements` compile on every side; `assumed` do so with some table, and only a run knows which it
    is; `unconcerned` are those that name no table (PRAGMA, ATTACH).
    `tables` are those that the source makes, `created` the statements that make them.
    """

    folder: Path
    files: int
    statements: int
    compiled: int
    assumed: int
    unconcerned: int
    findings: tuple[SourceFinding, ...]
    not_checked: tuple[NotChecked, ...]
    skipped: tuple[Skipped, ...]
    tables: tuple[SourceTable, ...]
    created: tuple[CreatedTable, ...] = field(repr=False)

    @property
    def errors(self) -> tuple[SourceFinding, ...]:
        """The findings that fail when they are run."""
        return tuple(f for f in self.findings if f.level == "error")

    @property
    def unread(self) -> tuple[Skipped, ...]:
        """What should have been read and could not: nothing is known of the SQL in it."""
        return tuple(s for s in self.skipped if s.is_fault)

    @property
    def mismatches(self) -> tuple[SourceFinding, ...]:
        """What fails with the schema as it will be, and every table that is made in another form: what must change.

        Nothing that the pending migration mends, nothing that only looks like SQL, and no table that is merely made
        twice in one form.
        """
        return tuple(f for f in self.findings if not f.is_mended and (f.level == "error" or f.code in _OTHER_FORMS))


def check_source(
    folder: Path,
    now: Schema,
    planned: Schema | None = None,
    own_tables: Collection[str] = (),
    migrated_tables: Collection[str] = (),
    exclude: Collection[str] = (),
) -> SourceCheck:
    """Compiles every SQL statement of the source below `folder` against both schemas; none is run, there is no row.

    `planned` is the schema after what is pending, None where nothing is. `own_tables` are this tool's,
    `migrated_tables` those that a migration in force has changed. A table that the source itself makes and the schema
    lacks counts as there. `exclude` are patterns of what is not read, as in `read_tree`. Raises RefusedError where
    `folder` is none or holds no Python source.
    """
    found = find_statements(folder, exclude)
    schemas: dict[Side, Schema] = {"now": now} if planned is None else {"before": now, "after": planned}
    concerned = [s for s in found.statements if first_word(s) not in NAMES_NOTHING]
    judged = Judged(found.files, _verdicts(concerned, schemas, own_tables))
    created = created_tables(found.statements)
    tables = source_tables(created)
    settled = [each for each in created if each.altered_at is None]
    differing = _differing(settled, schemas, {folded(name) for name in migrated_tables})
    findings = [*judged.findings(), *_duplicates(tables), *differing]
    unknown = (
        NotChecked(c.place, f"CREATE TABLE {c.text.name}", f"it is not compared, because {c.altered_at} alters it")
        for c in created
        if c.altered_at is not None and any(schema.table(c.text.name) for schema in schemas.values())
    )
    return SourceCheck(
        folder, len(found.files), len(found.statements), judged.compiled, judged.assumed,
        len(found.statements) - len(concerned),
        tuple(sorted(findings, key=lambda f: (f.place, f.code, f.message))),
        tuple(sorted({*found.not_checked, *judged.not_checked(), *unknown}, key=lambda n: (n.place, n.shown, n.why))),
        found.skipped, tables, created,
    )  # fmt: skip


def _verdicts(
    statements: Sequence[FoundStatement], schemas: Mapping[Side, Schema], own_tables: Collection[str]
) -> dict[FoundStatement, dict[Side, Verdict]]:
    made = [(s.text, found[1].upper()) for s in statements if s.is_run and (found := _MAKES.match(sql_of(s.text)))]
    whole = [text.plain or "" for text, _ in sorted(made, key=lambda m: _MADE_ORDER.index(m[1])) if not text.holes]
    half_known = [made_name(sql_of(text)) for text, _ in made if text.holes]
    makes = {folded(made_name(sql_of(text))) for text, _ in made}
    for altered in filter(None, (alteration(s) for s in statements if s.is_run)):
        # What nobody makes cannot be altered either: a fault of the ALTER TABLE.
        half_known += [name for name in (altered.table,) if folded(name) in makes]
        half_known += [name for name in (altered.renamed,) if name]
    compilers = {side: Compiler(Memory(schema, whole, half_known), own_tables) for side, schema in schemas.items()}
    known: frozenset[str] = frozenset().union(*(c.memory.columns for c in compilers.values()))
    try:
        return {s: {side: c.judged(s, known) for side, c in compilers.items()} for s in statements}
    finally:
        for compiler in compilers.values():
            compiler.close()


def _duplicates(tables: Iterable[SourceTable]) -> Iterator[SourceFinding]:
    for table in tables:
        first, *others = table.places
        differing = dict(table.differences)
        for place in others:
            owner = f"{table.owner} should be the only file to make it"
            if place in differing:
                what = ", ".join(differing[place])
                message = f"CREATE TABLE {table.name} is not that of {first}: it {what}; {owner}"
                yield SourceFinding(MADE_OTHERWISE, "warning", place, message)
            else:
                message = f"CREATE TABLE {table.name} stands at {first} as well; {owner}"
                yield SourceFinding(MADE_TWICE, "warning", place, message)


def _differing(
    created: Collection[CreatedTable], schemas: Mapping[Side, Schema], migrated: Collection[str]
) -> Iterator[SourceFinding]:
    """Where the source would make another table on a new file than the database has, or is to have."""
    differing = {side: dict(recreated(created, schema)) for side, schema in schemas.items()}
    merged: dict[tuple[CreatedTable, str, tuple[str, ...]], list[Side]] = {}
    for side, schema in schemas.items():
        for each, what in differing[side].items():
            if side == "before" and differing["after"].get(each, what) != what:
                # The migration mends nothing of it: it differs afterwards too, in another way.
                continue
            name = each.text.name
            is_migrated = folded(name) in migrated or (
                side == "after" and _text(schemas["before"], name) != _text(schema, name)
            )
            merged.setdefault((each, OLD_SCHEMA if is_migrated else DIFFERS, what), []).append(side)
    for (each, code, what), sides in merged.items():
        other = "migrated one" if code == OLD_SCHEMA else "database's"
        message = f"CREATE TABLE {each.text.name} makes another table than the {other}: it {', '.join(what)}"
        level: Level = "error" if code == OLD_SCHEMA and each.is_run else "warning"
        yield SourceFinding(code, level, each.place, message, tuple(sides))


def _text(schema: Schema, table: str) -> str | None:
    found = schema.table(table)
    return None if found is None else canonical(found.sql)
