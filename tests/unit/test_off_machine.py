"""A copy elsewhere is whole and was read back, or it is not there; nothing that opens a store is ever said."""

import json
import os
import tracemalloc
from pathlib import Path
from typing import ClassVar

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from migrator.backups import off_machine, store
from migrator.backups.listing import checked, list_backups
from migrator.backups.off_machine import copy_off_machine, download, list_copies, upload
from migrator.backups.store import CopyError, fault_of, without_secrets
from migrator.errors import RefusedError
from migrator.files import sha256_of
from tests.notes import make_notes
from tests.runs import backed_up
from tests.unit.syncing import synced


class Noting(MemoryFileSystem):
    """A store of objects that notes what it is given, and fails or loses bytes where a test says so."""

    protocol = "noting"
    store, pseudo_dirs = {}, [""]
    acts: ClassVar[list[str]] = []
    loses_bytes_of, fails_at = "", ""
    error: BaseException | None = None

    def put_file(self, lpath, rpath, **kwargs):
        self.acts.append(f"put {rpath.rpartition('/')[2]}")
        content = Path(lpath).read_bytes()
        if self.fails_at and self.fails_at in rpath:
            # An object appears whole or not at all.
            raise self.error
        if self.loses_bytes_of and self.loses_bytes_of in rpath:
            content = content[:-1]
        self.pipe_file(rpath, content)

    def rm_file(self, path):
        self.acts.append(f"remove {path.rpartition('/')[2]}")
        del self.store[self._strip_protocol(path)]

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.removeprefix("noting://").removeprefix("renaming://"))


class Renaming(Noting):
    """A store with directories, which renames files and shows half of one while it comes."""

    protocol = "renaming"
    store, pseudo_dirs = {}, [""]

    def put_file(self, lpath, rpath, **kwargs):
        try:
            super().put_file(lpath, rpath, **kwargs)
        except BaseException:
            self.pipe_file(rpath, b"half")
            raise

    def mv(self, path1, path2, **kwargs):
        self.acts.append(f"rename {path1.rpartition('/')[2]} {path2.rpartition('/')[2]}")
        if self.exists(path2):
            raise FileExistsError(path2)
        self.store[self._strip_protocol(path2)] = self.store.pop(self._strip_protocol(path1))


@pytest.fixture(autouse=True)
def stores(monkeypatch):
    """Empty stores in memory."""
    for kind in (MemoryFileSystem, Noting, Renaming):
        monkeypatch.setattr(kind, "store", {})
        monkeypatch.setattr(kind, "pseudo_dirs", [""])
    monkeypatch.setattr(Noting, "acts", [])
    for kind in (Noting, Renaming):
        fsspec.register_implementation(kind.protocol, kind, clobber=True)


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "notes.db"
    make_notes(path)
    return path


@pytest.fixture
def backup(database):
    """The directory of a verified backup."""
    return backed_up(database).path.parent


