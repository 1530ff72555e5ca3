"""The fleet's flow as a deployment runs it, with a child that waits at the promotion of 02.db."""

from flows.fleet import here
from flows.fleet.flow import fleet as fleet
from tests.pipeline import fleet_children

here.migrate_one = fleet_children.waits_at_promotion
