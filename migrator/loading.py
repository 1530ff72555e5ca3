"""Reading migrations: a folder of files `m0001_name.py`, each with a `MIGRATION`, is the whole history of a schema."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from traceback import extract_tb

from migrator.ddl import folded
from migrator.errors import MigratorError
from migrator.migration import DeclarationError, Migration


def load_migrations(folder: Path, tools: Iterable[str] | None = None) -> tuple[Migration, ...]:
    """Every migration of `folder`, in the order of versions; files whose names begin with `_` are none.

    Raises DeclarationError, with the file, for a version that is missing or there twice, for a file of another name,
    without MIGRATION or that Python or SQLite would not read, where two changes would keep originals in one table, and
    where a migration names a tool that is none of `tools` and brings no probe of it.
    """
    found: dict[int, Migration] = {}
    for path in sorted(folder.glob("[!_]*.py")):
        named = re.fullmatch(r"m([0-9]{4})_(\w+)", path.stem)
        if named is None:
            raise DeclarationError(f"migration file {path.name} is not named m0001_some_name.py", "rename it")
        version = int(named[1])
        if version in found:
            both = f"m{found[version].label}.py and {path.name}"
            raise DeclarationError(
                f"version {version:04d} is declared twice in {folder}: {both}", "number one of them anew"
            )
        found[version] = replace(_declared(path), version=version, name=named[2])
    missing = sorted(set(range(1, len(found) + 1)) - set(found))
    if missing:
        raise DeclarationError(f"version {missing[0]:04d} is missing in {folder}", "count from 0001 without gaps")
    loaded = tuple(found[version] for version in sorted(found))
    _check_kept_apart(loaded)
    if tools is not None:
        _check_tools(loaded, tools)
    return loaded


def _check_tools(migrations: Iterable[Migration], tools: Iterable[str]) -> None:
    """A tool that is misspelt would be tried by nobody."""
    known = {*tools}
    for migration in migrations:
        known |= {probe.tool for probe in migration.probes}
        unknown = sorted({*migration.tools} - known)
        if unknown:
            raise DeclarationError(
                f"migration {migration.label} names the tool {unknown[0]!r}, which the application does not have",
                "correct the name, or give the migration a probe of it",
            )


def _check_kept_apart(migrations: Iterable[Migration]) -> None:
    """A second change that kept its originals in the same table would replace the first one's."""
    owners: dict[str, str] = {}
    for migration in migrations:
        for change in (c for c in migration.changes if not c.only_indexes):
            for field_, name in (("originals", change.originals_table), ("ahead", change.ahead_table)):
                if folded(name) in owners:
                    raise DeclarationError(
                        f"migration {migration.label} keeps values in table {name}, as {owners[folded(name)]} does",
                        f"name another with `{field_}`",
                    )
                owners[folded(name)] = migration.label


def _declared(path: Path) -> Migration:
    spec = importlib.util.spec_from_file_location(f"_migrations.{path.stem}", path)
    if spec is None or spec.loader is None:
        raise DeclarationError(f"migration file {path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        lines = [frame.lineno for frame in extract_tb(error.__traceback__) if frame.filename == str(path)]
        place = f"{path.name}:{lines[-1]}" if lines else path.name
        if isinstance(error, MigratorError):
            raise DeclarationError(f"migration file {place}: {error.fault}", error.way_out) from error
        fault = f"migration file {place} cannot be read ({type(error).__name__}: {error})"
        raise DeclarationError(fault, "correct it, or take it out of the folder") from error
    migration = getattr(module, "MIGRATION", None)
    if not isinstance(migration, Migration):
        raise DeclarationError(f"migration file {path.name} has no MIGRATION", "declare one as migrator/ltmc does")
    return migration
