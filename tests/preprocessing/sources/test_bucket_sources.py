"""Videos in a bucket through the catalog, tracking and all steps. moto's server plays the store."""

import hashlib
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from upath import UPath

from preprocessing.clips.selection import ClipSettings
from preprocessing.faces.batched import videos as batched
from preprocessing.faces.candidate_tables import read_video_facts
from preprocessing.faces.face_tracks import make_face_tracks
from preprocessing.faces.video import FaceTrackSettings, VideoToTrack
from preprocessing.media.encoding import write_video
from preprocessing.orchestration.steps import STEPS, PreprocessingSettings, run_step
from preprocessing.process_pool import Crashed
from preprocessing.sources import reading, stored_catalog
from preprocessing.sources import scan as catalog
from preprocessing.sources.catalog import CatalogRow, rows_of
from preprocessing.sources.discovery import Listing
from preprocessing.sources.probe import ProbeSettings, SourceFacts
from preprocessing.sources.remote import BucketPath, source_path
from preprocessing.sources.scan import ScanResult, ScanSettings, scan
from preprocessing.sources.stored_catalog import (
    SourceSettings,
    batch_keys,
    load_batch,
    load_catalog,
    recorded_digests,
    scan_sources,
)
from storage.remote.bucket import open_store
from storage.root import open_root
from tests.factories.preprocessing.videos import video_id, write_face_video

