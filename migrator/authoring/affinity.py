"""What a column makes of a value that is stored in it, and the same as SQL for a column that changes its type.

A migration's values must be of the type that the column stores (see Change), so that what is compared is what was
declared; a column whose type changes needs its new affinity written out.
"""

from __future__ import annotations

from typing import Literal

Affinity = Literal["INTEGER", "TEXT", "BLOB", "REAL", "NUMERIC"]

STORED: dict[Affinity, frozenset[str]] = {
    "INTEGER": frozenset({"integer"}),
    "REAL": frozenset({"real"}),
    "NUMERIC": frozenset({"integer", "real"}),
    "TEXT": frozenset({"text"}),
    "BLOB": frozenset({"integer", "real", "text", "blob"}),
}
"""The values, by typeof(), that one expects in a column; it takes others as they are, unless its table is STRICT."""


def affinity(type_: str, *, strict: bool = False) -> Affinity:
    """The affinity of a declared type. sqlite.org/datatype3.html section 3.1, sqlite.org/stricttables.html."""
    name = type_.upper()
    if strict and name == "ANY":
        return "BLOB"
    if "INT" in name:
        return "INTEGER"
    if any(part in name for part in ("CHAR", "CLOB", "TEXT")):
        return "TEXT"
    if not name or "BLOB" in name:
        return "BLOB"
    return "REAL" if any(part in name for part in ("REAL", "FLOA", "DOUB")) else "NUMERIC"


def stored_as(column_sql: str, before: Affinity, after: Affinity) -> str | None:
    """SQL for what a column of affinity `after` stores of the values of one of affinity `before`.

    None where it stores them as they are. Applied twice it is the same as once. Text that is no number stays text, as
    in a column of that type; it is for `lint` and the operator to see it.
    """
    numbers = ("INTEGER", "NUMERIC")
    if after in ("BLOB", before) or (before in numbers and after in numbers):
        return None
    if after == "TEXT":
        is_number = f"typeof({column_sql}) IN ('integer', 'real')"
        return f"CASE WHEN {is_number} THEN CAST({column_sql} AS TEXT) ELSE {column_sql} END"
    # In a comparison with a number, text that is one is compared as one (section 4.2): the same rule as on storing.
    number = f"CAST({column_sql} AS NUMERIC)"
    if after == "REAL":
        return f"CASE WHEN {number} = {column_sql} THEN CAST({column_sql} AS REAL) ELSE {column_sql} END"
    # The CAST leaves 1e18 a REAL, the column does not; the smallest integer is the one that it leaves.
    return (
        f"CASE WHEN {number} <> {column_sql} THEN {column_sql}\n"
        f"WHEN CAST({number} AS INTEGER) = {number}\n"
        f"AND {number} > -9223372036854775808 THEN CAST({number} AS INTEGER)\n"
        f"ELSE {number} END"
    )
