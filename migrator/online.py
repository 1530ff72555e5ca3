"""The way for large tables: a shadow table is filled beside the live one while the application goes on.

Triggers note the key of every row that changes meanwhile. After each short transaction the shadow table holds exactly
the projection of the rows up to a key; at the end the two tables change places in milliseconds.
"""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from migrator import rebuild, swap
from migrator.application import Application
from migrator.backup import Progress, no_progress
from migrator.changelog import ChangeLog, change_log
from migrator.connect import Connection, pragma, set_pragma
from migrator.ddl import quote
from migrator.errors import NotOnlineError, PromotionError, RefusedError, RehearsalError
from migrator.findings import Finding
from migrator.guard import authorizer, check_unchanged
from migrator.inspection import refuse_what_does_not_fit
from migrator.ledger import WriteLedger
from migrator.migration import UNMAPPED
from migrator.one_transaction import CACHE_KIB
from migrator.pace import Pace
from migrator.paced import Paced
from migrator.plan import Plan, State, TablePlan
from migrator.projection import Projection
from migrator.schema import own_objects

_LEFT_FOR_THE_SWAP, _MOST_IN_THE_SWAP = 20, 200
"""Notes that are left for the swap, and so many that it is put off."""
_CATCH_UP_S = 60.0
"""By then a log that does not shrink never will: 30,000 keys a second can be caught up."""

_RESERVE_BYTES, _RESERVE_AT_LEAST_BYTES = 64 << 20, 4 << 20
"""What stays free on live's filesystem: a fiftieth of it, between these. The log of one transaction is below both."""

Parameters = dict[str, object]