SETTINGS = ScanSettings(workers=0)
FACTS = SourceFacts(2.0, 64, 48, 0, 50, 25.0, False, "h264", "aac", 16_000, 1, 0.0, 0.0)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two small videos of different content."""
    folder = tmp_path_factory.mktemp("videos")
    paths = [folder / f"{index}.mp4" for index in range(2)]
    for index, path in enumerate(paths):
        frames = [np.full((16, 16, 3), 60 * index + 40, np.uint8)] * 30
        write_video(path, frames, 25, np.zeros(30 * 640, np.float32))
    return paths


def put(bucket: str, name: str, content: bytes) -> None:
    open_store(bucket, patient=False).put(name, content)


def below(bucket: str, prefix: str = "videos") -> BucketPath:
    return BucketPath(bucket.removeprefix("s3://"), prefix)


def dead_process() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def by_name(table: pa.Table) -> dict[str, CatalogRow]:
    return {row.relative_path: row for row in rows_of(table)}


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_row_of_an_object_has_path_identity_and_hash(bucket: str, tmp_path: Path, videos: list[Path]) -> None:
    content = videos[0].read_bytes()
    for name in ("p 1/x/a.mp4", "flat.MP4", "notes.txt", ".hidden/b.mp4", "p 1/.c.mp4"):
        put(bucket, f"videos/{name}", content)
    put(bucket, "videos2/d.mp4", content)
    put(bucket, "videos/empty.mp4", b"")
    before = time.time_ns() - 10**9
    rows = by_name(scan([below(bucket)], None, SETTINGS, scratch=tmp_path / "copies").table)
    assert {name: (row.status, row.reason, row.identity) for name, row in rows.items()} == {
        "flat.MP4": ("accepted", "", "flat"),
        "p 1/x/a.mp4": ("duplicate", "duplicate", "p 1"),
        "empty.mp4": ("refused", "zero_bytes", "empty"),
    }
    row = rows["flat.MP4"]
    assert row.path == f"{bucket}/videos/flat.MP4"
    assert row.root == f"{bucket}/videos"
    assert row.sha256 == hashlib.sha256(content).hexdigest()
    assert row.size_bytes == len(content)
    assert abs(row.modified_ns - before) < 60 * 10**9
    assert row.facts is not None
    assert row.facts.frame_count == 30
    assert files_in(tmp_path) == []


def test_known_objects_are_not_fetched_again(
    bucket: str, tmp_path: Path, videos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(bucket, "videos/a.mp4", videos[0].read_bytes())
    first = scan([below(bucket)], None, SETTINGS, scratch=tmp_path)

    def fail(*_: object) -> None:
        raise AssertionError("a known object was fetched")

    monkeypatch.setattr(reading, "fetched", fail)
    second = scan([below(bucket)], first.table, SETTINGS, scratch=tmp_path)
    assert (second.files_found, second.files_read) == (1, 0)
    assert second.table.equals(first.table)


def test_scan_keeps_one_copy_per_worker(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        put(bucket, f"videos/{number}.mp4", b"%d" % number)
    counts: list[int] = []

    def look(path: Path, _: ProbeSettings) -> SourceFacts:
        assert path.is_relative_to(tmp_path)
        counts.append(len(files_in(tmp_path)))
        return FACTS

    monkeypatch.setattr(reading, "probe", look)
    result = scan([below(bucket)], None, SETTINGS, scratch=tmp_path)
    assert (result.files_read, len(counts)) == (5, 5)
    assert set(counts) == {1}
    assert files_in(tmp_path) == []


def test_object_changed_since_listing_is_read_next_time(
    bucket: str, tmp_path: Path, videos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("gone.mp4", "new.mp4"):
        put(bucket, f"videos/{name}", b"old")

    def find_and_change(roots: list[BucketPath]) -> Listing:
        listing = find_videos(roots)
        open_store(bucket, patient=False).delete("videos/gone.mp4")
        put(bucket, "videos/new.mp4", videos[0].read_bytes())
        return listing

    find_videos = catalog.find_videos
    with monkeypatch.context() as patch:
        patch.setattr(catalog, "find_videos", find_and_change)
        first = scan([below(bucket)], None, SETTINGS, scratch=tmp_path)
    reasons = {name: row.reason for name, row in by_name(first.table).items()}
    assert reasons == {"gone.mp4": "source_missing", "new.mp4": "still_changing"}
    second = scan([below(bucket)], first.table, SETTINGS, scratch=tmp_path)
    assert {name: row.status for name, row in by_name(second.table).items()} == {"new.mp4": "accepted"}
    assert files_in(tmp_path) == []


@pytest.mark.usefixtures("bucket")
def test_missing_bucket_does_not_empty_the_catalog(bucket: str, tmp_path: Path, videos: list[Path]) -> None:
    put(bucket, "videos/a.mp4", videos[0].read_bytes())
    root = UPath(tmp_path)
    scan_sources(root, [below(bucket)], SourceSettings())
    known = load_catalog(root)
    assert known is not None
    open_store(bucket, patient=False).delete("videos/a.mp4")
    with pytest.raises(FileNotFoundError, match="videos is empty: no object has this prefix"):
        scan_sources(root, [], SourceSettings())
    with pytest.raises(OSError, match="s3://no-such-bucket/x cannot be listed"):
        scan([BucketPath("no-such-bucket", "x")], None, SETTINGS)
    unchanged = load_catalog(root)
    assert unchanged is not None
    assert unchanged.equals(known)


def test_video_moved_to_a_bucket_keeps_its_batch(bucket: str, tmp_path: Path, videos: list[Path]) -> None:
    folder, root = tmp_path / "folder", UPath(tmp_path / "root")
    for name, video in zip(("a/1.mp4", "b/2.mp4"), videos, strict=True):
        (folder / name).parent.mkdir(parents=True)
        shutil.copyfile(video, folder / name)
    (key,) = scan_sources(root, [folder], SourceSettings()).new_batches
    put(bucket, "videos/a/1.mp4", videos[0].read_bytes())
    (folder / "a/1.mp4").unlink()
    report = scan_sources(root, [below(bucket)], SourceSettings())
    assert report.new_batches == ()
    places = {video.relative_path: video.path for video in load_batch(root, key).videos}
    assert places == {"a/1.mp4": source_path(f"{bucket}/videos/a/1.mp4"), "b/2.mp4": folder / "b/2.mp4"}
    assert files_in(tmp_path / "root" / ".building") == [tmp_path / "root" / ".building" / "catalog.lock"]


def test_scans_of_two_machines_keep_what_both_found(
    bucket: str, tmp_path: Path, videos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [tmp_path / name for name in ("first", "second")]
    for folder, video in zip(folders, videos, strict=True):
        (folder / folder.name).mkdir(parents=True)
        shutil.copyfile(video, folder / folder.name / "a.mp4")
    root = open_root(f"{bucket}/root")

    def scan_while_another_machine_does(*arguments: Any, **options: Any) -> ScanResult:
        monkeypatch.setattr(stored_catalog, "scan", scan)
        with monkeypatch.context() as patch:
            patch.setenv("PDFGC_SCRATCH", str(tmp_path / "other machine"))
            scan_sources(root, folders[:1], SourceSettings())
        return scan(*arguments, **options)

    monkeypatch.setattr(stored_catalog, "scan", scan_while_another_machine_does)
    scan_sources(root, folders[1:], SourceSettings())
    known = load_catalog(root)
    assert known is not None
    assert {row.identity for row in rows_of(known)} == {"first", "second"}
    assert len(recorded_digests(root)) == 1
    assert len(set(known["batch"].to_pylist())) == 2  # what the other machine dealt stays as it was dealt


def test_scan_removes_copies_of_a_killed_scan(tmp_path: Path, videos: list[Path]) -> None:
    left = tmp_path / ".building" / "sources" / f"source.partial-{dead_process()}-00.mp4"
    left.parent.mkdir(parents=True)
    left.touch()
    scan_sources(UPath(tmp_path), [videos[0].parent], SourceSettings())
    assert not left.exists()


def test_bucket_catalog_leaves_no_scratch_files(bucket: str, tmp_path: Path, videos: list[Path]) -> None:
    put(bucket, "videos/a.mp4", videos[0].read_bytes())
    root = open_root(f"{bucket}/root")
    report = scan_sources(root, [below(bucket)], SourceSettings())
    known = load_catalog(root)
    assert known is not None
    assert known.equals(report.catalog)
    assert [path.name for path in files_in(tmp_path / "scratch")] == ["catalog.lock"]


def test_scan_leaves_files_that_are_not_settled(tmp_path: Path, videos: list[Path]) -> None:
    shutil.copyfile(videos[0], tmp_path / "a.mp4")
    patient = ScanSettings(workers=0, settle_seconds=1000)
    waiting = scan([tmp_path], None, patient)
    assert (waiting.files_found, waiting.files_read, waiting.table.num_rows) == (1, 0, 0)
    known = scan([tmp_path], None, SETTINGS).table
    shutil.copyfile(videos[1], tmp_path / "a.mp4")
    assert scan([tmp_path], known, patient).table.equals(known)


@pytest.mark.parametrize(
    ("age_seconds", "settled"), [(59.9, False), (60.0, True), (-59.9, False), (-60.0, True), (1e9, True)]
)
def test_is_settled_compares_the_time_with_now(age_seconds: float, settled: bool) -> None:
    now_ns = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * 10**9
    modified_ns = now_ns - round(age_seconds * 1e9)
    file = catalog.SourceFile("/a.mp4", Path("/"), 1, modified_ns, "/a.mp4", "a.mp4", "a")
    assert catalog.is_settled(file, 60, now_ns) is settled


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two people's videos, long enough for a clip each."""
    folder = tmp_path_factory.mktemp("faces")
    for seed, name in enumerate(("one/a.mp4", "two/b.mp4")):
        (folder / name).parent.mkdir()
        write_face_video(folder / name, 30, mirrored=bool(seed), seed=seed)
    return folder


