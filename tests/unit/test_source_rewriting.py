"""The CREATE TABLE statements of a source file brought in line with a schema: they change, nothing else does."""

import ast
import os
import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrator.ddl import parse_create_table
from migrator.errors import RefusedError
from migrator.source.layout import aligned
from migrator.source.rewriting import apply, rewritten
from tests.unit.source_trees import CORRECT, SEEDED, after, schema

NEW = schema(
    "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL, role TEXT DEFAULT 'guest', CHECK (id > 0))",
    "CREATE TABLE plain (a)",
)


def rewrite(folder, source, target=NEW):
    file = folder / "schema.py"
    file.write_bytes(source if isinstance(source, bytes) else source.encode())
    return rewritten(file, target)


def test_the_plans_third_step_is_a_diff_of_the_statement_alone():
    file = SEEDED / "database" / "schema.py"
    found = rewritten(file, after())
    assert (found.made, found.tables) == (("CodePatterns",), ("CodePatterns",))
    assert found.diff == (
        f"--- a{file}\n"
        f"+++ b{file}\n"
        "@@ -5,13 +5,18 @@\n"
        '     conn.execute("""\n'
        "         CREATE TABLE IF NOT EXISTS CodePatterns (  -- OLD SCHEMA\n"
        "             id INTEGER PRIMARY KEY AUTOINCREMENT,\n"
        "+            function_name TEXT,\n"
        "+            file_name TEXT,\n"
        "+            module_name TEXT,\n"
        "             input_prompt TEXT NOT NULL,\n"
        "             generated_code TEXT NOT NULL,\n"
        "-            result TEXT NOT NULL,\n"
        "-            language TEXT,\n"
        "-            execution_time REAL,\n"
        "+            result TEXT CHECK(result IN ('pass', 'fail', 'partial')),\n"
        "+            execution_time_ms INTEGER,\n"
        "             error_message TEXT,\n"
        "-            created_at TEXT NOT NULL\n"
        "+            tags TEXT,\n"
        "+            created_at TEXT NOT NULL,\n"
        "+            vector_id INTEGER UNIQUE,\n"
        "+            FOREIGN KEY (vector_id) REFERENCES ResourceChunks (id)\n"
        "         )\n"
        '     """)\n'
        '     conn.execute("CREATE TABLE IF NOT EXISTS ToolCalls (id INTEGER PRIMARY KEY, tool TEXT NOT NULL)")\n'
    )


def test_a_file_that_says_so_already_stays_as_it_is():
    file = CORRECT / "database" / "schema.py"
    found = rewritten(file, after())
    assert (found.tables, found.diff, found.after) == ((), "", file.read_bytes())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (
            '"CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT);"',
            "\"CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL, role TEXT DEFAULT 'guest', "
            'CHECK (id > 0));"',
        ),
        (
            "'create table if not exists Users(name TEXT NOT NULL)'",
            "'create table if not exists Users(id INTEGER PRIMARY KEY, name TEXT NOT NULL, "
            "role TEXT DEFAULT \\'guest\\', CHECK (id > 0))'",
        ),
        (
            'r"""\nCREATE TABLE [users]\n(\n\tid INTEGER PRIMARY KEY\n\t, old TEXT -- goes\n)\n;\n"""',
            'r"""\nCREATE TABLE [users]\n(\n\tid INTEGER PRIMARY KEY,\n\tname TEXT NOT NULL,\n\t'
            'role TEXT DEFAULT \'guest\',\n\tCHECK (id > 0)\n)\n;\n"""',
        ),
        (
            "'''\n  CREATE TABLE users (\n    id INTEGER PRIMARY KEY, -- key\n    -- who\n"
            "    name TEXT NOT NULL, /* 2 */\n"
            "    age INT, -- goes\n    CHECK (id > 0) -- the end\n  ) WITHOUT ROWID;\n  DROP TABLE x;\n'''",
            "'''\n  CREATE TABLE users (\n    id INTEGER PRIMARY KEY, -- key\n    -- who\n"
            "    name TEXT NOT NULL, /* 2 */\n"
            "    role TEXT DEFAULT 'guest',\n    CHECK (id > 0) -- the end\n  );\n  DROP TABLE x;\n'''",
        ),
    ],
)
def test_quotes_layout_comments_and_neighbours_stay(tmp_path, old, new):
    source = "import x  # größe\nif 1:\n  c.execute( {} )  # CREATE TABLE users\n  pass\n"
    found = rewrite(tmp_path, source.format(old))
    assert found.after.decode() == source.format(new)
    assert found.tables == ("users",)


