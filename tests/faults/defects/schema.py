"""The new table is not what it should be: a fault in the statements that make it, or in what the migration declares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from migrator.ltmc.probes.tables import TODOS
from migrator.migration import Change
from migrator.plan import TablePlan
from migrator.target import merged
from tests.faults.defects.course import Defect

CHECK = "CHECK(result IN ('pass', 'fail', 'partial'))"
FOREIGN_KEY = "FOREIGN KEY (vector_id) REFERENCES ResourceChunks (id)"
KEY = "id INTEGER PRIMARY KEY AUTOINCREMENT"


def made(name: str, old: str, new: str, says: str, gate: str = "create_indexes") -> Defect:
    """The plan's statement for the new table has `new` in place of `old`."""

    def spoil(plan: TablePlan) -> TablePlan:
        assert old in plan.create, (old, plan.create)
        return replace(plan, create=plan.create.replace(old, new, 1))

    return Defect(name, gate, says, before="stage", plan=spoil)


def indexed(name: str, old: str, new: str | None, says: str) -> Defect:
    """The planned index with `old` in its text has `new` there; None: it is not made."""

    def spoil(plan: TablePlan) -> TablePlan:
        kept = [sql for sql in plan.indexes if old not in sql]
        assert len(kept) < len(plan.indexes), (old, plan.indexes)
        altered = [] if new is None else [sql.replace(old, new) for sql in plan.indexes if old in sql]
        return replace(plan, indexes=(*kept, *altered))

    return Defect(name, "create_indexes", says, before="stage", plan=spoil)


def declared(name: str, old: str, new: str, says: str, gate: str = "validate_tool") -> Defect:
    """The migration's author wrote `new` in place of `old`, in the table to be or in an index."""

    def spoil(change: Change) -> Change:
        after, indexes = (change.after or "").replace(old, new), tuple(sql.replace(old, new) for sql in change.indexes)
        assert (after, indexes) != (change.after, change.indexes), old
        return replace(change, after=after, indexes=indexes)

    return Defect(name, gate, says, change=spoil)


def with_index(sql: str) -> Callable[[Change], Change]:
    return lambda change: replace(change, indexes=(*change.indexes, sql))


def without_index(part: str) -> Callable[[Change], Change]:
    return lambda change: replace(change, indexes=tuple(sql for sql in change.indexes if part not in sql))


def todos_with_status(change: Change) -> Change:
    """A column between the others: what reads by position gets another one."""
    before = f"CREATE TABLE {TODOS}"
    return Change(
        "Todos", before, before.replace("completed BOOLEAN", "status TEXT DEFAULT 'pending', completed BOOLEAN")
    )


def merged_without_foreign_keys(*arguments: Any) -> Any:
    text = merged(*arguments)
    return replace(text, definitions=tuple(d for d in text.definitions if "FOREIGN KEY" not in d.text))


