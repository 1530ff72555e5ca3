"""What lint finds: each code by what brings it up, with counts, and that neither silence nor a byte is wrong."""

import sqlite3
from contextlib import closing

import pytest

from migrator.authoring.lint import lint
from migrator.connect import opened
from migrator.migration import Answers, Change, Mapped
from migrator.planning import make_plan
from tests.runs import run_sql, stored
from tests.unit.generating import generated
from tests.unit.migrating import database, migration, state_of

T = "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b TEXT)"
ROWS = ("INSERT INTO t VALUES (1, '1', 'x'), (2, 'two', 'x'), (3, NULL, NULL)",)


def _linted(now, desired, rows=ROWS, renames=None, **limits):
    """(severity, code, message, count) of what lint says of the generated migration."""
    made = generated(now, desired, renames)
    with closing(database(*now, *rows)) as connection:
        return _said(connection, made.migration, **limits)


def _said(connection, made, **limits):
    return [(each.severity, each.code, each.message, each.count) for each in _found(connection, made, **limits)]


def _found(connection, made, **limits):
    state = state_of(connection, [made])
    plan = make_plan([made], state, {made.version: Answers()})
    found = lint(connection, plan, state, **limits)
    assert all(each.way_out for each in found)
    return found


def _table(listed, suffix=""):
    return f"CREATE TABLE t (id INTEGER PRIMARY KEY, {listed}){suffix}"


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ("a TEXT, b TEXT, c TEXT DEFAULT 'c'", []),
        ("b TEXT", [("warning", "column_dropped", "column a of t goes with 2 values", 2)]),
        ("a TEXT, b TEXT, c TEXT NOT NULL", [
            ("error", "not_null", "column c of t is NOT NULL, and 3 rows have no value for it", 3)]),
        ("a TEXT NOT NULL, b TEXT", [
            ("error", "not_null", "column a of t is NOT NULL, and 1 rows have no value for it", 1)]),
        ("a INTEGER, b TEXT", [
            ("warning", "other_type", "1 values of a of t are not integer: they stay as they are", 1)]),
        ("a TEXT, b TEXT CHECK (b <> 'x')", [("error", "check", "2 rows of t do not fit CHECK (b <> 'x')", 2)]),
        ("a INTEGER, b TEXT, CHECK (a < 2)", [
            ("warning", "other_type", "1 values of a of t are not integer: they stay as they are", 1),
            ("error", "check", "1 rows of t do not fit CHECK (a < 2)", 1)]),
        ("a TEXT, b TEXT UNIQUE", [
            ("error", "unique", "1 values that stand in several rows of t do not fit UNIQUE (b)", 1)]),
        ("a TEXT, b TEXT, c INTEGER DEFAULT 7 UNIQUE", [
            ("error", "unique", "1 values that stand in several rows of t do not fit UNIQUE (c)", 1)]),
        ("a TEXT, b TEXT, c TEXT AS (b || '!') UNIQUE", [
            ("error", "unique", "1 values that stand in several rows of t do not fit UNIQUE (c)", 1)]),
        ('a TEXT, b TEXT, "order" TEXT, "Key" TEXT', [
            ("note", "keyword", "column order of t is named like a keyword of SQL", 1),
            ("note", "keyword", "column Key of t is named like a keyword of SQL", 1)]),
        ("b TEXT, c TEXT", [
            ("warning", "column_dropped", "column a of t goes with 2 values", 2),
            ("note", "maybe_renamed", "column a of t goes and c comes: nobody said that it is renamed", 1)]),
    ],
)  # fmt: skip
def test_what_the_rows_do_not_fit_is_counted(listed, expected):
    assert _linted([T], [_table(listed)]) == expected