def test_a_comment_at_the_end_hides_nothing(tmp_path):
    found = rewrite(tmp_path, "x = 'CREATE TABLE plain (b) -- old'\ny = 'CREATE TABLE plain (c); -- old'")
    assert found.after == b"x = 'CREATE TABLE plain (a) -- old'\ny = 'CREATE TABLE plain (a); -- old'"


def test_several_statements_of_one_literal_and_one_line_change(tmp_path):
    source = "a = 'größe'; b = 'CREATE TABLE plain (b)'; c = 'CREATE TABLE plain (c); CREATE TABLE plain (d, e)'\n"
    found = rewrite(tmp_path, source)
    assert found.after.decode() == (
        "a = 'größe'; b = 'CREATE TABLE plain (a)'; c = 'CREATE TABLE plain (a); CREATE TABLE plain (a)'\n"
    )


@pytest.mark.parametrize(
    ("start", "encoding", "break_"),
    [
        ("", "utf-8", "\r\n"),
        ("\ufeff", "utf-8", "\n"),
        ("# coding: latin-1\n", "latin-1", "\r\n"),
        ("", "utf-8", "\r"),
        ("x = '\f'\n", "utf-8", "\n"),
    ],
)
def test_encoding_mark_and_line_ends_stay(tmp_path, start, encoding, break_):
    lines = f"{start}# größe\nc.execute('''\n  CREATE TABLE plain (\n    b,\n    ä\n  )''')\nlast = 1"
    expected = lines.replace("    b,\n    ä\n", "    a\n")
    found = rewrite(tmp_path, lines.replace("\n", break_).encode(encoding))
    assert found.after == expected.replace("\n", break_).encode(encoding)


@pytest.mark.parametrize(
    "source",
    [
        "x = f'CREATE TABLE users ({columns})'",
        "x = 'CREATE TABLE users (' + 'id)'",
        "x = 'CREATE TABLE users ' '(id)'",
        "x = 'CREATE TABLE users (\\n id)'",
        "x = 'CREATE TABLE %s (id)' % name",
        "x = f'CREATE TABLE IF NOT EXISTS {name}'",
    ],
)
def test_what_is_no_plain_string_is_refused_with_its_line(tmp_path, source):
    with pytest.raises(RefusedError, match=r"schema\.py:3: this CREATE TABLE is no plain string"):
        rewrite(tmp_path, f"\n\n{source}\n")


def test_what_is_no_plain_string_and_needs_no_change_is_left_alone(tmp_path):
    source = "x = 'CREATE TABLE ' 'plain (a)'\ny = 'CREATE TABLE ' 'another (b)'\nz = 'CREATE TABLE users, they said'"
    with pytest.raises(RefusedError, match=r"schema\.py:3: not a CREATE TABLE statement"):
        rewrite(tmp_path, source)
    assert rewrite(tmp_path, source.rpartition("\n")[0]).tables == ()


ENTRIES = ("id INTEGER PRIMARY KEY", "name TEXT NOT NULL", "a DEC(1, 2)", "b CHECK (b IN ('x', ')'))", "UNIQUE (name)")
GAPS = ("", " ", "\n    ", "\n\n\t", " -- a, b\n  ", " /* (c, */ ")
layouts = st.lists(st.tuples(st.sampled_from(GAPS), st.sampled_from(GAPS), st.sampled_from(GAPS)), min_size=5)


