"""The step `eye_anchors`: composites of the eyes of v1 in the face of v2, verified.

For frames v2 of every clip, find frames v1 with a similar head pose but another gaze or blink, a share of
them of the same identity and the rest of others. Every composite is measured: gaze and blink must be v1's,
the rest of the face v2's; otherwise it is refused with its error and the next v1 is tried.
"""

import logging
import math
import traceback
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import Field, model_validator

from preprocessing.anchors.bounds import ANCHOR_BOUNDS
from preprocessing.anchors.eye_swap import EyeSwapSettings, swap_eyes
from preprocessing.anchors.pairs import EyeState, PairSettings, choose_pairs
from preprocessing.anchors.verification import AnchorVerifier, BaseFace, EyeTarget, Measured
from preprocessing.archive import ArchiveWriter, Place, read_some_members
from preprocessing.clips.store import CLIPS_TAR, ClipRow, accepted_clips
from preprocessing.common_failure import common_error, common_failure
from preprocessing.faces.mesh import MEDIAPIPE_VERSION
from preprocessing.labellers.blink_lids import OpennessLevels
from preprocessing.labellers.failed_clips import read_failed
from preprocessing.labels.gaze import read_iris_gaze, read_levels
from preprocessing.labels.tables import BLINK_NAMES, GAZE_NAMES, POSE_NAMES, read_labels
from preprocessing.media.container import failure as failure_of
from preprocessing.media.jpeg import decode_jpeg, encode_jpeg
from preprocessing.orchestration.step import Step, StepRun
from preprocessing.process_pool import Crashed, default_workers, map_in_processes
from preprocessing.shards import decode_array
from preprocessing.sources.catalog import FAILED
from preprocessing.table_schema import column, table_schema
from storage.publishing import BuildReport
from storage.settings import Settings

logger = logging.getLogger(__name__)

