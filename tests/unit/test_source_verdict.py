"""Whether the application would make an old table on a new file, as far as its source says."""

import pytest

from migrator.health.source_verdict import judge_source
from migrator.ltmc import LTMC
from migrator.ltmc.probes.tables import CODE_PATTERNS
from tests.unit.source_trees import after, before, write

OLD = f"c.execute('''CREATE TABLE {CODE_PATTERNS}''')\n"


def codes(folder, schema, version=1):
    return [found.code for found in judge_source(folder, schema, LTMC, version)]


def test_an_old_table_is_a_fault_only_where_the_migration_is_in_force(tmp_path):
    write(tmp_path, {"app.py": OLD})
    assert codes(tmp_path, after()) == ["old_schema"]
    assert codes(tmp_path, before(), version=0) == ["source_not_compared"]


@pytest.mark.parametrize(
    "altered",
    [
        "c.execute(f'ALTER TABLE CodePatterns ADD COLUMN {name} TEXT')",
        "c.execute('ALTER TABLE CodePatterns RENAME COLUMN language TO tags')",
        "c.execute('ALTER TABLE codepatterns DROP COLUMN language')",
    ],
)
def test_a_table_that_the_source_alters_afterwards_is_not_compared(tmp_path, altered):
    write(tmp_path, {"app.py": OLD + altered})
    (found,) = judge_source(tmp_path, after(), LTMC, 1)
    assert (found.code, found.message) == (
        "source_not_compared", f"no CREATE TABLE of CodePatterns can be read in {tmp_path}",
    )  # fmt: skip


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    write(tmp_path, {"app.py": OLD, "new.py": "def f(:", "tests/test_app.py": "def f(:"})
    found = list(judge_source(tmp_path, after(), LTMC, 1))
    assert [f.code for f in found] == ["source_not_compared", "old_schema"]
    assert f"{tmp_path / 'new.py'} was not read: no Python source" in found[0].message
