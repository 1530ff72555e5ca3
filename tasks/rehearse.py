"""Every step of the migration on a copy."""

from __future__ import annotations

from migrator import candidate as candidates
from migrator.candidate import Candidate
from migrator.inspection import Inspection
from migrator.plan import TablePlan
from migrator.schema import Column
from tasks.record import progress
from tasks.step import step


@step("stage the candidate")
def stage(inspection: Inspection) -> Candidate:
    return candidates.stage(inspection, progress("stage"))


@step("add column {table}.{column.name}", retries_on_lock=True)
def add_column(candidate: Candidate, table: str, column: Column) -> Candidate:
    return candidates.add_column(candidate, table, column)


@step("convert data of {table.table}")
def convert_data(candidate: Candidate, table: TablePlan) -> Candidate:
    return candidates.convert_data(candidate, table)


@step("rebuild table {table.table}", counts_rows=True)
def rebuild_table(candidate: Candidate, table: TablePlan) -> Candidate:
    return candidates.rebuild_table(candidate, table)


@step("create indexes")
def create_indexes(candidate: Candidate) -> Candidate:
    return candidates.create_indexes(candidate)
