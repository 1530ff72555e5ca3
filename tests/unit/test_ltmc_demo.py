"""The demo database: the application's own, un-migrated, with the rows that a migration stumbles over."""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from migrator.ltmc import demo
from migrator.ltmc.demo import make_demo

REPO = Path(__file__).resolve().parents[2]
REAL = REPO.parent / "shared" / "data" / "ltmc_20250809.db"

KNOWN_RESULTS = {"pass", "success", "passed", "ok", "fail", "error", "failed", "failure", "partial"}
TABLES = {
    "Resources",
    "ResourceChunks",
    "ChatHistory",
    "ContextLinks",
    "Summaries",
    "Todos",
    "CodePatterns",
    "CodePatternContext",
    "VectorIdSequence",
    "RetrievalWeights",
}


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    path = tmp_path_factory.mktemp("demo") / "ltmc.db"
    make_demo(path, rows=1000)
    with closing(sqlite3.connect(path)) as opened:
        yield opened


def values(connection: sqlite3.Connection, query: str) -> list[object]:
    return [row[0] for row in connection.execute(query)]


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def stored_tables(connection: sqlite3.Connection) -> dict[str, str]:
    query = "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!'"
    return dict(connection.execute(query))


def test_the_ten_tables_are_there_and_sound(connection):
    assert set(stored_tables(connection)) == TABLES
    assert values(connection, "PRAGMA integrity_check") == ["ok"]
    assert values(connection, "PRAGMA foreign_key_check") == []
    assert values(connection, "PRAGMA journal_mode") == ["delete"]


@pytest.mark.skipif(not REAL.exists(), reason="the real database is not beside the checkout")
def test_the_tables_are_those_of_the_real_database_letter_for_letter(connection):
    with closing(sqlite3.connect(f"file:{REAL}?mode=ro&immutable=1", uri=True)) as real:
        assert stored_tables(connection) == stored_tables(real)


def test_every_table_the_application_fills_has_rows(connection):
    counts = {table: values(connection, f"SELECT COUNT(*) FROM {table}")[0] for table in TABLES}
    assert counts == {
        "Resources": 52,
        "ResourceChunks": 135,
        "ChatHistory": 1000,
        "ContextLinks": 1000,
        "Summaries": 0,
        "Todos": 21,
        "CodePatterns": 1000,
        "CodePatternContext": 97,
        "VectorIdSequence": 149,
        "RetrievalWeights": 1,
    }


@pytest.mark.parametrize("rows", [0, 1, 2, 40, 300])
def test_it_has_as_many_patterns_as_asked_for(tmp_path, rows):
    make_demo(tmp_path / "ltmc.db", rows=rows, row_bytes=60)
    with closing(sqlite3.connect(tmp_path / "ltmc.db")) as connection:
        assert values(connection, "SELECT COUNT(*) FROM CodePatterns") == [rows]


def test_a_pattern_has_about_the_bytes_asked_for(connection):
    size = "length(CAST(input_prompt || generated_code || coalesce(error_message, '') || created_at AS BLOB))"
    assert 500 < values(connection, f"SELECT AVG({size}) FROM CodePatterns WHERE id > 100")[0] < 700


def test_the_same_seed_makes_the_same_database_and_another_seed_another(tmp_path):
    for name, seed in (("first", 1), ("second", 1), ("third", 2)):
        make_demo(tmp_path / name, rows=120, seed=seed, row_bytes=80)
    assert dump(tmp_path / "first") == dump(tmp_path / "second") != dump(tmp_path / "third")


def test_an_existing_file_is_refused_and_stays_as_it_was(tmp_path):
    path = tmp_path / "ltmc.db"
    path.write_bytes(b"somebody's data")
    with pytest.raises(FileExistsError):
        make_demo(path)
    assert path.read_bytes() == b"somebody's data"


def test_a_demo_that_could_not_be_finished_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "OBJECTS", ("CREATE INDEX broken ON Nowhere (id)",))
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        make_demo(tmp_path / "ltmc.db", rows=1)
    assert list(tmp_path.iterdir()) == []


def test_every_result_can_be_read_without_asking_the_operator(connection):
    results = Counter(values(connection, "SELECT result FROM CodePatterns"))
    assert set(results) > {"pass", "fail", "partial", "success", "PASS", " ok ", "error", "Failed"}
    assert {result.strip(" ").lower() for result in results} <= KNOWN_RESULTS
    assert results["pass"] + results["fail"] + results["partial"] > 850


