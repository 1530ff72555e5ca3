"""Faults in what is formatted, looked up and searched."""
# ruff: noqa: UP031, UP032

from database.queries import BY_STATUS, SCRIPT, TODO_TABLE


def add_todo(conn, row):
    conn.execute("INSERT INTO {table} (title) VALUES (?)".format(table=TODO_TABLE), row)


def list_todos(conn, status, limit):
    # FAULT[clause chosen by a conditional expression]: no such column: done
    where = "WHERE done = 0" if status == "pending" else ""
    return conn.execute(f"SELECT * FROM Todos {where} LIMIT ?", (limit,)).fetchall()


def by_status(conn, status):
    return conn.execute(BY_STATUS[status]).fetchall()


def search(conn, word):
    if sql := _search("todos"):
        conn.execute(sql, {"word": word})


def _search(kind):
    # FAULT[walrus of a function that returns an f-string]: no such column: details
    return f"SELECT id FROM {kind} WHERE title LIKE :word OR details LIKE :word"


def complete(conn, todo_id):
    # FAULT[percent formatting of a column name]: no such column: complete
    conn.execute("UPDATE Todos SET %s = 1 WHERE id = ?" % "complete", (todo_id,))


def maintain(conn):
    conn.executescript(SCRIPT)


def two_at_once(conn):
    conn.execute(
        # FAULT()[two statements in one execute]: You can only execute one statement at a time.
        "SELECT id FROM Todos; SELECT title FROM Todos"
    )