@pytest.fixture(params=["file", "memory", "noting", "renaming"])
def url(request, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    return f"file://{tmp_path}/elsewhere" if request.param == "file" else f"{request.param}://bucket/notes"


def held(url: str) -> dict[str, bytes]:
    """Every file under `url`, by its path there."""
    there, base = fsspec.core.url_to_fs(url)
    files = there.find(base) if there.exists(base) else []
    return {path.removeprefix(base.rstrip("/") + "/"): there.cat_file(path) for path in files}


def whole(backup: Path) -> dict[str, bytes]:
    names = ("backup.db", "manifest.json")
    return {f"{backup.name}/{name}": (backup / name).read_bytes() for name in names}


def elsewhere(tmp_path, name="other.db") -> Path:
    """Another database, beside which there are no backups."""
    make_notes(tmp_path / name)
    return tmp_path / name


def test_a_copy_is_the_backup_and_its_manifest_and_nothing_more(backup, url):
    (backup / "scratch").mkdir()
    (backup / "report.json").write_text("{}")
    assert upload(backup, url) is True
    assert held(url) == whole(backup)


def test_a_copy_that_is_there_is_not_made_again(backup, url):
    upload(backup, url)
    Noting.acts.clear()
    assert upload(backup, f"{url}/") is False
    assert held(url) == whole(backup) and Noting.acts == []


def test_a_copy_comes_back_as_it_went(backup, database, url):
    upload(backup, url)
    before = whole(backup)
    backup.rename(backup.with_name("moved away"))
    found = download(f"{url}/{backup.name}/backup.db", database)
    assert found == backup / "backup.db"
    assert whole(backup) == before
    assert checked(list_backups(database)[0]).verified
    assert sorted(os.listdir(backup.parent)) == [backup.name, "moved away"]


def test_copies_are_listed_like_backups_newest_first_and_read_only_when_asked(database, url):
    names = []
    for _ in range(2):
        directory = backed_up(database).path.parent
        upload(directory, url)
        names.append(directory.name)
    there, base = fsspec.core.url_to_fs(url)
    for name in ("20200101T000000Z-00000000/backup.db", "mine/manifest.json", "note.txt"):
        there.makedirs(f"{base}/{name}".rpartition("/")[0], exist_ok=True)
        there.pipe_file(f"{base}/{name}", b"not ours")
    found = list_copies(url)
    assert [stored.name for stored in found] == sorted(names, reverse=True)
    assert [stored.verified for stored in found] == [None, None]
    local = {stored.name: stored for stored in list_backups(database)}
    assert [stored.manifest for stored in found] == [local[stored.name].manifest for stored in found]
    assert [stored.size_bytes for stored in found] == [local[stored.name].size_bytes for stored in found]
    assert found[0].file == f"{url}/{found[0].name}/backup.db"
    there.pipe_file(f"{base}/{names[0]}/backup.db", b"damaged")
    there.pipe_file(f"{base}/{names[1]}/manifest.json", b"damaged")
    assert {stored.name: stored.verified for stored in list_copies(url, check=True)} == {
        names[0]: False,
        names[1]: False,
    }


def test_a_sound_copy_is_verified_when_it_is_read(backup, url):
    upload(backup, url)
    assert [stored.verified for stored in list_copies(url, check=True)] == [True]


def test_where_nothing_is_nothing_is_listed_but_an_error_told(tmp_path):
    with pytest.raises(CopyError, match=r"memory://nowhere/at/all could not be listed \(FileNotFoundError"):
        list_copies("memory://nowhere/at/all")


def test_in_a_store_of_objects_the_manifest_comes_last(backup):
    upload(backup, "noting://bucket")
    assert Noting.acts == ["put backup.db", "put manifest.json"]


def test_where_the_store_renames_each_file_gets_its_name_last(backup):
    upload(backup, "renaming://bucket")
    assert Noting.acts == [
        "put backup.db.part",
        "rename backup.db.part backup.db",
        "put manifest.json.part",
        "rename manifest.json.part manifest.json",
    ]


def test_in_a_directory_all_is_on_the_disk_before_it_has_its_name_and_for_its_owner_only(backup, tmp_path, monkeypatch):
    there = tmp_path / "there"
    there.mkdir()
    events = synced(monkeypatch)
    rename = os.rename
    monkeypatch.setattr(os, "rename", lambda old, new: (rename(old, new), events.append(f"rename {Path(new).name}")))
    upload(backup, f"file://{there}")
    assert events == [
        *("fsync there", "fsync backup.db.part", "rename backup.db", f"fsync {backup.name}"),
        *("fsync manifest.json.part", "rename manifest.json", f"fsync {backup.name}"),
    ]
    copy = there / backup.name
    assert [path.stat().st_mode & 0o777 for path in (copy, copy / "backup.db", copy / "manifest.json")] == [
        *(0o700, 0o600, 0o600)
    ]


@pytest.mark.parametrize("kind", ["noting", "renaming"])
@pytest.mark.parametrize("file", ["backup.db", "manifest.json"])
def test_what_came_back_different_is_no_copy(backup, monkeypatch, kind, file):
    monkeypatch.setattr(Noting, "loses_bytes_of", file)
    before = whole(backup)
    with pytest.raises(CopyError, match=rf"what came back of {file} is not what was sent; check the store"):
        upload(backup, f"{kind}://bucket")
    assert held(f"{kind}://bucket").keys() == before.keys() - {f"{backup.name}/{file}", f"{backup.name}/manifest.json"}
    assert list_copies(f"{kind}://bucket") == [] if file == "manifest.json" else True
    assert whole(backup) == before
    monkeypatch.setattr(Noting, "loses_bytes_of", "")
    assert upload(backup, f"{kind}://bucket") is True
    assert held(f"{kind}://bucket") == before


@pytest.mark.parametrize("kind", ["noting", "renaming"])
@pytest.mark.parametrize("file", ["backup.db", "manifest.json"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("gone"), KeyboardInterrupt()])
def test_an_upload_that_ends_halfway_leaves_nothing_half_and_goes_on_when_tried_again(
    backup, monkeypatch, kind, file, error
):
    monkeypatch.setattr(Noting, "fails_at", file)
    monkeypatch.setattr(Noting, "error", error)
    before = whole(backup)
    with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else CopyError) as caught:
        upload(backup, f"{kind}://bucket")
    assert held(f"{kind}://bucket").items() <= before.items()
    assert f"{backup.name}/manifest.json" not in held(f"{kind}://bucket")
    assert whole(backup) == before
    if isinstance(error, OSError):
        assert str(caught.value) == (
            f"{backup.name} could not be copied to {kind}://bucket (OSError: [Errno 28] No space left on device); "
            "the backup here is untouched; try again"
        )
    monkeypatch.setattr(Noting, "fails_at", "")
    assert upload(backup, f"{kind}://bucket") is True
    assert held(f"{kind}://bucket") == before


