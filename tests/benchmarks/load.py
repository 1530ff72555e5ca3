"""An application at work: `python load.py writer|reader DATABASE RESULT TABLE...`, until stdin ends.

Only the standard library, and only columns that every schema has and no migration changes. Every operation opens a
connection of its own with the application's 5 s timeout, as the tools do. The result is JSON: how long each operation
took and what it did.
"""

import json
import os
import random
import select
import sqlite3
import sys
import time
from contextlib import closing

WRITES_PER_S, READS_PER_S = 200, 100
OLD, NEW = "language", "execution_time_ms"
MADE_AT = "2025-11-23T00:00:00"
WRITTEN = {
    "CodePatterns": (
        "input_prompt",
        "INSERT INTO CodePatterns (input_prompt, generated_code, result, created_at) "
        f"VALUES (?, '{'x' * 500}', 'pass', '{MADE_AT}')",
    ),
    "Todos": ("title", f"INSERT INTO Todos (title, description, created_at) VALUES (?, 'to do', '{MADE_AT}')"),
    "ChatHistory": (
        "timestamp",
        "INSERT INTO ChatHistory (timestamp, conversation_id, role, content) VALUES (?, 'load', 'user', 'a message')",
    ),
}
"""For each table the column that says which operation wrote the row last, and the statement that makes one."""
LEDGER, STATUS = "_sqlite_migrations", "SELECT 1 FROM pragma_table_info('Todos') WHERE name = 'status'"


def write(database, tables, ended):
    """Inserts, updates and deletes; `wrote` has [table, id, what the row must hold in the end (None: it is gone)]."""
    chance, wrote, own = random.Random(7), {}, {table: [] for table in tables}
    with closing(sqlite3.connect(database)) as connection:
        newest = {table: connection.execute(f"SELECT max(id) FROM {table}").fetchone()[0] for table in tables}

    def operation(n):
        table, kind = chance.choice(tables), chance.choice(("insert", "update", "delete"))
        (column, insert), mine, text = WRITTEN[table], own[table], f"operation {n}"
        with closing(sqlite3.connect(database, timeout=5)) as connection, connection:
            if kind == "insert" or (kind == "delete" and not mine):
                row = connection.execute(insert, (text,)).lastrowid
                mine.append(row)
                return (table, row), text
            if kind == "delete":
                row = mine.pop(chance.randrange(len(mine)))
                connection.execute(f"DELETE FROM {table} WHERE id = ?", (row,))
                return (table, row), None
            row = chance.choice(mine) if mine and chance.random() < 0.3 else chance.randint(1, newest[table])
            update = f"UPDATE {table} SET {column} = ? WHERE id = ?"
            return ((table, row), text) if connection.execute(update, (text, row)).rowcount else (None, None)

    def note(done):
        wrote[done[0]] = done[1]

    result = _at_rate(WRITES_PER_S, operation, note, ended)
    wrote.pop(None, None)
    return {**result, "wrote": [(*key, text) for key, text in wrote.items()]}


def read(database, tables, ended):
    """Looks at columns, newest row and ledger in one transaction; `states` counts the versions that were seen, and as
    "half" whatever is none."""
    states = {}

    def operation(n):
        with closing(sqlite3.connect(database, timeout=5)) as connection:
            connection.execute("BEGIN")
            row = connection.execute("SELECT * FROM CodePatterns ORDER BY id DESC LIMIT 1")
            columns = [column[0] for column in row.description]
            row.fetchall()
            has_status = connection.execute(STATUS).fetchone() is not None
            ledger = connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (LEDGER,)).fetchone()
            version = connection.execute(f"SELECT count(*) FROM {LEDGER}").fetchone()[0] if ledger else 0
        agree = ((OLD in columns), (NEW in columns), has_status) == (version < 1, version >= 1, version >= 2)
        return str(version) if agree else "half"

    def note(state):
        states[state] = states.get(state, 0) + 1

    return {**_at_rate(READS_PER_S, operation, note, ended), "states": states}


def _at_rate(per_s, operation, note, ended):
    """Runs `operation` at a steady rate; `at` and `took_ms` of each, and the errors that it met."""
    at, took_ms, errors = [], [], []
    n, due = 0, time.monotonic()
    while not ended():
        started = time.monotonic()
        try:
            note(operation(n))
        except sqlite3.Error as error:
            errors.append(str(error))
        took_ms.append(1000 * (time.monotonic() - started))
        at.append(time.time())
        n, due = n + 1, max(due + 1 / per_s, time.monotonic() - 0.1)
        time.sleep(max(0.0, due - time.monotonic()))
    return {"at": at, "took_ms": took_ms, "errors": errors}


def main():
    role, database, result, *tables = sys.argv[1:]

    def ended():
        return bool(select.select([sys.stdin], [], [], 0)[0])

    found = {"writer": write, "reader": read}[role](database, tables, ended)
    with open(result + ".part", "w", encoding="utf-8") as file:
        json.dump(found, file)
    os.replace(result + ".part", result)


if __name__ == "__main__":
    main()
