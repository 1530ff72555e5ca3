"""Copies in an S3-compatible store: whole or not there, whatever happens on the way; and no key is said anywhere."""

import json
import os
import shutil
import subprocess
import sys

import fsspec
import pytest

from migrator.backups.listing import checked, list_backups
from migrator.backups.off_machine import download, list_copies, upload
from migrator.backups.store import CopyError
from migrator.files import sha256_of
from tests.faults.s3 import ACCESS_KEY, SECRET_KEY, BreakingWay, answering, small_s3
from tests.notes import make_notes
from tests.pipeline.programs import ROOT
from tests.runs import backed_up, columns, holds, migrate

URL = "s3://bucket/notes"
LARGE_BYTES = 120 << 20
"""s3fs sends what is smaller than 100 MB in one request, and this in three parts."""
NO_RETRIES = {"config_kwargs": {"retries": {"max_attempts": 0}}}


@pytest.fixture(scope="module")
def server():
    with small_s3() as found:
        yield found


@pytest.fixture(autouse=True)
def environment(monkeypatch, server):
    """What a user would set; and no store but the one here is ever asked."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "FSSPEC_"))]:
        monkeypatch.delenv(name)
    for name, value in {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server[1]}",
        "FSSPEC_S3": json.dumps(NO_RETRIES),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(fsspec.config.conf, "s3", NO_RETRIES)


@pytest.fixture
def bucket(environment):
    """The store itself, past whatever way a test takes, with an empty bucket."""
    store = fsspec.filesystem("s3", use_listings_cache=False, skip_instance_cache=True)
    store.mkdir("bucket")
    yield store
    store.rm("bucket", recursive=True)


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "notes.db"
    make_notes(path)
    return path


@pytest.fixture
def backup(database):
    return backed_up(database).path.parent


@pytest.fixture
def large(backup):
    """A backup that is sent in parts."""
    path = backup / "backup.db"
    os.truncate(path, LARGE_BYTES)
    manifest = json.loads((backup / "manifest.json").read_text())
    (backup / "manifest.json").write_text(json.dumps(manifest | {"sha256": sha256_of(path)}))
    return backup


def held(bucket):
    return {path.rpartition("/")[2]: bucket.info(path)["size"] for path in bucket.find("bucket")}


def whole(backup):
    return {name: (backup / name).stat().st_size for name in ("backup.db", "manifest.json")}


def run(module, *arguments):
    command = [sys.executable, "-m", module, "--json", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_a_copy_goes_there_is_listed_and_comes_back(bucket, backup, database):
    assert upload(backup, URL) is True
    assert held(bucket) == whole(backup)
    (copy,) = list_copies(URL, check=True)
    assert (copy.file, copy.verified) == (f"{URL}/{backup.name}/backup.db", True)
    assert upload(backup, URL) is False
    sha256 = sha256_of(backup / "backup.db")
    shutil.rmtree(backup)
    assert sha256_of(download(copy.file, database)) == sha256
    assert checked(list_backups(database)[0]).verified


def test_a_large_copy_goes_in_parts_and_comes_back(bucket, large, database):
    assert upload(large, URL) is True
    assert held(bucket) == whole(large)
    # What was put together from three parts has a hash of its own kind.
    assert bucket.info(f"bucket/notes/{large.name}/backup.db")["ETag"].strip('"').endswith("-3")
    shutil.rmtree(large)
    download(f"{URL}/{large.name}/backup.db", database)
    assert checked(list_backups(database)[0]).verified


@pytest.mark.parametrize("at", ["the first bytes", "a part in the middle"])
def test_a_store_that_dies_halfway_leaves_nothing_half_and_the_backup_here(bucket, large, server, monkeypatch, at):
    before = whole(large)
    way = BreakingWay(server, 100 if at == "the first bytes" else 70 << 20)
    with monkeypatch.context() as broken:
        broken.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{way.port}")
        with pytest.raises(
            CopyError, match=rf"{large.name} could not be copied to {URL} \(.*; the backup here is untouched"
        ):
            upload(large, URL)
    assert way.bytes_left < 0
    assert held(bucket) == {}
    assert whole(large) == before
    assert upload(large, URL) is True
    assert held(bucket) == before


def test_a_store_that_dies_during_a_download_leaves_nothing_half(bucket, backup, database, server, monkeypatch):
    assert (backup / "backup.db").stat().st_size > 15_000
    upload(backup, URL)
    shutil.rmtree(backup)
    way = BreakingWay(server, 12_000)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{way.port}")
    with pytest.raises(CopyError, match="could not be brought here"):
        download(f"{URL}/{backup.name}/backup.db", database)
    assert way.bytes_left < 0
    assert os.listdir(backup.parent) == []


def test_a_store_that_is_full_says_so(backup, monkeypatch):
    before = whole(backup)
    message = "Storage backend has reached its minimum free drive threshold."
    with answering(507, "XMinioStorageFull", message) as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        with pytest.raises(
            CopyError, match=rf"could not be copied to {URL} \(.*{message}.*the backup here is untouched"
        ):
            upload(backup, URL)
    assert whole(backup) == before


def test_a_bucket_that_is_not_there_is_not_made(backup, bucket):
    with pytest.raises(CopyError, match=r"could not be copied to s3://no-such-bucket/x \(FileNotFoundError: "):
        upload(backup, "s3://no-such-bucket/x")
    assert not bucket.exists("no-such-bucket")
    with pytest.raises(CopyError, match="s3://no-such-bucket/x could not be listed"):
        list_copies("s3://no-such-bucket/x")


def test_no_key_is_told_even_where_the_store_repeats_it(backup, monkeypatch):
    said = f"The key {ACCESS_KEY} with {SECRET_KEY} does not exist"
    with answering(403, "InvalidAccessKeyId", said) as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        with pytest.raises(CopyError) as caught:
            upload(backup, URL)
    assert "The key *** with *** does not exist" in str(caught.value)
    assert ACCESS_KEY not in str(caught.value) and SECRET_KEY not in str(caught.value)


def test_a_database_goes_back_to_a_copy_in_the_store(bucket, database):
    before = holds(database)
    backup = migrate(database).candidate.inspection.backup.path
    copied = run("flows.backups", "--database", database, "--keep-last", "1", "--copy-to", URL)
    assert (copied.returncode, copied.stderr) == (0, ""), copied.stdout
    assert json.loads(copied.stdout)["copied"] == [backup.parent.name]
    shutil.rmtree(backup.parents[1])
    listed = run("flows.restore", "--list", "--database", database, "--remote", URL, "--verify")
    (copy,) = json.loads(listed.stdout)["backups"]
    assert (listed.returncode, listed.stderr, copy["verified"]) == (0, "", True)
    order = ("flows.restore", "--database", database, "--backup", copy["file"], "--discard-later-writes")
    restored = run(*order)
    assert (restored.returncode, restored.stderr) == (0, ""), restored.stdout
    assert holds(database) == before and "place" in columns(database)
    for ended in (copied, listed, restored):
        assert ACCESS_KEY not in ended.stdout and SECRET_KEY not in ended.stdout


def test_a_copy_that_changed_in_the_store_changes_nothing_here(bucket, database):
    backup = migrate(database).candidate.inspection.backup.path
    upload(backup.parent, URL)
    shutil.rmtree(backup.parents[1])
    place = f"bucket/notes/{backup.parent.name}/backup.db"
    content = bucket.cat_file(place)
    bucket.pipe_file(place, content[:-1] + bytes([content[-1] ^ 1]))
    before = holds(database)
    order = ("--database", database, "--backup", f"{URL}/{backup.parent.name}/backup.db", "--discard-later-writes")
    refused = run("flows.restore", *order)
    assert refused.returncode == 2 and "is not what its manifest says: it was damaged" in refused.stdout
    assert holds(database) == before
    assert os.listdir(backup.parents[1]) == []
