"""The pieces of SQL that a projection is made of: names for what stands beside a column, and comparisons."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from migrator.ddl import quote, tokens
from migrator.schema import Column


def reads_rows(sql: str) -> bool:
    """Whether an expression reads other rows: by a SELECT, a window or `IN table` (sqlite.org/lang_expr.html)."""
    found = list(tokens(sql))
    return any(t.keyword in ("select", "over") for t in found) or any(
        t.keyword == "in" and after.text != "(" for t, after in pairwise(found)
    )


def select(columns: Iterable[str], source: str) -> str:
    """SELECT of `columns`, each as SQL, from a table or a SELECT in parentheses."""
    return f"SELECT {', '.join(columns)} FROM {source}"


def default_of(column: Column) -> str:
    """A column that a table lacks, as its default."""
    return f"{column.default or 'NULL'} AS {quote(column.name)}"


def was_of(column: str) -> str:
    """The name of the source's value of `column`."""
    return quote(f"_was_{column}")


def again_of(column: str) -> str:
    """The name of what the other direction would make of `column`."""
    return quote(f"_again_{column}")


def left_of(column: str) -> str:
    """The name of what the other direction left in `column` when it put a row's values aside."""
    return quote(f"_left_{column}")


def same_of(column: str) -> str:
    """The name of an identity column's value in the row whose values were put aside."""
    return quote(f"_same_{column}")


def new_of(column: str) -> str:
    """The name of what `column` gets where nothing is given back."""
    return quote(f"_new_{column}")


def unlike(left: str, right: str) -> str:
    """Whether two values differ in type or bytes; no collation and no numeric equality hides a difference."""
    return f"typeof({left}) <> typeof({right}) OR {left} IS NOT {right} COLLATE BINARY"


def unlike_as_text(left: str, right: str) -> str:
    """`unlike` where one of both cannot be a number: only numbers of two types are equal to each other.

    The + takes the columns' affinities away, so that nothing is converted (sqlite.org/datatype3.html, section 4.2).
    """
    return f"+{left} IS NOT +{right} COLLATE BINARY"
