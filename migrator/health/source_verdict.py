"""Whether the application's source would bring an old schema back on a new file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from migrator.application import Application
from migrator.commands import own_command
from migrator.ddl import folded
from migrator.errors import RefusedError
from migrator.findings import Finding
from migrator.health.faults import Fault
from migrator.schema import Schema
from migrator.source.statements import find_statements
from migrator.source.tables import created_tables, recreated


def judge_source(folder: Path, schema: Schema, application: Application, version: int) -> Iterator[Finding]:
    """Compares each CREATE TABLE of the source that makes a migrated table with `schema`, which has `version`.

    Nothing of the source is imported or run.
    """
    migrated = {change.table for m in application.migrations[:version] for change in m.changes if change.after}
    if not migrated:
        yield Finding("source_not_compared", f"no migration is in force, so nothing in {folder} can undo one")
        return
    try:
        found = find_statements(folder)
    except RefusedError as error:
        yield Fault("source_not_checked", str(error))
        return
    for skipped in found.skipped:
        if skipped.is_fault:
            yield Finding("source_not_compared", f"{folder / skipped.name} was not read: {skipped.why}")
    created = created_tables(found.statements)
    settled = [each for each in created if each.altered_at is None]
    unmade = migrated - {table for table in migrated for c in settled if folded(c.text.name) == folded(table)}
    if unmade:
        names = ", ".join(sorted(unmade))
        yield Finding("source_not_compared", f"no CREATE TABLE of {names} can be read in {folder}")
    for each, what in recreated(settled, schema, migrated):
        shows = own_command("flows.check", "--write-schema", folder / each.place.file)
        more = f" and {len(what) - 1} more" if len(what) > 1 else ""
        yield Fault(
            "old_schema",
            f"on a new file {folder / each.place.file}:{each.place.line} would make {each.text.name} otherwise than "
            f"its migration: it {what[0]}{more}; {shows} shows the change",
        )
