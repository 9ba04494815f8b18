"""What the sheets show: directions in the picture, and messages for empty batches."""

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from upath import UPath

from preprocessing.anchors.eye_anchors import ANCHORS_SCHEMA, ANCHORS_TABLE, ANCHORS_TAR, EyeAnchorSettings
from preprocessing.archive import ArchiveWriter
from preprocessing.clips.selection import ClipSettings
from preprocessing.faces.candidate_tables import CANDIDATES_SCHEMA
from preprocessing.labels.lip_sync import SCORES_SCHEMA, SCORES_TABLE
from preprocessing.pictures.anchor_sheet import draw_anchor_sheet, draw_refused_anchor_sheet
from preprocessing.pictures.gaze_sheet import draw_gaze_sheet, gaze_arrow_px
from preprocessing.pictures.histograms import (
    draw_clip_scores,
    draw_gaze_angles,
    draw_histograms,
    draw_lip_sync,
    draw_pose_angles,
    draw_refusals,
    histogram_of,
)
from preprocessing.pictures.mesh_sheet import draw_candidate_sheet, draw_contact_sheet
from preprocessing.pictures.pose_sheet import draw_pose_sheet, project_axes
from preprocessing.pictures.refused_sheet import draw_refused_sheet, nearest_of_each_reason
from preprocessing.shards import encode_array
from storage.publishing import require_current
from tests.factories.preprocessing.gallery_root import BATCH, publish_gallery_root
from tests.factories.preprocessing.published_steps import (
    grey_jpeg,
    key_of,
    make_clip,
    publish_clips,
    publish_gazes,
    publish_poses,
)

TURN = math.radians(20)


def pose(pitch: float = 0.0, yaw: float = 0.0, roll: float = 0.0) -> Any:
    return np.array([pitch, yaw, roll, 0.0, 0.0, 0.0], np.float32)


@pytest.mark.parametrize(
    ("turned", "axis", "direction"),
    [
        (pose(pitch=TURN), 3, (0, 1)),  # looks down: the nose's axis goes down the picture
        (pose(yaw=TURN), 3, (1, 0)),  # looks to the image's right
        (pose(roll=TURN), 1, (1, -1)),  # counter-clockwise: the axis to the right rises
        (pose(roll=TURN), 2, (-1, -1)),
    ],
)
def test_axes_follow_the_sign_convention(turned: Any, axis: int, direction: tuple[int, int]) -> None:
    ends = project_axes(turned)
    assert ends[0].tolist() == [112.0, 112.0]
    assert np.sign(np.round(ends[axis] - ends[0], 6)).tolist() == list(direction)


@pytest.mark.parametrize(
    ("head", "gaze", "direction"),
    [
        (pose(), (0.0, 0.0), (0, 0)),
        (pose(), (0.2, 0.0), (0, 1)),
        (pose(), (0.0, 0.2), (1, 0)),
        (pose(yaw=0.2), (0.0, -0.2), (0, 0)),  # the eyes look into the camera past a turned head
    ],
)
def test_gaze_arrow_follows_the_sign_convention(
    head: Any, gaze: tuple[float, float], direction: tuple[int, int]
) -> None:
    arrow = gaze_arrow_px(head, np.array(gaze, np.float32))
    assert np.sign(np.round(arrow, 4)).tolist() == list(direction)


def test_histogram_skips_missing_values() -> None:
    panel = histogram_of("x", "px", [1.0, None, math.nan, 3.0], minimum=0.0)
    assert panel.counts.sum() == 2
    assert (panel.edges[0], panel.edges[-1]) == (0.0, 3.0)


def test_long_titles_and_units_are_not_cut() -> None:
    titles = ["Gaze pitch in the head (+ looks down)", "Lip-sync offset (+ the sound comes late)"] * 2
    panels = [
        histogram_of(title, "the scorer's own, by canonical 1 mouth_sound 1", [1.0]) for title in titles
    ]
    picture = np.asarray(Image.open(io.BytesIO(draw_histograms("Labels", panels))).convert("L"))
    assert (picture[:, -2:] > 250).all()
    assert (picture[-2:] > 250).all()
    assert (picture[30:52, 228:268] > 250).all()  # between the titles of two panels


def published(tmp_path: Path, names: list[str]) -> dict[str, Path]:
    clips = [make_clip(f"video{number}", name) for number, name in enumerate(names)]
    face_tracks = tmp_path / "face_tracks"
    face_tracks.mkdir()
    for clip in clips:
        folder = face_tracks / clip.source.video_id
        folder.mkdir()
        members = {
            "000.jpg": grey_jpeg(),
            "001.jpg": grey_jpeg(),
            "landmarks.npy": encode_array(clip.landmarks_px),
        }
        with ArchiveWriter(folder / "candidates.tar") as archive:
            place = archive.write(clip.key, members)
        row = {"key": clip.key, "video_id": clip.source.video_id, "frames": 2, "main_face": True}
        row |= {"offset_bytes": place.offset_bytes, "size_bytes": place.size_bytes, "face_size_px": 80.0}
        pq.write_table(pa.Table.from_pylist([row], schema=CANDIDATES_SCHEMA), folder / "candidates.parquet")
    scores = tmp_path / "lip_sync_scores"
    scores.mkdir()
    rows = [{"key": clip.key, "scorer": "s 1", "confidence": 1.0, "offset_frames": 0.0} for clip in clips]
    pq.write_table(pa.Table.from_pylist(rows, schema=SCORES_SCHEMA), scores / SCORES_TABLE)
    return {
        "clips": publish_clips(tmp_path / "clips", clips),
        "face_tracks": face_tracks,
        "pose_labels": publish_poses(
            tmp_path / "pose_labels", {clip.key: np.stack([pose(), pose(yaw=TURN)]) for clip in clips}
        ),
        "gaze_labels": publish_gazes(
            tmp_path / "gaze_labels", {clip.key: np.zeros((2, 4), np.float32) for clip in clips}
        ),
        "lip_sync_scores": scores,
        "eye_anchors": publish_anchors(tmp_path / "eye_anchors", names),
    }


