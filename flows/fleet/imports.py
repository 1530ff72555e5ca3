"""What the fork server of a fleet imports before its first child, so that no child does. For nobody else."""

import gc

import pygal  # type: ignore[import-untyped]  # noqa: F401

import flows.fleet.child
import flows.fleet.flow
import flows.migrate  # noqa: F401
from migrator.page import environment

for template in ("page.html", "report.html"):
    environment().get_template(template)

# A collection in a child would touch, and so copy, every page that it shares with the others.
gc.collect()
gc.freeze()
