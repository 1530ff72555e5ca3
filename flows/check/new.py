"""What `python -m flows.check --new NAME --desired FILE` writes: the next migration, as far as two schemas say it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import migrator.ltmc
from migrator.application import Application
from migrator.authoring.desired import read_desired
from migrator.authoring.generate import Generated, generate, write_migration
from migrator.authoring.lint import Lint, lint
from migrator.check.status import Status
from migrator.connect import opened
from migrator.ddl import folded
from migrator.errors import RefusedError
from migrator.migration import Answers
from migrator.planning import make_plan
from migrator.preflight import read_state

FOLDER = Path(migrator.ltmc.__file__).with_name("migrations")


def new_migration(
    name: str, desired: Path, renames: Mapping[str, str], status: Status, application: Application, max_lock_ms: float
) -> dict[str, Any]:
    """Writes the file of the migration that leads from what every migration so far makes to the `desired` schema.

    What it would do to the rows that are there is looked at first. No file is written where nothing differs. Raises
    RefusedError, with the way out, for a database that is not as its migrations say.
    """
    if status.schema is None or status.drift or (status.pending and status.plan is None):
        raise RefusedError(
            f"{status.database} is not as its migrations say, so the next one would start from the wrong schema",
            "mend what is told above first, or take another copy of the database",
        )
    start = status.schema if status.plan is None else status.plan.after.schema
    made = generate(start, read_desired(desired, application.own_tables), name, application.migrations, renames)
    said = _linted(made, status, application, max_lock_ms) if made.migration.changes else ()
    path = write_migration(made, FOLDER) if made.migration.changes else None
    return {
        "file": None if path is None else str(path),
        "version": made.migration.version,
        "name": name,
        "changes": [asdict(item) for item in made.difference.items],
        "undecided": [asdict(question) for question in made.undecided],
        "lint": [asdict(each) for each in said],
    }


def _linted(made: Generated, status: Status, application: Application, max_lock_ms: float) -> tuple[Lint, ...]:
    """What the migration would do to the rows that are there, of tables that no pending one changes before it."""
    pending = frozenset(map(folded, status.plan.touched)) if status.plan is not None else frozenset()
    first = [change.table for change in made.migration.changes if folded(change.table) in pending]
    rest = replace(made.migration, changes=tuple(c for c in made.migration.changes if c.table not in first))
    found = [_not_looked_at(first)] if first else []
    if rest.changes:
        with opened(status.database, read_only=True) as connection:
            connection.execute("BEGIN")
            state = read_state(connection, application)
            if status.schema is None or state.schema.fingerprint != status.schema.fingerprint:
                raise RefusedError(f"the schema of {status.database} changed while it was read", "start again")
            start = state if status.plan is None else status.plan.after
            plan = make_plan((rest,), start, {rest.version: Answers()})
            found += lint(connection, plan, start, max_lock_ms=max_lock_ms)
    return tuple(found)


def _not_looked_at(tables: Sequence[str]) -> Lint:
    return Lint(
        "warning",
        "not_looked_at",
        f"the rows of {', '.join(tables)} were not looked at, because pending migrations change them first",
        "run --new on a migrated copy of the database",
        len(tables),
    )
