"""Every version there and back through the whole flow: the real database, a made-up sixth migration, a baseline."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import flows.migrate
from flows.request import MigrationRequest
from migrator import ltmc, promotion
from migrator.connect import opened
from migrator.content import read_contents
from migrator.errors import RefusedError, ValidationError
from migrator.loading import load_migrations
from migrator.ltmc import LTMC
from migrator.migration import Change, Migration
from migrator.preflight import read_state
from tests.pipeline.programs import output_of
from tests.pipeline.runs import NEWEST, PLENTY_MS, REAL, beside
from tests.runs import rows, run_sql

WAYS = {"one_transaction": PLENTY_MS, "online": 0.001}
SIXTH = '''"""0006: made up for a test."""

from migrator.migration import Change, Migration

TODOS = {todos!r}

MIGRATION = Migration(
    changes=(
        Change(
            "Sessions",
            after="CREATE TABLE Sessions (id INTEGER PRIMARY KEY, agent TEXT NOT NULL UNIQUE, begun TEXT)",
            indexes=("CREATE INDEX idx_sessions_begun ON Sessions(begun)",),
        ),
        Change(
            "Todos",
            before=TODOS,
            after=TODOS.replace("completed_at TEXT", "completed_at TEXT, urgent INTEGER NOT NULL DEFAULT 0"),
            values={{"urgent": "CASE WHEN priority = 'low' THEN 1 ELSE urgent END"}},
            originals="Todos_6_legacy",
            ahead="Todos_6_ahead",
        ),
        Change("Resources", values={{"file_name": "lower(file_name)"}}, where="type = 'code'"),
    ),
)
'''


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.prove.MEMORY_S", 0.0)


def to(database: Path, version: int, **more: Any) -> dict[str, Any]:
    report: dict[str, Any] = flows.migrate.migrate.fn(MigrationRequest(database=database, to=version, **more))
    assert report["outcome"] == "migrated", report["error"]
    assert report["to_version"] == version
    return report


def hashed(database: Path) -> tuple[str, dict[str, Any]]:
    """The fingerprint of the schema and the hash of every table's content, without this tool's own."""
    with opened(database, read_only=True) as connection:
        schema = read_state(connection, flows.migrate.LTMC).schema
        return schema.fingerprint, dict(read_contents(connection, schema))


@pytest.mark.skipif(not REAL.exists(), reason="the real database is not beside the checkout")
@pytest.mark.parametrize("way", WAYS)
def test_the_real_database_goes_up_and_down_to_the_same_hash_at_once_and_in_steps(tmp_path: Path, way: str) -> None:
    database = tmp_path / "real.db"
    shutil.copyfile(REAL, database)
    old = hashed(database)
    lock = {"max_lock_ms": WAYS[way]}
    assert to(database, NEWEST, **lock)["promote"]["strategy"] == way
    new = hashed(database)
    assert new != old and len(new[1]) == len(old[1]) + 8
    to(database, 0, **lock)
    assert hashed(database) == old
    for version in range(1, NEWEST + 1):
        to(database, version, **lock)
    assert hashed(database) == new
    for version in reversed(range(NEWEST)):
        to(database, version, **lock)
    assert hashed(database) == old


@pytest.fixture
def with_a_sixth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of migrations with one file more, and no other change."""
    folder = tmp_path / "migrations"
    shutil.copytree(Path(ltmc.__file__).parent / "migrations", folder)
    todos = LTMC.migrations[1].changes[0].after
    (folder / "m0006_sessions.py").write_text(SIXTH.format(todos=todos), encoding="utf-8")
    monkeypatch.setattr("flows.migrate.LTMC", replace(LTMC, migrations=load_migrations(folder)))


@pytest.mark.usefixtures("with_a_sixth")
@pytest.mark.parametrize("way", WAYS)
def test_a_sixth_migration_is_one_file(demo: Path, way: str) -> None:
    old = hashed(demo)
    there = to(demo, 5, max_lock_ms=PLENTY_MS)
    lock = {"max_lock_ms": WAYS[way]}
    sixth = to(demo, 6, **lock)
    assert (sixth["promote"]["strategy"], there["promote"]["strategy"]) == (way, "one_transaction")
    counted = rows(demo, "SELECT urgent, priority, count(*) FROM Todos GROUP BY 1, 2")
    assert counted == [(0, None, 5), (0, "medium", 4), (1, "low", 1)]
    (unused,) = (f for f in sixth["findings"] if f["code"] == "index_unused")
    assert (unused["message"], unused["count"]) == ("no tool uses index idx_sessions_begun", 1)
    run_sql(demo, "INSERT INTO Sessions (agent) VALUES ('cursor')", "UPDATE Todos SET urgent = 7 WHERE id = 3")
    new = hashed(demo)
    back = to(demo, 5, **lock)
    said = {f["message"]: f["count"] for f in back["findings"] if f["code"] == "originals_kept"}
    assert said == {
        "rows of Todos with what the new table cannot hold; Todos_6_ahead keeps it": 1,
        "rows of Sessions, which the schema to be does not have; Sessions_ahead keeps them": 1,
    }
    to(demo, 6, **lock)
    assert hashed(demo) == new
    run_sql(demo, "DELETE FROM Sessions", "UPDATE Todos SET urgent = 0 WHERE id = 3")
    to(demo, 0)
    assert hashed(demo) == old


