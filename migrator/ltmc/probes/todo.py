"""The four todo tools. The reading ones take the columns of `SELECT *` by position, as the application does."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from migrator.ltmc.probes.rows import (
    Row,
    expect,
    expect_among,
    insert,
    last_moment,
    named,
    newest_ids,
    now,
    unknown_id,
)
from migrator.ltmc.probes.tables import create_tables
from migrator.probes import Probe

LIMIT = 10


@dataclass(frozen=True)
class TodoTools:
    """The tools of one version of the application.

    `keys` are the columns that it takes by position, `made` and `done` what it writes into a new todo and into one
    that is completed, `found` how it finds the todos of each status.
    """

    keys: tuple[str, ...]
    made: Mapping[str, object]
    done: Mapping[str, object]
    found: Mapping[str, str]

    @property
    def probes(self) -> tuple[Probe, ...]:
        return (
            Probe("add_todo", self.add_todo),
            Probe("list_todos", self.list_todos),
            Probe("complete_todo", self.complete_todo),
            Probe("search_todos", self.search_todos),
        )

    def add_todo(self, connection: sqlite3.Connection) -> None:
        """INSERTs one row into Todos. Checks that it reads back as written, with a higher id than any before."""
        create_tables(connection)
        self._add(connection, now())

    def list_todos(self, connection: sqlite3.Connection) -> object:
        """SELECTs the newest todos: all, pending, completed.

        Checks that a todo added here has each value at the tool's position, is pending and not completed.
        """
        create_tables(connection)
        answer = {status: named(self.keys, self._list(connection, status)) for status in self.found}
        expected = self._todo(connection, self._add(connection, last_moment(connection, "Todos", "created_at")))
        expect_among("list_todos all, by position", self._list(connection, "all"), expected)
        expect_among("list_todos pending, by position", self._list(connection, "pending"), expected)
        among_completed = expected in self._list(connection, "completed")
        expect("list_todos completed: that it holds a pending todo", among_completed, False)
        return answer

    def complete_todo(self, connection: sqlite3.Connection) -> None:
        """UPDATEs what says that one id, the newest pending one, is completed.

        Checks that this row, and only these columns of it, changed, and that an unknown id changes no row.
        """
        create_tables(connection)
        query = f"SELECT id FROM Todos {self.found['pending']} ORDER BY id DESC LIMIT 1"
        pending = connection.execute(query).fetchone()
        todo_id = pending[0] if pending else self._add(connection, now())
        before = dict(zip(self.keys, self._todo(connection, todo_id), strict=True))
        expect("complete_todo: rows changed", self._complete(connection, todo_id), 1)
        expected = before | {key: value for key, value in self.done.items() if key in self.keys}
        expect("Todos: the completed row", self._todo(connection, todo_id), tuple(expected.values()))
        changed = self._complete(connection, unknown_id(connection, "Todos"))
        expect("complete_todo of an unknown id: rows changed", changed, 0)

    def search_todos(self, connection: sqlite3.Connection) -> object:
        """SELECTs the newest todos whose title or description is LIKE a text; the text is the newest todo's title.

        Checks that a todo added here is found by its title and by its description, by position.
        """
        create_tables(connection)
        newest = [str(self._todo(connection, todo_id)[1]) for todo_id in newest_ids(connection, "Todos", 1)]
        answer = named(self.keys, self._search(connection, newest[0][:40] if newest else "probe"))
        expected = self._todo(connection, self._add(connection, last_moment(connection, "Todos", "created_at")))
        expect_among("search_todos by title", self._search(connection, "PROBE's todo"), expected)
        expect_among("search_todos by description", self._search(connection, "probe's description"), expected)
        return answer

    def _add(self, connection: sqlite3.Connection, created_at: str | bytes) -> int:
        return insert(
            connection,
            "Todos",
            title="A probe's todo",
            description="The probe's description",
            priority="high",
            **self.made,
            created_at=created_at,
        )

    def _todo(self, connection: sqlite3.Connection, todo_id: int) -> Row:
        query = f"SELECT {', '.join(self.keys)} FROM Todos WHERE id = ?"
        row: Row = connection.execute(query, (todo_id,)).fetchone()
        return row

    def _complete(self, connection: sqlite3.Connection, todo_id: int) -> int:
        assignments = ", ".join(f"{column} = ?" for column in self.done)
        update = f"UPDATE Todos SET {assignments} WHERE id = ?"
        return connection.execute(update, (*self.done.values(), todo_id)).rowcount

    def _list(self, connection: sqlite3.Connection, status: str) -> list[Row]:
        query = f"SELECT * FROM Todos {self.found[status]} ORDER BY created_at DESC LIMIT ?"
        return [row[: len(self.keys)] for row in connection.execute(query, (LIMIT,))]

    def _search(self, connection: sqlite3.Connection, text: str) -> list[Row]:
        rows = connection.execute(
            "SELECT * FROM Todos WHERE title LIKE ? OR description LIKE ? ORDER BY created_at DESC LIMIT ?",
            (f"%{text}%", f"%{text}%", LIMIT),
        )
        return [row[: len(self.keys)] for row in rows]


BY_COMPLETED = TodoTools(
    keys=("id", "title", "description", "priority", "completed", "created_at"),
    made={"completed": 0},
    done={"completed": 1},
    found={"all": "", "pending": "WHERE completed = 0", "completed": "WHERE completed = 1"},
)
BY_STATUS = TodoTools(
    keys=("id", "title", "description", "priority", "status", "completed", "created_at"),
    made={"status": "pending"},
    done={"status": "completed", "completed": 1, "completed_at": "2025-08-09T02:21:40.306495"},
    found={"all": "", "pending": "WHERE status = 'pending'", "completed": "WHERE status = 'completed'"},
)
"""The application that expects 0002: `completed` is left to its default, and lists go by the status."""

PROBES = BY_COMPLETED.probes