@pytest.mark.parametrize(
    ("now", "desired"),
    [
        ("t (a)", "t (a, CHECK (rowid < 40))"),
        ("t (a)", "t (a, b, CHECK (b IS NULL AND oid < 40))"),
        ("t (a, id INTEGER PRIMARY KEY)", "t (a, id INTEGER PRIMARY KEY, CHECK (_rowid_ < 40))"),
        ("t (a, rowid)", "t (a, rowid, CHECK (oid < 40))"),
        ("t (a, oid INTEGER PRIMARY KEY)", "t (a, oid INTEGER PRIMARY KEY, CHECK (rowid < 40))"),
        ("t (a, id TEXT PRIMARY KEY)", "t (a, id TEXT PRIMARY KEY, CHECK (_ROWID_ < 40))"),
    ],
)
def test_a_check_that_names_the_rowid_is_held_against_the_rowids(now, desired):
    rows = ("INSERT INTO t (_rowid_, a) VALUES (-7, 'x'), (39, 'x'), (40, 'x'), (1000000000000, 'x')",)
    found = _linted([f"CREATE TABLE {now}"], [f"CREATE TABLE {desired}"], rows)
    assert [(severity, code, count) for severity, code, _, count in found] == [("error", "check", 2)]
    everywhere = f"CREATE TABLE {desired.replace('<', '<>').replace('40', '41')}"
    assert _linted([f"CREATE TABLE {now}"], [everywhere], rows) == []


def test_a_table_whose_columns_hide_its_rowid_is_held_against_its_constraints_all_the_same():
    now, desired = (
        "t (rowid, oid, _rowid_ INTEGER PRIMARY KEY)",
        "t (rowid CHECK (rowid), oid, _rowid_ INTEGER PRIMARY KEY)",
    )
    found = _linted(
        [f"CREATE TABLE {now}"], [f"CREATE TABLE {desired}"], ("INSERT INTO t VALUES (0, 1, 2), (3, 0, 0)",)
    )
    assert [(severity, code, count) for severity, code, _, count in found] == [("error", "check", 1)]


def test_a_column_that_another_is_made_of_does_not_go():
    assert _linted([T], [_table("c TEXT, b TEXT")], renames={"t.a": "t.c"}) == []


def test_a_strict_table_refuses_what_another_keeps():
    rows = ("INSERT INTO t VALUES (1, 'x', 'x'), (2, 2.5, x'00'), (3, '7', '7')",)
    now = ["CREATE TABLE t (id INTEGER PRIMARY KEY, a, b)"]
    desired = ["CREATE TABLE t (id INTEGER PRIMARY KEY, a INTEGER, b BLOB) STRICT"]
    assert _linted(now, desired, rows) == [
        ("error", "strict", "2 values of a of t are not integer, and the table is STRICT", 2),
        ("error", "strict", "2 values of b of t are not blob, and the table is STRICT", 2),
    ]


@pytest.mark.parametrize(
    ("index", "count"),
    [
        ("CREATE UNIQUE INDEX i ON t (b)", 1),
        ("CREATE UNIQUE INDEX i ON t (lower(a) DESC, substr(b, 1, 1) COLLATE NOCASE)", 0),
        ("CREATE UNIQUE INDEX i ON t (substr(b, 1, 1) COLLATE NOCASE ASC)", 1),
        ("CREATE UNIQUE INDEX i ON t (b) WHERE a = '1';", 0),
        ("CREATE UNIQUE INDEX i ON t (b) WHERE a IS NOT NULL", 1),
        ("CREATE UNIQUE INDEX i ON t (1 + 1)", 1),
        ("CREATE INDEX i ON t (b)", 0),
    ],
)
def test_a_unique_index_is_tried_on_the_values(index, count):
    expected = [("error", "unique", "1 values that stand in several rows of t do not fit index i", 1)] if count else []
    assert _linted([T], [T, index]) == expected


def test_values_that_differ_only_in_case_are_one_under_the_new_collation():
    rows = ("INSERT INTO t VALUES (1, 'a', 'x'), (2, 'A', 'y')",)
    expected = [("error", "unique", "1 values that stand in several rows of t do not fit UNIQUE (a)", 1)]
    assert (
        _linted([_table("a TEXT UNIQUE, b TEXT")], [_table("a TEXT UNIQUE COLLATE NOCASE, b TEXT")], rows) == expected
    )


def test_a_collation_of_the_column_counts_for_its_index():
    rows = ("INSERT INTO t VALUES (1, 'a', 'x'), (2, 'A', 'y')",)
    desired = [_table("a TEXT COLLATE NOCASE, b TEXT"), "CREATE UNIQUE INDEX i ON t (a)"]
    expected = [("error", "unique", "1 values that stand in several rows of t do not fit index i", 1)]
    assert _linted([T], desired, rows) == expected


def test_values_that_become_one_are_counted_where_the_constraint_was_there_before():
    rows = ("INSERT INTO t VALUES (1, '1', 'x'), (2, '01', 'y')",)
    expected = [("error", "unique", "1 values that stand in several rows of t do not fit UNIQUE (a)", 1)]
    assert _linted([_table("a TEXT UNIQUE, b TEXT")], [_table("a INTEGER UNIQUE, b TEXT")], rows) == expected


