"""The application's tools, before and after: on a copy of the backup and on a copy of the candidate."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from migrator.backup import Progress, no_progress
from migrator.candidate import Candidate, copy_file
from migrator.connect import Connection, opened
from migrator.ddl import folded, quote
from migrator.errors import ProbeError, ValidationError
from migrator.findings import Finding
from migrator.inspection import foreign_key_violations
from migrator.migration import Behaviour, value_sql
from migrator.plan import Plan, TablePlan
from migrator.probes import Probe
from migrator.rebuild import rebuild_settings, take_place
from migrator.schema import columns_of, shape_of
from migrator.without_values import without_values

Settings = Callable[[sqlite3.Connection], AbstractContextManager[object]]

FAULTS = (sqlite3.Error, ProbeError, ValueError, LookupError, TypeError)
"""What the call of a probe may end with where the tool would fail."""
PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
ANSWERS_DIFFER = "answers differently about data that was there before"


@dataclass(frozen=True)
class Scratch:
    """Where the tools run: `before` is a copy of the backup, `after` the candidate; nothing is committed.

    `violations` are the foreign key violations of `after` as it is, by key.
    """

    candidate: Candidate
    before: Path
    after: Path
    violations: Mapping[str, int]

    @property
    def plan(self) -> Plan:
        return self.candidate.plan


@dataclass(frozen=True)
class ToolResult:
    """What one tool did. `status` is that of `after`; each is passed, failed or skipped; `reason` says why."""

    name: str
    status: str
    before: str
    after: str
    reason: str | None = None
    findings: tuple[Finding, ...] = ()


def copy_for_tools(candidate: Candidate, on_progress: Progress = no_progress) -> Scratch:
    """Copies the backup to where the tools may write; of the candidate nobody needs another copy."""
    backup = candidate.inspection.backup
    before = backup.scratch / "before.db"
    before.unlink(missing_ok=True)
    copy_file(backup.path, before, on_progress)
    with opened(candidate.path, read_only=True) as connection:
        violations = foreign_key_violations(connection)
    return Scratch(candidate, before, candidate.path, violations)


def validate_tool(scratch: Scratch, probe: Probe) -> ToolResult:
    """Runs one tool on both copies and rolls back what it wrote.

    Raises ValidationError where a tool that worked stops working, where one that the migration repairs still fails,
    or where the answer about old data changes: for a tool that the migration names, more than the declared values
    change it. A tool that the probe cannot call is skipped, with its reason.
    """
    if probe.call is None:
        return ToolResult(probe.tool, SKIPPED, SKIPPED, SKIPPED, probe.skip_reason)
    plan = scratch.plan
    fault_before, answer_before = attempt(scratch.before, probe)
    fault_after, answer_after = attempt(scratch.after, probe)
    named = probe.tool in plan.tools
    works = fault_before is None and fault_after is None
    if works and answer_before != answer_after and named:
        # Only now: giving a million old rows their declared values takes seconds.
        fault_after, answer_before = attempt(scratch.before, probe, plan)
    if works and answer_before != answer_after:
        fault_after = fault_after or ANSWERS_DIFFER
    before, after = (PASSED if fault is None else FAILED for fault in (fault_before, fault_after))
    reason = fault_after or (f"failed before: {fault_before}" if fault_before else None)
    result = ToolResult(probe.tool, after, before, after, reason)
    # The way back takes away what the tools named by the migration need; that is its purpose.
    must_pass = not (plan.reverse and named) and (fault_before is None or named)
    if fault_after is not None and must_pass:
        raise ToolFailedError(result)
    findings = tuple(_broken_keys(scratch, probe)) if named and fault_after is None else ()
    return ToolResult(probe.tool, after, before, after, reason, findings)


class ToolFailedError(ValidationError):
    """A tool does not work on the candidate; `result` is its row in the report."""

    def __init__(self, result: ToolResult) -> None:
        self.result = result
        super().__init__(
            f"tool {result.name} {'worked before and fails' if result.before == PASSED else 'still fails'} "
            f"on the migrated copy: {result.reason}; live unchanged",
            "if that is meant, name the tool in the migration's `tools` and declare what it changes as `values`"
            if result.reason == ANSWERS_DIFFER
            else "repair that, or check that the application is the version that the migration is for",
        )


def check_constraints(scratch: Scratch) -> None:
    """Tries what the migration promises about its tables: what they refuse and what they allow.

    Raises ValidationError where a promise does not hold, and where something else stands in the way of trying it.
    A way back makes no promises.
    """
    for migration in () if scratch.plan.reverse else scratch.plan.migrations:
        for behaviour in (b for change in migration.changes for b in change.behaviours):
            with rolled_back(scratch.after) as connection:
                said = _fault_of(connection, behaviour.statements)
            _check_promise(behaviour, said)


def _check_promise(behaviour: Behaviour, said: str | None) -> None:
    wanted = behaviour.refused
    # SQLite spells a table as whoever made it did.
    if said is not None and wanted is not None and folded(wanted) in folded(said):
        return
    if said is not None and wanted is not None:
        raise ValidationError(
            f"the promise {behaviour.name!r} cannot be tried on the migrated copy, where something else is in the way: "
            f"SQLite said {said!r}, not {wanted!r}; live unchanged",
            "drop the constraint, index or trigger that says so before the migration, and make it again after it",
        )
    if said is not None or wanted is not None:
        raise ValidationError(
            f"the migrated copy does not keep the promise {behaviour.name!r}: "
            f"SQLite said {said or 'nothing'!r}; live unchanged",
            "look for a constraint, index or trigger of the table's own that the migration does not know",
        )


@contextmanager
def rolled_back(path: Path, settings: Settings = nullcontext) -> Iterator[Connection]:
    """A connection as the application's own, with `settings`, in a write transaction that is rolled back at the end."""
    with opened(path, trusts_schema=True) as connection, settings(connection):
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")


