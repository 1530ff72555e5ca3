"""Which files are taken for databases of a fleet."""

import os
from pathlib import Path

import pytest

from migrator.errors import RefusedError
from migrator.fleet.inventory import find_databases, real_name
from migrator.fleet.parts import machine_of

RUN = "20261123T010203Z-0123abcd"


@pytest.fixture
def folder(tmp_path):
    """Two databases, with all that SQLite and runs put beside one."""
    for name in (
        "a.db",
        "a.db-wal",
        "a.db-shm",
        "b.db-journal",
        "a.db.migrating",
        "a.db.migration-lock",
        "a.db.migration-throttle",
        f"a.db.backups/{RUN}/backup.db",
        f"a.db.backups/{RUN}/scratch/candidate.db",
        f"a.db.backups/{RUN}.partial/backup.db",
        "a.db.backups/health.db",
        "sub/b.db",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def test_a_pattern_takes_databases_and_nothing_that_lies_beside_one(folder):
    assert find_databases((), [f"{folder}/**"], None) == (folder / "a.db", folder / "sub" / "b.db")


def test_a_pattern_passes_over_a_shared_folder_of_backups(folder):
    shared = folder / "kept"
    (shared / RUN).mkdir(parents=True)
    (shared / RUN / "backup.db").touch()
    (shared / "health.db").touch()
    assert find_databases((), [f"{folder}/**/*.db"], None, shared) == (folder / "a.db", folder / "sub" / "b.db")
    (shared / "health.db").unlink()
    assert find_databases((), [f"{folder}/**/*.db"], None) == (folder / "a.db", folder / "sub" / "b.db")


def test_a_pattern_that_reaches_backups_through_a_symlink_passes_over_them(folder):
    (folder / "old").symlink_to(folder / "a.db.backups" / RUN)
    assert find_databases((), [f"{folder}/old/*.db", f"{folder}/*.db"][1:], None) == (folder / "a.db",)
    with pytest.raises(RefusedError, match="matches nothing but 1 files of earlier runs"):
        find_databases((), [f"{folder}/old/*.db"], None)


@pytest.mark.parametrize("pattern", ["*.sqlite", "a.db.backups/*/*.db"])
def test_a_pattern_that_matches_no_database_is_refused_although_another_does(folder, pattern):
    with pytest.raises(RefusedError, match="matches nothing"):
        find_databases((), [f"{folder}/*.db", f"{folder}/{pattern}"], None)


def test_a_file_with_several_names_counts_once(folder, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "link.db").symlink_to("a.db")
    os.link(folder / "sub" / "b.db", folder / "hard.db")
    names = [folder / "link.db", folder / "a.db", folder / "sub" / ".." / "a.db"]
    assert find_databases([*names, *map(type(folder), ["a.db", "./a.db"])], [], None) == (folder / "a.db",)
    assert find_databases((), ["*.db", "sub/*.db"], None) == (folder / "a.db", folder / "hard.db")


def test_one_that_is_not_there_stays_for_its_own_run_to_refuse(folder):
    gone = folder / "gone.db"
    assert find_databases([gone, folder / "sub" / ".." / "gone.db"], [], None) == (gone,)
    (folder / "dangling.db").symlink_to(gone)
    assert find_databases((), [f"{folder}/dangl*"], None) == (gone,)


def test_a_backup_that_is_named_is_refused(folder):
    with pytest.raises(RefusedError, match="belongs to a run"):
        find_databases([folder / "a.db", folder / "a.db.backups" / RUN / "backup.db"], [], None)


def test_nothing_named_is_refused():
    with pytest.raises(RefusedError, match="no database is named"):
        find_databases((), (), None)


def test_an_inventory_is_a_path_a_line_from_its_own_folder(folder, monkeypatch):
    monkeypatch.chdir("/")
    inventory = folder / "inventory.txt"
    inventory.write_text(f"\ufeff# all of them\n\n a.db \r\n{folder}/sub/b.db\n./a.db\n#{folder}/c.db\n", "utf-8")
    assert find_databases((), (), inventory) == (folder / "a.db", folder / "sub" / "b.db")


def test_the_named_come_first_then_the_inventory_then_the_patterns(folder):
    inventory = folder / "inventory.txt"
    inventory.write_text("sub/b.db\n")
    (folder / "c.db").touch()
    found = find_databases([folder / "c.db"], [f"{folder}/*.db"], inventory)
    assert found == (folder / "c.db", folder / "sub" / "b.db", folder / "a.db")


@pytest.mark.parametrize("content", [b"", b"# nothing\n\n", b"\xff\xfe\n"])
def test_an_inventory_that_names_nothing_is_refused(folder, content):
    (folder / "inventory.txt").write_bytes(content)
    with pytest.raises(RefusedError, match="inventory"):
        find_databases([folder / "a.db"], (), folder / "inventory.txt")


def test_an_inventory_that_is_a_pipe_or_not_there_is_refused(folder):
    os.mkfifo(folder / "pipe")
    for name in ("pipe", "none", "sub"):
        with pytest.raises(RefusedError, match="cannot be read"):
            find_databases((), (), folder / name)


def test_databases_on_machines_keep_their_names_each_once(folder):
    (folder / "list").write_text("# all of them\nweb1:/srv/a.db\nweb2:/srv/a.db\n")
    named = [Path("web2:/srv/b.db"), Path("web1:/srv/a.db")]
    found = find_databases(named, (), folder / "list")
    assert [*map(str, found)] == ["web2:/srv/b.db", "web1:/srv/a.db", "web2:/srv/a.db"]
    assert [real_name(path) for path in found] == [*map(str, found)]


def test_a_colon_in_a_path_makes_no_machine(folder, monkeypatch):
    monkeypatch.chdir(folder)
    names = ["web1:relative.db", "./web1:/a.db", "-x:/a.db", "a/b:/c.db"]
    assert [*map(machine_of, names)] == [None] * 4
    (folder / "list").write_text("\n".join(names))
    assert find_databases((), (), folder / "list") == tuple(Path(os.path.realpath(name)) for name in names)


def test_a_mixture_of_this_machine_and_others_is_refused(folder):
    with pytest.raises(RefusedError, match=r"web1:/srv/a\.db is on a machine of its own, and .*/a\.db is not"):
        find_databases([folder / "a.db", Path("web1:/srv/a.db")], (), None)


def test_a_backup_on_a_machine_is_refused(folder):
    with pytest.raises(RefusedError, match="belongs to a run"):
        find_databases([Path(f"web1:/srv/a.db.backups/{RUN}/backup.db")], (), None)


def test_a_pattern_for_another_machine_is_refused(folder):
    with pytest.raises(RefusedError, match=r"files are looked for on this machine only.*list the databases of web1"):
        find_databases((), ["web1:/srv/*.db"], None)


def test_a_name_that_prefect_cannot_store_is_refused_on_a_machine_only(folder):
    name = os.fsdecode(b"/srv/\xff.db")
    assert find_databases([Path(name)], (), None) == (Path(name),)
    with pytest.raises(RefusedError, match="is not UTF-8"):
        find_databases([Path("web1:" + name)], (), None)
