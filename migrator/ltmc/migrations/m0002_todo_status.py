"""0002: Todos gets a status before `completed`, where the application's own CREATE TABLE has it since it knows one.

That does nothing to a table that is there, and statements that name the column fail without it. What takes the columns
of SELECT * by position has to know the new ones: at the old positions it finds the status for `completed`, and
`completed` for the time of creation. The version with the status still has such code in some tools. The probes speak
for an application that has none; only `--tool-server` asks the application itself. There list_todos and search_todos
fail on the migrated copy, and nothing is promoted.
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
STATUS = """CASE WHEN status <> 'pending' THEN status
    WHEN completed = 1 THEN 'completed' ELSE 'pending' END"""

# Either of both says it: a statement from before the status sets `completed` alone.
COMPLETED = "CASE WHEN status = 'completed' THEN 1 ELSE completed END"

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
