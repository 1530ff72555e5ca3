"""Statements with holes: what may stand there, tried with SQLite as the judge."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from migrator.ddl import Token, folded, quote, tokens, words
from migrator.source.memory import Memory, is_syntax
from migrator.source.statements import is_hole, sql_of
from migrator.source.values import Text

_CANDIDATES_KEPT = {1: None, 2: None, 3: 12, 4: 6, 5: 4}
"""Of each hole, by the number of different holes: some thousand attempts at most, of 10 to 20 microseconds each."""
_LONGEST = 20_000
"""Letters of a statement that is compiled so often."""
_CLAUSES = frozenset({
    "select", "from", "join", "on", "where", "set", "values", "order", "group", "having", "limit", "into", "update",
    "returning", "with",
})  # fmt: skip
_BEFORE_TABLE = frozenset({"from", "join", "into", "update", "table", "exists"})
_NEW = "new_name"
_ANYWHERE = (
    "1", "", "rowid", "rowid = 1", "AND 1", "WHERE 1", "= 1", "ORDER BY 1", "ASC", "*", "(1)", ", 1", "1 AND",
    "LIMIT 1", "INTEGER", "SELECT 1", "LEFT", "IGNORE", _NEW,
)  # fmt: skip
"""A value, nothing, a name, an assignment, the rest of a condition, and so on: the first that compiles will do."""
_AFTER = {"set": ("rowid = 1",), "select": ("*",), "distinct": ("*",), "in": ("(1)",), "values": ("(1)",)}
_COUNTS = re.compile(r"(\d+) values for (\d+) columns|has (\d+) columns but (\d+) values")
_LACKS = re.compile(r"no such column: ([^,]+)|no such table: ([^,]+)|has no column named ([^,]+)")


@dataclass(frozen=True)
class Slot:
    """A token that holds a hole. `brings` is what it may add to the statement: "table" where it is one's name,
    "tables" where it may join some, "names" where it may make names of its own, "" where nothing comes from it."""

    token: Token
    candidates: tuple[str, ...]
    brings: str


@dataclass(frozen=True)
class Verdict:
    """What became of a statement: a `fault` in SQLite's words, a `doubt` (why nothing can be said), or it compiles.

    SQLite names one fault and stops; `more` are the names that it would miss next.
    `as_text` are the faults of one that compiles only because SQLite takes names in double quotes that are no columns
    for strings (sqlite.org/quirks.html#double_quoted_string_literals_are_accepted). `assumes_table`: it compiles with
    some table, and which one only a run knows.
    """

    fault: str | None = None
    doubt: str | None = None
    as_text: tuple[str, ...] = ()
    more: tuple[str, ...] = ()
    assumes_table: bool = False

    @property
    def faults(self) -> tuple[str, ...]:
        return () if self.fault is None else (self.fault, *self.more)


def judged_with_holes(memory: Memory, text: Text, known_columns: frozenset[str]) -> Verdict:
    """Whether the statement compiles with something in its holes.

    It has a fault where no attempt compiles, all lack a table or column that the source itself spells, whatever table
    stands in a hole, and nothing there could bring it. `known_columns` are those of both sides of the migration.
    """
    sql = sql_of(text)
    slots = tuple(_slots(sql, memory))
    shown = " and ".join(dict.fromkeys("{" + hole.shown + "}" for hole in text.holes))
    if len({slot.token.text for slot in slots}) > max(_CANDIDATES_KEPT) or len(sql) > _LONGEST:
        return Verdict(doubt=f"it is too long, or has too many parts that only a run knows: {shown}")
    spelled = {folded(str(t.name)) for t in tokens(sql) if t.name is not None and not is_hole(t.text)}
    tried: set[tuple[str, ...]] = set()
    lacking: dict[str, set[tuple[str, ...]]] = {}
    for chosen, tables, message in _attempts(sql, slots, memory):
        counts = _COUNTS.search(message or "")
        if message is None or (counts and memory.fault(_filled(sql, slots, _counted(slots, chosen, counts))) is None):
            return Verdict(assumes_table=bool(set(tables) - {_NEW}))
        tried.add(tables)
        name = lacked_name(message)
        last = folded(name.rpartition(".")[2])
        if last in spelled and not any(last in words(text) for text in chosen.values()):
            fault = f"no such column: {name}, whatever the table" if tables else message
            lacking.setdefault(fault, set()).add(tables)
    # With a table for which it would not be the fault, it is none.
    for fault in (fault for fault, tables_lacking in lacking.items() if tables_lacking == tried):
        if "no such table" not in fault and _may_be_brought(lacked_name(fault), sql, slots, memory, known_columns):
            return Verdict(doubt=f"{fault}, unless {shown} brings it in")
        return Verdict(fault=fault)
    return Verdict(doubt=f"it compiles with nothing that was tried for {shown}")


def lacked_name(message: str) -> str:
    """The column or table that SQLite misses; "" where its message is about something else."""
    found = _LACKS.search(message)
    return next((part for part in found.groups() if part is not None), "").replace('"', "") if found else ""


def _may_be_brought(name: str, sql: str, slots: Sequence[Slot], memory: Memory, known_columns: frozenset[str]) -> bool:
    """Whether what stands in a hole could be what makes the column `name` known."""
    qualifier, _, column = name.rpartition(".")
    brings = {slot.brings for slot in slots}
    if qualifier:
        found = list(tokens(sql))
        named = [t for t, after in zip(found, [*found[1:], None], strict=True) if after is None or after.text != "."]
        declared = any(t.name is not None and folded(t.name) == folded(qualifier) for t in named)
        return not declared and bool(brings & {"table", "tables"})
    if "tables" in brings and folded(column) in memory.columns:
        return True
    return bool(brings & {"table", "tables", "names"}) and folded(column) not in known_columns


def _slots(sql: str, memory: Memory) -> Iterator[Slot]:
    """The tokens with a hole, but for strings, in which anything may stand."""
    before: list[Token] = []
    clause = ""
    for token in tokens(sql):
        if token.keyword in _CLAUSES:
            clause = token.keyword or ""
        if token.kind != "string" and is_hole(token.text):
            yield _slot(token, before, clause, memory)
        before.append(token)


def _slot(token: Token, before: Sequence[Token], clause: str, memory: Memory) -> Slot:
    word = (before[-1].keyword or before[-1].text) if before else ""
    first: tuple[str, ...] = _AFTER.get(word, ())
    brings = {"select": "names", "from": "tables", "join": "tables", "on": "tables"}.get(clause, "")
    if word in _BEFORE_TABLE:
        made = (_NEW,) if word in ("table", "exists") else ()
        return Slot(token, (*map(quote, memory.tables), *made), "table")
    elif word == "." or (word == "(" and clause == "into"):
        first, brings = ("rowid",), ""
    elif word == "(":
        brings = ""
    return Slot(token, tuple(dict.fromkeys((*first, *_ANYWHERE))), brings)


def _attempts(
    sql: str, slots: Sequence[Slot], memory: Memory
) -> Iterator[tuple[dict[str, str], tuple[str, ...], str | None]]:
    """Each combination of candidates that SQLite can read, likely ones first: with the tables among them, and what
    SQLite has against it.

    Where one text stands in two places it is the same.
    """
    lists = {slot.token.text: slot for slot in reversed(slots)}
    kept = _CANDIDATES_KEPT[max(1, len(lists))]
    tables = {name: slot.candidates for name, slot in lists.items() if slot.brings == "table"}
    others = {name: slot.candidates[:kept] for name, slot in lists.items() if name not in tables}
    for ranks in sorted(product(*(range(len(each)) for each in others.values())), key=sum):
        chosen = {name: others[name][rank] for name, rank in zip(others, ranks, strict=True)}
        for named in product(*tables.values()):
            every = {**chosen, **dict(zip(tables, named, strict=True))}
            message = memory.fault(_filled(sql, slots, every))
            # Which table it is makes no difference to what can be read.
            if is_syntax(message or ""):
                break
            yield every, named, message


def _counted(slots: Sequence[Slot], chosen: Mapping[str, str], counts: re.Match[str]) -> dict[str, str]:
    """`chosen` with as many values, or column names, in the last hole as the statement lacks."""
    values, columns, has, given = (int(part or 0) for part in counts.groups())
    lacks = columns - values or has - given
    name = slots[-1 if lacks > 0 else 0].token.text
    text = chosen[name]
    each = text.strip("(,) ") or "1"
    more = ", ".join([each] * abs(lacks))
    closing = ")" if text.endswith(")") else ""
    return {**chosen, name: f"{text.removesuffix(')')}, {more}{closing}"}


def _filled(sql: str, slots: Sequence[Slot], chosen: Mapping[str, str]) -> str:
    parts: list[str] = []
    at = 0
    for slot in slots:
        parts += [sql[at : slot.token.start], chosen[slot.token.text]]
        at = slot.token.end
    return "".join([*parts, sql[at:]])
