"""What stands around a table: its indexes and what the planner knows of them, triggers and views."""

from tests.unit.rebuilds.case import ACCEPTED, Case

T = "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, size INTEGER, gone TEXT)"
ROWS = "INSERT INTO t (name, size) VALUES ('b', 1), ('A', 2), (NULL, 3), ('c', NULL)"
LOG = "CREATE TABLE log (what)"
BY = "SELECT id FROM t INDEXED BY i WHERE {}"
UNUSABLE = "no query solution"


def _index(index: str, lost: tuple[str, str], answers: dict[str, object], online: bool = True) -> Case:
    return Case(T, (ROWS, index), lost, answers, online=online)


def _trigger(
    trigger: str, lost: tuple[str, str], answers: dict[str, object], *others: str, touched: bool = True
) -> Case:
    """What the trigger left in the log before does not count."""
    return Case(T, (LOG, ROWS, *others, trigger), lost, {"DELETE FROM log": ACCEPTED, **answers}, touched=touched)


MANY = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 60) "
STATISTICS = (
    MANY + "INSERT INTO t (name, size) SELECT x % 2, x FROM n",
    "CREATE INDEX of_many ON t (size)",
    "CREATE INDEX of_few ON t (name)",
    "ANALYZE",
    # As if the rows were others: what is there stays, also where it is old.
    "UPDATE sqlite_stat1 SET stat = '60 60' WHERE idx = 'of_many'",
    "UPDATE sqlite_stat1 SET stat = '60 1' WHERE idx = 'of_few'",
)
CHOICE = "EXPLAIN QUERY PLAN SELECT * FROM t WHERE name = '1' AND size = 7"

