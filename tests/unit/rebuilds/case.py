"""A table with something that a migration does not name, and the statements that show what it does."""

import re
import shutil
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

ACCEPTED: list[object] = []
ENFORCED = "PRAGMA foreign_keys=ON"


@dataclass(frozen=True)
class Case:
    """`table` is migrated, and nobody asks for its column `gone`. `around` makes its rows and its surroundings.

    `answers` says what each statement gives afterwards, one after the other in one connection: its rows (of one column
    the bare values; of EXPLAIN QUERY PLAN whether it is a search, and the index), or SQLite's message where it refuses.
    `lost` is how that would be otherwise: a statement, or a part of the texts above and what would stand there instead.
    `pragmas` come before the first table. `online` is False where only one transaction can do it, `touched` where the
    application may not update the rows meanwhile.
    """

    table: str
    around: tuple[str, ...]
    lost: str | tuple[str, str]
    answers: Mapping[str, object]
    pragmas: tuple[str, ...] = ("PRAGMA journal_mode=wal",)
    online: bool = True
    touched: bool = True

    @property
    def statements(self) -> tuple[str, ...]:
        return (*self.pragmas, self.table, *self.around)

    @property
    def without(self) -> tuple[str, ...]:
        """The statements without what the case is about."""
        if isinstance(self.lost, str):
            return (*self.statements, self.lost)
        return tuple(statement.replace(*self.lost) for statement in self.statements)


def make(path: Path, statements: Iterable[str]) -> Path:
    """A database after `statements`; nothing of it has to survive a power cut."""
    with closing(connected(path)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        for statement in statements:
            connection.execute(statement)
    return path


def connected(path: Path) -> sqlite3.Connection:
    """As an application connects that has its foreign keys enforced."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(ENFORCED)
    return connection


def answers(path: Path, case: Case) -> dict[str, object]:
    """What a copy of a database that nobody has open gives; fails where it is not sound."""
    copy = Path(shutil.copyfile(path, path.with_name("asked.db")))
    with closing(connected(copy)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        found = {statement: answer(connection, statement) for statement in case.answers}
    copy.unlink()
    return found


def answer(connection: sqlite3.Connection, statement: str) -> object:
    try:
        rows = connection.execute(statement).fetchall()
    except sqlite3.Error as error:
        return str(error)
    if statement.startswith("EXPLAIN QUERY PLAN"):
        return [" ".join(re.findall(r"^\w+|(?<= INDEX )\w+", detail)) for *_, detail in rows]
    return [row[0] if len(row) == 1 else row for row in rows]
