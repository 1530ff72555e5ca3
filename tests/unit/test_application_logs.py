"""What an application's logs say is missing is counted, from the promotion on, whatever the form of the log."""

import gzip
import os
import threading
import time
import tracemalloc
from datetime import UTC, datetime, timedelta

import pytest

from migrator.check.application_logs import OTHERS, LogError, count_missing
from migrator.check.log_times import Clock

SINCE = datetime(2026, 11, 22, 21, 56, 33, 817507, tzinfo=UTC)
LATER, EARLIER = "2026-11-22T21:56:34Z", "2026-11-22T21:56:32Z"
WRITTEN = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture(autouse=True)
def in_new_york(monkeypatch):
    """The machine is five hours behind UTC in winter."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def log(tmp_path, *lines, name="app.log", written=WRITTEN):
    path = tmp_path / name
    path.write_bytes(b"".join(line.encode() + b"\n" for line in lines))
    os.utime(path, (written.timestamp(),) * 2)
    return path


def counted(path, since=SINCE):
    return [(m.kind, m.name, m.count, m.undated) for m in count_missing([path], since).missing]


@pytest.mark.parametrize(
    ("said", "kind", "name"),
    [
        ("no such column: function_name", "column", "function_name"),
        ("sqlite3.OperationalError: no such column: p.tags", "column", "p.tags"),
        ("OperationalError('no such column: tags')", "column", "tags"),
        ('{"error": "no such column: tags"}', "column", "tags"),
        (r'{"error": "no such column: \"tags\" - should this be .."}', "column", "tags"),
        ('no such column: "tags" - should this be a string literal in single-quotes?', "column", "tags"),
        ("Error: no such column: tags.", "column", "tags"),
        ("\x1b[31mno such column: tags\x1b[0m", "column", "tags"),
        ("no such column: größe", "column", "größe"),
        ("table CodePatterns has no column named function_name", "column", "CodePatterns.function_name"),
        ("has no column named function_name", "column", "function_name"),
        ("(sqlite3.OperationalError) no such table: main.Notes [SQL: ..]", "table", "main.Notes"),
    ],
)
def test_each_of_sqlites_messages_is_found(tmp_path, said, kind, name):
    assert counted(log(tmp_path, f"{LATER} {said}")) == [(kind, name, 1, 0)]


@pytest.mark.parametrize(
    "line", ["no such file: x", "columns: no such thing", "has no column", "no such column", "no such column: ", ""]
)
def test_what_is_none_of_them_is_not(tmp_path, line):
    assert counted(log(tmp_path, f"{LATER} {line}")) == []


def test_only_lines_since_the_promotion_count_and_the_older_ones_are_told(tmp_path):
    path = log(
        tmp_path,
        f"{EARLIER} no such column: old",
        f"{LATER} no such column: new",
        "2026-11-22T21:56:40Z no such column: new",
        "2026-11-22T21:56:41Z all is well",
    )
    report = count_missing([path], SINCE)
    assert (report.lines, report.earlier, report.since) == (4, 1, SINCE)
    (new,) = report.missing
    assert (new.name, new.count) == ("new", 2)
    assert new.first == datetime(2026, 11, 22, 21, 56, 34, tzinfo=UTC)
    assert new.last == datetime(2026, 11, 22, 21, 56, 40, tzinfo=UTC)


@pytest.mark.parametrize(
    ("time_", "counts"),
    [
        ("2026-11-22T21:56:33Z", True),
        ("2026-11-22T21:56:32Z", False),
        ("2026-11-22T21:56:33.817Z", True),
        ("2026-11-22T21:56:33.816Z", False),
        ("2026-11-22 21:56:33,817507+0000", True),
        ("2026-11-22 21:56:33,817506+0000", False),
    ],
)
def test_a_line_counts_in_the_precision_in_which_it_gives_its_time(tmp_path, time_, counts):
    assert bool(counted(log(tmp_path, f"{time_} no such column: x"))) is counts


def test_without_a_promotion_every_line_counts(tmp_path):
    path = log(tmp_path, f"{EARLIER} no such column: x", "no such column: x", written=SINCE - timedelta(days=1))
    assert counted(path, None) == [("column", "x", 2, 1)]


NOON = datetime(2026, 11, 22, 12, 0, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("line", "at"),
    [
        ("2026-11-22T12:00:05Z x", NOON),
        ("2026-11-22T14:00:05+02:00 x", NOON),
        ("2026-11-22 06:30:05-0530 x", NOON),
        ("2026-11-22 07:00:05,250 ERROR x", NOON + timedelta(milliseconds=250)),
        ("2026-11-22 07:00:05.250000 | ERROR | x", NOON + timedelta(milliseconds=250)),
        ("[2026-11-22 07:00:05] x", NOON),
        ("2026/11/22 07:00:05 [error] x", NOON),
        ('{"timestamp": "2026-11-22T12:00:05.250Z", "x": 1}', NOON + timedelta(milliseconds=250)),
        ("Nov 22 07:00:05 host app[1]: x", NOON),
        ("<11>Nov 22 07:00:05 host app[1]: x", NOON),
        ("Dec 31 07:00:05 host app[1]: x", datetime(2025, 12, 31, 12, 0, 5, tzinfo=UTC)),
        ("Feb  9 07:00:05 host x", datetime(2026, 2, 9, 12, 0, 5, tzinfo=UTC)),
        ("2026-07-22 08:00:05 x", datetime(2026, 7, 22, 12, 0, 5, tzinfo=UTC)),
        ("2026-13-22 08:00:05 x", None),
        ("2026-11-22 08:00:61 x", None),
        ("2026-11-22T12:00:05+99:00 x", datetime(2026, 11, 22, 17, 0, 5, tzinfo=UTC)),
        ("0000-11-22 08:00:05 x", None),
        ("9999-12-31 23:59:59 x", None),
        ("Foo 22 07:00:05 host x", None),
        ("Feb 30 07:00:05 host x", None),
        ("at 2026-11-22 12:00:05 x", None),
        ("x", None),
        ("", None),
    ],
)
def test_the_times_of_common_logs_are_read_and_without_a_zone_they_are_local(line, at):
    clock = Clock(WRITTEN)
    clock.read(line)
    assert (None if clock.moment is None else clock.moment.at) == at


def test_a_traceback_has_the_time_of_its_record(tmp_path):
    traceback = (
        "Traceback (most recent call last):",
        '  File "x.py", line 1, in f',
        "",
        "> frame of loguru",
        "    f()",
    )
    said = "sqlite3.OperationalError: no such column: tags"
    again = ("", "During handling of the above exception, another exception occurred:", "", *traceback)
    path = log(tmp_path, f"{EARLIER} ERROR failed", *traceback, said, *again, said)
    assert counted(path) == []
    path = log(tmp_path, f"{LATER} ERROR failed", *traceback, said, *again, said)
    assert counted(path) == [("column", "tags", 2, 0)]


def test_a_line_without_a_time_is_undated_and_may_be_since_the_promotion(tmp_path):
    path = log(tmp_path, f"{EARLIER} started", "no such column: x", "  no such column: y", f"{LATER} no such column: x")
    assert counted(path) == [("column", "x", 2, 1), ("column", "y", 1, 1)]


def test_a_line_without_a_time_in_a_file_older_than_the_promotion_is_older(tmp_path):
    path = log(tmp_path, "no such column: x", written=SINCE - timedelta(seconds=1))
    report = count_missing([path], SINCE)
    assert (report.missing, report.earlier) == ((), 1)


def test_packed_logs_and_pipes_are_read_like_any_other(tmp_path):
    line = f"{LATER} no such column: x\n".encode()
    packed = tmp_path / "app.log.1"
    packed.write_bytes(gzip.compress(line * 2) + gzip.compress(line))
    assert counted(packed) == [("column", "x", 3, 0)]
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(line,))
    writer.start()
    assert counted(tmp_path / "pipe") == [("column", "x", 1, 0)]
    writer.join()


def test_several_files_are_one_report(tmp_path):
    files = [log(tmp_path, f"{LATER} no such column: x", name=name) for name in ("a.log", "b.log")]
    report = count_missing(files, SINCE)
    assert (report.lines, report.missing[0].count, report.files) == (2, 2, tuple(files))


def test_a_line_counts_once_for_each_name(tmp_path):
    path = log(tmp_path, f"{LATER} no such column: x, no such column: x, no such table: t")
    assert counted(path) == [("column", "x", 1, 0), ("table", "t", 1, 0)]


@pytest.mark.parametrize("before", [0, 65_490, 65_500, 65_510, 65_520, 65_530, 65_536, 200_000])
def test_a_long_line_is_one_line_and_nothing_in_it_is_cut(tmp_path, before):
    path = log(tmp_path, f"{LATER} {'x' * before} no such column: function_name {'y' * 100_000}", f"{LATER} end")
    report = count_missing([path], SINCE)
    assert (report.lines, [(m.name, m.count) for m in report.missing]) == (2, [("function_name", 1)])


def test_what_stands_far_apart_in_a_line_is_all_found(tmp_path):
    path = log(tmp_path, f"{LATER} no such column: x {'y' * 200_000} no such table: t")
    assert counted(path) == [("column", "x", 1, 0), ("table", "t", 1, 0)]


def test_a_last_line_without_an_end_counts(tmp_path):
    path = tmp_path / "app.log"
    path.write_text(f"{LATER} no such column: x")
    assert counted(path) == [("column", "x", 1, 0)]


def test_bytes_that_are_no_text_do_no_harm(tmp_path):
    path = tmp_path / "app.log"
    path.write_bytes(os.urandom(1000) + b"\n\xff\xfe no such column: \xff\n")
    assert counted(path) == [("column", "\ufffd", 1, 1)]


def test_names_without_end_become_others(tmp_path):
    path = log(tmp_path, *(f"{LATER} no such column: c{n}" for n in range(1500)))
    found = count_missing([path], SINCE).missing
    assert (len(found), found[0].name, found[0].count) == (1001, OTHERS, 500)


def test_memory_does_not_grow_with_the_log(tmp_path):
    path = tmp_path / "app.log.gz"
    with gzip.open(path, "wb", compresslevel=1) as packed:
        for _ in range(30):
            packed.write(b"x" * (1 << 20))
    tracemalloc.start()
    assert count_missing([path], None).lines == 1
    _, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most_bytes < 2 << 20


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(b"x" * 1000, mtime=0)[:-8],
        gzip.compress(os.urandom(1000))[:500],
        b"\xff".join((gzip.compress(b"", mtime=0)[:10], b"xyz")),
        b"\x1f\x8bx",
    ],
)
def test_a_packed_log_that_is_cut_short_is_an_error_with_its_name(tmp_path, content):
    (tmp_path / "app.log.gz").write_bytes(content)
    with pytest.raises(LogError, match=r"app\.log\.gz cannot be read to its end .*; leave it out, or repair it"):
        count_missing([tmp_path / "app.log.gz"], None)


def test_a_log_that_is_not_there_is_an_error_with_its_name(tmp_path):
    for path in (tmp_path / "none.log", tmp_path):
        with pytest.raises(LogError, match=f"log {path} cannot be read"):
            count_missing([path], None)
