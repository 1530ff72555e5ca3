"""The schema that the ledger recorded: what each promotion, and each way back, left of the tables it migrated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from migrator.check.promotions import Ledger, Promotion
from migrator.ddl import folded
from migrator.migration import Migration
from migrator.schema import index_name


@dataclass(frozen=True)
class Left:
    """The fingerprint with which run `run_id` left an object; the state before that run is in `backup`."""

    fingerprint: str
    run_id: str
    backup: str
    tables: frozenset[str]


@dataclass(frozen=True)
class Recorded:
    """Folded `tables` whose schema the ledger knows; `objects` that named them, by "kind name"."""

    tables: frozenset[str]
    objects: Mapping[str, Left]


@dataclass(frozen=True)
class _Event:
    at: str
    run_id: str
    backup: str
    tables: frozenset[str]
    removes: frozenset[str]
    leaves: Mapping[str, str]


def recorded(migrations: Sequence[Migration], ledger: Ledger) -> Recorded:
    """What the latest promotion or way back of each table left; nothing for a ledger without a history."""
    objects: dict[str, Left] = {}
    events = _events({m.version: m for m in migrations}, ledger.promotions)
    for event in events:
        superseded = {name for name, left in objects.items() if left.tables <= event.tables}
        for name in superseded | event.removes:
            objects.pop(name, None)
        for name, fingerprint in event.leaves.items():
            objects[name] = Left(fingerprint, event.run_id, event.backup, event.tables)
    return Recorded(frozenset(table for event in events for table in event.tables), objects)


def _events(known: Mapping[int, Migration], promotions: Sequence[Promotion]) -> list[_Event]:
    """A promotion and, where it was undone, its way back, oldest first.

    The fingerprints of both are about the tables of all that their run promoted, or undid.
    """
    found = []
    for made in (p for p in promotions if p.version in known):
        tables = _tables(known, (p for p in promotions if p.run_id == made.run_id))
        found.append(_Event(made.applied_at, made.run_id, made.backup, tables, frozenset(made.before), made.after))
        if made.back is not None:
            tables = _tables(known, (p for p in promotions if p.reversed_by == made.reversed_by))
            at, by, removes = str(made.reversed_at), str(made.reversed_by), _made_by(known[made.version])
            found.append(_Event(at, by, made.backup, tables, removes, made.back))
    return sorted(found, key=lambda event: event.at)


def _tables(known: Mapping[int, Migration], promotions: Iterable[Promotion]) -> frozenset[str]:
    versions = {p.version for p in promotions} & known.keys()
    return frozenset(folded(change.table) for v in versions for change in known[v].changes)


def _made_by(migration: Migration) -> frozenset[str]:
    """The objects that a way back takes away or leaves in another form."""
    tables = {f"table {folded(change.table)}" for change in migration.changes}
    return frozenset(tables | {f"index {folded(index_name(i))}" for c in migration.changes for i in c.indexes})