INDEXES = {
    "an index": _index(
        "CREATE INDEX i ON t (name, size)",
        ("i ON t (name, size)", "j ON t (name)"),
        {
            BY.format("name = 'A'"): [2],
            "EXPLAIN QUERY PLAN SELECT id FROM t WHERE name = 'A' AND size = 2": ["SEARCH i"],
        },
    ),
    "an index that is unique": _index(
        "CREATE UNIQUE INDEX i ON t (name)",
        ("UNIQUE ", ""),
        {
            "INSERT INTO t (name) VALUES ('A')": "UNIQUE constraint failed: t.name",
            "INSERT INTO t (name) VALUES (NULL), ('a')": ACCEPTED,
        },
    ),
    "an index with a collation": _index(
        "CREATE UNIQUE INDEX i ON t (name COLLATE NOCASE)",
        (" COLLATE NOCASE", ""),
        {
            "INSERT INTO t (name) VALUES ('a')": "UNIQUE constraint failed: t.name",
            BY.format("name = 'B' COLLATE NOCASE"): [1],
        },
    ),
    "an index that descends": _index(
        "CREATE INDEX i ON t (name COLLATE NOCASE DESC, size ASC)",
        (" DESC", ""),
        {
            # Only in this order nothing has to be sorted.
            "SELECT name FROM t INDEXED BY i WHERE name COLLATE NOCASE > ''": ["c", "b", "A"],
            "SELECT desc FROM pragma_index_xinfo('i') WHERE key": [1, 0],
        },
    ),
    "an index on some rows": _index(
        "CREATE INDEX i ON t (size) WHERE name IS NOT NULL",
        (" WHERE name IS NOT NULL", ""),
        {BY.format("size = 2 AND name = 'A'"): [2], BY.format("size = 2"): UNUSABLE},
    ),
    "an index on some rows that names the table": Case(
        "CREATE TABLE 'and' (id INTEGER PRIMARY KEY, name TEXT, size INTEGER, gone TEXT)",
        (
            "INSERT INTO [and] (name, size) VALUES ('b', 1), ('A', 2), (NULL, 3)",
            'CREATE INDEX i ON "and" (size) WHERE \'AND\'.name > [And].size AND "and".id < 9 AND .5 < size -- and.x',
        ),
        (" AND .5 < size -- and.x", ""),
        {
            "SELECT id FROM [and] INDEXED BY i WHERE name > size AND id < 9 AND .5 < size AND size = 2": [2],
            "SELECT id FROM [and] INDEXED BY i WHERE name > size AND id < 9": UNUSABLE,
        },
    ),
    "an index on some rows that is unique": _index(
        "CREATE UNIQUE INDEX i ON t (size) WHERE name > 'b'",
        (" WHERE name > 'b'", ""),
        {
            "INSERT INTO t (name, size) VALUES ('a', 1), ('c', 1)": ACCEPTED,
            "INSERT INTO t (name, size) VALUES ('z', 1)": "UNIQUE constraint failed: t.size",
        },
        online=False,
    ),
    "an index on an expression": _index(
        "CREATE INDEX \"i\" ON [T] (lower(name) || ';' DESC, size + 1)",
        ("lower(name)", "upper(name)"),
        {
            "EXPLAIN QUERY PLAN SELECT id FROM t WHERE lower(name) || ';' = 'a;' AND size + 1 > 2": ["SEARCH i"],
            "EXPLAIN QUERY PLAN SELECT id FROM t WHERE upper(name) || ';' = 'A;'": ["SCAN"],
        },
    ),
    "an index on an expression that is unique": _index(
        "CREATE UNIQUE INDEX i ON t (lower(name))",
        ("lower(name)", "name"),
        {"INSERT INTO t (name) VALUES ('B')": "UNIQUE constraint failed: index 'i'"},
        online=False,
    ),
    "unique indexes, of which the first is named": Case(
        T,
        (ROWS, "CREATE UNIQUE INDEX i ON t (name)", "CREATE UNIQUE INDEX j ON t (size)"),
        (" i ON t (name)", " i ON t (id, name)"),
        {
            "INSERT INTO t (name, size) VALUES ('b', 2)": "UNIQUE constraint failed: t.size",
            "INSERT INTO t (name, size) VALUES ('b', 9)": "UNIQUE constraint failed: t.name",
        },
    ),
    "statistics by which the planner chooses": Case(
        T,
        STATISTICS,
        "DELETE FROM sqlite_stat1 WHERE idx = 'of_few'",
        {
            CHOICE: ["SEARCH of_few"],
            "SELECT idx, stat FROM sqlite_stat1 ORDER BY idx": [("of_few", "60 1"), ("of_many", "60 60")],
        },
    ),
    "statistics of a table without rowids and of one without indexes": Case(
        "CREATE TABLE t (a TEXT, b, gone TEXT, PRIMARY KEY (b, a)) WITHOUT ROWID",
        (
            "CREATE TABLE other (x)",
            "INSERT INTO other VALUES (1)",
            "INSERT INTO t (a, b) VALUES ('x', 1), ('y', 1)",
            "ANALYZE",
        ),
        "DELETE FROM sqlite_stat1 WHERE tbl = 't'",
        {"SELECT tbl, idx, stat FROM sqlite_stat1 ORDER BY tbl": [("other", None, "1"), ("t", "t", "2 2 1")]},
    ),
    "statistics that another build of SQLite gathered": Case(
        T,
        (
            ROWS,
            "CREATE INDEX i ON t (name)",
            "ANALYZE",
            "CREATE TABLE samples (tbl, idx, neq, nlt, ndlt, sample)",
            "PRAGMA writable_schema=1",
            "UPDATE sqlite_master SET name = 'sqlite_stat4', tbl_name = 'sqlite_stat4', "
            "sql = 'CREATE TABLE sqlite_stat4(tbl,idx,neq,nlt,ndlt,sample)' WHERE name = 'samples'",
            "PRAGMA writable_schema=RESET",
            "INSERT INTO sqlite_stat4 VALUES ('t', 'i', '1 1', '0 0', '0 0', x'03000001')",
            "INSERT INTO sqlite_stat4 VALUES ('u', 'v', '', '', '', NULL)",
        ),
        "DELETE FROM sqlite_stat4 WHERE tbl = 't'",
        {
            "SELECT tbl, idx, neq, hex(sample) FROM sqlite_stat4 ORDER BY tbl": [
                ("t", "i", "1 1", "03000001"),
                ("u", "v", "", ""),
            ]
        },
    ),
}

