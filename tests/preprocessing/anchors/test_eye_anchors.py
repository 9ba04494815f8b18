"""Real faces out of installed packages: they have to be found by the real face mesh."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from demo_corpus.portraits import BUNDLED, load_bundled
from preprocessing.anchors import eye_anchors
from preprocessing.anchors.eye_anchors import (
    ANCHORS_SCHEMA,
    ANCHORS_TABLE,
    ANCHORS_TAR,
    DamagedClipsError,
    EyeAnchorSettings,
    make_eye_anchors,
    read_anchor_rows,
    refusal,
)
from preprocessing.anchors.pairs import PairSettings
from preprocessing.anchors.verification import AnchorVerifier, BaseFace, EyeTarget, Measured, compare
from preprocessing.archive import ArchiveWriter
from preprocessing.clips.store import CLIPS_TAR, write_clip_table
from preprocessing.faces.alignment import AlignmentSettings, crop_transforms, transform_landmarks
from preprocessing.labellers.blink_lids import OpennessLevels
from preprocessing.labellers.pose_mean_face import label_pose
from preprocessing.labels.gaze import IRIS_TABLE, GazeLabelSettings, make_gaze_labels
from preprocessing.labels.pose import PoseLabelSettings, make_pose_labels
from preprocessing.media.jpeg import encode_jpeg
from preprocessing.schema import Clip, ClipSource
from preprocessing.shards import encode_clip
from tests.factories.preprocessing.clips import silence

FRAMES = 3
# Portraits are few and their heads turned at will: any two may pair here, 14 degrees apart in pose.
ANY_POSE = PairSettings(
    maximum_pose_distance_rad=1.57,
    maximum_size_ratio=3.0,
    minimum_gaze_distance_rad=math.radians(20.0),
    within_identity_share=0.0,
)
SETTINGS = EyeAnchorSettings(
    anchors_per_clip=1, attempts=1, maximum_gaze_error_rad=math.radians(9.0), pairs=ANY_POSE
)


def portrait_crop(number: int) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
    """Crop [224, 224, 3], its landmarks [478, 3] as tracking gives them, transform [2, 3]."""
    portrait = load_bundled(BUNDLED[number])
    source = portrait.landmarks_px.astype(np.float32)[None]
    transform = crop_transforms(source, AlignmentSettings())
    crop = cv2.warpAffine(portrait.image, transform[0].astype(np.float64), (224, 224), flags=cv2.INTER_AREA)
    return crop.astype(np.uint8), transform_landmarks(source, transform)[0], transform[0]


def portrait_clip(key: str, identity: str, number: int) -> Clip:
    """A clip that shows one portrait in every frame."""
    crop, landmarks_px, transform = portrait_crop(number)
    return Clip(
        key=key,
        identity=identity,
        source=ClipSource("0" * 16, "a.mp4", 0, 0, "official", np.stack([transform] * FRAMES)),
        frames_jpeg=(encode_jpeg(crop, 95),) * FRAMES,
        landmarks_px=np.stack([landmarks_px] * FRAMES),
        sound=np.zeros(FRAMES * 640, np.float32),
        video_sound=silence(),
    )


def write_batch(root: Path, clips: list[Clip]) -> tuple[Path, Path, Path]:
    """Folders of clips, pose labels and gaze labels, as the steps write them."""
    folders = root / "clips", root / "pose", root / "gaze"
    for folder in folders:
        folder.mkdir()
    rows = []
    with ArchiveWriter(folders[0] / CLIPS_TAR) as archive:
        for clip in clips:
            place = archive.write(clip.key, encode_clip(clip))
            facts = {"key": clip.key, "identity": clip.identity, "video_id": clip.source.video_id}
            rows.append(facts | {"frames": FRAMES, "accepted": True} | dataclasses.asdict(place))
    write_clip_table(folders[0], rows)
    make_pose_labels(folders[0], PoseLabelSettings(), folders[1])
    make_gaze_labels(folders[0], folders[1], GazeLabelSettings(), folders[2])
    return folders


def look_elsewhere(gaze_labels: Path, key: str) -> None:
    """Falsify one clip's labels: they say that its eyes look 40 degrees further down."""
    path = gaze_labels / IRIS_TABLE
    table = pq.read_table(path)
    there = np.array(table["key"].to_pylist()) == key
    pitch = table["pitch_rad"].to_numpy() + np.where(there, math.radians(40.0), 0.0)
    column = pa.array(pitch.astype(np.float32))
    pq.write_table(table.set_column(table.schema.get_field_index("pitch_rad"), "pitch_rad", column), path)


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    folders = write_batch(
        tmp_path_factory.mktemp("batch"),
        [portrait_clip("ann", "Ann", 0), portrait_clip("bob", "Bob", 5)],
    )
    look_elsewhere(folders[2], "ann")
    return folders