DEFECTS = (
    made("a column is missing", "    tags TEXT,\n", "", "has no column named tags", gate="rebuild_table"),
    made("a column is misspelt", "module_name", "modul_name", "has no column named module_name", gate="rebuild_table"),
    made("a column more", "tags TEXT", "tags TEXT, debug TEXT", "column debug of table CodePatterns is debug TEXT"),
    made("integers as REAL", "_ms INTEGER", "_ms REAL", "has execution_time_ms REAL"),
    made("an empty column as TEXT", "vector_id INTEGER", "vector_id TEXT", "has vector_id TEXT UNIQUE"),
    made("texts as BLOB", "error_message TEXT", "error_message BLOB", "has error_message BLOB"),
    made(
        "two columns in each other's place",
        "function_name TEXT,\n    file_name TEXT",
        "file_name TEXT,\n    function_name TEXT",
        "table CodePatterns is not as planned: it has the order id, file_name, function_name",
    ),
    made("no UNIQUE", " UNIQUE", "", "table CodePatterns is not as planned: it lacks vector_id INTEGER UNIQUE"),
    made("no CHECK", CHECK, "", "table CodePatterns is not as planned: it lacks result TEXT CHECK"),
    made("a CHECK that allows more", "'partial')", "'partial', 'error')", "has result TEXT CHECK.*'error'"),
    made(
        "a CHECK that allows less",
        "'fail', 'partial')",
        "'fail')",
        "rows of CodePatterns.* do not fit the constraints .CHECK constraint failed: result",
        gate="rebuild_table",
    ),
    made("no foreign key", f",\n    {FOREIGN_KEY}", "", "it lacks FOREIGN KEY .vector_id. REFERENCES ResourceChunks"),
    made("a foreign key on another table", "REFERENCES ResourceChunks", "REFERENCES Todos", "it lacks FOREIGN KEY"),
    made("a foreign key that deletes", FOREIGN_KEY, f"{FOREIGN_KEY} ON DELETE CASCADE", "has FOREIGN .* CASCADE"),
    made("no NOT NULL", "generated_code TEXT NOT NULL", "generated_code TEXT", "it lacks generated_code TEXT NOT NULL"),
    made("a collation", "input_prompt TEXT", "input_prompt TEXT COLLATE NOCASE", "has input_prompt .* NOCASE"),
    made("no AUTOINCREMENT", " AUTOINCREMENT", "", f"it lacks {KEY}"),
    made("no primary key", " PRIMARY KEY AUTOINCREMENT", "", f"it lacks {KEY}"),
    Defect(
        "a plan that loses the declared foreign key",
        "create_indexes",
        "constraint of table CodePatterns is missing, expected FOREIGN KEY",
        code=("migrator.planning.merged", merged_without_foreign_keys),
    ),
    indexed("no index", "codepatterns_created_at", None, "index idx_codepatterns_created_at is missing"),
    indexed(
        "an index on another column",
        "idx_codepatterns_result ON CodePatterns(result)",
        "idx_codepatterns_result ON CodePatterns(tags)",
        "index idx_codepatterns_result is not as planned",
    ),
    indexed(
        "an index with its columns in another order",
        "(function_name, result)",
        "(result, function_name)",
        "index idx_codepatterns_function_result is not as planned",
    ),
    indexed(
        "an index of some rows",
        "(created_at)",
        "(created_at) WHERE id > 9",
        "codepatterns_created_at is not as planned",
    ),
    indexed("an index that descends", "(created_at)", "(created_at DESC)", "codepatterns_created_at is not as planned"),
    indexed(
        "an index that is unique",
        "CREATE INDEX idx_codepatterns_result ON",
        "CREATE UNIQUE INDEX idx_codepatterns_result ON",
        "do not fit index idx_codepatterns_result",
    ),
    # What the migration declares is what is planned and made: that it is wrong only the tools and the promises know.
    declared(
        "a declared column is misspelt",
        "module_name",
        "modul_name",
        "tool log_code_attempt .* column named module_name",
    ),
    declared("a declared column is missing", "    tags TEXT,\n", "", "tool log_code_attempt .* no column named tags"),
    declared(
        "integers declared as TEXT",
        "vector_id INTEGER",
        "vector_id TEXT",
        "tool log_code_attempt .*vector_id of the new row is text",
    ),
    declared(
        "integers declared as REAL",
        "_ms INTEGER",
        "_ms REAL",
        "with another execution_time_ms.*CAST",
        gate="create_indexes",
    ),
    declared(
        "texts declared as INTEGER",
        "function_name TEXT",
        "function_name INTEGER",
        "tool log_code_attempt .*CodePatterns.function_name of the new row is 42",
    ),
    declared(
        "no UNIQUE declared", " UNIQUE", "", "promise 'a duplicate vector_id is refused'", gate="check_constraints"
    ),
    declared("no CHECK declared", CHECK, "", "promise .the result 'success' is refused", gate="check_constraints"),
    declared(
        "NOT NULL declared",
        "result TEXT CHECK",
        "result TEXT NOT NULL CHECK",
        "promise 'rows without a vector_id are allowed'.*NOT NULL constraint failed: CodePatterns.result",
        gate="check_constraints",
    ),
    declared(
        "UNIQUE declared",
        "file_name TEXT",
        "file_name TEXT UNIQUE",
        "tool analyze_code_patterns .*CodePatterns.file_name",
    ),
    declared(
        "an index declared on another column",
        "_at ON CodePatterns(created_at)",
        "_at ON CodePatterns(error_message)",
        "tool get_code_patterns reads all of CodePatterns",
        gate="check_performance",
    ),
    Defect(
        "no index declared",
        "check_performance",
        "tool get_code_patterns reads all of CodePatterns",
        change=without_index("created_at"),
    ),
    Defect(
        "an index that no tool uses",
        "check_performance",
        "no tool uses the indexes by_tags, idx_codepatterns_result",
        change=with_index("CREATE INDEX by_tags ON CodePatterns(tags)"),
    ),
    Defect(
        "an index declared on a column that is gone",
        "create_indexes",
        "no such column: language",
        change=with_index("CREATE INDEX by_language ON CodePatterns(language)"),
    ),
    Defect(
        "columns declared in another order than a tool reads them",
        "validate_tool",
        "tool list_todos worked before and fails .* by position",
        change=todos_with_status,
    ),
)
