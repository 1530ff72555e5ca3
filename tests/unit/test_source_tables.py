"""Tables that a source makes: twice, in two forms, by whom, and otherwise than the database has them."""

import pytest

from migrator.ddl import parse_create_table
from migrator.source.check import check_source
from migrator.source.statements import find_statements
from migrator.source.tables import created_tables, differences, recreated, source_tables
from tests.unit.source_trees import SEEDED, after, before, schema, write

USERS = "CREATE TABLE IF NOT EXISTS users (id INTEGER PRIMARY KEY, name TEXT NOT NULL DEFAULT '', mail TEXT)"


def created(folder, files):
    write(folder, {name: "\n".join(f"c.execute({sql!r})" for sql in sqls) for name, sqls in files.items()})
    return created_tables(find_statements(folder).statements)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ("create table \"USERS\" (ID integer primary key,\n name text default '' not null, -- x\n mail text)", ()),
        (
            "CREATE TABLE users (id INTEGER PRIMARY KEY, mail VARCHAR(9), age INT)",
            (
                "lacks column name TEXT NOT NULL DEFAULT ''",
                "has column mail VARCHAR(9), not mail TEXT",
                "has column age INT",
            ),
        ),
        (
            "CREATE TABLE users (id INTEGER PRIMARY KEY, mail TEXT, name TEXT NOT NULL DEFAULT '')",
            ("has its columns in another order",),
        ),
        (
            "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL DEFAULT '', mail TEXT, UNIQUE (mail)) "
            "STRICT",
            ("has UNIQUE (mail)", "ends with STRICT, not nothing"),
        ),
        (
            "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL DEFAULT 'x', mail TEXT)",
            ("has column name TEXT NOT NULL DEFAULT 'x', not name TEXT NOT NULL DEFAULT ''",),
        ),
    ],
)
def test_tables_are_compared_by_what_they_mean(found, expected):
    assert differences(parse_create_table(found), parse_create_table(USERS)) == expected


def test_a_constraint_that_is_missing_is_told():
    with_key = "CREATE TABLE t (a, b, FOREIGN KEY (a) REFERENCES u (id), CHECK (a > 0))"
    without = "CREATE TABLE t (a, b, CHECK (a > 1))"
    assert differences(parse_create_table(without), parse_create_table(with_key)) == (
        "lacks FOREIGN KEY (a) REFERENCES u (id)",
        "lacks CHECK (a > 0)",
        "has CHECK (a > 1)",
    )


def test_the_file_that_makes_the_most_tables_owns_a_duplicate(tmp_path):
    found = created(
        tmp_path,
        {
            "a_service.py": ["CREATE TABLE users (id INTEGER PRIMARY KEY)"],
            "schema.py": [USERS, "CREATE TABLE posts (id)"],
            "z_service.py": [USERS],
        },
    )
    posts, users = source_tables(found)
    assert (posts.name, posts.is_made_twice, posts.differences) == ("posts", False, ())
    assert (users.owner, users.is_made_twice) == ("schema.py", True)
    assert [str(place) for place in users.places] == ["schema.py:1", "a_service.py:1", "z_service.py:1"]
    assert [(str(place), what) for place, what in users.differences] == [
        ("a_service.py:1", ("lacks column name TEXT NOT NULL DEFAULT ''", "lacks column mail TEXT"))
    ]


def test_of_two_files_that_make_as_many_the_first_by_path_owns(tmp_path):
    (users,) = source_tables(created(tmp_path, {"b.py": [USERS], "a.py": [USERS]}))
    assert users.owner == "a.py"


def test_every_duplicate_is_named_with_its_owner(tmp_path):
    created(
        tmp_path,
        {"a.py": ["CREATE TABLE users (id INTEGER PRIMARY KEY)"], "s.py": [USERS, "CREATE TABLE posts (id)", USERS]},
    )
    findings = check_source(tmp_path, schema(USERS)).findings
    assert [(f.code, f.level, str(f)) for f in findings] == [
        (
            "table-differs",
            "warning",
            "a.py:1: CREATE TABLE users makes another table than the database's: it lacks column name TEXT NOT NULL "
            "DEFAULT '', lacks column mail TEXT (now)",
        ),
        (
            "table-made-otherwise",
            "warning",
            "a.py:1: CREATE TABLE users is not that of s.py:1: it lacks column name TEXT NOT NULL DEFAULT '', lacks "
            "column mail TEXT; s.py should be the only file to make it",
        ),
        (
            "table-made-twice",
            "warning",
            "s.py:3: CREATE TABLE users stands at s.py:1 as well; s.py should be the only file to make it",
        ),
    ]