def test_composites_with_wrong_labels_are_refused(batch: tuple[Path, Path, Path], tmp_path: Path) -> None:
    report = make_eye_anchors(*batch, SETTINGS, tmp_path, workers=0)
    rows = pq.read_table(tmp_path / ANCHORS_TABLE, schema=ANCHORS_SCHEMA).to_pylist()
    ann, bob = rows
    # Bob's eyes, truly labelled, in Ann's face; Ann's, falsely labelled, in Bob's.
    assert (ann["key"], ann["eyes_key"], ann["accepted"], ann["reason"]) == ("ann", "bob", True, "")
    assert (bob["key"], bob["eyes_key"], bob["accepted"]) == ("bob", "ann", False)
    assert bob["reason"] == "gaze_differs"
    assert bob["gaze_error_rad"] > math.radians(25.0)
    assert (bob["offset_bytes"], bob["size_bytes"]) == (-1, 0)
    assert report.counts == {
        "clips": 2,
        "composites": 2,
        "anchors": 1,
        "clips_with_anchors": 1,
        "anchors_across_identities": 1,
        "anchors_within_identity": 0,
        "anchors_fallen_back": 0,
    }
    assert report.refusals == {"gaze_differs": 1}
    assert [row["key"] for row in read_anchor_rows(tmp_path)] == ["ann"]


def test_anchor_bytes_do_not_depend_on_processes(batch: tuple[Path, Path, Path], tmp_path: Path) -> None:
    for name, workers in (("here", 0), ("again", 0), ("elsewhere", 2)):
        (tmp_path / name).mkdir()
        make_eye_anchors(*batch, SETTINGS, tmp_path / name, workers=workers)
    for file in (ANCHORS_TAR, ANCHORS_TABLE):
        here = (tmp_path / "here" / file).read_bytes()
        assert here == (tmp_path / "again" / file).read_bytes()
        assert here == (tmp_path / "elsewhere" / file).read_bytes()


def test_single_identity_pairs_within_itself(tmp_path: Path) -> None:
    clips = [portrait_clip("a0", "Ann", 0), portrait_clip("a1", "Ann", 5)]
    folders = write_batch(tmp_path, clips)
    look_elsewhere(folders[2], "a0")
    report = make_eye_anchors(*folders, SETTINGS, tmp_path, workers=0)
    rows = pq.read_table(tmp_path / ANCHORS_TABLE, schema=ANCHORS_SCHEMA).to_pylist()
    assert [row["eyes_key"] for row in rows] == ["a1", "a0"]
    assert report.counts["anchors_across_identities"] == 0
    assert report.counts["anchors_within_identity"] == report.counts["anchors"] == 1
    assert [row["fell_back"] for row in rows] == [True, True]  # another's eyes were due, nobody else is there
    assert report.counts["anchors_fallen_back"] == 1


def test_clips_get_eyes_within_and_across_identities(tmp_path: Path) -> None:
    clips = [
        portrait_clip("a0", "Ann", 0),
        portrait_clip("a1", "Ann", 5),
        portrait_clip("b0", "Bob", 0),
        portrait_clip("b1", "Bob", 5),
    ]
    folders = write_batch(tmp_path, clips)
    for key in ("a0", "b0"):
        look_elsewhere(folders[2], key)
    half = ANY_POSE.replace(within_identity_share=0.5)
    settings = SETTINGS.replace(anchors_per_clip=2, pairs=half)
    report = make_eye_anchors(*folders, settings, tmp_path, workers=0)
    rows = pq.read_table(tmp_path / ANCHORS_TABLE, schema=ANCHORS_SCHEMA).to_pylist()
    assert [row["key"] for row in rows] == ["a0", "a0", "a1", "a1", "b0", "b0", "b1", "b1"]
    for one, other in zip(rows[::2], rows[1::2], strict=True):
        assert {one["eyes_identity"], other["eyes_identity"]} == {"Ann", "Bob"}
    # a1 and b1 are truly labelled, so their eyes are found again in the faces of a0 and b0.
    assert {row["eyes_key"] for row in rows if row["accepted"]} == {"a1", "b1"}
    assert report.counts["anchors_within_identity"] == report.counts["anchors_across_identities"] == 2
    assert report.counts["anchors_fallen_back"] == 0


