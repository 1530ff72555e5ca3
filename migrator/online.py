"""The way for large tables: a shadow table is filled beside the live one while the application goes on.

Triggers note the key of every row that changes meanwhile. After each short transaction the shadow table holds exactly
the projection of the rows up to a key; at the end the two tables change places in milliseconds.
"""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from migrator import rebuild, swap
from migrator.application import Application
from migrator.backup import Progress, no_progress
from migrator.changelog import change_log
from migrator.connect import Connection, pragma, set_pragma
from migrator.ddl import quote
from migrator.errors import NotOnlineError, PromotionError
from migrator.findings import Finding
from migrator.guard import authorizer, check_unchanged, naming_what_changed
from migrator.ledger import WriteLedger
from migrator.pace import Pace
from migrator.paced import Paced
from migrator.plan import Plan, State, TablePlan
from migrator.schema import own_objects
from migrator.shadow import Shadow, staged

_LEFT_FOR_THE_SWAP, _MOST_IN_THE_SWAP = 20, 200
"""Notes that are left for the swap, and so many that it is put off."""
_CATCH_UP_S = 60.0
"""By then a log that does not shrink never will: 30,000 keys a second can be caught up."""

_RESERVE_BYTES, _RESERVE_AT_LEAST_BYTES = 64 << 20, 4 << 20
"""What stays free on live's filesystem: a fiftieth of it, between these. The log of one transaction is below both."""


def promote_online(
    connection: Connection,
    application: Application,
    plan: Plan,
    expected: State,
    write_ledger: WriteLedger,
    pace: Pace,
    rows_expected: int,
    on_progress: Progress = no_progress,
) -> tuple[float, int, tuple[Finding, ...]]:
    """Carries out `plan` beside the application's writes; returns milliseconds of the longest lock, rows, findings.

    Afterwards the migration is committed, and what was the table is left under names of this tool's. `on_progress` is
    called between the transactions and may raise. Raises NotOnlineError where only one transaction can do it, before
    anything was changed; PromotionError where the application changed or dropped a table that is concerned, wrote what
    does not fit, writes faster than can be caught up, or would be left without room on the disk, and where the lock is
    not to be had for a minute; RehearsalError where a row differs. Then live has its old schema and every write, and
    this tool's own objects wait to be removed.
    """
    _refuse_what_needs_all_rows(plan)
    with rebuild.rebuild_settings(connection):
        set_pragma(connection, "cache_size", -rebuild.CACHE_KIB)
        # In WAL mode a power cut takes at most the last rows of the shadow table; what the application commits it syncs
        # itself. In other modes it could damage the database (sqlite.org/pragma.html#pragma_synchronous).
        set_pragma(connection, "synchronous", 1 if pragma(connection, "journal_mode") == "wal" else 2)
        connection.set_authorizer(authorizer(plan, transactions=True))
        try:
            run = _Run(connection, application, plan, expected, Paced(connection, pace))
            with naming_what_changed(connection, application, plan, expected, lambda: run.ours):
                return run.carry_out(write_ledger, rows_expected, on_progress)
        except sqlite3.IntegrityError as error:
            raise PromotionError(
                f"rows written since the backup do not fit the new table ({error}); live unchanged",
                "start again, which shows them",
            ) from error
        finally:
            connection.set_authorizer(None)


def _refuse_what_needs_all_rows(plan: Plan) -> None:
    way_out = "allow a longer lock with --max-lock-ms at a quiet hour"
    for table in plan.tables:
        of_one = [other for other in plan.tables if other.table == table.table]
        if len(of_one) > 1 and not all(other.is_filled_online for other in of_one):
            raise NotOnlineError(
                f"several pending migrations change {table.table}, one of them in a way that the online promotion can "
                "only do alone; live unchanged",
                f"migrate to one version after the other with --to, or {way_out}",
            )
        if table.is_filled_online and table.projection is not None and not table.projection.is_local:
            raise NotOnlineError(
                f"a value of {table.table} depends on other rows, which the online promotion cannot follow; "
                "live unchanged",
                way_out,
            )
    for place, table in enumerate(plan.tables):
        filled = ({p.table for p in part if p.is_filled_online} for part in (plan.tables[:place], plan.tables[place:]))
        both = sorted(filter(table.names, set.intersection(*filled)))
        if table.update and not table.is_filled_online and both:
            raise NotOnlineError(
                f"values of {table.table} may be read from {both[0]}, which migrations before and after it change; "
                "the online promotion cannot do that in turn; live unchanged",
                f"migrate to one version after the other with --to, or {way_out}",
            )


