"""The one text that turns old rows into new ones: for the rehearsal, the promotion and every check of both.

    source      the table's rows, with each column of either schema that the table lacks as its default or NULL
    projection  the columns of the target over the source; a value that an earlier migration in the other direction
                had to put aside is given back where converting it again yields what the row holds now
    originals   the rows of which the way back would make something else than they were
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from migrator.ddl import quote
from migrator.migration import UNMAPPED, Answers, Mapped, Value, value_sql
from migrator.schema import Column


@dataclass(frozen=True)
class Projection:
    """`present` are the table's columns, `known` those of both schemas, `target` those of the table to be.

    `opposite` are the values of the way back, `pairs` the source column that a target column is made of where the
    names differ; `reads` is the table of values put aside (`kept`: its columns, empty where there is none).
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
    pairs: Mapping[str, str]
    answers: Answers
    reads: str
    kept: tuple[str, ...]

    @property
    def source(self) -> str:
        """SELECT of every known column of every row."""
        hidden = [f"{k} AS {quote(k)}" for k in self.key if k not in self.present]
        there = [quote(c) for c in self.present]
        lacking = [f"{c.default or 'NULL'} AS {quote(c.name)}" for c in self._lacking(self.present)]
        return f"SELECT {', '.join([*hidden, *there, *lacking])} FROM {quote(self.table)}"

    def sql(self, unmapped: str = "NULL") -> str:
        """SELECT of the key, the target's columns and, as `_was_<column>`, the source values that checks need."""
        values = [f"{self._value(c, self.values, self.where, unmapped)} AS {quote(c)}" for c in self.target]
        was = [f"{quote(c)} AS {_was(c)}" for c in self._remembered]
        inner = f"SELECT {', '.join([*self._hidden_key, *values, *was])} FROM ({self.source})"
        return self._with_kept(inner) if self._given_back else inner

    def copy_into(self, shadow: str) -> str:
        """INSERT of every projected row; rowids stay."""
        listed = ", ".join([*self._hidden_key, *map(quote, self.target)])
        return f"INSERT INTO {quote(shadow)} ({listed}) SELECT {listed} FROM ({self.sql()})"

    def differing_from(self, table: str) -> str:
        """Counts projected rows that are missing from `table` or differ from it in type or bytes."""
        join = " AND ".join(f"t.{quote(k)} = p.{quote(k)}" for k in self.key)
        differ = " OR ".join(_differ(f"p.{quote(c)}", f"t.{quote(c)}") for c in self.target)
        return (
            f"SELECT count(*) FROM ({self.sql()}) AS p LEFT JOIN {quote(table)} AS t ON {join} "
            f"WHERE t.{quote(self.key[0])} IS NULL OR {differ}"
        )

    def originals_into(self, writes: str, exists: bool) -> tuple[str, ...]:
        """Statements that keep, in table `writes`, what the way back would not give: key and old values of such rows."""
        if not self._changing:
            return ()
        key = ", ".join(quote(k) for k in self.key)
        again = [f"{self._value(c, self.opposite, self.opposite_where, UNMAPPED)} AS {_again(c)}" for c in self._changing]
        was = [_was(c) for c in self._changing]
        lacking = [f"{c.default or 'NULL'} AS {quote(c.name)}" for c in self._lacking(self.target)]
        rows = f"SELECT *{''.join(', ' + text for text in lacking)} FROM ({self.sql()})"
        differ = " OR ".join(_differ(_was(c), _again(c)) for c in self._changing)
        columns = ", ".join([*map(quote, self._key_columns), *map(quote, self._changing)])
        primary = ", ".join(map(quote, self._key_columns))
        listed = ", ".join([*self._typed_key, *map(quote, self._changing)])
        made = f"CREATE TABLE {quote(writes)} ({listed}, PRIMARY KEY ({primary}))"
        cleared = f"DROP TABLE IF EXISTS {quote(writes)}"
        insert = (
            f"INSERT INTO {quote(writes)} ({columns}) SELECT {', '.join([key, *was])} "
            f"FROM (SELECT {', '.join([key, *was, *again])} FROM ({rows})) WHERE {differ}"
        )
        return (cleared, made, insert) if exists else (made, insert)

    def fill(self) -> str:
        """UPDATE of the columns that the table lacked and that do not stay empty; '' where there are none."""
        lacking = {c.name for c in self._lacking(self.present)}
        filled = [c for c in self.target if c in lacking and (c in self.values or c in self._given_back)]
        assignments = ", ".join(f"{quote(c)} = p.{quote(c)}" for c in filled)
        join = " AND ".join(f"{quote(self.table)}.{quote(k)} = p.{quote(k)}" for k in self.key)
        return f"UPDATE {quote(self.table)} SET {assignments} FROM ({self.sql()}) AS p WHERE {join}" if filled else ""

    def unmapped(self) -> tuple[tuple[str, str], ...]:
        """For each column read through spellings: a SELECT of the distinct values without one, with their counts."""
        found = []
        for column in self.target:
            if isinstance(self.values.get(column), Mapped):
                rows = f"SELECT {_was(column)} AS value, {quote(column)} AS mapped FROM ({self.sql(UNMAPPED)})"
                found.append((column, f"SELECT value, count(*) FROM ({rows}) WHERE mapped = {UNMAPPED} GROUP BY value, typeof(value)"))
        return tuple(found)

    def duplicates(self, columns: tuple[str, ...]) -> str:
        """SELECT of the values that stand in more than one row of what must be unique, with their counts."""
        listed = ", ".join(quote(c) for c in columns)
        filled = " AND ".join(f"{quote(c)} IS NOT NULL" for c in columns)
        return f"SELECT {listed}, count(*) FROM ({self.sql()}) WHERE {filled} GROUP BY {listed} HAVING count(*) > 1"

    def nulls(self, column: str) -> str:
        """Counts rows without a value in a column that must have one."""
        return f"SELECT count(*) FROM ({self.sql()}) WHERE {quote(column)} IS NULL"

    def _value(self, column: str, values: Mapping[str, Value], where: str | None, unmapped: str) -> str:
        known = {c.name.casefold() for c in self.known}
        as_is = quote(column) if column.casefold() in known else "NULL"
        if column not in values:
            return as_is
        sql = value_sql(values[column], as_is, self.answers, unmapped).replace("{rows}", f"({self.source})")
        return f"CASE WHEN {where} THEN {sql} ELSE {as_is} END" if where else f"({sql})"

    def _with_kept(self, inner: str) -> str:
        key = ", ".join(f"v.{quote(k)}" for k in self.key if k not in self.target)
        lacking = [f"NULL AS {quote(c.name)}" for c in self._lacking((*self.kept, *self.key))]
        again = [
            f"{self._value(source, self.opposite, self.opposite_where, UNMAPPED)} AS {_again(column)}"
            for column in self._given_back
            if (source := self._pair(column)) is not None
        ]
        kept_rows = f"SELECT *{''.join(', ' + text for text in lacking)} FROM {quote(self.reads)}"
        kept = f"SELECT *{''.join(', ' + text for text in again)} FROM ({kept_rows})"
        values = [f"{self._kept_or_projected(c)} AS {quote(c)}" for c in self.target]
        was = [f"v.{_was(c)} AS {_was(c)}" for c in self._remembered]
        join = " AND ".join(f"k.{quote(mine)} = v.{quote(k)}" for mine, k in zip(self._key_columns, self.key, strict=True))
        listed = ", ".join([*([key] if key else []), *values, *was])
        return f"SELECT {listed} FROM ({inner}) AS v LEFT JOIN ({kept}) AS k ON {join}"

    def _kept_or_projected(self, column: str) -> str:
        if column not in self._given_back:
            return f"v.{quote(column)}"
        there = " AND ".join(f"k.{quote(k)} IS NOT NULL" for k in self._key_columns)
        pair = self._pair(column)
        same = "" if pair is None else f" AND NOT ({_differ(f'k.{_again(column)}', f'v.{_was(pair)}')})"
        return f"CASE WHEN {there}{same} THEN k.{quote(column)} ELSE v.{quote(column)} END"

    def _pair(self, column: str) -> str | None:
        """The source column that holds now what `column` is made of; None where the source has no such thing."""
        names = self.present
        paired = self.pairs.get(column, column)
        return paired if paired in names else None

    @property
    def _given_back(self) -> tuple[str, ...]:
        return tuple(c for c in self.target if c in self.kept and c not in self.key)

    @property
    def _changing(self) -> tuple[str, ...]:
        """The table's columns whose value the target may not hold as it is."""
        return tuple(
            c
            for c in self.present
            if c not in self.key and (c not in self.target or c in self.values or c in self.opposite or c in self._given_back)
        )

    @property
    def _remembered(self) -> tuple[str, ...]:
        paired = (self._pair(c) for c in self._given_back)
        return tuple(dict.fromkeys([*self._changing, *(p for p in paired if p is not None)]))

    @property
    def _hidden_key(self) -> list[str]:
        return [quote(k) for k in self.key if k not in self.target]

    @property
    def _key_columns(self) -> tuple[str, ...]:
        """The key's names in the table of values put aside, where `rowid` is no possible column."""
        return tuple(k if k in self.target else f"_key_{k}" for k in self.key)

    @property
    def _typed_key(self) -> list[str]:
        """The key's columns in the table of values put aside, typed so that a join with the table uses the index.

        All other columns there have no type: without affinity SQLite keeps a value exactly as it was.
        """
        types = {c.name: c.type for c in reversed(self.known)}
        return [f"{quote(mine)} {types.get(k, 'INTEGER')}" for mine, k in zip(self._key_columns, self.key, strict=True)]

    def _lacking(self, there: tuple[str, ...]) -> list[Column]:
        have = {name.casefold() for name in there}
        return list({c.name.casefold(): c for c in self.known if c.name.casefold() not in have}.values())


def _was(column: str) -> str:
    return quote(f"_was_{column}")


def _again(column: str) -> str:
    return quote(f"_again_{column}")


def _differ(left: str, right: str) -> str:
    """Whether two values differ in type or bytes; no collation and no numeric equality hides a difference."""
    return f"typeof({left}) <> typeof({right}) OR {left} IS NOT {right} COLLATE BINARY"
