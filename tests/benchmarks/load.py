"""An application at work on CodePatterns: `python load.py writer|reader DATABASE RESULT`, until stdin ends.

Only the standard library, and only columns that both schemas have. Every operation opens a connection of its own with
the application's 5 s timeout, as the tools do. The result is JSON: how long each operation took and what it did.
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
INSERT = "INSERT INTO CodePatterns (input_prompt, generated_code, result, created_at) VALUES (?, ?, 'pass', ?)"


def write(database, ended):
    """Inserts, updates and deletes; `wrote` says for each id what the row must hold in the end (None: it is gone)."""
    chance, wrote, own = random.Random(7), {}, []
    with closing(sqlite3.connect(database)) as connection:
        newest = connection.execute("SELECT max(id) FROM CodePatterns").fetchone()[0]

    def operation(n):
        kind = chance.choice(("insert", "update", "delete"))
        text = f"operation {n}"
        with closing(sqlite3.connect(database, timeout=5)) as connection, connection:
            if kind == "insert" or (kind == "delete" and not own):
                row = connection.execute(INSERT, (text, "x" * 500, "2025-11-23T00:00:00")).lastrowid
                own.append(row)
                return row, text
            if kind == "delete":
                row = own.pop(chance.randrange(len(own)))
                connection.execute("DELETE FROM CodePatterns WHERE id = ?", (row,))
                return row, None
            row = chance.choice(own) if own and chance.random() < 0.3 else chance.randint(1, newest)
            changed = connection.execute("UPDATE CodePatterns SET input_prompt = ? WHERE id = ?", (text, row)).rowcount
            return (row, text) if changed else (0, None)

    def note(done):
        wrote[done[0]] = done[1]

    result = _at_rate(WRITES_PER_S, operation, note, ended)
    wrote.pop(0, None)
    return {**result, "wrote": wrote}


def read(database, ended):
    """Looks at the table's columns and newest row in one transaction; `states` counts what was seen."""
    states = {"old": 0, "new": 0, "half": 0}

    def operation(n):
        with closing(sqlite3.connect(database, timeout=5)) as connection:
            row = connection.execute("SELECT * FROM CodePatterns ORDER BY id DESC LIMIT 1")
            columns = [column[0] for column in row.description]
            row.fetchall()
        return "half" if (OLD in columns) == (NEW in columns) else "new" if NEW in columns else "old"

    def note(state):
        states[state] += 1

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
    role, database, result = sys.argv[1:]

    def ended():
        return bool(select.select([sys.stdin], [], [], 0)[0])

    found = {"writer": write, "reader": read}[role](database, ended)
    with open(result + ".part", "w", encoding="utf-8") as file:
        json.dump(found, file)
    os.replace(result + ".part", result)


if __name__ == "__main__":
    main()
