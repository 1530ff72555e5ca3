"""The commands that a message tells the operator to run, so that a shell takes them as they are meant."""

from __future__ import annotations

import os
import shlex
from pathlib import Path


def command(*words: str | Path) -> str:
    """One command for a shell, each word quoted where it must be, paths absolute."""
    return shlex.join(os.path.abspath(word) if isinstance(word, Path) else word for word in words)


def restore_order(database: Path, backup: Path) -> str:
    """The order that brings `database` back to `backup`."""
    order = ("--database", database, "--backup", backup, "--discard-later-writes")
    return command("python", "-m", "flows.restore", *order)


def restore_by_shell(database: Path, backup: Path) -> str:
    """The same with SQLite's own shell, whose command takes C's escapes between double quotes (sqlite.org/cli.html)."""
    escaped = os.path.abspath(backup).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return command("sqlite3", database, f'.restore "{escaped}"')


def replace_file(database: Path, backup: Path) -> str:
    """The same for a file that SQLite cannot write to; what lies beside it belongs to the old one."""
    beside = (database.with_name(database.name + suffix) for suffix in ("-wal", "-shm", "-journal"))
    return f"{command('cp', backup, database)} && {command('rm', '-f', *beside)}"
