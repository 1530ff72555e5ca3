"""The history of the health checks: what it keeps, for how long, and what it does with a file that is not its own."""

import os
import sqlite3
import stat
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from migrator.health.folders import alone
from migrator.health.history import HISTORY_NAME, Check, ToolTimes, read_history, record, times_of
from migrator.health.slowdown import Timed
from tests.children import as_nobody, holding, in_child

START = datetime(2026, 11, 1, 3, 30, tzinfo=UTC)
PASSED = ToolTimes("passed", 1.0, 2.0, 1.5, 0.9)


def made(day=0, **fields):
    return Check(START + timedelta(days=day), **{"healthy": True, **fields})


@pytest.fixture
def folder(folder):
    for name in ("notes.db", "others.db"):
        (folder / name).touch()
    return folder


def keep(folder, *checks, **options):
    return [record(folder, folder / "notes.db", check, **options) for check in checks]


def kept(folder):
    checks, findings = read_history(folder, folder / "notes.db")
    assert findings == ()
    return list(checks)


def codes(findings):
    return [finding.code for finding in findings]


def test_what_was_recorded_is_read_back_in_its_order(folder):
    full = made(
        1, healthy=False, faults=("tool_failed", "slower"), version=1, schema_fingerprint="f" * 64, size_bytes=4096,
        speed_accepted=True, rows={"notes": 100, "tags": 0},
        tools={"read_notes": PASSED, "add_note": ToolTimes("failed"), "ping": ToolTimes("skipped")},
    )  # fmt: skip
    assert keep(folder, made(), full) == [(), ()]
    assert kept(folder) == [made(), full]


def test_there_is_no_history_before_the_first_check_and_reading_makes_none(folder):
    assert read_history(folder, folder / "notes.db") == ((), ())
    assert read_history(folder / "none", folder / "notes.db") == ((), ())
    assert sorted(os.listdir(folder)) == ["notes.db", "others.db"]


def test_it_is_for_its_owner_only_and_alone(folder):
    keep(folder, made())
    assert stat.S_IMODE((folder / HISTORY_NAME).stat().st_mode) == 0o600
    assert sorted(os.listdir(folder)) == [HISTORY_NAME, "notes.db", "others.db"]


def test_two_databases_in_one_folder_have_each_their_own(folder):
    record(folder, folder / "notes.db", made(1))
    record(folder, folder / "others.db", made(2))
    assert kept(folder) == [made(1)]
    assert read_history(folder, folder / "others.db")[0] == (made(2),)


