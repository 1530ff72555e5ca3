"""A finding: something that an operator should know and that stops nothing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """`code` is stable and machine-readable, `message` is for people, `count` is how often it was found."""

    code: str
    message: str
    count: int = 1
