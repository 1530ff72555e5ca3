"""The page about a schema: everything in it is the database's, the same each time, and valid whatever the names."""

import os
import re
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from migrator.check.description import describe
from migrator.check.diagram import entity_diagram
from migrator.check.documentation import MARK, code, document
from migrator.check.marked_file import NotOursError, write_marked
from migrator.check.promotions import read_promotions
from migrator.connect import opened
from migrator.ltmc import LTMC
from tests.children import as_nobody, holding, in_child
from tests.notes import NOTES, make_notes, notes_application
from tests.runs import migrate, run_sql, stored
from tests.unit.made_up import MADE_UP

ODD = (
    "", " ", "a b", "a_b", 'quo"ted', "per%cent", "back\\slash", "pipe|pipe", "new\nline", "tick`tick", "``", "<b>",
    "#35;", "direction TB", "style", "title", "end", "1", "12ab", "pk", "FK", "uk ö", "größe", "名前", "¼", "a{b}",
    "erDiagram", "%%{init}", "-->", "</details>", "__proto__", "\u202eleft",
)  # fmt: skip
TAKEN_FOR_KEYS = re.compile(r"(pk|fk|uk)(?![A-Za-z0-9_])", re.IGNORECASE)
LETTERS = r"[A-Za-z_\u00C0-\U0010FFFF][A-Za-z0-9_\u00C0-\U0010FFFF]*"
DIAGRAM_LINES = (
    re.compile("erDiagram"),
    re.compile(f'    "{LETTERS}" {{'),
    re.compile("    }"),
    re.compile(f"        ({LETTERS}) ({LETTERS})(?: (?:PK|FK|UK)(?:, (?:PK|FK|UK))*)?"),
    re.compile(f'    "{LETTERS}" (?:\\|\\||\\|o)--(?:o\\{{|o\\|) "{LETTERS}" : "{LETTERS}"'),
)


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "notes.db"
    make_notes(path, rows=20)
    return path


def facts_of(database, own=()):
    with opened(database, read_only=True) as connection:
        return describe(connection, own)


def page_of(database, application=NOTES):
    with opened(database, read_only=True) as connection:
        ledger = read_promotions(connection, application.name)
        facts = describe(connection, application.own_tables)
    return document(database.name, facts, application.migrations, ledger)


def section(page, title):
    """What stands below the heading `title`, down to the next one of its level."""
    level = title.split(" ")[0]
    return page.split(f"\n{title}\n")[1].split(f"\n{level} ")[0].split("\n## ")[0]


def made(tmp_path, *statements):
    run_sql(tmp_path / "made.db", *statements)
    return tmp_path / "made.db"


def test_a_table_has_its_columns_keys_indexes_triggers_views_and_references_both_ways(database):
    run_sql(database, "CREATE INDEX by_mood ON notes (mood)\nWHERE mood = 'x'")
    page = page_of(database)
    notes = section(page, "### `notes`")
    assert notes.split("<details>")[0].strip() == "\n".join([
        "20 rows",
        "",
        "| column | type | required | default | key |",
        "|---|---|---|---|---|",
        "| `id` | `INTEGER` |  |  | primary |",
        "| `body` | `TEXT` | yes |  |  |",
        "| `mood` | `TEXT` | yes |  |  |",
        "| `place` | `TEXT` |  |  |  |",
        "",
        "Referred to by:",
        "",
        "- `note_id` of `tags`",
        "",
        "Indexes:",
        "",
        "- `CREATE INDEX by_mood ON notes (mood) WHERE mood = 'x'`",
        "",
        "Triggers:",
        "",
        "- `tagged`",
        "",
        "Read by views:",
        "",
        "- `bodies`",
    ])  # fmt: skip
    assert "CREATE TRIGGER tagged AFTER INSERT ON notes" in notes
    assert "- `note_id`: `id` of `notes`, ON DELETE CASCADE" in section(page, "### `tags`")
    assert "CREATE VIEW bodies AS SELECT id, body FROM notes;" in section(page, "## Views")


