"""Statements of a source compiled against a schema: what is a fault, what is a doubt, and where each stands."""

import sqlite3

import pytest

from migrator.source.check import check_source
from tests.unit.source_trees import checked, schema, write

TABLES = (
    "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, mail TEXT UNIQUE)",
    "CREATE TABLE posts (id INTEGER PRIMARY KEY, author INTEGER REFERENCES users(id), body TEXT)",
    "CREATE VIEW authors AS SELECT DISTINCT author FROM posts",
)


def run(folder, sql, parameters="c, x, y"):
    """One statement, written as Python writes it, in a function with some parameters."""
    return checked(folder, f"def f({parameters}): c.execute({sql})", *TABLES)


def messages(check):
    return [f.message for f in check.findings]


@pytest.mark.parametrize(
    "sql",
    [
        "'SELECT name FROM users WHERE id = ?'",
        "'SELECT name FROM users WHERE id = :id AND mail = @mail AND name = $name AND id < ?1'",
        "'INSERT INTO users (name, mail) VALUES (?, ?) ON CONFLICT (mail) DO UPDATE SET name = excluded.name'",
        "'INSERT INTO users (name) VALUES (?) RETURNING id'",
        "'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n'",
        "'SELECT u.name, count(*) OVER (PARTITION BY p.author) FROM users u JOIN posts p ON p.author = u.id'",
        "'SELECT author FROM authors'",
        "'SELECT name FROM sqlite_master'",
        "'SELECT value FROM json_each(?)'",
        "'SELECT rowid, _rowid_ FROM users'",
        "'EXPLAIN QUERY PLAN SELECT name FROM users'",
        "'VACUUM'",
        "'SAVEPOINT s'",
        "'ANALYZE users'",
        "'REINDEX users'",
        "'DROP TABLE IF EXISTS absent'",
        "'CREATE TEMP TABLE chosen AS SELECT id FROM users'",
        "'ALTER TABLE users ADD COLUMN age INTEGER'",
        '''"SELECT name FROM users WHERE mail = 'nobody' OR name LIKE '%s'"''',
        "f'SELECT name FROM users WHERE id IN ({x})'",
        "f'SELECT name FROM users WHERE {x}'",
        "f'SELECT name FROM users {x}'",
        "f'SELECT name FROM users {x} {y}'",
        "f'SELECT {x} FROM users'",
        "f'SELECT name, {x} FROM users ORDER BY {y} DESC'",
        "f'SELECT name FROM users ORDER BY name {x} LIMIT {y}'",
        "f'SELECT count(*) FROM {x}'",
        "f'SELECT body FROM {x} WHERE author = 1'",
        "f'SELECT count(*) FROM \\\"{x}\\\"'",
        "f'UPDATE users SET {x} WHERE id = ?'",
        "f'UPDATE users SET {x} = ? WHERE id = ?'",
        "f'UPDATE {x} SET {y} = ?'",
        "f'INSERT INTO users ({x}) VALUES ({y})'",
        "f'INSERT INTO users ({x}) VALUES (?, ?, ?)'",
        "f'INSERT INTO users (id, name, mail) VALUES ({x})'",
        "f'INSERT INTO users (id, name, mail) VALUES {x}'",
        "f'INSERT INTO users (id, name, mail) VALUES (?, {x})'",
        "f'INSERT INTO {x} ({y}) VALUES (1)'",
        "f'INSERT OR {x} INTO users (name) VALUES (1)'",
        "f'DELETE FROM {x} WHERE id = ?'",
        "f'SELECT u.{x} FROM users u'",
        "f'SELECT name FROM users WHERE name LIKE \\'%{x}%\\''",
        "f'SELECT name FROM users WHERE id {x} ?'",
        "f'CREATE TABLE IF NOT EXISTS {x} (id INTEGER PRIMARY KEY)'",
        "f'CREATE INDEX IF NOT EXISTS idx_{x} ON users (name)'",
        "f'DROP TABLE {x}'",
    ],
)
def test_no_alarm_for_what_fits(tmp_path, sql):
    check = run(tmp_path, sql)
    assert (messages(check), check.not_checked) == ([], ())
    assert check.compiled + check.assumed == check.statements > 0


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("'SELECT nme FROM users'", "no such column: nme"),
        ("'SELECT u.nme FROM users u'", "no such column: u.nme"),
        ("'SELECT v.name FROM users u'", "no such column: v.name"),
        ("'SELECT name FROM user'", "no such table: user"),
        ("'SELECT name FROM main.user'", "no such table: main.user"),
        ("'INSERT INTO users (nme) VALUES (?)'", "table users has no column named nme"),
        ("'INSERT INTO users (name, mail) VALUES (?)'", "1 values for 2 columns"),
        ("'UPDATE users SET nme = ?'", "no such column: nme"),
        ("'DELETE FROM posts WHERE nme = 1'", "no such column: nme"),
        ("'SELECT name FROM users, authors, posts WHERE id = 1'", "ambiguous column name: id"),
        ("'SELECT name FROM users WHERE'", "incomplete input"),
        ("'SELECT name users FROM WHERE'", 'near "WHERE": syntax error'),
        ("'SELECT id FROM users UNION SELECT id, body FROM posts'",
         "SELECTs to the left and right of UNION do not have the same number of result columns"),
        ("'INSERT INTO authors (author) VALUES (1)'", "cannot modify authors because it is a view"),
        ("'DROP TABLE absent'", "no such table: absent"),
        ("'CREATE INDEX i ON users (nme)'", "no such column: nme"),
        ("'SELECT name FROM users; SELECT 1'", "You can only execute one statement at a time."),
        ("'SELECT \\0'", "the query contains a null character"),
        ("'SELECT name FROM users WHERE nme = %s'", "no such column: nme"),
        ("f'SELECT nme FROM users WHERE id IN ({x})'", "no such column: nme"),
        ("f'SELECT u.nme FROM users u {x}'", "no such column: u.nme"),
        ("f'SELECT name FROM user {x}'", "no such table: user"),
        ("f'SELECT name FROM users WHERE {x} AND nme = 1'", "no such column: nme"),
        ("f'UPDATE users SET {x} WHERE nme = 1'", "no such column: nme"),
        ("f'INSERT INTO users (nme) VALUES ({x})'", "table users has no column named nme"),
        ("f'SELECT name FROM users WHERE nme = 1 ORDER BY {x}'", "no such column: nme"),
    ],
)  # fmt: skip
def test_a_fault_is_told_in_sqlites_words(tmp_path, sql, message):
    check = run(tmp_path, sql)
    assert messages(check) == [message]
    assert check.findings[0].level == "error"
    assert check.findings[0].sides in (("now",), ())
    assert check.not_checked == ()


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("'FETCH name FROM users'", "no SQL statement begins with 'FETCH name'"),
        ("f'{x} name FROM users'", "it begins with what only a run knows"),
        ("'SELECT near(name) FROM users'", "no such function: near; the application may register it"),
        ("'SELECT name FROM users ORDER BY name COLLATE german'",
         "no such collation sequence: german; the application may register it"),
        ("'SELECT name FROM other.users'", "no such table: other.users; it is not part of the application's schema"),
        ("'SELECT name FROM kept'", "no such table: kept; it is not part of the application's schema"),
        ("'SELECT * FROM sqlite_stat1'", "no such table: sqlite_stat1; it is not part of the application's schema"),
        ("'ALTER TABLE users ADD COLUMN mail'",
         "duplicate column name: mail; whether the code expects that is not to be seen"),
        ("'CREATE INDEX users ON posts (body)'",
         "there is already a table named users; whether the code expects that is not to be seen"),
        ("'UPDATE sqlite_master SET sql = 1'",
         "table sqlite_master may not be modified, unless writable_schema is on"),
        ("'SELECT name FROM users WHERE id = %s'",
         "%s is a placeholder of other databases; it compiles with ? instead"),
        ("f'SELECT nme FROM users {x}'", "no such column: nme, unless {x} brings it in"),
        ("f'SELECT r.nme FROM users u {x}'", "no such column: r.nme, unless {x} brings it in"),
        ("f'SELECT body FROM users u {x}'", "no such column: body, unless {x} brings it in"),
        ("f'SELECT {x} FROM users ORDER BY score'", "no such column: score, unless {x} brings it in"),
        ("f'SELECT nme FROM {x}'", "no such column: nme, whatever the table, unless {x} brings it in"),
        ("f'SELECT name FROM users WHERE ( {x}'", "it compiles with nothing that was tried for {x}"),
    ],
)  # fmt: skip
def test_a_doubt_is_neither_a_fault_nor_passed(tmp_path, sql, why):
    write(tmp_path, {"app.py": f"def f(c, x, y): c.execute({sql})"})
    check = check_source(tmp_path, schema(*TABLES), own_tables={"KEPT"})
    assert messages(check) == []
    assert [n.why for n in check.not_checked] == [why]
    assert check.compiled == 0


