"""What a migration is: data, in one file, from which every statement is derived."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from migrator.ddl import canonical, folded, parse_create_table
from migrator.errors import MigratorError
from migrator.probes import Probe
from migrator.schema import index_table

UNMAPPED = "x'00'"
"""Stands in a checking projection for a value that no spelling covers; no application writes it as text."""


class DeclarationError(MigratorError):
    """A migration file, or the folder of migrations, contradicts itself."""


@dataclass(frozen=True)
class Answers:
    """What an operator decided where the data does not: `map_values` spelling -> value (None = NULL), switches."""

    map_values: Mapping[str, str | None] = field(default_factory=dict)
    switches: frozenset[str] = frozenset()

    def as_json(self) -> str:
        return json.dumps({"map": dict(self.map_values), "switches": sorted(self.switches)}, sort_keys=True)

    @staticmethod
    def from_json(text: str) -> Answers:
        stored = json.loads(text)
        return Answers(stored["map"], frozenset(stored["switches"]))


@dataclass(frozen=True)
class Mapped:
    """A value read through a table of spellings: `of` (SQL over the row) -> the value whose spellings hold it.

    NULL stays NULL; anything else that no spelling covers must be answered by the operator, with the value as the
    column holds it or as `of` reads it, through `option`; where there is none, only the rows or the migration can be
    changed.
    """

    of: str
    spellings: Mapping[str, tuple[str, ...]]
    option: str = ""

    def sql(self, column_sql: str, answers: Answers, unmapped: str) -> str:
        """One CASE expression; `column_sql` is the column as it is, `unmapped` stands for what has no spelling.

        `of` is computed once for a value that has a spelling: at a million rows every term counts.
        """
        known = [f"WHEN {literal(s)} THEN {literal(v)}" for v, accepted in self.spellings.items() for s in accepted]
        arms = [f"WHEN ({self.of}) IS NULL THEN NULL"]
        for spelling, answer in answers.map_values.items():
            given = literal(spelling)
            as_read = f"({self.of}) IN ({given}, lower(trim({given})))"
            arms.append(f"WHEN {column_sql} = {given} OR {as_read} THEN {literal(answer)}")
        return f"CASE ({self.of}) {' '.join(known)} ELSE CASE {' '.join(arms)} ELSE {unmapped} END END"


@dataclass(frozen=True)
class Switch:
    """A value with two rules: `on` where the operator asked for `option`, else `off` (None: the column as it is)."""

    option: str
    on: str
    off: str | None = None


Value = str | Mapped | Switch


@dataclass(frozen=True)
class Back:
    """How an old column is made from the new table: `sql` over the new row, whose column `of` holds the value."""

    of: str
    sql: str


@dataclass(frozen=True)
class Behaviour:
    """A promise about the migrated table: `statements` run on a scratch copy; the last one fails with `refused`,
    or, where `refused` is None, succeeds."""

    name: str
    statements: tuple[str, ...]
    refused: str | None = None


@dataclass(frozen=True)
class Change:
    """What happens to one table.

    `before` and `after` are CREATE TABLE texts: both = the table is rebuilt, only `after` = a new table, only
    `before` = the table goes, neither = only rows change or, without values, only indexes. `values` gives a column of
    `after` as SQL over the row (a column without an entry keeps its value), for the rows of `where`; each is idempotent
    and of the type that the column stores, with a CAST where needed. `back` gives an old column from the new row.
    `identity` are columns that stay and tell a row from another that gets its key later: what was put aside goes back
    to the same row only.
    `originals` names the table that keeps what the new table cannot hold, or the rows of one that goes, `ahead` the one
    that keeps on the way back what the old one cannot. `mark` is SQL for an id that AUTOINCREMENT goes on above, in
    either direction: for ids that are given elsewhere too. `indexes` are made; `drops` go, and are made again on the
    way back: of a table that goes, all that it has.
    Raises DeclarationError for values of columns that the texts do not have, and for statements about another table.
    """

    table: str
    before: str | None = None
    after: str | None = None
    values: Mapping[str, Value] = field(default_factory=dict)
    where: str | None = None
    back: Mapping[str, Back] = field(default_factory=dict)
    identity: tuple[str, ...] = ()
    originals: str | None = None
    ahead: str | None = None
    mark: str | None = None
    indexes: tuple[str, ...] = ()
    drops: tuple[str, ...] = ()
    behaviours: tuple[Behaviour, ...] = ()

    def __post_init__(self) -> None:
        for name, kind in {"identity": str, "indexes": str, "drops": str, "behaviours": Behaviour}.items():
            _check_tuple(f"the change of {self.table}", name, getattr(self, name), kind)
        if self.table_goes and (self.values or self.back or self.indexes):
            raise DeclarationError(
                f"the change of {self.table} has values or indexes for a table that goes", "declare its `after`"
            )
        self._check_tables()
        self._check_columns(
            "after", self.after, [*self.identity, *self.values, *(back.of for back in self.back.values())]
        )
        self._check_columns("before", self.before, [*self.identity, *self.back])

    @property
    def declares_form(self) -> bool:
        """Whether it says what the table is, and not only what becomes of its rows and indexes."""
        return self.before is not None or self.after is not None

    @property
    def only_indexes(self) -> bool:
        """Whether the table keeps its text and every row, so that there is nothing to put aside for the way back."""
        return not (self.declares_form or self.values or self.back or self.mark)

    @property
    def table_goes(self) -> bool:
        return self.before is not None and self.after is None

    @property
    def originals_table(self) -> str:
        return self.originals or f"{self.table}_legacy"

    @property
    def ahead_table(self) -> str:
        return self.ahead or f"{self.table}_ahead"

    def _check_tables(self) -> None:
        """What is declared of one table must not be about another."""
        for side, text in (("before", self.before), ("after", self.after)):
            made = self.table if text is None else parse_create_table(text).name
            if folded(made) != folded(self.table):
                raise DeclarationError(
                    f"the `{side}` of the change of {self.table} makes table {made}", "name one table in both"
                )
        for field_, given in (("indexes", self.indexes), ("drops", self.drops)):
            for sql in given:
                table = index_table(sql)
                if table is None:
                    raise DeclarationError(
                        f"the change of {self.table} has {sql!r} among its `{field_}`", "give CREATE INDEX statements"
                    )
                if folded(table) != folded(self.table):
                    raise DeclarationError(
                        f"the change of {self.table} has an index of table {table} among its `{field_}`: {sql}",
                        f"give {table} a change of its own",
                    )

    def _check_columns(self, side: str, text: str | None, columns: Iterable[str]) -> None:
        if text is None:
            return
        known = {folded(c) for c in parse_create_table(text).columns}
        unknown = [c for c in columns if folded(c) not in known]
        if unknown:
            raise DeclarationError(
                f"the change of {self.table} has a value for {unknown[0]!r}, which is no column of its `{side}`",
                "correct the name",
            )


@dataclass(frozen=True)
class Migration:
    """One version of the schema; `version` and `name` come from the file's name.

    `tools` are the application's tools that the migration repairs: they must pass afterwards. `probes` take the place
    of the earlier ones of the same tools from this version on: the application that expects it does something else.
    """

    changes: tuple[Change, ...]
    tools: tuple[str, ...] = ()
    probes: tuple[Probe, ...] = ()
    version: int = 0
    name: str = ""

    def __post_init__(self) -> None:
        for name, kind in {"changes": Change, "tools": str, "probes": Probe}.items():
            _check_tuple("the migration", name, getattr(self, name), kind)

    @property
    def label(self) -> str:
        return f"{self.version:04d}_{self.name}"

    @property
    def checksum(self) -> str:
        """SHA-256 of the changes: no answer of an operator, no behaviour that is only checked, no layout of SQL."""
        declared = tuple(replace(change, behaviours=()) for change in self.changes)
        return hashlib.sha256(repr(_canonical(declared)).encode()).hexdigest()

    @property
    def own_tables(self) -> frozenset[str]:
        """Tables that this tool keeps for itself in the migrated database."""
        keeping = (c for c in self.changes if not c.only_indexes)
        return frozenset(name for c in keeping for name in (c.originals_table, c.ahead_table))


def _check_tuple(owner: str, name: str, given: object, kind: type) -> None:
    """A tuple of one without its comma is that one: of a text every letter would be taken for itself."""
    if not isinstance(given, tuple) or not all(isinstance(each, kind) for each in given):
        raise DeclarationError(
            f"{owner} has `{name}` that are no tuple of {kind.__name__}", "a tuple of one needs a comma: (x,)"
        )


def literal(value: str | None) -> str:
    """`value` as an SQL text literal."""
    return "NULL" if value is None else "'" + value.replace("'", "''") + "'"


def value_sql(value: Value, column_sql: str, answers: Answers, unmapped: str) -> str:
    """The SQL of a declared value; `column_sql` is the column as it is."""
    match value:
        case Mapped():
            return value.sql(column_sql, answers, unmapped)
        case Switch():
            return value.on if value.option in answers.switches else (value.off or column_sql)
        case _:
            return value


_NOT_SQL = {
    Change: ("table", "originals", "ahead"),
    Mapped: ("spellings",),
    Switch: ("option",),
    Back: ("of",),
}
"""Fields that hold names or data: there every character counts."""

_CAME_LATER = frozenset({"drops", "mark"})
"""Fields that say nothing where they are empty: what was applied before there were any keeps its checksum."""

_NO_MEANING: Mapping[type, tuple[str, ...]] = {Mapped: ("option",)}
"""Fields that change no value: what an operator answers is kept beside the checksum."""


def _canonical(part: object) -> object:
    """The declaration as nested tuples in which SQL differs only where SQLite would see a difference."""
    match part:
        case str():
            return canonical(part)
        case Mapping():
            return tuple((key, _canonical(part[key])) for key in sorted(part))
        case tuple():
            return tuple(_canonical(entry) for entry in part)
        case Change() | Mapped() | Switch() | Back():
            exact = _NOT_SQL[type(part)]
            silent = _NO_MEANING.get(type(part), ())
            fields = {k: v for k, v in vars(part).items() if k not in silent and (v or k not in _CAME_LATER)}
            return (type(part).__name__, *(v if k in exact else _canonical(v) for k, v in fields.items()))
        case _:
            return part
