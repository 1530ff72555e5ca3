"""The health check to schedule: looks at a snapshot of the live database, and compares with what it found before.

Runs without Prefect, and writes nothing into the database.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from flows.application import LTMC
from flows.arguments import UsageError, parse
from flows.request import VerifyRequest
from flows.stream import Stream
from migrator.files import read_regular
from migrator.findings import Finding
from migrator.health.checkup import Health, check
from migrator.health.faults import Fault
from migrator.health.history import HISTORY_NAME, KEPT_CHECKS, NOT_KEPT, read_history, record
from migrator.health.report import HTML_NAME, KEYS, MARK, HealthReport, json_path
from migrator.performance import BUDGET_MS
from migrator.signals import end_as_ctrl_c_does
from migrator.sizes import size_text
from migrator.tools import FAILED, PASSED, SKIPPED

_WRONG_ARGUMENTS = 2


def main(arguments: Sequence[str]) -> int:
    """Checks; prints what was found; returns 0 healthy, 1 not healthy, 2 wrong arguments."""
    out, err = Stream(sys.stdout), Stream(sys.stderr)
    end_as_ctrl_c_does()
    wrong = None
    try:
        request, _ = parse(VerifyRequest, "flows.verify", arguments, demo=False)
        _refuse_to_replace(request.report)
        report = verify(request)
    except UsageError as error:
        wrong = error
        report = _not_checked(Path(), Fault("usage", str(error)))
    except KeyboardInterrupt:
        report = _not_checked(request.real_database, Fault("interrupted", "interrupted before the check was over"))
    if "--json" in arguments:
        print(json.dumps(report.as_json(), indent=2), file=out)
    elif wrong is None:
        print(*_lines(report), sep="\n", file=out)
    out.flush()
    if wrong is not None:
        print(f"python -m flows.verify: {wrong}", file=err)
    elif out.fault is not None:
        print(*_lines(report), f"stdout took no report of it ({out.fault})", sep="\n", file=err)
    return report.exit_code if wrong is None else _WRONG_ARGUMENTS


def verify(request: VerifyRequest) -> HealthReport:
    """Checks, records the check in the history, writes the report; none of the three raises for what it finds.

    Nothing is made beside a database that is not there.
    """
    database, folder = request.real_database, request.folder
    checks, noted = read_history(folder, database)
    health = check(
        database, LTMC, folder, checks,
        max_lock_ms=request.max_lock_ms, accept_speed=request.accept_speed, source=request.source,
    )  # fmt: skip
    made_here, kept = health.as_check(), len(checks)
    if folder.is_dir():
        not_kept = record(folder, database, made_here)
        noted += not_kept
        kept += all(found.code != NOT_KEPT for found in not_kept)
    health = replace(health, noted=(*health.noted, *noted))
    html = request.report or (folder / HTML_NAME if folder.is_dir() else None)
    shown, kept = (*checks, made_here)[-KEPT_CHECKS:], min(kept, KEPT_CHECKS)
    report = HealthReport(health, shown, folder / HISTORY_NAME, html, kept)
    try:
        if html is not None:
            report.write(html)
    except OSError as error:
        failed = Finding("report_failed", f"the report {html} could not be written ({error})")
        return replace(report, health=replace(health, noted=(*health.noted, failed)), html=None)
    return report


def _refuse_to_replace(html: Path | None) -> None:
    """Raises UsageError where the report would replace anything but a report."""
    if html is None:
        return
    try:
        ours = MARK in read_regular(html)
    except FileNotFoundError:
        ours = True
    except (OSError, ValueError):
        ours = False
    try:
        found = json.loads(read_regular(json_path(html))) if ours else None
        ours = isinstance(found, dict) and found.keys() >= {*KEYS}
    except FileNotFoundError:
        pass
    except (OSError, ValueError):
        ours = False
    if not ours:
        raise UsageError(f"--report {html} would replace what is no health report", "name another file")


def _not_checked(database: Path, why: Fault) -> HealthReport:
    return HealthReport(Health(database, datetime.now(UTC).replace(microsecond=0), 0.0, (why,)), (), Path())


def _lines(report: HealthReport) -> Iterator[str]:
    """The report for people, in 80 columns but for what they have to read whole: paths and sentences."""
    health = report.health
    yield f"{health.database}: {'healthy' if health.healthy else 'NOT HEALTHY'}"
    for name, value in facts_of(report):
        yield f"{name:<14}{value}"
    for kind, noted in (("fault", health.faults), ("note", health.findings)):
        for found in noted:
            yield f"{kind:<14}{found.text}"
    called = [tool for tool in health.tools if tool.status != SKIPPED]
    if called:
        yield ""
        yield f"{'tool':<31}{'':<7}{'p50 ms':>8}{'p95 ms':>8}{'cpu ms':>8}{'usual':>8}{'limit':>8}"
    for tool in called:
        times = (tool.p50_ms, tool.p95_ms, tool.cpu_ms, tool.usual_cpu_ms, tool.limit_cpu_ms)
        shown = "".join(f"{'' if ms is None else f'{ms:.1f}':>8}" for ms in times)
        yield f"{tool.name:<31}{tool.status:<7}{shown}".rstrip()


def facts_of(report: HealthReport) -> Iterator[tuple[str, str]]:
    """What was looked at and measured, each with its name."""
    health = report.health
    if health.version is not None:
        yield "version", f"{health.version:04d}"
    if health.size_bytes is not None:
        rows, tables = sum(health.rows.values()), len(health.rows)
        yield "size", f"{size_text(health.size_bytes)}, {rows:,} rows in {tables} tables"
    if health.tools:
        numbers = (f"{sum(t.status == status for t in health.tools)} {status}" for status in (PASSED, FAILED, SKIPPED))
        yield "tools", ", ".join(numbers)
    timed = [(tool.p95_ms, tool.name) for tool in health.tools if tool.p95_ms is not None]
    if timed:
        p95_ms, name = max(timed)
        yield "slowest tool", f"{name}, p95 {p95_ms:.1f} ms of {BUDGET_MS:g} ms"
    kept = report.kept_text
    yield "checked", f"{health.at:%Y-%m-%d %H:%M:%S} UTC in {health.seconds:.1f} s" + (f"; {kept}" if kept else "")
    if report.html is not None:
        yield "report", str(report.html)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