def test_all_names_that_a_statement_misses_are_told(tmp_path):
    check = run(tmp_path, "'INSERT INTO users (id, nme, mail, age, kind) SELECT u.a, u.name, 1, b, u.b FROM users u'")
    assert messages(check) == [
        "table users has no column named nme",
        "table users has no column named age",
        "table users has no column named kind",
        "no such column: u.a",
        "no such column: b",
    ]


def test_a_fault_on_one_side_is_told_apart_from_one_on_both(tmp_path):
    now = schema("CREATE TABLE t (a, old)")
    planned = schema("CREATE TABLE t (a, new)")
    write(tmp_path, {"app.py": "\n".join(f"c.execute('SELECT {name} FROM t')" for name in ("a", "old", "new", "none"))})
    assert [str(f) for f in check_source(tmp_path, now, planned).findings] == [
        "app.py:2: no such column: old (after): SELECT old FROM t",
        "app.py:3: no such column: new (before): SELECT new FROM t",
        "app.py:4: no such column: none (before and after): SELECT none FROM t",
    ]
    assert [str(f) for f in check_source(tmp_path, planned).findings] == [
        "app.py:2: no such column: old (now): SELECT old FROM t",
        "app.py:4: no such column: none (now): SELECT none FROM t",
    ]


def test_a_name_in_double_quotes_that_is_a_column_on_one_side_only_is_a_fault(tmp_path):
    now, planned = schema("CREATE TABLE t (a)"), schema("CREATE TABLE t (a, new)")
    write(tmp_path, {"app.py": """c.execute('SELECT "new", "a", "some text" FROM t')"""})
    (finding,) = check_source(tmp_path, now, planned).findings
    assert (finding.code, finding.sides) == ("name-read-as-text", ("before",))
    assert finding.message == "no such column: new, and it is read as a string"
    assert check_source(tmp_path, now).findings == ()