def call(probe: Probe, connection: sqlite3.Connection) -> object:
    """What the tool answers; ValueError for one that is skipped."""
    if probe.call is None:
        raise ValueError(f"tool {probe.tool} is never called: {probe.skip_reason}")
    return probe.call(connection)


def attempt(path: Path, probe: Probe, declared: Plan | None = None) -> tuple[str | None, object]:
    """The fault (None: passed) and the answer of one call; of old data that has its `declared` values where given.

    What it wrote is rolled back. Raises ValidationError for a probe that ended the transaction itself.
    """
    try:
        with rolled_back(path, rebuild_settings if declared else nullcontext) as connection:
            if declared:
                _give_declared_values(connection, declared)
            answer = call(probe, connection)
            if not connection.in_transaction:
                raise ValidationError(
                    f"the probe of tool {probe.tool} ended the transaction that it was called in; live unchanged",
                    "a probe leaves COMMIT and ROLLBACK to its caller",
                )
            return None, answer
    except FAULTS as error:
        return fault_text(error), None


def fault_text(error: Exception) -> str:
    """What is wrong with a tool, without what stands in a row."""
    return without_values(str(error)) or type(error).__name__


def _give_declared_values(connection: sqlite3.Connection, plan: Plan) -> None:
    """The backup's rows in tables of the target's form, with the values that the migrations declare for this way.

    Every other column is read from the old table itself, not through the projection that the candidate was made
    with: what that would mix up stands out.
    """
    for table in plan.tables:
        connection.execute(table.create)
        if table.copy:
            connection.execute(table.copy)
        if table.kind == "rebuild":
            connection.execute(_undeclared_as_they_were(connection, plan, table))
            take_place(connection, table)


def _undeclared_as_they_were(connection: sqlite3.Connection, plan: Plan, table: TablePlan) -> str:
    """UPDATE of the shadow table: each column without a declared value is the old table's; '' where all have one."""
    key = shape_of(table.target).key if table.target else ()
    other = {*map(folded, key), *_declared_columns(plan, table)}
    was_there = {folded(c) for c in columns_of(connection, table.table)} - other
    kept = [quote(c) for c in columns_of(connection, table.shadow) if folded(c) in was_there]
    shadow, assignments = quote(table.shadow), ", ".join(f"{c} = was.{c}" for c in kept)
    join = " AND ".join(f"{shadow}.{k} = was.{k}" for k in map(quote, key))
    return f"UPDATE {shadow} SET {assignments} FROM {quote(table.table)} AS was WHERE {join}" if kept else ""


def _declared_columns(plan: Plan, table: TablePlan) -> set[str]:
    """The names, folded, of the columns that the migration gives values, as the operator answered; the way back gives
    theirs, and those that it makes itself."""
    changes = (c for m in plan.migrations if m.version == table.version for c in m.changes)
    return {
        folded(column)
        for change in changes
        if folded(change.table) == folded(table.table)
        for column, value in (*change.values.items(), *((c, b.sql) for c, b in change.back.items() if plan.reverse))
        if value_sql(value, column, plan.answers[table.version], "NULL") != column
    }


def _broken_keys(scratch: Scratch, probe: Probe) -> Iterator[Finding]:
    """Foreign keys that the tool's own rows break: declared by the new schema, not honoured by the application."""
    with rolled_back(scratch.after) as connection:
        call(probe, connection)
        for key, count in foreign_key_violations(connection).items():
            if count > scratch.violations.get(key, 0):
                yield Finding(
                    "foreign_key_not_honoured",
                    f"what the application writes breaks the foreign key {key}; SQLite enforces none unless the "
                    "application asks for it",
                )


def _fault_of(connection: sqlite3.Connection, statements: tuple[str, ...]) -> str | None:
    for statement in statements:
        try:
            connection.execute(statement)
        except sqlite3.Error as error:
            return str(error)
    return None
