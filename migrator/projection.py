"""The one text that turns old rows into new ones: for the rehearsal, the promotion and every check of both.

source: the table's rows, with each column of either schema that the table lacks as its default or NULL.
projection: the columns of the target over the source. A value that an earlier migration in the other direction had
to put aside is given back where converting it again yields what the row holds now.
originals: the rows of which the way back would make something else than they were.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from migrator.ddl import folded, quote
from migrator.migration import UNMAPPED, Answers, Mapped, Value, value_sql
from migrator.pieces import (
    again_of,
    default_of,
    left_of,
    new_of,
    reads_rows,
    same_of,
    select,
    unlike,
    unlike_as_text,
    was_of,
)
from migrator.schema import OWN_PREFIX, Column, Unique


@dataclass(frozen=True)
class Projection:
    """`present` are the table's columns, `known` those of both schemas, `target` those of the table to be.

    Every name is spelled in one way everywhere. `opposite` are the values of the way back, `pairs` the source
    columns that hold a target column's value under other names; `reads` is the table of values put aside (`kept`:
    its columns, empty where there is none). `text` are the columns of the target that hold no number.
    """

    table: str
    key: tuple[str, ...]
    present: tuple[str, ...]
    known: tuple[Column, ...]
    target: tuple[str, ...]
    values: Mapping[str, Value]
    where: str | None
    opposite: Mapping[str, Value]
    opposite_where: str | None
    pairs: Mapping[str, tuple[str, ...]]
    answers: Answers
    reads: str
    kept: tuple[str, ...]
    text: frozenset[str]
    identity: tuple[str, ...] = ()

    @property
    def taken(self) -> str | None:
        """A column that is called what the statements call something else; None where there is none."""
        given = (name(c.name) for name in (was_of, again_of, left_of, same_of, new_of) for c in self.known)
        taken = set(map(folded, (quote("_mig_there"), *given)))
        return next((c.name for c in self.known if folded(quote(c.name)) in taken), None)

    @property
    def source(self) -> str:
        """SELECT of every known column of every row."""
        hidden = [f"{k} AS {quote(k)}" for k in self._hidden_key]
        return select([*hidden, *map(quote, self.present), *self._lacking(self.present)], quote(self.table))

    @property
    def is_local(self) -> bool:
        """Whether each projected row comes from one row alone, so that rows can be projected a few at a time."""
        given = (*self.values.values(), *self.opposite.values())
        texts = [*(value_sql(value, "", self.answers, "") for value in given), self.where, self.opposite_where]
        return not any(reads_rows(text) for text in texts if text)

    @property
    def concerned(self) -> str:
        """The condition that holds for every row of the table that changes or has originals; "" where any row may."""
        given = ((self.values, self.where), (self.opposite, self.opposite_where))
        conditions = [where for values, where in given if values]
        if self._given_back:
            conditions.append(self._key_in(self.reads))
        return " OR ".join(f"({condition})" for condition in conditions) if all(conditions) else ""

    def sql(self, unmapped: str = "NULL", only: str = "") -> str:
        """SELECT of the key, the target's columns and, as `_was_<column>`, the source values that checks need.

        `only` is a condition on the table's rows ("": all of them).
        """
        values = [f"{self._value(c, self.values, self.where, unmapped)} AS {quote(c)}" for c in self.target]
        was = [f"{self._now(c)} AS {was_of(c)}" for c in self._remembered]
        source = f"{self.source} WHERE {only}" if only else self.source
        projected = select([*map(quote, self._hidden_key), *values, *was], f"({source})")
        return self._with_kept(projected) if self._given_back else projected

    def copy_into(self, shadow: str, only: str = "", verb: str = "INSERT") -> str:
        """INSERT of every projected row; rowids stay."""
        listed = [*map(quote, self._hidden_key), *map(quote, self.target)]
        return f"{verb} INTO {quote(shadow)} ({', '.join(listed)}) {select(listed, f'({self.sql(only=only)})')}"

    def put_from(self, shadow: str) -> tuple[str, str]:
        """Statements that put the rows of `shadow` in the place of those with the same keys.

        No UPDATE, in which a unique value that moves to another row would meet itself; and OR ABORT, because the table
        itself may say that a row replaces another.
        """
        listed = ", ".join(map(quote, (*self._hidden_key, *self.target)))
        return (
            f"DELETE FROM {quote(self.table)} WHERE {self._key_in(shadow)}",
            f"INSERT OR ABORT INTO {quote(self.table)} ({listed}) SELECT {listed} FROM {quote(shadow)}",
        )

    def differing_from(self, table: str, unmapped: str = "NULL", only: str = "", but: str = "") -> str:
        """Counts projected rows that are missing from `table` or differ from it in type or bytes.

        Rows for which the condition `but` on the projected row p holds do not count.
        """
        join = " AND ".join(f"t.{quote(k)} = p.{quote(k)}" for k in self.key)
        differ = " OR ".join(
            (unlike_as_text if c in self.text else unlike)(f"p.{quote(c)}", f"t.{quote(c)}") for c in self.target
        )
        return (
            f"SELECT count(*) FROM ({self.sql(unmapped, only)}) AS p LEFT JOIN {quote(table)} AS t ON {join} "
            f"WHERE (t.{quote(self.key[0])} IS NULL OR {differ})" + (f" AND NOT ({but})" if but else "")
        )

    def originals_table(self, writes: str) -> str:
        """CREATE of the table `writes` for what the way back would not give; "" where nothing can be lost.

        Its columns but the key have no type: without affinity SQLite keeps a value exactly as it was. The key's have
        theirs, so that a join with the table uses its index.
        """
        if not self._changing:
            return ""
        types = {c.name: c.type for c in self.known}
        key = [f"{quote(k)} {types.get(k, 'INTEGER')}" for k in self.key]
        columns = [*key, *map(quote, self._changing), *map(left_of, self._left_behind), *map(same_of, self.identity)]
        return f"CREATE TABLE {quote(writes)} ({', '.join(columns)}, PRIMARY KEY ({', '.join(map(quote, self.key))}))"

    def originals_into(self, writes: str, only: str = "") -> str:
        """INSERT of key and old values of the rows of which the way back would make something else than they were."""
        columns = [
            *map(quote, (*self.key, *self._changing)),
            *map(left_of, self._left_behind),
            *map(same_of, self.identity),
        ]
        return f"INSERT INTO {quote(writes)} ({', '.join(columns)}) {self._originals(only)}"

    def originals_count(self, only: str = "") -> str:
        """SELECT of how many rows that are."""
        return f"SELECT count(*) FROM ({self._originals(only)})"

    def _originals(self, only: str) -> str:
        again = [
            f"{self._value(c, self.opposite, self.opposite_where, UNMAPPED)} AS {again_of(c)}" for c in self._changing
        ]
        rows = select(["*", *self._lacking(self.target)], f"({self.sql(only=only)})")
        differ = " OR ".join(unlike(was_of(c), again_of(c)) for c in self._changing)
        listed = [
            *map(quote, self.key),
            *map(was_of, self._changing),
            *map(quote, (*self._left_behind, *self.identity)),
        ]
        compared = select(["*", *again], f"({rows})")
        return f"{select(listed, f'({compared})')} WHERE {differ}"

    def fill(self) -> str:
        """UPDATE of the columns that the table lacked and that do not stay empty; '' where there are none."""
        lacking = [c for c in self.target if c not in self.present]
        filled = [c for c in lacking if c in self.values or c in self._given_back]
        # A name that no table of the application has.
        new = quote(f"{OWN_PREFIX}row")
        assignments = ", ".join(f"{quote(c)} = {new}.{quote(c)}" for c in filled)
        join = " AND ".join(f"{quote(self.table)}.{quote(k)} = {new}.{quote(k)}" for k in self.key)
        rows = f"({self.sql()}) AS {new}"
        return f"UPDATE {quote(self.table)} SET {assignments} FROM {rows} WHERE {join}" if filled else ""

    def unmapped(self) -> tuple[tuple[str, str], ...]:
        """For each column read through spellings: a SELECT of the distinct values without one, with their counts."""
        rows = f"({self.sql(UNMAPPED)})"
        return tuple(
            (
                column,
                f"SELECT {was_of(column)}, count(*) FROM {rows} WHERE {quote(column)} = {UNMAPPED} "
                f"GROUP BY {was_of(column)}, typeof({was_of(column)})",
            )
            for column in self._mapped
        )

    def duplicates(self, unique: Unique) -> str:
        """SELECT of the values that stand in more than one row of what must be unique, with their counts."""
        listed = ", ".join(unique.terms)
        # What is NULL is like nothing else.
        only = " AND ".join([f"({unique.where or 'true'})", *(f"({term}) IS NOT NULL" for term in unique.terms)])
        rows = f"({self.sql()}) AS {quote(unique.table)} WHERE {only}"
        return f"SELECT {listed}, count(*) FROM {rows} GROUP BY {listed} HAVING count(*) > 1"

    def nulls(self, column: str) -> str:
        """Counts rows without a value in a column that must have one."""
        return f"SELECT count(*) FROM ({self.sql()}) WHERE {quote(column)} IS NULL"

    def _value(self, column: str, values: Mapping[str, Value], where: str | None, unmapped: str) -> str:
        if column not in values:
            return quote(column)
        sql = value_sql(values[column], quote(column), self.answers, unmapped).replace("{rows}", f"({self.source})")
        return f"CASE WHEN {where} THEN {sql} ELSE {quote(column)} END" if where else f"({sql})"

    def _with_kept(self, projected: str) -> str:
        """The projection, in which what was put aside stands again where it still belongs.

        Every row is first laid over with all that was put aside for it; where converting that again yields what the
        source holds now, it is what the row was made of. So it is where the source still holds what was left there.
        """
        given = self._given_back
        kept_left = set(map(quote, self.kept))
        hidden = [f"v.{quote(k)} AS {quote(k)}" for k in self._hidden_key]
        laid_over = [f"{'k' if c in given else 'v'}.{quote(c)} AS {quote(c)}" for c in self.target]
        lacking = [
            f"k.{quote(c.name)} AS {quote(c.name)}" if c.name in self.kept else default_of(c)
            for c in self.known
            if c.name not in self.target
        ]
        new = [f"v.{quote(c)} AS {new_of(c)}" for c in given]
        was = [f"v.{was_of(c)} AS {was_of(c)}" for c in self._remembered]
        left = [
            f"k.{name}"
            for name in dict.fromkeys(left_of(s) for c in given for s in self._sources(c))
            if name in kept_left
        ]
        same = [
            f"NOT ({unlike(f'k.{same_of(c)}', f'v.{quote(c)}')})" for c in self.identity if f"_same_{c}" in self.kept
        ]
        there = f"{' AND '.join([f'k.{quote(self.key[0])} IS NOT NULL', *same])} AS _mig_there"
        join = " AND ".join(f"k.{quote(k)} = v.{quote(k)}" for k in self.key)
        joined = f"({projected}) AS v LEFT JOIN {quote(self.reads)} AS k ON {join}"
        rows = select([*hidden, *laid_over, *lacking, *new, *was, *left, there], joined)
        sources = dict.fromkeys(source for c in given for source in self._sources(c))
        again = [f"{self._value(c, self.opposite, self.opposite_where, UNMAPPED)} AS {again_of(c)}" for c in sources]
        values = [self._given_or_new(c) if c in given else quote(c) for c in self.target]
        listed = [*map(quote, self._hidden_key), *values, *map(was_of, self._remembered)]
        return select(listed, f"({select(['*', *again], f'({rows})')})")

    def _given_or_new(self, column: str) -> str:
        same = "".join(f" AND ({self._untouched(s)})" for s in self._sources(column))
        return f"CASE WHEN _mig_there{same} THEN {quote(column)} ELSE {new_of(column)} END AS {quote(column)}"

    def _untouched(self, source: str) -> str:
        """Whether a source column holds what the row laid over converts to, or what the way back left there."""
        converted = f"NOT ({unlike(again_of(source), was_of(source))})"
        left = f" OR NOT ({unlike(left_of(source), was_of(source))})" if f"_left_{source}" in self.kept else ""
        return converted + left

    def _sources(self, column: str) -> tuple[str, ...]:
        """The table's columns that hold now what `column` was turned into; none where the table has no such thing."""
        return tuple(c for c in self.pairs.get(column, (column,)) if c in self.present)

    def _now(self, column: str) -> str:
        """The source value that a check shows for `column`; what is read through spellings where it is new."""
        value = self.values.get(column)
        return value.of if isinstance(value, Mapped) and column not in self.present else quote(column)

    @property
    def _given_back(self) -> tuple[str, ...]:
        return tuple(c for c in self.target if c in self.kept and c not in self.key)

    @property
    def _mapped(self) -> tuple[str, ...]:
        return tuple(c for c in self.target if isinstance(self.values.get(c), Mapped))

    @property
    def _changing(self) -> tuple[str, ...]:
        """The table's columns whose value the target may not hold as it is."""
        altered = {*self.values, *self.opposite}
        return tuple(c for c in self.present if c not in self.key and (c not in self.target or c in altered))

    @property
    def _left_behind(self) -> tuple[str, ...]:
        """The target's columns that may get a value back from which the other way could not tell what was put aside."""
        changing = set(self._changing)
        return tuple(c for c in self._given_back if changing & set(self._sources(c)))

    @property
    def _remembered(self) -> tuple[str, ...]:
        sources = (source for c in self._given_back for source in self._sources(c))
        return tuple(dict.fromkeys([*self._changing, *sources, *self._mapped]))

    def _key_in(self, table: str) -> str:
        keys = ", ".join(map(quote, self.key))
        return f"({keys}) IN (SELECT {keys} FROM {quote(table)})"

    @property
    def _hidden_key(self) -> tuple[str, ...]:
        """The name of a rowid that is no column."""
        return tuple(k for k in self.key if k not in self.present)

    def _lacking(self, there: Iterable[str]) -> list[str]:
        """The known columns that are not `there`, as their defaults."""
        return [default_of(c) for c in self.known if c.name not in there]
