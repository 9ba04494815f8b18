"""The step `eye_anchors`: which eyes go into which face, and whether the swap came out right.

For frames v2 of every clip a frame v1 is sought that shows, by default, another person, a head
turned alike and eyes that look elsewhere or blink differently. Every composite is measured: its
gaze and blink must be v1's, the rest of its face must be v2's, else it is refused with the error.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from preprocessing.anchor_pairs import EyeState, PairSettings, choose_pairs
from preprocessing.candidates import encode_jpeg
from preprocessing.clip_archive import ArchiveWriter, Place
from preprocessing.clip_store import ClipRow, accepted_clips, read_clip
from preprocessing.eye_swap import EyeSwapSettings, swap_eyes
from preprocessing.face_mesh import MEDIAPIPE_VERSION, FaceMesh
from preprocessing.face_points import EYE_REGION_POINTS
from preprocessing.frame_labels import BLINK_NAMES, GAZE_NAMES, POSE_NAMES, read_labels
from preprocessing.gaze_labels import label_eyes, read_levels
from preprocessing.labellers.blink_lids import OpennessLevels
from preprocessing.process_pool import Crashed, default_workers, map_in_processes
from preprocessing.schema import Clip
from preprocessing.table_schema import column, table_schema
from storage.publishing import BuildReport

CODE_VERSION: Final = f"1+mediapipe{MEDIAPIPE_VERSION}"
ANCHORS_TAR: Final = "anchors.tar"
ANCHORS_TABLE: Final = "anchors.parquet"
ANCHORS_SCHEMA: Final = table_schema(
    column("key", pa.string(), "clip of v2, whose face is kept"),
    column("base_frame", pa.int32(), "v2's frame within its clip"),
    column("identity", pa.string(), "v2's identity"),
    column("eyes_key", pa.string(), "clip of v1, whose eyes are taken"),
    column("eyes_frame", pa.int32(), "v1's frame within its clip"),
    column("eyes_identity", pa.string(), "v1's identity"),
    column("accepted", pa.bool_(), "whether the composite was verified"),
    column("reason", pa.string(), "why not; empty where accepted"),
    column("pose_distance_rad", pa.float32(), "angle between the two heads"),
    column("gaze_distance_rad", pa.float32(), "angle between v1's and v2's gaze"),
    column("gaze_error_rad", pa.float32(), "angle between the composite's gaze and v1's"),
    column("blink_error", pa.float32(), "composite's blink against v1's, the larger of both eyes"),
    column("rest_error_px", pa.float32(), "mean landmark distance off the eyes, against v2"),
    column("offset_bytes", pa.int64(), "where the composite begins in anchors.tar; -1 where refused"),
    column("size_bytes", pa.int64(), "bytes of the composite in anchors.tar"),
)


@dataclass(frozen=True)
class EyeAnchorSettings:
    """Which anchors are made and which are kept."""

    anchors_per_clip: int = 2
    attempts: int = 3  # partners tried for one frame before it is given up
    maximum_gaze_error_rad: float = math.radians(7.0)
    maximum_blink_error: float = 0.25
    maximum_rest_error_px: float = 2.0
    jpeg_quality: int = 95
    pairs: PairSettings = field(default_factory=PairSettings)
    swap: EyeSwapSettings = field(default_factory=EyeSwapSettings)


@dataclass(frozen=True)
class _Task:
    clips: Path
    base: ClipRow
    wanted: tuple[tuple[int, tuple[tuple[ClipRow, int], ...]], ...]  # frame, its partners in order
    poses: Mapping[str, NDArray[np.float32]]  # [T, 6] of every clip named
    gazes: Mapping[str, NDArray[np.float32]]  # [T, 2]
    blinks: Mapping[str, NDArray[np.float32]]  # [T, 2]
    levels: Mapping[str, OpennessLevels]  # by identity
    settings: EyeAnchorSettings


def make_eye_anchors(
    clips: Path,
    pose_labels: Path,
    gaze_labels: Path,
    settings: EyeAnchorSettings,
    folder: Path,
    *,
    workers: int | None = None,
    progress: Callable[[str], None] = print,
) -> BuildReport:
    """Make and verify a batch's eye anchors.

    Args:
        clips: folder of the step `clips`.
        pose_labels: folder of the step `pose_labels`.
        gaze_labels: folder of the step `gaze_labels`.
        settings: how many, how near, how good.
        folder: where `anchors.tar` and `anchors.parquet` are written.
        workers: processes, one a core by default; 0 works in this process.
        progress: takes a line now and then.
    """
    rows = accepted_clips(clips)
    poses = read_labels(pose_labels, POSE_NAMES)
    gazes = read_labels(gaze_labels, GAZE_NAMES)
    blinks = read_labels(gaze_labels, BLINK_NAMES)
    states = [
        EyeState(row.key, row.identity, poses[row.key], gazes[row.key], blinks[row.key]) for row in rows
    ]
    pairs = choose_pairs(states, settings.pairs, settings.anchors_per_clip, settings.attempts)
    by_key = {row.key: row for row in rows}
    levels = read_levels(gaze_labels)
    tasks = []
    for row in rows:
        wanted = tuple(
            (pair.base_frame, tuple((by_key[key], frame) for key, frame in pair.partners))
            for pair in pairs.get(row.key, ())
        )
        named = {row.key} | {partner.key for _, partners in wanted for partner, _ in partners}
        tasks.append(
            _Task(
                clips,
                row,
                wanted,
                {key: poses[key] for key in named},
                {key: gazes[key] for key in named},
                {key: blinks[key] for key in named},
                levels,
                settings,
            )
        )
    return _write(tasks, folder, default_workers() if workers is None else workers, progress)


def _write(
    tasks: list[_Task], folder: Path, workers: int, progress: Callable[[str], None]
) -> BuildReport:
    made: dict[str, list[tuple[dict[str, Any], bytes]]] = {}
    for number, (task, outcome) in enumerate(map_in_processes(_make_for_clip, tasks, workers), start=1):
        if isinstance(outcome, Crashed):
            raise RuntimeError(f"{task.base.key}: making its eye anchors killed a process: {outcome.detail}")
        made[task.base.key] = outcome
        if number % 100 == 0 or number == len(tasks):
            progress(f"{number} of {len(tasks)} clips have their eye anchors")
    rows: list[dict[str, Any]] = []
    with ArchiveWriter(folder / ANCHORS_TAR) as archive:
        for key in sorted(made):
            for number, (row, jpeg) in enumerate(made[key]):
                place = archive.write(f"{key}-a{number:02d}", {"jpg": jpeg}) if jpeg else Place(-1, 0)
                rows.append(row | asdict(place))
    pq.write_table(pa.Table.from_pylist(rows, schema=ANCHORS_SCHEMA), folder / ANCHORS_TABLE)
    accepted = [row for row in rows if row["accepted"]]
    counts = {
        "clips": len(tasks),
        "composites": sum(row["eyes_key"] != "" for row in rows),
        "anchors": len(accepted),
        "clips_with_anchors": len({row["key"] for row in accepted}),
        "anchors_across_identities": sum(row["identity"] != row["eyes_identity"] for row in accepted),
        "anchors_within_identity": sum(row["identity"] == row["eyes_identity"] for row in accepted),
    }
    return BuildReport(counts=counts, refusals=dict(Counter(row["reason"] for row in rows if row["reason"])))


def _make_for_clip(task: _Task) -> list[tuple[dict[str, Any], bytes]]:
    """Rows of one clip with the composites of the accepted ones (b"" else)."""
    if not task.wanted:
        return [(_row(task.base, -1, None, -1) | {"reason": "no_pair"}, b"")]
    base_clip = read_clip(task.clips, task.base)
    made = []
    for base_frame, partners in task.wanted:
        for partner, eyes_frame in partners:
            eyes_clip = read_clip(task.clips, partner)
            row, jpeg = _make_one(task, base_clip, base_frame, eyes_clip, eyes_frame)
            made.append((_row(task.base, base_frame, partner, eyes_frame) | row, jpeg))
            if row["accepted"]:
                break
    return made


def _row(base: ClipRow, base_frame: int, eyes: ClipRow | None, eyes_frame: int) -> dict[str, Any]:
    return {
        "key": base.key,
        "base_frame": base_frame,
        "identity": base.identity,
        "eyes_key": eyes.key if eyes else "",
        "eyes_frame": eyes_frame,
        "eyes_identity": eyes.identity if eyes else "",
        "accepted": False,
        "reason": "",
    }


def _make_one(
    task: _Task, base: Clip, base_frame: int, eyes: Clip, eyes_frame: int
) -> tuple[dict[str, Any], bytes]:
    settings = task.settings
    composite = swap_eyes(
        decode_jpeg(base.frames_jpeg[base_frame]),
        base.landmarks_px[base_frame],
        decode_jpeg(eyes.frames_jpeg[eyes_frame]),
        eyes.landmarks_px[eyes_frame],
        settings.swap,
    )
    jpeg = encode_jpeg(composite, settings.jpeg_quality)
    gaze, base_gaze = task.gazes[eyes.key][eyes_frame], task.gazes[base.key][base_frame]
    pose, base_pose = task.poses[eyes.key][eyes_frame, :3], task.poses[base.key][base_frame, :3]
    row: dict[str, Any] = {
        "accepted": False,
        "pose_distance_rad": float(np.linalg.norm(pose - base_pose)),
        "gaze_distance_rad": float(np.linalg.norm(gaze - base_gaze)),
    }
    # The composite is measured as it will be read: from its JPEG.
    landmarks_px = _verifier().find(decode_jpeg(jpeg))
    if landmarks_px is None:
        return row | {"reason": "no_face"}, b""
    blink = task.blinks[eyes.key][eyes_frame]
    seen_gaze, seen_blink = label_eyes(landmarks_px[None], task.levels[eyes.identity])
    row |= {
        "gaze_error_rad": float(np.linalg.norm(seen_gaze[0] - gaze)),
        "blink_error": float(np.abs(seen_blink[0] - blink).max()),
        "rest_error_px": _rest_error_px(landmarks_px, base.landmarks_px[base_frame]),
    }
    reason = _refusal(row, bool(blink.max() > 0.5), settings)
    return row | {"accepted": not reason, "reason": reason}, b"" if reason else jpeg


def _refusal(row: Mapping[str, Any], shut: bool, settings: EyeAnchorSettings) -> str:
    if row["rest_error_px"] > settings.maximum_rest_error_px:
        return "rest_of_face_moved"
    if row["blink_error"] > settings.maximum_blink_error:
        return "blink_differs"
    # A shut eye shows no gaze to compare.
    if not shut and row["gaze_error_rad"] > settings.maximum_gaze_error_rad:
        return "gaze_differs"
    return ""


def _rest_error_px(landmarks_px: NDArray[np.float32], base_px: NDArray[np.float32]) -> float:
    rest = np.setdiff1d(np.arange(len(base_px)), EYE_REGION_POINTS)
    return float(np.linalg.norm(landmarks_px[rest, :2] - base_px[rest, :2], axis=1).mean())


@cache
def _verifier() -> FaceMesh:
    return FaceMesh(tracking=False)


def decode_jpeg(data: bytes) -> NDArray[np.uint8]:
    """RGB image [H, W, 3] of a JPEG file."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"{len(data)} bytes are not a JPEG file")
    return np.ascontiguousarray(image[..., ::-1], dtype=np.uint8)


def read_anchor_rows(folder: Path) -> list[dict[str, Any]]:
    """Accepted anchors of a batch, by clip."""
    table = pq.read_table(folder / ANCHORS_TABLE, schema=ANCHORS_SCHEMA)
    return [row for row in table.to_pylist() if row["accepted"]]


def accepted_share(rows: Sequence[Mapping[str, Any]]) -> float:
    """Share of the composites that were verified; nan where none was tried."""
    tried = [row for row in rows if row["eyes_key"]]
    return sum(bool(row["accepted"]) for row in tried) / len(tried) if tried else math.nan