def test_defaults_computed_columns_and_keys_of_several_columns_are_told(tmp_path):
    page = page_of(
        made(
            tmp_path,
            "CREATE TABLE parent (a, b, PRIMARY KEY (b, a), UNIQUE (a, b)) WITHOUT ROWID",
            "CREATE TABLE child (x TEXT DEFAULT 'a|b', y AS (x || '!') STORED, z UNIQUE, p, q, "
            "FOREIGN KEY (p, q) REFERENCES parent ON UPDATE SET NULL, FOREIGN KEY (z) REFERENCES nowhere (id))",
        )
    )
    child = section(page, "### `child`")
    assert r"| `x` | `TEXT` |  | `'a\|b'` |  |" in child
    assert "| `y` |  |  |  | computed |" in child
    assert "| `z` |  |  |  | unique, foreign |" in child
    assert "- `p`, `q`: `b`, `a` of `parent`, ON UPDATE SET NULL" in child
    assert "- `z`: `id` of `nowhere`, which does not exist" in child
    parent = section(page, "### `parent`")
    assert "| `a` |  | yes |  | primary 2 |" in parent
    assert "- `a`, `b`" in parent.split("Unique:")[1]


def test_the_diagram_has_each_table_and_how_many_rows_refer_to_one(tmp_path):
    facts = facts_of(
        made(
            tmp_path,
            "CREATE TABLE parent (id INTEGER PRIMARY KEY, name VARCHAR(10) UNIQUE)",
            "CREATE TABLE many (parent_id INTEGER REFERENCES parent)",
            "CREATE TABLE must (parent_id NOT NULL REFERENCES PARENT (id), other REFERENCES nowhere)",
            "CREATE TABLE one (id INTEGER PRIMARY KEY REFERENCES parent, p UNIQUE NOT NULL REFERENCES parent)",
        )
    )
    assert (
        entity_diagram(facts.tables)
        == """erDiagram
    "many" {
        INTEGER parent_id FK
    }
    "must" {
        any parent_id FK
        any other FK
    }
    "one" {
        INTEGER id PK, FK
        any p FK, UK
    }
    "parent" {
        INTEGER id PK
        VARCHAR_10_ name UK
    }
    "parent" |o--o{ "many" : "parent_id"
    "parent" ||--o{ "must" : "parent_id"
    "parent" |o--o| "one" : "id"
    "parent" ||--o| "one" : "p"
"""
    )


def odd_database(tmp_path):
    """A table of each odd name, with a column and a type of each; one refers to two of the others."""
    columns = ", ".join(f"{quoted(n)} {quoted(n) if n.strip() else 'x'}" for n in ODD)
    tables = [f"CREATE TABLE {quoted(n)} (id INTEGER PRIMARY KEY, {columns})" for n in ODD if n != "a_b"]
    referring = ", ".join(f"{quoted(n)} REFERENCES {quoted(n)}" for n in ('quo"ted', "new\nline"))
    return made(tmp_path, *tables, f"CREATE TABLE a_b ({referring})", "CREATE VIEW v AS SELECT 1")


def test_whatever_the_names_the_diagram_is_valid_and_its_entities_are_told_apart(tmp_path):
    diagram = entity_diagram(facts_of(odd_database(tmp_path)).tables)
    for line in diagram.splitlines():
        assert any(form.fullmatch(line) for form in DIAGRAM_LINES), line
        words = DIAGRAM_LINES[3].fullmatch(line)
        assert words is None or not any(TAKEN_FOR_KEYS.match(word) for word in words.groups()), line
    entities = re.findall(r'^    "(.+)" \{$', diagram, re.MULTILINE)
    assert len(entities) == len(set(entities)) == len(ODD)


def test_whatever_the_names_no_line_of_the_page_breaks(tmp_path):
    page = page_of(odd_database(tmp_path), notes_application(probes=()))
    tables = page.split("## Tables")[1].split("## Views")[0]
    for line in re.sub(r"<details>.*?\n</details>", "", tables, flags=re.DOTALL).splitlines():
        if line.startswith("| "):
            assert len(re.findall(r"(?<!\\)\|", line)) == 6, line
        assert line == "" or line[0] in "#|-" or re.fullmatch(r"[A-Z][a-z ]+:|[0-9,]+ rows?", line), line
    assert "\u202e" not in re.sub(r"<details>.*?\n</details>", "", tables, flags=re.DOTALL)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "`plain`"), ("a`b", "``a`b``"), ("`", "`` ` ``"), ("", '`""`'), ("a|b", "`a|b`"),
        ("two\nlines", r"`two\nlines`"), ("\u202e", r"`\u202e`"), (" a ", "`  a  `"), ("größe", "`größe`"),
    ],
)  # fmt: skip
def test_code_in_a_line_shows_any_text(text, shown):
    assert code(text) == shown


