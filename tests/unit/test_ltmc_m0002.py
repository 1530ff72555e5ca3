"""0002 on Todos: the status stands where the application reads it, says what `completed` says, and goes back."""

from itertools import product

import pytest

from migrator.ltmc import LTMC
from migrator.ltmc.probes.tables import TODOS
from migrator.schema import read_schema
from tests.unit.ltmc_databases import at_version, call, failures
from tests.unit.migrating import back, database, everything, forward, one, plan_for, promote, rehearse, tables

M0002 = LTMC.migrations[1]
TODO_TOOLS = ("add_todo", "list_todos", "complete_todo", "search_todos")
INSERT = "INSERT INTO Todos (id, title, description, completed, created_at) VALUES (?, 'title', 'text', ?, ?)"
STATUSES = {
    1: "completed",
    0: "pending",
    None: "pending",
    2: "pending",
    "true": "pending",
    "": "pending",
    b"1": "pending",
}


def todos(*statements, text=TODOS):
    connection = database(f"CREATE TABLE {text}")
    connection.executemany(INSERT, ((3 * n + 1, done, f"2025-{n}") for n, done in enumerate(STATUSES)))
    for statement in statements:
        connection.execute(statement)
    return connection


def statuses(connection):
    return connection.execute("SELECT completed, status FROM Todos ORDER BY id").fetchall()


@pytest.mark.parametrize("carry_out", [promote, rehearse])
@pytest.mark.parametrize("text", [TODOS, TODOS.replace("Todos", "todos")])
def test_the_status_says_what_completed_says_and_all_comes_back(carry_out, text):
    connection = todos(text=text)
    before = everything(connection)
    carry_out(connection, plan_for(connection, [M0002]))
    assert statuses(connection) == list(STATUSES.items())
    carry_out(connection, plan_for(connection, [M0002], reverse=True))
    assert everything(connection) == before


def test_by_position_the_status_comes_after_the_priority_and_before_completed():
    connection = todos("UPDATE Todos SET completed_at = 'then' WHERE id = 1")
    forward(connection, M0002)
    assert connection.execute("SELECT * FROM Todos WHERE id = 1").fetchone() == (
        1, "title", "text", "medium", "completed", 1, "2025-0", "then"
    )  # fmt: skip


def test_a_todo_of_a_statement_that_does_not_know_the_status_is_pending():
    connection = todos()
    forward(connection, M0002)
    connection.execute(INSERT, (100, 0, "2026"))
    assert one(connection, "SELECT status FROM Todos WHERE id = 100") == "pending"


ADDED = "ALTER TABLE Todos ADD COLUMN status TEXT"


@pytest.mark.parametrize("default", ["", " DEFAULT 'pending'"])
def test_a_status_that_somebody_added_moves_to_its_place_and_only_its_default_gives_way(default):
    connection = todos(f"{ADDED}{default}", "UPDATE Todos SET status = 'cancelled' WHERE id IN (1, 4)")
    connection.execute("INSERT INTO Todos (title, description, completed, created_at) VALUES ('t', 'd', 1, '')")
    before, schema = everything(connection), read_schema(connection)
    forward(connection, M0002)
    assert [name for _, name, *_ in connection.execute("PRAGMA table_info(Todos)")][4] == "status"
    kept = dict.fromkeys((1, 0), "cancelled")
    assert statuses(connection) == [*(STATUSES | kept).items(), (1, "completed")]
    back(connection, M0002, exactly=schema)
    assert everything(connection) == before


def test_a_status_that_the_old_table_cannot_say_waits_and_comes_back():
    connection = todos()
    forward(connection, M0002)
    connection.execute("UPDATE Todos SET status = 'in progress' WHERE id = 4")
    connection.execute("INSERT INTO Todos (title, description, status, created_at) VALUES ('t', 'd', 'new', 'later')")
    new = everything(connection)
    back(connection, M0002)
    assert connection.execute("SELECT id, status FROM Todos_ahead").fetchall() == [(4, "in progress"), (20, "new")]
    connection.execute("UPDATE Todos SET completed = 1 WHERE id = 4")
    assert tables(connection) == {"Todos", "Todos_ahead"}
    forward(connection, M0002)
    assert one(connection, "SELECT status FROM Todos WHERE id = 4") == "completed"
    connection.execute("UPDATE Todos SET completed = 0, status = 'in progress' WHERE id = 4")
    assert everything(connection) == new


