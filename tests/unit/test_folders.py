"""Private folders go with their program, also with one that was killed; nobody else's goes."""

import os
import threading

import pytest

from migrator.health.folders import alone, private_folder
from tests.children import running

MAKE = """
import sys
from pathlib import Path
from migrator.health.folders import private_folder
with private_folder(Path(sys.argv[1]), "verify-", Path(sys.argv[2])) as made:
    (made / "snapshot.db").write_bytes(b"x" * 100)
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def database(folder):
    (folder / "notes.db").touch()
    return folder / "notes.db"


@pytest.fixture
def parent(folder):
    return folder / "notes.db.backups"


def left(parent):
    return sorted(path.name for path in parent.iterdir())


def test_it_is_for_its_owner_only_and_gone_afterwards(parent, database):
    with private_folder(parent, "verify-", database) as made:
        assert made.parent == parent and made.name.startswith("verify-")
        assert made.stat().st_mode & 0o777 == 0o700
        (made / "below").mkdir()
        (made / "below" / "file").touch()
    assert left(parent) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_it_is_gone_after_an_error_too(parent, database, error):
    with pytest.raises(error), private_folder(parent, "verify-", database):
        raise error
    assert left(parent) == []


def test_several_at_once_leave_each_other_alone(parent, database):
    with private_folder(parent, "verify-", database) as one, private_folder(parent, "verify-", database) as other:
        assert one != other and one.is_dir() and other.is_dir()


def test_what_a_killed_program_left_goes_and_what_a_living_one_has_stays(parent, database):
    with running(MAKE, parent, database) as dead, running(MAKE, parent, database):
        assert len(left(parent)) == 2
        dead.kill()
        dead.wait()
        with private_folder(parent, "verify-", database):
            assert len(left(parent)) == 2
        (living,) = left(parent)
        assert (parent / living / "snapshot.db").exists()


def test_only_folders_of_that_name_go(parent, database):
    (parent / "20260101T000000Z-0a1b2c3d").mkdir(parents=True)
    (parent / "verify-notes.txt").write_text("mine")
    (parent / "verify-link").symlink_to("20260101T000000Z-0a1b2c3d")
    with private_folder(parent, "verify-", database):
        pass
    assert left(parent) == ["20260101T000000Z-0a1b2c3d", "verify-link", "verify-notes.txt"]


def test_one_at_a_time_is_alone(folder):
    inside, order = threading.Event(), []

    def second():
        inside.wait()
        with alone(folder):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with alone(folder):
        inside.set()
        thread.join(0.05)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_a_folder_that_is_not_there_is_not_made_by_being_alone_in_it(folder):
    with pytest.raises(FileNotFoundError), alone(folder / "none"):
        pass
    assert os.listdir(folder) == []