def publish_anchors(folder: Path, names: list[str]) -> Path:
    """One verified anchor and one refused one of every clip but the first, whose eyes they are."""
    folder.mkdir()
    rows: list[dict[str, Any]] = []
    with ArchiveWriter(folder / ANCHORS_TAR) as archive:
        for number, name in list(enumerate(names))[1:]:
            row = {"key": key_of(f"video{number}"), "identity": name, "base_frame": 0, "eyes_frame": 1}
            row |= {"eyes_key": key_of("video0"), "eyes_identity": names[0]}
            errors = {"gaze_error_rad": 0.1, "blink_error": 0.1, "rest_error_px": 1.0}
            place = archive.write(f"{row['key']}-a00", {"jpg": grey_jpeg()})
            rows.append(
                row
                | errors
                | {"accepted": True, "reason": ""}
                | {"offset_bytes": place.offset_bytes, "size_bytes": place.size_bytes}
            )
            rows.append(row | {"accepted": False, "reason": "no_face", "offset_bytes": -1, "size_bytes": 0})
    pq.write_table(pa.Table.from_pylist(rows, schema=ANCHORS_SCHEMA), folder / ANCHORS_TABLE)
    return folder


def draw_all(steps: dict[str, Path]) -> dict[str, bytes]:
    clips, poses, gazes = steps["clips"], steps["pose_labels"], steps["gaze_labels"]
    return {
        "clips": draw_contact_sheet(clips),
        "candidates": draw_candidate_sheet(steps["face_tracks"]),
        "pose": draw_pose_sheet(clips, poses),
        "gaze": draw_gaze_sheet(clips, poses, gazes),
        "anchors": draw_anchor_sheet(clips, steps["eye_anchors"], EyeAnchorSettings()),
        "scores": draw_clip_scores(clips, ClipSettings()),
        "pose angles": draw_pose_angles(poses),
        "gaze angles": draw_gaze_angles(gazes),
        "lip sync": draw_lip_sync(steps["lip_sync_scores"]),
        "refusals": draw_refusals({"blurred": 2}, 1),
    }


def test_pictures_are_deterministic_and_bounded(tmp_path: Path) -> None:
    steps = published(tmp_path, ["Ångström", "Ирина", "字", "anna face 1"])
    first, second = draw_all(steps), draw_all(steps)
    assert [name for name in first if first[name] != second[name]] == []
    for data in first.values():
        assert len(data) <= 60_000
        Image.open(io.BytesIO(data)).verify()


def test_empty_batch_gives_a_message(tmp_path: Path) -> None:
    pictures = draw_all(published(tmp_path, [])) | {"refusals": draw_refusals({}, 0)}
    for data in pictures.values():
        assert Image.open(io.BytesIO(data)).size == (480, 54)


def test_maximum_bytes_is_respected(tmp_path: Path) -> None:
    steps = published(tmp_path, ["a", "b"])
    assert len(draw_contact_sheet(steps["clips"], maximum_bytes=4_000)) <= 4_000
    assert len(draw_pose_angles(steps["pose_labels"], maximum_bytes=4_000)) <= 4_000


def test_refused_sheets_show_the_nearest_of_every_reason() -> None:
    rows = [
        {"reason": "blurred", "score": 1.0, "threshold": 8.0, "key": "far"},
        {"reason": "blurred", "score": 7.0, "threshold": 8.0, "key": "near"},
        {"reason": "too_dark", "score": 20.0, "threshold": 25.0, "key": "dark"},
    ]
    assert [row["key"] for row in nearest_of_each_reason(rows)] == ["near", "dark", "far"]


def test_refused_sheets_of_a_batch(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    publish_gallery_root(root)
    clips, tracks, anchors = (
        Path(str(require_current(root, step, BATCH).directory))
        for step in ("clips", "face_tracks", "eye_anchors")
    )
    faces = Image.open(io.BytesIO(draw_refused_sheet(clips, tracks)))
    composites = Image.open(io.BytesIO(draw_refused_anchor_sheet(clips, anchors, EyeAnchorSettings())))
    assert max(faces.width, composites.width) <= 480  # what Dagster's UI shows without scrolling
    assert faces.height > 148  # a picture, and no message
    assert composites.height > 152
