"""The notes database in both journal modes; a module that needs only one has its own `database`."""

import pytest

from tests.notes import make_notes


@pytest.fixture(params=["delete", "wal"])
def database(tmp_path, request):
    path = tmp_path / "notes.db"
    make_notes(path, journal_mode=request.param)
    return path
