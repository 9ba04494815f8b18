"""New videos below the folders, from a listing alone."""

import hashlib
import os
import time
from pathlib import Path

import obstore.store
import pytest
from upath import UPath

from preprocessing.media.container import RefusedVideo
from preprocessing.sources import reading
from preprocessing.sources.remote import BucketPath
from preprocessing.sources.scan import ScanSettings
from preprocessing.sources.stored_catalog import SourceSettings, scan_sources
from preprocessing.sources.unseen import UnseenFiles, UnseenSettings, unseen_files
from storage.remote.bucket import open_store

NOTHING = UnseenFiles(settled=0, fresh=0, digest="", names=(), unreadable_folders=())
SETTINGS = UnseenSettings()
AT_ONCE = UnseenSettings(settle_seconds=0)


@pytest.fixture
def root(tmp_path: Path) -> UPath:
    return UPath(tmp_path / "root")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two old files that are no videos, so that opening them would fail."""
    folder = tmp_path / "videos"
    for number, name in enumerate(("a/1.mp4", "b/2.mp4"), start=1):
        write(folder / name, b"x" * number, age_seconds=1000)
    return folder


def write(path: Path, content: bytes, age_seconds: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    modified = time.time() - age_seconds
    os.utime(path, (modified, modified))


def test_unseen_without_a_catalog_is_every_file(root: UPath, folder: Path) -> None:
    lines = [
        f"{path}\0{path.stat().st_size}\0{path.stat().st_mtime_ns}\0"
        for path in (folder / "a/1.mp4", folder / "b/2.mp4")
    ]
    assert unseen_files(root, [folder], UnseenSettings(names_shown=1)) == UnseenFiles(
        settled=2,
        fresh=0,
        digest=hashlib.sha256("".join(lines).encode()).hexdigest(),
        names=(str(folder / "a/1.mp4"),),
        unreadable_folders=(),
    )
    assert not Path(str(root)).exists()


def test_unseen_without_folders_is_nothing(root: UPath) -> None:
    assert unseen_files(root, [], SETTINGS) == NOTHING


def test_unseen_after_a_scan_covers_scanned_folders(root: UPath, folder: Path) -> None:
    scan_sources(root, [folder], SourceSettings())
    assert unseen_files(root, [], SETTINGS) == NOTHING
    write(folder / "c/3.mp4", b"new", age_seconds=61)
    unseen = unseen_files(root, [], SETTINGS)
    assert (unseen.settled, unseen.fresh, unseen.names) == (1, 0, (str(folder / "c/3.mp4"),))


def test_unseen_has_changed_but_not_missing_files(root: UPath, folder: Path) -> None:
    scan_sources(root, [folder], SourceSettings())
    (folder / "b/2.mp4").unlink()
    assert unseen_files(root, [], SETTINGS) == NOTHING
    write(folder / "a/1.mp4", b"y", age_seconds=900)  # as long as before
    assert unseen_files(root, [], SETTINGS).names == (str(folder / "a/1.mp4"),)


def test_unsettled_files_do_not_change_the_digest(root: UPath, folder: Path) -> None:
    before = unseen_files(root, [folder], SETTINGS)
    write(folder / "a/copying.mp4", b"half", age_seconds=5)
    during = unseen_files(root, [folder], SETTINGS)
    assert (during.settled, during.fresh, during.digest) == (2, 1, before.digest)
    after = unseen_files(root, [folder], AT_ONCE)
    assert (after.settled, after.fresh) == (3, 0)
    assert after.digest != before.digest


def test_file_that_changed_during_the_scan_stays_unseen(
    root: UPath, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(*_: object) -> None:
        raise RefusedVideo("still_changing", "as if")

    monkeypatch.setattr(reading, "probe", change)
    scan_sources(root, [folder], SourceSettings(scan=ScanSettings(workers=0)))
    assert unseen_files(root, [], SETTINGS).settled == 2


def test_file_below_two_folders_counts_once(root: UPath, folder: Path) -> None:
    assert unseen_files(root, [folder, folder / "a"], SETTINGS).settled == 2


def test_missing_folders_are_reported_and_others_listed(root: UPath, folder: Path, tmp_path: Path) -> None:
    (folder / "loop.mp4").symlink_to("loop.mp4")
    unseen = unseen_files(root, [tmp_path / "away", folder, folder / "a/1.mp4"], SETTINGS)
    assert unseen.settled == 2
    assert unseen.unreadable_folders == (
        f"{tmp_path}/away is not a folder",
        f"{folder}/loop.mp4",
        f"{folder}/a/1.mp4 is not a folder",
    )


def test_unseen_lists_a_bucket_without_reading_it(
    bucket: str, root: UPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos = BucketPath(bucket.removeprefix("s3://"), "videos")
    store = open_store(bucket, patient=False)
    store.put("videos/a.mp4", b"not a video")
    assert unseen_files(root, [videos], SETTINGS).fresh == 1

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("an object is read")

    for method in ("get", "get_range", "get_ranges", "head"):
        monkeypatch.setattr(obstore.store.S3Store, method, refuse)
    unseen = unseen_files(root, [videos], AT_ONCE)
    assert (unseen.settled, unseen.names) == (1, (f"{bucket}/videos/a.mp4",))


def test_bucket_objects_are_known_after_a_scan(bucket: str, root: UPath) -> None:
    videos = BucketPath(bucket.removeprefix("s3://"), "videos")
    open_store(bucket, patient=False).put("videos/a.mp4", b"not a video")
    scan_sources(root, [videos], SourceSettings())
    assert unseen_files(root, [], AT_ONCE) == NOTHING


def test_missing_buckets_do_not_raise(
    bucket: str, root: UPath, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = BucketPath(bucket.removeprefix("s3://"), "videos")
    unseen = unseen_files(root, [here, folder, BucketPath("no-such-bucket", "")], SETTINGS)
    assert unseen.settled == 2
    empty, missing = unseen.unreadable_folders
    assert empty == f"{bucket}/videos is empty: no object has this prefix"
    assert missing.startswith("s3://no-such-bucket cannot be listed: ")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://store.example:9000")
    (refused,) = unseen_files(root, [here, folder], SETTINGS).unreadable_folders
    assert "unencrypted" in refused
