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
        version = _version_by_schema(application, state)
        if version:
            message = f"the schema is that of version {version:04d}, and no ledger says who made it so"
            noted.append(Finding("no_ledger", message))
    refused = _is_refused(application, state, version)
    drift, findings = schema_drift(application, state.schema, ledger, version, refused)
    noted += (Fault(d.code, str(d)) for d in drift)
    noted += findings
    return SchemaVerdict(version, (*noted, *_pending(application, version)))


def _version_by_schema(application: Application, state: State) -> int:
    """The latest version whose schema the database has; 0 where it has none."""
    versions = range(len(application.migrations), 0, -1)
    fitting = (v for v in versions if not schema_drift(application, state.schema, Ledger(), v, refused=False)[0])
    return next(fitting, 0)


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
