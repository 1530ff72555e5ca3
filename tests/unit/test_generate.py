"""The file of the next migration: its text, what it leaves to a person, and how it is written."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from migrator.authoring.generate import generate, write_migration
from migrator.authoring.proof import there_and_back
from migrator.errors import RefusedError
from migrator.loading import load_migrations
from migrator.migration import Change, DeclarationError, Migration
from migrator.schema import Schema, SchemaObject
from tests.unit.generating import generated, loaded, schema_of

GENERATED = Path(__file__).parent / "generated"

NOW = (
    "CREATE TABLE notes (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL, place TEXT, amount TEXT,\n"
    "    state TEXT NOT NULL DEFAULT 'open', old REAL DEFAULT 0)",
    'CREATE TABLE "odd "" größe" (id INTEGER PRIMARY KEY, x)',
    "CREATE INDEX by_body ON notes (body)",
)
DESIRED = (
    "CREATE TABLE people (name TEXT PRIMARY KEY) WITHOUT ROWID",
    """CREATE TABLE notes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    author TEXT REFERENCES people (name), -- who wrote it: C:\\users\\...
    body TEXT NOT NULL,
    spot TEXT,
    amount INTEGER CHECK (amount > 0),
    state TEXT DEFAULT 'open',
    price REAL NOT NULL DEFAULT 0
)""",
    f"CREATE TABLE \"odd \"\" größe\" (id INTEGER PRIMARY KEY, x, \"\u202edne\" TEXT DEFAULT '{'long, long ' * 12}',"
    " y TEXT CHECK (y <> ''))",
    "CREATE INDEX by_body ON notes(body)",
    "CREATE INDEX by_author ON notes (author)",
    "CREATE UNIQUE INDEX once ON people (\n  lower(name)\n)",
)  # fmt: skip
RENAMES = {"notes.place": "notes.spot"}


def test_the_text_is_the_one_that_a_person_would_have_written():
    # That file stands under the linter and the formatter of the project, as every migration does.
    made = generate(schema_of(*NOW), schema_of(*DESIRED), "stars", (), RENAMES)
    assert made.undecided == ()
    assert made.text == (GENERATED / "m0001_stars.py").read_text(encoding="utf-8")


def test_the_text_is_loaded_as_the_migration_that_was_tried(tmp_path):
    made = generate(schema_of(*NOW), schema_of(*DESIRED), "stars", (), RENAMES)
    path = write_migration(made, tmp_path)
    (found,) = load_migrations(tmp_path)
    assert (path, found.label, found.checksum) == (tmp_path / "m0001_stars.py", "0001_stars", made.migration.checksum)


@pytest.mark.parametrize("seed", ["0", "1"])
def test_the_text_does_not_depend_on_the_run(seed):
    program = (
        "from tests.unit.test_generate import *; import sys; sys.stdout.reconfigure(encoding='utf-8');"
        "sys.stdout.write(generate(schema_of(*NOW), schema_of(*DESIRED), 'stars', (), RENAMES).text)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        check=True,
        encoding="utf-8",
        cwd=GENERATED.parents[2],
    )
    assert run.stdout == (GENERATED / "m0001_stars.py").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "name",
    ["größe", "д", "\u202ex", "two words", "a\tb", "a\nb", 'q"""r', 'e"', "b\\", 'b\\"', "it's", "{x}", "1st", "",
     "end", "x" * 130],
)  # fmt: skip
def test_any_name_is_written_so_that_it_is_read_again(tmp_path, name):
    quoted = '"' + name.replace('"', '""') + '"'
    text = name.replace("'", "''")
    made = generated(
        [f"CREATE TABLE {quoted} (id INTEGER PRIMARY KEY, {quoted} TEXT)"],
        [
            f"CREATE TABLE {quoted} (id INTEGER PRIMARY KEY, e TEXT DEFAULT '{text}', {quoted} INTEGER)",
            f'CREATE TABLE z (x TEXT CHECK (x <> \'{text}\\ """\'))',
            f"CREATE INDEX i ON {quoted} ({quoted}, e)",
        ],
    )
    assert made.undecided == ()
    found = loaded(made.text, tmp_path)
    assert found.checksum == made.migration.checksum
    assert [*found.changes[0].values] == [name]
    assert all(character in "\n" or character.isprintable() for character in made.text)