def test_clip_without_a_partner_is_a_row(tmp_path: Path) -> None:
    folders = write_batch(tmp_path, [portrait_clip("ann", "Ann", 0)])
    report = make_eye_anchors(*folders, SETTINGS, tmp_path, workers=0)
    assert report.refusals == {"no_pair": 1}
    assert report.counts["composites"] == 0


def test_exception_in_one_clip_is_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folders = write_batch(tmp_path, [portrait_clip(f"a{number}", "Ann", 5 * number) for number in range(2)])
    look_elsewhere(folders[2], "a0")
    anchors_of_clip = eye_anchors._anchors_of_clip  # pyright: ignore[reportPrivateUsage]

    def fail_for_a0(task: Any) -> Any:
        if task.base.key == "a0":
            raise IndexError("out of range in a0")
        return anchors_of_clip(task)

    monkeypatch.setattr(eye_anchors, "_anchors_of_clip", fail_for_a0)
    report = make_eye_anchors(*folders, SETTINGS, tmp_path, workers=0)
    rows = pq.read_table(tmp_path / ANCHORS_TABLE, schema=ANCHORS_SCHEMA).to_pylist()
    assert (rows[0]["key"], rows[0]["reason"]) == ("a0", "failed")
    assert report.refusals["failed"] == 1
    assert {row["key"] for row in rows} == {"a0", "a1"}
    (record,) = (record for record in caplog.records if record.levelname == "ERROR")
    assert "Making eye anchors of a0 failed\nTraceback" in record.getMessage()


def test_damaged_clips_fail_the_step(tmp_path: Path) -> None:
    folders = write_batch(tmp_path, [portrait_clip(f"a{number}", "Ann", 5 * number) for number in range(2)])
    look_elsewhere(folders[2], "a0")
    clips = folders[0] / CLIPS_TAR
    clips.write_bytes(bytes(clips.stat().st_size))
    with pytest.raises(DamagedClipsError, match="not a tar member"):
        make_eye_anchors(*folders, SETTINGS, tmp_path, workers=0)


def test_verifier_of_unchanged_and_blank_frames() -> None:
    crop, landmarks_px, _ = portrait_crop(0)
    base = BaseFace(landmarks_px, label_pose(landmarks_px[None]).pose[0])
    levels = OpennessLevels(np.array([0.3, 0.3]), np.array([0.09, 0.09]))
    zero = EyeTarget(np.zeros(2, np.float32), np.zeros(2, np.float32), levels)
    verifier = AnchorVerifier()
    verifier.start_clip(crop)
    measured = verifier.measure(crop, base, zero)
    assert measured is not None
    assert measured.rest_error_px < 2.0
    assert verifier.measure(np.zeros_like(crop), base, zero) is None


def test_rest_error_ignores_the_eyes() -> None:
    _, landmarks_px, _ = portrait_crop(0)
    base = BaseFace(landmarks_px, label_pose(landmarks_px[None]).pose[0])
    levels = OpennessLevels(np.array([0.3, 0.3]), np.array([0.09, 0.09]))
    zero = EyeTarget(np.zeros(2, np.float32), np.zeros(2, np.float32), levels)
    moved = landmarks_px.copy()
    moved[468:, :2] += 9.0  # irises
    assert compare(moved, base, zero).rest_error_px == 0.0
    moved[:, 0] += 3.0
    assert compare(moved, base, zero).rest_error_px == pytest.approx(3.0, abs=1e-4)


def test_refusal_names_the_exceeded_bound() -> None:
    settings = EyeAnchorSettings()
    assert refusal(Measured(0.0872, 0.2, 2.0), settings) == ""
    assert refusal(None, settings) == "no_face"
    assert refusal(Measured(0.0, 0.0, 2.1), settings) == "rest_of_face_moved"
    assert refusal(Measured(0.0, 0.21, 0.0), settings) == "blink_differs"
    assert refusal(Measured(0.09, 0.0, 0.0), settings) == "gaze_differs"


def test_settings_refuse_bounds_above_half_the_distance() -> None:
    with pytest.raises(ValueError, match=r"maximum_blink_error <= 0.25, half of"):
        EyeAnchorSettings(maximum_blink_error=0.3)
    with pytest.raises(ValueError, match="attempts"):
        EyeAnchorSettings(attempts=0)