@pytest.mark.usefixtures("with_a_sixth")
@pytest.mark.parametrize("way", WAYS)
def test_six_pending_migrations_two_of_one_table_are_one_backup_and_one_promotion(demo: Path, way: str) -> None:
    old = hashed(demo)
    report = to(demo, 6, max_lock_ms=WAYS[way])
    assert report["promote"]["strategy"] == way
    assert [s["name"] for s in report["steps"]].count("promote") == 1
    assert [path.parent.parent.name for path in demo.parent.glob("*.backups/*/backup.db")] == ["demo.db.backups"]
    assert rows(demo, "SELECT count(*), count(DISTINCT run_id) FROM _migration_history") == [(6, 1)]
    to(demo, 0, max_lock_ms=WAYS[way])
    assert hashed(demo) == old


def test_what_the_old_schema_cannot_hold_is_in_the_report_before_live_is_written(
    demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to(demo, NEWEST)
    run_sql(
        demo,
        "UPDATE Todos SET status = 'in progress' WHERE id = 3",
        "INSERT INTO TeamMembers (member_id, name, created_at, updated_at) VALUES ('m', 'M', '', '')",
        "UPDATE CodePatterns SET tags = '[]' WHERE id = 1",
    )
    told: list[dict[str, int]] = []
    promote = promotion.promote

    def looking(*given: Any, **options: Any) -> Any:
        reports = [json.loads(path.read_text()) for path in demo.parent.glob("*.backups/*/report.json")]
        (report,) = [report for report in reports if report["outcome"] is None]
        told.append({f["message"]: f["count"] for f in report["findings"] if f["code"] == "originals_kept"})
        return promote(*given, **options)

    monkeypatch.setattr(promotion, "promote", looking)
    to(demo, 0)
    assert told == [
        {
            "rows of TeamMembers, which the schema to be does not have; TeamMembers_ahead keeps them": 1,
            "rows of Todos with what the new table cannot hold; Todos_ahead keeps it": 1,
            "rows of CodePatterns with what the new table cannot hold; CodePatterns_ahead keeps it": 1,
        }
    ]


@pytest.fixture
def made_by_the_application(demo: Path) -> Path:
    """A database with the newest schema of which this tool knows nothing."""
    to(demo, NEWEST)
    own = [*LTMC.own_tables & {name for (name,) in rows(demo, "SELECT name FROM sqlite_master")}]
    run_sql(demo, *(f"DROP TABLE {name}" for name in own))
    shutil.rmtree(demo.with_name("demo.db.backups"))
    return demo


@pytest.mark.usefixtures("server")
def test_a_baseline_writes_the_ledger_and_says_so(made_by_the_application: Path) -> None:
    database = made_by_the_application
    before = hashed(database)
    order = ("flows.migrate", database.parent, "--database", str(database), "--json")
    code, stdout, stderr = output_of(*order, "--baseline")
    report = json.loads(stdout)
    assert (code, report["outcome"], report["to_version"]) == (0, "migrated", NEWEST), stderr
    assert report["promote"]["rows"] == 0
    said = [f["message"] for f in report["findings"]]
    assert f"demo.db has the schema of {NEWEST:04d} already: only the ledger is written" in said
    assert [t["status"] for t in report["tools"]].count("passed") == 20
    assert not [s["name"] for s in report["steps"] if s["name"].startswith(("rebuild", "add column", "convert"))]
    assert hashed(database) == before
    code, stdout, _ = output_of(*order)
    assert (code, json.loads(stdout)["outcome"]) == (0, "up_to_date")


def test_a_baseline_of_another_schema_is_refused_with_every_difference_and_exit_code_2(demo: Path) -> None:
    before = demo.read_bytes()
    code, stdout, stderr = output_of("flows.migrate", demo.parent, "--database", str(demo), "--baseline")
    assert (code, stdout) == (2, "")
    told = ("tables TaskBlueprints, ", "indexes idx_codepatterns_result, ", "table Todos lacks status; ")
    for difference in (*told, "; migrate without --baseline"):
        assert difference in stderr
    assert demo.read_bytes() == before
    assert beside(demo) == []


def test_rows_that_a_baseline_would_leave_unrepaired_are_refused(
    made_by_the_application: Path,
) -> None:
    database = made_by_the_application
    run_sql(database, "UPDATE VectorIdSequence SET last_vector_id = 0 WHERE id = 1")
    before = database.read_bytes()
    with pytest.raises(RefusedError, match="1 rows of VectorIdSequence are not as migration 0004_vector_id_sequence"):
        flows.migrate.migrate.fn(MigrationRequest(database=database, baseline=True))
    assert database.read_bytes() == before
    assert beside(database) == []
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name LIKE '%migration%'").fetchone() == (0,)


def test_a_tool_that_only_an_index_breaks_is_told_at_that_step(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    to(demo, NEWEST)
    before = hashed(demo)
    ((last,),) = rows(demo, "SELECT max(id) FROM Todos")
    # An error of every row that is new, and of none that is there.
    overflow = f"CREATE INDEX overflow ON Todos (abs(-9223372036854775807 - 1 + 0 * id)) WHERE id > {last}"
    sixth = Migration((Change("Todos", indexes=(overflow,)),), tools=("add_todo",), version=NEWEST + 1, name="overflow")
    monkeypatch.setattr("flows.migrate.LTMC", replace(LTMC, migrations=(*LTMC.migrations, sixth)))
    with pytest.raises(ValidationError, match="tool add_todo worked before and fails on the migrated copy: integer ov"):
        to(demo, NEWEST + 1)
    (report,) = (
        json.loads(path.read_text())
        for path in demo.parent.glob("demo.db.backups/*/report.json")
        if json.loads(path.read_text())["to_version"] == NEWEST + 1
    )
    changes = [(c["tool"], c["step"], c["state"]) for c in report["tool_changes"]]
    assert changes == [("add_todo", "before the migration", "works"), ("add_todo", "create indexes", "fails")]
    assert hashed(demo) == before
