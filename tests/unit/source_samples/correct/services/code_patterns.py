"""Experience replay for code: the three tools that need the migrated table."""
# ruff: noqa: UP031, UP032

import json
import time


def log_code_attempt(conn, input_prompt, generated_code, result, function_name=None, tags=None, vector_id=None):
    cursor = conn.cursor()
    cursor.execute(
        """
        INSERT INTO CodePatterns (
            function_name, file_name, module_name, input_prompt, generated_code,
            result, execution_time_ms, error_message, tags, created_at, vector_id
        ) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        """,
        (function_name, None, None, input_prompt, generated_code, result, 1, None, json.dumps(tags), "now", vector_id),
    )
    return cursor.lastrowid


def get_code_patterns(conn, result_filter=None, function_name=None, file_name=None, module_name=None, top_k=5):
    sql = """
        SELECT id, function_name, file_name, module_name, input_prompt,
               generated_code, result, execution_time_ms, error_message,
               tags, created_at, vector_id
        FROM CodePatterns
        WHERE 1=1
    """
    params = []
    if result_filter:
        sql += " AND result = ?"
        params.append(result_filter)
    if function_name:
        sql += " AND function_name = ?"
        params.append(function_name)
    if file_name:
        sql += " AND file_name = ?"
        params.append(file_name)
    if module_name:
        sql = sql + " AND module_name = ?"
        params.append(module_name)
    sql += " ORDER BY created_at DESC LIMIT ?"
    params.append(top_k)
    return conn.execute(sql, params).fetchall()


def analyze_code_patterns(conn, function_name=None, time_range_days=30):
    sql = """
        SELECT COUNT(*),
               SUM(CASE WHEN result = 'pass' THEN 1 ELSE 0 END),
               AVG(execution_time_ms)
        FROM CodePatterns
        WHERE created_at >= datetime('now', '-{} days')
    """.format(time_range_days)
    conditions = []
    if function_name:
        conditions.append("function_name = ?")
    if conditions:
        sql += " AND " + " AND ".join(conditions)
    return conn.execute(sql, conditions).fetchone()


def update_pattern(conn, pattern_id, **changes):
    assignments = ", ".join(f"{column} = ?" for column in changes)
    conn.execute(f"UPDATE CodePatterns SET {assignments} WHERE id = ?", (*changes.values(), pattern_id))


def patterns_with_ids(conn, ids):
    placeholders = ",".join("?" * len(ids))
    return conn.execute(f"SELECT id, tags FROM CodePatterns WHERE id IN ({placeholders})", ids).fetchall()


def copy_patterns(conn, rows):
    columns = ["function_name", "result", "created_at"]
    marks = ", ".join("?" for _ in columns)
    conn.executemany(f"INSERT INTO CodePatterns ({', '.join(columns)}) VALUES ({marks})", rows)


def slowest(conn, limit=10):
    query = "SELECT function_name, execution_time_ms FROM CodePatterns ORDER BY execution_time_ms DESC LIMIT %d" % limit
    return conn.execute(query).fetchall()


def stamp(conn, pattern_id):
    conn.execute(
        "UPDATE CodePatterns SET created_at = :now "
        "WHERE id = :id "  # the row that was just written
        "AND result IS NOT NULL",
        {"now": time.strftime("%Y-%m-%dT%H:%M:%S"), "id": pattern_id},
    )