TRIGGERS = {
    "a trigger before a row comes": _trigger(
        "CREATE TRIGGER g BEFORE INSERT ON t WHEN new.size < 0 BEGIN SELECT RAISE(ABORT, 'too small; really'); END",
        ("'too small; really'", "'no'"),
        {
            "INSERT INTO t (size) VALUES (-1)": "too small; really",
            "INSERT INTO t (size) VALUES (1), (-2)": "too small; really",
            "INSERT INTO t (size) VALUES (NULL)": ACCEPTED,
            "SELECT count(*) FROM t": [5],
        },
    ),
    "a trigger before a row goes": _trigger(
        "CREATE TRIGGER g BEFORE DELETE ON T BEGIN SELECT CASE WHEN old.id = 1 THEN RAISE(IGNORE) END; END",
        ("old.id = 1", "old.id = 2"),
        {"DELETE FROM t": ACCEPTED, "SELECT id FROM t": [1]},
    ),
    "a trigger after updates of a column": _trigger(
        'CREATE TRIGGER g AFTER UPDATE OF "name", size ON t WHEN new.name IS NOT old.name '
        "BEGIN INSERT INTO log VALUES (old.name || '>' || new.name); END",
        (' OF "name", size', " OF size"),
        {
            "UPDATE t SET name = 'B', id = 100 WHERE name = 'b'": ACCEPTED,
            "UPDATE t SET id = 101 WHERE id = 100": ACCEPTED,
            "UPDATE t SET size = 9": ACCEPTED,
            "SELECT what FROM log": ["b>B"],
        },
    ),
    "a trigger after any update": _trigger(
        "CREATE TRIGGER g AFTER UPDATE ON t BEGIN INSERT INTO log VALUES (new.id); END",
        ("UPDATE ON", "UPDATE OF name ON"),
        {"UPDATE t SET size = 9 WHERE id < 3": ACCEPTED, "SELECT what FROM log": [1, 2]},
        touched=False,
    ),
    "a trigger that writes its own table again and again": _trigger(
        "CREATE TRIGGER g AFTER INSERT ON t WHEN new.size < 13 "
        "BEGIN INSERT INTO t (name, size) VALUES (new.name || '+', new.size + 1); END",
        ("new.size < 13", "new.size < 12"),
        {
            "INSERT INTO t (name, size) VALUES ('once', 12)": ACCEPTED,
            "SELECT name FROM t WHERE size >= 12": ["once", "once+"],
            "PRAGMA recursive_triggers=ON": ACCEPTED,
            "INSERT INTO t (name, size) VALUES ('all', 10)": ACCEPTED,
            "SELECT name FROM t WHERE name LIKE 'all%'": ["all", "all+", "all++", "all+++"],
        },
    ),
    "triggers called like their table and its index": Case(
        T,
        (
            LOG,
            ROWS,
            "CREATE INDEX i ON t (name)",
            *(f"CREATE TRIGGER {name} AFTER INSERT ON t BEGIN INSERT INTO log VALUES ('{name}'); END" for name in "ti"),
        ),
        "DROP TRIGGER t",
        {"INSERT INTO t (name) VALUES ('x')": ACCEPTED, "SELECT what FROM log": ["i", "t"]},
    ),
    "triggers in the order in which they come": Case(
        T,
        (
            LOG,
            ROWS,
            *(
                f"CREATE TRIGGER {name} AFTER INSERT ON t BEGIN INSERT INTO log VALUES ('{name}'); END"
                for name in ("g2", "g1", "g3")
            ),
        ),
        ("TRIGGER g2", "TRIGGER g0"),
        {
            "INSERT INTO t (name) VALUES ('x')": ACCEPTED,
            "SELECT what FROM log": ["g3", "g1", "g2"],
            "DROP TRIGGER g2": ACCEPTED,
        },
    ),
    "a trigger of another table that writes this one": _trigger(
        "CREATE TRIGGER g AFTER DELETE ON log BEGIN "
        "UPDATE t SET size = size + 100 WHERE name = old.what; "
        "INSERT OR IGNORE INTO t (name) VALUES ('from ' || old.what); DELETE FROM t WHERE id = 4; END",
        ("size + 100", "size + 1"),
        {
            "INSERT INTO log VALUES ('A')": ACCEPTED,
            "DELETE FROM log WHERE what = 'A'": ACCEPTED,
            "SELECT id, name, size FROM t ORDER BY id": [
                (1, "b", 1), (2, "A", 102), (3, None, 3), (5, "from A", None)
            ],
        },
    ),
    "a trigger that writes another table and reads a third": _trigger(
        "CREATE TRIGGER \"g'1\" AFTER DELETE ON [t] FOR EACH ROW BEGIN "
        "INSERT INTO log SELECT /* a ; in a remark */ word FROM words WHERE id = old.size; "
        "UPDATE words SET word = word || '; END' WHERE id = old.size; END",
        ("word || '; END'", "word"),
        {
            "DELETE FROM t WHERE id = 2": ACCEPTED,
            "SELECT what FROM log": ["two"],
            "SELECT word FROM words": ["one", "two; END"],
        },
        "CREATE TABLE words (id INTEGER PRIMARY KEY, word)",
        "INSERT INTO words VALUES (1, 'one'), (2, 'two')",
    ),
    "a trigger that lets nobody write": _trigger(
        "CREATE TRIGGER g BEFORE UPDATE ON t BEGIN SELECT RAISE(ROLLBACK, 'read only'); END",
        ("'read only'", "'read'"),
        {"BEGIN": ACCEPTED, "UPDATE t SET size = 1": "read only", "COMMIT": "cannot commit - no transaction is active"},
        touched=False,
    ),
    "a view": Case(
        T,
        (ROWS, "CREATE VIEW v (n, both) AS SELECT name, t.size + id FROM main.t AS t WHERE \"size\" > 1 -- it's ("),
        ("t.size + id", "t.size"),
        {"SELECT n, both FROM v": [("A", 4), (None, 6)], "SELECT count(*) FROM v JOIN t ON n IS name": [2]},
    ),
    "a view on views": Case(
        T,
        (
            ROWS,
            "CREATE VIEW w AS WITH t AS (SELECT name AS n FROM v) "
            "SELECT n, (SELECT max(size) FROM main.t) AS most FROM t",
            "CREATE VIEW v AS SELECT * FROM u WHERE name > 'a'",
            "CREATE VIEW u AS SELECT name, count(*) OVER () AS of FROM t",
        ),
        ("name > 'a'", "name > 'b'"),
        {"SELECT n, most FROM w ORDER BY n": [("b", 3), ("c", 3)], "SELECT name, of FROM v": [("b", 4), ("c", 4)]},
    ),
    "a view that can be written": Case(
        T,
        (
            LOG,
            ROWS,
            "CREATE VIEW v AS SELECT id, name FROM t",
            "CREATE TRIGGER v_i INSTEAD OF INSERT ON v BEGIN INSERT INTO t (name) VALUES (new.name || '!'); END",
            "CREATE TRIGGER v_u INSTEAD OF UPDATE OF name ON v "
            "BEGIN UPDATE t SET name = new.name WHERE id = old.id; END",
            "CREATE TRIGGER v_d INSTEAD OF DELETE ON v WHEN old.id <> 1 BEGIN DELETE FROM t WHERE id = old.id; END",
            "CREATE TRIGGER g AFTER INSERT ON t BEGIN INSERT INTO log VALUES (new.name); END",
        ),
        ("new.name || '!'", "new.name"),
        {
            "INSERT INTO v (name) VALUES ('new')": ACCEPTED,
            "UPDATE v SET name = 'B' WHERE name = 'b'": ACCEPTED,
            "DELETE FROM v WHERE id < 3": ACCEPTED,
            "SELECT id, name FROM v": [(1, "B"), (3, None), (4, "c"), (5, "new!")],
            "SELECT what FROM log": ["new!"],
        },
    ),
}  # fmt: skip

AROUND = {**INDEXES, **TRIGGERS}