def test_a_full_directory_keeps_nothing_half(backup, tmp_path, monkeypatch):
    there = tmp_path / "there"
    there.mkdir()

    def full(self, path1, path2, **kwargs):
        Path(path2).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(LocalFileSystem, "put_file", full)
        with pytest.raises(CopyError, match="No space left on device"):
            upload(backup, f"file://{there}")
    assert held(f"file://{there}") == {}
    assert upload(backup, f"file://{there}") is True


def test_a_run_that_succeeded_does_not_fail_for_a_copy_that_cannot_be_made(backup, database, monkeypatch):
    assert copy_off_machine(backup, database, "noting://bucket").findings == ()
    assert held("noting://bucket") == whole(backup)
    (finding,) = copy_off_machine(backup, database, f"file://{database.parent}/na s").findings
    assert finding.code == "copy_failed" and finding.message == (
        f"there is no directory {database.parent}/na s; to copy it again: "
        f"python -m flows.backups --database {database} --copy-to 'file://{database.parent}/na s'"
    )


def test_what_cannot_be_cleared_away_does_not_hide_why(backup, monkeypatch):
    monkeypatch.setattr(Noting, "fails_at", "backup.db")
    monkeypatch.setattr(Noting, "error", OSError(5, "the first fault"))
    monkeypatch.setattr(Noting, "rm_file", lambda self, path: 1 / 0)
    with pytest.raises(CopyError, match="the first fault"):
        upload(backup, "noting://bucket")


def test_a_backup_that_is_not_what_its_manifest_says_is_not_copied(backup, url):
    with (backup / "backup.db").open("r+b") as file:
        file.write(b"\xff")
    with pytest.raises(RefusedError, match=r"backup.db is not what its manifest says: it was damaged"):
        upload(backup, url)
    assert held(url) == {}


@pytest.mark.parametrize("manifest", [None, "{"])
def test_a_backup_without_a_manifest_that_can_be_read_is_not_copied(backup, url, manifest):
    (backup / "manifest.json").unlink()
    if manifest is not None:
        (backup / "manifest.json").write_text(manifest)
    with pytest.raises((CopyError, RefusedError), match=r"manifest"):
        upload(backup, url)
    assert held(url) == {}


def test_another_backup_of_that_name_is_not_replaced(backup, url):
    upload(backup, url)
    before = held(url)
    manifest = json.loads((backup / "manifest.json").read_text())
    (backup / "manifest.json").write_text(json.dumps(manifest | {"version": 7}))
    with pytest.raises(CopyError, match=rf"has another backup named {backup.name}; copy to a URL of its own"):
        upload(backup, url)
    assert held(url) == before


def test_a_copy_that_lost_its_backup_is_made_whole_again(backup, url):
    upload(backup, url)
    there, base = fsspec.core.url_to_fs(url)
    there.rm_file(f"{base}/{backup.name}/backup.db")
    assert upload(backup, url) is True
    assert held(url) == whole(backup)


def test_a_directory_that_is_not_mounted_is_not_made(backup, tmp_path):
    with pytest.raises(CopyError, match=r"there is no directory .*/nas/notes; make it, or mount what belongs there"):
        upload(backup, f"file://{tmp_path}/nas/notes")
    assert not (tmp_path / "nas").exists()


