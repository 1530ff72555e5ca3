"""Faults in async code, threads, joins and tables that only a run knows."""

import asyncio


def messages(conn, chunk_id):
    return conn.execute(
        """SELECT cl.message_id, ch.role
           FROM ContextLinks cl JOIN ChatHistory AS ch ON cl.message_id = ch.id
           WHERE cl.chunk -- FAULT[JOIN in a triple-quoted string]: no such column: cl.chunk
               = ?""",
        (chunk_id,),
    ).fetchall()


def statistics(conn):
    return conn.execute("""
        WITH used AS (
            SELECT chunk_id, COUNT(*) AS n
            FROM Context_Links -- FAULT[WITH]: no such table: Context_Links
            GROUP BY chunk_id
        )
        SELECT chunk_id, n FROM used ORDER BY n DESC
    """).fetchall()


async def links(conn, message_id):
    async with conn.execute(
        # FAULT[async with]: no such column: link
        "SELECT link FROM ContextLinks WHERE message_id = ?",
        (message_id,),
    ) as cursor:
        return [row async for row in cursor]


async def newest(conn):
    # FAULT[await of execute_fetchall]: no such column: at
    return await conn.execute_fetchall("SELECT MAX(at) FROM ChatHistory")


async def in_a_thread(conn):
    # FAULT[execute passed to a thread]: no such table: Links
    return await asyncio.to_thread(conn.execute, "SELECT COUNT(*) FROM Links")


def count(conn, table):
    # FAULT(after)[table that only a run knows]: no such column: language, whatever the table
    return conn.execute(f"SELECT COUNT(*) FROM {table} WHERE language = ?").fetchone()[0]


def clear(conn):
    execute = conn.execute
    # FAULT[execute under another name, in a loop over names]: no such table: Summarys
    for table in ("ContextLinks", "Summarys"):
        execute("DELETE FROM " + table)
