"""0004: row 1 of VectorIdSequence knows the highest vector id that was ever given.

The application used to take the row id of a new row for the next vector id; now it counts on from `last_vector_id` of
row 1, which is 0 in every database that it made before. Its first ids would be those of chunks that are there.
"""

from migrator.ltmc.probes.sequence_row import PROBES
from migrator.migration import Behaviour, Change, Migration

# An id of VectorIdSequence counts even where nothing has it: whatever failed after taking it may have left a trace.
# Without `> 0` every row would be looked at that has no vector id, right after 0001 all of them, under the lock.
USED = """max(
    coalesce((SELECT max(vector_id) FROM ResourceChunks WHERE vector_id > 0 AND typeof(vector_id) = 'integer'), 0),
    coalesce((SELECT max(vector_id) FROM CodePatterns WHERE vector_id > 0 AND typeof(vector_id) = 'integer'), 0))"""
GIVEN = f"max({USED}, coalesce((SELECT max(id) FROM VectorIdSequence), 0))"

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
            values={"last_vector_id": f"max(CAST(coalesce(last_vector_id, 0) AS INTEGER), {GIVEN})"},
            # After the way back the application takes row ids again, which must not meet what was given since.
            mark=USED,
            behaviours=(Behaviour("the next three vector ids are free", (_NEXT, _CHUNK) * 3),),
        ),
    ),
)
