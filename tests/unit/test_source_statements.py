"""What SQL a source file runs, for every way in which Python builds text; what nobody can know is said."""

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import dedent

import pytest

from migrator.errors import RefusedError
from migrator.source.statements import find_statements
from migrator.source.tree import LARGEST_FILE_BYTES
from tests.unit.source_trees import found, texts, write

SHAPES = {
    "a constant": ("c.execute('SELECT a FROM t')", ["SELECT a FROM t"]),
    "strings side by side": ("c.execute('SELECT a ' 'FROM t')", ["SELECT a FROM t"]),
    "a sum": ("c.execute('SELECT a ' + 'FROM ' + 't')", ["SELECT a FROM t"]),
    "percent": ("c.execute('SELECT %s WHERE n = %d %%' % ('a', 3))", ["SELECT a WHERE n = 3 %"]),
    "percent by name": ("c.execute('SELECT a FROM %(x)s' % {'x': 't'})", ["SELECT a FROM t"]),
    "format": ("c.execute('SELECT {} FROM {x} WHERE {0}'.format('a', x='t'))", ["SELECT a FROM t WHERE a"]),
    "an f-string": ("T = 't'\nc.execute(f'SELECT a FROM {T} LIMIT {10}')", ["SELECT a FROM t LIMIT 10"]),
    "join": ("c.execute(' '.join(['SELECT', ', '.join(('a', 'b')), 'FROM t']))", ["SELECT a, b FROM t"]),
    "join of a comprehension": ("c.execute('SELECT ' + ', '.join(f'{n}.x' for n in ('a', 'b')))", ["SELECT a.x, b.x"]),
    "times": ("c.execute('SELECT ' + ', '.join(['?'] * 3) + ', ?' * 2)", ["SELECT ?, ?, ?, ?, ?"]),
    "replace": ("c.execute('SELECT a FROM @t'.replace('@t', 't'))", ["SELECT a FROM t"]),
    "strip": ("c.execute('SELECT a FROM t,'.rstrip(','))", ["SELECT a FROM t"]),
    "a slice": ("c.execute('SELECT a FROM t,'[:-1])", ["SELECT a FROM t"]),
    "dedent": ("import textwrap\nc.execute(textwrap.dedent('''\n  SELECT a\n  FROM t'''))", ["SELECT a FROM t"]),
    "comments inside": ("c.execute('''SELECT a -- not b\n/* nor c */ FROM t''')", ["SELECT a FROM t"]),
    "a constant of the module": ("Q = 'SELECT a FROM t'\ndef f(c): c.execute(Q)", ["SELECT a FROM t"]),
    "a constant of a class": ("class A:\n  Q = 'SELECT a'\n  def f(self, c): c.execute(self.Q)", ["SELECT a"]),
    "an attribute set once": (
        "class A:\n  def __init__(self): self.t = 't'\n  def f(self, c): c.execute('SELECT a FROM ' + self.t)",
        ["SELECT a FROM t"],
    ),
    "of a base class": (
        "class A:\n  Q = 'SELECT a FROM t'\nclass B(A):\n  def f(self, c): c.execute(self.Q)",
        ["SELECT a FROM t"],
    ),
    "of a class below": (
        "class A:\n  T = 't'\n  N = 'a'\n  def f(self, c): c.execute(f'SELECT {self.N} FROM {self.T}')\n"
        "class B(A):\n  T = 'u'\n"
        "class C(B):\n  N = 'c'\n  @classmethod\n  def g(cls, c): c.execute(f'DROP TABLE {cls.T}')\n"
        "class D(C):\n  T = 'v'\nclass E(A):\n  T = 'w'\n  def f(self, c): pass",
        [
            "DROP TABLE u", "DROP TABLE v",
            "SELECT a FROM t", "SELECT a FROM u", "SELECT c FROM u", "SELECT c FROM v",
        ],
    ),
    "a property": (
        "class A:\n  @property\n  def q(self): return 'SELECT a FROM t'\n  def f(self, c): c.execute(self.q)",
        ["SELECT a FROM t"],
    ),
    "an enum": ("class T(Enum):\n  A = 't'\ndef f(c): c.execute(f'SELECT a FROM {T.A.value}')", ["SELECT a FROM t"]),
    "a local": ("def f(c):\n  q = 'SELECT a FROM t'\n  c.execute(q)", ["SELECT a FROM t"]),
    "two names at once": ("def f(c):\n  a, b = 'SELECT ', 'x'\n  c.execute(a + b)", ["SELECT x"]),
    "a walrus": ("def f(c):\n  c.execute((q := 'SELECT a FROM t'))\n  c.execute(q + ' LIMIT 1')",
                 ["SELECT a FROM t", "SELECT a FROM t LIMIT 1"]),
    "a walrus in a test": ("def f(c):\n  if (q := 'SELECT 1'): c.execute(q)", ["SELECT 1"]),
    "branches": ("def f(c, x):\n  q = 'SELECT a FROM t'\n  if x: q += ' WHERE a = ?'\n  c.execute(q)",
                 ["SELECT a FROM t", "SELECT a FROM t WHERE a = ?"]),
    "the same test twice": (
        "def f(c, x):\n  q = 'SELECT a'\n  if x: q += ', b'\n  if not x: q += ', c'\n  c.execute(q)",
        ["SELECT a, b", "SELECT a, c"],
    ),
    "a list of conditions": (
        "def f(c, x, y):\n  w = []\n  if x: w.append('x = ?')\n  if y: w.append('y = ?')\n"
        "  q = 'SELECT a FROM t'\n  if w: q += ' WHERE ' + ' AND '.join(w)\n  c.execute(q)",
        ["SELECT a FROM t", "SELECT a FROM t WHERE x = ?", "SELECT a FROM t WHERE x = ? AND y = ?",
         "SELECT a FROM t WHERE y = ?"],
    ),
    "either or in an expression": ("def f(c, x): c.execute('SELECT ' + ('a' if x else 'b'))", ["SELECT a", "SELECT b"]),
    "match": (
        "def f(c, k):\n  match k:\n    case 1: q = 'SELECT a'\n    case _: q = 'SELECT b'\n  c.execute(q)",
        ["SELECT a", "SELECT b"],
    ),
    "try": (
        "def f(c):\n  try: q = 'SELECT a'\n  except E: q = 'SELECT b'\n  finally: c.execute('COMMIT')\n  c.execute(q)",
        ["COMMIT", "SELECT a", "SELECT b"],
    ),
    "a loop over constants": ("for q in ('SELECT a', 'SELECT b'): c.execute(q)", ["SELECT a", "SELECT b"]),
    "a loop over a dict": ("for n, q in {'x': 1}.items(): pass\nfor q in {'x': 'SELECT a'}.values(): c.execute(q)",
                           ["SELECT a"]),
    "a loop that builds": (
        "def f(c, rows):\n  q = 'INSERT INTO t VALUES '\n  for r in rows: q += '(?, ?),'\n  c.execute(q[:-1])",
        ["INSERT INTO t VALUES (?, ?)"],
    ),
    "a comprehension": ("[c.execute(q) for q in ('SELECT a', 'SELECT b')]", ["SELECT a", "SELECT b"]),
    "a dict of statements": (
        "Q = {'a': 'SELECT a', 'b': 'SELECT b'}\ndef f(c, k):\n  c.execute(Q['a'])\n  c.execute(Q[k])",
        ["SELECT a", "SELECT b"],
    ),
    "the keys of a dict": (
        "def f(c):\n  d = {'a': 1, 'b': 2}\n  c.execute(f\"INSERT INTO t ({', '.join(d)}) VALUES (1, 2)\", d)\n"
        "  c.execute('UPDATE t SET ' + ', '.join(f'{k} = ?' for k in d.keys()))",
        ["INSERT INTO t (a, b) VALUES (1, 2)", "UPDATE t SET a = ?, b = ?"],
    ),
    "the keys of a dict that a call may change": (
        "def f(c, x):\n  d = {'a': 1}\n  d.update(x)\n  c.execute('SELECT ' + ', '.join(d))",
        ["SELECT {', '.join(d)}"],
    ),
    "a function's text": ("def q(t): return f'SELECT a FROM {t}'\ndef f(c): c.execute(q('t'))", ["SELECT a FROM t"]),
    "a function that runs it": (
        "def run(sql, c, *p):\n  return c.execute(sql + ' LIMIT 1', p)\ndef f(c): run('SELECT a FROM t', c, 1)",
        ["SELECT a FROM t LIMIT 1"],
    ),
    "a method that runs it": (
        "class D:\n  def q(self, sql): self.c.execute(sql)\ndef f(d): d.q('SELECT a FROM t')",
        ["SELECT a FROM t"],
    ),
    "through two functions": (
        "def a(sql, c): c.execute(sql)\ndef b(sql, c): a(sql, c)\ndef f(c): b('SELECT a FROM t', c)",
        ["SELECT a FROM t"],
    ),
    "a generator of statements": (
        "def g():\n  yield 'SELECT a'\n  yield 'SELECT b'\ndef f(c):\n  for q in g(): c.execute(q)",
        ["SELECT a", "SELECT b"],
    ),
    "a default": ("def f(c, t='t'): c.execute(f'SELECT a FROM {t}')", ["SELECT a FROM t", "SELECT a FROM {t}"]),
    "executemany": ("c.executemany('INSERT INTO t VALUES (?)', rows)", ["INSERT INTO t VALUES (?)"]),
    "a script": ("c.executescript('SELECT 1; SELECT \\';\\'; --;\\nSELECT 2')", ["SELECT ';'", "SELECT 1", "SELECT 2"]),
    "a trigger in a script": (
        "c.executescript('CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT 1; SELECT 2; END; SELECT 3')",
        ["CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT 1; SELECT 2; END", "SELECT 3"],
    ),
    "a part of a script": ("for q in 'SELECT a; SELECT b'.split(';'): c.execute(q)", ["SELECT a", "SELECT b"]),
    "chained calls": ("d().cursor().execute('SELECT a FROM t').fetchone()[0]", ["SELECT a FROM t"]),
    "async": ("async def f(c):\n  async with c.execute('SELECT a') as x: pass\n  await c.execute('SELECT b')",
              ["SELECT a", "SELECT b"]),
    "pandas": ("pd.read_sql('SELECT a', c)\npd.read_sql_query(sql='SELECT b', con=c)", ["SELECT a", "SELECT b"]),
    "in another thread": ("asyncio.to_thread(c.execute, 'SELECT a', ())", ["SELECT a"]),
    "a name for the method": ("def f(c):\n  run = c.execute\n  run('SELECT a')", ["SELECT a"]),
    "in a lambda": ("f = lambda c: c.execute('SELECT a')", ["SELECT a"]),
    "a nested function": ("def f(c):\n  t = 't'\n  def g(): c.execute(f'SELECT {t}')\n  return g", ["SELECT t"]),
    "SQLAlchemy's text": ("c.execute(text('SELECT a FROM t WHERE a = :a'))", ["SELECT a FROM t WHERE a = :a"]),
    "values for IN": (
        "def f(c, ids): c.execute(f\"SELECT a FROM t WHERE a IN ({','.join('?' * len(ids))})\")",
        ["SELECT a FROM t WHERE a IN ({','.join('?' * len(ids))})"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_each_way_to_build_a_statement_is_followed(tmp_path, shape):
    source, expected = SHAPES[shape]
    assert texts(tmp_path, source) == expected


def test_the_shapes_are_many():
    assert len(SHAPES) >= 50


def test_constants_are_followed_through_imports(tmp_path):
    app = {
        "db/names.py": "TABLE = 't'\nCOLUMNS = ('a', 'b')\n",
        "db/__init__.py": "from .names import TABLE as T\n",
        "one.py": "from .db import T\nfrom app.db.names import *\ndef f(c): c.execute(f'SELECT {COLUMNS[0]} FROM {T}')",
        "three.py": "from ..app.db import names\ndef f(c): c.execute('DROP TABLE ' + names.TABLE)",
        "two.py": "import app.db.names as n\nfrom app import db\ndef f(c): c.execute('DELETE FROM ' + n.TABLE + db.T)",
    }
    write(tmp_path, {f"app/{name}": text for name, text in app.items()})
    # The folder may be the package itself.
    for folder in (tmp_path, tmp_path / "app"):
        found_texts = [str(s) for s in find_statements(folder).statements]
        assert found_texts == ["SELECT a FROM t", "DROP TABLE t", "DELETE FROM tt"]


def test_files_that_import_each_other_are_read(tmp_path):
    write(
        tmp_path,
        {
            "a.py": "import b\nA = 'SELECT 1'\ndef f(c): c.execute(b.B)",
            "b.py": "import a\nB = 'SELECT 2'\ndef f(c): c.execute(a.A)",
        },
    )
    assert [str(s) for s in find_statements(tmp_path).statements] == ["SELECT 1", "SELECT 2"]


@pytest.mark.parametrize(
    ("source", "shown", "why"),
    [
        ("def f(c): c.execute(make())", "make()", "is what make() returns"),
        ("def f(c, sql): c.execute(sql)", "sql", "is what callers of f() pass"),
        ("def f(c): c.execute(SQL)", "SQL", "is set outside of this source"),
        ("from lib import SQL\ndef f(c): c.execute(SQL)", "SQL", "is imported from outside of this source"),
        ("def f(c, q): c.execute(q.sql)", "q.sql", "is set at run time"),
        ("def f(c): c.execute(open('x.sql').read())", "open('x.sql').read()", "is what read() returns"),
        ("def f(c, p): c.execute(*p)", "*p", "is computed at run time"),
        ("def f(c): c.execute(1)", "its SQL", "is no text"),
        ("Q = 'SELECT 1'\ndef g():\n  global Q\n  Q = h()\ndef f(c): c.execute(Q)", "Q", "is changed by a function"),
        (
            "def f(c):\n  return\n  c.execute('SELECT 1')",
            "its SQL",
            "no way through the code was found that leads there",
        ),
    ],
)
def test_what_cannot_be_known_is_said_with_its_line(tmp_path, source, shown, why):
    line = next(n for n, text in enumerate(source.splitlines(), 1) if ".execute(" in text)
    unknown = found(tmp_path, source).not_checked
    assert [(str(n.place), n.shown, n.why) for n in unknown] == [(f"app.py:{line}", shown, why)]


def test_a_parameter_is_no_gap_where_a_caller_was_followed(tmp_path):
    source = "def run(c, sql): c.execute(sql)\ndef f(c): run(c, 'SELECT 1')"
    assert found(tmp_path, source).not_checked == ()


def test_a_statement_that_several_calls_run_is_one(tmp_path):
    source = "Q = 'SELECT a FROM t'\ndef f(c): c.execute(Q)\ndef g(c): c.execute(Q)"
    (statement,) = found(tmp_path, source).statements
    assert str(statement.place) == "app.py:1"
    assert [str(place) for place in statement.run_at] == ["app.py:2", "app.py:3"]


def test_each_statement_of_a_script_stands_in_its_line(tmp_path):
    source = 'c.executescript("""\n-- first\nSELECT a;\n\nSELECT b\n  FROM t;\n""")'
    assert [str(s.place) for s in found(tmp_path, source).statements] == ["app.py:3", "app.py:5"]


def test_what_looks_like_sql_is_found_where_nobody_runs_it(tmp_path):
    source = "Q = {1: 'SELECT a FROM t', 2: f'DELETE FROM t WHERE {x} = 1', 3: 'Select one from the list'}"
    statements = found(tmp_path, source).statements
    assert sorted(map(str, statements)) == ["DELETE FROM t WHERE {x} = 1", "SELECT a FROM t"]
    assert not any(s.is_run for s in statements)


def test_a_docstring_is_no_sql(tmp_path):
    source = 'def f():\n    """SELECT a FROM t"""\n    "DELETE FROM t WHERE x"\n    return None'
    assert found(tmp_path, source).statements == ()


def test_a_list_that_a_call_may_change_is_not_known_afterwards(tmp_path):
    source = "def f(c, g):\n  w = ['a']\n  g(w)\n  c.execute('SELECT ' + ', '.join(w))"
    assert texts(tmp_path, source) == ["SELECT {', '.join(w)}"]


@pytest.mark.parametrize(
    "source",
    [
        "class B:\n  def __init__(self): self.w = ['SELECT a']\n  def add(self, x): self.w.append(x)\n"
        "  def f(self, c): c.execute(' '.join(self.w))",
        "class B:\n  w = []\n  def f(self, c): c.execute(' '.join(self.w))",
        "class B:\n  def __init__(self): self.w = {'a': 'SELECT a'}\n  def add(self, x): self.w['a'] = x\n"
        "  def f(self, c): c.execute(self.w['a'])",
        "W = ['SELECT a']\ndef add(x): W.append(x)\ndef f(c): c.execute(' '.join(W))",
        "Q = ''\ndef f(c): c.execute(Q)",
    ],
)
def test_what_another_method_or_function_changes_is_never_taken_as_it_begins(tmp_path, source):
    result = found(tmp_path, source)
    assert len(result.not_checked) == 1
    assert {s.is_run for s in result.statements} <= {True}


def test_what_a_function_changes_of_its_own_is_known(tmp_path):
    source = "W = ['a']\ndef g(W): W.append('x')\ndef h():\n  W = []\n  W.append('y')\n"
    assert texts(tmp_path, source + "def f(c): c.execute('SELECT ' + W[0])") == ["SELECT a"]


def test_many_branches_are_cut_short_and_said(tmp_path):
    branches = "".join(f"  if x{i}: q += ' AND c{i} = ?'\n" for i in range(30))
    source = f"def f(c):\n  q = 'SELECT a FROM t WHERE 1'\n{branches}  c.execute(q)"
    result = found(tmp_path, source)
    assert len(result.statements) <= 64
    # Each condition is met in one of them at least.
    assert {i for i in range(30) if any(f"c{i} = ?" in str(s) for s in result.statements)} == set(range(30))
    assert [n.why for n in result.not_checked] == ["there are more than 64 ways to build it"]


def test_a_product_of_choices_is_cut_short_and_said(tmp_path):
    source = "X = {i: str(i) for i in range(9)}\ndef f(c, k):\n  q = 'SELECT '\n"
    source += "  t = ('a', 'b', 'c', 'd', 'e')\n  c.execute(q + t[k] + t[k] + t[k] + t[k] + t[k])"
    result = found(tmp_path, source)
    assert len(result.statements) <= 64
    assert [n.why for n in result.not_checked] == ["there are more than 64 ways to build it"]


@pytest.mark.parametrize(
    "growth",
    [
        "q = q + q",
        "q += q",
        "q = f'{q}{q}'",
        "q = '{0}{0}'.format(q)",
        "q = '%s%s' % (q, q)",
        "q = q.replace('1', q)",
        "q = ','.join([q, q, q])",
        "q = q * 100",
        "w = w + w\n  q = ','.join(w)",
        "w.extend(w)\n  q = ','.join(w)",
        "d = {**d, 'a': q, **d}",
        "q = (q, q)",
    ],
)
def test_a_text_that_doubles_with_each_statement_has_an_end(tmp_path, growth):
    lines = "".join(f"  {growth}\n" for _ in range(60))
    source = f"def f(c):\n  q, w, d = 'SELECT 1', ['1'], {{'a': 1}}\n{lines}  c.execute(q)"
    result = found(tmp_path, source)
    assert len(result.statements) <= 1
    assert len(result.statements) + len(result.not_checked) == 1


def test_a_long_chain_of_calls_is_followed_or_said(tmp_path):
    def chain(length):
        calls = "".join(f"def f{i}(c, q): f{i + 1}(c, q)\n" for i in range(length))
        return found(tmp_path, f"{calls}def f{length}(c, q): c.execute(q)\ndef g(c): f0(c, 'SELECT 1')")

    assert [str(s) for s in chain(9).statements] == ["SELECT 1"]
    result = chain(30)
    assert result.statements == ()
    assert "more than 12 calls lead there" in {n.why for n in result.not_checked}


def test_calls_that_multiply_have_an_end_that_is_said(tmp_path):
    calls = "".join(f"def f{i}(c, q):\n  f{i + 1}(c, q + 'a')\n  f{i + 1}(c, q + 'b')\n" for i in range(11))
    result = found(tmp_path, f"{calls}def f11(c, q): c.execute(q)\ndef g(c): f0(c, 'SELECT ')")
    assert "more than 1,000 calls pass it SQL" in {n.why for n in result.not_checked}


def test_a_text_that_grows_with_every_call_has_an_end(tmp_path):
    source = "def f(c, q):\n  if g(): f(c, q + ' x')\n  c.execute(q)\ndef h(c): f(c, 'SELECT a')"
    assert texts(tmp_path, source) == ["SELECT a"]


def test_a_long_sum_is_followed(tmp_path):
    source = "c.execute('SELECT 1'" + " + ', 1'" * 500 + ")"
    assert texts(tmp_path, source) == ["SELECT 1" + ", 1" * 500]


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (b"def f(:\n", "no Python source"),
        (b"x = '\x00'\n", "no Python source"),
        (b"\xff\xfe\x00\x01", "no Python source"),
        (b"# coding: nonsense\n", "no Python source"),
        (b"x = " + b"(" * 5000 + b")" * 5000, ""),
        (b"x = " + b"-" * 100_000 + b"1", ""),
        (b"#" * (LARGEST_FILE_BYTES + 1), "larger than 2,000,000 bytes"),
    ],
)
def test_a_file_that_is_no_readable_source_is_named_and_the_others_are_read(tmp_path, source, why):
    tmp_path.joinpath("bad.py").write_bytes(source)
    result = found(tmp_path, "c.execute('SELECT 1')")
    assert [str(s) for s in result.statements] == ["SELECT 1"]
    (skipped,) = result.skipped
    assert (skipped.name, skipped.is_fault) == ("bad.py", True)
    assert skipped.why.startswith(why)
    assert [(s.name, s.why, s.is_fault) for s in find_statements(tmp_path, ["bad.py"]).skipped] == [
        ("bad.py", "excluded", False)
    ]


def test_nesting_that_is_too_deep_to_follow_is_said(tmp_path):
    deep = "f(" * 90 + "'x'" + ")" * 90
    body = "".join(f"{'  ' * (i + 1)}if x{i}:\n" for i in range(80)) + "  " * 82 + f"c.execute({deep})\n"
    result = found(tmp_path, f"def g(c):\n{body}")
    assert result.statements == ()
    assert [n.place.file for n in result.not_checked] != []


def test_a_coding_cookie_is_obeyed(tmp_path):
    tmp_path.joinpath("old.py").write_bytes("# coding: latin-1\nc.execute('SELECT größe FROM t')\n".encode("latin-1"))
    tmp_path.joinpath("bom.py").write_bytes(b"\xef\xbb\xbfc.execute('SELECT 1')\r\n")
    assert [str(s) for s in find_statements(tmp_path).statements] == ["SELECT 1", "SELECT größe FROM t"]


def test_what_is_no_source_of_the_application_is_left_out(tmp_path):
    for folder in (".git", "__pycache__", "node_modules", "env", "tests", "pkg/test"):
        write(tmp_path / folder, {"a.py": "c.execute('SELECT 1')"})
    (tmp_path / "env" / "pyvenv.cfg").touch()
    write(tmp_path, {"test_a.py": "", "conftest.py": "", "a_test.py": "", "contest.py": "c.execute('SELECT 2')"})
    result = find_statements(tmp_path)
    assert [str(s) for s in result.statements] == ["SELECT 2"]
    assert sorted((s.name, s.why) for s in result.skipped) == [
        ("a_test.py", "a test"),
        ("conftest.py", "a test"),
        ("pkg/test/", "tests"),
        ("test_a.py", "a test"),
        ("tests/", "tests"),
    ]
    assert not any(s.is_fault for s in result.skipped)


def test_what_is_excluded_is_named_and_not_read(tmp_path):
    texts = dict.fromkeys(("a.py", "old/b.py", "old/deep/c.py", "pkg/old/d.py"), "c.execute('SELECT 1')")
    write(tmp_path, texts)

    def left(*patterns: str) -> tuple[list[str], list[str]]:
        result = find_statements(tmp_path, patterns)
        assert {s.why for s in result.skipped} <= {"excluded"}
        return [f.name for f in result.files], [s.name for s in result.skipped]

    assert left() == ([*texts], [])
    assert left("old") == (["a.py", "pkg/old/d.py"], ["old/"])
    assert left("old/") == left("old")
    assert left("old/deep", "a.py") == (["old/b.py", "pkg/old/d.py"], ["a.py", "old/deep/"])
    assert left("*/old") == (["a.py", "old/b.py", "old/deep/c.py"], ["pkg/old/"])
    # A pattern is of the whole path.
    assert left("b.py") == left("A.PY") == left()


@contextmanager
def as_nobody():
    """Root reads every folder."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_that_cannot_be_read_is_a_fault():
    # Not below pytest's folders, which only their owner may enter.
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        write(folder, {"a.py": "", "closed/b.py": ""})
        (folder / "closed").chmod(0)
        with as_nobody():
            found = find_statements(folder)
        (folder / "closed").chmod(0o700)
    assert [(s.name, s.is_fault) for s in found.skipped] == [("closed/", True)]


def test_links_and_pipes_are_named_and_not_followed(tmp_path):
    app = write(tmp_path / "app", {"a.py": "c.execute('SELECT 1')"})
    (app / "loop").symlink_to(app)
    (app / "again.py").symlink_to(app / "a.py")
    (app / "gone.py").symlink_to(app / "nothing.py")
    os.mkfifo(app / "pipe.py")
    result = find_statements(app)
    assert [str(s) for s in result.statements] == ["SELECT 1"]
    assert {s.name: s.why for s in result.skipped} == {
        "loop/": "a symbolic link",
        "again.py": "a symbolic link",
        "gone.py": "a symbolic link",
        "pipe.py": "no ordinary file",
    }


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(RefusedError, match="is no folder"):
        find_statements(tmp_path / "nothing")


def test_nothing_of_the_source_is_run_or_imported(tmp_path):
    source = f"""
        import pathlib, sys
        pathlib.Path({str(tmp_path / "ran")!r}).touch()
        sys.modules["ran"] = 1
        c.execute((lambda: 1 / 0)())
    """
    found(tmp_path, dedent(source))
    assert not (tmp_path / "ran").exists()
    assert "ran" not in sys.modules
    assert "app" not in sys.modules


def test_a_folder_without_source_is_refused_with_what_was_left_out(tmp_path):
    with pytest.raises(RefusedError, match=r"holds no Python source; give the folder of the application's source"):
        find_statements(tmp_path)
    write(tmp_path, {"tests/test_app.py": "", "broken.py": "def"})
    with pytest.raises(RefusedError, match=r"holds no Python source \(left out: tests/, broken\.py\); give"):
        find_statements(tmp_path)


SQLITE_UTILS = """
    import sqlite_utils
    db = sqlite_utils.Database('x.db')
    todos = db['Todos']
    db['Todos'].insert({'title': 'a'})
    self.database.table('Todos', pk='id').update(1, {'title': 'b'})
    todos.delete(1)
    anything.rows_where('title = ?', ['a'])
    todos.upsert_all(rows)
    settings['Todos'].update({'a': 1})
    names.insert(0, 'a')
    todos.count
"""


def test_calls_of_sqlite_utils_are_counted_because_nobody_sees_their_sql(tmp_path):
    result = found(tmp_path, dedent(SQLITE_UTILS))
    assert {n.why for n in result.not_checked} == {"sqlite-utils builds its SQL when it runs"}
    assert [(n.place.line, n.shown) for n in result.not_checked] == [
        (5, "db['Todos'].insert(..)"),
        (6, "self.database.table('Todos', pk='id').update(..)"),
        (7, "todos.delete(..)"),
        (8, "anything.rows_where(..)"),
        (9, "todos.upsert_all(..)"),
    ]
    assert result.statements == ()


@pytest.mark.parametrize(
    "imports", ["import sqlite_utils", "import sqlite_utils.db", "from sqlite_utils import Database"]
)
def test_sql_that_is_given_to_sqlite_utils_is_run_in_every_file_of_its_tree(tmp_path, imports):
    write(tmp_path, {"base.py": f"{imports}\n"})
    source = "def f(db, t):\n  db.query('select a from t')\n  db.execute_returning_dicts(sql='select b')\n  db.query(t)"
    result = found(tmp_path, source)
    assert [(str(s), s.is_run) for s in result.statements] == [("select a from t", True), ("select b", True)]
    assert [(n.place.line, n.shown) for n in result.not_checked] == [(4, "t")]


def test_sql_in_small_letters_is_no_prose_where_somebody_asks_with_it(tmp_path):
    source = """
        import sqlite_utilities
        session.query('select a from t')
        db.fetch_all(f'delete from {t}', 1)
        session.query(Todo).rows_where('a')
        print('select a line from the list')
        log.query('the most recent', 'select a from t')
    """
    result = found(tmp_path, dedent(source))
    assert [(str(s), s.is_run) for s in result.statements] == [("select a from t", False), ("delete from {t}", False)]
    assert result.not_checked == ()


def test_what_a_test_can_never_come_to_is_not_run_whatever_else_it_asks(tmp_path):
    source = dedent("""
        OLD = False
        def f(c, x):
            if OLD and x:
                c.execute("SELECT a FROM old")
            if not OLD or x:
                c.execute("SELECT a FROM new")
            else:
                c.execute("SELECT b FROM old")
    """)
    assert texts(tmp_path, source) == ["SELECT a FROM new"]


def test_what_stands_behind_a_loop_is_run_also_where_no_round_of_it_ends(tmp_path):
    source = dedent("""
        def f(c, rows):
            for row in rows:
                raise ValueError(row)
            c.execute("SELECT a FROM t")
        def g(c, more):
            while more:
                return
            c.execute("SELECT b FROM t")
    """)
    assert texts(tmp_path, source) == ["SELECT a FROM t", "SELECT b FROM t"]


def test_a_module_that_lies_in_two_folders_is_taken_from_neither(tmp_path):
    files = {"app.py": "from config import T\ndef f(c): c.execute('SELECT a FROM ' + T)", "one/config.py": "T = 't'"}
    assert [str(s) for s in find_statements(write(tmp_path, files)).statements] == ["SELECT a FROM t"]
    write(tmp_path, {"two/config.py": "T = 'u'"})
    assert [str(s) for s in find_statements(tmp_path).statements] == ["SELECT a FROM {T}"]
    write(tmp_path, {"config.py": "T = 'v'"})
    assert [str(s) for s in find_statements(tmp_path).statements] == ["SELECT a FROM v"]
