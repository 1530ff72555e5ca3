"""0002: Todos gets a status before `completed`, where the application's code expects it.

The application reads todos by position and names the column when it adds one, so without it the four todo tools fail:
its CREATE TABLE IF NOT EXISTS does nothing to a table that is there.
"""

from migrator.ltmc.probes.todo import BY_STATUS
from migrator.migration import Back, Change, Migration

BEFORE = """
CREATE TABLE Todos (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    title TEXT NOT NULL,
    description TEXT NOT NULL,
    priority TEXT DEFAULT 'medium',
    completed BOOLEAN DEFAULT 0,
    created_at TEXT NOT NULL,
    completed_at TEXT
)"""

AFTER = """
CREATE TABLE Todos (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    title TEXT NOT NULL,
    description TEXT NOT NULL,
    priority TEXT DEFAULT 'medium',
    status TEXT DEFAULT 'pending',
    completed BOOLEAN DEFAULT 0,
    created_at TEXT NOT NULL,
    completed_at TEXT
)"""

# Where somebody added the column by hand, completed todos have its default; any other status is the application's.
STATUS = """CASE WHEN coalesce(status, 'pending') <> 'pending' THEN status
    WHEN completed = 1 THEN 'completed' ELSE 'pending' END"""

# So a status that waits for the way forth is given back only to a todo that is still as far as it was.
COMPLETED = "CASE WHEN status = 'completed' THEN 1 WHEN completed = 1 THEN 0 ELSE completed END"

MIGRATION = Migration(
    tools=("add_todo", "list_todos", "complete_todo", "search_todos"),
    probes=BY_STATUS.probes,
    changes=(
        Change(
            "Todos",
            before=BEFORE,
            after=AFTER,
            values={"status": STATUS},
            back={"completed": Back(of="status", sql=COMPLETED)},
            identity=("created_at",),
        ),
    ),
)
