"""What identifies rows and binds them to others: rowids, marks, primary and foreign keys, options of the table."""

from tests.unit.rebuilds.case import ACCEPTED, Case

BROKEN = "FOREIGN KEY constraint failed"
PARENT = "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT UNIQUE, gone TEXT)"
PARENTS = "INSERT INTO t (id, name) VALUES (1, 'a'), (2, 'b'), (3, 'c')"
CHILDREN = "INSERT INTO child (id, of) VALUES (10, 1), (20, 2), (30, NULL)"
MOST = 9223372036854775807


def _child(action: str, answers: dict[str, object]) -> Case:
    """Rows of another table that point at the rebuilt one; dropping that would carry the action out."""
    return Case(
        PARENT,
        (
            f"CREATE TABLE child (id INTEGER PRIMARY KEY, of INTEGER DEFAULT 3 REFERENCES t (id) {action})",
            PARENTS,
            CHILDREN,
        ),
        (action, ""),
        {
            "SELECT id, of FROM child": [(10, 1), (20, 2), (30, None)],
            "INSERT INTO child (of) VALUES (99)": BROKEN,
            "PRAGMA foreign_key_check": [],
            **answers,
        },
    )


def _parent(action: str, answers: dict[str, object]) -> Case:
    """Rows of the rebuilt table that point at another one."""
    return Case(
        f"CREATE TABLE t (id INTEGER PRIMARY KEY, of INTEGER DEFAULT 3 REFERENCES parent (id) {action}, gone TEXT)",
        (
            "CREATE TABLE parent (id INTEGER PRIMARY KEY)",
            "INSERT INTO parent VALUES (1), (2), (3)",
            "INSERT INTO t (id, of) VALUES (10, 1), (20, 2), (30, NULL)",
        ),
        (action, "ON DELETE CASCADE" if "RESTRICT" in action else ""),
        {"INSERT INTO t (of) VALUES (99)": BROKEN, "SELECT id, of FROM t": [(10, 1), (20, 2), (30, None)], **answers},
    )


def _rowids(columns: str, name: str) -> Case:
    """Rows without a key of their own: an index without content names them by their rowids."""
    return Case(
        f"CREATE TABLE t ({columns}, gone TEXT)",
        (
            f"INSERT INTO t ({name}, body) VALUES (-{MOST} - 1, 'least'), (-5, 'minus'), (0, 'zero'), (7, 'gap'), "
            f"(9007199254740993, 'odd'), ({MOST}, 'most')",
            "CREATE TABLE mark (row)",
            f"INSERT INTO mark SELECT {name} FROM t WHERE body IN ('minus', 'gap')",
        ),
        f"UPDATE t SET {name} = {name} + 1 WHERE {name} = 7",
        {
            f"SELECT {name}, body FROM t ORDER BY {name}": [
                (-MOST - 1, "least"), (-5, "minus"), (0, "zero"), (7, "gap"), (9007199254740993, "odd"), (MOST, "most")
            ],
            f"SELECT body FROM mark JOIN t ON t.{name} = row ORDER BY row": ["minus", "gap"],
            # The largest is taken, so SQLite looks for a free one at random.
            "INSERT INTO t (body) VALUES ('new')": ACCEPTED,
            f"SELECT count(*) FROM t WHERE {name} BETWEEN 1 AND {MOST} - 1": [3],
        },
    )  # fmt: skip


