"""A fault: a finding for which a database is not healthy."""

from __future__ import annotations

from dataclasses import dataclass

from migrator.findings import Finding


@dataclass(frozen=True)
class Fault(Finding):
    """`code`, `message` and `count` as in any finding; among others it is the one to act on."""