CODE_VERSION: Final = f"4+mediapipe{MEDIAPIPE_VERSION}"
VALID_NAMES: Final = ("valid",)
ANCHORS_TAR: Final = "anchors.tar"
ANCHORS_TABLE: Final = "anchors.parquet"
ANCHORS_SCHEMA: Final = table_schema(
    column("key", pa.string(), "clip of v2, whose face is kept"),
    column("base_frame", pa.int32(), "v2's frame within its clip"),
    column("identity", pa.string(), "v2's identity"),
    column("eyes_key", pa.string(), "clip of v1, whose eyes are taken"),
    column("eyes_frame", pa.int32(), "v1's frame within its clip"),
    column("eyes_identity", pa.string(), "v1's identity"),
    column("fell_back", pa.bool_(), "whether no v1 of the kind that was due (own identity, other) fitted"),
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


class EyeAnchorSettings(Settings):
    """Which anchors are made, and which are kept.

    The bounds are the verifier's errors where nothing was swapped: of unchanged frames of 20 persons' real
    clips, measured against their own labels, 99 % are within 4.9 degrees of gaze, 0.16 of blink and 2.2 px
    off the eyes. A bound is at most half the distance of v1 from v2, so that an accepted composite is nearer
    to v1's eyes.
    """

    anchors_per_clip: int = Field(default=2, ge=0, le=32, description="Anchors attempted for each clip")
    attempts: int = Field(
        default=3, ge=1, le=32, description="Eye donors tried for a frame before it is skipped"
    )
    maximum_gaze_error_rad: float = Field(
        default=math.radians(5.0),
        ge=0.0,
        le=1.57,
        description="Maximum difference between the measured gaze of an anchor and its eye donor's",
    )
    maximum_blink_error: float = Field(
        default=0.2,
        ge=0.0,
        le=1.0,
        description="Maximum difference between the measured blink of an anchor and its eye donor's",
    )
    maximum_rest_error_px: float = Field(
        default=2.0, ge=0.0, description="Maximum shift of landmarks outside the eyes"
    )
    jpeg_quality: int = Field(default=95, ge=50, le=100, description="JPEG quality of the anchors")
    pairs: PairSettings = PairSettings()
    swap: EyeSwapSettings = EyeSwapSettings()

    @model_validator(mode="after")
    def _check_error_bounds(self) -> "EyeAnchorSettings":
        gaze, blink = self.pairs.minimum_gaze_distance_rad / 2, self.pairs.minimum_blink_distance / 2
        if self.maximum_gaze_error_rad > gaze or self.maximum_blink_error > blink:
            raise ValueError(
                f"maximum_gaze_error_rad must be <= {gaze} and maximum_blink_error <= {blink}, half of the "
                f"distances in pairs, got {self.maximum_gaze_error_rad} and {self.maximum_blink_error}"
            )
        return self


@dataclass(frozen=True)
class _Frame:
    """A frame and its labels."""

    clip: ClipRow
    frame: int
    pose: NDArray[np.float32]  # [6] pitch, yaw, roll rad; x, y, z cm
    gaze: NDArray[np.float32]  # [2]
    blink: NDArray[np.float32]  # [2]


@dataclass(frozen=True)
class _Wanted:
    """An anchor to make."""

    base: _Frame  # v2
    partners: tuple[_Frame, ...]  # v1, in the order to try them
    fell_back: bool


@dataclass(frozen=True)
class _Task:
    clips: Path  # clips.tar
    base: ClipRow
    wanted: tuple[_Wanted, ...]
    levels: Mapping[str, OpennessLevels]  # of the partners' persons
    settings: EyeAnchorSettings


_Anchor = tuple[dict[str, Any], bytes]  # its row, its composite


@dataclass(frozen=True)
class _Outcome:
    anchors: list[_Anchor]
    trace: str = ""  # of an exception that nothing foresees
    failure: str = ""  # that exception in one line, without the clip's key


class DamagedClipsError(ValueError):
    """The clips of the step before cannot be read."""


def make_eye_anchors(
    clips: Path,
    pose_labels: Path,
    gaze_labels: Path,
    settings: EyeAnchorSettings,
    folder: Path,
    *,
    workers: int | None = None,
) -> BuildReport:
    """Make and verify a batch's eye anchors.

    Args:
        clips: folder of the step `clips`.
        pose_labels: folder of the step `pose_labels`.
        gaze_labels: folder of the step `gaze_labels`.
        settings: of the step.
        folder: where `anchors.tar` and `anchors.parquet` are written.
        workers: processes; None for one a core, 0 for none.
    """
    rows = {row.key: row for row in accepted_clips(clips)}
    failed = read_failed(pose_labels).keys() | read_failed(gaze_labels).keys()
    labelled = [row for row in rows.values() if row.key not in failed]
    states = _read_states(labelled, pose_labels, gaze_labels)
    levels = read_levels(gaze_labels)
    pairs = choose_pairs(list(states.values()), settings.pairs, settings.anchors_per_clip, settings.attempts)

    def frame(key: str, number: int) -> _Frame:
        state = states[key]
        return _Frame(rows[key], number, state.pose[number], state.gaze[number], state.blink[number])

    def task(key: str) -> _Task:
        wanted = tuple(
            _Wanted(
                frame(key, pair.base_frame),
                tuple(frame(*partner) for partner in pair.partners),
                pair.fell_back,
            )
            for pair in pairs.get(key, ())
        )
        identities = {partner.clip.identity for each in wanted for partner in each.partners}
        own_levels = {identity: levels[identity] for identity in identities}
        return _Task(clips / CLIPS_TAR, rows[key], wanted, own_levels, settings)

    return _write([task(key) for key in rows], folder, default_workers() if workers is None else workers)


def _read_states(rows: Sequence[ClipRow], pose_labels: Path, gaze_labels: Path) -> dict[str, EyeState]:
    """The labels of every clip, by key."""
    poses = read_labels(pose_labels, POSE_NAMES)
    gazes = read_iris_gaze(gaze_labels, GAZE_NAMES)  # composites are measured by their irises
    blinks = read_labels(gaze_labels, BLINK_NAMES)
    valid = read_labels(gaze_labels, VALID_NAMES)
    return {
        row.key: EyeState(
            row.key,
            row.identity,
            poses[row.key],
            gazes[row.key],
            blinks[row.key],
            valid[row.key][:, 0] > 0.0,
        )
        for row in rows
    }


def _write(tasks: list[_Task], folder: Path, workers: int) -> BuildReport:
    by_clip: dict[str, list[_Anchor]] = {}
    failures: list[str] = []
    for number, (task, outcome) in enumerate(map_in_processes(_make_for_clip, tasks, workers), start=1):
        if isinstance(outcome, Crashed):
            logger.error("Making eye anchors of %s ended: %s", task.base.key, outcome.detail)
            outcome = _Outcome([(_row(task.base, -1, None) | {"reason": outcome.reason}, b"")])  # noqa: PLW2901
        elif outcome.trace:
            logger.error("Making eye anchors of %s failed\n%s", task.base.key, outcome.trace)
        failures.append(outcome.failure)
        by_clip[task.base.key] = outcome.anchors
        if number % 100 == 0 or number == len(tasks):
            logger.info("Eye anchors of %d of %d clips", number, len(tasks))
    if failure := common_failure(failures):
        raise common_error(failure, len(tasks), "clips")
    rows: list[dict[str, Any]] = []
    with ArchiveWriter(folder / ANCHORS_TAR) as archive:
        for key in sorted(by_clip):
            for number, (row, jpeg) in enumerate(by_clip[key]):
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
        "anchors_fallen_back": sum(row["fell_back"] for row in accepted),
    }
    return BuildReport(counts=counts, refusals=dict(Counter(row["reason"] for row in rows if row["reason"])))


