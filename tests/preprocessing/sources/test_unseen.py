"""What is new under the folders, told from a listing alone."""

import hashlib
import os
import time
from pathlib import Path

import obstore.store
import pytest
from upath import UPath

from preprocessing.media.container import RefusedVideo
from preprocessing.sources import scan as catalog
from preprocessing.sources.remote import BucketPath
from preprocessing.sources.stored_catalog import SourceSettings, scan_sources
from preprocessing.sources.unseen import UnseenFiles, UnseenSettings, unseen_files
from storage.bucket import open_store

NOTHING = UnseenFiles(settled=0, fresh=0, digest="", names=(), unreadable_folders=())
SETTINGS = UnseenSettings()
AT_ONCE = UnseenSettings(settle_seconds=0)


@pytest.fixture
def root(tmp_path: Path) -> UPath:
    return UPath(tmp_path / "root")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files of long ago; nobody can read them as videos, so that opening them would be told."""
    folder = tmp_path / "videos"
    for number, name in enumerate(("a/1.mp4", "b/2.mp4"), start=1):
        write(folder / name, b"x" * number, age_seconds=1000)
    return folder


def write(path: Path, content: bytes, age_seconds: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    modified = time.time() - age_seconds
    os.utime(path, (modified, modified))


def test_without_a_catalog_all_is_unseen_and_told_by_name_and_digest(root: UPath, folder: Path) -> None:
    lines = [
        f"{path}\0{path.stat().st_size}\0{path.stat().st_mtime_ns}\0"
        for path in (folder / "a/1.mp4", folder / "b/2.mp4")
    ]
    assert unseen_files(root, [folder], UnseenSettings(names_told=1)) == UnseenFiles(
        settled=2,
        fresh=0,
        digest=hashlib.sha256("".join(lines).encode()).hexdigest(),
        names=(str(folder / "a/1.mp4"),),
        unreadable_folders=(),
    )
    assert not Path(str(root)).exists()


def test_no_folder_holds_nothing_new(root: UPath) -> None:
    assert unseen_files(root, [], SETTINGS) == NOTHING


def test_after_a_scan_nothing_is_unseen_and_scanned_folders_are_looked_at_unnamed(
    root: UPath, folder: Path
) -> None:
    scan_sources(root, [folder], SourceSettings())
    assert unseen_files(root, [], SETTINGS) == NOTHING
    write(folder / "c/3.mp4", b"new", age_seconds=61)
    found = unseen_files(root, [], SETTINGS)
    assert (found.settled, found.fresh, found.names) == (1, 0, (str(folder / "c/3.mp4"),))


def test_a_changed_file_is_unseen_and_a_vanished_one_is_not(root: UPath, folder: Path) -> None:
    scan_sources(root, [folder], SourceSettings())
    (folder / "b/2.mp4").unlink()
    assert unseen_files(root, [], SETTINGS) == NOTHING
    write(folder / "a/1.mp4", b"y", age_seconds=900)  # as long as before
    assert unseen_files(root, [], SETTINGS).names == (str(folder / "a/1.mp4"),)


def test_what_changed_just_now_is_counted_apart_and_leaves_the_digest_alone(
    root: UPath, folder: Path
) -> None:
    before = unseen_files(root, [folder], SETTINGS)
    write(folder / "a/copying.mp4", b"half", age_seconds=5)
    during = unseen_files(root, [folder], SETTINGS)
    assert (during.settled, during.fresh, during.digest) == (2, 1, before.digest)
    after = unseen_files(root, [folder], AT_ONCE)
    assert (after.settled, after.fresh) == (3, 0)
    assert after.digest != before.digest


def test_a_file_that_was_changing_when_it_was_scanned_is_unseen_still(
    root: UPath, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(*_: object) -> None:
        raise RefusedVideo("still_changing", "as if")

    monkeypatch.setattr(catalog, "probe", change)
    scan_sources(root, [folder], SourceSettings())
    assert unseen_files(root, [], SETTINGS).settled == 2


def test_a_file_under_two_folders_counts_once(root: UPath, folder: Path) -> None:
    assert unseen_files(root, [folder, folder / "a"], SETTINGS).settled == 2


def test_folders_that_are_away_are_told_and_the_others_are_looked_at(
    root: UPath, folder: Path, tmp_path: Path
) -> None:
    (folder / "loop.mp4").symlink_to("loop.mp4")
    found = unseen_files(root, [tmp_path / "away", folder, folder / "a/1.mp4"], SETTINGS)
    assert found.settled == 2
    assert found.unreadable_folders == (
        f"{tmp_path}/away is no folder",
        f"{folder}/loop.mp4",
        f"{folder}/a/1.mp4 is no folder",
    )


def test_a_bucket_is_listed_and_no_object_is_read(
    bucket: str, root: UPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos = BucketPath(bucket.removeprefix("s3://"), "videos")
    store = open_store(bucket, patient=False)
    store.put("videos/a.mp4", b"not a video")
    assert unseen_files(root, [videos], SETTINGS).fresh == 1
    monkeypatch.setattr("preprocessing.sources.remote.open_store", lambda *_, **__: ListedOnly(store))
    found = unseen_files(root, [videos], AT_ONCE)
    assert (found.settled, found.names) == (1, (f"{bucket}/videos/a.mp4",))


class ListedOnly:
    """A store of which nothing but a listing can be asked."""

    def __init__(self, store: obstore.store.S3Store) -> None:
        self.list = store.list


def test_after_a_scan_a_buckets_objects_are_known(bucket: str, root: UPath) -> None:
    videos = BucketPath(bucket.removeprefix("s3://"), "videos")
    open_store(bucket, patient=False).put("videos/a.mp4", b"not a video")
    scan_sources(root, [videos], SourceSettings())
    assert unseen_files(root, [], AT_ONCE) == NOTHING


def test_buckets_that_are_away_never_raise(
    bucket: str, root: UPath, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = BucketPath(bucket.removeprefix("s3://"), "videos")
    found = unseen_files(root, [here, folder, BucketPath("no-such-bucket", "")], SETTINGS)
    assert found.settled == 2
    empty, missing = found.unreadable_folders
    assert empty == f"{bucket}/videos is no folder: no object lies there"
    assert missing.startswith("s3://no-such-bucket cannot be listed: ")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://store.example:9000")
    (refused,) = unseen_files(root, [here, folder], SETTINGS).unreadable_folders
    assert "unencrypted" in refused