def test_values_by_position_are_a_warning(tmp_path):
    check = run(tmp_path, "'INSERT INTO posts VALUES (?, ?, ?)'")
    assert [(f.code, f.level, f.sides) for f in check.findings] == [("insert-by-position", "warning", ())]
    for sql in ("INSERT INTO posts DEFAULT VALUES", "INSERT INTO posts (id) VALUES (1)", "SELECT 1"):
        assert run(tmp_path, repr(sql)).findings == ()
    for sql in ("REPLACE INTO main.posts AS p SELECT 1, 2, 3", "INSERT OR IGNORE INTO posts VALUES (1, 2, 3)"):
        assert [f.code for f in run(tmp_path, repr(sql)).findings] == ["insert-by-position"]


def test_a_table_that_the_source_makes_itself_is_there(tmp_path):
    source = """
c.execute("CREATE TABLE IF NOT EXISTS cache (key TEXT PRIMARY KEY, value)")
c.execute("CREATE TABLE IF NOT EXISTS users (id, another)")
c.execute("CREATE VIEW IF NOT EXISTS keys AS SELECT key FROM cache")
c.execute("SELECT key FROM keys")
c.execute("INSERT INTO cache (key, value) VALUES (1, 2) ON CONFLICT (key) DO NOTHING")
c.execute("SELECT val FROM cache")
c.execute("SELECT another FROM users")
c.execute("CREATE VIRTUAL TABLE words USING fts5(word)")
c.execute("SELECT word FROM words WHERE words MATCH ?")
c.execute("CREATE VIRTUAL TABLE near USING vec0(embedding)")
c.execute("SELECT embedding FROM near")
"""
    check = checked(tmp_path, source, *TABLES)
    assert [(f.place.line, f.message) for f in check.errors] == [
        (7, "no such column: val"),
        (8, "no such column: another"),
    ]
    assert [(n.place.line, n.why) for n in check.not_checked] == [
        (12, "no such table: near; it could not be made here (no such module: vec0)")
    ]


