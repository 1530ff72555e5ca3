"""What the migration does not name is not as it was: other tables, triggers, views, marks, statistics."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from migrator import rebuild
from tests.faults.defects.course import Defect

OTHER = "the migration changed tables whose rows it does not name: "


def changed(name: str, says: str, *sql: str, before: str = "create_indexes") -> Defect:
    """Something else than the migrated table changes on the candidate."""
    return Defect(name, "create_indexes", says, before=before, sql=sql)


def made_again(kind: str, name: str, old: str, new: str) -> tuple[str, ...]:
    """Statements after which the object's text has `new` in place of `old`."""
    return (
        "PRAGMA writable_schema = 1",
        f"UPDATE sqlite_master SET sql = replace(sql, '{old}', '{new}') WHERE type = '{kind}' AND name = '{name}'",
        "PRAGMA writable_schema = RESET",
    )


def nothing(*_: Any) -> None:
    """Stands for a step of the rebuild that somebody forgot."""


DEFECTS = (
    changed("another table has another byte", f"{OTHER}Todos", "UPDATE Todos SET title = title || '.' WHERE id = 3"),
    changed("another table lost a row", f"{OTHER}Todos", "DELETE FROM Todos WHERE id = 3"),
    changed("another table has a row more", f"{OTHER}Resources", "INSERT INTO Resources VALUES (NULL, 'a', 'b', 'c')"),
    changed(
        "a number of another table is of another type",
        f"{OTHER}settings",
        "UPDATE settings SET value = 5.0 WHERE name = 'limit'",
    ),
    changed(
        "a blob of another table is text", f"{OTHER}settings", "UPDATE settings SET value = 'x' WHERE name = 'blob'"
    ),
    changed("rowids of another table are counted anew", f"{OTHER}stars", "UPDATE stars SET rowid = rowid + 100"),
    changed(
        "ids of another table are moved before the rebuild",
        f"{OTHER}ContextLinks",
        "UPDATE ContextLinks SET id = id + 1000",
        before="add_column",
    ),
    changed("another table is gone", f"{OTHER}Summaries", "DROP TABLE Summaries"),
    changed("another table is empty", f"{OTHER}ChatHistory", "DELETE FROM ChatHistory"),
    changed("the children's rows are gone", f"{OTHER}stars", "DELETE FROM stars"),
    changed(
        "the children name nobody", f"{OTHER}CodePatternContext", "UPDATE CodePatternContext SET pattern_id = NULL"
    ),
    changed(
        "a child lost its foreign key",
        "table CodePatternContext is not as planned: it lacks FOREIGN KEY .pattern_id. REFERENCES CodePatterns",
        *made_again(
            "table", "CodePatternContext", ",\n            FOREIGN KEY (pattern_id) REFERENCES CodePatterns (id)", ""
        ),
    ),
    changed(
        "a child's foreign key is on the shadow table",
        "table stars is not as planned: it lacks pattern_id INTEGER REFERENCES CodePatterns",
        *made_again("table", "stars", "REFERENCES CodePatterns", 'REFERENCES "_mig_CodePatterns"'),
    ),
    changed(
        "a child's foreign key does not cascade",
        "table stars is not as planned: it lacks pattern_id",
        *made_again("table", "stars", " ON DELETE CASCADE", ""),
    ),
    changed("the table lost its trigger", "trigger remember_attempt is missing", "DROP TRIGGER remember_attempt"),
    changed(
        "the table's trigger does something else",
        "trigger remember_attempt is not as planned",
        *made_again("trigger", "remember_attempt", "new.created_at", "new.result"),
    ),
    changed(
        "the table's trigger fires at another time",
        "trigger remember_attempt is not as planned",
        *made_again("trigger", "remember_attempt", "AFTER INSERT", "BEFORE INSERT"),
    ),
    changed(
        "the table has a trigger more",
        "trigger own was not planned",
        "CREATE TRIGGER own AFTER DELETE ON CodePatterns BEGIN SELECT 1; END",
    ),
    changed("another table lost its trigger", "trigger keep_done is missing", "DROP TRIGGER keep_done"),
    changed(
        "the table lost an index of its own", "index patterns_with_error is missing", "DROP INDEX patterns_with_error"
    ),
    changed("another table lost its index", "index todos_open is missing", "DROP INDEX todos_open"),
    changed("a view is gone", "view failed_attempts is missing", "DROP VIEW failed_attempts"),
    changed("a view of another table is gone", "view open_todos is missing", "DROP VIEW open_todos"),
    changed(
        "a view shows something else",
        "view failed_attempts is not as planned",
        *made_again("view", "failed_attempts", "= ''fail''", "= ''pass''"),
    ),
    changed(
        "a view reads the shadow table",
        "breaks view failed_attempts .no such table: main._mig_CodePatterns",
        *made_again("view", "failed_attempts", "FROM CodePatterns", "FROM _mig_CodePatterns"),
    ),
    changed("the shadow table is left over", "_mig_CodePatterns is left over", "CREATE TABLE _mig_CodePatterns (x)"),
    changed("a table more", "table copies was not planned", "CREATE TABLE copies AS SELECT * FROM CodePatterns"),
    changed(
        "the mark of given ids is gone",
        "the migration changed the AUTOINCREMENT mark of CodePatterns",
        "DELETE FROM sqlite_sequence WHERE name = 'CodePatterns'",
    ),
    changed(
        "the mark of given ids is the highest id",
        "the migration changed the AUTOINCREMENT mark of CodePatterns",
        "UPDATE sqlite_sequence SET seq = (SELECT max(id) FROM CodePatterns) WHERE name = 'CodePatterns'",
    ),
    changed(
        "another table's mark is gone",
        "the migration changed the AUTOINCREMENT mark of Todos",
        "DELETE FROM sqlite_sequence WHERE name = 'Todos'",
    ),
    changed(
        "the planner's statistics of an index are gone",
        "the migration changed the planner's statistics of CodePatterns",
        "DELETE FROM sqlite_stat1 WHERE idx = 'patterns_with_error'",
    ),
    changed(
        "another table's statistics are gone",
        "the planner's statistics of",
        "DELETE FROM sqlite_stat1 WHERE tbl = 'Todos'",
    ),
    changed(
        "the application's version is gone", "the migration changed PRAGMA user_version", "PRAGMA user_version = 0"
    ),
    changed("the file's type is gone", "the migration changed PRAGMA application_id", "PRAGMA application_id = 0"),
    Defect(
        "the rebuild forgets the mark of given ids",
        "create_indexes",
        "the migration changed the AUTOINCREMENT mark of CodePatterns",
        code=("migrator.rebuild.carry_sequence", nothing),
    ),
    Defect(
        "the rebuild forgets the planner's statistics",
        "create_indexes",
        "the migration changed the planner's statistics of CodePatterns",
        code=("migrator.rebuild.bring_back_statistics", nothing),
    ),
    Defect(
        "the rebuild forgets its triggers and indexes",
        "create_indexes",
        "index patterns_with_error is missing, trigger remember_attempt is missing",
        before="stage",
        plan=lambda plan: replace(plan, recreate=()),
    ),
    Defect(
        "the rebuild lets SQLite rewrite what names the table",
        "rebuild_table",
        "no such table: main.CodePatterns",
        code=("migrator.rebuild.SETTINGS", tuple(s for s in rebuild.SETTINGS if s[0] != "legacy_alter_table")),
    ),
    Defect(
        "the rebuild leaves foreign keys enforced",
        "rebuild_table",
        "rows of CodePatterns.*FOREIGN KEY constraint failed",
        code=("migrator.rebuild.SETTINGS", (("foreign_keys", 1), *rebuild.SETTINGS[1:])),
    ),
)
