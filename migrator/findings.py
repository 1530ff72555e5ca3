"""A finding: something that an operator should know and that stops nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass

_COUNTED = re.compile("(row|tool)s\\b")


@dataclass(frozen=True)
class Finding:
    """`code` is stable and machine-readable, `message` is for people, `count` is how often it was found."""

    code: str
    message: str
    count: int = 1

    @property
    def text(self) -> str:
        """The message and how often it was found, for people; one about rows or tools begins with their number."""
        counted = _COUNTED.match(self.message)
        if counted is not None:
            return f"{self.count:,} {counted[1]}{'s' * (self.count != 1)}{self.message[counted.end() :]}"
        return self.message if self.count == 1 else f"{self.message} ({self.count:,})"