def test_null_is_like_no_other():
    rows = ("INSERT INTO t VALUES (1, NULL, 'x'), (2, NULL, 'x')",)
    assert _linted(
        [T], [_table("a TEXT UNIQUE, b TEXT, UNIQUE (a, b)"), "CREATE UNIQUE INDEX i ON t (a, b)"], rows
    ) == [("note", "needless_index", "index i of t does nothing that sqlite_autoindex_t_2 does not", 1)]


def test_what_held_before_and_keeps_its_values_is_not_read_again():
    read = []
    now, desired = [_table("a TEXT UNIQUE, b TEXT CHECK (b > '')")], [_table("c, a TEXT UNIQUE, b TEXT CHECK (b > '')")]
    made = generated(now, desired).migration
    with closing(database(*now)) as connection:
        connection.set_trace_callback(read.append)
        assert _said(connection, made) == []
    assert [sql for sql in read if "TEMP" in sql] == []


def test_a_value_without_a_spelling_is_counted():
    for option, way_out in {
        "": "add them to its Mapped",
        "map_a": "add them to its Mapped, or answer with --map-a",
    }.items():
        values = {"a": Mapped("lower(a)", {"1": ("1",)}, option)}
        change = Change("t", T, T.replace("a TEXT", "a TEXT CHECK (a > '')"), values=values)
        with closing(database(T, *ROWS)) as connection:
            found = _found(connection, migration(change))[0]
        assert (found.severity, found.code, found.count) == ("error", "unmapped", 1)
        assert (found.message, found.way_out) == ("1 values of a of t have no spelling in the migration", way_out)


P = "CREATE TABLE p (id INTEGER PRIMARY KEY, code TEXT, UNIQUE (code))"


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ("a INTEGER REFERENCES p (id)", ["foreign_key_without_index", "orphans"]),
        ("a INTEGER REFERENCES p", ["foreign_key_without_index", "orphans"]),
        ("a INTEGER UNIQUE REFERENCES p (id)", ["orphans"]),
        ("a INTEGER, b, FOREIGN KEY (a) REFERENCES p (id), UNIQUE (a, b)", ["orphans"]),
        ("a INTEGER, b, FOREIGN KEY (a) REFERENCES p (id), UNIQUE (b, a)", ["foreign_key_without_index", "orphans"]),
        ("a INTEGER UNIQUE REFERENCES p (code)", ["orphans"]),
        ("a INTEGER UNIQUE REFERENCES nowhere (id)", ["foreign_key_to_no_key", "not_looked_at"]),
        ("a INTEGER UNIQUE REFERENCES p (id) DEFERRABLE INITIALLY DEFERRED", ["orphans"]),
        ("a INTEGER UNIQUE REFERENCES t (id)", []),
    ],
)
def test_a_new_foreign_key_needs_an_index_a_key_and_parents(listed, expected):
    rows = ("INSERT INTO p VALUES (1, 'x')", "INSERT INTO t (id, a) VALUES (1, 1), (2, 7), (7, NULL)")
    before = _table("a INTEGER" + (", b" if ", b" in listed else ""))
    found = _linted([P, before], [P, _table(listed)], rows)
    assert sorted(code for _, code, _, _ in found) == expected
    orphans = [(severity, count) for severity, code, _, count in found if code == "orphans"]
    assert orphans == ([("warning", 2 if "code" in listed else 1)] if "orphans" in expected else [])


def test_a_foreign_key_to_a_renamed_column_of_the_same_table_is_held_against_the_rows_to_be():
    found = _linted(
        [_table("a INTEGER, up INTEGER")], [_table("b INTEGER UNIQUE, up INTEGER UNIQUE REFERENCES t (b)")],
        ("INSERT INTO t VALUES (1, 10, NULL), (2, 20, 10), (3, 30, 2)",), {"t.a": "t.b"},
    )  # fmt: skip
    assert found == [("warning", "orphans", "1 rows break the foreign key t (up) -> t", 1)]


@pytest.mark.parametrize("index", ["INDEX i ON p (code)", "UNIQUE INDEX i ON p (code) WHERE id > 0"])
def test_an_index_that_lets_two_rows_have_the_value_makes_no_key(index):
    parent = ["CREATE TABLE p (id INTEGER PRIMARY KEY, code TEXT)", f"CREATE {index}", _table("a TEXT UNIQUE")]
    found = _linted(parent, [*parent[:2], _table("a TEXT UNIQUE REFERENCES p (code)")], ())
    assert [code for _, code, _, _ in found] == ["foreign_key_to_no_key"]


