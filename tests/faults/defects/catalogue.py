"""Every defect that somebody wrote down; those drawn from a seed are in `generated`."""

from tests.faults.defects import later, promoted, rows, schema, surroundings, tools
from tests.faults.defects.course import Defect

WRITTEN: tuple[Defect, ...] = (
    *schema.DEFECTS,
    *rows.DEFECTS,
    *surroundings.DEFECTS,
    *tools.DEFECTS,
    *promoted.DEFECTS,
    *later.DEFECTS,
)