def test_a_statement_that_holds_a_fence_does_not_end_the_block(tmp_path):
    page = page_of(made(tmp_path, "CREATE TABLE t (a -- ```\n)"))
    assert "````sql\nCREATE TABLE t (a -- ```\n);\n````" in page


def test_the_page_tells_what_each_migration_changed_and_when(database):
    assert "Not applied." in section(page_of(database), "### `0001_stars`")
    live = migrate(database).candidate.inspection.backup.live
    page = page_of(database)
    told = section(page, "### `0001_stars`")
    assert re.search(rf"- Applied `20[0-9 :.+-]+` by run `{live.run_id}`\n", told)
    for line in (
        "`notes` changes:",
        "- new column `stars INTEGER`",
        "- new column `code INTEGER UNIQUE`",
        "- new index `CREATE INDEX notes_mood ON notes(mood)`",
        "- column `place TEXT` goes",
        "- column `mood TEXT NOT NULL` becomes `mood TEXT CHECK(mood IN ('good', 'bad'))`",
        "- the values of `mood`: `good from 'good', 'happy'; bad from 'bad', 'sad'`",
        "- `notes_legacy` keeps what it cannot hold",
    ):
        assert f"{line}\n" in told + "\n"
    own = section(page, "## Tables of the migration tool")
    assert own.strip() == "- `_migration_history`: 1 row\n- `_sqlite_migrations`: 1 row\n- `notes_legacy`: 16 rows"
    assert "_migration_history" not in page.split("## Tables of")[0]
    migrate(database, to_version=0)
    assert re.search(
        r"- Applied `.*` by run `.*`, undone `.*` by `[0-9a-f]{8}`\n", section(page_of(database), "### `0001_stars`")
    )


def test_new_tables_and_repaired_rows_are_told_too(tmp_path):
    page = page_of(made(tmp_path, "CREATE TABLE chat (id)"), notes_application(MADE_UP))
    told = section(page, "### `0001_made_up`")
    assert "`steps` is new:\n\n- new column `id INTEGER PRIMARY KEY AUTOINCREMENT`" in told
    assert "- the values of `who`: `role, only where said IN ('user', 'bot')`" in told


def test_the_same_database_makes_the_same_page_whenever_and_however_it_was_made(tmp_path, database):
    assert page_of(database) == page_of(database)
    first = made(
        tmp_path,
        "CREATE TABLE a (x)",
        "CREATE TABLE b (y REFERENCES a)",
        "CREATE INDEX i ON a (x)",
        "CREATE INDEX h ON a (x)",
    )
    page = page_of(first)
    first.unlink()
    assert (
        page_of(
            made(
                tmp_path,
                "CREATE TABLE b (y REFERENCES a)",
                "CREATE TABLE a (x)",
                "CREATE INDEX h ON a (x)",
                "CREATE INDEX i ON a (x)",
            )
        )
        == page
    )


def test_no_value_of_a_row_is_in_the_page(database):
    run_sql(database, "UPDATE notes SET body = 'a secret' || id, place = 'hidden'")
    assert not re.search("a secret|hidden", page_of(database))


def test_virtual_tables_are_told_without_their_module(tmp_path):
    database = made(tmp_path, "CREATE VIRTUAL TABLE words USING fts5(body)")
    run_sql(
        database,
        "PRAGMA writable_schema=1",
        "UPDATE sqlite_master SET sql = replace(sql, 'fts5', 'gone') WHERE name = 'words'",
    )
    assert "CREATE VIRTUAL TABLE words USING gone(body);" in section(page_of(database), "## Virtual tables")


def test_a_database_without_tables_has_a_page_without_a_diagram(tmp_path):
    with closing(sqlite3.connect(tmp_path / "empty.db")) as connection:
        connection.execute("VACUUM")
    page = page_of(tmp_path / "empty.db")
    assert page.startswith(f"{MARK}\n\n# Schema of `empty.db`\n\n0 tables\n\n## Tables\n\n## Migrations\n")


def test_the_real_application_is_described_to_the_byte(tmp_path):
    database = tmp_path / "ltmc.db"
    LTMC.make_demo(database, 20)
    before = stored(database)
    page = page_of(database, LTMC)
    assert stored(database) == before
    assert page.count("\n### ") == 10 + 1 + len(LTMC.migrations)
    assert '    "CodePatterns" |o--o{ "CodePatternContext" : "pattern_id"' in page


