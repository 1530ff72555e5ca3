"""0003: eight tables as the application writes them, whether or not it made them itself, and back without them."""

import pytest

from migrator.ltmc import LTMC
from migrator.schema import read_schema
from tests.unit.ltmc_databases import at_version, failures
from tests.unit.migrating import back, everything, forward, one, plan_for, promote, rehearse, tables

M0003 = LTMC.migrations[2]
NEW = {
    "TaskBlueprints",
    "TaskDependencies",
    "TeamMembers",
    "TaskAssignments",
    "DocumentationSync",
    "BlueprintCodeLinks",
    "RealtimeSync",
    "PerformanceMetrics",
}
BLUEPRINT = {"title": "A \x00", "description": "größe", "complexity": "simple", "complexity_score": 1}
AT = {"created_at": "2025-08-09", "updated_at": ""}
ROWS = (
    ("TaskBlueprints", {"blueprint_id": "b1", **BLUEPRINT, **AT}),
    ("TaskBlueprints", {"blueprint_id": "b2", **BLUEPRINT, **AT, "tags": b"\x00"}),
    ("TaskDependencies", {"dependent_blueprint_id": "b2", "prerequisite_blueprint_id": "b1", "created_at": ""}),
    # Its blueprint is gone: the application enforces no foreign key.
    ("TaskDependencies", {"dependent_blueprint_id": "b9", "prerequisite_blueprint_id": "b1", "created_at": ""}),
    ("TeamMembers", {"member_id": "m", "name": "M", "capacity": 1e300, **AT}),
    ("TeamMembers", {"member_id": "left", "name": "N", **AT}),
    (
        "TaskAssignments",
        {"assignment_id": "a", "blueprint_id": "b1", "member_id": "m", "project_id": "p", "assigned_at": ""},
    ),
    (
        "PerformanceMetrics",
        {"metric_id": "x", "metric_type": "t", "component_name": "c", "metric_value": "slow", "timestamp": ""},
    ),
)


COLUMNS = {
    "TaskBlueprints": "id INTEGER, blueprint_id TEXT!, title TEXT!, description TEXT!, complexity TEXT!, "
    "complexity_score REAL!, project_id TEXT, estimated_duration_minutes INTEGER = 30, required_skills TEXT, "
    "priority_score REAL = 0.5, resource_requirements TEXT, tags TEXT, status TEXT = 'draft', created_at TEXT!, "
    "updated_at TEXT!, unique: blueprint_id",
    "TaskDependencies": "id INTEGER, dependent_blueprint_id TEXT!, prerequisite_blueprint_id TEXT!, "
    "dependency_type TEXT = 'blocking', is_critical BOOLEAN = 0, created_at TEXT!, "
    "unique: dependent_blueprint_id+prerequisite_blueprint_id, "
    "dependent_blueprint_id -> TaskBlueprints.blueprint_id, prerequisite_blueprint_id -> TaskBlueprints.blueprint_id",
    "TeamMembers": "id INTEGER, member_id TEXT!, name TEXT!, skills TEXT, capacity REAL = 1.0, "
    "current_workload REAL = 0.0, availability_status TEXT = 'available', project_id TEXT, created_at TEXT!, "
    "updated_at TEXT!, unique: member_id",
    "TaskAssignments": "id INTEGER, assignment_id TEXT!, blueprint_id TEXT!, member_id TEXT!, project_id TEXT!, "
    "assigned_at TEXT!, status TEXT = 'assigned', progress_percentage REAL = 0.0, actual_hours_worked REAL = 0.0, "
    "notes TEXT, completed_at TEXT, unique: assignment_id, "
    "blueprint_id -> TaskBlueprints.blueprint_id, member_id -> TeamMembers.member_id",
    "DocumentationSync": "id INTEGER, sync_id TEXT!, file_path TEXT!, project_id TEXT!, sync_type TEXT!, "
    "consistency_score REAL, last_sync_at TEXT!, drift_detected BOOLEAN = 0, auto_sync_enabled BOOLEAN = 1, "
    "created_at TEXT!, updated_at TEXT!, unique: sync_id",
    "BlueprintCodeLinks": "id INTEGER, blueprint_id TEXT!, file_path TEXT!, project_id TEXT!, link_type TEXT!, "
    "consistency_status TEXT = 'unknown', last_validated_at TEXT, created_at TEXT!, "
    "blueprint_id -> TaskBlueprints.blueprint_id",
    "RealtimeSync": "id INTEGER, sync_session_id TEXT!, project_id TEXT!, monitored_paths TEXT!, "
    "sync_status TEXT = 'active', last_activity_at TEXT!, changes_detected INTEGER = 0, "
    "auto_sync_enabled BOOLEAN = 1, created_at TEXT!, updated_at TEXT!, unique: sync_session_id",
    "PerformanceMetrics": "id INTEGER, metric_id TEXT!, metric_type TEXT!, project_id TEXT, component_name TEXT!, "
    "metric_value REAL!, unit TEXT, timestamp TEXT!, metadata TEXT, unique: metric_id",
}
"""What the application's statements and their defaults rest on; `!` is NOT NULL."""