def tracked(videos: list[VideoToTrack], folder: Path) -> dict[str, str]:
    """Reason by video id, of `make_face_tracks`; "" for what was read."""
    make_face_tracks(videos, FaceTrackSettings(), folder, workers=0)
    return {facts["video_id"]: facts["refused"] for facts in read_video_facts(folder)}


def test_tracking_refuses_a_changed_object(bucket: str, tmp_path: Path) -> None:
    put(bucket, "changed.mp4", b"other content")
    videos = [VideoToTrack(name * 16, below(bucket, f"{name}.mp4")) for name in ("a", "b")]
    changed = VideoToTrack("c" * 16, below(bucket, "changed.mp4"))
    assert tracked([*videos, changed], tmp_path) == {
        "a" * 16: "source_missing",
        "b" * 16: "source_missing",
        "c" * 16: "source_changed",
    }
    sha256 = hashlib.sha256(b"other content").hexdigest()
    details = [facts["detail"] for facts in read_video_facts(tmp_path)]
    assert details == [
        f"{bucket}/a.mp4 does not exist any more",
        f"{bucket}/b.mp4 does not exist any more",
        f"{bucket}/changed.mp4 has other content: sha256 {sha256[:16]}",
    ]
    assert sorted({path.name for path in files_in(tmp_path)}) == ["candidates.parquet", "video.json"]


