"""Databases that differ from the demo in what is nobody's concern: none of them may raise an alarm."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.faults.defects.course import PATTERNS, Defect, Report, content, run_on
from tests.runs import run_sql

HARMLESS = Defect("harmless", "", "")


@dataclass(frozen=True)
class Variation:
    """A database that is as good as the demo; `make(path)` turns the demo at `path` into it.

    `findings` is what may be said of it and is not said of the demo.
    """

    name: str
    make: Callable[[Path], None]
    findings: str = "$."


def sql(*statements: str) -> Callable[[Path], None]:
    return lambda path: run_sql(path, *statements)


def in_utf_16(path: Path) -> None:
    """Every row goes into a new file: the encoding of one that has tables stays."""
    old = path.rename(path.with_name("old.db"))
    with closing(sqlite3.connect(old)) as source, closing(sqlite3.connect(path)) as target, target:
        target.execute("PRAGMA encoding = 'UTF-16le'")
        made = source.execute("SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite%'").fetchall()
        for kind, name, statement in made:
            target.execute(statement)
            for row in source.execute(f"SELECT * FROM {name}") if kind == "table" else ():
                target.execute(f"INSERT INTO {name} VALUES ({', '.join('?' * len(row))})", row)
        target.execute("DELETE FROM sqlite_sequence")
        target.executemany("INSERT INTO sqlite_sequence VALUES (?, ?)", source.execute("SELECT * FROM sqlite_sequence"))
        assert target.execute("PRAGMA encoding").fetchone() == ("UTF-16le",)
    old.unlink()


def texts(old: str, new: str) -> Callable[[Path], None]:
    """Other texts of the same meaning in the schema, found by regular expression."""

    def make(path: Path) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.create_function("altered", 1, lambda text: re.sub(old, new, text), deterministic=True)
            connection.execute("PRAGMA writable_schema = 1")
            changed = connection.execute(
                "UPDATE sqlite_master SET sql = altered(sql) WHERE sql IS NOT NULL AND sql <> altered(sql)"
            ).rowcount
            assert changed, old
            connection.execute("PRAGMA writable_schema = RESET")

    return make


def in_another_order(path: Path) -> None:
    """The newest rows stand first in the file."""
    columns = "id, input_prompt, generated_code, result, language, execution_time, error_message, created_at"
    run_sql(
        path,
        "DROP TRIGGER remember_attempt",
        "CREATE TEMP TABLE rows AS SELECT * FROM CodePatterns",
        "DELETE FROM CodePatterns",
        "CREATE TABLE gap AS SELECT zeroblob(40000) AS room",
        f"INSERT INTO CodePatterns ({columns}) SELECT {columns} FROM temp.rows ORDER BY id DESC",
    )


def migrated_and_back(path: Path) -> None:
    for version in (1, 0):
        run_on(path, HARMLESS, to_version=version)


VARIATIONS = (
    Variation("rows in another order in the file", in_another_order),
    Variation("small pages", sql("PRAGMA page_size = 512", "VACUUM")),
    Variation("large pages", sql("PRAGMA page_size = 65536", "VACUUM")),
    Variation("text in UTF-16", in_utf_16),
    Variation("a file that shrinks by itself", sql("PRAGMA auto_vacuum = FULL", "VACUUM")),
    Variation("free pages", sql("CREATE TABLE room AS SELECT zeroblob(400000) AS x", "DROP TABLE room")),
    Variation("VACUUM", sql("VACUUM")),
    Variation("WAL", sql("PRAGMA journal_mode = WAL")),
    Variation("no statistics", sql("DROP TABLE sqlite_stat1", "DROP TABLE IF EXISTS sqlite_stat4")),
    Variation("no header numbers", sql("PRAGMA user_version = 0", "PRAGMA application_id = 0")),
    Variation(
        "a table of another program", sql("CREATE TABLE mine (a, b)", "INSERT INTO mine VALUES (1, x'00'), (NULL, 1.5)")
    ),
    Variation("a STRICT table more", sql("CREATE TABLE mine (a INTEGER PRIMARY KEY, b ANY) STRICT")),
    Variation(
        "generated columns",
        sql(
            "CREATE TABLE mine (a INTEGER PRIMARY KEY, b AS (a + 1), c AS (a * 2) STORED)",
            "INSERT INTO mine VALUES (1)",
        ),
    ),
    Variation(
        "full-text search over the patterns",
        sql(
            "CREATE VIRTUAL TABLE found USING fts5 (input_prompt, content = CodePatterns, content_rowid = id)",
            "INSERT INTO found (found) VALUES ('rebuild')",
            "CREATE TRIGGER find_it AFTER INSERT ON CodePatterns BEGIN "
            "INSERT INTO found (rowid, input_prompt) VALUES (new.id, new.input_prompt); END",
        ),
    ),
    Variation("comments in the schema", texts(r"\(\n", "( -- of the application's own\n    /* two */")),
    Variation("names in quotes", texts(r"CREATE TABLE (\w+)", r'CREATE TABLE "\1"')),
    Variation("names in brackets", texts(r"\binput_prompt TEXT", "[input_prompt] TEXT")),
    Variation("types in lower case", texts("TEXT", "text")),
    Variation("other white space", texts(r"[ ]{4,}", "\t\r\n ")),
    Variation("an index of the table's own", sql("CREATE INDEX mine ON CodePatterns (lower(input_prompt), id DESC)")),
    Variation("one of the declared indexes", sql("CREATE INDEX idx_codepatterns_result ON CodePatterns(result)")),
    Variation(
        "a view and its trigger",
        sql(
            "CREATE VIEW mine AS SELECT p.id, given FROM CodePatterns p JOIN stars s ON s.pattern_id = p.id",
            "CREATE TRIGGER into_mine INSTEAD OF DELETE ON mine BEGIN DELETE FROM stars WHERE pattern_id = old.id; END",
        ),
    ),
    Variation(
        "a trigger that keeps a log",
        sql(
            "CREATE TABLE log (at, what)",
            "CREATE TRIGGER logs AFTER UPDATE ON CodePatterns BEGIN INSERT INTO log VALUES (old.id, new.result); END",
        ),
    ),
    Variation(
        "rows that break a foreign key",
        sql("INSERT INTO stars VALUES (-1, 5)"),
        "rows already break the foreign key stars",
    ),
    Variation("no rows at all", sql("DELETE FROM CodePatternContext", "DELETE FROM stars", "DELETE FROM CodePatterns")),
    Variation("no mark of given ids", sql("DELETE FROM sqlite_sequence")),
    Variation(
        "a row of a megabyte", sql("UPDATE CodePatterns SET generated_code = hex(zeroblob(500000)) WHERE id = 150")
    ),
    Variation(
        "an id near the end and a negative one",
        sql(
            "UPDATE CodePatterns SET id = -5 WHERE id = 149",
            "UPDATE CodePatterns SET id = 9000000000000000000 WHERE id = 151",
        ),
    ),
    Variation(
        "columns added by hand",
        sql(
            *(
                f"ALTER TABLE CodePatterns ADD COLUMN {c}"
                for c in (
                    "function_name TEXT",
                    "file_name TEXT",
                    "module_name TEXT",
                    "tags TEXT",
                    "vector_id INTEGER",
                    "execution_time_ms INTEGER",
                )
            )
        ),
    ),
    Variation("migrated before, and back", migrated_and_back),
)


def alarms(variation: Variation, folder: Path) -> list[Report]:
    """What a run forth and a run back say of the variation, and do not say of the demo."""
    path = folder / "subject.db"
    path.write_bytes(content(PATTERNS))
    variation.make(path)
    reports = [r for to in (1, 0) for r in run_on(path, HARMLESS, to_version=to).reports]
    return [
        r for r in reports if r.stops or (r.message not in expected() and not re.search(variation.findings, r.message))
    ]


@cache
def expected() -> frozenset[str]:
    """What is said of the demo itself."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "subject.db"
        path.write_bytes(content(PATTERNS))
        return frozenset(
            r.message for to in (1, 0) for r in run_on(path, HARMLESS, to_version=to).reports if not r.stops
        )