class _Run:
    def __init__(
        self, connection: Connection, application: Application, plan: Plan, expected: State, paced: Paced
    ) -> None:
        self._connection, self._application = connection, application
        self._plan, self._expected, self._paced = plan, expected, paced
        self._filled: dict[str, list[TablePlan]] = {}
        for table in plan.tables:
            if table.is_filled_online:
                self._filled.setdefault(table.table, []).append(table)
        self._shadows: list[Shadow] = []
        self.ours: dict[str, str] = {}
        self._rows = 0
        self._folder = Path(connection.execute("PRAGMA database_list").fetchone()[2]).parent

    def carry_out(
        self, write_ledger: WriteLedger, rows_expected: int, on_progress: Progress
    ) -> tuple[float, int, tuple[Finding, ...]]:
        started = time.monotonic()
        self._paced.hold(self._set_up)

        def between() -> None:
            on_progress(self._rows, max(rows_expected, self._rows))
            if rows_expected or self._rows:
                # The rehearsal on the schema alone takes no room, and there is no application on the backups' disk.
                self._refuse_full_disk()
            self._paced.rest()

        between()
        for shadow in self._shadows:
            while not shadow.done:
                self._fill(shadow)
                between()
        until, findings = time.monotonic() + _CATCH_UP_S, None
        while findings is None:
            for shadow in self._shadows:
                self._catch_up(shadow, between, until)
            findings = self._change_places(write_ledger, started)
        return 1000 * self._paced.longest_s, self._rows, findings

    def _refuse_full_disk(self) -> None:
        """Before the application's own next write would meet a full disk."""
        usage = shutil.disk_usage(self._folder)
        reserve = max(_RESERVE_AT_LEAST_BYTES, min(_RESERVE_BYTES, usage.total // 50))
        if usage.free < reserve:
            raise PromotionError(
                f"{self._folder} has only {usage.free:,} bytes left, and the application needs some; live unchanged",
                "make room, then start again",
            )

    def _set_up(self) -> int:
        check_unchanged(self._connection, self._application, self._plan, self._expected)
        together = [staged(plans) for plans in self._filled.values()]
        # What a log is to note is decided under the lock, on the table as it is.
        logs = [change_log(self._connection, stages[0].table, stages[0].key) for stages in together]
        for stages, log in zip(together, logs, strict=True):
            for stage in stages:
                swap.create_shadow(self._connection, stage)
            for statement in log.statements.values():
                self._connection.execute(statement)
        self._shadows = [Shadow(self._connection, *each) for each in zip(together, logs, strict=True)]
        self.ours = own_objects(self._connection)
        return 0

    def _fill(self, shadow: Shadow) -> None:
        """One transaction: what the log names is brought up to date and, where that was all, the next rows follow."""
        limit = self._paced.pace.rows
        upto, filled = self._paced.look(lambda: shadow.key_at(limit)), False

        def work() -> int:
            nonlocal upto, filled
            taken = shadow.take_log(limit)
            filled = taken < limit
            if filled and upto is None:
                # Rows may have come since the look without the lock, any number of them.
                upto = shadow.key_at(limit)
            return taken + (shadow.put_up_to(upto) if filled else 0)

        rows = self._paced.hold(work)
        if filled:
            self._rows += rows
            self._paced.look(lambda: shadow.advance_to(upto))

    def _catch_up(self, shadow: Shadow, between: Callable[[], None], until: float) -> None:
        """Afterwards few enough notes are left for the swap, and no row is missing."""
        while (left := self._paced.look(lambda: shadow.noted)) > _LEFT_FOR_THE_SWAP:
            if time.monotonic() > until:
                raise PromotionError(
                    f"the application changes {shadow.plan.table} faster than the promotion follows ({left:,} notes "
                    "behind); live unchanged",
                    "start again at a quieter hour",
                )
            self._paced.hold(lambda: shadow.take_log(self._paced.pace.rows))
            between()
        if shadow.to_count:
            self._paced.look(shadow.check_count)

    def _change_places(self, write_ledger: WriteLedger, started: float) -> tuple[Finding, ...] | None:
        """The swap: what is left of the log, the renames, the ledger, in one transaction.

        None, with nothing changed, where too much came on the log since.
        """
        # This one has to survive.
        set_pragma(self._connection, "synchronous", 3)
        findings: tuple[Finding, ...] | None = None

        def work() -> int:
            nonlocal findings
            # It is done again where a COMMIT could not be had.
            findings = None
            self._connection.set_authorizer(authorizer(self._plan, transactions=True))
            found = check_unchanged(self._connection, self._application, self._plan, self._expected, self.ours)
            if any(shadow.to_count or shadow.noted >= _MOST_IN_THE_SWAP for shadow in self._shadows):
                return 0
            for filled in self._shadows:
                # First of all: a table without a key of its own takes any change of the schema for a VACUUM.
                filled.take_log(_MOST_IN_THE_SWAP)
            for table in self._plan.tables:
                shadow = next((s for s in self._shadows if s.plan.table == table.table), None)
                if shadow is None:
                    rebuild.keep_originals(self._connection, table)
                    rebuild.rebuild_table(self._connection, table)
                    rebuild.create_indexes(self._connection, table)
                    continue
                if table is not self._filled[table.table][-1]:
                    continue
                swap.swap_table(self._connection, shadow.stages)
                self._connection.execute(f"DROP TABLE {quote(shadow.log.name)}")
            # The ledger is no table of the plan's.
            self._connection.set_authorizer(None)
            write_ledger(self._connection, time.monotonic() - started, self._rows)
            findings = found
            return 0

        self._paced.hold(work)
        return findings
