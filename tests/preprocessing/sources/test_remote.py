"""Sources in a bucket: how they are written, listed and fetched. moto's server plays the store."""

from pathlib import Path

import pytest

from preprocessing.media.container import RefusedVideo
from preprocessing.sources.remote import (
    BucketPath,
    fetched,
    is_folder,
    list_objects,
    source_path,
    split_folders,
)
from storage.remote.bucket import open_store

NAMES = ("videos/a/1.mp4", "videos/b b/ä #1?.mp4", "videos2/c.mp4")


def put(bucket: str, name: str, content: bytes) -> BucketPath:
    open_store(bucket, patient=False).put(name, content)
    return BucketPath(bucket.removeprefix("s3://"), name)


def copies_in(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.exists() else []


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("s3://bucket", BucketPath("bucket", "")),
        ("S3://bucket/some/videos/", BucketPath("bucket", "some/videos")),
        ("s3://bucket/100%25 #1?", BucketPath("bucket", "100%25 #1?")),
        ("/data/videos", Path("/data/videos")),
        ("file:///data/videos", Path("/data/videos")),
        ("~/videos", Path.home() / "videos"),
        ("a/b", Path("a/b")),
    ],
)
def test_source_path_parses_paths_and_buckets(text: str, place: Path | BucketPath) -> None:
    assert source_path(text) == place


@pytest.mark.parametrize("text", ["s3://bucket", "s3://bucket/some/videos", "s3://bucket/100%25 #1?"])
def test_bucket_path_round_trips_as_text(text: str) -> None:
    assert str(source_path(text)) == text


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("gs://bucket/x", "gs:// is not supported"),
        ("s3:///x", "names no bucket"),
        ("s3://", "names no bucket"),
        ("s3://bucket/a//b", "has an empty, '.' or '..' part"),
        ("s3://bucket/../b", "has an empty, '.' or '..' part"),
    ],
)
def test_source_path_refuses_other_urls(text: str, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        source_path(text)


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("", []),
        ("/a:/b", ["/a", "/b"]),
        (":/a::/b:", ["/a", "/b"]),
        ("s3://one/a:/b:s3://two", ["s3://one/a", "/b", "s3://two"]),
        ("videos:s3://one", ["videos", "s3://one"]),
        ("/a://b", ["/a", "//b"]),  # as PATH takes it: nothing before that colon is a scheme
        ("file:///a:gs://b", ["file:///a", "gs://b"]),
    ],
)
def test_split_folders_keeps_urls(text: str, entries: list[str]) -> None:
    assert split_folders(text) == entries


def test_list_objects_stays_below_the_prefix(bucket: str) -> None:
    for number, name in enumerate(NAMES):
        put(bucket, name, b"x" * number)
    objects = list(list_objects(BucketPath(bucket.removeprefix("s3://"), "videos")))
    assert [(str(each.path), each.size_bytes) for each in objects] == [
        (f"{bucket}/videos/a/1.mp4", 0),
        (f"{bucket}/videos/b b/ä #1?.mp4", 1),
    ]
    assert len(list(list_objects(BucketPath(bucket.removeprefix("s3://"), "")))) == 3


def test_is_folder_of_a_prefix_needs_an_object(bucket: str, tmp_path: Path) -> None:
    assert is_folder(source_path(bucket))
    put(bucket, "videos/notes.txt", b"")
    assert is_folder(source_path(f"{bucket}/videos"))
    assert not is_folder(source_path(f"{bucket}/video"))
    assert is_folder(tmp_path)
    assert not is_folder(tmp_path / "nothing")


@pytest.mark.usefixtures("bucket")
def test_list_objects_error_names_what_to_check() -> None:
    with pytest.raises(OSError, match=r"^s3://no-such-bucket cannot be listed: .*AWS_ENDPOINT_URL"):
        is_folder(source_path("s3://no-such-bucket"))


def test_plain_http_to_another_machine_is_refused(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://store.example:9000")
    with pytest.raises(ValueError, match="unencrypted; use https"):
        is_folder(source_path(bucket))


@pytest.mark.parametrize("size_bytes", [0, 3, 7, 14, 15])
def test_fetched_copy_exists_during_the_block(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size_bytes: int
) -> None:
    monkeypatch.setattr("storage.remote.bucket.CHUNK_BYTES", 7)
    content = bytes(range(size_bytes))
    place = put(bucket, NAMES[1], content)
    with fetched(place, tmp_path / "copies" / "video.mp4") as (copy, fetched_object):
        assert copy.read_bytes() == content
        assert copy.suffix == ".mp4"
        assert (fetched_object.path, fetched_object.size_bytes) == (place, size_bytes)
    assert copies_in(tmp_path / "copies") == []


def test_fetched_copy_is_removed_after_an_error(bucket: str, tmp_path: Path) -> None:
    place = put(bucket, "a.mp4", b"content")
    with pytest.raises(IsADirectoryError), fetched(place, tmp_path / "copies" / "a.mp4") as (copy, _):
        copy.parent.read_bytes()
    assert copies_in(tmp_path / "copies") == []


def test_fetched_refuses_an_object_replaced_meanwhile(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.remote.bucket.CHUNK_BYTES", 4)
    place = put(bucket, "a.mp4", b"old bytes")

    def pieces(start: int, end: int, step: int) -> range:  # called once the size is known
        put(bucket, "a.mp4", b"new bytes")
        return range(start, end, step)

    monkeypatch.setattr("storage.remote.bucket.range", pieces, raising=False)
    with (
        pytest.raises(RefusedVideo, match="still_changing: the object was replaced"),
        fetched(place, tmp_path / "a.mp4"),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_fetched_tells_missing_objects_from_missing_buckets(bucket: str, tmp_path: Path) -> None:
    place = put(bucket, "a.mp4", b"content")
    open_store(bucket, patient=False).delete("a.mp4")
    with (
        pytest.raises(RefusedVideo, match=f"source_missing: {bucket}/a.mp4 does not exist any more"),
        fetched(place, tmp_path / "a.mp4"),
    ):
        pass
    with (
        pytest.raises(OSError, match=r"s3://no-such-bucket/a\.mp4 cannot be listed"),
        fetched(BucketPath("no-such-bucket", "a.mp4"), tmp_path / "a.mp4"),
    ):
        pass
    assert list(tmp_path.iterdir()) == []