def test_an_application_that_would_bring_the_old_schema_back_is_told():
    (finding,) = [f for f in check_source(SEEDED, before(), after()).findings if f.code == "old-schema"]
    assert (str(finding.place), finding.level, finding.sides) == ("database/schema.py:6", "error", ("after",))
    assert "lacks column function_name TEXT" in finding.message
    found = created_tables(find_statements(SEEDED).statements)
    (old,) = recreated(found, after(), {"codepatterns"})
    assert (str(old[0].place), old[1][0]) == ("database/schema.py:6", "lacks column function_name TEXT")
    assert recreated(found, before(), {"CodePatterns"}) == ()
    assert [each.text.name for each, _ in recreated(found, after())] == ["CodePatterns", "ResourceChunks"]


def test_virtual_and_temporary_tables_and_copies_are_no_schema(tmp_path):
    statements = [
        "CREATE VIRTUAL TABLE users USING fts5(name)",
        "CREATE TEMP TABLE users (id)",
        "CREATE TABLE users AS SELECT 1",
        "CREATE TABLE",
    ]
    assert created(tmp_path, {"a.py": statements}) == ()
    words = schema("CREATE VIRTUAL TABLE words USING fts5(word)")
    assert recreated(created(tmp_path, {"a.py": ["CREATE TABLE words (word)"]}), words) == ()


def test_a_column_that_the_source_adds_with_alter_table_is_part_of_its_table(tmp_path):
    source = """
def make(c, column):
    c.execute("CREATE TABLE IF NOT EXISTS users (id INTEGER PRIMARY KEY, FOREIGN KEY (id) REFERENCES posts)")
    try:
        c.execute("ALTER TABLE users ADD COLUMN name TEXT NOT NULL DEFAULT ''")
    except sqlite3.OperationalError:
        pass
"""
    grown = (
        "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL DEFAULT '', FOREIGN KEY (id) REFERENCES posts)"
    )
    check = check_source(write(tmp_path, {"app.py": source}), schema(grown))
    assert check.findings == ()
    assert [each.text.columns for each in check.created] == [("id", "name")]


@pytest.mark.parametrize(
    "altering", ['f"ALTER TABLE users ADD COLUMN {column}"', '"ALTER TABLE users RENAME TO members"']
)
def test_a_table_that_the_source_alters_otherwise_is_not_compared_and_that_is_said(tmp_path, altering):
    source = f'def make(c, column):\n    c.execute("CREATE TABLE users (id)")\n    c.execute({altering})\n'
    check = check_source(write(tmp_path, {"app.py": source}), schema(USERS))
    assert check.findings == ()
    assert "app.py:2: not checked: CREATE TABLE users: it is not compared, because app.py:3 alters it" in map(
        str, check.not_checked
    )


def test_a_migrated_table_in_another_form_is_an_old_schema_and_a_mismatch(tmp_path):
    (tmp_path / "app.py").write_text("c.execute('CREATE TABLE users (id INTEGER PRIMARY KEY)')")
    (other,) = check_source(tmp_path, schema(USERS)).findings
    (old,) = check_source(tmp_path, schema(USERS), migrated_tables={"USERS"}).findings
    assert [(f.code, f.level) for f in (other, old)] == [("table-differs", "warning"), ("old-schema", "error")]
    assert check_source(tmp_path, schema(USERS)).mismatches == (other,)


def test_what_is_merely_made_twice_is_no_mismatch(tmp_path):
    created(tmp_path, {"a.py": [USERS], "b.py": [USERS]})
    check = check_source(tmp_path, schema(USERS))
    assert ([f.code for f in check.findings], check.mismatches) == (["table-made-twice"], ())


def test_a_table_that_is_already_as_the_pending_migration_makes_it_is_mended_by_it(tmp_path):
    created(tmp_path, {"a.py": [USERS]})
    check = check_source(tmp_path, schema("CREATE TABLE users (id INTEGER PRIMARY KEY)"), schema(USERS))
    assert [(f.code, f.sides, f.is_mended) for f in check.findings] == [("table-differs", ("before",), True)]
    assert check.mismatches == ()


def test_a_table_that_is_neither_the_old_nor_the_new_one_is_not_called_mended(tmp_path):
    created(tmp_path, {"a.py": ["CREATE TABLE users (id INTEGER PRIMARY KEY, nick TEXT)"]})
    check = check_source(tmp_path, schema("CREATE TABLE users (id INTEGER PRIMARY KEY)"), schema(USERS))
    assert [(f.code, f.sides) for f in check.findings] == [("old-schema", ("after",))]