def test_only_the_latest_checks_of_a_database_are_kept_and_nothing_of_the_others_stays(folder):
    record(folder, folder / "others.db", made(0), kept=3)
    keep(folder, *(made(day, rows={"notes": day}, tools={"ping": PASSED}) for day in range(10)), kept=3)
    assert [check.at.day for check in kept(folder)] == [8, 9, 10]
    assert len(read_history(folder, folder / "others.db")[0]) == 1
    with closing(sqlite3.connect(folder / HISTORY_NAME)) as connection:
        for table in ("tools", "table_rows"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (3,)


def test_a_history_of_many_checks_stays_small(folder):
    tools = {f"a_tool_with_a_name_{n}": PASSED for n in range(20)}
    keep(folder, *(made(day, tools=tools) for day in range(60)), kept=20)
    size = (folder / HISTORY_NAME).stat().st_size
    assert size < 100_000
    keep(folder, *(made(day, tools=tools) for day in range(60)), kept=20)
    assert (folder / HISTORY_NAME).stat().st_size <= size + 8192


def a_text(path):
    path.write_text("what I know of health")


def a_foreign_database(path):
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE checks (mine TEXT)")
        connection.execute("INSERT INTO checks VALUES ('dear to somebody')")


def a_later_layout(path):
    keep(path.parent, made())
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version=2")


def one_without_a_column(path):
    keep(path.parent, made())
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("ALTER TABLE tools RENAME COLUMN cpu_ms TO something")


def a_truncated_one(path):
    keep(path.parent, made(tools={f"tool {n}": PASSED for n in range(500)}))
    os.truncate(path, path.stat().st_size // 2)


def one_with_a_damaged_page(path):
    keep(path.parent, made(tools={f"tool {n}": PASSED for n in range(500)}))
    with path.open("r+b") as file:
        file.seek(-8192, 2)
        file.write(b"\xff" * 8192)


def a_link(path):
    (path.parent / "precious").write_text("precious")
    path.symlink_to("precious")


def a_second_name(path):
    (path.parent / "precious").write_text("precious")
    path.hardlink_to(path.parent / "precious")


def a_folder(path):
    path.mkdir()


NOT_OURS = (
    a_text, a_foreign_database, a_later_layout, one_without_a_column, a_truncated_one, one_with_a_damaged_page, a_link,
    a_second_name, a_folder,
)  # fmt: skip


@pytest.mark.parametrize("make", NOT_OURS)
@pytest.mark.parametrize("first", ["read", "record"])
def test_a_file_that_is_not_ours_or_damaged_is_set_aside_as_it_is(folder, make, first):
    path = folder / HISTORY_NAME
    make(path)
    bytes_before = path.read_bytes() if path.is_file() else None
    findings = read_history(folder, folder / "notes.db")[1] if first == "read" else keep(folder, made(5))[0]
    assert codes(findings) == ["history_set_aside"]
    (aside,) = folder.glob(f"{HISTORY_NAME}.set-aside-*")
    assert aside.name in findings[0].message
    assert bytes_before is None or aside.read_bytes() == bytes_before
    if first == "read":
        assert keep(folder, made(5)) == [()]
    assert kept(folder) == [made(5)]
    assert (folder / "precious").read_text() == "precious" if (folder / "precious").exists() else True


def test_what_was_set_aside_once_stays_when_it_happens_again(folder):
    for text in ("one", "another"):
        (folder / HISTORY_NAME).write_text(text)
        keep(folder, made())
    assert {path.read_text() for path in folder.glob(f"{HISTORY_NAME}.set-aside-*")} == {"one", "another"}


def test_the_journal_of_a_file_set_aside_goes_with_it(folder):
    a_link(folder / HISTORY_NAME)
    (folder / f"{HISTORY_NAME}-journal").write_text("its journal")
    keep(folder, made())
    assert [path.read_text() for path in folder.glob("*.set-aside-*-journal")] == ["its journal"]
    assert kept(folder) == [made()]


def test_an_empty_file_becomes_the_history(folder):
    (folder / HISTORY_NAME).touch()
    assert read_history(folder, folder / "others.db")[1] == ()
    assert keep(folder, made()) == [()]
    assert kept(folder) == [made()]


def test_one_that_somebody_holds_is_a_finding_and_stays(folder):
    keep(folder, made())
    with holding(folder / HISTORY_NAME, "BEGIN EXCLUSIVE"):
        assert codes(keep(folder, made(1), timeout_s=0.05)[0]) == ["history_failed"]
        assert codes(read_history(folder, folder / "notes.db", timeout_s=0.05)[1]) == ["history_failed"]
    assert kept(folder) == [made()]


def test_a_folder_that_takes_no_file_is_a_finding(folder):
    folder.chmod(0o555)
    assert in_child(lambda: codes(keep(folder, made())[0]), as_nobody) == ["history_failed"]
    folder.chmod(0o700)


def test_a_folder_that_is_gone_is_a_finding(folder):
    assert codes(record(folder / "none", folder / "notes.db", made())) == ["history_failed"]


def test_checks_that_end_together_are_all_recorded(folder):
    (folder / HISTORY_NAME).write_text("and first this is set aside, by one of them")
    with ThreadPoolExecutor(8) as pool:
        found = [finding for each in pool.map(lambda day: keep(folder, made(day))[0], range(24)) for finding in each]
    assert codes(found) == ["history_set_aside"]
    assert sorted(check.at for check in kept(folder)) == [made(day).at for day in range(24)]


def test_one_waits_until_the_other_is_done_with_the_file(folder):
    with ThreadPoolExecutor(1) as pool:
        with alone(folder):
            (folder / HISTORY_NAME).write_text("in the middle of being replaced")
            waiting = pool.submit(keep, folder, made())
            assert wait([waiting], 0.1).done == set()
            (folder / HISTORY_NAME).unlink()
        assert waiting.result() == [()]
    assert kept(folder) == [made()]


def test_of_a_killed_check_nothing_is_recorded(folder):
    keep(folder, made())
    begun = ["PRAGMA cache_size=1", "BEGIN IMMEDIATE", "DELETE FROM checks", "DELETE FROM tools"]
    with holding(folder / HISTORY_NAME, *begun):
        pass
    assert kept(folder) == [made()]


def test_the_times_of_a_tool_are_those_of_healthy_checks():
    def with_time(cpu_ms, **fields):
        return made(tools={"a": ToolTimes("passed", 1.0, 2.0, cpu_ms, 0.9)}, **fields)

    checks = [
        with_time(1), with_time(2, healthy=False), made(tools={"a": ToolTimes("failed")}), made(), with_time(5),
    ]  # fmt: skip
    assert times_of(checks, "a") == [Timed(1.0, 2.0, cpu_ms, 0.9) for cpu_ms in (1, 5)]
    assert times_of(checks, "b") == []


def test_once_its_speed_was_accepted_only_what_came_since_counts():
    checks = [made(day, tools={"a": ToolTimes("passed", 1.0, 2.0, float(day), 0.9)}) for day in range(5)]
    checks[3] = made(3, speed_accepted=True, tools=checks[3].tools)
    assert [timed.cpu_ms for timed in times_of(checks, "a")] == [3.0, 4.0]
