"""The migrations after the first: tables that are new, a value that other tables decide, rows that change alone."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from migrator.plan import TablePlan
from tests.faults.defects.course import LATER, Defect
from tests.faults.defects.rows import changed

MADE = "the rows of {} are not what the migration makes of the backup's .*"
BACK = "the way back would not give the rows of {} that were there"
later = partial(changed, subject=LATER)


def _of_fewer_rows(plan: TablePlan) -> TablePlan:
    """One row that has to change is left out of those that take their places."""
    first = "(SELECT min(id) FROM ChatHistory_legacy)"
    return replace(plan, copy=f'{plan.copy} WHERE "id" > {first}') if plan.table == "ChatHistory" else plan


def _without_an_index(plan: TablePlan) -> TablePlan:
    return replace(plan, indexes=plan.indexes[1:]) if plan.table == "TaskAssignments" else plan


DEFECTS = (
    later(
        "a message that was sound is changed",
        "UPDATE ChatHistory SET content = content || ' ' WHERE id = (SELECT max(id) FROM ChatHistory)",
        MADE.format("ChatHistory") + "1 with another content",
    ),
    later(
        "a repaired message is as it was",
        "UPDATE ChatHistory SET (conversation_id, role, content) = (content, conversation_id, role) "
        "WHERE id = (SELECT min(id) FROM ChatHistory_legacy)",
        MADE.format("ChatHistory") + "1 with another content",
    ),
    later(
        "what a repaired message was is lost",
        "DELETE FROM ChatHistory_legacy WHERE id = (SELECT min(id) FROM ChatHistory_legacy)",
        BACK.format("ChatHistory"),
    ),
    Defect(
        "a row that has to change is forgotten", "create_indexes",
        MADE.format("ChatHistory") + "1 with another content",
        before="stage", plan=_of_fewer_rows, subject=LATER,
    ),
    later(
        "the next vector id is one that is in use",
        "UPDATE VectorIdSequence SET last_vector_id = last_vector_id - 1 WHERE id = 1",
        MADE.format("VectorIdSequence") + "1 with another last_vector_id",
    ),
    later(
        "ids that were given are given again",
        "UPDATE sqlite_sequence SET seq = 1 WHERE name = 'VectorIdSequence'",
        "the AUTOINCREMENT mark of VectorIdSequence",
    ),
    later(
        "a todo that is done is pending",
        "UPDATE Todos SET status = 'pending' WHERE completed = 1",
        MADE.format("Todos") + r"\d+ with another status",
    ),
    later(
        "a new table is missing", "DROP TABLE RealtimeSync", "table RealtimeSync is missing",
    ),
    Defect(
        "a new table lacks an index", "create_indexes", "index idx_taskassignments_[a-z]+ is missing",
        before="stage", plan=_without_an_index, subject=LATER,
    ),
    later(
        "a new table has rows that nobody wrote",
        "INSERT INTO TeamMembers (member_id, name, created_at, updated_at) VALUES ('m', 'n', '2026', '2026')",
        r"TeamMembers that were there|1 rows in place of 0",
    ),
)  # fmt: skip
