"""What can be said of a run before it, from the rows as they are now; nothing is written."""

from __future__ import annotations

from migrator.connect import opened
from migrator.findings import Finding
from migrator.inspection import refuse_rows
from migrator.originals import count_originals
from migrator.preflight import Live


def look_ahead(live: Live) -> tuple[Finding, ...]:
    """What the run would put aside; none where nothing is pending. Reads every row of the tables of the plan.

    Raises RefusedError as `inspect` would for the rows. Damage is not looked for: that reads every page.
    """
    if live.plan is None:
        return ()
    with opened(live.database, read_only=True) as connection:
        connection.execute("BEGIN")
        refuse_rows(connection, live.plan)
        return count_originals(connection, live.plan)
