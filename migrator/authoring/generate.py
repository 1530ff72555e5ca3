"""The next migration, derived from two schemas: what a Change can say is written, what it cannot say is reported.

Nothing is guessed. Whatever needs a person's decision is an `Undecided`, and a file that has one refuses to load until
the decision is written into it: a migration that is left half-decided must stop every command that would run it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from migrator.authoring.difference import Difference, TableDifference, compare_schemas
from migrator.authoring.drafting import Undecided, draft
from migrator.authoring.migration_text import migration_text
from migrator.authoring.proof import there_and_back
from migrator.ddl import folded
from migrator.errors import RefusedError
from migrator.migration import Change, DeclarationError, Migration
from migrator.schema import Schema

_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Generated:
    """A migration from the schema that is there towards the desired one, and the text of its file ("": no changes).

    Applied, it gives exactly the desired schema but for what is `undecided`; reversed, the schema that was there.
    """

    difference: Difference
    migration: Migration
    undecided: tuple[Undecided, ...]
    text: str


def generate(
    now: Schema,
    desired: Schema,
    name: str,
    earlier: Sequence[Migration] = (),
    renames: Mapping[str, str] | None = None,
) -> Generated:
    """The migration after `earlier`. It was carried out forth and back on the schema `now`, without rows.

    Raises DeclarationError for a name that a file cannot have, RefusedError for a rename of what is not there.
    """
    if not _NAME.fullmatch(name):
        raise DeclarationError(f"a migration cannot be named {name!r}", "use small letters, digits and _")
    difference = compare_schemas(now, desired, renames)
    empty = Migration((), version=len(earlier) + 1, name=name)
    taken = {folded(o.name) for schema in (now, desired) for o in schema.objects}
    taken |= {folded(own) for migration in earlier for own in migration.own_tables}
    drafts: list[Change] = []
    questions: dict[str, tuple[Undecided, ...]] = {}
    refused: dict[str, RefusedError] = {}
    for table in difference.tables:
        try:
            change, questions[table.table] = _drafted(table, now, desired, _Names(taken, empty.version))
            drafts += [change] if change is not None else []
        except RefusedError as error:
            refused[table.table] = error
    migration, unproved = _proved(now, replace(empty, changes=tuple(drafts)))
    refused |= unproved
    questions |= {table: (_not_so(table, error),) for table, error in refused.items()}
    undecided = [each for table in difference.tables for each in questions[table.table]]
    undecided += _left_over(now, desired, migration, {*map(folded, refused)})
    said = [item.text for item in difference.items]
    text = migration_text(migration, said, [str(open_) for open_ in undecided]) if migration.changes else ""
    return Generated(difference, migration, tuple(undecided), text)


def _not_so(table: str, error: RefusedError) -> Undecided:
    return Undecided(f"table {table} cannot be changed so: {error.fault}", error.way_out or "leave it as it is")


def _goes(table: str) -> Undecided:
    # A file that holds only what is to change would take every other table away.
    return Undecided(
        f"table {table} goes, because the desired schema has no such table",
        "remove this entry of UNDECIDED if it shall, else put its CREATE TABLE into the desired schema and draft again",
    )


def _proved(now: Schema, migration: Migration) -> tuple[Migration, dict[str, RefusedError]]:
    """The migration with the changes that can be carried out, and by table why the others cannot.

    What cannot be done before the others is done after them: an index may get its name only where another table's goes.
    """
    with suppress(RefusedError):
        there_and_back(now, migration)
        return migration, {}
    made, refused, waiting, tried = list[Change](), dict[str, RefusedError](), list(migration.changes), 0
    while tried != len(waiting):
        tried, refused = len(waiting), {}
        for change in waiting:
            try:
                there_and_back(now, replace(migration, changes=(*made, change)))
                made.append(change)
            except RefusedError as error:
                refused[change.table] = error
        waiting = [change for change in waiting if change.table in refused]
    return replace(migration, changes=tuple(made)), refused


def write_migration(generated: Generated, folder: Path) -> Path:
    """Writes the file of the migration next to the others of `folder` and returns its path; no file is replaced.

    Raises RefusedError where there is nothing to write, DeclarationError where its version is taken, OSError where the
    folder takes no file.
    """
    migration = generated.migration
    if not migration.changes:
        raise RefusedError("nothing differs that a migration could change", "see what is undecided, if anything")
    path = folder / f"m{migration.label}.py"
    for other in sorted(folder.glob(f"m{migration.version:04d}_*")):
        raise DeclarationError(f"version {migration.version:04d} is there already: {other.name}", "start again")
    with path.open("x", encoding="utf-8") as file:
        file.write(generated.text)
    return path


@dataclass(frozen=True)
class _Names:
    """Names for the tables of originals, none of them `taken`; no two tables lead to one name."""

    taken: Set[str]
    version: int

    def other_than_default(self, table: str, suffix: str) -> str | None:
        """None where the name that a Change gives is free."""
        tries = [f"{table}_{suffix}", f"{table}_{suffix}_{self.version:04d}"]
        tries += [f"{tries[1]}_{n}" for n in range(2, len(self.taken) + 3)]
        found = next(name for name in tries if folded(name) not in self.taken)
        return None if found == tries[0] else found


def _drafted(
    table: TableDifference, now: Schema, desired: Schema, names: _Names
) -> tuple[Change | None, tuple[Undecided, ...]]:
    """The change of one table as far as it can be declared, and what it leaves open."""
    change = Change(
        table.table,
        indexes=tuple(o.sql for o in table.indexes_added),
        drops=tuple(o.sql for o in table.indexes_dropped),
    )
    if not table.is_redefined and table.before is not None and table.after is not None:
        return (change if change.indexes or change.drops else None), ()
    change = replace(
        change,
        originals=names.other_than_default(table.table, "legacy"),
        ahead=names.other_than_default(table.table, "ahead"),
    )
    if table.after is None:
        gone = tuple(o.sql for o in now.on_table(table.table, "index"))
        return replace(change, before=_sql(now, table.table), drops=gone), (_goes(table.table),)
    after = _sql(desired, table.table)
    if table.before is None:
        return replace(change, after=after), ()
    drafted = draft(table)
    before = _sql(now, table.table)
    return replace(change, before=before, after=after, values=drafted.values, back=drafted.back), drafted.undecided


_OTHERS_BY_HAND = "no migration makes views, triggers or virtual tables: change it by hand"
_NOT_REACHED = "the migration would not lead there: see whether names stand in double quotes where strings are meant"


def _left_over(now: Schema, desired: Schema, migration: Migration, refused: Set[str]) -> Iterator[Undecided]:
    """What still differs from the desired schema when the migration is carried out, and from the old one when it is
    undone; without the tables whose change was `refused`."""
    # The proof has no virtual tables.
    for item in compare_schemas(now, desired).others:
        yield Undecided(item.text, _OTHERS_BY_HAND)
    if not migration.changes:
        return
    reached, returned = there_and_back(now, migration)
    for table in compare_schemas(reached, desired).tables:
        if folded(table.table) not in refused:
            for item in table.items:
                yield Undecided(item.text, _NOT_REACHED)
    for table in compare_schemas(returned, now).tables:
        for item in table.items:
            yield Undecided(f"after the way back, {item.text}", _NOT_REACHED)


def _sql(schema: Schema, table: str) -> str:
    found = schema.table(table)
    if found is None:
        raise RefusedError(f"the schema has no table {table}")
    return found.sql
