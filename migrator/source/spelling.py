"""SQL as a line of text shows it."""

from __future__ import annotations

from migrator.ddl import tokens


def spelled(sql: str) -> str:
    """`sql` on one line, without comments."""
    parts: list[str] = []
    end = 0
    for token in tokens(sql):
        parts += [" " if parts and token.start > end else "", token.text]
        end = token.end
    return "".join(parts)