def test_a_parent_that_loses_its_key_is_told_of_its_children():
    child = "CREATE TABLE c (p TEXT REFERENCES p (code))"
    assert _linted([P, child], [P.replace(", UNIQUE (code)", ""), child], ()) == [
        ("note", "way_back",
         "table p loses UNIQUE (code): rows written since may break it, and then the way back is refused", 1),
        ("warning", "foreign_key_to_no_key",
         "the foreign key c (p) -> p leads nowhere: code of p is not unique. Where foreign keys are enforced, every "
         "write that concerns it fails", 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("table", "indexes", "needless"),
    [
        ("t (a, b)", ["i ON t (a)", "j ON t (a)"], ["index j of t does nothing that i does not"]),
        ("t (a, b)", ["i ON t (a)", "j ON t (a, b)"], ["index i of t does nothing that j does not"]),
        ("t (a, b)", ["i ON t (b)", "j ON t (a, b)"], []),
        ("t (a, b)", ["i ON t (a DESC)", "j ON t (a, b)"], []),
        ("t (a, b)", ["i ON t (a COLLATE NOCASE)", "j ON t (a, b)"], []),
        ("t (a, b)", ["i ON t (a) WHERE b", "j ON t (a)"], []),
        ("t (a, b)", ["i ON t (a) WHERE b", "j ON t (a) where B"], ["index j of t does nothing that i does not"]),
        ("t (a, b)", ["i ON t (lower(a))", "j ON t (upper(a))"], []),
        ("t (a UNIQUE, b)", ["i ON t (a)"], ["index i of t does nothing that sqlite_autoindex_t_1 does not"]),
        ("t (a UNIQUE, b)", ["i ON t (a, b)"], []),
    ],
)
def test_an_index_that_another_makes_needless_is_noted(table, indexes, needless):
    found = _linted([f"CREATE TABLE {table}"], [f"CREATE TABLE {table}", *(f"CREATE INDEX {i}" for i in indexes)], ())
    assert [message for _, code, message, _ in found if code == "needless_index"] == needless


@pytest.mark.parametrize(
    ("indexes", "needless"),
    [
        (["UNIQUE INDEX i ON t (c)"], ["i"]),
        (["UNIQUE INDEX i ON t (a)", "INDEX j ON t (a)"], ["j"]),
        (["UNIQUE INDEX i ON t (a)", "UNIQUE INDEX j ON t (a)"], ["j"]),
        (["UNIQUE INDEX i ON t (a)", "INDEX j ON t (a, b)"], []),
        (["UNIQUE INDEX i ON t (a)", "UNIQUE INDEX j ON t (b, a)"], []),
    ],
)
def test_a_unique_index_is_needless_only_where_another_refuses_the_same(indexes, needless):
    table = "CREATE TABLE t (a, b, c UNIQUE)"
    found = _linted([table], [table, *(f"CREATE {index}" for index in indexes)], ())
    assert [message.split()[1] for _, code, message, _ in found if code == "needless_index"] == needless


def test_autoincrement_that_is_lost_is_a_warning():
    made = "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, a TEXT, b TEXT)"
    assert [found[:2] for found in _linted([made], [T])] == [("warning", "autoincrement_lost")]
    assert _linted([T], [made]) == []


@pytest.mark.parametrize(("us_per_row", "expected"), [(100.0, []), (101.0, ["online"])])
def test_a_lock_longer_than_allowed_is_predicted_from_the_rows(us_per_row, expected):
    rows = ("INSERT INTO t WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100) SELECT i, i, i FROM n",)
    found = _linted([T], [_table("a TEXT, b TEXT, c")], rows, max_lock_ms=10.0, us_per_row=us_per_row)
    assert [code for _, code, _, _ in found] == expected
    assert [count for _, _, _, count in found] == [100][: len(expected)]


@pytest.mark.parametrize(
    ("values", "index", "why"),
    [
        ({"a": "(SELECT max(a) FROM {rows})"}, "", "a value of t depends on other rows"),
        ({}, "CREATE UNIQUE INDEX i ON t (a) WHERE b > 'x'", "unique index i of t has a condition or an expression"),
    ],
)
def test_a_long_lock_that_cannot_be_had_online_is_a_warning(values, index, why):
    change = Change("t", T, _table("a TEXT, b TEXT, c"), values=values)
    with closing(database(T, index, *ROWS)) as connection:
        (found,) = _said(connection, migration(change), max_lock_ms=0.01)
    assert (found[:2], why in found[2]) == (("warning", "long_lock"), True)


def test_a_table_that_an_earlier_pending_migration_changes_is_said_not_to_be_looked_at():
    first = migration(Change("t", T, _table("a TEXT, b TEXT, c")))
    second = migration(Change("t", _table("a TEXT, b TEXT, c"), _table("a TEXT NOT NULL, b TEXT, c")), version=2)
    with closing(database(T, *ROWS)) as connection:
        state = state_of(connection, [first])
        both = make_plan([first, second], state, {1: Answers(), 2: Answers()})
        alone = make_plan([second], make_plan([first], state, {1: Answers()}).after, {2: Answers()})
        cleaned = migration(Change("t", values={"a": "trim(a)"}))
        third = migration(Change("t", T, _table("a TEXT NOT NULL, b TEXT")), version=2)
        again = make_plan([cleaned, third], state, {1: Answers(), 2: Answers()})
        for plan in (both, alone, again):
            found = lint(connection, plan, state)
            assert [(each.severity, each.code) for each in found] == [("warning", "not_looked_at")]


def test_lint_writes_no_byte_and_leaves_nothing_behind(database):
    path = database
    run_sql(path, T, *ROWS, "PRAGMA wal_checkpoint(TRUNCATE)")
    made = generated([T], [_table("a INTEGER UNIQUE, b TEXT CHECK (b <> 'x') REFERENCES t (a)")]).migration
    before = stored(path)
    with opened(path, read_only=True) as connection:
        assert {code for _, code, _, _ in _said(connection, made)} >= {"check", "orphans"}
        assert connection.execute("SELECT name FROM sqlite_temp_master").fetchall() == []
        assert stored(path) == before
    assert stored(path) == before


def test_a_look_that_is_cut_short_leaves_no_temporary_table_either():
    shots = [1]
    with closing(database(T, *ROWS)) as connection:
        made = generated([T], [_table("a TEXT UNIQUE, b TEXT")]).migration

        def interrupt(sql):
            if sql.startswith("INSERT INTO temp."):
                connection.set_progress_handler(lambda: shots.pop() if shots else 0, 1)

        connection.set_trace_callback(interrupt)
        with pytest.raises(sqlite3.OperationalError, match="interrupted"):
            _said(connection, made)
        assert connection.execute("SELECT name FROM sqlite_temp_master").fetchall() == []


def test_what_reads_a_column_that_goes_would_fail():
    around = (
        "CREATE VIEW v AS SELECT b FROM t",
        "CREATE VIEW other AS SELECT a FROM t",
        "CREATE VIEW broken AS SELECT x FROM t",
        "CREATE TABLE u (x)",
        "CREATE TRIGGER tr AFTER INSERT ON u BEGIN UPDATE t SET b = new.x; END",
    )
    before, after = [_table("a TEXT, b TEXT"), *around], [_table("a TEXT"), *around]
    assert _linted(before, after, ()) == [
        ("error", "breaks", "the migration breaks trigger tr (no such column: b)", 1),
        ("error", "breaks", "the migration breaks view v (no such column: b)", 1),
    ]


def test_a_table_whose_parent_goes_would_fail():
    child = "CREATE TABLE c (p UNIQUE REFERENCES p (id))"
    found = _linted([P, child], [child], ())
    assert found[0] == (
        "error",
        "breaks",
        "the migration breaks table c (its foreign key leads to p, which is gone)",
        1,
    )
    assert [code for _, code, _, _ in found[1:]] == ["foreign_key_to_no_key"]
    assert _linted([P, child], ["CREATE TABLE c (p UNIQUE)"], ()) == []


def test_a_computed_column_that_is_required_is_held_against_the_rows():
    after = [_table("a TEXT, b TEXT NOT NULL AS (nullif(a, '')) STORED")]
    rows = ("INSERT INTO t VALUES (1, 'x'), (2, ''), (3, NULL)",)
    assert _linted([_table("a TEXT")], after, rows) == [("error", "not_null", "2 rows of t do not fit b NOT NULL", 2)]
