"""What stands in the definition of a column: collations, conditions, conflict clauses, computed values, defaults."""

from tests.unit.rebuilds.case import ACCEPTED, Case

T = "CREATE TABLE t (id INTEGER PRIMARY KEY, {}, gone TEXT)"
JSON = """INSERT INTO t (doc) VALUES ('{"who": "ada", "tags": ["x", "y"]}'), ('{"who": "bob"}')"""


def _default(written: str, stored: str, other: str = "'other'") -> Case:
    """A column whose missing value is, as SQLite would write it, `stored`."""
    return Case(
        T.format(f"name BLOB DEFAULT {written}"),
        ("INSERT INTO t (name) VALUES (NULL), ('given')",),
        (f"DEFAULT {written}", f"DEFAULT {other}"),
        {
            "INSERT INTO t DEFAULT VALUES": ACCEPTED,
            "INSERT INTO t (name) VALUES (NULL)": ACCEPTED,
            "SELECT quote(name) FROM t ORDER BY id": ["NULL", "'given'", stored, "NULL"],
        },
    )


def _conflict(clause: str, said: object, committed: object, left: object) -> Case:
    """What becomes of an INSERT of two rows, of which the second has a name that is taken, in a transaction."""
    return Case(
        T.format(f"name TEXT UNIQUE ON CONFLICT {clause}"),
        ("INSERT INTO t (name) VALUES ('a'), ('b')",),
        (f"ON CONFLICT {clause}", ""),
        {
            "BEGIN": ACCEPTED,
            "INSERT INTO t (id, name) VALUES (7, 'new'), (8, 'a')": said,
            "COMMIT": committed,
            "SELECT id, name FROM t ORDER BY id": left,
        },
    )


TAKEN = "UNIQUE constraint failed: t.name"