@pytest.mark.parametrize(
    ("stored", "written"),
    [
        ("(\n            a, -- one\n              b\n        )", "(\n    a, -- one\n      b\n)"),
        ("(a,\n        b)", "(a,\n    b)"),
        ("(a,\n  b)", "(a,\n  b)"),
        ("(a DEFAULT 'x \n        y',\n        b)", "(a DEFAULT 'x \n        y',\n        b)"),
        (
            f"(a DEFAULT '{'x' * 60}', b DEFAULT '{'y' * 60}')",
            f"(\n    a DEFAULT '{'x' * 60}',\n    b DEFAULT '{'y' * 60}'\n)",
        ),
    ],
)
def test_a_text_that_stood_in_a_program_loses_what_it_was_indented_by(stored, written):
    made = generated([f"CREATE TABLE t {stored}"], ["CREATE TABLE t (a, b, c)"])
    assert f'T_BEFORE = """\nCREATE TABLE t {written}"""' in made.text


NOT_CONSTANT = "is not constant: the rows that are there would be NULL"
BY_HAND = "no migration makes views, triggers or virtual tables"


@pytest.mark.parametrize(
    ("now", "desired", "expected"),
    [
        (["t (id INTEGER PRIMARY KEY)"], ["t (id INTEGER PRIMARY KEY, b TEXT NOT NULL)"], [
            "column b of t is NOT NULL without a constant DEFAULT: the rows that are there need a value"]),
        (["t (a)"], ["t (a, b TEXT NOT NULL DEFAULT NULL)"], ["column b of t is NOT NULL without a constant DEFAULT"]),
        (["t (a, b TEXT NOT NULL)"], ["t (a)"], [
            "column b of t goes, and was NOT NULL without a constant DEFAULT: on the way back, also on an automatic"]),
        (["t (a TEXT NOT NULL)"], ["t (a TEXT)"], ["column a of t may be NULL from now on: on the way back"]),
        (["t (a)"], ["t (a, b DEFAULT CURRENT_TIMESTAMP)"], [
            f"the DEFAULT of column b of t, CURRENT_TIMESTAMP, {NOT_CONSTANT}"]),
        (["t (a, b AS (a))"], ["t (a, b)"], ["column b of t becomes computed, or is no more"]),
        (["t (id INTEGER PRIMARY KEY)"], ["t (id INT PRIMARY KEY)"], [
            "table t cannot be changed so: table t identifies its rows by ('id',), the migration by ('rowid',)"]),
        (["t (a TEXT PRIMARY KEY) WITHOUT ROWID"], ["t (a INT PRIMARY KEY) WITHOUT ROWID"], [
            "table t cannot be changed so: column a tells its rows from each other, and changes its type"]),
        (["t (a)"], ["t (a CHECK (t.a > 0))"], ["table t cannot be changed so: 'a CHECK (t.a > 0)' of table t names"]),
        (["t (a)", "u (a)"], ["t (a)"], [
            "table u goes, because the desired schema has no such table; remove this entry of UNDECIDED if"]),
        (['t (a DEFAULT "x")'], ['t (a DEFAULT "X")'], [
            'column a of t changes: DEFAULT "x" becomes DEFAULT "X"; the migration would not lead there']),
    ],
)  # fmt: skip
def test_what_two_schemas_do_not_say_is_left_to_a_person(now, desired, expected):
    made = generated(*([f"CREATE TABLE {table}" for table in tables] for tables in (now, desired)))
    found = [str(open_) for open_ in made.undecided]
    assert len(found) == len(expected), found
    assert [text[: len(start)] for text, start in zip(found, expected, strict=True)] == expected


@pytest.mark.parametrize(
    ("now", "desired", "expected"),
    [
        ("", "CREATE VIEW v AS SELECT a FROM t", f"view v is new; {BY_HAND}"),
        ("CREATE VIEW v AS SELECT a FROM t", "", f"view v goes; {BY_HAND}"),
        ("CREATE VIEW v AS SELECT 1", "CREATE VIEW v AS SELECT 2", f"view v changes; {BY_HAND}"),
        ("", "CREATE TRIGGER x AFTER INSERT ON t BEGIN SELECT 1; END", f"trigger x is new; {BY_HAND}"),
        ("CREATE VIRTUAL TABLE f USING fts5 (a)", "", f"virtual table f goes; {BY_HAND}"),
    ],
)
def test_what_no_migration_can_carry_is_said_and_the_rest_is_written(tmp_path, now, desired, expected):
    table = "CREATE TABLE t (id INTEGER PRIMARY KEY, a, b)"
    made = generated([table, now], [table.replace("b)", "b, c)"), desired])
    assert [str(open_).startswith(expected) for open_ in made.undecided] == [True]
    assert [change.table for change in made.migration.changes] == ["t"]
    with pytest.raises(DeclarationError, match="migration 0001_made_up is not decided: "):
        loaded(made.text, tmp_path)


