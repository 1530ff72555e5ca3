"""The calls of sqlite-utils, which builds SQL of its own: they are counted, because there is no text to compile.

sqlite-utils.datasette.io/en/stable/reference.html
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

from migrator.source.path import last_name
from migrator.source.tree import SourceFile

RUNNERS = frozenset({"query", "execute_returning_dicts"})
"""Methods of its Database whose first argument is SQL; other libraries have a `query` that takes something else."""
BUILDS_SQL = "sqlite-utils builds its SQL when it runs"
_OWN = frozenset({
    "add_column", "add_foreign_key", "add_foreign_keys", "analyze_column", "count_where", "create_index",
    "create_table", "create_view", "delete_where", "enable_fts", "insert_all", "pks_and_rows_where", "rows_where",
    "upsert", "upsert_all",
})  # fmt: skip
_OF_A_TABLE = frozenset(
    {
        "convert",
        "create",
        "delete",
        "drop",
        "extract",
        "get",
        "insert",
        "lookup",
        "m2m",
        "search",
        "transform",
        "update",
    }
)
"""Names that lists and dicts have too: they count on what is taken from a database by its name."""
_DATABASE = re.compile(r"db|database", re.IGNORECASE)


def is_used(files: Iterable[SourceFile]) -> bool:
    """Whether one of the files imports it: a database is handed on to others."""
    return any(_imports(node) for file in files for node in ast.walk(file.tree))


def built_at_run_time(file: SourceFile) -> Iterator[ast.Call]:
    """The calls of `file` for which it builds SQL, where it is used at all."""
    tables = {
        target.id
        for node in ast.walk(file.tree)
        if isinstance(node, ast.Assign) and _is_table(node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            name, owner = node.func.attr, node.func.value
            of_table = _is_table(owner) or (isinstance(owner, ast.Name) and owner.id in tables)
            if name in _OWN or (name in _OF_A_TABLE and of_table):
                yield node


def _imports(node: ast.AST) -> bool:
    names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
    names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
    return any(name.partition(".")[0] == "sqlite_utils" for name in names)


def _is_table(node: ast.expr) -> bool:
    """`db["T"]`, `db.table("T")` or `db.view("T")`."""
    if isinstance(node, ast.Subscript):
        return _DATABASE.search(last_name(node.value)) is not None
    called = node.func if isinstance(node, ast.Call) else None
    return (
        isinstance(called, ast.Attribute)
        and called.attr in ("table", "view")
        and _DATABASE.search(last_name(called.value)) is not None
    )
