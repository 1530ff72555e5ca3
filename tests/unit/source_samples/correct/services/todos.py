"""Todos: SQL by status, built from parts, and searched."""
# ruff: noqa: UP031

from database.queries import BY_STATUS, MAINTENANCE, NIGHTLY, TODO_TABLE


def add_todo(conn, title, description, priority="medium"):
    values = ("?",) * 5
    return conn.execute(
        "INSERT INTO {table} (title, description, priority, completed, created_at) VALUES ({marks})".format(
            table=TODO_TABLE, marks=", ".join(values)
        ),
        (title, description, priority, 0, "now"),
    ).lastrowid


def list_todos(conn, status="all", limit=10):
    if status == "pending":
        where = "WHERE completed = 0"
    elif status == "completed":
        where = "WHERE completed = 1"
    else:
        where = ""
    return conn.execute(f"SELECT * FROM Todos {where} ORDER BY created_at DESC LIMIT ?", (limit,)).fetchall()


def by_status(conn, status):
    return conn.execute(BY_STATUS[status]).fetchall()


def search_todos(conn, word, limit=10, order="created_at"):
    if (sql := _search(order)) is not None:
        return conn.execute(sql, {"word": f"%{word}%", "limit": limit}).fetchall()
    return []


def _search(order):
    if order not in ("created_at", "priority"):
        return None
    return f"SELECT id, title FROM Todos WHERE title LIKE :word OR description LIKE :word ORDER BY {order} LIMIT :limit"


def complete_todo(conn, todo_id):
    conn.execute("UPDATE %s SET completed = 1, completed_at = ? WHERE id = %s" % (TODO_TABLE, "?"), ("now", todo_id))


def maintain(conn):
    conn.executescript(MAINTENANCE)
    for statement in NIGHTLY.split(";"):
        conn.execute(statement)


def change_todo(conn, todo_id, title=None, priority=None):
    parts, params = [], []
    if title is not None:
        parts.append("title = ?")
        params.append(title)
    if priority is not None:
        parts.append("priority = ?")
        params.append(priority)
    if not parts:
        return
    conn.execute(f"UPDATE Todos SET {', '.join(parts)} WHERE id = ?", (*params, todo_id))
