"""0004: row 1 of VectorIdSequence knows the highest vector id that was ever given.

The application used to take the row id of a new row for the next vector id; now it counts on from `last_vector_id` of
row 1, which is 0 in every database that it made before. Its first ids would be those of chunks that are there.
"""

from migrator.ltmc.probes.rows import BEYOND_COUNTING
from migrator.ltmc.probes.sequence_row import PROBES
from migrator.migration import Behaviour, Change, Migration


def _highest(column: str, source: str, only: str = "true") -> str:
    """SQL for the highest id of `column`, 0 where there is none."""
    # Without `> 0` every row would be looked at that has none, right after 0001 all patterns, under the lock.
    is_id = f"{column} > 0 AND typeof({column}) = 'integer' AND {column} < {BEYOND_COUNTING}"
    return f"coalesce((SELECT max({column}) FROM {source} WHERE {is_id} AND {only}), 0)"


USED = f"max({_highest('vector_id', 'ResourceChunks')}, {_highest('vector_id', 'CodePatterns')})"
# An id of VectorIdSequence counts even where nothing has it, also one whose row is gone: whatever failed after taking
# it may have left a trace.
_OF_ROWS = _highest("seq", "sqlite_sequence", "name = 'VectorIdSequence' COLLATE NOCASE")
GIVEN = f"max({USED}, {_highest('id', 'VectorIdSequence')}, {_OF_ROWS})"

_NUMBER = "CAST(last_vector_id AS INTEGER)"
LAST = f"CASE WHEN {_NUMBER} < {BEYOND_COUNTING} THEN {_NUMBER} ELSE 0 END"

_NEXT = "UPDATE VectorIdSequence SET last_vector_id = last_vector_id + 1 WHERE id = 1"
_CHUNK = """INSERT INTO ResourceChunks (resource_id, chunk_text, vector_id)
    SELECT NULL, 'A chunk to try the next vector id.', last_vector_id FROM VectorIdSequence WHERE id = 1"""

MIGRATION = Migration(
    tools=("store_memory", "log_code_attempt"),
    probes=PROBES,
    changes=(
        Change(
            "VectorIdSequence",
            where="id = 1",
            values={"last_vector_id": f"max({LAST}, {GIVEN})"},
            # After the way back the application takes row ids again, which must not meet what was given since. Row 1
            # has got its number back by then only where a chunk, a pattern or a row has the last id that it gave.
            mark=f"max({USED}, coalesce((SELECT {LAST} FROM VectorIdSequence WHERE id = 1), 0))",
            behaviours=(Behaviour("the next three vector ids are free", (_NEXT, _CHUNK) * 3),),
        ),
    ),
)
