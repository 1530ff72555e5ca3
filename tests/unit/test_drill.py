"""A drill restores the newest backup as it was, or says what is not as it was; live and the backups stay untouched."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from migrator.backups.drill import KEPT_DRILLS, Drill, drill, record_drill
from migrator.backups.off_machine import upload
from migrator.files import remove_tree, sha256_of
from migrator.ltmc import LTMC
from tests.notes import NOTES, make_notes
from tests.runs import backed_up, end_of_run, rehearsed, run_sql, stored


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "notes.db"
    make_notes(path)
    return path


@pytest.fixture
def backup(database) -> Path:
    return backed_up(database).path


def changed(backup: Path, *statements: str) -> None:
    """The backup is another database than the run made, and its manifest has the hash of that file."""
    run_sql(backup, *statements)
    manifest = backup.with_name("manifest.json")
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"sha256": sha256_of(backup)}))


def reported(backup: Path, **before: str) -> None:
    """The report of the run that made the backup, with the status of each tool before the migration."""
    tools = [{"name": name, "before": status} for name, status in before.items()]
    backup.with_name("report.json").write_text(json.dumps({"tools": tools}))


def codes(done: Drill) -> list[str]:
    return [fault.code for fault in done.faults]


def test_the_newest_backup_is_restored_and_every_tool_tried(database, backup):
    reported(backup, read_notes="passed", add_note="failed", count_good="passed", ping="skipped")
    before, kept = stored(database), stored(backup)
    done = drill(database, NOTES)
    assert done.succeeded
    assert (done.backup, done.rows, done.version) == (str(backup), 150, 0)
    assert done.size_bytes == backup.stat().st_size
    assert 0 < done.restore_s < done.seconds and done.download_s is None
    assert {tool.name: tool.status for tool in done.tools} == {
        "read_notes": "passed",
        "add_note": "failed",
        "count_good": "passed",
        "ping": "skipped",
    }
    assert [found.code for found in done.noted] == ["pending", "tool_failed_before"]
    assert stored(database) == before and stored(backup) == kept
    assert [path.name for path in backup.parents[1].iterdir()] == [backup.parent.name], "the scratch folder is gone"


def test_a_tool_that_worked_when_the_backup_was_made_must_work(database, backup):
    reported(backup, read_notes="passed", add_note="passed")
    done = drill(database, NOTES)
    assert codes(done) == ["tool_failed"]
    assert "tool add_note fails on the restored database: " in done.faults[0].message


@pytest.mark.parametrize("version", range(len(LTMC.migrations) + 1))
def test_a_backup_of_any_version_is_tried_with_the_tools_of_that_version(tmp_path, version):
    path = tmp_path / "ltmc.db"
    LTMC.make_demo(path, 100)
    if version:
        end_of_run(rehearsed(path, LTMC, to_version=version))
        remove_tree(tmp_path / "ltmc.db.backups")
    backed_up(path, LTMC, to_version=0 if version else 1)
    done = drill(path, LTMC)
    assert done.succeeded and done.version == version
    needs_0001 = {"analyze_code_patterns", "get_code_patterns", "log_code_attempt"}
    assert {tool.name for tool in done.tools if tool.status == "failed"} == (set() if version else needs_0001)


def test_of_an_old_backup_without_a_report_a_failing_tool_is_no_fault(database, backup):
    done = drill(database, NOTES)
    assert done.succeeded and "tool_failed_before" in [found.code for found in done.noted]


def test_rows_that_are_not_those_of_the_manifest_are_a_fault(database, backup):
    changed(backup, "UPDATE notes SET body = 'note X' WHERE id = 7", "DELETE FROM tags WHERE note_id = 1")
    done = drill(database, NOTES)
    assert codes(done) == ["rows_differ"]
    assert done.faults[0].message == "restored, it differs from its manifest in notes, tags"
    assert done.faults[0].count == 2


def test_a_schema_that_is_not_that_of_the_manifest_is_a_fault(database, backup):
    changed(backup, "CREATE INDEX of_place ON notes(place)")
    assert codes(drill(database, NOTES)) == ["schema_differs"]


def test_a_damaged_backup_is_a_fault_and_the_one_before_it_is_restored(database, backup):
    newer = backup.parents[1] / "29991231T235959Z-0123abcd"
    newer.mkdir()
    for name in ("backup.db", "manifest.json"):
        (newer / name).write_bytes(backup.with_name(name).read_bytes())
    with (newer / "backup.db").open("r+b") as file:
        file.seek(5000)
        file.write(b"\xff")
    done = drill(database, NOTES)
    assert codes(done) == ["damaged_backup"]
    assert done.faults[0].message == f"{newer / 'backup.db'} is not what its manifest says"
    assert (done.backup, done.rows) == (str(backup), 150)


def test_damage_that_no_row_shows_is_a_fault(database, backup):
    changed(
        backup,
        "CREATE INDEX by_text ON notes(place)",
        "PRAGMA writable_schema=ON",
        "UPDATE sqlite_master SET sql = 'CREATE INDEX by_text ON notes(body)' WHERE name = 'by_text'",
    )
    assert codes(drill(database, NOTES)) == ["damaged"]


def test_without_a_backup_there_is_nothing_to_go_back_to(database):
    done = drill(database, NOTES)
    assert codes(done) == ["not_restored"] and "has no verified backup" in done.faults[0].message


def test_the_backup_of_another_database_is_not_this_ones(database, backup):
    manifest = backup.with_name("manifest.json")
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"database": "/elsewhere/notes.db"}))
    assert codes(drill(database, NOTES)) == ["not_restored"]


def test_it_works_where_the_database_is_gone(database, backup):
    database.unlink()
    done = drill(database, NOTES)
    assert done.succeeded and not database.exists()


def test_a_copy_off_the_machine_is_brought_here_and_restored(database, backup, tmp_path):
    url = f"file://{tmp_path / 'nas'}"
    (tmp_path / "nas").mkdir()
    upload(backup.parent, url)
    done = drill(database, NOTES, remote=url)
    assert done.succeeded and done.download_s is not None
    assert done.backup == f"{url}/{backup.parent.name}/backup.db"
    assert [path.name for path in backup.parents[1].iterdir()] == [backup.parent.name], "what was brought is gone"


def test_a_copy_that_was_damaged_there_is_a_fault(database, backup, tmp_path):
    url = f"file://{tmp_path / 'nas'}"
    (tmp_path / "nas").mkdir()
    upload(backup.parent, url)
    copy = tmp_path / "nas" / backup.parent.name / "backup.db"
    copy.write_bytes(copy.read_bytes()[:-1] + b"\xff")
    assert codes(drill(database, NOTES, remote=url)) == ["not_restored"]


def test_no_folder_is_made_where_there_is_none(tmp_path):
    assert codes(drill(tmp_path / "notes.db", NOTES)) == ["not_restored"]
    assert codes(drill(tmp_path / "gone" / "notes.db", NOTES, remote=f"file://{tmp_path}")) == ["not_restored"]
    assert list(tmp_path.iterdir()) == []


def test_drills_are_noted_one_after_the_other(database, backup):
    for _ in range(2):
        path = record_drill(drill(database, NOTES))
    drills = json.loads(path.read_text())
    assert [entry["succeeded"] for entry in drills] == [True, True]
    assert drills[-1]["backup"] == str(backup) and drills[-1]["restore_s"] > 0
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text(json.dumps(drills[:1] * KEPT_DRILLS))
    record_drill(drill(database, NOTES))
    assert len(json.loads(path.read_text())) == KEPT_DRILLS


def test_a_file_that_holds_no_drills_is_not_replaced(database, backup):
    path = backup.parents[1] / "drills.json"
    path.write_text('{"mine": 1}')
    with pytest.raises(ValueError, match="holds no list of drills"):
        record_drill(drill(database, NOTES))
    assert path.read_text() == '{"mine": 1}'


def test_live_may_be_locked_meanwhile(database, backup):
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        assert drill(database, NOTES).succeeded