def test_another_todo_that_gets_the_id_gets_nothing_of_what_waits():
    connection = todos()
    forward(connection, M0002)
    connection.execute("UPDATE Todos SET status = 'in progress' WHERE id IN (4, 10)")
    back(connection, M0002)
    connection.execute("DELETE FROM Todos WHERE id = 4")
    connection.execute(INSERT, (4, 0, "2026"))
    connection.execute("UPDATE Todos SET title = 'edited', description = '', priority = 'low' WHERE id = 10")
    forward(connection, M0002)
    found = connection.execute("SELECT id, status FROM Todos WHERE id IN (4, 10)").fetchall()
    assert found == [(4, "pending"), (10, "in progress")]


def test_a_todo_whose_status_and_completed_disagree_keeps_both_and_is_done_where_either_says_so():
    """Statements from before the status set `completed` alone, others may set the status alone."""
    written = list(product(("pending", "completed", "in progress", "", None), (0, 1, 2, None, "true")))
    connection = todos()
    forward(connection, M0002)
    connection.execute("DELETE FROM Todos")
    insert = "INSERT INTO Todos (title, description, status, completed, created_at) VALUES ('t', 'd', ?, ?, '2026')"
    connection.executemany(insert, written)
    new = everything(connection)
    back(connection, M0002)
    left = [done for (done,) in connection.execute("SELECT completed FROM Todos ORDER BY id")]
    assert left == [1 if status == "completed" else done for status, done in written]
    forward(connection, M0002)
    assert everything(connection) == new
    back(connection, M0002)
    connection.execute("UPDATE Todos SET completed = 1")
    forward(connection, M0002)
    assert statuses(connection) == [
        (done, status) if was == 1 else (1, "completed") for (status, done), was in zip(written, left, strict=True)
    ]


def test_exactly_the_todo_tools_of_the_new_application_fail_on_the_old_table():
    lacking = dict.fromkeys(TODO_TOOLS, "OperationalError: no such column: status")
    lacking["add_todo"] = "OperationalError: table Todos has no column named status"
    assert failures(at_version(1), version=2) == lacking
    assert failures(at_version(2), version=2) == {}
    assert set(M0002.tools) == set(TODO_TOOLS)


def test_the_old_application_would_read_other_columns_of_the_new_table():
    failed = failures(at_version(2), version=1)
    assert set(failed) == {"list_todos", "search_todos"}
    assert "list_todos all, by position: " in failed["list_todos"]


def test_the_new_application_lists_by_status_and_answers_with_it():
    connection = at_version(2)
    answer = call(connection, "list_todos", version=2)
    assert list(answer["all"][0]) == [
        "id", "title", "description", "priority", "status", "completed", "created_at"
    ]  # fmt: skip
    assert {(todo["status"], todo["completed"]) for todo in answer["completed"]} == {("completed", 1)}
    assert [todo["id"] for todo in answer["completed"]] == [10, 7, 4, 1]
    assert [todo["id"] for todo in answer["pending"]] == [9, 8, 6, 5, 3, 2]


COLUMNS_MIXED_UP = "UPDATE Todos SET status = priority, priority = status"


def test_the_probes_of_the_new_application_notice_what_a_migration_could_break():
    connection = at_version(2)
    before = call(connection, "list_todos", version=2)
    connection.execute("BEGIN")
    connection.execute(COLUMNS_MIXED_UP)
    connection.execute("COMMIT")
    assert call(connection, "list_todos", version=2) != before
    connection = database(
        f"CREATE TABLE {TODOS}", ADDED, "INSERT INTO Todos (title, description, created_at) VALUES ('t', 'd', '')"
    )
    assert "by position" in failures(connection, version=2)["list_todos"]
    never = "CREATE TRIGGER never AFTER UPDATE ON Todos BEGIN UPDATE Todos SET status = 'pending'; END"
    connection = at_version(2)
    connection.execute(never)
    assert "Todos: the completed row" in failures(connection, version=2)["complete_todo"]
