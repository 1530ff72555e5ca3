"""What the fork server of a fleet imports before its first child, so that no child does. For nobody else."""

import gc
import sys

import jinja2  # noqa: F401
import pygal  # type: ignore[import-untyped]  # noqa: F401

import flows.fleet
import flows.fleet_child
import flows.migrate

# multiprocessing has each child run the fleet's main module again, unless it finds that this was done already.
sys.modules["__main__"].__spec__ = flows.fleet.__spec__
# A collection in a child would touch, and so copy, every page that it shares with the others.
gc.collect()
gc.freeze()