@dataclass
class _Copy:
    """One table on its way. `after`: the key up to which the shadow table is filled; `done`: all is filled.

    `to_count`: a value that stood in two rows for a moment may have taken one of them away since rows were counted.
    """

    plan: TablePlan
    projection: Projection
    log: ChangeLog
    after: tuple[object, ...] | None = None
    done: bool = False
    to_count: bool = True

    @property
    def has_hidden_key(self) -> bool:
        return self.projection.key[0] not in self.projection.present

    @property
    def keys(self) -> str:
        return f"({', '.join(map(quote, self.projection.key))})"


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
    anything was changed; PromotionError where the application changed the schema or
    wrote what does not fit, or writes faster than can be caught up; RehearsalError where a row differs. Then live has
    its old schema and every write, and this tool's own objects wait to be removed.
    """
    _refuse_what_needs_all_rows(plan)
    with rebuild.rebuild_settings(connection):
        set_pragma(connection, "cache_size", -CACHE_KIB)
        # Nothing of the shadow table has to survive a power cut; what the application commits it syncs itself.
        set_pragma(connection, "synchronous", 1)
        connection.set_authorizer(authorizer(plan, transactions=True))
        try:
            run = _Run(connection, application, plan, expected, Paced(connection, pace))
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
    tables = [table.table for table in plan.tables if table.kind == "rebuild"]
    for table in plan.tables:
        if tables.count(table.table) > 1:
            raise NotOnlineError(
                f"several pending migrations change {table.table}, which the online promotion cannot do at once; "
                "live unchanged",
                f"migrate to one version after the other with --to, or {way_out}",
            )
        if table.projection is not None and not table.projection.is_local:
            raise NotOnlineError(
                f"a value of {table.table} depends on other rows, which the online promotion cannot follow; "
                "live unchanged",
                way_out,
            )


class _Run:
    def __init__(
        self, connection: Connection, application: Application, plan: Plan, expected: State, paced: Paced
    ) -> None:
        self._connection, self._application = connection, application
        self._plan, self._expected, self._paced = plan, expected, paced
        self._copies: list[_Copy] = []
        self._ours: dict[str, str] = {}
        self._cookie: object = None
        self._rows = 0
        self._folder = Path(connection.execute("PRAGMA database_list").fetchone()[2]).parent

    def carry_out(
        self, write_ledger: WriteLedger, rows_expected: int, on_progress: Progress
    ) -> tuple[float, int, tuple[Finding, ...]]:
        started = time.monotonic()
        self._paced.hold(self._set_up)

        def between() -> None:
            on_progress(self._rows, max(rows_expected, self._rows))
            self._refuse_full_disk()
            self._paced.rest()

        between()
        for copy in self._copies:
            while not copy.done:
                self._fill(copy)
                between()
        until, findings = time.monotonic() + _CATCH_UP_S, None
        while findings is None:
            for copy in self._copies:
                self._catch_up(copy, between, until)
                if copy.to_count:
                    self._check_count(copy)
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
        # What the log is to note is decided under the lock, on the table as it is.
        self._copies = [
            _Copy(table, table.projection, change_log(self._connection, table.table, table.projection.key))
            for table in self._plan.tables
            if table.projection is not None
        ]
        for copy in self._copies:
            swap.create_shadow(self._connection, copy.plan)
            for statement in copy.log.statements.values():
                self._connection.execute(statement)
        self._ours = own_objects(self._connection)
        self._cookie = pragma(self._connection, "schema_version")
        return 0

    def _fill(self, copy: _Copy) -> None:
        """One transaction: what the log names is brought up to date and, where that was all, the next rows follow."""
        limit = self._paced.pace.rows
        upto = self._key_at(copy, limit)
        only, parameters = _between(copy, copy.after, upto)
        filled = False

        def work() -> int:
            nonlocal filled, upto, only, parameters
            taken = self._take_log(copy, limit)
            filled = taken < limit
            if filled and upto is None:
                # Rows may have come since the look without the lock, any number of them.
                upto = self._key_at(copy, limit)
                only, parameters = _between(copy, copy.after, upto)
            return taken + (self._put(copy, only, parameters, "INSERT") if filled else 0)

        rows = self._paced.hold(work)
        if filled:
            self._rows += rows
            copy.after, copy.done = (upto or copy.after), upto is None
            self._compare(copy, only, parameters)

    def _key_at(self, copy: _Copy, rows: int) -> tuple[object, ...] | None:
        """The key of the last of the next `rows` rows; None where there are fewer."""
        after, parameters = _between(copy, copy.after, None)
        query = (
            f"SELECT {', '.join(map(quote, copy.projection.key))} FROM {quote(copy.plan.table)} "
            f"WHERE {after} ORDER BY {', '.join(map(quote, copy.projection.key))} LIMIT 1 OFFSET :skip"
        )
        found: tuple[object, ...] | None = self._connection.execute(query, {**parameters, "skip": rows - 1}).fetchone()
        return found

    def _put(self, copy: _Copy, only: str, parameters: Parameters, verb: str) -> int:
        shadow, originals = copy.plan.shadow, swap.originals_name(copy.plan)
        if originals:
            self._connection.execute(copy.projection.originals_into(originals, only), parameters)
        return self._connection.execute(copy.projection.copy_into(shadow, only, verb), parameters).rowcount

    def _take_log(self, copy: _Copy, limit: int) -> int:
        """Brings up to `limit` noted rows up to date, compares them, and takes their notes off the log."""
        if copy.has_hidden_key and pragma(self._connection, "schema_version") != self._cookie:
            raise PromotionError(
                f"the schema changed, or VACUUM gave the rows of {copy.plan.table} other rowids; live unchanged",
                "start again",
            )
        newest = self._connection.execute(
            f"SELECT max(entry), count(*) FROM (SELECT entry FROM {quote(copy.log.name)} ORDER BY entry LIMIT ?)",
            (limit,),
        ).fetchone()
        entry, noted = newest
        if not noted:
            return 0
        for table in filter(None, (copy.plan.shadow, swap.originals_name(copy.plan))):
            query = f"DELETE FROM {quote(table)} WHERE {copy.keys} IN ({copy.log.listed})"
            self._connection.execute(query, {"entry": entry})
        # Rows beyond come by themselves.
        reached, parameters = _between(copy, None, None if copy.done else copy.after)
        parameters["entry"] = entry
        if copy.done or copy.after is not None:
            only = f"{copy.keys} IN ({copy.log.listed}) AND {reached}"
            # Where more is noted, a value may have moved to this row from one whose note is still to be taken.
            all_taken = noted < limit
            copy.to_count = copy.to_count or not all_taken
            self._put(copy, only, parameters, "INSERT" if all_taken else "INSERT OR REPLACE")
            later = copy.log.noted(_prefixed("p", copy), "entry > :entry")
            compare = copy.projection.differing_from(copy.plan.shadow, UNMAPPED, only, later)
            if self._connection.execute(compare, parameters).fetchone()[0]:
                raise self._difference(copy)
        self._connection.execute(f"DELETE FROM {quote(copy.log.name)} WHERE entry <= ?", (entry,))
        return int(noted)

    def _compare(self, copy: _Copy, only: str, parameters: Parameters) -> None:
        """What is committed is what the projection says, but for rows that changed since; no lock is held."""
        changed = copy.log.noted(_prefixed("p", copy))
        compare = copy.projection.differing_from(copy.plan.shadow, UNMAPPED, only, changed)
        if self._connection.execute(compare, parameters).fetchone()[0]:
            raise self._difference(copy)

    def _difference(self, copy: _Copy) -> Exception:
        try:
            refuse_what_does_not_fit(self._connection, copy.plan)
        except RefusedError as error:
            return PromotionError(f"written since the backup: {error.fault}; live unchanged", error.way_out)
        return RehearsalError(
            f"a row of the new {copy.plan.table} is not what the migration says; live unchanged",
            "a declared value may be of another type than its column stores: give it a CAST",
        )

    def _left(self, copy: _Copy) -> int:
        """How many notes are on the log."""
        return int(self._connection.execute(f"SELECT count(*) FROM {quote(copy.log.name)}").fetchone()[0])

    def _catch_up(self, copy: _Copy, between: Callable[[], None], until: float) -> None:
        """Afterwards few enough notes are left for the swap."""
        while (left := self._left(copy)) > _LEFT_FOR_THE_SWAP:
            if time.monotonic() > until:
                raise PromotionError(
                    f"the application changes {copy.plan.table} faster than the promotion follows ({left:,} rows "
                    "behind); live unchanged",
                    "start again at a quieter hour",
                )
            self._paced.hold(lambda: self._take_log(copy, self._paced.pace.rows))
            between()

    def _check_count(self, copy: _Copy) -> None:
        """No row is missing and none is there that should not be, but for those that the log names."""
        counts = [
            f"SELECT count(*) FROM {quote(table)} WHERE NOT {copy.log.noted(copy.keys)}"
            for table in (copy.plan.table, copy.plan.shadow)
        ]
        there, copied = self._connection.execute(f"SELECT ({counts[0]}), ({counts[1]})").fetchone()
        if there != copied:
            raise self._difference(copy)
        copy.to_count = False

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
            found = check_unchanged(self._connection, self._application, self._plan, self._expected, self._ours)
            if any(copy.to_count or self._left(copy) >= _MOST_IN_THE_SWAP for copy in self._copies):
                return 0
            for table in self._plan.tables:
                copy = next((c for c in self._copies if c.plan is table), None)
                if copy is None:
                    rebuild.rebuild_table(self._connection, table)
                    rebuild.create_indexes(self._connection, table)
                    continue
                self._take_log(copy, _MOST_IN_THE_SWAP)
                swap.swap_table(self._connection, table)
                self._connection.execute(f"DROP TABLE {quote(copy.log.name)}")
            # The ledger is no table of the plan's.
            self._connection.set_authorizer(None)
            write_ledger(self._connection, time.monotonic() - started, self._rows)
            findings = found
            return 0

        self._paced.hold(work)
        return findings


def _prefixed(name: str, copy: _Copy) -> str:
    return f"({', '.join(f'{name}.{quote(k)}' for k in copy.projection.key)})"


def _between(copy: _Copy, after: tuple[object, ...] | None, upto: tuple[object, ...] | None) -> tuple[str, Parameters]:
    """The condition that a key is above `after` and at most `upto`, and its parameters; None: no such bound."""
    conditions, parameters = ["true"], dict[str, object]()
    for sign, name, bound in ((">", "after", after), ("<=", "upto", upto)):
        if bound is not None:
            named = {f"{name}_{n}": value for n, value in enumerate(bound)}
            conditions.append(f"{copy.keys} {sign} ({', '.join(f':{n}' for n in named)})")
            parameters |= named
    return " AND ".join(conditions), parameters
