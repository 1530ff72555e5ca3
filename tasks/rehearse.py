"""Every step of the migration on a copy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loguru import logger

from migrator import candidate as candidates
from migrator.candidate import Candidate
from migrator.inspection import Inspection
from migrator.plan import TablePlan
from migrator.quick_check import BEFORE, look_at_tools
from migrator.schema import Column
from tasks.record import current_report, progress
from tasks.step import step


def after_step(name: str, candidate: Candidate) -> None:
    """Afterwards the report and the log say which tools the step made work, or broke."""
    _note_tools(name, candidate)


def before_steps(name: str, staged: Candidate) -> None:
    """Afterwards the report and the log say which tools work and which fail before anything was changed."""
    _note_tools(BEFORE, staged)


def _note_tools(name: str, candidate: Candidate) -> None:
    for change in current_report.get().note_tools(look_at_tools(candidate, name)):
        logger.info(
            "tool {} {} {}{}", change.tool, change.state, change.when, f" ({change.reason})" * bool(change.reason)
        )


def _more_rows(rebuilt: Candidate, given: Mapping[str, Any]) -> int:
    """The rows of this table alone: a candidate counts those of every step so far."""
    before: Candidate = given["candidate"]
    return rebuilt.rows - before.rows


@step("stage the candidate", after=before_steps)
def stage(inspection: Inspection) -> Candidate:
    return candidates.stage(inspection, progress("stage"))


@step("add column {table}.{column.name}", retries_on_lock=True, after=after_step)
def add_column(candidate: Candidate, table: str, column: Column) -> Candidate:
    return candidates.add_column(candidate, table, column)


@step("convert data of {table.table}", after=after_step)
def convert_data(candidate: Candidate, table: TablePlan) -> Candidate:
    return candidates.convert_data(candidate, table)


@step("rebuild table {table.table}", counts_rows=_more_rows, after=after_step)
def rebuild_table(candidate: Candidate, table: TablePlan) -> Candidate:
    return candidates.rebuild_table(candidate, table)


@step("drop indexes of {table.table}", after=after_step)
def drop_indexes(candidate: Candidate, table: TablePlan) -> Candidate:
    return candidates.drop_indexes(candidate, table)


@step("create indexes", after=after_step)
def create_indexes(candidate: Candidate) -> Candidate:
    return candidates.create_indexes(candidate)
