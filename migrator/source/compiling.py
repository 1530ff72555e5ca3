"""Whether a statement of the source compiles against a schema."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from migrator.ddl import folded, tokens, words
from migrator.schema import Schema
from migrator.source.holes import Verdict, judged_with_holes, lacked_name
from migrator.source.kinds import first_word
from migrator.source.memory import Memory, made_name
from migrator.source.statements import FoundStatement, is_hole, sql_of

_STATEMENTS = frozenset({
    "alter", "analyze", "attach", "begin", "commit", "create", "delete", "detach", "drop", "end", "explain",
    "insert", "pragma", "reindex", "release", "replace", "rollback", "savepoint", "select", "update", "vacuum",
    "values", "with",
})  # fmt: skip
"""sqlite.org/lang.html"""
_MOST_FAULTS = 100
_REGISTERED = re.compile(r"no such (function|collation sequence|module)\b|unsafe use of")
_INTERNAL = re.compile(r"may not be modified|may not be (?:altered|indexed|dropped)")
_THERE_ALREADY = re.compile(r"already exists|duplicate column name|there is already ")
_PYFORMAT = re.compile(r"%(?:\(\w+\))?s")
_STAND_INS = ("NULL", "rowid")


class Compiler:
    """Judges statements against `memory`. `own_tables` are this tool's, which no schema lists."""

    def __init__(self, memory: Memory, own_tables: Collection[str] = ()) -> None:
        self.memory = memory
        self._own = {folded(name) for name in own_tables}
        self._empty = Memory(Schema(()))

    def close(self) -> None:
        """Frees the memory."""
        self.memory.close()
        self._empty.close()

    def judged(self, statement: FoundStatement, known_columns: frozenset[str]) -> Verdict:
        """What SQLite says of the statement, and whether that is certain."""
        sql = sql_of(statement.text)
        first = first_word(statement)
        if is_hole(first):
            return Verdict(doubt="it begins with what only a run knows")
        if first not in _STATEMENTS:
            return Verdict(doubt=f"no SQL statement begins with {str(statement)[:10]!r}")
        # In a string anything may stand.
        if any(is_hole(token.text) for token in tokens(sql) if token.kind != "string"):
            found = judged_with_holes(self._memory_for(sql), statement.text, known_columns)
            return found if found.fault is None else self._certain(sql, found.fault, statement)
        fault = self._memory_for(sql).fault(sql)
        if fault is None or self._is_made_here(sql, fault):
            fault = self._fault_of_body(sql)
        if fault is not None:
            every = [self._certain(sql, each, statement) for each in (fault, *self._more(sql, fault))]
            certain = [verdict.fault for verdict in every if verdict.fault is not None]
            return Verdict(certain[0], more=tuple(certain[1:])) if certain else every[0]
        named = _with_names(sql)
        lacks = None if named == sql else self._memory_for(sql).fault(named)
        return Verdict(as_text=() if lacks is None else (lacks, *self._more(named, lacks)))

    def _memory_for(self, sql: str) -> Memory:
        """A CREATE TABLE says what is to be, whatever is there."""
        makes_table = words(sql)[:2] == ("create", "table") and "select" not in words(sql)
        return self._empty if makes_table else self.memory

    def _is_made_here(self, sql: str, fault: str) -> bool:
        """Whether it is the source's own, which it makes once."""
        return fault.endswith("already exists") and folded(made_name(sql)) not in self.memory.given

    def _fault_of_body(self, sql: str) -> str | None:
        """What SQLite will have against a view or a trigger once it is used; it makes both without looking into them
        (sqlite.org/lang_createview.html)."""
        made = words(sql)
        if made[:1] == ("create",) and "view" in made[1:3]:
            return self.memory.fault(sql[next(t.end for t in tokens(sql) if t.keyword == "as") :])
        if made[:1] == ("create",) and "trigger" in made[1:3]:
            return self.memory.fault_when_fired(sql)
        return None

    def _certain(self, sql: str, fault: str, statement: FoundStatement) -> Verdict:
        lacked = folded(lacked_name(fault))
        schema, _, table = lacked.rpartition(".")
        if _REGISTERED.search(fault):
            return Verdict(doubt=f"{fault}; the application may register it")
        if _INTERNAL.search(fault):
            return Verdict(doubt=f"{fault}, unless writable_schema is on")
        if _THERE_ALREADY.search(fault):
            return Verdict(doubt=f"{fault}; whether the code expects that is not to be seen")
        if fault.startswith("no such table") and (
            schema not in ("", "main", "temp") or table in self._own or table.startswith("sqlite_")
        ):
            return Verdict(doubt=f"{fault}; it is not part of the application's schema")
        if fault.startswith("no such table") and table in self.memory.missing:
            return Verdict(doubt=f"{fault}; it could not be made here ({self.memory.missing[table]})")
        if table in statement.asked or lacked in statement.asked:
            return Verdict(doubt=f"{fault}; the code looks for it in the schema first")
        if fault.startswith('near "%"') and _PYFORMAT.search(sql):
            again = self._memory_for(sql).fault(_PYFORMAT.sub("?", sql))
            if again is None:
                return Verdict(doubt="%s is a placeholder of other databases; it compiles with ? instead")
            return self._certain(_PYFORMAT.sub("?", sql), again, statement)
        return Verdict(fault=fault)

    def _more(self, sql: str, fault: str) -> Iterator[str]:
        """What SQLite misses once the column that `fault` names stands for nothing."""
        memory = self._memory_for(sql)
        for _ in range(_MOST_FAULTS):
            column = lacked_name(fault)
            if not column or "no such table" in fault:
                return
            attempts = [_without(sql, column, stand_in) for stand_in in _STAND_INS]
            found = [(text, memory.fault(text)) for text in attempts]
            lacking = ((text, other) for text, other in found if other and lacked_name(other) not in ("", *_STAND_INS))
            following = next(lacking, None)
            if following is None or following[1] == fault or any(other is None for _, other in found):
                return
            sql, fault = following
            yield fault


def _without(sql: str, column: str, stand_in: str) -> str:
    """`sql` with `stand_in` wherever it names `column`, which may have a table's name before it."""
    last = folded(column.rpartition(".")[2])
    parts: list[str] = []
    at = 0
    found = list(tokens(sql))
    for index, token in enumerate(found):
        if token.name is not None and folded(token.name) == last:
            qualified = stand_in == "NULL" and index > 1 and found[index - 1].text == "."
            start = found[index - 2].start if qualified else token.start
            parts += [sql[at:start], stand_in]
            at = token.end
    return "".join([*parts, sql[at:]])


def _with_names(sql: str) -> str:
    """`sql` with brackets for double quotes, which make it a name whatever columns there are."""
    parts: list[str] = []
    at = 0
    for token in tokens(sql):
        if token.text.startswith('"') and "]" not in token.text:
            parts += [sql[at : token.start], f"[{token.name}]"]
            at = token.end
    return "".join([*parts, sql[at:]])
