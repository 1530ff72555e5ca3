"""What is wrong only in live: something changes it before the promotion, in it, or right after its COMMIT."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from migrator.plan import TablePlan
from tests.faults.defects.course import Defect
from tests.faults.defects.rows import copying, copying_where
from tests.faults.defects.surroundings import made_again

CHANGED = "the schema of CodePatterns in .* is not the promoted one: {} missing or changed"


def after_commit(name: str, says: str, *sql: str) -> Defect:
    return Defect(name, "verify_live", says, before="verify_live", sql=sql)


def before_promotion(name: str, says: str, *sql: str) -> Defect:
    return Defect(name, "promote", says, before="promote", sql=sql)


def in_promotion(name: str, gate: str, says: str, plan: Callable[[TablePlan], TablePlan]) -> Defect:
    """Other statements are promoted than were rehearsed."""
    return Defect(name, gate, says, before="promote", plan=plan)


def roots_exchanged(first: str, second: str) -> tuple[str, ...]:
    """Statements after which each of two indexes has the entries of the other."""
    root = "(SELECT rootpage FROM sqlite_master WHERE name = '{}')"
    return (
        "PRAGMA writable_schema = 1",
        f"CREATE TEMP TABLE roots AS SELECT {root.format(first)} AS one, {root.format(second)} AS two",
        f"UPDATE sqlite_master SET rootpage = (SELECT two FROM roots) WHERE name = '{first}'",
        f"UPDATE sqlite_master SET rootpage = (SELECT one FROM roots) WHERE name = '{second}'",
    )


DEFECTS = (
    before_promotion(
        "live lost an index since the backup",
        "the schema of CodePatterns .* changed since the backup",
        "DROP INDEX patterns_with_error",
    ),
    before_promotion(
        "live lost a child since the backup",
        "the schema of CodePatterns or of what names it changed",
        "DROP TABLE stars",
    ),
    before_promotion(
        "live has a column more since the backup",
        "the schema of CodePatterns .* changed since the backup",
        "ALTER TABLE CodePatterns ADD COLUMN mine",
    ),
    before_promotion(
        "live has a value without an answer since the backup",
        "written since the backup: column result of CodePatterns holds 1 values .*'timeout'",
        "INSERT INTO CodePatterns (input_prompt, generated_code, result, created_at) VALUES ('', '', 'timeout', '')",
    ),
    before_promotion(
        "live has a table named like the shadow",
        "somebody made objects named like this tool's own: _mig_CodePatterns",
        "CREATE TABLE _mig_CodePatterns (x)",
    ),
    in_promotion(
        "rows are lost in the promotion",
        "promote",
        "table CodePatterns: 200 rows, 199 copied",
        copying_where("id <> 150"),
    ),
    in_promotion(
        "a value is changed in the promotion",
        "promote",
        "table CodePatterns: .* 200 of them differ",
        copying("created_at", "' ' || created_at"),
    ),
    in_promotion(
        "a constraint is lost in the promotion",
        "verify_live",
        CHANGED.format("table codepatterns"),
        lambda plan: replace(plan, create=plan.create.replace(" UNIQUE", "")),
    ),
    in_promotion(
        "an index is lost in the promotion",
        "verify_live",
        CHANGED.format("index idx_codepatterns_created_at"),
        lambda plan: replace(
            plan, indexes=tuple(sql for sql in plan.indexes if "_at ON CodePatterns(created_at)" not in sql)
        ),
    ),
    in_promotion(
        "indexes and triggers of the table are lost in the promotion",
        "verify_live",
        CHANGED.format("index patterns_with_error, trigger remember_attempt"),
        lambda plan: replace(plan, recreate=()),
    ),
    after_commit(
        "live lost an index", CHANGED.format("index idx_codepatterns_result"), "DROP INDEX idx_codepatterns_result"
    ),
    after_commit(
        "live has an index on another column",
        CHANGED.format("index idx_codepatterns_result"),
        "DROP INDEX idx_codepatterns_result",
        "CREATE INDEX idx_codepatterns_result ON CodePatterns (tags)",
    ),
    after_commit("live lost a trigger", CHANGED.format("trigger remember_attempt"), "DROP TRIGGER remember_attempt"),
    after_commit("live lost a view", CHANGED.format("view failed_attempts"), "DROP VIEW failed_attempts"),
    after_commit(
        "live has a column more", CHANGED.format("table codepatterns"), "ALTER TABLE CodePatterns ADD COLUMN mine"
    ),
    after_commit(
        "live lost a column", CHANGED.format("table codepatterns"), "ALTER TABLE CodePatterns DROP COLUMN tags"
    ),
    after_commit(
        "live lost its CHECK",
        CHANGED.format("table codepatterns"),
        *made_again("table", "CodePatterns", "CHECK(result IN (''pass'', ''fail'', ''partial''))", ""),
    ),
    after_commit(
        "live lost a child's foreign key",
        CHANGED.format("table stars"),
        *made_again("table", "stars", " REFERENCES CodePatterns (id) ON DELETE CASCADE", ""),
    ),
    after_commit(
        "an index of live lacks rows",
        "subject.db is damaged: .*",
        *roots_exchanged("idx_codepatterns_result", "idx_codepatterns_created_at"),
    ),
    after_commit("the ledger lost the run", "the ledger of .* does not know run", "DELETE FROM _migration_history"),
    after_commit(
        "the ledger names another run",
        "the ledger of .* does not know run",
        "UPDATE _migration_history SET run_id = '0'",
    ),
    after_commit(
        "live lost the mark of given ids",
        "AUTOINCREMENT mark of CodePatterns",
        "DELETE FROM sqlite_sequence WHERE name = 'CodePatterns'",
    ),
)
