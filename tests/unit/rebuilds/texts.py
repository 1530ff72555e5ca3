"""Texts that have to be read as SQLite reads them: remarks where nobody expects them, and names of every kind."""

from migrator.ddl import quote
from tests.unit.rebuilds.case import ACCEPTED, Case

NAMES = (
    'a"b', "a'b", "[a", "a]b", "`", "two words", "größe", "select", "References", "--", "/* a", "a;b", "a.b", "a,b)",
    "(", "%s", "1", "", "rowid", "_rowid_", "line\nbreak", "\u00a0", "😀", "p", "k", "v", "old", "excluded", "null",
    ":after_0", "?", "on", "generated", "autoincrement",
)  # fmt: skip


def _named(name: str) -> Case:
    """A table, a column of it, an index, a trigger and a view all have the name, or one that begins with it."""
    q, taken = quote(name), name in ("rowid", "_rowid_")
    index, trigger, view, log = (quote(f"{name} {what}") for what in ("index", "trigger", "view", "log"))
    return Case(
        f"CREATE TABLE {q} (gone TEXT, {q} TEXT COLLATE NOCASE CHECK (length({q}) <> 2), other UNIQUE)",
        (
            f"INSERT INTO {q} ({'oid' if taken else 'rowid'}, {q}, other) VALUES (-1, 'b', 1), (5, 'A', 2)",
            f"CREATE TABLE {log} (what)",
            f"CREATE INDEX {index} ON {q} ({q} DESC) WHERE {q} > ''",
            f"CREATE TRIGGER {trigger} AFTER UPDATE OF {q} ON {q} BEGIN INSERT INTO {log} VALUES (new.{q}); END",
            f"CREATE VIEW {view} AS SELECT {q} AS {q} FROM {q}",
        ),
        (" COLLATE NOCASE", ""),
        {
            f"INSERT INTO {q} ({q}) VALUES ('no')": f"CHECK constraint failed: length({q}) <> 2",
            f"INSERT INTO {q} ({q}, other) VALUES ('x', 2)": f"UNIQUE constraint failed: {name}.other",
            f"SELECT {q} FROM {q} INDEXED BY {index} WHERE {q} > ''": ["b", "A"],
            f"UPDATE {q} SET {q} = 'new' WHERE {q} = 'a'": ACCEPTED,
            f"SELECT * FROM {log}": ["new"],
            f"SELECT * FROM {view} ORDER BY 1 DESC": ["new", "b"],
            f"SELECT oid FROM {q} ORDER BY oid": [-1, 5],
        },
    )


