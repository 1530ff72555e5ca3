"""A whole run with one thing wrong in it: which step says so, and in which words."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from migrator.application import Application
from migrator.backup import back_up
from migrator.candidate import add_column, convert_data, create_indexes, drop_indexes, rebuild_table, stage
from migrator.inspection import Inspection, inspect
from migrator.ltmc import LTMC
from migrator.migration import Change, Migration
from migrator.performance import check_performance
from migrator.plan import TablePlan
from migrator.preflight import Live, preflight
from migrator.probes import Probe
from migrator.promotion import promote
from migrator.restoration import finish_promoted
from migrator.tools import check_constraints, copy_for_tools, validate_tool
from migrator.verification import verify_live
from tests.notes import NOTES, make_notes
from tests.runs import PLENTY_MS, run_sql

ROWS, ROW_BYTES = 200, 80
SURROUNDINGS = (
    "CREATE INDEX todos_open ON Todos (created_at) WHERE completed = 0",
    "CREATE VIEW open_todos AS SELECT id, title FROM Todos WHERE completed = 0",
    "CREATE TRIGGER keep_done AFTER UPDATE OF completed ON Todos WHEN new.completed = 0 BEGIN SELECT 1; END",
    "CREATE TABLE stars (pattern_id INTEGER REFERENCES CodePatterns (id) ON DELETE CASCADE, given INTEGER)",
    "INSERT INTO stars SELECT id, 1 + id % 5 FROM CodePatterns WHERE id % 7 = 0",
    "CREATE TABLE settings (name TEXT PRIMARY KEY, value) WITHOUT ROWID",
    "INSERT INTO settings VALUES ('limit', 5), ('ratio', 0.5), ('blob', x'00ff'), ('name', 'größe')",
    "ANALYZE",
    "PRAGMA user_version = 7",
    "PRAGMA application_id = 1817",
)
"""What an operator and a second program may have added to the application's database."""


@dataclass(frozen=True, eq=False)
class Subject:
    """An application and a database of its; `make(path)` creates it."""

    name: str
    application: Application
    make: Callable[[Path], None]


def _make_patterns(path: Path) -> None:
    LTMC.make_demo(path, ROWS, row_bytes=ROW_BYTES)
    run_sql(path, *SURROUNDINGS)


PATTERNS = Subject("ltmc", replace(LTMC, migrations=LTMC.migrations[:1]), _make_patterns)
"""The first migration, which has a bit of everything; what changes only rows is `LATER`."""
LATER = Subject("ltmc later", LTMC, _make_patterns)
NOTED = Subject("notes", NOTES, make_notes)


@cache
def content(subject: Subject) -> bytes:
    """The bytes of the subject's database, made once."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "subject.db"
        subject.make(path)
        return path.read_bytes()


@dataclass(frozen=True)
class Defect:
    """One thing that is wrong. It counts as caught where the step `gate` says what the regular expression `says` finds.

    `sql` runs on the candidate just before the step `before`; where that is `promote` or `verify_live`, on live.
    `plan` is what makes of a table's plan a wrong one, from the step `before` on; `change` the same with what the
    migration declares. `tools` makes further tools of the application. `code` is the dotted name of something in
    this project, and what stands in its place. `missed` says why no gate reports it yet.
    """

    name: str
    gate: str
    says: str
    before: str = ""
    sql: tuple[str, ...] = ()
    plan: Callable[[TablePlan], TablePlan] | None = None
    change: Callable[[Change], Change] | None = None
    tools: Callable[[], tuple[Probe, ...]] = tuple
    code: tuple[str, Any] | None = None
    subject: Subject = PATTERNS
    missed: str = ""

    @property
    def application(self) -> Application:
        """The subject's, with what is wrong in its declaration and its tools."""
        given = self.subject.application
        migrations = tuple(map(self._declared, given.migrations)) if self.change else given.migrations
        return replace(given, migrations=migrations, probes=(*given.probes, *self.tools()))

    def _declared(self, migration: Migration) -> Migration:
        assert self.change is not None
        return replace(migration, changes=tuple(map(self.change, migration.changes)))


