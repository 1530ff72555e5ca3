"""Defects that nobody thought of: drawn from a seed, of what the subject's own schema and rows offer."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from random import Random

from migrator.ddl import parse_create_table
from migrator.plan import TablePlan
from tests.faults.defects.course import PATTERNS, Defect, content
from tests.faults.defects.rows import ORIGINALS, PROJECTED, copying
from tests.faults.defects.surroundings import OTHER

COUNT = 15
TABLE = "CodePatterns"
OTHERS = (
    "Resources",
    "ResourceChunks",
    "ChatHistory",
    "ContextLinks",
    "Todos",
    "VectorIdSequence",
    "stars",
    "settings",
)
AT = ("add_column", "convert_data", "rebuild_table", "create_indexes")
"""Before any of these something may happen to a table that none of them should touch."""

Kind = Callable[[Random, sqlite3.Connection], Defect]


def defects(seed: int) -> tuple[Defect, ...]:
    """`COUNT` defects, the same for the same seed, no kind more often than once over the others."""
    random = Random(seed)
    kinds: list[Kind] = []
    while len(kinds) < COUNT:
        kinds += random.sample(KINDS, len(KINDS))
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.deserialize(content(PATTERNS))
        drawn = [kind(random, connection) for kind in kinds[:COUNT]]
    return tuple(replace(defect, name=f"{seed}.{n}: {defect.name}") for n, defect in enumerate(drawn, 1))


def other_value(random: Random, value: object) -> object:
    """Another value of the same type, as near as can be, or one of another type."""
    match value:
        case int():
            return random.choice([value + 1, value - 1, value * 1000 + 1, -value - 1])
        case float():
            return value + random.choice([0.001, -0.001, 1.0])
        case bytes():
            return value + b"\x00"
        case str() if value:
            at = random.randrange(len(value))
            cut, grown = value[:-1], value + random.choice(["\x00", " ", "\u0301", "\r\n"])
            flipped = value[:at] + chr(ord(value[at]) ^ 1) + value[at + 1 :]
            return random.choice([cut, grown, flipped, value.encode()])
        case _:
            return "x"


def literal(value: object) -> str:
    if isinstance(value, str):
        return f"CAST(x'{value.encode().hex()}' AS TEXT)"
    return f"x'{value.hex()}'" if isinstance(value, bytes) else repr(value)


def columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [name for (name,) in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))]


def row_of(random: Random, connection: sqlite3.Connection, table: str) -> str:
    """A condition that one row of the table fulfils."""
    key = "name" if table == "settings" else "rowid"
    found = random.choice(connection.execute(f"SELECT {key} FROM {table}").fetchall())[0]
    return f"{key} = {literal(found)}"


def cell_of_another_table(random: Random, connection: sqlite3.Connection) -> Defect:
    table = random.choice(OTHERS)
    column = random.choice([c for c in columns(connection, table) if c not in ("id", "name", "vector_id")])
    row = row_of(random, connection, table)
    (value,) = connection.execute(f"SELECT {column} FROM {table} WHERE {row}").fetchone()
    new = literal(other_value(random, value))
    sql = f"UPDATE {table} SET {column} = {new} WHERE {row}"
    return Defect(f"{table}.{column} where {row}", "create_indexes", OTHER + table, random.choice(AT), (sql,))


def row_of_another_table(random: Random, connection: sqlite3.Connection) -> Defect:
    table = random.choice(OTHERS)
    row = row_of(random, connection, table)
    sql = f"DELETE FROM {table} WHERE {row}"
    return Defect(f"{table} lost the row {row}", "create_indexes", OTHER + table, random.choice(AT), (sql,))


def cell_of_the_new_table(random: Random, connection: sqlite3.Connection) -> Defect:
    """A cell of any column whose value may be anything."""
    texts = ["input_prompt", "generated_code", "error_message", "created_at"]
    column = random.choice([*texts, "execution_time_ms", "function_name", "file_name", "module_name", "tags"])
    row = row_of(random, connection, TABLE)
    old = connection.execute(f"SELECT {column} FROM {TABLE} WHERE {row}").fetchone()[0] if column in texts else None
    new = literal(random.randrange(-9, 10**9) if column == "execution_time_ms" else other_value(random, old))
    sql = f"UPDATE {TABLE} SET {column} = {new} WHERE {row}"
    return Defect(
        f"{column} where {row}", "create_indexes", f"{PROJECTED} .1 with another {column}", "create_indexes", (sql,)
    )


def cell_before_the_rebuild(random: Random, connection: sqlite3.Connection) -> Defect:
    column = random.choice(["input_prompt", "generated_code", "error_message", "created_at"])
    row = row_of(random, connection, TABLE)
    (old,) = connection.execute(f"SELECT {column} FROM {TABLE} WHERE {row}").fetchone()
    sql = f"UPDATE {TABLE} SET {column} = {literal(other_value(random, old))} WHERE {row}"
    return Defect(
        f"{column} before the rebuild where {row}",
        "create_indexes",
        f"{PROJECTED} .1 with another {column}",
        "add_column",
        (sql,),
    )


def row_of_the_new_table(random: Random, connection: sqlite3.Connection) -> Defect:
    row = row_of(random, connection, TABLE)
    sql = f"DELETE FROM {TABLE} WHERE {row}"
    return Defect(f"the row {row} is lost", "create_indexes", f"{PROJECTED} .1 missing", random.choice(AT), (sql,))


def original(random: Random, connection: sqlite3.Connection) -> Defect:
    """An original that the way back needs: the spelling of a result, a language."""
    column = random.choice(["result", "language"])
    needed = "result NOT IN ('pass', 'fail', 'partial')" if column == "result" else "language IS NOT NULL"
    ids = [found for (found,) in connection.execute(f"SELECT id FROM {TABLE} WHERE {needed}")]
    row = f"id = {random.choice(ids)}"
    kept = f"{TABLE}_legacy"
    sql = random.choice(
        [f"DELETE FROM {kept} WHERE {row}", f"UPDATE {kept} SET {column} = 'x' || {column} WHERE {row}"]
    )
    return Defect(
        f"original {column}: {sql.split()[0].lower()} {row}",
        "create_indexes",
        f"{ORIGINALS} .*another {column}",
        "create_indexes",
        (sql,),
    )


def dropped(random: Random, connection: sqlite3.Connection) -> Defect:
    found = connection.execute(
        "SELECT type, name FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite%' AND type <> 'table'"
    ).fetchall()
    kind, name = random.choice(found)
    return Defect(
        f"{kind} {name} is lost",
        "create_indexes",
        f"{kind} {name} is missing",
        "create_indexes",
        (f"DROP {kind} {name}",),
    )


def copied(random: Random, connection: sqlite3.Connection) -> Defect:
    """The copying statement takes one column for another, or spoils it."""
    column, other = random.sample(["input_prompt", "generated_code", "error_message"], 2)
    value = random.choice([f"coalesce({other}, '')", f"upper({column})", f"substr({column}, 2)", "''"])
    says = f"{PROJECTED} .*with another {column}"
    return Defect(f"{column} is copied as {value}", "create_indexes", says, "stage", plan=copying(column, value))


def definition(random: Random, connection: sqlite3.Connection) -> Defect:
    """A column of the new table is of its type and has one collation more, and nothing else."""
    drawn = random.random()

    def spoil(plan: TablePlan) -> TablePlan:
        text = parse_create_table(plan.create)
        number = int(drawn * len(text.columns))
        short = f" {' '.join(text.definitions[number].text.split()[:2])} COLLATE RTRIM"
        spoilt = replace(text.definitions[number], text=short)
        definitions = (*text.definitions[:number], spoilt, *text.definitions[number + 1 :])
        return replace(plan, create=replace(text, definitions=definitions).sql)

    says = "table CodePatterns is not as planned: it lacks"
    return Defect(f"a column without its constraints ({drawn:.2f})", "create_indexes", says, "stage", plan=spoil)


def index(random: Random, connection: sqlite3.Connection) -> Defect:
    """One of the planned indexes is on one column more, on none of some rows, or not made."""
    drawn = random.randrange(4)
    how = random.choice([None, ", id)", ") WHERE id > 7", " DESC)", " COLLATE NOCASE)"])

    def spoil(plan: TablePlan) -> TablePlan:
        indexes = list(plan.indexes)
        sql = indexes.pop(drawn)
        return replace(plan, indexes=(*indexes, *([] if how is None else [sql[:-1] + how])))

    says = r"index idx_codepatterns_\w+ is (missing|not as planned)"
    return Defect(f"index {drawn} with {how}", "create_indexes", says, "stage", plan=spoil)


def mark(random: Random, connection: sqlite3.Connection) -> Defect:
    table, seq = random.choice(connection.execute("SELECT name, seq FROM sqlite_sequence").fetchall())
    new = random.choice([0, seq - 1, seq + 1, seq * 1000 + 1])
    sql = f"UPDATE sqlite_sequence SET seq = {new} WHERE name = '{table}'"
    return Defect(
        f"the mark of {table} is {new}",
        "create_indexes",
        f"the AUTOINCREMENT mark of {table}",
        "create_indexes",
        (sql,),
    )


def live_object(random: Random, connection: sqlite3.Connection) -> Defect:
    """Live loses something that names the table, right after the COMMIT."""
    kind, name = random.choice(
        [
            ("index", "idx_codepatterns_created_at"),
            ("index", "idx_codepatterns_function_result"),
            ("index", "patterns_with_error"),
            ("view", "failed_attempts"),
            ("trigger", "remember_attempt"),
            ("table", "stars"),
        ]
    )
    return Defect(
        f"live lost {kind} {name}", "verify_live", f"{kind} {name} missing", "verify_live", (f"DROP {kind} {name}",)
    )


KINDS: tuple[Kind, ...] = (
    cell_of_another_table,
    row_of_another_table,
    cell_of_the_new_table,
    cell_before_the_rebuild,
    row_of_the_new_table,
    original,
    dropped,
    copied,
    definition,
    index,
    mark,
    live_object,
)