def test_large_files_are_read_in_pieces(backup, database, tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    monkeypatch.setattr(store, "_PIECE_BYTES", 1 << 16)
    path = backup / "backup.db"
    with path.open("r+b") as file:
        file.truncate(16 << 20)
    manifest = json.loads((backup / "manifest.json").read_text())
    (backup / "manifest.json").write_text(json.dumps(manifest | {"sha256": sha256_of(path)}))
    tracemalloc.start()
    try:
        upload(backup, f"file://{tmp_path}/there")
        path.unlink()
        backup.rename(tmp_path / "away")
        download(f"file://{tmp_path}/there/{backup.name}/backup.db", database)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert path.stat().st_size == 16 << 20


@pytest.mark.parametrize("damage", ["changed", "shorter", "gone", "no manifest", "a broken manifest"])
def test_a_copy_that_is_not_whole_is_not_brought_and_nothing_is_left_of_it(backup, database, url, damage):
    upload(backup, url)
    there, base = fsspec.core.url_to_fs(url)
    place = f"{base}/{backup.name}"
    content = (backup / "backup.db").read_bytes()
    if damage == "changed":
        there.pipe_file(f"{place}/backup.db", content[:-1] + b"\xff")
    elif damage == "shorter":
        there.pipe_file(f"{place}/backup.db", content[:-1])
    elif damage == "a broken manifest":
        there.pipe_file(f"{place}/manifest.json", b"{")
    else:
        there.rm_file(f"{place}/{'backup.db' if damage == 'gone' else 'manifest.json'}")
    backup.rename(backup.with_name("moved away"))
    with pytest.raises((CopyError, RefusedError)) as caught:
        download(f"{url}/{backup.name}/backup.db", database)
    assert f"{url}/{backup.name}" in str(caught.value)
    assert os.listdir(backup.parent) == ["moved away"]


def test_the_same_backup_that_is_here_already_is_not_brought(backup, database, monkeypatch):
    upload(backup, "noting://bucket")
    monkeypatch.setattr(off_machine, "_fetch", lambda *_: 1 / 0)
    assert download(f"noting://bucket/{backup.name}/backup.db", database) == backup / "backup.db"


@pytest.mark.parametrize("file", ["backup.db", "manifest.json"])
def test_another_one_of_that_name_is_not_replaced_and_the_way_out_is_told(backup, database, url, file):
    upload(backup, url)
    before = held(url)
    (backup / file).write_bytes(b"damaged")
    with pytest.raises(RefusedError, match="is there already, and is not that copy; move it away: mv ") as caught:
        download(f"{url}/{backup.name}/backup.db", database)
    assert (backup / file).read_bytes() == b"damaged"
    assert os.system(str(caught.value).partition("move it away: ")[2]) == 0
    download(f"{url}/{backup.name}/backup.db", database)
    assert whole(backup) == before
    assert [stored.name for stored in list_backups(database)] == [backup.name]


def test_a_copy_for_which_there_is_no_room_is_not_begun(backup, database, url, monkeypatch):
    upload(backup, url)
    backup.rename(backup.with_name("moved away"))
    size = (backup.with_name("moved away") / "backup.db").stat().st_size
    usage = type("Usage", (), {"free": size - 1})
    monkeypatch.setattr(off_machine.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(RefusedError, match=rf"has no room for the {size:,} bytes of "):
        download(f"{url}/{backup.name}/backup.db", database)
    assert os.listdir(backup.parent) == ["moved away"]
    usage.free = size
    assert download(f"{url}/{backup.name}/backup.db", database).exists()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_download_that_ends_halfway_leaves_nothing(backup, database, url, monkeypatch, error):
    upload(backup, url)
    backup.rename(backup.with_name("moved away"))

    def ends(descriptor):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", ends)
        with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else CopyError):
            download(f"{url}/{backup.name}/backup.db", database)
    assert os.listdir(backup.parent) == ["moved away"]
    # And what a killed one left does not stand in the way.
    left = backup.with_name(f"{backup.name}.partial")
    left.mkdir()
    (left / "backup.db").write_bytes(b"half")
    assert download(f"{url}/{backup.name}/backup.db", database).exists()


def test_what_is_brought_is_for_the_owner_of_the_database_only(backup, tmp_path):
    upload(backup, "memory://bucket")
    other = elsewhere(tmp_path)
    owner = 1234 if os.geteuid() == 0 else os.geteuid()
    os.chown(other, owner, -1)
    path = download(f"memory://bucket/{backup.name}/backup.db", other)
    found = [entry.stat() for entry in (path, path.with_name("manifest.json"), path.parent, path.parents[1])]
    assert [(s.st_mode & 0o777, s.st_uid) for s in found] == [(mode, owner) for mode in (0o600, 0o600, 0o700, 0o700)]


@pytest.mark.parametrize(
    "end", ["", "/backup.db", "/x/backup.db", "/20261122T215633Z-2a9f0eaf", "/20261122T215633Z-2a9f0eaf/manifest.json"]
)
def test_only_the_backup_of_a_copy_can_be_brought(database, end):
    with pytest.raises(RefusedError, match=r"is no backup.db of a copy; give it as `flows.restore --list --remote` "):
        download(f"memory://bucket{end}", database)


SECRETS = [
    "s3://AKIAIOSFODNN7EXAMPLE:wJalrXUtnFEMIK7MDENG@bucket/x",
    "s3://AKIAIOSFODNN7EXAMPLE:wJalrXUtnFEMI/K7MDENG@bucket/x",
    "https://bucket.example/x?X-Amz-Signature=wJalrXUtnFEMIK7MDENG",
    "sftp://user:wJalrXUtnFEMIK7MDENG@host/x",
    "s3://bucket/x#wJalrXUtnFEMIK7MDENG",
    "simplecache::s3://wJalrXUtnFEMIK7MDENG@bucket/x",
]


@pytest.mark.parametrize("url", SECRETS)
def test_a_url_that_holds_what_opens_the_store_is_refused_and_not_repeated(backup, database, url):
    assert "wJalr" not in fault_of(url) and "AKIA" not in fault_of(url)
    ending = f"{url}/20261122T215633Z-2a9f0eaf/backup.db"
    for attempt in (lambda: upload(backup, url), lambda: list_copies(url), lambda: download(ending, database)):
        with pytest.raises(RefusedError) as caught:
            attempt()
        assert "wJalr" not in str(caught.value) and "AKIA" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["bucket/x", "/mnt/nas", "://x", "s3://", "S3://x", "s3:/x", "s3://b/\n", "s3://b/\udc80", "s3://b::file:///x"],
)
def test_what_is_no_url_is_refused(url):
    assert fault_of(url) == "this is no URL such as s3://bucket/folder or file:///folder"


