"""Written for the migrated table; two places still speak to the old one."""
# ruff: noqa: UP031, UP032


def log_code_attempt(conn, values):
    conn.execute(
        """
        INSERT INTO CodePatterns (
            function_name, -- FAULT(before)[INSERT in a triple-quoted string]: table CodePatterns has no column named function_name
            input_prompt, generated_code, result, created_at,
            vector_id -- FAULT(before)[last column of an INSERT in a triple-quoted string]: table CodePatterns has no column named vector_id
        ) VALUES (?, ?, ?, ?, ?, ?)
        """,
        values,
    )


def get_code_patterns(conn, file_name=None, module=None):
    sql = "SELECT id, result FROM CodePatterns WHERE 1=1"
    if file_name:
        # FAULT(before)[condition added with += after an if]: no such column: file_name
        sql += " AND file_name = ?"
    if module:
        # FAULT[condition added with a sum after an if]: no such column: module
        sql = sql + " AND module = ?"
    return conn.execute(sql + " LIMIT ?", (file_name, module)).fetchall()


def by_language(conn, language):
    return conn.execute(
        "SELECT id, result FROM CodePatterns "
        # FAULT(after)[adjacent strings with a comment between]: no such column: language
        "WHERE language = ? AND created_at > '2025-08-09' AND error_message IS NOT NULL "
        "ORDER BY created_at",
        (language,),
    ).fetchall()


def slow(conn, seconds):
    query = (
        # FAULT(after)[percent formatting of a number]: no such column: execution_time
        "SELECT id FROM CodePatterns WHERE execution_time > %d" % seconds
    )
    return conn.execute(query).fetchall()


def quoted(conn):
    # SQLite takes it for a string where there is no such column.
    return conn.execute(
        # FAULT(before)[name in double quotes]: no such column: tags, and it is read as a string
        'SELECT "tags" FROM CodePatterns'
    ).fetchall()


def analyze(conn, days, function_name=None):
    sql = "SELECT COUNT(*) FROM CodePatterns WHERE created_at >= datetime('now', '-{} days')".format(days)
    conditions = []
    if function_name:
        # FAULT[conditions joined after append]: no such column: func_name
        conditions.append("func_name = ?")
    if conditions:
        sql += " AND " + " AND ".join(conditions)
    return conn.execute(sql, conditions).fetchone()


def change(conn, pattern_id, changes):
    assignments = ", ".join(f"{column} = ?" for column in changes)
    conn.execute(
        # FAULT[UPDATE of columns that only a run knows]: no such column: pattern_id
        f"UPDATE CodePatterns SET {assignments} WHERE pattern_id = ?",
        (pattern_id,),
    )


def with_ids(conn, ids):
    marks = ",".join("?" * len(ids))
    return conn.execute(
        # FAULT[IN with marks that are multiplied]: no such column: tag
        f"SELECT tag FROM CodePatterns WHERE id IN ({marks})",
        ids,
    ).fetchall()


def copy(conn, rows):
    conn.executemany(
        # FAULT[executemany with too many values]: 3 values for 2 columns
        "INSERT INTO CodePatterns (result, created_at) VALUES (?, ?, ?)",
        rows,
    )
    conn.executemany(
        # FAULT[executemany into a table with other columns]: table ContextLinks has 3 columns but 2 values were supplied
        "INSERT INTO ContextLinks VALUES (?, ?)",
        rows,
    )
