"""How many examples a property is tried on: few and the same in every run, many and new ones with FAULTS=full."""

import os

from hypothesis import settings

MANY_TIMES = 25


def examples(few: int) -> settings:
    """For a property of which `few` examples take a second or two."""
    full = os.environ.get("FAULTS") == "full"
    return settings(deadline=None, max_examples=few * (MANY_TIMES if full else 1), derandomize=not full)
