"""What must hold of a step's files before anything is built on them. Plain functions, no Dagster."""

import math
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from preprocessing.anchors.eye_anchors import EyeAnchorSettings, read_anchor_rows
from preprocessing.clips.store import read_clip_table
from preprocessing.labels.tables import BLINK_NAMES, GAZE_NAMES, LABELS_TABLE, POSE_NAMES, read_labels
from storage.checks import CheckOutcome
from storage.publishing import Published, verify

MAXIMUM_REFUSED_SHARE: Final = 0.5  # beyond, a threshold or the data is not what one thinks
MAXIMUM_HEAD_ANGLE_RAD: Final = math.radians(90.0)
MAXIMUM_SHIFT_CM: Final = 60.0  # a head that far from the crop's axis is a failed fit
MAXIMUM_GAZE_RAD: Final = math.radians(60.0)  # an eye turns about 45 degrees at most


def check_refused_share(clips: Path) -> CheckOutcome:
    """Most candidates became clips."""
    accepted = np.asarray(read_clip_table(clips)["accepted"])
    share = 1.0 - float(accepted.mean()) if len(accepted) else 0.0
    return CheckOutcome(
        share <= MAXIMUM_REFUSED_SHARE,
        f"{share:.0%} of {len(accepted)} candidates were refused; more than {MAXIMUM_REFUSED_SHARE:.0%} "
        "would be odd: see `reason` in clips.parquet",
        {"refused_share": share, "candidates": len(accepted)},
    )


def check_clips_left_out(shards: Published) -> CheckOutcome:
    """Most clips became samples; only a filter of the step `shards` leaves some out."""
    refusals = shards.manifest.refusals
    left_out = sum(refusals.values())
    clips = left_out + int(shards.manifest.counts["samples"])
    share = left_out / clips if clips else 0.0
    reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(refusals.items())) or "none"
    return CheckOutcome(
        share <= MAXIMUM_REFUSED_SHARE,
        f"{share:.0%} of {clips} clips were left out ({reasons}); more than {MAXIMUM_REFUSED_SHARE:.0%} "
        "would be odd: look whether the thresholds of `shards.lip_sync` are in its scorer's units",
        {"refused_share": share, "clips": clips},
    )


def check_pose_in_range(pose_labels: Path) -> CheckOutcome:
    """Every pose is finite and one that a head in the crop can have."""
    pose = _stack(read_labels(pose_labels, POSE_NAMES), len(POSE_NAMES))
    bounds = [MAXIMUM_HEAD_ANGLE_RAD] * 3 + [MAXIMUM_SHIFT_CM] * 3
    return _check_bounds("pose", pose, np.array(bounds), POSE_NAMES)


def check_gaze_in_range(gaze_labels: Path) -> CheckOutcome:
    """Every gaze is one that an eye can have, every blink lies in 0 to 1."""
    names = GAZE_NAMES + BLINK_NAMES
    values = _stack(read_labels(gaze_labels, names), len(names))
    values[:, 2:] -= 0.5
    bounds = np.array([MAXIMUM_GAZE_RAD] * 2 + [0.5] * 2)
    return _check_bounds("gaze and blink", values, bounds, names)


def check_labels_complete(clips: Path, labels: Path) -> CheckOutcome:
    """Every frame of every accepted clip has one row of labels."""
    table = read_clip_table(clips)
    wanted = int(np.asarray(table["frames"])[np.asarray(table["accepted"])].sum())
    found = pq.read_metadata(labels / LABELS_TABLE).num_rows
    return CheckOutcome(
        found == wanted, f"{found} rows for {wanted} frames", {"rows": found, "frames": wanted}
    )


def check_anchors_verified(eye_anchors: Path, settings: EyeAnchorSettings) -> CheckOutcome:
    """No anchor was kept whose measured error exceeds its bound."""
    rows = read_anchor_rows(eye_anchors)
    worst_blink = max((row["blink_error"] for row in rows), default=0.0)
    worst_rest = max((row["rest_error_px"] for row in rows), default=0.0)
    passed = worst_blink <= settings.maximum_blink_error and worst_rest <= settings.maximum_rest_error_px
    return CheckOutcome(
        passed,
        f"{len(rows)} anchors; worst blink error {worst_blink:.2f} of {settings.maximum_blink_error}, "
        f"worst movement of the rest {worst_rest:.2f} px of {settings.maximum_rest_error_px}",
        {"anchors": len(rows), "worst_blink_error": worst_blink, "worst_rest_error_px": worst_rest},
    )


def check_checksums(published: Published) -> CheckOutcome:
    """Every published file is there and has the sha256 of its manifest."""
    damaged = verify(published)
    files = len(published.manifest.files)
    description = (
        f"{files} files are as published" if not damaged else f"damaged or missing: {', '.join(damaged)}"
    )
    return CheckOutcome(not damaged, description, {"files": files, "damaged": len(damaged)})


def _stack(labels: dict[str, NDArray[np.float32]], width: int) -> NDArray[np.float64]:
    parts = [np.zeros((0, width)), *labels.values()]
    return np.concatenate(parts).astype(np.float64)


def _check_bounds(
    what: str, values: NDArray[np.float64], bounds: NDArray[np.float64], names: tuple[str, ...]
) -> CheckOutcome:
    wrong = ~np.isfinite(values) | (np.abs(values) > bounds)
    columns = [name for name, column in zip(names, wrong.T, strict=True) if column.any()]
    description = f"{len(values)} frames, {what} in range"
    if columns:
        description = (
            f"{int(wrong.any(axis=1).sum())} of {len(values)} frames out of range in {', '.join(columns)}"
        )
    return CheckOutcome(
        not columns, description, {"frames": len(values), "wrong": float(wrong.any(axis=1).sum())}
    )