def columns(connection, table):
    info = connection.execute('SELECT name, type, "notnull", dflt_value FROM pragma_table_info(?)', (table,))
    unique = (
        "SELECT group_concat(c.name, '+') FROM pragma_index_list(?) AS i, pragma_index_info(i.name) AS c "
        'WHERE i."unique" GROUP BY i.name ORDER BY i.name'
    )
    keys = 'SELECT "from", "table", "to" FROM pragma_foreign_key_list(?) ORDER BY 1'
    return ", ".join(
        (
            *(f"{n} {t}{'!' * required}{f' = {d}' * (d is not None)}" for n, t, required, d in info),
            *(f"unique: {names}" for (names,) in connection.execute(unique, (table,))),
            *(f"{column} -> {parent}.{to}" for column, parent, to in connection.execute(keys, (table,))),
        )
    )


@pytest.mark.parametrize("table", sorted(NEW))
def test_a_table_has_the_columns_that_the_application_writes(table):
    connection = at_version(3)
    assert columns(connection, table) == COLUMNS[table]
    assert "AUTOINCREMENT" in one(connection, "SELECT sql FROM sqlite_master WHERE name = ?", table)


def fill(connection):
    for table, row in ROWS:
        insert = f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})"
        connection.execute(insert, tuple(row.values()))
    connection.execute("DELETE FROM TeamMembers WHERE member_id = 'left'")
    return connection


@pytest.mark.parametrize("carry_out", [promote, rehearse])
def test_the_tables_come_and_go(carry_out):
    connection = at_version(2)
    before = everything(connection)
    carry_out(connection, plan_for(connection, [M0003]))
    assert tables(connection) >= NEW
    assert failures(connection, version=3) == {}
    carry_out(connection, plan_for(connection, [M0003], reverse=True))
    assert everything(connection) == before


@pytest.mark.parametrize("table", sorted(NEW))
def test_every_foreign_key_has_an_index_that_begins_with_it(table):
    connection = at_version(3)
    keys = connection.execute('SELECT "from" FROM pragma_foreign_key_list(?)', (table,)).fetchall()
    first = "SELECT c.name FROM pragma_index_list(?) AS i, pragma_index_info(i.name) AS c WHERE c.seqno = 0"
    assert set(keys) <= set(connection.execute(first, (table,)))
    assert len(keys) == {"TaskDependencies": 2, "TaskAssignments": 2, "BlueprintCodeLinks": 1}.get(table, 0)


def test_every_foreign_key_is_one_that_sqlite_can_check():
    connection = fill(at_version(3))
    violations = connection.execute("PRAGMA foreign_key_check").fetchall()
    assert [(child, parent) for child, _, parent, _ in violations] == [("TaskDependencies", "TaskBlueprints")]


def test_rows_wait_beside_the_old_schema_and_come_back():
    connection = fill(at_version(3))
    new = everything(connection)
    back(connection, M0003)
    waiting = {"TaskBlueprints", "TaskDependencies", "TeamMembers", "TaskAssignments", "PerformanceMetrics"}
    assert {t for t in tables(connection) if t.endswith("_ahead")} == {f"{table}_ahead" for table in waiting}
    assert tables(connection) & NEW == set()
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    forward(connection, M0003)
    assert everything(connection) == new
    connection.execute("INSERT INTO TeamMembers (member_id, name, created_at, updated_at) VALUES ('n', 'N', '', '')")
    assert one(connection, "SELECT max(id) FROM TeamMembers") == 3


@pytest.mark.parametrize("carry_out", [promote, rehearse])
def test_tables_that_the_application_made_itself_are_kept_with_their_rows(carry_out):
    connection = at_version(2)
    for change in M0003.changes:
        connection.execute(change.after.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS"))
    fill(connection)
    before, schema = everything(connection), read_schema(connection)
    carry_out(connection, plan_for(connection, [M0003]))
    after = everything(connection, M0003.own_tables)
    assert {table: after[table] for table in NEW} == {table: before[table] for table in NEW}
    assert sum(index[0] == "index" and index[1].startswith("idx_task") for index in after[""]) == 3
    carry_out(connection, plan_for(connection, [M0003], reverse=True, exactly=schema))
    assert everything(connection) == before
