"""Links between messages and chunks."""

import asyncio


def store_links(conn, message_id, chunk_ids):
    for name in ("ChatHistory", "ResourceChunks"):
        conn.execute(f"SELECT id FROM {name} WHERE id = ?", (message_id,))
    conn.executemany(
        "INSERT INTO ContextLinks (message_id, chunk_id) VALUES (?, ?)", [(message_id, chunk) for chunk in chunk_ids]
    )


def messages_for_chunk(conn, chunk_id):
    return conn.execute(
        """SELECT cl.message_id, ch.conversation_id, ch.role, ch.content
           FROM ContextLinks cl JOIN ChatHistory AS ch ON cl.message_id = ch.id
           WHERE cl.chunk_id = ?""",
        (chunk_id,),
    ).fetchall()


def statistics(conn):
    return conn.execute("""
        WITH used AS (SELECT chunk_id, COUNT(*) AS usage_count FROM ContextLinks GROUP BY chunk_id)
        SELECT chunk_id, usage_count FROM used ORDER BY usage_count DESC LIMIT 10
    """).fetchall()


async def links_of(conn, message_id):
    async with conn.execute("SELECT chunk_id FROM ContextLinks WHERE message_id = ?", (message_id,)) as cursor:
        return [row async for row in cursor]


async def newest(conn):
    return await conn.execute_fetchall("SELECT id, timestamp FROM ChatHistory ORDER BY id DESC LIMIT 1")


async def in_a_thread(conn):
    return await asyncio.to_thread(conn.execute, "SELECT COUNT(*) FROM ContextLinks WHERE chunk_id IS NOT NULL")


def count(conn, table):
    return conn.execute(f'SELECT COUNT(*) FROM "{table}"').fetchone()[0]


def clear(conn, tables=("ContextLinks", "Summaries")):
    execute = conn.execute
    for table in tables:
        execute("DELETE FROM " + table)
