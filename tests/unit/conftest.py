"""The notes database in both journal modes; a module that needs only one has its own `database`."""

import os
import tempfile
from pathlib import Path

import pytest

from tests.notes import make_notes


@pytest.fixture(params=["delete", "wal"])
def database(tmp_path, request):
    path = tmp_path / "notes.db"
    make_notes(path, journal_mode=request.param)
    return path


@pytest.fixture
def folder(tmp_path):
    """A folder in memory where the machine has one: for tests of what is written, a hundred times, not of a disk."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        yield Path(name)
