"""Faults in async code, threads, joins and tables that only a run knows."""

import asyncio


def messages(conn, chunk_id):
    return conn.execute(
        """SELECT cl.message_id, ch.role
           FROM ContextLinks cl JOIN ChatHistory AS ch ON cl.message_id = ch.id
           WHERE cl.chunk -- FAULT: no such column: cl.chunk
               = ?""",
        (chunk_id,),
    ).fetchall()


def statistics(conn):
    return conn.execute("""
        WITH used AS (
            SELECT chunk_id, COUNT(*) AS n
            FROM Context_Links -- FAULT: no such table: Context_Links
            GROUP BY chunk_id
        )
        SELECT chunk_id, n FROM used ORDER BY n DESC
    """).fetchall()


async def links(conn, message_id):
    async with conn.execute(
        # FAULT: no such column: link
        "SELECT link FROM ContextLinks WHERE message_id = ?",
        (message_id,),
    ) as cursor:
        return [row async for row in cursor]


async def newest(conn):
    # FAULT: no such column: at
    return await conn.execute_fetchall("SELECT MAX(at) FROM ChatHistory")


async def in_a_thread(conn):
    # FAULT: no such table: Links
    return await asyncio.to_thread(conn.execute, "SELECT COUNT(*) FROM Links")


def count(conn, table):
    # FAULT(after): no such column: language, whatever the table
    return conn.execute(f"SELECT COUNT(*) FROM {table} WHERE language = ?").fetchone()[0]


def clear(conn):
    execute = conn.execute
    # FAULT: no such table: Summarys
    for table in ("ContextLinks", "Summarys"):
        execute("DELETE FROM " + table)
