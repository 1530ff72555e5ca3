"""The application's real tool server, before and after: on a copy of the backup, then on one of the candidate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

from migrator.backup import Progress, no_progress
from migrator.candidate import copy_file
from migrator.connect import opened, set_pragma
from migrator.errors import ValidationError
from migrator.files import make_directory, remove_tree
from migrator.findings import Finding
from migrator.performance import BUDGET_MS
from migrator.plan import Plan
from migrator.tool_server.calls import ServerTools
from migrator.tool_server.server import parse_tool_server, refuse_what_cannot_start
from migrator.tool_server.side import DEADLINES, NOT_LISTED, CopyUnderServer, Deadlines, Outcome, Side
from migrator.tools import FAILED, PASSED, Scratch

_FOLDER = "tool_server"
_NOT_CALLED = Outcome(FAILED, "not called")


@dataclass(frozen=True)
class ServerRow:
    """One tool in the server. `status` is that of `after`; each is passed, failed or skipped; `reason` says why; the
    percentiles are those of `after`, None for what was not timed; `extra`: the application does not know it."""

    name: str
    status: str
    before: str
    after: str
    p50_ms: float | None
    p95_ms: float | None
    reason: str | None
    extra: bool


@dataclass(frozen=True)
class ServerValidation:
    """What the server did. `stderr` is the end of what it wrote for people, by side; `failure` is None where the
    migration may go on."""

    command: str
    rows: tuple[ServerRow, ...]
    stderr: dict[str, tuple[str, ...]]
    findings: tuple[Finding, ...]
    failure: ValidationError | None

    def as_json(self) -> dict[str, object]:
        """The stable form; scripts rely on its keys."""
        return {"command": self.command, "rows": [asdict(row) for row in self.rows], "stderr": dict(self.stderr)}

    def raise_failure(self) -> None:
        """Raises ValidationError where the gate is not passed."""
        if self.failure is not None:
            raise self.failure


def validate_tool_server(
    scratch: Scratch,
    command: str,
    tools: ServerTools,
    on_progress: Progress = no_progress,
    deadlines: Deadlines = DEADLINES,
) -> ServerValidation:
    """Calls every tool of the server that `command` starts, on a copy of the backup and on a copy of the candidate.

    The gate: a tool that passed before passes after, with a p95 of at most 500 ms where it was so before; one that the
    migration names passes after; none is missing. A server that does not start, or opens another database than its
    copy, proves nothing. Afterwards no program of the server is left, and no copy. Raises RefusedError where the
    server cannot be started at all.
    """
    server = parse_tool_server(command)
    skips = _skips(tools)
    backup = scratch.candidate.inspection.backup
    called, expected = count(1), 2 * len(tools.calls)

    def on_tool() -> None:
        on_progress(min(next(called), expected), expected)

    sides: list[Side] = []
    for name, source in (("before", backup.path), ("after", scratch.after)):
        refuse_what_cannot_start(server)
        folder = backup.scratch / _FOLDER / name
        try:
            copy = _copied(source, folder, scratch)
            sides.append(
                CopyUnderServer(server, tools, copy, backup.live.database, skips, deadlines, on_tool).call_all()
            )
        finally:
            remove_tree(folder)
        if sides[-1].fault is not None:
            break
    before, after = (*sides, Side())[:2]
    rows = tuple(_rows(before, after, tools))
    findings = tuple(dict.fromkeys((*before.findings, *after.findings)))
    stderr = {"before": before.last_lines, "after": after.last_lines}
    return ServerValidation(str(server), rows, stderr, findings, _failure(before, after, rows, scratch.plan))


def _copied(source: Path, folder: Path, scratch: Scratch) -> Path:
    """A copy alone in its folder, under live's own name and in its journal mode."""
    live = scratch.candidate.inspection.backup.live
    remove_tree(folder)
    make_directory(folder, live.database)
    copy = folder / live.database.name
    copy_file(source, copy)
    with opened(copy) as connection:
        set_pragma(connection, "journal_mode", live.journal_mode)
    return copy


def _skips(tools: ServerTools) -> dict[str, str]:
    """The tools that cannot be called, or would change what is not this run's, each with its reason."""
    backends = tools.backends()
    reachable = {name: backend.reachable for name, backend in backends.items()}
    skips = {}
    for call in tools.calls:
        if call.backend is None:
            continue
        backend = backends[call.backend]
        if not reachable[call.backend]:
            skips[call.tool] = f"{backend.name} not reachable at {backend.address}"
        elif call.changes_backend and not backend.disposable:
            skips[call.tool] = f"would change {backend.name} at {backend.address}"
    return skips


def _rows(before: Side, after: Side, tools: ServerTools) -> Iterator[ServerRow]:
    extra = list(dict.fromkeys((*before.extra, *after.extra)))
    for name in (*(call.tool for call in tools.calls), *extra):
        was, now = (side.outcomes.get(name, _missing(name, side)) for side in (before, after))
        if now.status == PASSED and (now.p95_ms or 0) > BUDGET_MS:
            slow = f"p95 {now.p95_ms:.1f} ms, over {BUDGET_MS:g} ms"
            known = was.status == PASSED and (was.p95_ms or 0) > BUDGET_MS
            now = Outcome(PASSED if known else FAILED, f"{slow} as before" if known else slow, now.times_ms)
        reason = now.reason or (f"failed before: {was.reason}" if was.status == FAILED else None)
        p50_ms, p95_ms = (None if ms is None else round(ms, 3) for ms in (now.p50_ms, now.p95_ms))
        yield ServerRow(name, now.status, was.status, now.status, p50_ms, p95_ms, reason, name in extra)


def _missing(name: str, side: Side) -> Outcome:
    return Outcome(FAILED, NOT_LISTED) if side.outcomes and side.fault is None else _NOT_CALLED


def _failure(before: Side, after: Side, rows: tuple[ServerRow, ...], plan: Plan) -> ValidationError | None:
    for where, side in (("the copy of the backup", before), ("the migrated copy", after)):
        if isinstance(side.fault, ValidationError):
            return side.fault
        if side.fault is not None:
            return ValidationError(
                f"the tool server did not start on {where}: {side.fault}; live unchanged",
                "start it by hand with the same command, and give that",
            )
    failed = [row for row in rows if row.status == FAILED and _must_pass(row, plan)]
    if not failed:
        return None
    row, others = failed[0], len(failed) - 1
    return ValidationError(
        f"tool {row.name} of the tool server "
        f"{'worked before and fails' if row.before == PASSED else 'fails'} on the migrated copy: {row.reason}"
        f"{f' (and {others} more tools fail)' if others else ''}; live unchanged",
        "repair that, or check that the server is the version that the migration is for",
    )


def _must_pass(row: ServerRow, plan: Plan) -> bool:
    """The way back takes away what the tools named by the migration need; that is its purpose."""
    named = row.name in plan.tools
    if row.reason == NOT_LISTED:
        return not row.extra or row.before == PASSED
    return not (plan.reverse and named) and (named or row.before != FAILED)
