"""Pages for people: each one file without references to others, that needs neither network nor JavaScript."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment

_TEMPLATES = Path(__file__).parent


def render(template: str, **values: object) -> str:
    """The page that `template`, a path below this package, makes of `values`; what they hold is text, never markup."""
    return environment().get_template(template).render(values)


@cache
def environment() -> Environment:
    """Jinja's, which keeps each template that it has compiled."""
    # Imported only here: what refuses or is up to date answers without it.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