def test_no_lock_is_held_while_the_next_table_is_counted(database):
    """A writer who waits gets in between two tables."""
    with opened(database, read_only=True) as connection:
        seen = []
        connection.set_trace_callback(lambda sql: seen.append((sql, connection.in_transaction)))
        describe(connection)
    assert [(sql, held) for sql, held in seen if "count(*)" in sql] == [
        ('SELECT count(*) FROM "notes"', False), ('SELECT count(*) FROM "tags"', False),
    ]  # fmt: skip
    with holding(database, "BEGIN IMMEDIATE"):
        assert len(facts_of(database).tables) == 2


TEXT = f"{MARK}\nfirst\n"


def test_a_page_is_written_once_and_left_alone_where_it_says_the_same(tmp_path):
    folder = tmp_path / "docs" / "schema"
    assert write_marked(folder, "schema.md", TEXT) is True
    first = (folder / "schema.md").stat()
    assert write_marked(folder, "schema.md", TEXT) is False
    assert (folder / "schema.md").stat().st_mtime_ns == first.st_mtime_ns
    assert write_marked(folder, "schema.md", f"{MARK}\nsecond\n") is True
    assert (folder / "schema.md").read_text() == f"{MARK}\nsecond\n"
    assert [path.name for path in folder.iterdir()] == ["schema.md"]


def test_a_page_has_the_mode_that_the_user_gives_to_new_files(tmp_path):
    before = os.umask(0o027)
    try:
        write_marked(tmp_path, "schema.md", TEXT)
    finally:
        os.umask(before)
    assert (tmp_path / "schema.md").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("below", [".", "docs"])
def test_a_file_where_the_folder_would_be_is_named(tmp_path, below):
    (tmp_path / "there").write_text("mine")
    with pytest.raises(NotOursError, match="cannot be a folder: a file is in the way; name another folder"):
        write_marked(tmp_path / "there" / below, "schema.md", TEXT)
    assert (tmp_path / "there").read_text() == "mine"


@pytest.mark.parametrize("content", ["", "# Schema\n", f" {MARK}\n"])
def test_a_file_that_is_not_ours_is_never_replaced(tmp_path, content):
    (tmp_path / "schema.md").write_text(content)
    with pytest.raises(NotOursError, match="was not made by this command; move it away"):
        write_marked(tmp_path, "schema.md", TEXT)
    assert (tmp_path / "schema.md").read_text() == content
    assert len(os.listdir(tmp_path)) == 1


def test_nothing_is_written_through_a_symlink(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "ours.md").write_text(TEXT)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "schema.md").symlink_to(outside / "ours.md")
    with pytest.raises(NotOursError, match="cannot be read as a file"):
        write_marked(tmp_path / "docs", "schema.md", f"{MARK}\nother\n")
    (tmp_path / "link").symlink_to(outside)
    with pytest.raises(NotOursError, match="is a symlink; name the folder that it leads to"):
        write_marked(tmp_path / "link", "schema.md", TEXT)
    assert [(path.name, path.read_text()) for path in outside.iterdir()] == [("ours.md", TEXT)]


def test_another_name_of_our_file_keeps_its_content(tmp_path):
    write_marked(tmp_path, "schema.md", TEXT)
    (tmp_path / "kept.md").hardlink_to(tmp_path / "schema.md")
    write_marked(tmp_path, "schema.md", f"{MARK}\nother\n")
    assert (tmp_path / "kept.md").read_text() == TEXT


def test_what_is_no_file_is_in_the_way(tmp_path):
    os.mkfifo(tmp_path / "schema.md")
    with pytest.raises(NotOursError, match="is no ordinary file"):
        write_marked(tmp_path, "schema.md", TEXT)


def test_a_folder_that_takes_no_file_is_an_error_and_nothing_is_left():
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o555)
        with pytest.raises(PermissionError):
            in_child(lambda: write_marked(Path(folder), "schema.md", TEXT), as_nobody)
        assert os.listdir(folder) == []


def test_a_migration_that_changes_only_rows_of_a_table_is_told_so(database):
    told = section(page_of(database, notes_application(MADE_UP)), f"### `{MADE_UP.label}`")
    chat = told.split("`chat` ")[1].splitlines()
    assert chat[0] == "keeps its schema, and rows of it change:"
    assert chat[-1] == "- `chat_legacy` keeps their old values"
