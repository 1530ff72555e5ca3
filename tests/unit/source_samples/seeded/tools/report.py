"""Faults in pandas, match, unions and texts that nobody is seen to run."""

import pandas as pd


def frame(conn, kind):
    match kind:
        case "chats":
            # FAULT[pandas.read_sql after match]: no such column: channel
            sql = "SELECT role, channel FROM ChatHistory"
        case _:
            # FAULT[pandas.read_sql after the default of match]: no such column: added_at
            sql = "SELECT type, added_at FROM Resources"
    return pd.read_sql(sql, conn)


# FAULT[UNION joined from a list of tables, passed by name]: no such table: Chunks
TABLES = ["Resources", "Chunks"]


def sizes(conn):
    union = " UNION ALL ".join(f"SELECT COUNT(*) FROM {name}" for name in TABLES)
    return pd.read_sql_query(sql=union, con=conn)


def summaries(conn, model=None):
    # FAULT[list of lines]: no such column: s.summary
    query = ["SELECT s.summary", "FROM Summaries s"]
    if model:
        # FAULT[line appended after an if]: no such column: s.model_name
        query.append("WHERE s.model_name = ?")
    return conn.execute("\n".join(query)).fetchall()


def columns(conn):
    # FAULT[execute in a lambda, on sqlite_master]: no such column: kind
    return lambda: conn.execute("SELECT name FROM sqlite_master WHERE kind = 'table'")


# LOOKS: no such column: owner
SETTINGS = {"report": "SELECT owner FROM Todos"}


def unknown(conn, make):
    # NOT CHECKED: is what make() returns
    conn.execute(make())
    # NOT CHECKED: no SQL statement begins with 'VACUME'
    conn.execute("VACUME")
    # NOT CHECKED: %s is a placeholder of other databases
    conn.execute("SELECT id FROM Todos WHERE id = %s")
    # NOT CHECKED: no such function: distance
    conn.execute("SELECT distance(title, priority) FROM Todos")
