"""Which version a database has, and where its schema is not what it should be."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

from migrator.application import Application
from migrator.check.drift import ledger_drift, ledger_findings, schema_drift
from migrator.check.promotions import Ledger, read_promotions
from migrator.errors import RefusedError
from migrator.findings import Finding
from migrator.health.faults import Fault
from migrator.migration import Answers
from migrator.plan import State
from migrator.planning import make_plan


@dataclass(frozen=True)
class SchemaVerdict:
    """`version` is None where the ledger cannot be read; `noted` are faults, for drift, and findings."""

    version: int | None
    noted: tuple[Finding, ...]


def judge_schema(connection: sqlite3.Connection, application: Application, state: State) -> SchemaVerdict:
    """Compares schema, ledger and declarations; without a ledger the schema alone says which version it is."""
    try:
        ledger = read_promotions(connection, application.name)
    except RefusedError as error:
        return SchemaVerdict(None, (Fault("ledger", str(error)),))
    noted: list[Finding] = [Fault(d.code, str(d)) for d in ledger_drift(application, ledger)]
    noted += ledger_findings(application, ledger)
    version = sum(m.label in ledger.labels for m in application.migrations)
    if not ledger.labels and not ledger.promotions:
        fitting = _versions_by_schema(application, state)
        version = fitting[-1] if fitting else 0
        if fitting:
            # What changes rows alone leaves the schema: there the tools have to tell.
            which = f"versions {fitting[0]:04d} to {version:04d}" if len(fitting) > 1 else f"version {version:04d}"
            message = f"the schema is that of {which}, and no ledger says who made it so"
            noted.append(Finding("no_ledger", message))
    refused = _is_refused(application, state, version)
    drift, findings = schema_drift(application, state.schema, ledger, version, refused)
    noted += (Fault(d.code, str(d)) for d in drift)
    noted += findings
    return SchemaVerdict(version, (*noted, *_pending(application, version)))


def _versions_by_schema(application: Application, state: State) -> tuple[int, ...]:
    """The versions whose schema the database has, in their order."""
    versions = range(1, len(application.migrations) + 1)
    return tuple(v for v in versions if not schema_drift(application, state.schema, Ledger(), v, refused=False)[0])


def _is_refused(application: Application, state: State, version: int) -> bool:
    pending = application.migrations[version:]
    try:
        make_plan(pending, state, {m.version: Answers() for m in pending})
    except RefusedError:
        return True
    return False


def _pending(application: Application, version: int) -> Iterator[Finding]:
    newest = len(application.migrations)
    if version < newest:
        yield Finding("pending", f"version {version:04d}; python -m flows.migrate brings it to {newest:04d}")