def test_of_a_table_that_the_source_makes_or_alters_at_run_time_nothing_is_said(tmp_path):
    source = """
def f(c, columns):
    c.execute(f"CREATE TABLE chosen ({columns})")
    c.execute("CREATE TABLE grown (a)")
    c.execute(f"ALTER TABLE grown ADD COLUMN {columns}")
    c.execute("SELECT x FROM chosen")
    c.execute("SELECT b FROM grown")
"""
    check = checked(tmp_path, source)
    assert check.findings == ()
    reason = "it could not be made here (the source builds or alters it while it runs)"
    assert [(n.place.line, n.why) for n in check.not_checked] == [
        (5, f"no such table: grown; {reason}"),
        (6, f"no such table: chosen; {reason}"),
        (7, f"no such table: grown; {reason}"),
    ]


def test_a_table_that_the_source_renames_is_in_doubt_under_its_new_name(tmp_path):
    source = """
c.execute("ALTER TABLE users RENAME TO users_old")
c.execute("INSERT INTO posts (author) SELECT id FROM users_old")
"""
    check = checked(tmp_path, source, *TABLES)
    assert check.findings == ()
    reason = "it could not be made here (the source builds or alters it while it runs)"
    assert [(n.place.line, n.why) for n in check.not_checked] == [(3, f"no such table: users_old; {reason}")]


def test_what_nobody_makes_cannot_be_altered(tmp_path):
    source = "c.execute('ALTER TABLE user ADD COLUMN age INTEGER')\nc.execute('SELECT age FROM user')"
    check = checked(tmp_path, source, *TABLES)
    assert [(f.place.line, f.message) for f in check.errors] == [(1, "no such table: user"), (2, "no such table: user")]
    assert check.not_checked == ()


@pytest.mark.parametrize(
    ("sql", "right", "wrong", "message"),
    [
        ("CREATE VIEW IF NOT EXISTS names AS SELECT {} FROM users", "name", "nme", "no such column: nme"),
        ("CREATE TEMP VIEW names(n) AS WITH u AS (SELECT name FROM users) SELECT {} FROM u", "name", "nme",
         "no such column: nme"),
        ("CREATE TRIGGER g AFTER UPDATE OF name ON users BEGIN UPDATE posts SET {} = NEW.name; END", "body", "text",
         "no such column: text"),
        ("CREATE TRIGGER g BEFORE INSERT ON main.users WHEN NEW.{} > 1 BEGIN SELECT 1; END", "name", "nme",
         "no such column: NEW.nme"),
        ("CREATE TRIGGER g AFTER DELETE ON users BEGIN SELECT 1; DELETE FROM {}; END", "posts", "post",
         "no such table: main.post"),
        ("CREATE TRIGGER g INSTEAD OF DELETE ON authors BEGIN DELETE FROM posts WHERE author = OLD.{}; END", "author",
         "name", "no such column: OLD.name"),
    ],
)  # fmt: skip
def test_what_sqlite_looks_into_only_when_it_is_used_is_looked_into(tmp_path, sql, right, wrong, message):
    assert messages(run(tmp_path, repr(sql.format(wrong)))) == [message]
    check = run(tmp_path, repr(sql.format(right)))
    assert (messages(check), check.not_checked, check.compiled) == ([], (), 1)