def test_a_way_back_that_would_lead_elsewhere_is_told(monkeypatch):
    def reached_and_returned(now, migration):
        reached, _ = there_and_back(now, migration)
        return reached, schema_of("CREATE TABLE t (a)", "CREATE INDEX i ON t (a)", "CREATE TABLE u (a)")

    monkeypatch.setattr("migrator.authoring.generate.there_and_back", reached_and_returned)
    made = generated(["CREATE TABLE t (a, b)", "CREATE TABLE u (a)"], ["CREATE TABLE t (a)", "CREATE TABLE u (a)"])
    not_there = "the migration would not lead there: see whether names stand in double quotes where strings are meant"
    assert [(open_.what, open_.way_out) for open_ in made.undecided] == [
        ("after the way back, column b of t is new", not_there),
        ("after the way back, index i of t goes", not_there),
    ]


def test_a_file_refuses_to_load_until_all_is_decided(tmp_path):
    made = generated(
        ["CREATE TABLE t (id INTEGER PRIMARY KEY, old TEXT NOT NULL)"],
        ["CREATE TABLE t (id INTEGER PRIMARY KEY, b TEXT NOT NULL)"],
    )
    path = write_migration(made, tmp_path)
    with pytest.raises(DeclarationError) as refused:
        load_migrations(tmp_path)
    file, _, told = str(refused.value).partition(": ")
    assert file.rpartition(":")[0] == "migration file m0001_made_up.py"
    assert told == "; ".join(
        ["migration 0001_made_up is not decided: " + str(made.undecided[0]), str(made.undecided[1]),
         "decide what UNDECIDED in m0001_made_up.py lists"]
    )  # fmt: skip
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    entries = [number for number, line in enumerate(lines) if line.startswith('    "column')]
    assert len(entries) == 2
    del lines[entries[0]]
    path.write_text("".join(lines), encoding="utf-8")
    with pytest.raises(DeclarationError, match="not decided: column old of t goes"):
        load_migrations(tmp_path)
    del lines[entries[0]]
    path.write_text("".join(lines), encoding="utf-8")
    assert load_migrations(tmp_path)[0].changes[0].table == "t"


def test_originals_go_to_a_table_that_nobody_has():
    earlier = (
        Migration(
            (Change("t", after="CREATE TABLE t (a)"), Change("u", values={"a": "1"}, ahead="T_ahead_0002")),
            version=1,
            name="x",
        ),
    )
    now = schema_of("CREATE TABLE t (a)", "CREATE TABLE v (a)")
    desired = schema_of("CREATE TABLE t (a, b)", "CREATE TABLE v (a, b)", "CREATE TABLE v_legacy (a)")
    made = generate(now, desired, "more", earlier)
    assert made.migration.label == "0002_more"
    changes = {change.table: (change.originals_table, change.ahead_table) for change in made.migration.changes}
    assert changes == {
        "t": ("t_legacy_0002", "t_ahead_0002_2"),
        "v": ("v_legacy_0002", "v_ahead"),
        "v_legacy": ("v_legacy_legacy", "v_legacy_ahead"),
    }


@pytest.mark.parametrize("name", ["", "Stars", "1st", "a-b", "a b", "../x", "größe", "x.py"])
def test_a_name_that_no_file_can_have_is_refused(name):
    with pytest.raises(DeclarationError, match="a migration cannot be named"):
        generate(schema_of("CREATE TABLE t (a)"), schema_of("CREATE TABLE t (a, b)"), name)


