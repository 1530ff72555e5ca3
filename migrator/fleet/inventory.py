"""Which databases a fleet is: each file once, and never a backup or anything else that a run put beside a database."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from migrator.backups.listing import PARTIAL_SUFFIX, parse_name
from migrator.errors import RefusedError
from migrator.files import read_regular
from migrator.fleet.parts import machine_of, refuse_mixture
from migrator.preflight import BACKUPS_SUFFIX

_BESIDE = re.compile(r".*(-wal|-shm|-journal|\.migrating(\.new)?|\.migration-lock|\.migration-throttle)", re.DOTALL)
"""What SQLite and a run keep beside a database (docs/design.md, files beside a database)."""


def find_databases(
    named: Sequence[Path], patterns: Sequence[str], inventory: Path | None, backup_dir: Path | None = None
) -> tuple[Path, ...]:
    """The real paths in the order in which they were named: single ones, the inventory's, then those of the patterns;
    or MACHINE:/PATH, as it was written, where they are on other machines.

    A file with several names counts once. One that is not there stays: its own run refuses it, and the rest goes on.
    Raises RefusedError where nothing is named, where a pattern matches no database, where an inventory cannot be read
    or names none, where a backup is named (patterns pass over backups and over what lies in `backup_dir`), and where
    only some are on other machines.
    """
    listed = [] if inventory is None else read_inventory(inventory)
    for path in (*named, *listed):
        if is_of_a_run(path, backup_dir):
            raise RefusedError(f"{path} belongs to a run and is no database of its own", "take it off the list")
    matched = [path for pattern in patterns for path in _matches(pattern, backup_dir)]
    if not (named or listed or matched):
        raise RefusedError("no database is named", "give --databases, --glob or --inventory")
    refuse_mixture((*named, *listed, *matched))
    return _each_once((*named, *listed, *matched))


def real_name(path: Path) -> str:
    """The name of a database in a fleet: its real path, or MACHINE:/PATH as it was written."""
    return os.path.realpath(path) if machine_of(str(path)) is None else str(path)


def read_inventory(inventory: Path) -> list[Path]:
    """One path a line, relative ones from the inventory's folder, or MACHINE:/PATH; empty lines and those that begin
    with # are passed over. Raises RefusedError where it cannot be read or names nothing."""
    way_out = "give a text file with the path of one database a line"
    try:
        text = read_regular(inventory)
    except (OSError, ValueError) as error:
        raise RefusedError(f"inventory {inventory} cannot be read ({error})", way_out) from error
    # Not splitlines(), which also splits at characters that a file's name may hold.
    lines = [line.strip() for line in text.removeprefix("\ufeff").split("\n")]
    told = [line for line in lines if line and not line.startswith("#")]
    paths = [inventory.parent / line if machine_of(line) is None else Path(line) for line in told]
    if not paths:
        raise RefusedError(f"inventory {inventory} names no database", way_out)
    return paths


def is_of_a_run(path: Path, backup_dir: Path | None = None) -> bool:
    """Whether the file is a backup, a candidate or a note that a run made, by its names alone."""
    for named in (path.absolute(), Path(os.path.realpath(path))):
        if _BESIDE.fullmatch(named.name) or (backup_dir is not None and backup_dir.resolve() in named.parents):
            return True
        for folder in named.parents:
            if folder.name.endswith(BACKUPS_SUFFIX) or parse_name(folder.name.removesuffix(PARTIAL_SUFFIX)):
                return True
    return False


def _matches(pattern: str, backup_dir: Path | None) -> list[Path]:
    """Every database that the pattern matches, by name; `**` stands for any number of folders."""
    if (machine := machine_of(pattern)) is not None:
        raise RefusedError(
            f"{pattern!r}: files are looked for on this machine only",
            f"list the databases of {machine} in an inventory",
        )
    found = [Path(name) for name in sorted(glob.iglob(pattern, recursive=True)) if not os.path.isdir(name)]
    own = [path for path in found if not is_of_a_run(path, backup_dir)]
    if not own:
        beside = f" but {len(found)} files of earlier runs" if found else ""
        raise RefusedError(f"{pattern!r} matches nothing{beside}", "check the pattern and the folder you are in")
    return own


def _each_once(paths: Iterable[Path]) -> tuple[Path, ...]:
    """The first name of each file; one that is not here is known by its name."""
    known: dict[object, Path] = {}
    for path in paths:
        real = Path(real_name(path))
        try:
            found = real.stat()
        except OSError:
            known.setdefault(real, real)
        else:
            # Two mounts of one folder give one file two real paths.
            known.setdefault((found.st_dev, found.st_ino), real)
    return tuple(known.values())
