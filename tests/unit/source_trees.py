"""The two sample trees, the schemas round the first migration, and source files made up in a test."""

import re
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from functools import cache
from pathlib import Path

from migrator.ltmc import LTMC
from migrator.ltmc.probes.tables import RETRIEVAL_WEIGHTS, TABLES
from migrator.migration import Answers
from migrator.plan import State
from migrator.planning import make_plan
from migrator.schema import Schema, read_schema
from migrator.source.check import SourceCheck, check_source
from migrator.source.statements import Found, find_statements

SAMPLES = Path(__file__).with_name("source_samples")
CORRECT, SEEDED = SAMPLES / "correct", SAMPLES / "seeded"


def schema(*statements: str) -> Schema:
    """The schema that the statements make."""
    with closing(sqlite3.connect(":memory:")) as connection:
        for statement in statements:
            connection.execute(statement)
        return read_schema(connection)


@cache
def before() -> Schema:
    """The application's tables as an un-migrated database has them."""
    return schema(*(f"CREATE TABLE {text}" for text in (*TABLES, RETRIEVAL_WEIGHTS)))


@cache
def after() -> Schema:
    """The same after the first migration."""
    return make_plan(LTMC.migrations[:1], State(before()), {1: Answers()}).after.schema


def write(folder: Path, files: Mapping[str, str]) -> Path:
    """Writes files by their path; returns the folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def found(folder: Path, source: str) -> Found:
    """What is found in one file."""
    return find_statements(write(folder, {"app.py": source}))


def texts(folder: Path, source: str) -> list[str]:
    """The statements that one file runs, sorted, {expression} for a hole."""
    return sorted(str(s) for s in found(folder, source).statements if s.is_run)


def checked(folder: Path, source: str, *statements: str) -> SourceCheck:
    """One file against the schema that `statements` make."""
    return check_source(write(folder, {"app.py": source}), schema(*statements))


def marked(folder: Path, word: str) -> list[tuple[str, int, str]]:
    """File, line and what follows `word` in a comment: of Python above the line, of SQL at its end."""
    found = []
    for path in sorted(folder.rglob("*.py")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if mark := re.search(rf"(#|--) {word}(.*)", line):
                at = number + 1 if mark[1] == "#" else number
                found.append((path.relative_to(folder).as_posix(), at, mark[2].strip()))
    return found
