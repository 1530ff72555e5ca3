"""One table on its way into its shadow: rows are put there a few at a time, and what changed meanwhile again."""

from __future__ import annotations

import sqlite3

from migrator.changelog import ChangeLog
from migrator.connect import pragma
from migrator.ddl import quote
from migrator.errors import PromotionError, RehearsalError
from migrator.inspection import name_what_does_not_fit
from migrator.migration import UNMAPPED
from migrator.plan import TablePlan
from migrator.projection import Projection
from migrator.swap import originals_name

Key = tuple[object, ...]
Parameters = dict[str, object]


class Shadow:
    """The shadow table holds the projection of every row up to the key `after`, of all rows where it is `done`.

    `to_count`: a value that stood in two rows for a moment may have taken one of them away since rows were counted.
    Nothing here begins or ends a transaction. Where a row is not what the projection says, RehearsalError is raised, or
    PromotionError where the application wrote a value that has no answer.
    """

    def __init__(self, connection: sqlite3.Connection, plan: TablePlan, projection: Projection, log: ChangeLog) -> None:
        self.plan, self.log = plan, log
        self.after: Key | None = None
        self.done, self.to_count = False, True
        self._connection, self._projection = connection, projection
        self._keys = f"({', '.join(map(quote, projection.key))})"
        self._projected_keys = f"({', '.join(f'p.{quote(k)}' for k in projection.key)})"
        self._has_hidden_key = projection.key[0] not in projection.present
        # VACUUM gives rows without a key of their own other rowids, and moves this.
        self._cookie = pragma(connection, "schema_version")

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
        for table in filter(None, (self.plan.shadow, originals_name(self.plan))):
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
            raise self._difference()
        self.to_count = False

    def _put(self, only: str, parameters: Parameters, verb: str) -> int:
        originals = originals_name(self.plan)
        if originals:
            self._connection.execute(self._projection.originals_into(originals, only), parameters)
        return self._connection.execute(self._projection.copy_into(self.plan.shadow, only, verb), parameters).rowcount

    def _compare(self, only: str, parameters: Parameters, but: str) -> None:
        # A value without an answer is put as NULL and compared as what no row holds.
        differing = self._projection.differing_from(self.plan.shadow, UNMAPPED, only, but)
        if self._connection.execute(differing, parameters).fetchone()[0]:
            raise self._difference()

    def _difference(self) -> RehearsalError:
        """Raises PromotionError instead where it can be named."""
        name_what_does_not_fit(self._connection, self.plan)
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