def _make_for_clip(task: _Task) -> _Outcome:
    """The rows of one clip, with the composites of the accepted ones (b"" for refused ones).

    An exception is the clip's row, of reason `failed`, unless it is of the file system or of damaged clips,
    which are made again and not left out.
    """
    if not task.wanted:
        return _Outcome([(_row(task.base, -1, None) | {"reason": "no_pair"}, b"")])
    try:
        return _Outcome(_anchors_of_clip(task))
    except Exception as error:  # the one place of this step: a clip must not end the work on all others
        if isinstance(error, OSError | DamagedClipsError):
            raise
        detail, trace = failure_of(error).replace(task.base.key, ""), traceback.format_exc()
        _verifier.cache_clear()  # it may have stopped in the middle of a frame
    return _Outcome([(_row(task.base, -1, None) | {"reason": FAILED}, b"")], trace, detail)


def _anchors_of_clip(task: _Task) -> list[_Anchor]:
    anchors: list[_Anchor] = []
    for number, wanted in enumerate(task.wanted):
        base = wanted.base
        picture, landmarks_px = _read_frame(task.clips, base)
        if number == 0:
            _verifier().start_clip(picture)
        for eyes in wanted.partners:
            donor = _read_frame(task.clips, eyes)
            jpeg = make_composite((picture, landmarks_px), donor, task.settings)
            target = EyeTarget(eyes.gaze, eyes.blink, task.levels[eyes.clip.identity])
            # Measure the composite as it will be read, from its JPEG.
            measured = _verifier().measure(decode_jpeg(jpeg), BaseFace(landmarks_px, base.pose), target)
            reason = refusal(measured, task.settings)
            row = _row(base.clip, base.frame, eyes) | _distances(base, eyes) | {"reason": reason}
            row |= {"fell_back": wanted.fell_back} | (asdict(measured) if measured else {})
            anchors.append((row | {"accepted": not reason}, b"" if reason else jpeg))
            if not reason:
                break
    return anchors


def _read_frame(clips: Path, frame: _Frame) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Read the RGB picture [224, 224, 3] and landmarks [478, 3] of a frame."""
    picture, landmarks = f"{frame.frame:03d}.jpg", "landmarks.npy"
    try:
        members = read_some_members(clips, frame.clip.place, (picture, landmarks))
        return decode_jpeg(members[picture]), decode_array(frame.clip.key, members, landmarks)[frame.frame]
    except ValueError as error:
        raise DamagedClipsError(str(error)) from error


Picture = tuple[NDArray[np.uint8], NDArray[np.float32]]
"""RGB [224, 224, 3] and its landmarks [478, 3]."""


def make_composite(base: Picture, eyes: Picture, settings: EyeAnchorSettings) -> bytes:
    """JPEG of v2, `base`, with the eyes of v1. The step keeps those of accepted anchors alone."""
    return encode_jpeg(swap_eyes(*base, *eyes, settings.swap), settings.jpeg_quality)


def _row(base: ClipRow, base_frame: int, eyes: _Frame | None) -> dict[str, Any]:
    return {
        "key": base.key,
        "base_frame": base_frame,
        "identity": base.identity,
        "eyes_key": eyes.clip.key if eyes else "",
        "eyes_frame": eyes.frame if eyes else -1,
        "eyes_identity": eyes.clip.identity if eyes else "",
        "fell_back": False,
        "accepted": False,
    }


def _distances(base: _Frame, eyes: _Frame) -> dict[str, float]:
    return {
        "pose_distance_rad": float(np.linalg.norm((eyes.pose - base.pose)[:3])),
        "gaze_distance_rad": float(np.linalg.norm(eyes.gaze - base.gaze)),
    }


def refusal(measured: Measured | None, settings: EyeAnchorSettings) -> str:
    """The reason of the first bound exceeded; empty if there is none."""
    if measured is None:
        return "no_face"
    errors, values = asdict(measured), settings.model_dump()
    for bound in ANCHOR_BOUNDS:
        if bound.fails(errors[bound.score], bound.threshold(values)):
            return bound.reason
    return ""


@cache
def _verifier() -> AnchorVerifier:
    return AnchorVerifier()


def read_anchor_rows(folder: Path) -> list[dict[str, Any]]:
    """Read the accepted anchors of a batch, ordered by clip."""
    table = pq.read_table(folder / ANCHORS_TABLE, schema=ANCHORS_SCHEMA)
    return [row for row in table.to_pylist() if row["accepted"]]


def _build(run: StepRun[EyeAnchorSettings]) -> BuildReport:
    return make_eye_anchors(
        run.upstream["clips"],
        run.upstream["pose_labels"],
        run.upstream["gaze_labels"],
        run.settings,
        run.folder,
        workers=run.workers,
    )


STEP: Final = Step(
    name="eye_anchors",
    upstream=("clips", "pose_labels", "gaze_labels"),
    settings=EyeAnchorSettings,
    code_version=CODE_VERSION,
    build=_build,
    description="The eyes of one person in another's face, measured, and kept where gaze and blink are those "
    "of the eyes' source and the rest of the face is unchanged.",
    group="labels",
    kinds=frozenset({"mediapipe", "opencv"}),
    columns=ANCHORS_SCHEMA,
)
