"""What a database file is as a whole: the numbers in its header, its pages, its encoding and its journal."""

from tests.unit.rebuilds.case import Case

T = "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT COLLATE NOCASE, gone TEXT)"
NAMES = "INSERT INTO t (name) VALUES ('b'), ('A'), ('größe'), ('\U0001f600'), ('\uffe0'), (CAST(x'00d8' AS TEXT))"
# On many pages, of which some are free, with an index on as many.
PAGES = (
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 30) "
    "INSERT INTO t (name, gone) SELECT x || hex(zeroblob(500)), hex(zeroblob(x * 200)) FROM n",
    "CREATE INDEX i ON t (name)",
    "DELETE FROM t WHERE id % 3 = 1",
)
PAGED = {"SELECT count(*), count(DISTINCT name) FROM t": [(20, 20)], "SELECT length(name) FROM t WHERE id = 5": [1001]}
WAL = "PRAGMA journal_mode=wal"


def _file(pragma: str, otherwise: str, answers: dict[str, object], *others: str) -> Case:
    return Case(T, PAGES, (pragma, otherwise), {**answers, **PAGED}, pragmas=(pragma, *others))


def _encoded(encoding: str, stored: str, sorted_: list[int]) -> Case:
    """Text has the bytes, and sorts, as the encoding says; one is half a character."""
    pragma = f"PRAGMA encoding='{encoding}'"
    return Case(
        T,
        (NAMES, "CREATE UNIQUE INDEX i ON t (name COLLATE BINARY)"),
        (pragma, "PRAGMA encoding='UTF-8'" if encoding != "UTF-8" else "PRAGMA encoding='UTF-16le'"),
        {
            "PRAGMA encoding": [encoding],
            "SELECT hex(CAST(name AS BLOB)) FROM t WHERE id IN (1, 6)": stored,
            "SELECT id FROM t INDEXED BY i WHERE name COLLATE BINARY >= 'g' ORDER BY name COLLATE BINARY": sorted_,
            "SELECT id FROM t WHERE name IN ('a', 'GRößE')": [2, 3],
            "INSERT INTO t (name) VALUES ('größe')": "UNIQUE constraint failed: t.name",
        },
        pragmas=(pragma, WAL),
    )


FILES = {
    "an application's number": _file(
        "PRAGMA application_id=-77", "PRAGMA application_id=7", {"PRAGMA application_id": [-77]}, WAL
    ),
    "an application's version": _file(
        "PRAGMA user_version=12", "PRAGMA user_version=13", {"PRAGMA user_version": [12]}, WAL
    ),
    "small pages": _file("PRAGMA page_size=512", "PRAGMA page_size=1024", {"PRAGMA page_size": [512]}, WAL),
    "large pages": _file("PRAGMA page_size=65536", "PRAGMA page_size=4096", {"PRAGMA page_size": [65536]}, WAL),
    "pages that are given back": _file(
        "PRAGMA auto_vacuum=FULL",
        "PRAGMA auto_vacuum=NONE",
        {"PRAGMA auto_vacuum": [1], "PRAGMA freelist_count": [0]}, WAL,
    ),
    "pages that can be given back": _file(
        "PRAGMA auto_vacuum=INCREMENTAL",
        "PRAGMA auto_vacuum=NONE",
        {"PRAGMA auto_vacuum": [2]},
    ),
    "a log of writes": _file(WAL, "PRAGMA journal_mode=delete", {"PRAGMA journal_mode": ["wal"]}),
    "a journal": _file("PRAGMA journal_mode=delete", WAL, {"PRAGMA journal_mode": ["delete"]}),
    "UTF-8": _encoded("UTF-8", ["62", "00D8"], [3, 5, 4]),
    "UTF-16 with the small end first": _encoded("UTF-16le", ["6200", "00D8"], [3, 5]),
    "UTF-16 with the big end first": _encoded("UTF-16be", ["0062", "00D8"], [3, 6, 4, 5]),
}  # fmt: skip