def test_a_trigger_is_compiled_alone(tmp_path):
    """Whatever the source makes before."""
    source = """
c.execute("CREATE TRIGGER g AFTER DELETE ON users BEGIN DELETE FROM post; END")
c.execute("CREATE TRIGGER h AFTER DELETE ON users BEGIN DELETE FROM posts; END")
c.execute("DELETE FROM users")
"""
    assert [f.place.line for f in checked(tmp_path, source, *TABLES).findings] == [2]


def test_what_stands_in_for_a_missing_name_is_not_missed(tmp_path):
    assert messages(run(tmp_path, "'ALTER TABLE users DROP COLUMN nme'")) == ['no such column: "nme"']
    bare = "CREATE TABLE bare (key TEXT PRIMARY KEY) WITHOUT ROWID"
    assert messages(checked(tmp_path, "c.execute('UPDATE bare SET ky = 1')", bare)) == ["no such column: ky"]


def test_a_column_that_only_an_alter_of_the_source_adds_is_a_fault_that_says_so(tmp_path):
    source = "c.execute('ALTER TABLE users ADD COLUMN age INTEGER')\nc.execute('SELECT age FROM users')"
    assert messages(checked(tmp_path, source, *TABLES)) == [
        "no such column: age; only app.py:1 adds it, with ALTER TABLE"
    ]


def test_a_column_for_which_the_code_looks_first_is_no_fault(tmp_path):
    source = """
def has(c, table, column):
    return column in [row[1] for row in c.execute(f"PRAGMA table_info({table})")]
def f(c):
    if has(c, "users", "age"):
        c.execute("SELECT age FROM users")
    found = has(c, "users", "size")
    if not found:
        c.execute("SELECT size, nme FROM users")
    names = {row[1] for row in c.execute("PRAGMA table_info(users)")}
    c.execute(f"SELECT {'kind' if 'kind' in names else 'name'} FROM users")
    c.execute("SELECT kind FROM users")
def g(c, filters):
    if "age" in filters:
        c.execute("SELECT age FROM users")
"""
    check = checked(tmp_path, source, *TABLES)
    assert [(f.place.line, f.message) for f in check.findings] == [
        (9, "no such column: nme"),
        (12, "no such column: kind"),
        (15, "no such column: age"),
    ]
    assert [n.place.line for n in check.not_checked] == [6, 11]


def test_a_table_for_which_the_code_looks_first_is_no_fault(tmp_path):
    source = """
def f(c):
    c.execute("SELECT a FROM extra")
    c.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'extra'")
    if c.fetchone():
        c.execute("SELECT a FROM extra")
        c.execute("SELECT a FROM other")
    if c.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", ("Other",)).fetchone():
        c.execute("SELECT a FROM other")
    if c.execute("SELECT 1 FROM users WHERE name = 'third' OR mail = ?", ("third",)).fetchone():
        c.execute("SELECT a FROM third")
"""
    check = checked(tmp_path, source, *TABLES)
    assert [(f.place.line, f.message) for f in check.findings] == [
        (3, "no such table: extra"),
        (7, "no such table: other"),
        (11, "no such table: third"),
    ]
    assert [n.place.line for n in check.not_checked] == [6, 9]


def test_a_statement_that_cannot_be_read_is_a_doubt_where_the_call_has_others(tmp_path):
    source = """
def f(c, words, more):
    sql = "SELECT name FROM users WHERE"
    for word in words:
        sql += " name = ? OR"
    if more:
        sql += " 1"
    c.execute(sql)
def g(c, x):
    sql = "SELECT name FROM users"
    sql += " WERE id = 1" if x else " WERE id = 2"
    c.execute(sql)
"""
    check = checked(tmp_path, source, *TABLES)
    assert [(f.place.line, f.message) for f in check.findings] == [(10, 'near "id": syntax error')]
    assert [n.place.line for n in check.not_checked] == []


