"""The rows of the migrated table are not what the migration makes of them, or what was put aside of them is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from migrator.ddl import quote
from migrator.migration import Change
from migrator.plan import TablePlan
from migrator.projection import Projection
from tests.faults.defects.course import NOTED, Defect

ORIGINALS = "the way back would not give the rows of CodePatterns that were there"
PROJECTED = "the rows of CodePatterns are not what the migration makes of the backup's"
MS = '"execution_time_ms"'


def copying(column: str, value: str) -> Callable[[TablePlan], TablePlan]:
    """Makes the statement that copies the rows give `column` another value; the comparison stays right."""

    def spoil(plan: TablePlan) -> TablePlan:
        head, listed = plan.copy.split(") SELECT ", 1)
        columns, source = listed.split(" FROM (", 1)
        assert quote(column) in columns, plan.copy
        return replace(plan, copy=f"{head}) SELECT {columns.replace(quote(column), value)} FROM ({source}")

    return spoil


def copying_where(condition: str) -> Callable[[TablePlan], TablePlan]:
    """Makes it leave rows out."""
    return lambda plan: replace(plan, copy=f"{plan.copy} WHERE {condition}")


def copied(name: str, column: str, value: str) -> Defect:
    says = f"{PROJECTED} .*with another {column}"
    return Defect(name, "create_indexes", says, before="stage", plan=copying(column, value))


def lost(name: str, condition: str) -> Defect:
    says = r"table CodePatterns: 200 rows, \d+ copied"
    return Defect(name, "rebuild_table", says, before="stage", plan=copying_where(condition))


def changed(name: str, sql: str, says: str, before: str = "create_indexes", **fields: Any) -> Defect:
    """Something changes the candidate just before a step; the steps themselves are right."""
    return Defect(name, "create_indexes", says, before=before, sql=(sql,), **fields)


def with_value(name: str, gate: str, says: str, column: str, value: str, **fields: Any) -> Defect:
    """The migration declares a value that is wrong."""

    def spoil(change: Change) -> Change:
        return replace(change, values={**change.values, column: value})

    return Defect(name, gate, says, change=spoil, **fields)


_sql = Projection.sql


def cut_off(self: Projection, *arguments: Any, **options: Any) -> str:
    """The projection, with a fault in old rows alone: no list of a tool goes back so far."""
    text = _sql(self, *arguments, **options)
    value = 'CASE WHEN id < 100 THEN substr("input_prompt", 1, 9) ELSE "input_prompt" END AS "input_prompt"'
    return text.replace(', "input_prompt" AS "input_prompt"', f", {value}")


DEFECTS = (
    replace(
        copied("ids are counted anew", "id", "row_number() OVER (ORDER BY id)"),
        says=f"{PROJECTED} .*missing, .* too many",
    ),
    lost("rows are lost", "id % 50 <> 0"),
    lost("the newest row is lost", "id < (SELECT max(id) FROM CodePatterns)"),
    lost("rows without a value are lost", "error_message IS NOT NULL"),
    copied("two columns are exchanged", "input_prompt", '"generated_code"'),
    copied("texts are cut off", "generated_code", 'substr("generated_code", 1, 60)'),
    copied("texts end at the first NUL", "generated_code", "printf('%s', \"generated_code\")"),
    copied("texts are encoded twice", "input_prompt", "replace(\"input_prompt\", 'Ü', 'Ãœ')"),
    copied("texts are normalized", "input_prompt", "replace(\"input_prompt\", 'é', 'e' || char(769))"),
    copied("line ends are converted", "input_prompt", 'replace("input_prompt", char(10), char(13, 10))'),
    copied("texts lose their white space", "error_message", 'trim("error_message")'),
    copied("texts become blobs", "input_prompt", 'CAST("input_prompt" AS BLOB)'),
    copied("times are off by 1 ms", "execution_time_ms", f"{MS} + 1"),
    copied("times are off by 1000", "execution_time_ms", f"{MS} / 1000"),
    copied("times are cut off, not rounded", "execution_time_ms", "CAST(_was_execution_time * 1000 AS INTEGER)"),
    copied("no time becomes 0", "execution_time_ms", f"coalesce({MS}, 0)"),
    copied("NULL becomes an empty text", "error_message", "coalesce(\"error_message\", '')"),
    copied("moments in another form", "created_at", "replace(\"created_at\", 'T', ' ')"),
    copied("failures become successes", "result", "CASE \"result\" WHEN 'fail' THEN 'pass' ELSE \"result\" END"),
    # What happens to the rows between two steps.
    changed(
        "one byte of one row",
        "UPDATE CodePatterns SET input_prompt = input_prompt || '.' WHERE id = 150",
        f"{PROJECTED} .1 with another input_prompt",
    ),
    changed("one row", "DELETE FROM CodePatterns WHERE id = 150", f"{PROJECTED} .1 missing"),
    changed(
        "one row twice",
        "INSERT INTO notes (id, body, mood) SELECT 101, body, mood FROM notes WHERE id = 50",
        "the rows of notes are not what the migration makes of the backup's .1 too many",
        subject=NOTED,
    ),
    changed(
        "two rows exchange a value",
        "UPDATE CodePatterns SET created_at = other.created_at FROM (SELECT 301 - id AS id, created_at FROM "
        "CodePatterns WHERE id IN (150, 151)) AS other WHERE other.id = CodePatterns.id",
        f"{PROJECTED} .2 with another created_at",
    ),
    changed("ids are moved", "UPDATE CodePatterns SET id = id + 1000", f"{PROJECTED} .200 missing, 200 too many"),
    changed(
        "a new column is not empty",
        "UPDATE CodePatterns SET function_name = '' WHERE id = 150",
        f"{PROJECTED} .1 with another function_name",
    ),
    changed(
        "tags of an old row that are no JSON",
        "UPDATE CodePatterns SET tags = 'a,b' WHERE id = 5",
        f"{PROJECTED} .1 with another tags",
    ),
    changed(
        "a result of another row",
        "UPDATE CodePatterns SET result = 'pass' WHERE id = (SELECT max(id) FROM CodePatterns WHERE result = 'fail')",
        f"{PROJECTED} .1 with another result",
    ),
    changed(
        "a row lost before the rebuild",
        "DELETE FROM CodePatterns WHERE id = 150",
        f"{PROJECTED} .1 missing",
        "add_column",
    ),
    changed(
        "a byte changed before the rebuild",
        "UPDATE CodePatterns SET input_prompt = input_prompt || ' ' WHERE id = 150",
        f"{PROJECTED} .1 with another input_prompt",
        "add_column",
    ),
    changed("no originals", "DROP TABLE CodePatterns_legacy", f"{ORIGINALS} .*result.*language.*execution_time"),
    changed("an original is lost", "DELETE FROM CodePatterns_legacy WHERE id = 5", f"{ORIGINALS} .1 with another"),
    changed(
        "an original of another row",
        "UPDATE CodePatterns_legacy SET language = 'go' WHERE id = 150",
        f"{ORIGINALS} .1 with another language",
    ),
    changed(
        "originals are rounded",
        "UPDATE CodePatterns_legacy SET execution_time = 0.0 WHERE execution_time = 0.0004",
        f"{ORIGINALS} .* with another execution_time",
    ),
    changed(
        "originals are spelt in lower case",
        "UPDATE CodePatterns_legacy SET result = lower(result)",
        f"{ORIGINALS} .* with another result",
    ),
    changed(
        "originals of another language before the rebuild",
        "UPDATE CodePatterns SET language = 'go' WHERE language = 'python'",
        f"{ORIGINALS} .* with another language",
        "add_column",
    ),
    Defect(
        "a projection that cuts off old texts",
        "create_indexes",
        f"{ORIGINALS} .* with another input_prompt",
        code=("migrator.projection.Projection.sql", cut_off),
    ),
    with_value(
        "tags declared with commas",
        "validate_tool",
        "tool get_code_patterns .*tags of row .* is not JSON",
        "tags",
        "'a,b'",
    ),
    with_value(
        "a value declared of another type",
        "create_indexes",
        "rows of notes .*100 with another stars.*give it a CAST",
        "stars",
        "'5'",
        subject=NOTED,
    ),
)
