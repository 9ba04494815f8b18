"""A root in an S3 bucket: moto's server on the loopback interface."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from upath import UPath

from storage.publishing import BuildReport, Published, current, materialise, staleness, verify
from storage.root import local_copy, open_root
from tests.factories.storage.builds import FILES, ClipSettings, files_below, materialise_small, recipe

KILLED_UPLOAD = """
import os, signal, sys
from obstore.store import S3Store
from storage.root import open_root
from tests.factories.storage.builds import materialise_small

writes = 0

put = S3Store.put

def killed_before(self, *arguments, **options):
    global writes
    if writes == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    writes += 1
    return put(self, *arguments, **options)

S3Store.put = killed_before
materialise_small(open_root(sys.argv[1]))
"""


def published_in(location: str) -> tuple[UPath, Published]:
    root = open_root(f"{location}/people")
    return root, materialise_small(root)


def test_build_is_published_to_a_bucket(bucket: str) -> None:
    root, published = published_in(bucket)

    assert (published.built, published.reason) == (True, "not there yet")
    assert str(published.directory).startswith(f"{bucket}/people/assets/clips/batch-0000/")
    found = current(open_root(f"{bucket}/people"), "clips", "batch-0000")
    assert found is not None
    assert found.manifest == published.manifest
    assert verify(found) == []
    assert staleness(root, recipe()) is None
    again = materialise_small(root)
    assert (again.built, again.reason) == (False, "nothing to do: same inputs, code version and settings")


def test_empty_bucket_has_no_builds(bucket: str) -> None:
    root = open_root(bucket)
    assert current(root, "clips", "batch-0000") is None
    assert staleness(root, recipe()) == "not there yet"


def test_staleness_in_a_bucket_gives_reasons(bucket: str) -> None:
    root, published = published_in(bucket)
    assert staleness(root, recipe(ClipSettings(minimum_face_px=64))) == "setting minimum_face_px: 48 -> 64"

    (published.directory / "parts" / "a.bin").unlink()

    assert staleness(root, recipe()) == "file parts/a.bin is missing"
    assert verify(published) == ["parts/a.bin"]
    assert materialise_small(root).reason == "file parts/a.bin is missing"
    assert staleness(root, recipe()) is None


def test_local_copy_is_downloaded_once(bucket: str, tmp_path: Path) -> None:
    published = published_in(bucket)[1]

    copy = local_copy(published.directory)

    assert files_below(copy) == FILES
    assert copy.is_relative_to(tmp_path / "scratch" / "cache")
    (published.directory / "index.json").unlink()  # a second download would now fail
    assert local_copy(published.directory) == copy
    assert [path.name for path in copy.parent.iterdir()] == [published.manifest.content_digest]


def test_incomplete_local_copy_is_downloaded_again(bucket: str, tmp_path: Path) -> None:
    published = published_in(bucket)[1]
    copy = local_copy(published.directory, tmp_path / "copies")
    (copy / "shards-000.tar").write_bytes(b"cut")

    assert files_below(local_copy(published.directory, tmp_path / "copies")) == FILES


def test_local_copy_refuses_a_changed_object(bucket: str, tmp_path: Path) -> None:
    published = published_in(bucket)[1]
    (published.directory / "index.json").write_bytes(b"[]")

    with pytest.raises(ValueError, match=r"index.json has sha256 4f53cda1.*, its manifest says 44136fa3"):
        local_copy(published.directory)
    assert list((tmp_path / "scratch" / "cache").iterdir()) == []


def test_local_copy_needs_a_manifest(bucket: str) -> None:
    with pytest.raises(FileNotFoundError):
        local_copy(open_root(bucket) / "assets" / "clips")


def test_objects_of_any_length_and_name_round_trip(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.remote.bucket.CHUNK_BYTES", 7)
    files = {
        "empty": b"",
        "seven": b"1234567",
        "eight": b"12345678",
        "a b/ä #1?.txt": b"name",
        "100%25": b"%",
    }

    def named(work: Path) -> BuildReport:
        for name, content in files.items():
            (work / name).parent.mkdir(exist_ok=True)
            (work / name).write_bytes(content)
        return BuildReport({}, {})

    root = open_root(bucket)
    published = materialise(root, recipe(), named)

    assert staleness(root, recipe()) is None
    assert verify(published) == []
    assert files_below(local_copy(published.directory, tmp_path / "copies")) == files


@pytest.mark.parametrize("objects_uploaded", range(5))  # three files, the manifest, current.json
def test_killed_upload_is_completed_by_the_next_run(bucket: str, objects_uploaded: int) -> None:
    child = subprocess.run(
        [sys.executable, "-c", KILLED_UPLOAD, bucket, str(objects_uploaded)],
        cwd=Path(__file__).parents[2],
        env=dict(os.environ),
        timeout=60,
        check=False,
    )
    assert child.returncode == -signal.SIGKILL
    root = open_root(bucket)
    assert current(root, "clips", "batch-0000") is None

    published = materialise_small(root)

    assert published.built is (objects_uploaded < 4)  # with its manifest there, it only becomes current
    assert files_below(local_copy(published.directory)) == FILES
    assert staleness(root, recipe()) is None


@pytest.mark.usefixtures("bucket")
def test_open_root_refuses_a_missing_bucket() -> None:
    with pytest.raises(
        ValueError, match=r"'s3://no-such-bucket' cannot be listed: .*check the bucket's name"
    ):
        open_root("s3://no-such-bucket")


def test_plain_http_needs_loopback_or_permission(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://store.example:9000")
    with pytest.raises(ValueError, match="unencrypted; use https, or set AWS_ALLOW_HTTP=true"):
        open_root(bucket)
