"""The fleet's flow as a deployment runs it, with the child in $CHILD: one that waits at the promotion of 02.db."""

import os

from flows.fleet import here
from flows.fleet.flow import fleet as fleet
from tests.pipeline import fleet_children

here.migrate_one = getattr(fleet_children, os.environ.get("CHILD", "waits_at_promotion"))
