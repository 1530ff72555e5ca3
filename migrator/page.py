"""Pages for people: each one file without references to others, that needs neither network nor JavaScript."""

from __future__ import annotations

from pathlib import Path

_TEMPLATES = Path(__file__).parent


def render(template: str, **values: object) -> str:
    """The page that `template`, a path below this package, makes of `values`; what they hold is text, never markup."""
    # Imported only here: what refuses or is up to date answers without it.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(values)
