"""Migrations that somebody may write next, each a file in the folder: of indexes alone, and two that rename a table."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from migrator import ltmc
from migrator.errors import RehearsalError
from migrator.loading import load_migrations
from migrator.ltmc import LTMC
from tests.pipeline.runs import NEWEST, PLENTY_MS
from tests.pipeline.test_versions import WAYS, hashed, to
from tests.runs import rows, run_sql

WRITTEN = '''"""Made up for a test."""

from migrator.migration import Change, Migration

MIGRATION = Migration(changes=({changes}))
'''
GOES, COMES = (
    f"CREATE INDEX idx_codepatterns_result ON CodePatterns({columns})" for columns in ("result", "result, tags")
)
BY_TAGS = "CREATE INDEX idx_codepatterns_tags ON CodePatterns(tags)"
INDEXES = f"Change('CodePatterns', indexes=({COMES!r}, {BY_TAGS!r}), drops=({GOES!r},)),"
OLD = "CREATE TABLE Notes (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT)"
NEW = "CREATE TABLE Remarks (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL)"
LINKS = "CREATE TABLE Links (note INTEGER REFERENCES Notes (id), url TEXT)"
NEW_TABLE = f"Change('Remarks', after={NEW!r}),"
OLD_GOES = f"Change('Notes', before={OLD!r}),"
PARENT = f"Change('Links', before={LINKS!r}, after={LINKS.replace('Notes', 'Remarks')!r}),"

Writes = Callable[..., None]


@pytest.fixture
def declare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Writes:
    """Puts files with these changes into a copy of the folder of migrations, and changes nothing else."""
    monkeypatch.setattr("tasks.prove.MEMORY_S", 0.0)
    folder = tmp_path / "migrations"
    shutil.copytree(Path(ltmc.__file__).parent / "migrations", folder)

    def write(*files: str) -> None:
        for number, changes in enumerate(files, NEWEST + 1):
            text = WRITTEN.format(changes=changes)
            (folder / f"m{number:04d}_made_up_{number}.py").write_text(text, encoding="utf-8")
        monkeypatch.setattr("flows.migrate.LTMC", replace(LTMC, migrations=load_migrations(folder)))

    return write


def root_page(database: Path, table: str = "CodePatterns") -> list[tuple[int]]:
    """Where the table begins in the file: a table that is made anew begins elsewhere."""
    return rows(database, f"SELECT rootpage FROM sqlite_master WHERE name = '{table}'")


def indexes(database: Path) -> set[str]:
    return {sql for (sql,) in rows(database, "SELECT sql FROM sqlite_master WHERE type = 'index' AND sql > ''")}


@pytest.mark.parametrize("way", WAYS)
def test_a_migration_of_indexes_alone_is_one_file_and_leaves_its_table_where_it_is(
    demo: Path, declare: Writes, way: str
) -> None:
    declare(INDEXES)
    to(demo, NEWEST, max_lock_ms=PLENTY_MS)
    old, page, lock = hashed(demo), root_page(demo), {"max_lock_ms": WAYS[way]}
    there = to(demo, NEWEST + 1, **lock)
    assert there["promote"]["strategy"] == way
    steps = [step["name"] for step in there["steps"]]
    assert "drop indexes of CodePatterns" in steps and "create indexes" in steps
    assert not [name for name in steps if name.startswith(("add column", "convert", "rebuild"))]
    assert {COMES, BY_TAGS} <= indexes(demo) and GOES not in indexes(demo)
    assert (root_page(demo) == page) is (way == "one_transaction")
    to(demo, NEWEST, **lock)
    assert hashed(demo) == old
    assert (root_page(demo) == page) is (way == "one_transaction")


def test_a_migration_of_indexes_alone_goes_together_with_all_others(demo: Path, declare: Writes) -> None:
    declare(INDEXES)
    old = hashed(demo)
    to(demo, NEWEST + 1, max_lock_ms=PLENTY_MS)
    assert {COMES, BY_TAGS} <= indexes(demo) and GOES not in indexes(demo)
    to(demo, 0)
    assert hashed(demo) == old


@pytest.fixture
def with_notes(demo: Path) -> Path:
    """With a table of the application's whose name is to change, and one that refers to it."""
    run_sql(demo, OLD, LINKS, "INSERT INTO Notes (id, body) VALUES (3, 'three'), (4, 'four')")
    run_sql(demo, "INSERT INTO Links VALUES (3, 'https://three')")
    to(demo, NEWEST, max_lock_ms=PLENTY_MS)
    return demo


@pytest.mark.parametrize("way", WAYS)
def test_a_table_is_renamed_by_two_migrations_between_which_the_application_changes_over(
    with_notes: Path, declare: Writes, way: str
) -> None:
    declare(NEW_TABLE, OLD_GOES + PARENT)
    old, lock = hashed(with_notes), {"max_lock_ms": WAYS[way]}
    to(with_notes, NEWEST + 1, **lock)
    # The application at work goes on to write to the old table, until the next one comes, which begins with a copy.
    run_sql(with_notes, "INSERT INTO Notes (body) VALUES ('five')")
    run_sql(with_notes, "INSERT INTO Remarks SELECT * FROM Notes")
    to(with_notes, NEWEST + 2, **lock)
    assert rows(with_notes, "SELECT * FROM Remarks") == [(3, "three"), (4, "four"), (5, "five")]
    assert rows(with_notes, "SELECT url, body FROM Links JOIN Remarks ON note = id") == [("https://three", "three")]
    assert rows(with_notes, "SELECT \"table\" FROM pragma_foreign_key_list('Links')") == [("Remarks",)]
    assert rows(with_notes, "PRAGMA foreign_key_check") == rows(with_notes, "PRAGMA foreign_key_check(CodePatterns)")
    run_sql(with_notes, "INSERT INTO Remarks (body) VALUES ('six')")
    # Back, the old table is as it went, and what came since is in neither table but kept.
    to(with_notes, NEWEST, **lock)
    assert rows(with_notes, "SELECT * FROM Notes") == [(3, "three"), (4, "four"), (5, "five")]
    assert rows(with_notes, "SELECT body FROM Remarks_ahead WHERE id > 5") == [("six",)]
    (schema, content), (schema_before, content_before) = hashed(with_notes), old
    assert schema == schema_before
    assert {name for name in content if content[name] != content_before[name]} == {"Notes", "sqlite_sequence"}


def test_a_table_that_a_view_or_a_foreign_key_still_names_does_not_go(with_notes: Path, declare: Writes) -> None:
    declare(NEW_TABLE, OLD_GOES)
    run_sql(with_notes, "CREATE VIEW bodies AS SELECT body FROM Notes")
    to(with_notes, NEWEST + 1, max_lock_ms=PLENTY_MS)
    before = hashed(with_notes)
    message = r"breaks table Links \(its foreign key leads to Notes, which is gone\), view bodies .*; live unch"
    with pytest.raises(RehearsalError, match=message):
        to(with_notes, NEWEST + 2, max_lock_ms=PLENTY_MS)
    assert hashed(with_notes) == before
