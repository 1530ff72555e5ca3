"""Any name and any way to a database leads to the same one."""

import os

import pytest

from migrator.errors import RefusedError
from migrator.journal import journal_path
from migrator.preflight import preflight
from tests.notes import NOTES, make_notes
from tests.runs import migrate, rows


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "notes.db"
    make_notes(path, rows=20)
    return path


def test_a_symlink_is_followed_and_stays_a_symlink(database, tmp_path):
    link = tmp_path / "elsewhere" / "link.db"
    link.parent.mkdir()
    link.symlink_to(database)
    live = preflight(link, NOTES)
    assert live.database == database.resolve()
    migrate(link)
    assert link.is_symlink() and rows(database, "SELECT stars FROM notes LIMIT 1") == [(None,)]
    assert os.listdir(link.parent) == ["link.db"]


def test_two_runs_in_the_same_second_have_directories_of_their_own(database):
    assert preflight(database, NOTES).directory != preflight(database, NOTES).directory


@pytest.mark.parametrize("name", ["a b.db", "what?.db", "50%25.db", "a#b.db", 'it\'s "x".db', "größe.db"])
def test_any_file_name_is_migrated_and_reversed(tmp_path, name):
    path = tmp_path / os.fsdecode(name)
    make_notes(tmp_path / "plain.db", rows=3)
    os.rename(tmp_path / "plain.db", path)
    migrate(path)
    assert preflight(path, NOTES).from_version == 1
    migrate(path, to_version=0)
    assert preflight(path, NOTES).from_version == 0
    assert not journal_path(path).exists()


@pytest.mark.parametrize("link", [False, True])
def test_a_name_that_is_no_text_is_refused_however_it_is_reached(database, link):
    odd = database.with_name(os.fsdecode(b"\xff\xfe.db"))
    odd.symlink_to(database) if link else database.rename(odd)
    with pytest.raises(RefusedError, match=r"path b'.*/\\xff\\xfe.db' is not UTF-8; rename it$"):
        preflight(odd, NOTES)
    if not link:
        database.symlink_to(odd)
        with pytest.raises(RefusedError, match=r"is not UTF-8; rename it$"):
            preflight(database, NOTES)


def test_a_relative_path_is_migrated(database, monkeypatch):
    monkeypatch.chdir(database.parent)
    migrate(database.relative_to(database.parent))
    assert preflight(database, NOTES).plan is None