COLUMNS = {
    "a collation": Case(
        T.format("name TEXT COLLATE NOCASE"),
        ("INSERT INTO t (name) VALUES ('b'), ('A'), ('C')",),
        ("COLLATE NOCASE", ""),
        {"SELECT id FROM t WHERE name = 'a'": [2], "SELECT name FROM t ORDER BY name": ["A", "b", "C"]},
    ),
    "a collation that trims": Case(
        T.format("name TEXT COLLATE RTRIM"),
        ("INSERT INTO t (name) VALUES ('x  '), ('y')",),
        ("COLLATE RTRIM", ""),
        {"SELECT id FROM t WHERE name = 'x'": [1]},
    ),
    "a collation that a constraint uses": Case(
        T.format("name TEXT COLLATE NOCASE UNIQUE"),
        ("INSERT INTO t (name) VALUES ('b'), ('A')",),
        ("COLLATE NOCASE", ""),
        {
            "INSERT INTO t (name) VALUES ('a')": "UNIQUE constraint failed: t.name",
            "INSERT INTO t (name) VALUES ('c')": ACCEPTED,
        },
    ),
    "a condition without a name": Case(
        T.format("name TEXT CHECK (length(name) < 4)"),
        ("INSERT INTO t (name) VALUES ('one'), (NULL)",),
        ("CHECK (length(name) < 4)", ""),
        {
            "INSERT INTO t (name) VALUES ('four')": "CHECK constraint failed: length(name) < 4",
            "UPDATE t SET name = 'many' WHERE id = 1": "CHECK constraint failed: length(name) < 4",
            "INSERT INTO t (name) VALUES ('two')": ACCEPTED,
        },
    ),
    "a condition with a name": Case(
        T.format("low INTEGER, high INTEGER CONSTRAINT \"it's (in, order\" CHECK (low < high)"),
        ("INSERT INTO t (low, high) VALUES (1, 2)",),
        ("low < high", "low <> high"),
        {"INSERT INTO t (low, high) VALUES (2, 1)": "CHECK constraint failed: it's (in, order"},
    ),
    "conditions of the table": Case(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, low, high, gone TEXT, "
        "CHECK (low < high), CHECK (high < 100) CHECK (id < 9))",
        ("INSERT INTO t (low, high) VALUES (1, 2)",),
        ("high < 100", "high < 10000"),
        {
            "INSERT INTO t (low, high) VALUES (2, 1)": "CHECK constraint failed: low < high",
            "INSERT INTO t (low, high) VALUES (2, 100)": "CHECK constraint failed: high < 100",
            "INSERT INTO t (id, low, high) VALUES (9, 2, 3)": "CHECK constraint failed: id < 9",
        },
    ),
    "a condition on the hidden rowid": Case(
        "CREATE TABLE t (name TEXT, gone TEXT, CHECK (rowid < 10))",
        ("INSERT INTO t (rowid, name) VALUES (-4, 'a'), (9, 'b')",),
        ("rowid < 10", "rowid < 100"),
        {
            "INSERT INTO t (rowid, name) VALUES (10, 'c')": "CHECK constraint failed: rowid < 10",
            "INSERT INTO t (rowid, name) VALUES (8, 'c')": ACCEPTED,
        },
    ),
    "a required column": Case(
        T.format("name TEXT NOT NULL"),
        ("INSERT INTO t (name) VALUES ('')",),
        ("NOT NULL", ""),
        {
            "INSERT INTO t (name) VALUES (NULL)": "NOT NULL constraint failed: t.name",
            "UPDATE t SET name = NULL": "NOT NULL constraint failed: t.name",
        },
    ),
    "a missing value that is replaced": Case(
        T.format("name TEXT NOT NULL ON CONFLICT REPLACE DEFAULT 'none'"),
        ("INSERT INTO t (name) VALUES ('a')",),
        ("ON CONFLICT REPLACE", ""),
        {
            "INSERT INTO t (name) VALUES (NULL)": ACCEPTED,
            "UPDATE t SET name = NULL WHERE id = 1": ACCEPTED,
            "SELECT name FROM t": ["none", "none"],
        },
    ),
    "a missing value that is ignored": Case(
        T.format("name TEXT NOT NULL ON CONFLICT IGNORE"),
        ("INSERT INTO t (name) VALUES ('a')",),
        ("ON CONFLICT IGNORE", ""),
        {"INSERT INTO t (name) VALUES ('b'), (NULL), ('c')": ACCEPTED, "SELECT name FROM t": ["a", "b", "c"]},
    ),
    "a conflict that replaces": _conflict("REPLACE", ACCEPTED, ACCEPTED, [(2, "b"), (7, "new"), (8, "a")]),
    "a conflict that is ignored": _conflict("IGNORE", ACCEPTED, ACCEPTED, [(1, "a"), (2, "b"), (7, "new")]),
    "a conflict that fails": _conflict("FAIL", TAKEN, ACCEPTED, [(1, "a"), (2, "b"), (7, "new")]),
    "a conflict that rolls back": _conflict(
        "ROLLBACK", TAKEN, "cannot commit - no transaction is active", [(1, "a"), (2, "b")]
    ),
    "a conflict of the key": Case(
        "CREATE TABLE t (id INTEGER PRIMARY KEY ON CONFLICT REPLACE, name TEXT, gone TEXT)",
        ("INSERT INTO t (id, name) VALUES (1, 'a')",),
        ("ON CONFLICT REPLACE", ""),
        {"INSERT INTO t (id, name) VALUES (1, 'b')": ACCEPTED, "SELECT id, name FROM t": [(1, "b")]},
    ),
    "several columns that are unique together": Case(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a, b, gone TEXT, UNIQUE (b, a COLLATE NOCASE) ON CONFLICT IGNORE)",
        ("INSERT INTO t (a, b) VALUES ('x', 1), ('x', 2), ('y', NULL), ('y', NULL)",),
        ("a COLLATE NOCASE)", "a)"),
        {
            "INSERT INTO t (a, b) VALUES ('X', 2), ('X', 3), ('Y', NULL)": ACCEPTED,
            "SELECT a, b FROM t WHERE id > 4": [("X", 3), ("Y", None)],
        },
    ),
    "a stored computed column": Case(
        T.format("a INTEGER, twice INTEGER GENERATED ALWAYS AS (a * 2) STORED UNIQUE CHECK (twice < 100)"),
        ("INSERT INTO t (a) VALUES (1), (2)", "CREATE INDEX by_twice ON t (twice)"),
        ("a * 2", "a * 3"),
        {
            "SELECT twice FROM t INDEXED BY by_twice WHERE twice > 0": [2, 4],
            "UPDATE t SET a = 7 WHERE id = 1": ACCEPTED,
            "SELECT twice FROM t": [14, 4],
            "INSERT INTO t (a) VALUES (7)": "UNIQUE constraint failed: t.twice",
            "INSERT INTO t (a) VALUES (50)": "CHECK constraint failed: twice < 100",
            "UPDATE t SET twice = 1": 'cannot UPDATE generated column "twice"',
            "SELECT hidden FROM pragma_table_xinfo('t') WHERE name = 'twice'": [3],
        },
    ),
    "a virtual computed column on another": Case(
        T.format("a TEXT, size AS (length(a)) NOT NULL, double INT AS (size * 2) VIRTUAL"),
        ("INSERT INTO t (a) VALUES ('one'), ('three')",),
        ("size * 2", "size"),
        {
            "SELECT size, double FROM t": [(3, 6), (5, 10)],
            "INSERT INTO t (a) VALUES (NULL)": "NOT NULL constraint failed: t.size",
            "UPDATE t SET a = a || '!' WHERE double = 6": ACCEPTED,
            "SELECT double FROM t WHERE size IN (4, 5)": [8, 10],
            "SELECT hidden FROM pragma_table_xinfo('t') WHERE name = 'double'": [2],
        },
    ),
    "a computed column that keeps children": Case(
        T.format("a INTEGER, up INTEGER AS (nullif(a, 0)) STORED REFERENCES t (id) ON DELETE RESTRICT"),
        ("INSERT INTO t (id, a) VALUES (1, 0), (2, 1)",),
        (" ON DELETE RESTRICT", " ON DELETE CASCADE"),
        {
            "DELETE FROM t WHERE id = 1": "FOREIGN KEY constraint failed",
            "INSERT INTO t (a) VALUES (99)": "FOREIGN KEY constraint failed",
            "DELETE FROM t WHERE id = 2": ACCEPTED,
        },
    ),
    "a document and what is computed of it": Case(
        T.format("doc TEXT CHECK (json_type(doc) = 'object'), who TEXT AS (json_extract(doc, '$.who')) UNIQUE"),
        (JSON, "CREATE INDEX by_tag ON t (json_extract(doc, '$.tags[0]'))"),
        ("'$.who'", "'$.whom'"),
        {
            "SELECT id FROM t WHERE who = 'bob'": [2],
            "SELECT who FROM t INDEXED BY by_tag WHERE json_extract(doc, '$.tags[0]') = 'x'": ["ada"],
            "INSERT INTO t (doc) VALUES ('[]')": "CHECK constraint failed: json_type(doc) = 'object'",
            """INSERT INTO t (doc) VALUES ('{"who": "ada"}')""": "UNIQUE constraint failed: t.who",
        },
    ),
    "types that say how values are stored": Case(
        T.format("a 'LONG VARCHAR(9)', b [UNSIGNED BIG INT], c FLOATING POINT, d DOUBLE PRECISION, e DATE, f"),
        ("INSERT INTO t (a) VALUES (0)",),
        ("[UNSIGNED BIG INT]", "TEXT"),
        {
            "INSERT INTO t (a, b, c, d, e, f) VALUES (1, '1', '1', '1', '1', '1')": ACCEPTED,
            "SELECT typeof(a), typeof(b), typeof(c), typeof(d), typeof(e), typeof(f) FROM t WHERE f": [
                ("text", "integer", "integer", "real", "integer", "text")
            ],
            "SELECT group_concat(type, ' ') FROM pragma_table_info('t') WHERE name IN ('a', 'b', 'c', 'd', 'e')": [
                "LONG VARCHAR(9) UNSIGNED BIG INT FLOATING POINT DOUBLE PRECISION DATE"
            ],
        },
    ),
    "a default: a text with quotes": _default("'it''s (a, \"b\"); -- not'", "'it''s (a, \"b\"); -- not'"),
    "a default: a text in double quotes": _default('"it''s"', "'its'"),
    "a default: a bare word": _default("unknown", "'unknown'"),
    "a default: a negative number": _default("-7", "-7"),
    "a default: a positive number": _default("+1.5e3", "1500.0"),
    "a default: a number in hexadecimal": _default("0x7fffffffffffffff", "9223372036854775807"),
    "a default: a blob": _default("x'00ff'", "X'00FF'"),
    "a default: a truth": _default("TRUE", "1"),
    "a default: nothing": _default("NULL", "NULL"),
    "a default: an expression": _default("(substr('a,b)', 3, 2) || (1 + 2))", "'b)3'"),
    "a default: the time": Case(
        T.format("made TEXT DEFAULT CURRENT_TIMESTAMP, day TEXT NOT NULL DEFAULT (date('now', 'start of year'))"),
        ("INSERT INTO t (made, day) VALUES ('then', 'then')",),
        ("CURRENT_TIMESTAMP", "'CURRENT_TIMESTAMP'"),
        {
            "INSERT INTO t DEFAULT VALUES": ACCEPTED,
            "SELECT made GLOB '20??-??-?? ??:??:??' AND day GLOB '20??-01-01' FROM t": [0, 1],
        },
    ),
    "a default: another each time": _default("(typeof(random()))", "'integer'"),
}  # fmt: skip
