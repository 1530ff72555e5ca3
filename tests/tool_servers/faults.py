"""What a tool server may do wrong, by name: `FAULT[@SIDE]`, where SIDE is the copy (before, after) on which it does."""

import itertools
import json
import os
import sqlite3
import sys
import threading
from contextlib import closing
from functools import wraps
from pathlib import Path

from ltmc_tools import LEFT_OPEN, TOOLS, database, now, tool
from pydantic import TypeAdapter

CALLS = itertools.count(1)
SLOW_CALLS = itertools.count(1)
SLOW_S, SLOW_AT_FIRST = 0.55, 4
CRASHES_ON_CALL, CRASH_CODE = 7, 3
FLOOD_LINES, LINE_BYTES = 2000, 20_000


def chosen(arguments: list[str]) -> str:
    """The fault that holds on this copy; '' without one."""
    fault, _, side = (arguments[0] if arguments else "").partition("@")
    return fault if side in ("", Path(os.environ["DB_PATH"]).parent.name) else ""


def at_start(fault: str) -> None:
    """Noise before the first message, as the application makes it, and what goes wrong before it."""
    print("Loading the model.", flush=True)
    print("the server of the tests starts", file=sys.stderr, flush=True)
    if fault == "crash_at_start":
        print("no module named faiss", file=sys.stderr)
        sys.exit(1)
    if fault == "hang_at_start":
        threading.Event().wait()
    if fault == "flood":
        for _ in range(FLOOD_LINES):
            print("x" * LINE_BYTES)
    if fault == "flood_without_end":
        while True:
            sys.stdout.write("x" * LINE_BYTES)
    if fault == "keep_other":
        # Not by Python's sqlite3, which is watched from inside.
        os.open(sys.argv[-1], os.O_RDONLY)
    if fault == "keep_open":
        LEFT_OPEN.append(sqlite3.connect(sys.argv[-1]))
        LEFT_OPEN[-1].execute("SELECT count(*) FROM sqlite_master").fetchone()
        LEFT_OPEN[-1].execute("BEGIN")
    if fault == "extra":
        add_unknown_tools()
    if fault == "missing":
        del TOOLS["list_todos"]


def add_unknown_tools() -> None:
    @tool
    def count_todos(least: int, kind: str = "all") -> dict[str, object]:
        return {"success": True, "count": TOOLS["list_todos"]()["count"], "least": least}

    @tool
    def forget_todos(title: str) -> dict[str, object]:
        raise AssertionError("a destructive tool was called")


def faulty(name: str, fault: str):
    """The tool as the server calls it."""
    function = TOOLS[name]

    @wraps(function)
    def call(*args, **kwargs):
        number = next(CALLS)
        if fault == "crash" and number == CRASHES_ON_CALL:
            print(f"call {number} was too much", file=sys.stderr, flush=True)
            os._exit(CRASH_CODE)
        if fault == "crash_in_todos" and name == "list_todos":
            print("no todos today", file=sys.stderr, flush=True)
            os._exit(CRASH_CODE)
        if fault == "hang" and name == "list_todos":
            threading.Event().wait()
        if fault == "slow_at_first" and name == "list_todos" and next(SLOW_CALLS) <= SLOW_AT_FIRST:
            threading.Event().wait(SLOW_S)
        if fault == "slow" and name == "list_todos":
            threading.Event().wait(SLOW_S)
        if fault == "old_positions" and name == "list_todos":
            return todos_by_old_positions("", kwargs["limit"])
        if fault == "old_positions" and name == "search_todos":
            like = f"%{kwargs['query']}%"
            return todos_by_old_positions("WHERE title LIKE ? OR description LIKE ?", like, like, kwargs["limit"])
        if fault == "lie":
            return {"success": True}
        if fault == "lie_about_todo" and name == "add_todo":
            return {"success": True, "todo_id": 1_000_000, "message": "added"}
        if fault == "error_beside_success" and name == "list_todos":
            return {**function(*args, **kwargs), "error": "half of the todos could not be read"}
        if fault == "flood" and name == "list_todos":
            for _ in range(FLOOD_LINES):
                print("x" * LINE_BYTES)
        if fault == "open_other" and name == "list_todos":
            sqlite3.connect(sys.argv[-1])
        if fault == "read_other" and name == "list_todos":
            Path(sys.argv[-1]).read_bytes()
        if fault == "tell_rows":
            tell_rows(name)
        if fault == "lock" and name == "add_todo":
            return add_todo_and_keep_the_lock(**kwargs)
        try:
            return function(*args, **kwargs)
        except Exception as error:
            # As the application answers: only what is wrong with a call itself goes another way.
            return {"success": False, "error": str(error)}

    return call


def tell_rows(name: str) -> None:
    """Repeats what stands in a row, in each way in which an application does so."""
    with closing(sqlite3.connect(os.environ["DB_PATH"])) as connection:
        row = connection.execute("SELECT id, content, role FROM ChatHistory ORDER BY id").fetchone()
    print(f"INFO {name} after {row[1]!r}", file=sys.stderr, flush=True)
    # Neither is a message that the protocol knows; over HTTP it is noise.
    for told in ({"method": "notifications/none"}, {"method": "none", "id": 7_000_000}):
        print(json.dumps({"jsonrpc": "2.0", **told, "params": {"text": row[1]}}), flush=True)
    match name:
        case "list_todos":
            raise ValueError(f"not to be read: {row}")
        case "search_todos":
            TypeAdapter(dict[str, int]).validate_python({"content": row[1]})
        case "get_chats_by_tool":
            raise LookupError(f"no message '{row[1]}'")
        case "add_todo":
            print(f"ERROR at {json.dumps(row)}", file=sys.stderr, flush=True)
            os._exit(CRASH_CODE)


def todos_by_old_positions(where: str, *values: object) -> dict[str, object]:
    """What the application answers, whatever its version: the first columns as they were at first."""
    keys = ("id", "title", "description", "priority", "completed", "created_at")
    with database() as connection:
        found = connection.execute(f"SELECT * FROM Todos {where} ORDER BY created_at DESC LIMIT ?", values)
        todos = [dict(zip(keys, row, strict=False)) for row in found]
    return {"success": True, "todos": todos, "count": len(todos)}


def add_todo_and_keep_the_lock(title: str, description: str, priority: str) -> dict[str, object]:
    connection = sqlite3.connect(os.environ["DB_PATH"])
    insert = "INSERT INTO Todos (title, description, priority, completed, created_at) VALUES (?, ?, ?, 0, ?)"
    todo_id = connection.execute(insert, (title, description, priority, now())).lastrowid
    LEFT_OPEN.append(connection)
    return {"success": True, "todo_id": todo_id, "message": "added"}