def test_a_beginning_of_a_statement_is_a_doubt_where_the_same_call_also_runs_a_whole_one(tmp_path):
    source = """
def f(c, more):
    sql = "SELECT name FROM users WHERE"
    if more:
        sql += " id = 1"
    c.execute(sql)
def g(c):
    c.execute("SELECT name FROM users WHERE")
"""
    check = checked(tmp_path, source, *TABLES)
    why = "incomplete input; there are other ways to build it, so perhaps this one never happens"
    assert [(n.place.line, n.why) for n in check.not_checked] == [(3, why)]
    assert [(f.place.line, f.message) for f in check.findings] == [(8, "incomplete input")]


def test_a_fault_points_to_the_name(tmp_path):
    source = "Q = 'SELECT name, ' 'größe, x ' \\\n    'FROM users '\nW = '''\n  WHERE nme = ?\n'''\nc.execute(Q + W)"
    found = {f.message: f for f in checked(tmp_path, source, *TABLES).findings}
    places = {m.rpartition(" ")[2]: (f.place.line, f.place.column, f.end_column) for m, f in found.items()}
    assert places == {"größe": (1, 22, 27), "x": (1, 29, 30), "nme": (4, 9, 12)}
    assert {f.run_at[0].line for f in found.values()} == {6}


def test_a_script_points_to_each_of_its_faults(tmp_path):
    source = 'c.executescript("""\nSELECT name FROM users;\nSELECT nme\nFROM users;\nSELECT nme FROM posts;\n""")'
    assert [f.place.line for f in checked(tmp_path, source, *TABLES).findings] == [3, 5]


def test_triggers_of_the_database_are_compiled_with_the_statement(tmp_path):
    trigger = "CREATE TRIGGER g AFTER INSERT ON users BEGIN INSERT INTO log (name) VALUES (new.name); END"
    check = checked(tmp_path, "c.execute('INSERT INTO users (name) VALUES (1)')", *TABLES, trigger)
    assert messages(check) == ["no such table: main.log"]


def test_nothing_of_the_source_is_carried_out(tmp_path):
    victim = tmp_path / "victim.db"
    with sqlite3.connect(victim) as connection:
        connection.execute("CREATE TABLE t (a)")
    connection.close()
    before = victim.read_bytes()
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
    source = f"""
c.execute("ATTACH '{victim}' AS victim")
c.execute("DROP TABLE victim.t")
c.execute("VACUUM INTO '{tmp_path / "copy.db"}'")
c.execute("PRAGMA hard_heap_limit = 1000")
c.execute("SELECT load_extension('x')")
c.execute("CREATE TABLE all_of_them AS {endless}")
c.execute("SELECT i FROM all_of_them")
"""
    check = checked(tmp_path / "app", source)
    assert victim.read_bytes() == before
    assert not (tmp_path / "copy.db").exists()
    assert check.unconcerned == 2
    with sqlite3.connect(":memory:") as connection:
        assert connection.execute("PRAGMA hard_heap_limit").fetchone() == (0,)
    connection.close()


def test_a_table_that_only_a_run_knows_is_no_proof_and_counted_by_itself(tmp_path):
    check = run(tmp_path, 'f"SELECT name FROM {table}"')
    assert (check.statements, check.compiled, check.assumed, check.findings, check.not_checked) == (1, 0, 1, (), ())
    check = run(tmp_path, 'f"SELECT {column} FROM users"')
    assert (check.compiled, check.assumed) == (1, 0)


def test_a_table_with_json_in_it_is_checked_too(tmp_path):
    tables = (
        "CREATE TABLE t (j TEXT CHECK (json_valid(j)), a AS (json_extract(j, '$.a')))",
        "CREATE INDEX i ON t (json_extract(j, '$.a'))",
        "CREATE VIEW v AS SELECT j ->> '$.b' AS b FROM t",
    )
    check = checked(tmp_path, "def f(c):\n  c.execute('SELECT a, x FROM t')\n  c.execute('SELECT b FROM v')", *tables)
    assert (check.compiled, messages(check), check.not_checked) == (1, ["no such column: x"], ())