@pytest.mark.parametrize("url", ["s3://bucket/x", "file:///mnt/a@b/c?d#e", "sftp://host:2222/x", "abfs://c/x y"])
def test_a_plain_url_is_taken(url):
    assert fault_of(url) is None


def test_what_a_store_says_is_told_without_what_opens_it(backup, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMIK7MDENG")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setitem(
        fsspec.config.conf, "noting", {"client_kwargs": {"password": "hunter22"}, "host": "store.example"}
    )
    said = (
        "AKIAIOSFODNN7EXAMPLE wJalrXUtnFEMIK7MDENG hunter22 in eu-central-1 of store.example "
        "http://user:open@proxy/ https://s/x?X-Amz-Signature=abc&X-Amz-Date=1&X-Amz-Security-Token=def\n<html>"
    )
    monkeypatch.setattr(Noting, "fails_at", "backup.db")
    monkeypatch.setattr(Noting, "error", RuntimeError(said))
    with pytest.raises(CopyError) as caught:
        upload(backup, "noting://bucket")
    assert (
        "(RuntimeError: *** *** *** in eu-central-1 of store.example http://***@proxy/ "
        "https://s/x?X-Amz-Signature=***&X-Amz-Date=1&X-Amz-Security-Token=***)"
    ) in str(caught.value)
    # A traceback would show the store's own words.
    assert caught.value.__cause__ is None and caught.value.__suppress_context__
    assert len(without_secrets("x" * 10_000)) == 300


def test_a_store_that_is_not_known_or_not_installed_is_told(backup):
    with pytest.raises(CopyError, match="Protocol not known: nosuch"):
        upload(backup, "nosuch://bucket")
    fsspec.register_implementation("absent", "no_such_package.Store", errtxt="Install it", clobber=True)
    with pytest.raises(CopyError, match="Install it; install that package"):
        upload(backup, "absent://bucket")