@dataclass(frozen=True)
class Report:
    """What a step said: the message of a finding, or of the error that ended the run."""

    gate: str
    message: str
    stops: bool = False


@dataclass
class Run:
    """What became of a run: what its steps said, and in which of them it ended. `live` is known from preflight on."""

    database: Path
    reports: list[Report] = field(default_factory=list)
    step: str = ""
    live: Live | None = None

    @property
    def stopped(self) -> Report | None:
        return next((report for report in self.reports if report.stops), None)


def caught(defect: Defect, run: Run) -> Report | None:
    """The report that counts; None where the gate that the defect names said nothing of it."""
    fits = (r for r in run.reports if r.gate == defect.gate and re.search(defect.says, r.message))
    return next(fits, None)


def run_with(defect: Defect, folder: Path) -> Run:
    """Runs the steps on a new database in `folder`."""
    database = folder / "subject.db"
    database.write_bytes(content(defect.subject))
    return run_on(database, defect)


def run_on(database: Path, defect: Defect, **options: Any) -> Run:
    """Runs the steps of flows/migrate.py in their order until the last, or until one stops the run."""
    run = Run(database)
    with pytest.MonkeyPatch.context() as patch:
        if defect.code is not None:
            patch.setattr(*defect.code)
        try:
            _steps(defect, run, options)
        except Exception as error:
            run.reports.append(Report(run.step, str(error), stops=True))
    return run


def _steps(defect: Defect, run: Run, options: dict[str, Any]) -> None:
    def step(function: Callable[..., Any], subject: Any, *arguments: Any, **given: Any) -> Any:
        # The first time only: some steps are taken once for each column, or tool.
        if function.__name__ == defect.before != run.step:
            subject = _with_fault(defect, run.database, subject)
        run.step = function.__name__
        result = function(subject, *arguments, **given)
        said = {report.message for report in run.reports}
        found = (f.message for f in getattr(result, "findings", ()))
        # A candidate goes on saying what was found on it.
        run.reports.extend(Report(run.step, message) for message in found if message not in said)
        return result

    application = defect.application
    run.live = step(preflight, run.database, application, **options)
    candidate = step(stage, step(inspect, step(back_up, run.live)))
    for table in candidate.plan.tables:
        for column in table.added:
            candidate = step(add_column, candidate, table.table, column)
        if table.kind == "rebuild":
            candidate = step(convert_data, candidate, table)
        if table.kind != "indexes":
            candidate = step(rebuild_table, candidate, table)
        elif table.drops:
            candidate = step(drop_indexes, candidate, table)
    candidate = step(create_indexes, candidate)
    scratch = step(copy_for_tools, candidate)
    results = [step(validate_tool, scratch, probe) for probe in run.live.probes]
    step(check_constraints, scratch)
    step(check_performance, scratch, run.live.probes, results, memory_s=0.0)
    step(verify_live, step(promote, candidate, PLENTY_MS))
    finish_promoted(run.live)


def _with_fault(defect: Defect, database: Path, subject: Any) -> Any:
    """The subject of the next step, with the defect in it or in its file."""
    if defect.plan is not None:
        inspection = subject if isinstance(subject, Inspection) else subject.inspection
        tables = tuple(map(defect.plan, inspection.plan.tables))
        spoilt = replace(inspection, plan=replace(inspection.plan, tables=tables))
        return spoilt if inspection is subject else replace(subject, inspection=spoilt)
    path = database if defect.before in ("promote", "verify_live") else getattr(subject, "after", None) or subject.path
    before = _without_counters(path.read_bytes())
    run_sql(path, *defect.sql)
    assert _without_counters(path.read_bytes()) != before, f"{defect.name} is no defect: it changes nothing"
    return subject


def _without_counters(database: bytes) -> bytes:
    """The file without the two numbers that every write moves (sqlite.org/fileformat.html#file_change_counter)."""
    return database[:24] + database[28:92] + database[96:]
