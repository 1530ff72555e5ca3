"""The checks and chores of `flows.verify`, `flows.backups` and `flows.drill` as flows, for deployments and schedules.

Those modules answer on the command line without Prefect; here each is one flow of the same name. Where the command ends
with 1 or 2 the flow run is Failed and says why, and in both cases its page has what the command prints.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from loguru import logger
from prefect import flow
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows import backups, drill, verify
from flows.drill import DrillRequest
from flows.one_at_a_time import lock_when_free
from flows.request import BackupsRequest, VerifyRequest
from migrator.errors import MigratorError
from migrator.findings import Finding
from migrator.health.faults import Fault
from tasks.log import forward_to_prefect

forward_to_prefect()


@flow(name="verify", flow_run_name="verify {request.database}", persist_result=False)
def verify_database(request: VerifyRequest) -> State[Any]:
    """Fails where the database is not healthy; artifacts `health` and `tool-health`."""
    report = verify.verify(request)
    health = report.health
    times = ("p50_ms", "p95_ms", "cpu_ms", "usual_cpu_ms", "limit_cpu_ms")
    tools = [
        {"tool": tool.name, "status": tool.status, **{name: getattr(tool, name) for name in times}}
        for tool in health.tools
    ]
    _show("health", health.healthy, str(health.database), verify.facts_of(report), health.noted)
    _show_table("tool-health", tools, "Each tool on a snapshot, in milliseconds")
    return _ended(health.healthy, f"{health.database} is healthy", "not healthy", health.faults)


@flow(name="prune-backups", flow_run_name="prune-backups {request.database}", persist_result=False)
def prune_backups(request: BackupsRequest) -> State[Any]:
    """Removes the backups that no rule keeps, when no run is at work on the database; artifacts `backups`."""
    try:
        with lock_when_free(request.real_database):
            result = backups.prune_backups(request)
    except MigratorError as error:
        return Failed(message=str(error))
    fault = result["error"]
    done = f"{len(result['removed'])} removed, {len(result['copied'])} copied"
    rows = [{name: row[name] for name in ("name", "size_bytes", "stays", "why")} for row in result["backups"]]
    faults = [] if fault is None else [Fault(result["outcome"], fault)]
    facts = [("outcome", str(result["outcome"])), ("done", done), ("removed", ", ".join(result["removed"]) or "none")]
    _show("backups", fault is None, result["database"], facts, faults)
    _show_table("backups-kept", rows, "What became of each backup, and why")
    return _ended(fault is None, done, str(result["outcome"]), faults)


@flow(name="drill", flow_run_name="drill {request.database}", persist_result=False)
def restore_drill(request: DrillRequest) -> State[Any]:
    """Fails where the newest backup could not be restored as it was; artifacts `drill` and `drill-tools`."""
    done = drill.drill(request)
    tools = [{"tool": t.name, "status": t.status, "before": t.before, "reason": t.reason} for t in done.tools]
    _show("drill", done.succeeded, str(done.database), drill.facts_of(done), done.noted)
    _show_table("drill-tools", tools, "Each tool on the restored database, and when the backup was made")
    took = "" if done.restore_s is None else f" in {done.restore_s:.3f} s"
    return _ended(done.succeeded, f"{done.backup} was restored{took}", "not restored as it should be", done.faults)


def _ended(well: bool, said: str, not_well: str, faults: Sequence[Finding]) -> State[Any]:
    message = said if well else f"{not_well}: {'; '.join(fault.message for fault in faults)}"
    logger.log("INFO" if well else "ERROR", "{}", message)
    return Completed(message=message) if well else Failed(message=message)


def _show(key: str, well: bool, database: str, facts: Iterable[tuple[str, str]], noted: Iterable[Finding]) -> None:
    lines = [f"# {'well' if well else 'NOT WELL'}", f"`{database}`", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {_cell(value)} |" for name, value in facts]
    lines += ["", *(f"- **{'fault' if isinstance(n, Fault) else 'note'}** {n.message} ({n.code})" for n in noted)]
    create_markdown_artifact(key=key, markdown="\n".join(lines) + "\n", description=database)


def _show_table(key: str, rows: Sequence[Mapping[str, Any]], what: str) -> None:
    if rows:
        create_table_artifact(key=key, table=[dict(row) for row in rows], description=what)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
