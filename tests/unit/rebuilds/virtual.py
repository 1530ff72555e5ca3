"""Virtual tables that are filled from a table, by its triggers or by reading it: full-text and spatial indexes."""

from tests.unit.rebuilds.around import ROWS, T
from tests.unit.rebuilds.case import ACCEPTED, Case


def _full_text(options: str, take: str) -> tuple[str, ...]:
    """An index of names, which triggers keep up to date (sqlite.org/fts5.html, section 4.4)."""
    add = "INSERT INTO f (rowid, name) VALUES (new.rowid, new.name);"
    return (
        f"CREATE VIRTUAL TABLE f USING fts5(name{options})",
        "INSERT INTO f (rowid, name) SELECT rowid, name FROM t",
        f"CREATE TRIGGER f_i AFTER INSERT ON t BEGIN {add} END",
        f"CREATE TRIGGER f_d AFTER DELETE ON t BEGIN {take} END",
        f"CREATE TRIGGER f_u AFTER UPDATE OF name ON t BEGIN {take} {add} END",
    )


TAKE = "INSERT INTO f (f, rowid, name) VALUES ('delete', old.rowid, old.name);"
SEARCHED = {
    "SELECT rowid FROM f WHERE f MATCH 'word'": [-7, 900],
    "UPDATE t SET name = 'changed' WHERE rowid = 900": ACCEPTED,
    "INSERT INTO t (name) VALUES ('last word')": ACCEPTED,
    "DELETE FROM t WHERE rowid = -7": ACCEPTED,
    "SELECT rowid FROM f WHERE f MATCH 'word NOT last OR changed'": [900],
    "SELECT rowid FROM f WHERE f MATCH 'last'": [901],
    "INSERT INTO f (f) VALUES ('integrity-check')": ACCEPTED,
}
HIDDEN = "CREATE TABLE t (name TEXT, gone TEXT)"
WORDS = "INSERT INTO t (rowid, name) VALUES (-7, 'first word'), (3, 'other'), (900, 'second word')"

VIRTUAL = {
    "a full-text index with content of its own": Case(
        HIDDEN,
        (WORDS, *_full_text("", "DELETE FROM f WHERE rowid = old.rowid;")),
        "DROP TRIGGER f_u",
        {**SEARCHED, "SELECT name FROM f": ["other", "changed", "last word"]},
    ),
    "a full-text index of the table's content": Case(
        HIDDEN,
        (WORDS, *_full_text(", content='t', content_rowid='rowid'", TAKE)),
        "DROP TRIGGER f_d",
        {**SEARCHED, "SELECT name FROM f WHERE f MATCH 'last'": ["last word"],
         "INSERT INTO f (f, rank) VALUES ('integrity-check', 1)": ACCEPTED},
    ),
    "a full-text index without content": Case(
        HIDDEN, (WORDS, *_full_text(", content=''", TAKE)), "DROP TRIGGER f_i", SEARCHED
    ),
    "a full-text index of a view": Case(
        T,
        (
            ROWS,
            "CREATE VIEW v AS SELECT id, name || ' word' AS said FROM t WHERE name IS NOT NULL",
            "CREATE VIRTUAL TABLE f USING fts5(said, content='v', content_rowid='id')",
            "INSERT INTO f (f) VALUES ('rebuild')",
        ),
        ("' word'", "' text'"),
        {
            "SELECT said FROM f WHERE f MATCH 'word' ORDER BY rowid": ["b word", "A word", "c word"],
            "INSERT INTO t (id, name) VALUES (70, 'new')": ACCEPTED,
            "INSERT INTO f (f) VALUES ('rebuild')": ACCEPTED,
            "SELECT rowid FROM f WHERE f MATCH 'new word'": [70],
        },
    ),
    "a spatial index": Case(
        HIDDEN,
        (
            "CREATE VIRTUAL TABLE r USING rtree(id, low, high, +label)",
            "CREATE TRIGGER r_i AFTER INSERT ON t BEGIN "
            "INSERT INTO r VALUES (new.rowid, length(new.name), 2 * length(new.name), new.name); END",
            "CREATE TRIGGER r_d AFTER DELETE ON t BEGIN DELETE FROM r WHERE id = old.rowid; END",
            WORDS,
        ),
        "DROP TRIGGER r_d",
        {
            "SELECT id, label FROM r WHERE low <= 5 AND high >= 10": [(3, "other")],
            "DELETE FROM t WHERE rowid = 3": ACCEPTED,
            "SELECT id FROM r": [-7, 900],
            "INSERT INTO t (name) VALUES ('again')": ACCEPTED,
            "SELECT t.name FROM r JOIN t ON t.rowid = r.id WHERE low = 5": ["again"],
            "SELECT rtreecheck('r')": ["ok"],
        },
    ),
}  # fmt: skip
