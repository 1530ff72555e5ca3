"""The two tools that give vector ids, as the application that expects 0004 does: from row 1 of VectorIdSequence."""

from __future__ import annotations

import sqlite3
from functools import partial

from migrator.errors import ProbeError
from migrator.ltmc.probes.code_patterns import log_code_attempt
from migrator.ltmc.probes.memory import store_memory
from migrator.ltmc.probes.rows import BEYOND_COUNTING, unused_vector_id
from migrator.probes import Probe
from migrator.schema import columns_of


def next_of_row_one(connection: sqlite3.Connection) -> int:
    """One more than `last_vector_id` of row 1, which holds it afterwards.

    Raises ProbeError where row 1 holds no number that leaves a next one, and where a chunk or a pattern has a vector id
    that the sequence has still to come to.
    """
    (last,) = connection.execute("SELECT last_vector_id FROM VectorIdSequence WHERE id = 1").fetchone()
    if not isinstance(last, int) or last >= BEYOND_COUNTING:
        raise ProbeError(
            "last_vector_id of row 1 of VectorIdSequence is no number to count on from",
            "set it to the highest vector id that was given",
        )
    connection.execute("UPDATE VectorIdSequence SET last_vector_id = ? WHERE id = 1", (last + 1,))
    for table in ("ResourceChunks", "CodePatterns"):
        highest = unused_vector_id(connection, table) - 1 if "vector_id" in columns_of(connection, table) else 0
        if highest > last:
            raise ProbeError(
                f"the next vector id is {last + 1}, but {table} has {highest} already",
                f"UPDATE VectorIdSequence SET last_vector_id = {highest} WHERE id = 1 puts it above them",
            )
    return int(last) + 1


PROBES = (
    Probe("store_memory", partial(store_memory, next_vector_id=next_of_row_one)),
    Probe("log_code_attempt", partial(log_code_attempt, next_vector_id=next_of_row_one)),
)
