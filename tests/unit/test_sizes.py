"""Sizes as people read them."""

import re
from pathlib import Path

import pytest

import flows
import migrator
from migrator.sizes import size_text


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1024, "1.0 kB"),
        (151_552, "151.6 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (1 << 20, "1.0 MB"),
        (20e9, "20.0 GB"),
        (999.9e12, "999.9 TB"),
    ],
)
def test_a_size_is_in_units_of_1000_and_fits_a_column(size_bytes, text):
    assert size_text(size_bytes) == text
    assert len(text) <= 8


def test_no_unit_is_spelt_for_both_1000_and_1024():
    folders = [Path(package.__path__[0]) for package in (flows, migrator)]
    texts = {path: path.read_text(encoding="utf-8") for folder in folders for path in folder.rglob("*.py")}
    assert len(texts) > 100
    assert [path.name for path, text in texts.items() if re.search(r"\b\d* ?(KB|Kb|kb)\b", text)] == []
