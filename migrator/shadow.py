"""One table on its way into its shadow: rows are put there a few at a time, and what changed meanwhile again."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace

from migrator.changelog import ChangeLog
from migrator.connect import pragma
from migrator.ddl import quote
from migrator.errors import NotOnlineError, PromotionError, RehearsalError
from migrator.inspection import name_what_does_not_fit
from migrator.migration import UNMAPPED
from migrator.plan import TablePlan
from migrator.swap import originals_name
from migrator.target import own_name_in

Key = tuple[object, ...]
Parameters = dict[str, object]


def staged(plans: Sequence[TablePlan]) -> tuple[TablePlan, ...]:
    """The rebuilds of one table as the online way does them together: each has a shadow table, filled from the one
    before. The last one's becomes the table, the others go.

    One SELECT over all of them would not be the rehearsed one: what compares by a column's type and collation in a
    table may compare in another way there. Raises NotOnlineError where an index is all that changes of a table whose
    text cannot be that of another one.
    """
    found: list[TablePlan] = []
    for number, plan in enumerate(plans, 1):
        if plan.projection is None or plan.target is None:
            raise ValueError(f"table {plan.table} is not rebuilt by migration {plan.version:04d}")
        if (fault := own_name_in(plan.target)) is not None:
            raise NotOnlineError(f"{fault}; live unchanged", "allow a longer lock with --max-lock-ms at a quiet hour")
        projection = replace(plan.projection, table=found[-1].shadow) if found else plan.projection
        moved = replace(plan, stage=number if number < len(plans) else 0, projection=projection)
        found.append(
            replace(
                moved,
                create=plan.target.named(moved.shadow).sql,
                unmapped=projection.unmapped(),
                duplicates=tuple((unique, projection.duplicates(unique)) for unique, _ in plan.duplicates),
                missing=tuple((column, projection.nulls(column)) for column, _ in plan.missing),
            )
        )
    return tuple(found)


class Shadow:
    """The shadow table holds the projection of every row up to the key `after`, of all rows where it is `done`.

    With several `stages` each has one, and holds the projection of the rows of the one before.
    `to_count`: a value that stood in two rows for a moment may have taken one of them away since rows were counted.
    Nothing here begins or ends a transaction. Where a row is not what the projection says, RehearsalError is raised, or
    PromotionError where the application wrote a value that has no answer.
    """

    def __init__(self, connection: sqlite3.Connection, stages: Sequence[TablePlan], log: ChangeLog) -> None:
        self.stages, self.log = stages, log
        self.after: Key | None = None
        self.done, self.to_count = False, True
        self._connection = connection
        self._projected = [(stage, stage.projection) for stage in stages if stage.projection is not None]
        self._projection = projection = self._projected[0][1]
        self._keys = f"({', '.join(map(quote, projection.key))})"
        self._projected_keys = f"({', '.join(f'p.{quote(k)}' for k in projection.key)})"
        self._has_hidden_key = projection.key[0] not in projection.present
        # VACUUM gives rows without a key of their own other rowids, and moves this.
        self._cookie = pragma(connection, "schema_version")

    @property
    def plan(self) -> TablePlan:
        return self.stages[-1]

    @property
    def noted(self) -> int:
        """How many notes are on the log."""
        return int(self._connection.execute(f"SELECT count(*) FROM {quote(self.log.name)}").fetchone()[0])

    def key_at(self, rows: int) -> Key | None:
        """The key of the last of the next `rows` rows; None where there are fewer."""
        after, parameters = self._between(self.after, None)
        listed = ", ".join(map(quote, self._projection.key))
        query = f"SELECT {listed} FROM {quote(self.plan.table)} WHERE {after} ORDER BY {listed} LIMIT 1 OFFSET :skip"
        found: Key | None = self._connection.execute(query, {**parameters, "skip": rows - 1}).fetchone()
        return found

    def put_up_to(self, upto: Key | None) -> int:
        """Puts the rows after `after` up to `upto` (None: to the end); returns how many."""
        return self._put(*self._between(self.after, upto), "INSERT")

    def advance_to(self, upto: Key | None) -> None:
        """Compares what was put and committed, but for rows that changed since; from now on it counts as there."""
        only, parameters = self._between(self.after, upto)
        self._compare(only, parameters, self.log.noted(self._projected_keys))
        self.after, self.done = upto or self.after, upto is None

    def take_log(self, limit: int) -> int:
        """Brings up to `limit` noted rows up to date, compares them, and takes their notes off the log; how many."""
        if self._has_hidden_key and pragma(self._connection, "schema_version") != self._cookie:
            raise PromotionError(
                f"the schema changed, or VACUUM gave the rows of {self.plan.table} other rowids; live unchanged",
                "start again",
            )
        first = f"SELECT entry FROM {quote(self.log.name)} ORDER BY entry LIMIT ?"
        entry, noted = self._connection.execute(f"SELECT max(entry), count(*) FROM ({first})", (limit,)).fetchone()
        if not noted:
            return 0
        for table in filter(None, (name for s in self.stages for name in (s.shadow, originals_name(s)))):
            query = f"DELETE FROM {quote(table)} WHERE {self._keys} IN ({self.log.listed})"
            self._connection.execute(query, {"entry": entry})
        if self.done or self.after is not None:
            # Rows beyond come by themselves.
            reached, parameters = self._between(None, None if self.done else self.after)
            only, parameters = f"{self._keys} IN ({self.log.listed}) AND {reached}", {**parameters, "entry": entry}
            # Where more is noted, a value may have moved to a row from one whose note is still to be taken.
            all_taken = noted < limit
            self.to_count = self.to_count or not all_taken
            self._put(only, parameters, "INSERT" if all_taken else "INSERT OR REPLACE")
            self._compare(only, parameters, self.log.noted(self._projected_keys, "entry > :entry"))
        self._connection.execute(f"DELETE FROM {quote(self.log.name)} WHERE entry <= ?", (entry,))
        return int(noted)

    def check_count(self) -> None:
        """No row is missing and none is there that should not be, but for those that the log names."""
        counts = [
            f"SELECT count(*) FROM {quote(table)} WHERE NOT {self.log.noted(self._keys)}"
            for table in (self.plan.table, self.plan.shadow)
        ]
        there, copied = self._connection.execute(f"SELECT ({counts[0]}), ({counts[1]})").fetchone()
        if there != copied:
            raise self._difference(self.plan)
        self.to_count = False

    def _put(self, only: str, parameters: Parameters, verb: str) -> int:
        rows = 0
        for stage, projection in self._projected:
            if originals := originals_name(stage):
                self._connection.execute(projection.originals_into(originals, only), parameters)
            rows = self._connection.execute(projection.copy_into(stage.shadow, only, verb), parameters).rowcount
        return rows

    def _compare(self, only: str, parameters: Parameters, but: str) -> None:
        for stage, projection in self._projected:
            # A value without an answer is put as NULL and compared as what no row holds.
            differing = projection.differing_from(stage.shadow, UNMAPPED, only, but)
            if self._connection.execute(differing, parameters).fetchone()[0]:
                raise self._difference(stage)

    def _difference(self, stage: TablePlan) -> RehearsalError:
        """Raises PromotionError instead where it can be named."""
        name_what_does_not_fit(self._connection, stage)
        return RehearsalError(
            f"a row of the new {self.plan.table} is not what the migration says; live unchanged",
            "a declared value may be of another type than its column stores: give it a CAST",
        )

    def _between(self, after: Key | None, upto: Key | None) -> tuple[str, Parameters]:
        """The condition that a key is above `after` and at most `upto`, and its parameters; None: no such bound."""
        conditions, parameters = ["true"], dict[str, object]()
        for sign, name, bound in ((">", "after", after), ("<=", "upto", upto)):
            if bound is not None:
                named = {f"{name}_{n}": value for n, value in enumerate(bound)}
                conditions.append(f"{self._keys} {sign} ({', '.join(f':{n}' for n in named)})")
                parameters |= named
        return " AND ".join(conditions), parameters
