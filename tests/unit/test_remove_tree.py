"""A run's folder goes, in pieces, and nothing else with it."""

import os
import shutil

import pytest

from migrator import files
from migrator.files import remove_tree


@pytest.fixture(autouse=True)
def sizes(monkeypatch):
    """Sizes to which files were cut; a piece is a kilobyte."""
    cut, truncate = [], os.truncate

    def noting(path, size):
        cut.append(size)
        truncate(path, size)

    monkeypatch.setattr(files, "_PIECE_BYTES", 1024)
    monkeypatch.setattr(files, "_PIECE_PAUSE_S", 0.0)
    monkeypatch.setattr(files.os, "truncate", noting)
    return cut


@pytest.fixture
def directory(tmp_path):
    made = tmp_path / "run"
    (made / "scratch" / "deep").mkdir(parents=True)
    for name, size in (("backup.db", 3000), ("small", 1024), ("scratch/candidate.db", 2048), ("scratch/deep/none", 0)):
        (made / name).write_bytes(b"x" * size)
    return made


def test_everything_in_it_is_gone_large_files_a_piece_at_a_time(directory, sizes):
    remove_tree(directory)
    assert os.listdir(directory.parent) == []
    assert sorted(sizes) == [952, 1024, 1976]


def test_again_there_is_nothing_to_do(directory):
    remove_tree(directory)
    remove_tree(directory)
    remove_tree(directory.parent / "never there")


def test_what_a_symlink_leads_to_stays(directory, tmp_path):
    (tmp_path / "precious").mkdir()
    for name in ("file", "precious/file"):
        (tmp_path / name).write_bytes(b"y" * 5000)
    (directory / "scratch" / "link").symlink_to(tmp_path / "file")
    (directory / "folder").symlink_to(tmp_path / "precious")
    remove_tree(directory)
    assert not directory.exists()
    assert [len((tmp_path / name).read_bytes()) for name in ("file", "precious/file")] == [5000, 5000]


def test_a_symlink_in_its_place_leads_nowhere(directory, tmp_path):
    (tmp_path / "link").symlink_to(directory)
    remove_tree(tmp_path / "link")
    assert (directory / "backup.db").stat().st_size == 3000


def test_a_file_that_has_another_name_elsewhere_keeps_its_content_there(directory, tmp_path):
    os.link(directory / "backup.db", tmp_path / "kept.db")
    remove_tree(directory)
    assert (tmp_path / "kept.db").read_bytes() == b"x" * 3000


def test_what_cannot_be_cut_is_removed_all_the_same(directory, monkeypatch):
    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(files.os, "truncate", refuse)
    remove_tree(directory)
    assert not directory.exists()


def test_what_cannot_be_removed_is_no_error(directory, monkeypatch):
    monkeypatch.setattr(shutil, "rmtree", lambda path, ignore_errors=False: ignore_errors or 1 / 0)
    remove_tree(directory)
