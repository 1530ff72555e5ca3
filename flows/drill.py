"""Trying a backup before it is needed: the newest one is restored into a scratch folder and looked at there.

Runs without Prefect, and never opens the live database.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from pydantic import Field, field_validator

from flows.application import LTMC
from flows.arguments import UsageError, parse
from flows.request import DatabaseRequest, OtherBackups, default_database, url_without_credentials
from flows.stream import Stream
from migrator.backups.drill import Drill, record_drill
from migrator.backups.drill import drill as drill_backup
from migrator.findings import Finding
from migrator.health.faults import Fault
from migrator.signals import end_as_ctrl_c_does
from migrator.sizes import size_text
from migrator.tools import FAILED, PASSED, SKIPPED

_WRONG_ARGUMENTS = 2


class DrillRequest(DatabaseRequest):
    """Restore the newest backup of a database into a scratch folder, and see whether all of it is there and works."""

    database: Path = Field(
        default_factory=default_database,
        description="The database file, which is not opened. Default: $LTMC_DATABASE, else $DB_PATH, else ltmc.db.",
    )
    backup_dir: OtherBackups = None
    remote: str | None = Field(
        None, description="Restore the newest copy under this URL (file:///.., s3://..), not the newest backup here."
    )

    _is_url = field_validator("remote")(url_without_credentials)


def main(arguments: Sequence[str]) -> int:
    """Restores and looks; prints what was found; returns 0 where all is well, 1 where not, 2 for wrong arguments."""
    out, err = Stream(sys.stdout), Stream(sys.stderr)
    end_as_ctrl_c_does()
    try:
        request, _ = parse(DrillRequest, "flows.drill", arguments, demo=False)
    except UsageError as error:
        print(f"python -m flows.drill: {error}", file=err)
        return _WRONG_ARGUMENTS
    try:
        done = drill(request)
    except KeyboardInterrupt:
        at = datetime.now(UTC).replace(microsecond=0)
        done = Drill(request.real_database, at, 0.0, (Fault("interrupted", "interrupted before the drill was over"),))
    if "--json" in arguments:
        print(json.dumps(done.as_json(), indent=2), file=out)
    else:
        print(*lines_of(done), sep="\n", file=out)
    out.flush()
    return 0 if done.succeeded else 1


def drill(request: DrillRequest) -> Drill:
    """Restores, looks, and notes how long it took in drills.json beside the backups; never raises what it finds."""
    done = drill_backup(request.real_database, LTMC, request.backup_dir, request.remote)
    try:
        record_drill(done, request.backup_dir)
    except (OSError, ValueError) as error:
        failed = Finding("not_recorded", f"the drill could not be recorded: {error}")
        return replace(done, noted=(*done.noted, failed))
    return done


def lines_of(done: Drill) -> Iterator[str]:
    """The drill for people, 80 columns wide but for paths and sentences."""
    yield f"{done.database}: {'its backup can be restored' if done.succeeded else 'NOT RESTORED as it should be'}"
    for name, value in facts_of(done):
        yield f"{name:<14}{value}"
    for found in done.noted:
        yield f"{'fault' if isinstance(found, Fault) else 'note':<14}{found.message}"


def facts_of(done: Drill) -> Iterator[tuple[str, str]]:
    """What was restored and how long it took, each with its name."""
    if done.backup is None or done.backup_at is None:
        return
    yield "backup", done.backup
    age_h = (done.at - done.backup_at).total_seconds() / 3600
    yield "made", f"{done.backup_at:%Y-%m-%d %H:%M} UTC, {age_h:,.1f} hours before"
    if done.size_bytes is not None:
        yield "size", size_text(done.size_bytes) + ("" if done.rows is None else f", {done.rows:,} rows")
    if done.version is not None:
        yield "version", f"{done.version:04d}"
    if done.download_s is not None:
        yield "brought here", f"in {done.download_s:.3f} s"
    if done.restore_s is not None:
        yield "restored", f"in {done.restore_s:.3f} s; the drill took {done.seconds:.1f} s"
    if done.tools:
        counted = Counter(tool.status for tool in done.tools)
        yield "tools", ", ".join(f"{counted[status]} {status}" for status in (PASSED, FAILED, SKIPPED))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
