"""A list's folder is scanned by the list; its parts are tracked; its clips carry identities and labels."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from upath import UPath

from preprocessing.clips.listed import SourceOfClips, find_segment, of_segment
from preprocessing.dataset.splits import SplitSettings, assign_splits
from preprocessing.faces.video import frames_of_spans
from preprocessing.media.decoding import VideoFrame
from preprocessing.shards import decode_clip, encode_clip
from preprocessing.sources import reading
from preprocessing.sources.lists.segments import END, Segment
from preprocessing.sources.lists.stored import remove_list, save_list
from preprocessing.sources.probe import SourceFacts
from preprocessing.sources.scan import ScanSettings
from preprocessing.sources.stored_catalog import SourceSettings, load_batch, load_catalog, scan_sources
from tests.factories.preprocessing.clips import random_clip

SETTINGS = SourceSettings(scan=ScanSettings(workers=0))
FACTS = SourceFacts(3.0, 640, 480, 0, 75, 25.0, False, "h264", "aac", 48_000, 2, 0.0, 0.0)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three files whose content differs; the probe accepts everything."""
    monkeypatch.setattr(reading, "probe", lambda *_: FACTS)
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in ("1.mp4", "2.mp4", "3.mp4"):
        (folder / name).write_text(name)
    return folder.resolve()


def rows_by_name(root: UPath) -> dict[str, dict[str, Any]]:
    table = load_catalog(root)
    assert table is not None
    return {row["relative_path"]: row for row in table.to_pylist()}


def test_scan_takes_the_files_and_identities_of_a_list(folder: Path, tmp_path: Path) -> None:
    root = UPath(tmp_path / "root")
    records = [{"path": "1.mp4", "identity": "Ann"}, {"path": "2.mp4", "identity": "Bob", "start": 1}]
    save_list(root, "mine", [*records], folder)
    report = scan_sources(root, [], SETTINGS)  # the list's folder needs no mention
    rows = rows_by_name(root)
    assert [(row["identity"], row["reason"]) for row in rows.values()] == [
        ("Ann", ""),
        ("Bob", ""),
        ("3", "not_in_list"),
    ]
    assert report.files_read == 2
    batch = load_batch(root, rows["1.mp4"]["batch"])
    segments = {video.relative_path: video.segments for video in batch.videos}
    assert segments == {"1.mp4": (), "2.mp4": (Segment(2, 25, END, "Bob"),)}
    assert {video.picture_px for video in batch.videos} == {(640, 480)}

    save_list(root, "mine", [{"path": "1.mp4", "identity": "Eve"}, {"path": "3.mp4"}], folder)
    scan_sources(root, [], SETTINGS)
    rows = rows_by_name(root)
    # A video that is in a batch stays; a new name is taken over; a file that was left out is read.
    assert [(row["identity"], row["reason"]) for row in rows.values()] == [("Eve", ""), ("2", ""), ("3", "")]
    remove_list(root, "mine")
    scan_sources(root, [], SETTINGS)
    assert [row["identity"] for row in rows_by_name(root).values()] == ["1", "2", "3"]


def test_only_frames_of_spans_are_tracked() -> None:
    image = np.zeros((2, 2, 3), np.uint8)
    frames = [VideoFrame(number, image, number / 25) for number in range(10)]
    found = [(frame.index, begins) for frame, begins in frames_of_spans(frames, ((1, 3), (3, 4), (8, 99)))]
    assert found == [(1, True), (2, False), (3, True), (8, True), (9, False)]
    assert [frame.index for frame, _ in frames_of_spans(frames, ())] == list(range(10))
    assert not any(begins for _, begins in frames_of_spans(frames, ()))


def test_clip_takes_identity_and_labels_of_its_segment() -> None:
    clip = random_clip(frames=4)  # begins at frame 50
    transforms = np.tile(np.array([[2, 0, -100], [0, 2, -50]], np.float32), (4, 1, 1))  # source px -> crop px
    landmarks = np.full_like(clip.landmarks_px, 100)
    landmarks[:, 0, :2], landmarks[:, 1, :2] = 90, 110  # the face's middle in the source is (100, 75)
    clip = replace(clip, landmarks_px=landmarks, source=replace(clip.source, crop_transforms=transforms))
    at_face = Segment(3, 50, 54, "Ann", face=(80.0, 60.0, 120.0, 90.0), labels='{"emotion":"sad"}')
    elsewhere = replace(at_face, face=(0.5, 0.5, 1.0, 1.0), identity="Bob")
    later = Segment(4, 60, END, "Eve")
    source = SourceOfClips("x", "x.mp4", (later, elsewhere, at_face), (400, 300))
    segment = find_segment(clip, source, 20.0)
    assert segment is not None
    assert segment == at_face
    assert find_segment(clip, replace(source, segments=(later, elsewhere)), 20.0) is None
    listed = of_segment(clip, segment, is_main=True)
    assert (listed.identity, listed.annotations) == ("Ann", {"emotion": "sad"})
    assert of_segment(clip, segment, is_main=False).identity == "Ann face 0"
    assert decode_clip(clip.key, encode_clip(listed)).annotations == {"emotion": "sad"}
    assert b"annotations" not in encode_clip(clip)["meta.json"]


def test_listed_splits_come_first() -> None:
    settings = SplitSettings(validation_share=0, test_share=0, test_pattern="b*")
    splits = assign_splits(["a", "b", "c"], {"a": "train"}, settings, {"a": "test", "b": "validation"})
    assert splits == {"a": "test", "b": "validation", "c": "train"}