@settings(max_examples=200, deadline=None)
@given(st.permutations(ENTRIES), st.permutations(ENTRIES), st.integers(1, 5), st.integers(1, 5), layouts)
def test_whatever_the_layout_the_statement_says_what_the_schema_does(ours, theirs, few, many, gaps):
    spaced = ",".join(f"{lead}{entry}{trail}" for entry, (lead, trail, _) in zip(ours[:few], gaps, strict=False))
    statement = f"CREATE TABLE t ({spaced}{gaps[0][2]})"
    target = parse_create_table(f"CREATE TABLE t ({', '.join(theirs[:many])})")
    made = aligned(statement, target)
    assert [d.canonical for d in parse_create_table(made).definitions] == [d.canonical for d in target.definitions]
    assert aligned(made, target) == made


def test_what_the_quotes_or_the_encoding_cannot_spell_is_refused(tmp_path):
    target = schema("CREATE TABLE t (a DEFAULT '''', b DEFAULT '\"\"\"', \"größe\")")
    with pytest.raises(RefusedError, match=r"schema\.py:1: the new CREATE TABLE cannot be spelled between \"\"\""):
        rewrite(tmp_path, 'x = """CREATE TABLE t (a)"""', target)
    with pytest.raises(RefusedError, match="cannot be spelled between '"):
        rewrite(tmp_path, "x = r'CREATE TABLE t (a)'", target)
    with pytest.raises(RefusedError, match="is encoded in ascii, which cannot spell"):
        rewrite(tmp_path, "# coding: ascii\nx = 'CREATE TABLE t (a)'", target)
    escaped = rewrite(tmp_path, "x = 'CREATE TABLE t (a)'", target).after.decode()
    assert ast.literal_eval(escaped.removeprefix("x = ")) == (
        "CREATE TABLE t (a DEFAULT '''', b DEFAULT '\"\"\"', \"größe\")"
    )


@pytest.mark.parametrize("source", [b"def f(:", b"\xff\xff", b"# coding: nonsense\n", b"x = '\0'"])
def test_what_is_no_python_is_refused(tmp_path, source):
    with pytest.raises(RefusedError, match="is no Python source"):
        rewrite(tmp_path, source)


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(RefusedError, match="cannot be read"):
        rewritten(tmp_path / "nothing.py", NEW)


def test_the_new_text_replaces_the_old_at_once_and_keeps_the_mode(tmp_path):
    found = rewrite(tmp_path, "x = 'CREATE TABLE plain (b)'\n")
    os.chmod(found.file, 0o640)
    link = tmp_path / "link.py"
    link.symlink_to(found.file)
    apply(rewritten(link, NEW))
    assert found.file.read_bytes() == b"x = 'CREATE TABLE plain (a)'\n"
    assert stat.S_IMODE(found.file.stat().st_mode) == 0o640
    assert link.is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["link.py", "schema.py"]


def test_a_file_that_changed_since_is_not_overwritten(tmp_path):
    found = rewrite(tmp_path, "x = 'CREATE TABLE plain (b)'\n")
    found.file.write_text("x = 1\n")
    with pytest.raises(RefusedError, match="changed since"):
        apply(found)
    assert found.file.read_text() == "x = 1\n"


def test_statements_of_the_application_become_those_of_the_migration(tmp_path):
    file = tmp_path / "schema.py"
    file.write_bytes((SEEDED / "database" / "schema.py").read_bytes())
    apply(rewritten(file, after()))
    assert rewritten(file, after()).tables == ()
    assert b"vector_id INTEGER UNIQUE" in file.read_bytes()


def test_a_file_that_makes_no_table_of_the_database_is_refused(tmp_path):
    with pytest.raises(RefusedError, match=r"schema\.py has no CREATE TABLE of a table in the database; --source DIR"):
        rewrite(tmp_path, "c.execute('CREATE TABLE elsewhere (id)')")


def test_what_is_no_ordinary_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.py")
    for path in (tmp_path, tmp_path / "pipe.py"):
        with pytest.raises(RefusedError, match="is no ordinary file"):
            rewritten(path, after())