KEYS = {
    "children that go with their parent": _child(
        "ON DELETE CASCADE", {"DELETE FROM t WHERE id = 1": ACCEPTED, "SELECT of FROM child": [2, None]}
    ),
    "children that lose their parent": _child(
        "ON DELETE SET NULL", {"DELETE FROM t WHERE id = 1": ACCEPTED, "SELECT of FROM child": [None, 2, None]}
    ),
    "children that get another parent": _child(
        "ON DELETE SET DEFAULT", {"DELETE FROM t WHERE id = 1": ACCEPTED, "SELECT of FROM child": [3, 2, None]}
    ),
    "children that follow their parent": _child(
        "ON UPDATE CASCADE", {"UPDATE t SET id = 100 WHERE id = 1": ACCEPTED, "SELECT of FROM child": [100, 2, None]}
    ),
    "children that hold their parent, though they may come before it": Case(
        PARENT,
        (
            "CREATE TABLE child (id INTEGER PRIMARY KEY, of INTEGER REFERENCES t (id) ON DELETE RESTRICT "
            "DEFERRABLE INITIALLY DEFERRED)",
            PARENTS,
            CHILDREN,
        ),
        ("ON DELETE RESTRICT", ""),
        {
            "BEGIN": ACCEPTED,
            "DELETE FROM t WHERE id = 1": BROKEN,
            "INSERT INTO child (of) VALUES (4)": ACCEPTED,
            "INSERT INTO t (id) VALUES (4)": ACCEPTED,
            "COMMIT": ACCEPTED,
        },
    ),
    "children that point at a unique column": Case(
        PARENT,
        (
            "CREATE TABLE child (of TEXT REFERENCES t (name) ON UPDATE CASCADE ON DELETE CASCADE)",
            PARENTS,
            "INSERT INTO child (of) VALUES ('a'), ('c')",
        ),
        ("ON UPDATE CASCADE", ""),
        {
            "UPDATE t SET name = 'A' WHERE id = 1": ACCEPTED,
            "DELETE FROM t WHERE name = 'c'": ACCEPTED,
            "SELECT of FROM child": ["A"],
            "INSERT INTO child (of) VALUES ('z')": BROKEN,
        },
    ),
    "children of two columns": Case(
        "CREATE TABLE t (a INTEGER, b TEXT, gone TEXT, PRIMARY KEY (b, a))",
        (
            "CREATE TABLE child (x TEXT, y INTEGER, "
            "FOREIGN KEY (x, y) REFERENCES t ON DELETE CASCADE ON UPDATE SET NULL)",
            "INSERT INTO t (a, b) VALUES (1, 'one'), (2, 'two'), (3, 'three')",
            "INSERT INTO child VALUES ('one', 1), ('two', 2), ('none', NULL)",
        ),
        ("ON DELETE CASCADE ON UPDATE SET NULL", "ON DELETE SET NULL ON UPDATE CASCADE"),
        {
            "INSERT INTO child VALUES ('one', 2)": BROKEN,
            "DELETE FROM t WHERE a = 1": ACCEPTED,
            "UPDATE t SET a = 22 WHERE a = 2": ACCEPTED,
            "SELECT x, y FROM child": [(None, None), ("none", None)],
        },
    ),
    "rows that point at each other": Case(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, gone TEXT, up REFERENCES t ON DELETE CASCADE ON UPDATE CASCADE)",
        ("INSERT INTO t (id, up) VALUES (1, NULL), (2, 1), (3, 2), (4, 4), (5, NULL)",),
        ("ON DELETE CASCADE", "ON DELETE SET NULL"),
        {
            "INSERT INTO t (up) VALUES (99)": BROKEN,
            "UPDATE t SET id = 20 WHERE id = 2": ACCEPTED,
            "SELECT up FROM t WHERE id = 3": [20],
            "DELETE FROM t WHERE id IN (1, 4)": ACCEPTED,
            "SELECT id FROM t": [5],
        },
    ),
    "a row that goes with its parent": _parent(
        "ON DELETE CASCADE", {"DELETE FROM parent WHERE id = 1": ACCEPTED, "SELECT of FROM t": [2, None]}
    ),
    "a row that loses its parent": _parent(
        "ON DELETE SET NULL", {"DELETE FROM parent WHERE id = 1": ACCEPTED, "SELECT of FROM t": [None, 2, None]}
    ),
    "a row that gets another parent": _parent(
        "ON DELETE SET DEFAULT", {"DELETE FROM parent WHERE id = 1": ACCEPTED, "SELECT of FROM t": [3, 2, None]}
    ),
    "a row that follows its parent": _parent(
        "ON UPDATE CASCADE", {"UPDATE parent SET id = 100 WHERE id = 1": ACCEPTED, "SELECT of FROM t": [100, 2, None]}
    ),
    "a row that holds its parent until it has another": _parent(
        "ON DELETE RESTRICT",
        {
            "DELETE FROM parent WHERE id = 1": BROKEN,
            "UPDATE t SET of = 3 WHERE of = 1": ACCEPTED,
            "DELETE FROM parent WHERE id < 2": ACCEPTED,
            "SELECT of FROM t": [3, 2, None],
        },
    ),
    "a row whose parent may come later": Case(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, of REFERENCES parent DEFERRABLE INITIALLY DEFERRED, gone TEXT)",
        ("CREATE TABLE parent (id INTEGER PRIMARY KEY)",),
        ("INITIALLY DEFERRED", "INITIALLY IMMEDIATE"),
        {
            "BEGIN": ACCEPTED,
            "INSERT INTO t (of) VALUES (7)": ACCEPTED,
            "INSERT INTO parent VALUES (7)": ACCEPTED,
            "COMMIT": ACCEPTED,
            "INSERT INTO t (of) VALUES (8)": BROKEN,
        },
    ),
    "a key of two columns to a key with a collation": Case(
        """CREATE TABLE t (id INTEGER PRIMARY KEY, a, b, gone TEXT, CONSTRAINT "to, the (parent"
           FOREIGN KEY (a, b) REFERENCES parent (x, y) ON DELETE SET NULL NOT DEFERRABLE INITIALLY IMMEDIATE)""",
        (
            "CREATE TABLE parent (x TEXT COLLATE NOCASE, y, UNIQUE (y, x))",
            "INSERT INTO parent VALUES ('a', 1), ('b', 2)",
            "INSERT INTO t (a, b) VALUES ('A', 1), ('b', 2), ('none', NULL)",
        ),
        ("ON DELETE SET NULL", ""),
        {
            "INSERT INTO t (a, b) VALUES ('b', 1)": BROKEN,
            "INSERT INTO t (a, b) VALUES ('B', 2)": ACCEPTED,
            "DELETE FROM parent WHERE y = 2": ACCEPTED,
            "SELECT a, b FROM t": [("A", 1), (None, None), ("none", None), (None, None)],
        },
    ),
    "rows without a key": _rowids("body TEXT", "rowid"),
    "rows without a key and a column called rowid": _rowids("rowid TEXT, body TEXT", "_rowid_"),
    "rows without a key and only one name left for it": _rowids('"ROWID" TEXT, [_RowId_] INT, body TEXT', "oid"),
    "rows whose key is a text": _rowids("body TEXT PRIMARY KEY", "rowid"),
    "a key that is a name of the rowid": Case(
        "CREATE TABLE t (body TEXT, Number integer, gone TEXT, PRIMARY KEY (number ASC))",
        ("INSERT INTO t (rowid, body) VALUES (-3, 'a'), (70, 'b')",),
        ("PRIMARY KEY (number ASC)", "CHECK (1)"),
        {
            "SELECT Number, rowid FROM t": [(-3, -3), (70, 70)],
            "INSERT INTO t (body) VALUES ('c')": ACCEPTED,
            "INSERT INTO t (Number) VALUES ('x')": "datatype mismatch",
            "SELECT Number FROM t WHERE body = 'c'": [71],
        },
    ),
    "a key that is called INTEGER but is no rowid": Case(
        "CREATE TABLE t (id INTEGER PRIMARY KEY DESC, body TEXT, gone TEXT)",
        ("INSERT INTO t (rowid, id, body) VALUES (5, 50, 'a'), (6, 60, 'b'), (7, NULL, 'c')",),
        ("PRIMARY KEY DESC", "PRIMARY KEY"),
        {
            "SELECT rowid, id FROM t ORDER BY rowid": [(5, 50), (6, 60), (7, None)],
            "INSERT INTO t (id) VALUES (60)": "UNIQUE constraint failed: t.id",
            "INSERT INTO t (body) VALUES ('d')": ACCEPTED,
            "SELECT rowid, id FROM t WHERE body = 'd'": [(8, None)],
        },
    ),
    "a mark of ids that were given": Case(
        "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT, gone TEXT)",
        (
            "CREATE TABLE other (id INTEGER PRIMARY KEY AUTOINCREMENT)",
            "INSERT INTO other VALUES (500)",
            "INSERT INTO t (id, body) VALUES (1, 'a'), (90, 'newest')",
            "DELETE FROM t WHERE id = 90",
        ),
        "DELETE FROM sqlite_sequence WHERE name = 't'",
        {
            "INSERT INTO t (body) VALUES ('new')": ACCEPTED,
            "INSERT INTO other DEFAULT VALUES": ACCEPTED,
            "SELECT max(id) FROM t UNION ALL SELECT max(id) FROM other": [91, 501],
            "SELECT name, seq FROM sqlite_sequence ORDER BY name": [("other", 501), ("t", 91)],
        },
    ),
    "a mark above all rows, which are gone": Case(
        "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT, gone TEXT)",
        ("INSERT INTO t (body) VALUES ('a')", "DELETE FROM t", "UPDATE sqlite_sequence SET seq = 1000"),
        "UPDATE sqlite_sequence SET seq = 0",
        {"INSERT INTO t (body) VALUES ('new')": ACCEPTED, "SELECT id FROM t": [1001]},
    ),
    "a mark that leaves no id": Case(
        "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT, gone TEXT)",
        (f"INSERT INTO t (id) VALUES ({MOST}), (3)", f"DELETE FROM t WHERE id = {MOST}"),
        "DELETE FROM sqlite_sequence",
        {"INSERT INTO t (body) VALUES ('new')": "database or disk is full", "SELECT id FROM t": [3]},
    ),
    "a table without rowids": Case(
        "CREATE TABLE t (b INT, body TEXT, a TEXT COLLATE NOCASE, gone TEXT, PRIMARY KEY (b DESC, a)) WITHOUT ROWID",
        ("INSERT INTO t (a, b, body) VALUES ('x', 1, 'one'), ('Y', 2, 'two'), ('z', 2, 'three')",),
        ("WITHOUT ROWID", ""),
        {
            "SELECT rowid FROM t": "no such column: rowid",
            "SELECT body FROM t": ["two", "three", "one"],
            "INSERT INTO t (a, b) VALUES ('y', 2)": "UNIQUE constraint failed: t.b, t.a",
            "INSERT INTO t (a) VALUES ('y')": "NOT NULL constraint failed: t.b",
            "INSERT INTO t (a, b) VALUES ('y', 3)": ACCEPTED,
        },
    ),
    "a table that is strict": Case(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a INT, b TEXT, c ANY, gone TEXT) STRICT",
        ("INSERT INTO t (a, b, c) VALUES (1, 'b', '007')",),
        (" STRICT", ""),
        {
            "INSERT INTO t (a) VALUES ('many')": "cannot store TEXT value in INT column t.a",
            "INSERT INTO t (b) VALUES (x'00')": "cannot store BLOB value in TEXT column t.b",
            "INSERT INTO t (a, c) VALUES ('7', '1.0')": ACCEPTED,
            "SELECT quote(a), quote(c) FROM t": [("1", "'007'"), ("7", "'1.0'")],
        },
    ),
    "a strict table without rowids": Case(
        "CREATE TABLE t (k BLOB, v REAL, gone TEXT, PRIMARY KEY (k)) STRICT, WITHOUT ROWID -- it's (all",
        ("INSERT INTO t (k, v) VALUES (x'02', 1), (x'01', 2.5), (x'', 3)",),
        ("STRICT, ", ""),
        {
            "SELECT hex(k), typeof(v) FROM t": [("", "real"), ("01", "real"), ("02", "real")],
            "INSERT INTO t (k) VALUES ('a')": "cannot store TEXT value in BLOB column t.k",
            "SELECT oid FROM t": "no such column: oid",
        },
    ),
}
