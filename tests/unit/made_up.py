"""A made-up migration: one table gets a column in the middle, one is new, of one only some rows change."""

from migrator.migration import Change
from tests.unit.migrating import database, migration

TASKS = """CREATE TABLE tasks (id INTEGER PRIMARY KEY, title TEXT NOT NULL, done BOOLEAN DEFAULT 0)"""
TASKS_WITH_STATE = """CREATE TABLE tasks (id INTEGER PRIMARY KEY, state TEXT CHECK (state IN ('open', 'closed')),
    title TEXT NOT NULL, done BOOLEAN DEFAULT 0)"""
STEPS = (
    "CREATE TABLE steps (id INTEGER PRIMARY KEY AUTOINCREMENT, task INTEGER REFERENCES tasks (id), name TEXT UNIQUE)"
)
CHAT = "CREATE TABLE chat (id INTEGER PRIMARY KEY, who TEXT, role TEXT, said TEXT)"
MADE_UP = migration(
    Change(
        "tasks",
        TASKS,
        TASKS_WITH_STATE,
        values={"state": "CASE done WHEN 1 THEN 'closed' ELSE coalesce(state, 'open') END"},
        indexes=("CREATE INDEX by_state ON tasks (state)",),
    ),
    Change("steps", after=STEPS, indexes=("CREATE INDEX by_task ON steps (task)",)),
    Change("chat", values={"who": "role", "role": "said", "said": "who"}, where="said IN ('user', 'bot')"),
)


def made_up():
    return database(
        TASKS,
        CHAT,
        "CREATE TABLE other (x)",
        "INSERT INTO tasks VALUES (1, 'one', 0), (2, 'two', 1), (3, '', NULL)",
        "INSERT INTO chat VALUES (1, 'hello', 's1', 'user'), (2, 's1', 'bot', 'hi')",
        "INSERT INTO chat VALUES (3, 'x', 's2', 'bot'), (4, NULL, NULL, NULL)",
    )