REMARKS = {
    "remarks with quotes, commas and parentheses": Case(
        """CREATE TABLE t ( -- it's the table, "t (
    id INTEGER PRIMARY KEY, -- the key, isn't it; CHECK (0)
    name /* the name, ( */ TEXT /* "not 'null */ NOT NULL, /* )
    gone TEXT CHECK (0), */
    size INTEGER -- /* how
        CHECK (size > 0 -- at least one )
        ), gone TEXT -- last, without a comma
    /* and then, */ , CHECK (name <> '--' /* ' */) -- end )
)""",
        ("INSERT INTO t (name, size) VALUES ('a', 1)",),
        ("CHECK (name <> '--' /* ' */)", "CHECK (1)"),
        {
            "INSERT INTO t (name) VALUES (NULL)": "NOT NULL constraint failed: t.name",
            "INSERT INTO t (name) VALUES ('--')": "CHECK constraint failed: name <> '--' /* ' */",
            "INSERT INTO t (name, size) VALUES ('', 0)": "CHECK constraint failed: size > 0 -- at least one )",
            "INSERT INTO t (name, size) VALUES ('/*', 2)": ACCEPTED,
            "SELECT id, name, size FROM t": [(1, "a", 1), (2, "/*", 2)],
        },
    ),
    "a remark in place of every space": Case(
        "CREATE/**/TABLE--\nt/**/(/**/id/**/INTEGER/**/PRIMARY/**/KEY/**/,/**/name/**/COLLATE--\nNOCASE/**/DEFAULT/**/-/**/7"
        "/**/,/**/gone/**/TEXT/**/,/**/UNIQUE/**/(/**/name/**/)/**/)",
        ("INSERT INTO t (name) VALUES ('a')",),
        ("COLLATE--\nNOCASE", ""),
        {
            "INSERT INTO t (name) VALUES ('A')": "UNIQUE constraint failed: t.name",
            "INSERT INTO t DEFAULT VALUES": ACCEPTED,
            "SELECT name FROM t ORDER BY id": ["a", -7],
        },
    ),
    "remarks that do not end": Case(
        "CREATE TABLE t (name TEXT, size INT, gone TEXT) STRICT /* it's, (WITHOUT ROWID",
        (
            "INSERT INTO t (name, size) VALUES ('b', 1), ('a', 2)",
            "CREATE TABLE log (what)",
            "CREATE UNIQUE INDEX i ON t (name DESC) /* nor, (this",
            "CREATE INDEX j ON t (size) -- nor \"this",
            "CREATE VIEW v AS SELECT name FROM t /* nor 'this",
        ),
        ("STRICT /* it's, (WITHOUT ROWID", ""),
        {
            "INSERT INTO t (size) VALUES ('x')": "cannot store TEXT value in INT column t.size",
            "INSERT INTO t (name) VALUES ('a')": "UNIQUE constraint failed: t.name",
            "SELECT name FROM t INDEXED BY i WHERE name > ''": ["b", "a"],
            "SELECT name FROM t INDEXED BY j WHERE size > 0": ["b", "a"],
            "SELECT name FROM v": ["b", "a"],
        },
    ),
    "names in all kinds of quotes, and in any case": Case(
        "create table 'T' (\"Id\" integer primary key, [Na,me] text, `Si``ze` int, 'Who''s' text, Gone text, "
        "unique ([NA,ME]), check (0 < \"si`ze\"), foreign key ('who''s') references T ([na,me]))",
        (
            "INSERT INTO t ([na,me], \"SI`ZE\", [who's]) VALUES ('a', 1, 'b'), ('b', 2, NULL), ('c', 3, 'c')",
            "CREATE INDEX \"I\" ON [t] ('who''s' COLLATE NOCASE)",
            "CREATE TRIGGER 'G' AFTER DELETE ON `T` "
            "BEGIN UPDATE t SET [na,ME] = \"OLD\".[na,me] || '!' WHERE id = 1; END",
        ),
        ("check (0 < \"si`ze\")", "check (1)"),
        {
            "INSERT INTO t ([Na,me]) VALUES ('a')": "UNIQUE constraint failed: T.Na,me",
            "INSERT INTO t ([Si`ze]) VALUES (0)": "CHECK constraint failed: 0 < \"si`ze\"",
            "INSERT INTO t ([Who's]) VALUES ('z')": "FOREIGN KEY constraint failed",
            "DELETE FROM t WHERE id = 3": ACCEPTED,
            "SELECT [na,me] FROM t ORDER BY id": ["c!", "b"],
            "EXPLAIN QUERY PLAN SELECT id FROM t WHERE [who's] = 'B' COLLATE NOCASE": ["SEARCH I"],
        },
    ),
    "a table to which columns were added": Case(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, old TEXT)",
        (
            "INSERT INTO t (old) VALUES ('a')",
            "ALTER TABLE t ADD COLUMN name TEXT DEFAULT 'x, (y' COLLATE NOCASE /* added */",
            "ALTER TABLE t ADD COLUMN gone TEXT",
            "ALTER TABLE t RENAME COLUMN old TO [first name]",
            "INSERT INTO t DEFAULT VALUES",
        ),
        (" COLLATE NOCASE", ""),
        {"SELECT [first name], name FROM t WHERE name = 'X, (Y'": [("a", "x, (y"), (None, "x, (y")]},
    ),
    "a table made of a query": Case(
        "CREATE TABLE t AS SELECT 1 AS id, 'a' AS \"select\", x'00' AS [a b], NULL AS gone",
        ("INSERT INTO t VALUES (2, 'b', 3, 4)", "CREATE UNIQUE INDEX i ON t (\"select\")"),
        ('ON t ("select")', 'ON t (id, "select")'),
        {
            "INSERT INTO t (id, [select]) VALUES (3, 'b')": "UNIQUE constraint failed: t.select",
            "SELECT id, typeof([a b]) FROM t": [(1, "blob"), (2, "integer")],
        },
    ),
}  # fmt: skip

TEXTS = {**REMARKS, **{f"the name {name!r}": _named(name) for name in NAMES}}
