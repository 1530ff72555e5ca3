"""The commands that a message tells the operator to run, so that a shell takes them as they are meant."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path


def command(*words: str | Path) -> str:
    """One command for a shell, each word quoted where it must be, paths absolute."""
    return shlex.join(os.path.abspath(word) if isinstance(word, Path) else word for word in words)


def own_command(module: str, *words: str | Path) -> str:
    """The same for a module of this project, with the Python that runs this: a shell's own may know nothing of it."""
    return command(_python(), "-m", module, *words)


def _python() -> str:
    """`python` where the shell finds this one under that name, else its path, from the working folder where it is below
    that."""
    executable = sys.executable
    if not executable:
        return "python"
    found = shutil.which("python")
    # A virtual environment's is a link to one that has none of its packages.
    if found and os.path.dirname(found) == os.path.dirname(executable) and os.path.samefile(found, executable):
        return "python"
    folder = os.getcwd()
    below = executable.removeprefix(os.path.join(folder, ""))
    # What has no slash would be looked for in PATH; a service at work in / prints for a shell that is elsewhere.
    return below if os.sep in below and folder != os.sep else executable


def restore_order(database: Path, backup: Path) -> str:
    """The order that brings `database` back to `backup`."""
    order = ("--database", database, "--backup", backup, "--discard-later-writes")
    return own_command("flows.restore", *order)


def restore_by_shell(database: Path, backup: Path) -> str:
    """The same with SQLite's own shell, whose command takes C's escapes between double quotes (sqlite.org/cli.html)."""
    escaped = os.path.abspath(backup).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return command("sqlite3", database, f'.restore "{escaped}"')


def replace_file(database: Path, backup: Path) -> str:
    """The same for a file that SQLite cannot write to; what lies beside it belongs to the old one."""
    beside = (database.with_name(database.name + suffix) for suffix in ("-wal", "-shm", "-journal"))
    return f"{command('cp', backup, database)} && {command('rm', '-f', *beside)}"
