"""How often SQLite writes out a view that names views."""

import sqlite3

import pytest

from migrator.errors import RefusedError
from migrator.preflight import preflight
from migrator.readings import expansions
from migrator.schema import read_schema
from tests.notes import NOTES
from tests.runs import run_sql


@pytest.mark.parametrize(
    ("views", "counts"),
    [
        ([], {}),
        (["a AS SELECT x FROM t"], {"a": 1}),
        (["a AS SELECT x FROM t", "b AS SELECT x FROM a", "c AS SELECT x FROM b"], {"a": 1, "b": 2, "c": 3}),
        (["a AS SELECT x FROM t", 'b AS SELECT p.x FROM A AS p, "a" AS q, [a] AS r'], {"a": 1, "b": 4}),
        (["b AS SELECT x FROM a, a", "a AS SELECT x FROM t"], {"a": 1, "b": 3}),
        (["a AS SELECT x FROM b", "b AS SELECT x FROM a"], {"a": 3, "b": 2}),
        (["a AS SELECT x FROM a"], {"a": 1}),
    ],
)
def test_a_view_stands_for_all_that_it_names(views, counts):
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (x)")
    for view in views:
        connection.execute(f"CREATE VIEW {view}")
    assert expansions(read_schema(connection, frozenset())) == counts


def test_two_thousand_views_one_on_the_other_need_no_deep_stack():
    connection = sqlite3.connect(":memory:")
    for n in range(2_000, 0, -1):
        connection.execute(f"CREATE VIEW v{n} AS SELECT x FROM v{n - 1}")
    assert expansions(read_schema(connection, frozenset()))["v2000"] == 2_000


def test_views_that_nobody_can_read_are_named_before_anything_is_done(database):
    run_sql(database, "CREATE VIEW v0 AS SELECT id FROM notes")
    run_sql(database, *(f"CREATE VIEW v{n + 1} AS SELECT a.id FROM v{n} AS a, v{n} AS b" for n in range(14)))
    with pytest.raises(RefusedError, match=r"view v13 stands for 16,383 SELECTs, .* nobody can read it; drop it"):
        preflight(database, NOTES)
