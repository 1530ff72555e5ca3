"""Sizes for people."""

from __future__ import annotations

_UNITS = (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


def size_text(size_bytes: float) -> str:
    """A size in the units of disks, of 1000 (BIPM, The International System of Units, table 7): at most 8 characters
    below 1000 TB."""
    for unit, factor in _UNITS:
        # What would be 1000.0 of the next smaller unit.
        if size_bytes >= 0.99995 * factor:
            return f"{size_bytes / factor:.1f} {unit}"
    return f"{size_bytes:.0f} B"