@pytest.mark.usefixtures("bucket")
def test_tracking_stops_if_the_bucket_is_unreachable(tmp_path: Path) -> None:
    video = VideoToTrack("a" * 16, BucketPath("no-such-bucket", "a.mp4"))
    with pytest.raises(OSError, match="no-such-bucket"):
        tracked([video], tmp_path)
    assert read_video_facts(tmp_path) == []
    assert files_in(tmp_path) == []


def test_copy_of_a_refused_object_is_removed(bucket: str, tmp_path: Path) -> None:
    put(bucket, "text.mp4", b"not a video")
    name = hashlib.sha256(b"not a video").hexdigest()[:16]
    assert tracked([VideoToTrack(name, below(bucket, "text.mp4"))], tmp_path) == {name: "not_a_video"}
    assert sorted(path.name for path in files_in(tmp_path)) == ["candidates.parquet", "video.json"]


def test_copy_of_a_dead_reader_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / f"aa.partial-{dead_process()}-00.mp4").touch()

    def crash(_: object, tasks: list[object], __: int, ___: object) -> list[tuple[object, Crashed]]:
        return [(task, Crashed("as if")) for task in tasks]

    monkeypatch.setattr(batched, "map_in_processes", crash)
    assert tracked([VideoToTrack("a" * 16, BucketPath("bucket", "a.mp4"))], tmp_path) == {
        "a" * 16: "reader_crashed"
    }
    assert [path.name for path in tmp_path.iterdir()] == ["a" * 16]


@pytest.mark.slow
def test_bucket_and_folder_give_the_same_shards(bucket: str, tmp_path: Path, faces: Path) -> None:
    for path in files_in(faces):
        put(bucket, f"videos/{path.relative_to(faces).as_posix()}", path.read_bytes())
    settings = PreprocessingSettings(clips=ClipSettings(minimum_mouth_motion=0.0))  # this face hardly speaks
    members: list[dict[str, tuple[str, str]]] = []
    for name, source in (("folder", faces), ("bucket", below(bucket))):
        root = UPath(tmp_path / name)
        scan_sources(root, [source], SourceSettings())
        (key,) = batch_keys(root)
        batch = load_batch(root, key)
        assert {video.video_id for video in batch.videos} == {video_id(path) for path in files_in(faces)}
        published = {step: run_step(root, step, batch, settings, workers=0) for step in STEPS}
        assert published["shards"].manifest.counts["samples"] == 2
        members.append(
            {
                step: (each.manifest.fingerprint, each.manifest.content_digest)
                for step, each in published.items()
            }
        )
        assert not [path for path in files_in(tmp_path / name) if path.suffix == ".mp4"]
    assert members[0] == members[1]