def test_no_file_is_replaced_and_no_link_is_followed(tmp_path):
    made = generated(["CREATE TABLE t (a)"], ["CREATE TABLE t (a, b)"])
    folder, elsewhere = tmp_path / "migrations", tmp_path / "elsewhere.py"
    folder.mkdir()
    for name, make in {
        "m0001_made_up.py": lambda path: path.symlink_to(elsewhere),
        "m0001_other.py": lambda path: path.write_text("MIGRATION = None"),
    }.items():
        make(folder / name)
        with pytest.raises(DeclarationError, match=f"version 0001 is there already: {name}; start again"):
            write_migration(made, folder)
        (folder / name).unlink()
    assert [*tmp_path.iterdir()] == [folder]
    write_migration(made, folder)
    assert [path.name for path in folder.iterdir()] == ["m0001_made_up.py"]


def test_where_nothing_can_be_changed_nothing_is_written(tmp_path):
    for desired in (["CREATE TABLE t (a)"], ["CREATE TABLE t (a)", "CREATE VIEW v AS SELECT 1"]):
        made = generated(["CREATE TABLE t (a)"], desired)
        assert made.text == ""
        with pytest.raises(RefusedError, match="nothing differs that a migration could change"):
            write_migration(made, tmp_path)
    assert [*tmp_path.iterdir()] == []


def test_what_only_the_application_can_make_is_left_to_a_person():
    now = schema_of("CREATE TABLE t (a)")
    its_own = SchemaObject("index", "i", "t", "CREATE INDEX i ON t (its_own(a))")
    made = generate(Schema((*now.objects, its_own)), schema_of("CREATE TABLE t (a, b)"), "x")
    assert [str(open_) for open_ in made.undecided] == [
        "table t cannot be changed so: SQLite refuses index i in a database of its own: no such function: its_own; the "
        "application may bring a function or a collation that this program has not"
    ]
    assert made.migration.changes == ()


T, U = "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT)", "CREATE TABLE u (id INTEGER PRIMARY KEY, b TEXT)"


@pytest.mark.parametrize(
    ("now", "desired", "order", "goes"),
    [
        ([T, U, "CREATE INDEX i ON t (a)"], [T, U, "CREATE INDEX i ON u (b)"], ["t", "u"], []),
        ([U, T, "CREATE INDEX i ON t (a)"], [U, T, "CREATE INDEX i ON u (b)"], ["t", "u"], []),
        ([T, U, "CREATE INDEX i ON u (b)"], [T, "CREATE INDEX i ON t (a)"], ["u", "t"], ["u"]),
        ([T, "CREATE INDEX u ON t (a)"], [T, U], ["t", "u"], []),
        ([T, U], [T, "CREATE INDEX u ON t (a)"], ["u", "t"], ["u"]),
        (
            [T, U, "CREATE TABLE v (c)", "CREATE INDEX i ON v (c)", "CREATE INDEX j ON u (b)"],
            [T, U, "CREATE TABLE v (c)", "CREATE INDEX j ON t (a)", "CREATE INDEX i ON u (b)"],
            ["v", "u", "t"],
            [],
        ),
    ],
)
def test_a_name_that_goes_over_to_another_table_is_given_up_first(now, desired, order, goes):
    made = generated(now, desired)
    assert [change.table for change in made.migration.changes] == order
    assert [open_.what.split(",")[0] for open_ in made.undecided] == [f"table {table} goes" for table in goes]


def test_names_that_two_tables_would_exchange_are_left_to_a_person():
    made = generated(
        [T, U, "CREATE TABLE v (c)", "CREATE INDEX i ON t (a)", "CREATE INDEX j ON u (b)"],
        [T, U, "CREATE TABLE v (c, d)", "CREATE INDEX j ON t (a)", "CREATE INDEX i ON u (b)"],
    )
    assert [change.table for change in made.migration.changes] == ["v"]
    assert [open_.what.partition(" already")[0] for open_ in made.undecided] == [
        "table t cannot be changed so: index j",
        "table u cannot be changed so: index i",
    ]


def test_a_table_that_goes_takes_no_trigger_with_it_unnoticed():
    trigger = "CREATE TRIGGER x AFTER INSERT ON t BEGIN SELECT 1; END"
    made = generated(["CREATE TABLE t (a)", trigger], ["CREATE TABLE u (a)"])
    assert [str(open_) for open_ in made.undecided] == [
        "table t cannot be changed so: table t would go with trigger x, which the migration does not name; drop it "
        "before the migration",
        "trigger x goes; no migration makes views, triggers or virtual tables: change it by hand",
    ]
