"""The four todo tools. The reading ones take the columns of `SELECT *` by position, as the application does."""

from __future__ import annotations

import sqlite3

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

TODO_KEYS = ("id", "title", "description", "priority", "completed", "created_at")
STATUS = {"all": "", "pending": "WHERE completed = 0 ", "completed": "WHERE completed = 1 "}
LIMIT = 10


def add_todo(connection: sqlite3.Connection) -> None:
    """INSERTs one row into Todos. Checks that it reads back as written, with a higher id than any before."""
    create_tables(connection)
    _add_todo(connection, now())


def list_todos(connection: sqlite3.Connection) -> object:
    """SELECTs the newest todos: all, pending, completed.

    Checks that a todo added here has each value at the tool's position, is pending and not completed.
    """
    create_tables(connection)
    answer = {status: named(TODO_KEYS, _list(connection, status)) for status in STATUS}
    expected = _todo(connection, _add_todo(connection, last_moment(connection, "Todos", "created_at")))
    expect_among("list_todos all, by position", _list(connection, "all"), expected)
    expect_among("list_todos pending, by position", _list(connection, "pending"), expected)
    expect("list_todos completed: that it holds a pending todo", expected in _list(connection, "completed"), False)
    return answer


def complete_todo(connection: sqlite3.Connection) -> None:
    """UPDATEs Todos.completed of one id, the newest pending one.

    Checks that this row, and only this column of it, changed, and that an unknown id changes no row.
    """
    create_tables(connection)
    pending = connection.execute("SELECT id FROM Todos WHERE completed = 0 ORDER BY id DESC LIMIT 1").fetchone()
    todo_id = pending[0] if pending else _add_todo(connection, now())
    before = _todo(connection, todo_id)
    expect("complete_todo: rows changed", _complete(connection, todo_id), 1)
    expect("Todos: the completed row", _todo(connection, todo_id), (*before[:4], 1, before[5]))
    expect("complete_todo of an unknown id: rows changed", _complete(connection, unknown_id(connection, "Todos")), 0)


def search_todos(connection: sqlite3.Connection) -> object:
    """SELECTs the newest todos whose title or description is LIKE a text; the text is the newest todo's title.

    Checks that a todo added here is found by its title and by its description, by position.
    """
    create_tables(connection)
    newest = [str(_todo(connection, todo_id)[1]) for todo_id in newest_ids(connection, "Todos", 1)]
    answer = named(TODO_KEYS, _search(connection, newest[0][:40] if newest else "probe"))
    expected = _todo(connection, _add_todo(connection, last_moment(connection, "Todos", "created_at")))
    expect_among("search_todos by title", _search(connection, "PROBE's todo"), expected)
    expect_among("search_todos by description", _search(connection, "probe's description"), expected)
    return answer


def _add_todo(connection: sqlite3.Connection, created_at: str | bytes) -> int:
    return insert(
        connection,
        "Todos",
        title="A probe's todo",
        description="The probe's description",
        priority="high",
        completed=0,
        created_at=created_at,
    )


def _todo(connection: sqlite3.Connection, todo_id: int) -> Row:
    row: Row = connection.execute(
        "SELECT id, title, description, priority, completed, created_at FROM Todos WHERE id = ?", (todo_id,)
    ).fetchone()
    return row


def _complete(connection: sqlite3.Connection, todo_id: int) -> int:
    return connection.execute("UPDATE Todos SET completed = 1 WHERE id = ?", (todo_id,)).rowcount


def _list(connection: sqlite3.Connection, status: str) -> list[Row]:
    rows = connection.execute(f"SELECT * FROM Todos {STATUS[status]}ORDER BY created_at DESC LIMIT ?", (LIMIT,))
    return [row[: len(TODO_KEYS)] for row in rows]


def _search(connection: sqlite3.Connection, text: str) -> list[Row]:
    rows = connection.execute(
        "SELECT * FROM Todos WHERE title LIKE ? OR description LIKE ? ORDER BY created_at DESC LIMIT ?",
        (f"%{text}%", f"%{text}%", LIMIT),
    )
    return [row[: len(TODO_KEYS)] for row in rows]


PROBES = (
    Probe("add_todo", add_todo),
    Probe("list_todos", list_todos),
    Probe("complete_todo", complete_todo),
    Probe("search_todos", search_todos),
)