def test_the_awkward_execution_times_are_stored_as_they_are(connection):
    rows = connection.execute("SELECT execution_time, typeof(execution_time) FROM CodePatterns").fetchall()
    expected = {
        (None, "null"),
        (0.0, "real"),
        (0.0004, "real"),
        (1.001, "real"),
        (1.005, "real"),
        (2.3, "real"),
        (-0.25, "real"),
        (1e300, "real"),
        (float("inf"), "real"),
        ("slow", "text"),
        (b"\x00\xff", "blob"),
    }
    assert expected <= set(rows)


def test_every_awkward_result_meets_every_awkward_time(connection):
    pairs = set(connection.execute("SELECT result, execution_time FROM CodePatterns WHERE id <= 90"))
    assert len(pairs) == 88


def test_texts_are_empty_multiline_non_ascii_and_hold_a_nul(connection):
    prompts = set(values(connection, "SELECT input_prompt FROM CodePatterns"))
    assert {"", "two\nlines", "a NUL \x00 inside", "名前を変更 🚀"} <= prompts
    assert {"", None, "python", "Español"} == set(values(connection, "SELECT language FROM CodePatterns"))


def test_todos_are_completed_in_odd_words_and_lack_a_priority(connection):
    assert set(values(connection, "SELECT completed FROM Todos")) == {0, 1, None, 2, "true", ""}
    assert {None, "low", "medium", "high"} == set(values(connection, "SELECT priority FROM Todos"))
    assert {"", "two\nlines", "a NUL \x00 inside"} < set(values(connection, "SELECT description FROM Todos"))


def test_vector_ids_have_gaps_and_row_1_knows_none_of_them(connection):
    ids = values(connection, "SELECT vector_id FROM ResourceChunks ORDER BY 1")
    assert (ids[0], ids[-1], len(ids)) == (2, 148, 135)
    assert values(connection, "SELECT last_vector_id FROM VectorIdSequence WHERE id IN (1, 6)") == [0, None]


def test_thirteen_messages_are_stored_swapped_and_three_only_look_so(connection):
    roles = "('user', 'assistant', 'system')"
    swapped = f"SELECT id FROM ChatHistory WHERE content IN {roles} AND role NOT IN {roles}"
    sentences = f"{swapped} AND conversation_id LIKE '% %' AND role LIKE 'session!_%' ESCAPE '!'"
    assert values(connection, sentences) == [75 * n for n in range(1, 14)]
    assert values(connection, swapped) == sorted([6, 10, 12, *values(connection, sentences)])
    more = "agent_name IS NULL AND metadata IS NULL AND source_tool IS NULL"
    assert values(connection, f"{sentences} AND {more}") == values(connection, sentences)


def test_ids_have_gaps_and_autoincrement_remembers_a_deleted_newest_row(connection):
    ids = values(connection, "SELECT id FROM CodePatterns ORDER BY id")
    mark = values(connection, "SELECT seq FROM sqlite_sequence WHERE name = 'CodePatterns'")[0]
    assert (ids[0], ids[36], ids[37]) == (1, 37, 39)
    assert (ids[-1], mark) == (1027, 1028)


def test_times_of_creation_grow_with_the_ids(connection):
    created = values(connection, "SELECT created_at FROM CodePatterns ORDER BY id")
    assert created[:2] == ["2025-08-09T02:19:19.817507", "2025-08-09T02:19:26.817630"]
    assert created == sorted(set(created))


def test_a_users_index_view_trigger_and_statistics_are_there(connection):
    query = "SELECT type, name FROM sqlite_master WHERE type <> 'table' AND sql IS NOT NULL"
    assert set(connection.execute(query)) == {
        ("index", "patterns_with_error"),
        ("view", "failed_attempts"),
        ("trigger", "remember_attempt"),
    }
    assert "CodePatterns" in values(connection, "SELECT tbl FROM sqlite_stat1")


def test_the_users_objects_name_no_column_that_the_migration_drops(connection):
    objects = values(connection, "SELECT sql FROM sqlite_master WHERE type <> 'table' AND sql IS NOT NULL")
    assert not [text for text in objects if "language" in text or "execution_time" in text]
