"""Databases of the application in which an operator has added sound rules: the whole way forth and back."""

import sqlite3
from contextlib import closing

import pytest

from migrator.errors import RefusedError, ValidationError
from migrator.ltmc import LTMC
from migrator.ltmc.probes.tables import create_tables
from migrator.preflight import preflight
from migrator.tools import check_constraints, copy_for_tools
from tests.runs import columns, is_sound, migrate, rehearsed, rows, run_sql

VECTOR_ID = "ALTER TABLE CodePatterns ADD COLUMN vector_id INTEGER"
ALONE = "UPDATE CodePatterns SET input_prompt = id || input_prompt, generated_code = id || generated_code"


def made(path, *statements, of=None):
    """A demo database after `statements`; `of` is what its table of patterns is made anew with."""
    LTMC.make_demo(path, 100)
    run_sql(path, *statements)
    if of is not None:
        text = rows(path, "SELECT sql FROM sqlite_master WHERE name = 'CodePatterns'")[0][0]
        on_it = rows(path, "SELECT sql FROM sqlite_master WHERE tbl_name = 'CodePatterns' AND type <> 'table'")
        run_sql(
            path,
            "PRAGMA legacy_alter_table=1",
            "ALTER TABLE CodePatterns RENAME TO old",
            of(text.replace('"', "")),
            "INSERT INTO CodePatterns SELECT * FROM old",
            "DROP TABLE old",
            *(sql for (sql,) in on_it if sql),
        )
    return path


def with_constraint(constraint):
    return lambda text: f"{text.rstrip().removesuffix(')')}, {constraint})"


ODD = {
    "a time must be longer": ((), with_constraint("CHECK (length(created_at) > 3)")),
    "a time must be longer, in its definition": (
        (), lambda text: text.replace("created_at TEXT", "created_at TEXT CHECK (length(created_at) > 3)")
    ),
    "prompts and codes are unique": (
        (
            ALONE,
            "CREATE UNIQUE INDEX prompts ON CodePatterns (input_prompt)",
            "CREATE UNIQUE INDEX codes ON CodePatterns (generated_code, created_at)",
        ),
        None,
    ),
    "a prompt replaces its like": ((ALONE,), with_constraint("UNIQUE (input_prompt) ON CONFLICT REPLACE")),
    "the table is in lower case": ((), lambda text: text.replace("CodePatterns", "codepatterns")),
}  # fmt: skip


@pytest.mark.parametrize(("statements", "of"), ODD.values(), ids=ODD)
def test_what_an_operator_made_stricter_is_migrated_and_goes_back(tmp_path, statements, of):
    path = made(tmp_path / "ltmc.db", *statements, of=of)
    content = rows(path, "SELECT id, input_prompt, result, execution_time FROM CodePatterns ORDER BY id")
    migrate(path, LTMC)
    assert "execution_time_ms" in columns(path, "CodePatterns")
    migrate(path, LTMC, to_version=0)
    assert rows(path, "SELECT id, input_prompt, result, execution_time FROM CodePatterns ORDER BY id") == content
    assert is_sound(path)


def test_vector_ids_that_must_be_positive_keep_the_promises(tmp_path):
    path = made(tmp_path / "ltmc.db", VECTOR_ID, of=with_constraint("CHECK (vector_id > 0)"))
    migrate(path, LTMC)
    assert "vector_id" in columns(path, "CodePatterns")


def test_a_vector_id_that_replaces_its_like_breaks_the_promise_with_the_way_out(tmp_path):
    replacing = with_constraint("UNIQUE (vector_id) ON CONFLICT REPLACE")
    path = made(tmp_path / "ltmc.db", VECTOR_ID, of=replacing)
    message = (
        "does not keep the promise 'a duplicate vector_id is refused': SQLite said 'nothing'; live unchanged; "
        "look for a constraint"
    )
    with pytest.raises(ValidationError, match=message):
        check_constraints(copy_for_tools(rehearsed(path, LTMC)))


def test_a_table_of_messages_from_before_their_tools_were_noted_is_refused_before_a_file_is_made(tmp_path):
    path = made(tmp_path / "ltmc.db", "ALTER TABLE ChatHistory DROP COLUMN source_tool")
    with pytest.raises(RefusedError) as raised:
        preflight(path, LTMC)
    assert raised.value.fault == (
        "migration 0005_swapped_messages of ChatHistory reads column source_tool, which is not there"
    )
    assert raised.value.way_out == (
        "start the application once, so that it adds what its tables lack, or stop before it with --to 0004"
    )
    assert [found.name for found in tmp_path.iterdir()] == ["ltmc.db"]


def test_what_the_refusal_offers_leads_to_the_newest_version(tmp_path):
    path = made(tmp_path / "ltmc.db", "ALTER TABLE ChatHistory DROP COLUMN source_tool")
    migrate(path, LTMC, to_version=4)
    with closing(sqlite3.connect(path)) as connection:
        create_tables(connection)
        connection.commit()
    migrate(path, LTMC)
    assert rows(path, "SELECT max(name) FROM _sqlite_migrations") == [("0005_swapped_messages",)]
