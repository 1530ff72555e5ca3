"""`flows.restore --list` and `flows.backups`: what there is to go back to, what stays, and a copy elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flows.backups import prune_backups
from flows.migrate import migrate
from flows.request import BackupsRequest, MigrationRequest
from migrator.journal import Journal, write_journal
from migrator.lock import locked
from tests.pipeline.programs import ROOT, started
from tests.pipeline.runs import NEWEST, columns, content

pytestmark = pytest.mark.usefixtures("quick")

KEYS_OF_A_BACKUP = {
    *("name", "place", "location", "file", "kind", "time", "run_id", "size_bytes", "database", "version", "rows"),
    *("verified", "present_since", "applied", "needed_by_killed_run"),
}
DAYS = ["20250310T120000Z", "20250309T120000Z", "20250308T180000Z", "20250308T120000Z", "20250301T120000Z"]


@pytest.fixture
def backup(demo: Path) -> Path:
    """The backup of the migration that `demo` has had."""
    report = migrate.fn(MigrationRequest(database=demo))
    return Path(report["backup"]["path"])


@pytest.fixture
def folder(backup: Path) -> Path:
    """The folder of it and of five older ones."""
    for number, day in enumerate(DAYS):
        shutil.copytree(backup.parent, backup.parents[1] / f"{day}-{number:08x}")
    return backup.parents[1]


def told(module: str, *arguments: str | Path, exit_code: int = 0) -> dict[str, Any]:
    """What `python -m module --json` says."""
    command = [sys.executable, "-m", module, "--json", *map(str, arguments)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (exit_code, ""), ended.stdout
    return json.loads(ended.stdout)  # type: ignore[no-any-return]


def shown(module: str, *arguments: str | Path) -> str:
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_list_says_what_each_backup_is(demo: Path, backup: Path, folder: Path) -> None:
    with (folder / f"{DAYS[0]}-00000000" / "backup.db").open("ab") as file:
        file.write(b"x")
    present = told("flows.restore", "--database", demo, "--backup", backup, "--discard-later-writes")["present"]
    before = files(demo.parent)
    listed = told("flows.restore", "--list", "--database", demo, "--verify")
    assert files(demo.parent) == before
    assert (listed["outcome"], listed["error"], listed["notes"], listed["folders"]) == (
        "listed",
        None,
        [],
        [str(folder)],
    )
    assert all(row.keys() == KEYS_OF_A_BACKUP for row in listed["backups"])
    first, (damaged, *others) = listed["backups"][:2], listed["backups"][2:]
    # Both may be of the same second.
    newest, saved = sorted(first, key=lambda row: str(row["kind"]))
    assert (saved["kind"], saved["file"], saved["verified"]) == ("present", present, None)
    assert saved["present_since"] is not None
    assert (newest["kind"], newest["file"], newest["verified"]) == ("backup", str(backup), True)
    assert (newest["place"], newest["database"], newest["version"], newest["rows"]) == ("local", str(demo), 0, 367)
    assert damaged["verified"] is False and damaged["time"] == "2025-03-10T12:00:00Z"
    assert [row["name"] for row in others] == [f"{day}-{n:08x}" for n, day in enumerate(DAYS)][1:]
    assert {row["verified"] for row in others} == {True}


def test_the_list_for_people_fits_a_terminal(demo: Path, backup: Path, folder: Path) -> None:
    (folder / f"{DAYS[0]}-00000000" / "manifest.json").unlink()
    (folder / f"{DAYS[1]}-00000001" / "manifest.json").write_text("{")
    lines = shown("flows.restore", "--list", "--database", demo).splitlines()
    size = f"{sum(map(len, files(folder).values())) / 1e6:.1f} MB"
    assert lines[0] == f"{folder}: 6, {size}"
    assert lines[1] == "name                       from         rows      size  checked   what"
    one = f"{sum(map(len, files(backup.parent).values())) / 1000:.1f} kB"
    assert lines[2] == f"{backup.parent.name}  0000          367  {one:>8}  -         before {NEWEST:04d}"
    assert lines[3].startswith(f"{DAYS[0]}-00000000  -               -  ") and lines[3].endswith(
        "  -         unfinished"
    )
    assert lines[4].startswith(f"{DAYS[1]}-00000001  -               -  ") and lines[4].endswith("  damaged")
    assert max(len(line) for line in lines[1:-1]) <= 80
    assert lines[-1] == f"to go back: python -m flows.restore --database {demo} --backup FOLDER/NAME/backup.db"


def test_the_list_outlives_the_database_and_says_what_it_cannot_tell(demo: Path, folder: Path) -> None:
    demo.write_bytes(b"\xff" * 5000)
    spoilt = told("flows.restore", "--list", "--database", demo)
    demo.unlink()
    gone = told("flows.restore", "--list", "--database", demo)
    for listed in (spoilt, gone):
        assert len(listed["backups"]) == 6 and {tuple(row["applied"]) for row in listed["backups"]} == {()}
        (note,) = listed["notes"]
        assert note.startswith("which migrations in force the backups are from is not known: ")


def test_a_list_of_which_a_part_cannot_be_had_fails(demo: Path, folder: Path) -> None:
    listed = told(
        *("flows.restore", "--list", "--database", demo, "--remote", f"file://{demo.parent}/nowhere"), exit_code=2
    )
    assert listed["outcome"] == "refused" and "nowhere could not be listed (FileNotFoundError" in listed["error"]


def test_pruning_keeps_what_the_rules_say_and_again_there_is_nothing_to_do(
    demo: Path, backup: Path, folder: Path
) -> None:
    order = ("--database", demo, "--keep-last", "2", "--keep-daily", "4", "--keep-weekly", "4")
    before = files(demo.parent)
    planned = told("flows.backups", *order, "--dry-run")
    del (after := files(demo.parent))[f"{demo.name}.migration-lock"], before[f"{demo.name}.migration-lock"]
    assert after == before
    pruned = told("flows.backups", *order)
    assert (planned["outcome"], pruned["outcome"]) == ("planned", "done")
    assert planned["backups"] == pruned["backups"]
    gone = [f"{DAYS[3]}-00000003"]
    assert (planned["removed"], pruned["removed"]) == ([], gone)
    assert [row["name"] for row in pruned["backups"] if not row["stays"]] == gone
    assert {row["name"]: row["why"] for row in pruned["backups"]}[f"{DAYS[4]}-00000004"] == ["the newest of 2025-W09"]
    assert gone[0] not in os.listdir(folder) and len(os.listdir(folder)) == 5
    left = files(folder)
    again = told("flows.backups", *order)
    assert (again["outcome"], again["removed"]) == ("done", [])
    assert files(folder) == left


def test_pruning_for_people_fits_a_terminal_and_says_why(demo: Path, backup: Path, folder: Path) -> None:
    lines = shown("flows.backups", "--database", demo, "--keep-daily", "2").splitlines()
    assert lines[0] == f"{demo}: 4 removed, 0 copied"
    assert max(map(len, lines[1:])) <= 80
    assert lines[1].startswith(f"{backup.parent.name}  ") and lines[1].endswith(
        "  stays  the newest verified one; from before"
    )
    assert lines[4].endswith("  stays  the newest of 2025-03-10")
    assert lines[5].endswith("  gone   no rule keeps it")
    assert [line.partition(",")[0] for line in lines[-2:]] == ["2 stay", "4 go"]


def test_the_last_verified_one_stays_whatever_is_asked(demo: Path, backup: Path, folder: Path) -> None:
    nothing = ("--database", demo, "--keep-last", "0", "--max-bytes", "0")
    newest, second = (f"{day}-{n:08x}" for n, day in list(enumerate(DAYS))[:2])
    shutil.rmtree(backup.parent)
    os.truncate(folder / newest / "backup.db", 1000)
    pruned = told("flows.backups", *nothing)
    assert sorted(os.listdir(folder)) == [second, newest]
    assert {row["name"]: (row["verified"], row["why"]) for row in pruned["backups"] if row["stays"]} == {
        newest: (False, ["damaged, but newer than every verified one"]),
        second: (True, ["the newest verified one"]),
    }
    os.truncate(folder / second / "backup.db", 1000)
    assert told("flows.backups", *nothing)["removed"] == []


def test_what_no_run_made_and_what_is_of_another_database_is_never_touched(
    demo: Path, backup: Path, folder: Path, tmp_path: Path
) -> None:
    shared = tmp_path / "shared"
    shutil.copytree(backup.parent, shared / f"{DAYS[0]}-00000000")
    other = shutil.copytree(backup.parent, shared / f"{DAYS[1]}-00000001")
    manifest = json.loads((other / "manifest.json").read_text())
    (other / "manifest.json").write_text(json.dumps(manifest | {"database": "/srv/other.db"}))
    shutil.copytree(other, folder / f"{DAYS[2]}-0000000a")
    for place in (folder, shared):
        shutil.copytree(backup.parent, place / "my own copy")
        (place / "20240101T000000Z-00000000").symlink_to(other)
        (place / "20240102T000000Z-00000000").write_text("a file")
    (shared / "20240103T000000Z-00000000").mkdir()
    kept = ["20240101T000000Z-00000000", "20240102T000000Z-00000000"]
    told("flows.backups", "--database", demo, "--backup-dir", shared, "--keep-last", "1")
    assert sorted(os.listdir(folder)) == [*kept, f"{DAYS[2]}-0000000a", backup.parent.name, "my own copy"]
    assert sorted(os.listdir(shared)) == [*kept, "20240103T000000Z-00000000", other.name, "my own copy"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing says what to keep; give --keep-last, --keep-daily, --keep-weekly or --max-bytes"),
        (["--keep-last", "-1"], "--keep-last: -1 is less than 0"),
        (["--keep-last", "1", "--max-bytes", "lots"], "--max-bytes: 'lots' is no size such as 20GB"),
        (["--copy-to", "/mnt/nas"], "--copy-to: this is no URL such as s3://bucket/folder or file:///folder"),
    ],
)
def test_an_order_that_says_too_little_or_nonsense_is_refused(
    demo: Path, folder: Path, arguments: list[str], said: str
) -> None:
    before = files(folder)
    refused = told("flows.backups", "--database", demo, *arguments, exit_code=2)
    assert refused["outcome"] == "refused" and said in refused["error"]
    assert files(folder) == before


@pytest.mark.parametrize(
    ("module", "option", "end"),
    [
        *(("flows.backups", "--copy-to", ""), ("flows.restore", "--backup", "/20261122T215633Z-2a9f0eaf/backup.db")),
        ("flows.restore", "--remote", ""),
    ],
)
def test_a_url_with_credentials_is_refused_and_said_nowhere(demo: Path, module: str, option: str, end: str) -> None:
    listing = ["--list"] if option == "--remote" else []
    url = f"s3://AKIAIOSFODNN7EXAMPLE:wJalrXUtnFEMI@bucket/x{end}"
    for form in ([], ["--json"]):
        command = [sys.executable, "-m", module, *listing, "--database", str(demo), option, url, *form]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert ended.returncode == 2
        assert "credentials come from the environment" in ended.stdout + ended.stderr
        assert "AKIA" not in ended.stdout + ended.stderr and "wJalr" not in ended.stdout + ended.stderr


def test_pruning_during_a_run_after_a_killed_one_and_without_a_database_is_refused(demo: Path, folder: Path) -> None:
    order = ("--database", demo, "--keep-last", "0")
    before = files(folder)
    with locked(demo):
        assert "is already under way" in told("flows.backups", *order, exit_code=2)["error"]
    write_journal(demo, Journal("00000004", str(folder / f"{DAYS[4]}-00000004")))
    killed = told("flows.backups", *order, exit_code=2)
    assert "was killed and may need its backup; end it first: python -m flows.migrate" in killed["error"]
    assert killed["outcome"] == "refused"
    listed = told("flows.restore", "--list", "--database", demo)
    assert [row["needed_by_killed_run"] for row in listed["backups"]] == [False] * 5 + [True]
    demo.unlink()
    assert "no database at" in told("flows.backups", *order, exit_code=2)["error"]
    assert files(folder) == before


def test_pruning_where_the_ledger_cannot_be_read_is_refused(demo: Path, folder: Path) -> None:
    with demo.open("r+b") as file:
        file.write(b"\xff" * 100)
    before = files(folder)
    refused = told("flows.backups", "--database", demo, "--keep-last", "0", exit_code=2)
    assert refused["outcome"] == "refused"
    assert refused["error"] == f"{demo} cannot be read now (file is not a database), so which it needs is not known"
    assert files(folder) == before


@pytest.mark.parametrize(
    "moment", ["before migrator.backups.listing:remove_tree", "after migrator.backups.listing:remove_tree#2"]
)
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGKILL"])
def test_pruning_that_is_stopped_is_ended_by_the_next(demo: Path, folder: Path, moment: str, name: str) -> None:
    order = ["--database", str(demo), "--keep-last", "1"]
    with started([moment, *order, "--json"], demo.parent, "tests.pipeline.stopping_backups") as program:
        program.reaches(moment)
        program.send(getattr(signal, name))
        if name != "SIGKILL":
            code, result = program.ends()
            assert (code, result["outcome"]) == (1, "failed"), program.stderr
            assert result["error"] == "interrupted; start it again, which goes on"
        else:
            program.child.wait()
    assert len(told("flows.restore", "--list", "--database", demo, "--verify")["backups"]) == (
        5 if "before" in moment else 4
    )
    again = told("flows.backups", *order)
    assert (again["outcome"], len(again["removed"])) == ("done", 4 if "before" in moment else 3)
    assert len(os.listdir(folder)) == 1


def test_what_stays_is_copied_first_and_where_that_fails_nothing_goes(demo: Path, backup: Path, folder: Path) -> None:
    there = demo.with_name("nas")
    order = ("--database", demo, "--keep-daily", "2", "--copy-to", f"file://{there}")
    before = files(folder)
    failed = told("flows.backups", *order, exit_code=1)
    assert (failed["outcome"], failed["removed"], failed["copied"]) == ("failed", [], [])
    assert f"there is no directory {there}" in failed["error"]
    assert files(folder) == before
    there.mkdir()
    done = told("flows.backups", *order)
    staying = [backup.parent.name, f"{DAYS[0]}-00000000"]
    assert (done["outcome"], done["copied"], len(done["removed"])) == ("done", staying, 4)
    assert sorted(os.listdir(folder)) == sorted(os.listdir(there)) == sorted(staying)
    assert told("flows.backups", *order)["copied"] == []
    listed = told("flows.restore", "--list", "--database", demo, "--remote", f"file://{there}", "--verify")
    assert [(row["place"], row["name"], row["verified"]) for row in listed["backups"]] == [
        (place, name, True) for place in ("local", "remote") for name in staying
    ]


def test_copying_alone_removes_nothing(demo: Path, folder: Path) -> None:
    demo.with_name("nas").mkdir()
    before = files(folder)
    done = told("flows.backups", "--database", demo, "--copy-to", f"file://{demo.with_name('nas')}")
    assert (done["outcome"], len(done["copied"]), done["removed"]) == ("done", 6, [])
    assert files(folder) == before


def test_a_database_goes_back_to_a_copy_when_every_backup_beside_it_is_gone(
    demo: Path, backup: Path, folder: Path
) -> None:
    demo.with_name("nas").mkdir()
    url = f"file://{demo.with_name('nas')}"
    wanted, migrated = content(backup), content(demo)
    told("flows.backups", "--database", demo, "--keep-last", "1", "--copy-to", url)
    shutil.rmtree(folder)
    listed = told("flows.restore", "--list", "--database", demo, "--remote", url)
    (copy,) = listed["backups"]
    order = ("--database", demo, "--backup", copy["file"])
    refused = told("flows.restore", *order, exit_code=2)
    assert "differs from the backup in the schema" in refused["error"]
    restored = told("flows.restore", *order, "--discard-later-writes")
    assert (restored["outcome"], restored["backup"]) == ("restored", copy["file"])
    assert content(demo) == wanted and "tags" not in columns(demo)
    assert content(Path(restored["present"])) == migrated
    here = told("flows.restore", "--list", "--database", demo, "--verify")["backups"]
    assert [(row["kind"], row["verified"]) for row in here] == [("present", None), ("backup", True)]


def test_a_copy_that_was_damaged_is_refused_and_the_database_stays(demo: Path, backup: Path) -> None:
    there = demo.with_name("nas")
    there.mkdir()
    told("flows.backups", "--database", demo, "--copy-to", f"file://{there}")
    os.truncate(there / backup.parent.name / "backup.db", 8192)
    shutil.rmtree(backup.parents[1])
    before = demo.read_bytes()
    order = ("--database", demo, "--backup", f"file://{there}/{backup.parent.name}/backup.db", "--discard-later-writes")
    refused = told("flows.restore", *order, exit_code=2)
    assert "is not what its manifest says" in refused["error"] and refused["present"] is None
    assert demo.read_bytes() == before
    assert os.listdir(backup.parents[1]) == []


def test_a_schedule_calls_it_as_a_function(demo: Path, folder: Path) -> None:
    done = prune_backups(BackupsRequest(database=demo, keep_last=2))
    assert (done["outcome"], len(done["removed"])) == ("done", 4)


@pytest.mark.parametrize("arguments", ["flows.restore --list", "flows.backups --keep-last 9"])
def test_neither_needs_prefect_or_a_store(demo: Path, folder: Path, arguments: str) -> None:
    module, *options = arguments.split()
    code = (
        f"import sys, {module}; {module}.main(sys.argv[1:]); "
        "print({'prefect', 'fsspec', 's3fs'} & set(sys.modules) or 'none')"
    )
    command = [sys.executable, "-c", code, *options, "--database", str(demo)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.stdout.endswith("\nnone\n"), ended.stderr
