"""The Python files of a source tree: read and parsed, never imported and never run."""

from __future__ import annotations

import ast
import io
import os
import stat
import tokenize
import warnings
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from migrator.errors import RefusedError

LARGEST_FILE_BYTES = 2_000_000
"""Of a longer one the tree alone takes a hundred times its size in memory; it is named, not read."""
_NO_SOURCE = frozenset({"__pycache__", "node_modules", "site-packages"})
_TESTS = frozenset({"test", "tests"})
_VENV = "pyvenv.cfg"
"""Stands in every virtual environment (docs.python.org/3/library/venv.html)."""


@dataclass(frozen=True, eq=False)
class SourceFile:
    """`name` is the path below the folder, with /; `module` what an import inside the tree calls it."""

    name: str
    module: str
    lines: tuple[str, ...] = field(repr=False)
    tree: ast.Module = field(repr=False)

    @property
    def is_package(self) -> bool:
        return self.name.endswith("__init__.py")


@dataclass(frozen=True)
class Skipped:
    """A file or folder that was not read, and why.

    `is_fault`: it should have been, and could not; another Python than this one may be able to.
    """

    name: str
    why: str
    is_fault: bool = False


def read_tree(folder: Path, exclude: Collection[str] = ()) -> tuple[tuple[SourceFile, ...], tuple[Skipped, ...]]:
    """Every Python file below `folder` that could be parsed, by name, and whatever was left out.

    Hidden folders, caches and virtual environments hold no source of the application and are passed over without a
    word. Tests make tables of their own; they are left out and named, like symbolic links (what they lead to is read
    where it lies, or is outside) and what one of the patterns `exclude` matches, as the path of a file or folder below
    `folder` (docs.python.org/3/library/fnmatch.html). A file that is too large, no text or no Python is a fault.
    Raises RefusedError where `folder` is none, or holds no Python file to read.
    """
    if not folder.is_dir():
        raise RefusedError(f"{folder} is no folder", "give the folder of the application's source with --source")
    files: list[SourceFile] = []
    skipped: list[Skipped] = []
    for path in _python_files(folder, exclude, skipped):
        name = path.relative_to(folder).as_posix()
        try:
            files.append(read_file(path, name))
        except UnreadableError as error:
            skipped.append(Skipped(name, error.fault, is_fault=True))
    if not files:
        left_out = f" (left out: {', '.join(s.name for s in skipped[:3])})" if skipped else ""
        raise RefusedError(f"{folder} holds no Python source{left_out}", "give the folder of the application's source")
    return tuple(files), tuple(skipped)


class UnreadableError(RefusedError):
    """A file that is no readable Python source; `fault` says why."""


def read_file(path: Path, name: str) -> SourceFile:
    """The file, decoded as Python would (tokenize.open), and its syntax tree. Raises UnreadableError."""
    try:
        found = path.lstat()
        # Opening a pipe would wait for its other end.
        if not stat.S_ISREG(found.st_mode):
            raise UnreadableError("no ordinary file")
        if found.st_size > LARGEST_FILE_BYTES:
            raise UnreadableError(f"larger than {LARGEST_FILE_BYTES:,} bytes")
        with tokenize.open(path) as file:
            text = file.read()
        tree = parsed(text)
    except OSError as error:
        raise UnreadableError(f"cannot be read ({error.strerror})") from error
    except SyntaxError as error:
        where = f", line {error.lineno}" if error.lineno else ""
        raise UnreadableError(f"no Python source ({error.msg}{where})") from error
    except ValueError as error:
        # Bytes that are not of the file's encoding, or a NUL.
        raise UnreadableError(f"no Python source ({error})") from error
    except (RecursionError, MemoryError) as error:
        raise UnreadableError("nested too deeply for Python's own parser") from error
    module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return SourceFile(name, "" if module == "__init__" else module, tuple(io.StringIO(text)), tree)


def parsed(text: str) -> ast.Module:
    """The syntax tree of `text`, without Python's warnings on it (an invalid escape in a string, say)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text)


def _python_files(folder: Path, exclude: Collection[str], skipped: list[Skipped]) -> Iterator[Path]:
    def unreadable(error: OSError) -> None:
        name = f"{below(Path(error.filename))}/"
        skipped.append(Skipped(name, f"cannot be read ({error.strerror})", is_fault=True))

    def below(path: Path) -> str:
        return path.relative_to(folder).as_posix()

    def is_excluded(path: Path) -> bool:
        return any(fnmatchcase(below(path), pattern.rstrip("/")) for pattern in exclude)

    for place, folders, files in os.walk(folder, onerror=unreadable):
        here = Path(place)
        for name in sorted(folders):
            why = _no_source(here / name)
            if why is None and is_excluded(here / name):
                why = "excluded"
            if why is None:
                continue
            folders.remove(name)
            if why:
                skipped.append(Skipped(f"{below(here / name)}/", why))
        folders.sort()
        for name in sorted(files):
            if not name.endswith(".py"):
                continue
            why = "a symbolic link" if (here / name).is_symlink() else _is_test(name)
            why = why or ("excluded" if is_excluded(here / name) else None)
            if why:
                skipped.append(Skipped(below(here / name), why))
            else:
                yield here / name


def _no_source(folder: Path) -> str | None:
    """Why a folder is left out: "" where that goes without saying, None where it is read."""
    if folder.name.startswith(".") or folder.name in _NO_SOURCE or os.path.exists(folder / _VENV):
        # os.path: of a folder that may not be entered pathlib's raises, and the walk says so better.
        return ""
    if folder.is_symlink():
        return "a symbolic link"
    return "tests" if folder.name in _TESTS else None


def _is_test(name: str) -> str | None:
    return "a test" if name.startswith("test_") or name.endswith("_test.py") or name == "conftest.py" else None
